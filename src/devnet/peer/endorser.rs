//! `protos.Endorser`: simulate what is proposed and sign for it.
//!
//! What is wrong with the proposal itself is an error of the call; what went wrong in its execution is an answer with
//! status 500, as clients of Fabric expect it.
//!
//! Source: Fabric 3.1.5 `core/endorser/endorser.go`.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::{Request, Status, async_trait};

use super::Peer;
use super::call::{Call, Simulated};
use super::context::{Answer, Refused};
use super::interest;
use super::proposal::{UnpackedProposal, check_time, shown};
use super::resolve::{failure, is_system};
use crate::devnet::access::IdentityRefused;
use crate::fabric::identity::Signer as _;
use crate::fabric::names::{TxId, hex};
use crate::pb::protos::endorser_server::Endorser;
use crate::pb::protos::{
    ChaincodeAction, ChaincodeId, ChaincodeInterest, Endorsement, ProposalResponse, ProposalResponsePayload, Response,
    SignedProposal,
};

/// Up to here a contract succeeded; from here on nobody endorses.
const ERROR_THRESHOLD: i32 = 400;
/// From here on the contract says that it failed, and its answer is passed on with what it read and wrote.
const ERROR: i32 = 500;

/// A proposal that was not executed at all. A peer's own gateway tells the two apart, clients do not.
#[derive(Debug)]
pub(super) enum Rejected {
    /// By what stands before the endorser.
    Before(Refused),
    /// By the endorser.
    Checked(Refused),
}

impl Rejected {
    /// Why.
    pub(super) fn into_text(self) -> String {
        let (Self::Before(Refused(text)) | Self::Checked(Refused(text))) = self;
        text
    }
}

/// The service of a peer.
#[derive(Debug)]
pub(super) struct Endorsing(pub(super) Arc<Peer>);

#[async_trait]
impl Endorser for Endorsing {
    async fn process_proposal(
        &self,
        request: Request<SignedProposal>,
    ) -> Result<tonic::Response<ProposalResponse>, Status> {
        let response = self.0.process(request.into_inner()).await;
        response.map(tonic::Response::new).map_err(|rejected| Status::unknown(rejected.into_text()))
    }
}

impl Peer {
    /// What the peer says to a proposal. What is wrong with the proposal itself is an error.
    pub(super) async fn process(self: &Arc<Self>, signed: SignedProposal) -> Result<ProposalResponse, Rejected> {
        check_time(&signed, self.faults().now()).map_err(Rejected::Before)?;
        let proposal = UnpackedProposal::unpack(signed).map_err(Rejected::Checked)?;
        if !proposal.channel().is_empty() && self.channel(proposal.channel()).is_none() {
            let channel = shown(proposal.channel());
            let response = Some(failure(format!("channel '{channel}' not found")));
            return Ok(ProposalResponse { response, ..ProposalResponse::default() });
        }
        self.check_proposal(&proposal).map_err(Rejected::Checked)?;
        let proposal = Arc::new(proposal);
        Ok(self.endorse(&proposal).await.unwrap_or_else(|error| {
            tracing::debug!(peer = %self.name(), channel = %proposal.channel(), chaincode = %proposal.chaincode,
                tx_id = %proposal.tx_id(), %error, "proposal failed");
            ProposalResponse { response: Some(failure(error.0)), ..ProposalResponse::default() }
        }))
    }

    /// Checks headers, signature, uniqueness, and the right to propose.
    fn check_proposal(&self, proposal: &UnpackedProposal) -> Result<(), Refused> {
        let validating = |error: Refused| error.context("error validating proposal");
        proposal.validate().map_err(validating)?;
        self.check_creator(proposal).map_err(validating)?;
        let Some(channel) = self.channel(proposal.channel()) else { return Ok(()) };
        if TxId::parse(proposal.tx_id()).is_ok_and(|tx_id| channel.ledger().has_tx(&tx_id)) {
            let creator = hex(&proposal.signature_header.creator);
            return Err(Refused(format!("duplicate transaction found [{}]. Creator [{creator}]", proposal.tx_id())));
        }
        // The system chaincodes judge by themselves.
        if is_system(&proposal.chaincode) {
            return Ok(());
        }
        self.check_acl("peer/Propose", proposal.channel(), proposal)
    }

    fn check_creator(&self, proposal: &UnpackedProposal) -> Result<(), Refused> {
        let denied =
            |error: &IdentityRefused| Refused(format!("access denied: channel [{}] {error}", proposal.channel()));
        if let Some(channel) = self.channel(proposal.channel()) {
            return channel.access().verify(&proposal.signed_data()).map(|_| ()).map_err(|error| denied(&error));
        }
        let creator = &proposal.signature_header.creator;
        let identity = self.local_msp.deserialize(creator).map_err(|_| denied(&IdentityRefused::Unknown))?;
        let signed = &proposal.signed;
        let verified = identity.validate().and_then(|()| identity.verify(&signed.proposal_bytes, &signed.signature));
        verified.map_err(|_| denied(&IdentityRefused::Invalid(self.msp_id.to_string())))
    }

    /// Simulates and signs.
    async fn endorse(self: &Arc<Self>, proposal: &Arc<UnpackedProposal>) -> Result<ProposalResponse, Refused> {
        let (channel, chaincode) = (proposal.channel().to_owned(), proposal.chaincode.clone());
        // These read blocks and configurations, not the state.
        let stateless = matches!(chaincode.as_str(), "qscc" | "cscc");
        let known = self.channel(&channel);
        let simulation = known
            .filter(|_| !stateless)
            .map(|channel| Simulated::new(channel.ledger().simulate().of(proposal.tx_id())));
        let resolved = self.resolve(&channel, &chaincode, simulation.as_ref()).map_err(|error| {
            error.context(format_args!(
                "make sure the chaincode {} has been successfully defined on channel {channel} and try again",
                shown(&chaincode)
            ))
        })?;
        let version = resolved.version().to_owned();
        let call = Call {
            peer: Arc::clone(self),
            proposal: Arc::clone(proposal),
            channel: channel.clone(),
            chaincode: chaincode.clone(),
            input: proposal.input.clone(),
            simulation: simulation.clone(),
            running: Vec::new(),
        };
        let Answer { mut response, event } = call.run().await.map_err(|error| {
            error.context(format_args!("error in simulation: failed to execute transaction {}", proposal.tx_id()))
        })?;
        if self.faults().take_divergence() {
            response.payload = [&response.payload[..], self.name().as_bytes()].concat().into();
        }
        let (results, interest) =
            self.finish(simulation.as_ref(), proposal).map_err(|error| error.context("error in simulation"))?;
        // What a refusing contract has set does not count.
        let event = event.filter(|_| response.status < ERROR_THRESHOLD).map(|event| {
            let (chaincode_id, tx_id) = (chaincode.clone(), proposal.tx_id().to_owned());
            crate::pb::protos::ChaincodeEvent { chaincode_id, tx_id, ..event }
        });
        let action = ChaincodeAction {
            results,
            events: event.map(|event| event.encode_to_vec().into()).unwrap_or_default(),
            response: Some(response.clone()),
            chaincode_id: Some(ChaincodeId { path: String::new(), name: chaincode, version }),
        };
        let payload =
            ProposalResponsePayload { proposal_hash: proposal.hash.clone(), extension: action.encode_to_vec().into() };
        Ok(self.sign(payload.encode_to_vec().into(), response, interest, channel.is_empty()))
    }

    fn sign(
        &self,
        payload: Bytes,
        response: Response,
        interest: Option<ChaincodeInterest>,
        without_channel: bool,
    ) -> ProposalResponse {
        if response.status >= ERROR {
            return ProposalResponse { response: Some(response), payload, interest, ..ProposalResponse::default() };
        }
        if without_channel || response.status >= ERROR_THRESHOLD {
            return ProposalResponse { response: Some(response), ..ProposalResponse::default() };
        }
        let endorser = self.signer.creator().clone();
        let signature = self.signer.sign_now(&[&payload[..], &endorser[..]].concat());
        ProposalResponse {
            version: 1,
            timestamp: None,
            response: Some(response),
            payload,
            endorsement: Some(Endorsement { endorser, signature }),
            interest,
        }
    }

    /// Ends the simulation, and hands what is private to the peers that may hold it.
    fn finish(
        &self,
        simulation: Option<&Simulated>,
        proposal: &UnpackedProposal,
    ) -> Result<(Bytes, Option<ChaincodeInterest>), Refused> {
        let Some(results) = simulation.and_then(Simulated::finish) else { return Ok((Bytes::new(), None)) };
        let interest = interest::of(&results);
        if let Some(private) = results.private {
            self.check_dissemination(&private, proposal)?;
            let tx_id = TxId::parse(proposal.tx_id()).map_err(|error| Refused(error.to_string()))?;
            self.private.put(tx_id, private).map_err(|error| Refused(error.to_string()))?;
        }
        Ok((results.public, Some(interest)))
    }
}
