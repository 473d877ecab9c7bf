//! `gateway.Gateway`: a peer that does for its clients what they would have to do with many nodes.
//!
//! It picks endorsers, collects their endorsements, hands transactions to orderers and watches the ledger. Whatever it
//! refuses, it refuses with the codes and words of Fabric, because clients decide by them what to do next.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway`.

mod endorse;
mod evaluate;
mod events;
mod plan;
mod status;
mod submit;

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tonic::{Request, Response, Status, async_trait};

use self::plan::Plan;
use super::Peer;
use super::channel::PeerChannel;
use super::context::Refused;
use super::discovery::{self, Candidate, Member, Topology};
use super::proposal::shown;
use super::resolve::is_system;
use crate::devnet::access::Signed;
use crate::devnet::deliver::Responses;
use crate::devnet::disturb;
use crate::fabric::names::TxId;
use crate::pb::gateway::gateway_server::Gateway;
use crate::pb::gateway::{
    ChaincodeEventsResponse, CommitStatusRequest, CommitStatusResponse, EndorseRequest, EndorseResponse,
    EvaluateRequest, EvaluateResponse, SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest,
    SubmitResponse,
};
use crate::pb::protos::{ChaincodeInterest, ProposalResponse, SignedProposal};
use crate::runtime::Workers;

/// For how long one peer may take to endorse.
const ENDORSEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The service of a peer.
pub(super) struct Gatekeeper {
    pub(super) peer: Arc<Peer>,
    pub(super) topology: Arc<dyn Topology>,
    pub(super) workers: Workers,
}

#[async_trait]
impl Gateway for Gatekeeper {
    async fn endorse(&self, request: Request<EndorseRequest>) -> Result<Response<EndorseResponse>, Status> {
        self.endorse_transaction(request.into_inner()).await.map(Response::new)
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        self.submit_transaction(request.into_inner()).await.map(Response::new)
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        self.transaction_status(request.into_inner()).await.map(Response::new)
    }

    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        self.evaluate_transaction(request.into_inner()).await.map(Response::new)
    }

    type ChaincodeEventsStream = Responses<ChaincodeEventsResponse>;

    async fn chaincode_events(
        &self,
        request: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        self.events(&request.into_inner()).map(Response::new)
    }
}

impl Gatekeeper {
    /// Answers when the transaction is in a block, be it valid or not.
    async fn transaction_status(&self, signed: SignedCommitStatusRequest) -> Result<CommitStatusResponse, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument("a commit status request is required"));
        }
        let request = CommitStatusRequest::decode(signed.request.clone())
            .map_err(|error| Status::invalid_argument(format!("invalid status request: {error}")))?;
        for (is_missing, text) in [
            (request.identity.is_empty(), "no identity provided"),
            (request.channel_id.is_empty(), "no channel ID provided"),
            (request.transaction_id.is_empty(), "transaction ID should not be empty"),
        ] {
            if is_missing {
                return Err(Status::invalid_argument(text));
            }
        }
        let signed = Signed { identity: request.identity, data: signed.request, signature: signed.signature };
        self.may_read("gateway/CommitStatus", &request.channel_id, &signed)?;
        let channel = self.channel(&request.channel_id).map_err(|error| Status::aborted(error.0))?;
        let mut height = channel.ledger().watch();
        // What is no transaction ID is never seen, as with any other that does not exist.
        let tx_id = TxId::parse(&*request.transaction_id).ok();
        loop {
            height.mark_unchanged();
            if let Some(place) = tx_id.as_ref().and_then(|tx_id| channel.ledger().place(tx_id)) {
                let result = i32::from(place.code.number());
                return Ok(CommitStatusResponse { result, block_number: place.block });
            }
            if height.changed().await.is_err() {
                return Err(Status::aborted("unexpected close of commit notification channel"));
            }
        }
    }

    /// That whoever signed may read the channel now.
    fn may_read(&self, resource: &str, channel: &str, signed: &Signed) -> Result<(), Status> {
        self.peer.check_reader(resource, channel, signed).map_err(|error| Status::permission_denied(error.0))
    }

    fn channel(&self, name: &str) -> Result<Arc<PeerChannel>, Refused> {
        self.peer.channel(name).ok_or_else(|| Refused(format!("channel does not exist: {}", shown(name))))
    }

    /// The channel for its configuration, with Fabric's words for its absence.
    fn configured(&self, name: &str) -> Result<Arc<PeerChannel>, Refused> {
        self.peer.channel(name).ok_or_else(|| {
            let name = shown(name);
            Refused(format!("failed to get config for channel [{name}]: could not get last config for channel {name}"))
        })
    }

    /// The peers of a channel, none where the own peer is not in it.
    fn candidates(&self, channel: &str) -> Vec<Candidate> {
        let channel = self.peer.channel(channel);
        channel.map(|channel| discovery::candidates(&channel, &*self.topology)).unwrap_or_default()
    }

    /// One peer of each of `organizations`.
    fn plan_for(&self, channel: &str, chaincode: &str, organizations: &[String]) -> Result<Plan, Refused> {
        let candidates = self.candidates(channel);
        Plan::for_organizations(candidates, chaincode, is_system(chaincode), organizations, self.peer.name())
    }

    /// The endorsers that satisfy the policies of `interest`.
    fn plan_by_policy(
        &self,
        channel: &str,
        interest: &ChaincodeInterest,
        preferred: Option<&Member>,
    ) -> Result<Plan, Refused> {
        let layouts = match self.peer.channel(channel) {
            Some(known) => {
                let candidates = discovery::candidates(&known, &*self.topology);
                discovery::layouts(&known, candidates, interest)
            }
            None => Err(discovery::unknown_chaincode(interest, channel)),
        };
        let layouts = layouts.map_err(|error| {
            error.context("no combination of peers can be derived which satisfy the endorsement policy")
        })?;
        Ok(Plan::from_layouts(layouts, preferred, self.peer.name(), shuffle))
    }

    /// Lets one peer look at a proposal.
    async fn process(&self, endorser: &Member, signed: &SignedProposal) -> Result<ProposalResponse, status::Failure> {
        let answer = async {
            let answer = endorser.peer.process(signed.clone());
            if endorser.peer.name() == self.peer.name() {
                return status::judge_own(answer.await);
            }
            status::judge(
                disturb::between_nodes(endorser.peer.faults(), answer)
                    .await
                    .and_then(|answer| answer.map_err(|rejected| Status::unknown(rejected.into_text()))),
            )
        };
        let answer = tokio::time::timeout(ENDORSEMENT_TIMEOUT, answer).await;
        answer.unwrap_or_else(|_| status::judge(Err(Status::deadline_exceeded("context deadline exceeded"))))
    }
}

/// Brings a list into an order that nobody can foretell.
fn shuffle<T>(list: &mut [T]) {
    let random = ring::rand::SystemRandom::new();
    for last in (1..list.len()).rev() {
        let mut bytes = [0; 8];
        // Without randomness the order stays; any will do.
        if ring::rand::SecureRandom::fill(&random, &mut bytes).is_err() {
            return;
        }
        let other = usize::try_from(u64::from_be_bytes(bytes) % (last as u64 + 1)).unwrap_or(last);
        list.swap(last, other);
    }
}
