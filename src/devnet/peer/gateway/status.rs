//! How the gateway says what went wrong: a gRPC status, with a part for each node that had a word to say.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway/apiutils.go`; `google/rpc/status.proto`.

use prost::Message;
use tonic::{Code, Status};

use crate::devnet::peer::context::Refused;
use crate::devnet::peer::endorser::Rejected;
use crate::pb::gateway::ErrorDetail;
use crate::pb::protos::ProposalResponse;

/// The type's name in the details of a status.
const ERROR_DETAIL: &str = "type.googleapis.com/gateway.ErrorDetail";
/// How messages about a chaincode end whose connection broke.
const STREAM_TERMINATED: &str = "chaincode stream terminated";

/// `google.rpc.Status`, in which the details of a gRPC status travel.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A status with what each node said.
pub(super) fn with_details(code: Code, message: impl Into<String>, details: &[ErrorDetail]) -> Status {
    let message = message.into();
    if details.is_empty() {
        return Status::new(code, message);
    }
    let any =
        |detail: &ErrorDetail| prost_types::Any { type_url: ERROR_DETAIL.to_owned(), value: detail.encode_to_vec() };
    let status = RpcStatus { code: code as i32, message: message.clone(), details: details.iter().map(any).collect() };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// Why an endorser's answer is no endorsement, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    /// Another peer may do better.
    pub(super) retry: bool,
}

/// A failed call as Go's gRPC puts it into words.
pub(super) fn rpc_error(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// What the answer of another peer amounts to. A failed call looks like a broken connection to the gateway.
pub(super) fn judge(answer: Result<ProposalResponse, Status>) -> Result<ProposalResponse, Failure> {
    let response =
        answer.map_err(|status| Failure { code: Code::Unavailable, message: rpc_error(&status), retry: true })?;
    let said = response.response.clone().unwrap_or_default();
    if (200..400).contains(&said.status) {
        return Ok(response);
    }
    if said.status == 500 && response.payload.is_empty() {
        // The peer says this, not the chaincode.
        return Err(Failure { code: Code::Aborted, message: said.message, retry: true });
    }
    let message = format!("chaincode response {}, {}", said.status, said.message);
    Err(Failure { code: Code::Unknown, message, retry: false })
}

/// What the answer of the gateway's own peer amounts to, whose refusals are known for what they are.
pub(super) fn judge_own(answer: Result<ProposalResponse, Rejected>) -> Result<ProposalResponse, Failure> {
    let refused = |rejected| match rejected {
        // Without any response it looks like a broken connection.
        Rejected::Before(Refused(message)) => Failure { code: Code::Unavailable, message, retry: true },
        Rejected::Checked(Refused(message)) => Failure { code: Code::FailedPrecondition, message, retry: false },
    };
    answer.map_err(refused).and_then(|response| judge(Ok(response)))
}

/// Whether a peer's words mean that its chaincode is gone.
pub(super) fn is_terminated(message: &str) -> bool {
    message.ends_with(STREAM_TERMINATED)
}
