//! Evaluation: one peer runs the chaincode, and its answer is the client's.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway/evaluate.go`.

use prost::Message as _;
use tonic::{Code, Status};

use super::plan::{Plan, detail};
use super::status::with_details;
use super::{Gatekeeper, is_system};
use crate::devnet::peer::context::Refused;
use crate::devnet::peer::proposal::{decode, shown};
use crate::pb::common::{ChannelHeader, Header};
use crate::pb::gateway::{EvaluateRequest, EvaluateResponse};
use crate::pb::protos::{
    ChaincodeAction, ChaincodeInvocationSpec, ChaincodeProposalPayload, Proposal, ProposalResponse,
    ProposalResponsePayload, SignedProposal,
};

/// What the gateway must know of a proposal.
struct Target {
    channel: String,
    chaincode: String,
    is_transient: bool,
}

fn target(proposal: &SignedProposal) -> Result<Target, Refused> {
    if proposal.proposal_bytes.is_empty() {
        return Err(Refused::new("a signed proposal is required"));
    }
    let proposal: Proposal = decode("Proposal", &proposal.proposal_bytes)?;
    let header: Header = decode("Header", &proposal.header)?;
    let header: ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
    let payload: ChaincodeProposalPayload = decode("ChaincodeProposalPayload", &proposal.payload)?;
    let spec: ChaincodeInvocationSpec = decode("ChaincodeInvocationSpec", &payload.input)?;
    let channel = header.channel_id;
    if channel.is_empty() {
        return Err(Refused::new("no channel id provided"));
    }
    let missing = |what: &str| Refused(format!("no chaincode {what} is provided, channel id [{}]", shown(&channel)));
    let id = spec.chaincode_spec.ok_or_else(|| missing("spec"))?.chaincode_id.ok_or_else(|| missing("id"))?;
    if id.name.is_empty() {
        return Err(missing("name"));
    }
    Ok(Target { chaincode: id.name, is_transient: !payload.transient_map.is_empty(), channel })
}

impl Gatekeeper {
    /// Runs a chaincode on one peer.
    pub(super) async fn evaluate_transaction(&self, request: EvaluateRequest) -> Result<EvaluateResponse, Status> {
        let signed = request.proposed_transaction.unwrap_or_default();
        let Target { channel, chaincode, is_transient } = target(&signed)
            .map_err(|error| Status::invalid_argument(format!("failed to unpack transaction proposal: {}", error.0)))?;
        self.configured(&channel).map_err(|error| Status::unavailable(error.0))?;
        let own = self.peer.msp_id().as_str();
        let mut organizations = request.target_organizations;
        let is_protected = is_transient && organizations.is_empty();
        if is_protected {
            organizations.push(own.to_owned());
        }
        let candidates = self.candidates(&channel);
        let plan =
            Plan::for_evaluation(candidates, &chaincode, is_system(&chaincode), &organizations, own, self.peer.name());
        let Some(mut plan) = plan else {
            let reason = format!("no peers available to evaluate chaincode {} in channel {channel}", shown(&chaincode));
            return Err(Status::failed_precondition(if is_protected {
                format!(
                    "no endorsers found in the gateway's organization; retry specifying target organization(s) to \
                     protect transient data: {reason}"
                )
            } else {
                reason
            }));
        };
        let mut next = plan.endorsers().and_then(|endorsers| endorsers.into_iter().next());
        let mut errors = Vec::new();
        let mut code = Code::Unavailable;
        while let Some(endorser) = next {
            let failure = match self.process(&endorser, &signed).await {
                Ok(response) => return Ok(EvaluateResponse { result: Some(result(response)) }),
                Err(failure) => failure,
            };
            errors.push(detail(&endorser, failure.message.clone()));
            if !failure.retry {
                let message = format!("evaluate call to endorser returned error: {}", failure.message);
                return Err(with_details(failure.code, message, &errors));
            }
            code = failure.code;
            next = plan.instead_of(&endorser).ok();
        }
        Err(with_details(code, "failed to evaluate transaction, see attached details for more info", &errors))
    }
}

/// The chaincode's response with the result that would be part of the transaction.
fn result(response: ProposalResponse) -> crate::pb::protos::Response {
    let result = || {
        let payload = ProposalResponsePayload::decode(response.payload.clone()).ok()?;
        let action = ChaincodeAction::decode(payload.extension).ok()?;
        Some(action.response.unwrap_or_default().payload)
    };
    let result = result();
    let mut said = response.response.unwrap_or_default();
    if let Some(result) = result {
        said.payload = result;
    }
    said
}
