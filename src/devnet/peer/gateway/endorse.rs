//! Endorsement: as many peers as the policies ask for run the chaincode, and what they signed becomes a transaction.
//!
//! Where the client names no organizations, one peer runs the chaincode first, of the own organization if possible; what
//! it touched tells whose policies count.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway/endorse.go`, `submit.go`.

use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use prost::Message as _;
use tonic::{Code, Status};

use super::plan::{Plan, detail};
use super::status::{is_terminated, with_details};
use super::{Gatekeeper, Member};
use crate::devnet::peer::context::Refused;
use crate::devnet::peer::proposal::decode;
use crate::pb::common::{ChannelHeader, Envelope, Header, Payload};
use crate::pb::gateway::{EndorseRequest, EndorseResponse, ErrorDetail};
use crate::pb::protos::{
    ChaincodeActionPayload, ChaincodeCall, ChaincodeEndorsedAction, ChaincodeInterest, ChaincodeInvocationSpec,
    ChaincodeProposalPayload, Proposal, ProposalResponse, SignedProposal, Transaction, TransactionAction,
};

/// A proposal, as far as the transaction is made of it.
struct Parts {
    header: Header,
    channel: String,
    payload: ChaincodeProposalPayload,
    chaincode: String,
}

impl Parts {
    fn read(signed: &SignedProposal) -> Result<Self, Refused> {
        let proposal: Proposal = decode("Proposal", &signed.proposal_bytes)?;
        let header: Header = decode("Header", &proposal.header)?;
        let channel_header: ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
        let payload: ChaincodeProposalPayload = decode("ChaincodeProposalPayload", &proposal.payload)?;
        let spec: ChaincodeInvocationSpec = decode("ChaincodeInvocationSpec", &payload.input)?;
        let chaincode = spec.chaincode_spec.and_then(|spec| spec.chaincode_id).map(|id| id.name).unwrap_or_default();
        Ok(Self { header, channel: channel_header.channel_id, payload, chaincode })
    }

    /// The transaction, not yet signed by the client. What is transient is not part of it.
    fn into_transaction(self, action: ChaincodeEndorsedAction) -> Envelope {
        let proposed = ChaincodeProposalPayload { input: self.payload.input, ..ChaincodeProposalPayload::default() };
        let action = ChaincodeActionPayload {
            chaincode_proposal_payload: proposed.encode_to_vec().into(),
            action: Some(action),
        };
        let action =
            TransactionAction { header: self.header.signature_header.clone(), payload: action.encode_to_vec().into() };
        let transaction = Transaction { actions: vec![action] };
        let payload = Payload { header: Some(self.header), data: transaction.encode_to_vec().into() };
        Envelope { payload: payload.encode_to_vec().into(), ..Envelope::default() }
    }
}

/// A lock of a plan is held for a moment only.
fn with<T>(plan: &Mutex<Plan>, work: impl FnOnce(&mut Plan) -> T) -> T {
    work(&mut plan.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Gatekeeper {
    /// Collects the endorsements of a transaction.
    pub(super) async fn endorse_transaction(&self, request: EndorseRequest) -> Result<EndorseResponse, Status> {
        let signed = request.proposed_transaction.unwrap_or_default();
        if signed.proposal_bytes.is_empty() {
            return Err(Status::invalid_argument("the proposed transaction must contain a signed proposal"));
        }
        let parts = Parts::read(&signed).map_err(|error| Status::invalid_argument(error.0))?;
        let plan = if request.endorsing_organizations.is_empty() {
            self.plan_from_first(&parts, &signed).await?
        } else {
            self.plan_for(&parts.channel, &parts.chaincode, &request.endorsing_organizations)
                .map_err(|error| Status::unavailable(error.0))?
        };
        let plan = Mutex::new(plan);
        while let Some(endorsers) = with(&plan, |plan| if plan.is_complete() { None } else { plan.endorsers() }) {
            let groups = join_all(endorsers.into_iter().map(|endorser| self.collect(&plan, endorser, &signed))).await;
            let groups: Vec<_> = groups.into_iter().flatten().collect();
            with(&plan, |plan| plan.abandon(&groups));
        }
        let plan = plan.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(endorsed) = plan.endorsed() else {
            let message = "failed to collect enough transaction endorsements, see attached details for more info";
            return Err(with_details(Code::Aborted, message, plan.errors()));
        };
        let action = ChaincodeEndorsedAction {
            proposal_response_payload: endorsed.payload,
            endorsements: endorsed.endorsements,
        };
        Ok(EndorseResponse { prepared_transaction: Some(parts.into_transaction(action)) })
    }

    /// Asks one peer, and others of its group until one endorses; the group when none does.
    async fn collect(&self, plan: &Mutex<Plan>, first: Member, signed: &SignedProposal) -> Option<String> {
        let mut endorser = first;
        loop {
            let accepted = match self.process(&endorser, signed).await {
                Ok(response) => with(plan, |plan| plan.accept(&endorser, &response)),
                Err(failure) => {
                    with(plan, |plan| plan.fail(detail(&endorser, failure.message)));
                    false
                }
            };
            if accepted {
                return None;
            }
            match with(plan, |plan| plan.instead_of(&endorser)) {
                Ok(next) => endorser = next,
                Err(group) => return Some(group),
            }
        }
    }

    /// Lets one peer run the chaincode, and finds the other endorsers by what it touched.
    async fn plan_from_first(&self, parts: &Parts, signed: &SignedProposal) -> Result<Plan, Status> {
        let Parts { channel, chaincode, payload, .. } = parts;
        let is_transient = !payload.transient_map.is_empty();
        let call = ChaincodeCall { name: chaincode.clone(), ..ChaincodeCall::default() };
        let default = ChaincodeInterest { chaincodes: vec![call] };
        let refused = |error: Refused| Status::failed_precondition(error.0);
        let plan = match self.plan_for(channel, chaincode, &[self.peer.msp_id().to_string()]) {
            Ok(plan) => plan,
            Err(_) if is_transient => {
                return Err(Status::failed_precondition(
                    "no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to \
                     protect transient data",
                ));
            }
            Err(_) => self.plan_by_policy(channel, &default, None).map_err(refused)?,
        };
        let (first, response) = self.first(plan, signed).await.map_err(|errors| {
            let message = "failed to endorse transaction, see attached details for more info";
            with_details(Code::Aborted, message, &errors)
        })?;
        let mut interest = response.interest.clone().filter(|interest| !interest.chaincodes.is_empty());
        let original = interest.clone();
        let mut guarded = Vec::new();
        if is_transient {
            // Peers that may not hold a collection shall not see what is meant for it.
            for call in interest.iter_mut().flat_map(|interest| &mut interest.chaincodes) {
                if call.no_private_reads {
                    call.no_private_reads = false;
                    guarded.extend(call.collection_names.iter().cloned());
                }
            }
        }
        let plan = self.plan_by_policy(channel, interest.as_ref().unwrap_or(&default), Some(&first));
        let mut plan = plan.map_err(|error| {
            let open = original.as_ref().is_some_and(|it| self.plan_by_policy(channel, it, Some(&first)).is_ok());
            if !guarded.is_empty() && open {
                return Status::failed_precondition(format!(
                    "requires endorsement from organisation(s) that are not in the distribution policy of the private \
                     data collection(s): [{}]; retry specifying trusted endorsing organizations to protect transient \
                     data",
                    guarded.join(" ")
                ));
            }
            refused(error)
        })?;
        plan.accept(&first, &response);
        Ok(plan)
    }

    /// The first peer of a plan that endorses; what all of them said where none does.
    async fn first(
        &self,
        mut plan: Plan,
        signed: &SignedProposal,
    ) -> Result<(Member, ProposalResponse), Vec<ErrorDetail>> {
        let mut errors = Vec::new();
        let mut next = plan.endorsers().and_then(|endorsers| endorsers.into_iter().next());
        while let Some(endorser) = next {
            match self.process(&endorser, signed).await {
                Ok(response) => return Ok((endorser, response)),
                Err(failure) => {
                    if is_terminated(&failure.message) {
                        tracing::debug!(peer = %endorser.peer.name(), "chaincode is gone");
                    }
                    errors.push(detail(&endorser, failure.message));
                }
            }
            next = plan.instead_of(&endorser).ok();
        }
        Err(errors)
    }
}
