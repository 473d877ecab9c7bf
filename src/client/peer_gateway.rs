//! A peer's Gateway service: one call to it, with a deadline.
//!
//! A module of its own because the service speaks for other nodes: what those said comes as details of a gRPC status,
//! and a code means something else here than it does of a node that speaks for itself.
//!
//! It does not choose peers and does not retry.
//!
//! Source: `fabric-protos/gateway/gateway.proto`, Fabric 3.1.5 `internal/pkg/gateway`.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Request, Response, Status};

use super::error::{CallError, GatewayDetail, NodeName};
use super::net::MAX_MESSAGE;
use super::node::{Peer, note};
use crate::pb::common::Envelope;
use crate::pb::gateway::gateway_client::GatewayClient;
use crate::pb::gateway::{
    CommitStatusResponse, EndorseRequest, ErrorDetail, EvaluateRequest, SignedCommitStatusRequest, SubmitRequest,
};
use crate::pb::protos;

/// How many details of one failure are kept, and how much of each: they are for reading.
const DETAILS: usize = 64;
const DETAIL_CHARACTERS: usize = 4096;

impl Peer {
    /// The client of the service.
    pub(super) fn gateway(&self) -> GatewayClient<tonic::transport::Channel> {
        GatewayClient::new(self.connection().channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Has a peer of its choice run the proposal.
    pub(super) async fn gateway_evaluate(
        &self,
        request: EvaluateRequest,
        limit: Duration,
    ) -> Result<protos::Response, CallError> {
        let mut gateway = self.gateway();
        let answer = answered(self, limit, gateway.evaluate(timed(request, limit))).await?;
        answer.result.ok_or_else(|| malformed(self.node(), "an evaluation without result"))
    }

    /// Has the proposal endorsed; the transaction that lacks the client's signature.
    pub(super) async fn gateway_endorse(
        &self,
        request: EndorseRequest,
        limit: Duration,
    ) -> Result<Envelope, CallError> {
        let mut gateway = self.gateway();
        let answer = answered(self, limit, gateway.endorse(timed(request, limit))).await?;
        answer.prepared_transaction.ok_or_else(|| malformed(self.node(), "an endorsement without transaction"))
    }

    /// Has the transaction handed to the orderers.
    pub(super) async fn gateway_submit(&self, request: SubmitRequest, limit: Duration) -> Result<(), CallError> {
        let mut gateway = self.gateway();
        answered(self, limit, gateway.submit(timed(request, limit))).await.map(|_| ())
    }

    /// Waits for the commit of a transaction, for `limit` at most.
    pub(super) async fn gateway_commit_status(
        &self,
        request: SignedCommitStatusRequest,
        limit: Duration,
    ) -> Result<CommitStatusResponse, CallError> {
        let mut gateway = self.gateway();
        let told = tokio::time::timeout(limit, gateway.commit_status(timed(request, limit))).await;
        let told = match told {
            Ok(Ok(told)) => Ok(told.into_inner()),
            Ok(Err(status)) => Err(failed(self.node(), status, limit)),
            Err(_) => Err(CallError::Deadline { node: self.node().clone(), waited: limit }),
        };
        // That there is nothing to tell yet says nothing of the peer.
        if !matches!(told, Err(CallError::Deadline { .. })) {
            note(self.connection(), told.as_ref().err());
        }
        told
    }
}

fn timed<T>(request: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(limit);
    request
}

fn malformed(node: &NodeName, reason: &str) -> CallError {
    CallError::Malformed { node: node.clone(), reason: reason.to_owned() }
}

/// Waits for `answer`, at most for `limit`, and remembers how the peer is.
async fn answered<T>(
    peer: &Peer,
    limit: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, CallError> {
    let answer = match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(failed(peer.node(), status, limit)),
        Err(_) => Err(CallError::Deadline { node: peer.node().clone(), waited: limit }),
    };
    note(peer.connection(), answer.as_ref().err());
    answer
}

/// A failed call of the service, sorted by what it means.
pub(super) fn failed(node: &NodeName, status: Status, limit: Duration) -> CallError {
    // What the service itself says has no source on this side.
    let of_service = status.source().is_none()
        && matches!(
            status.code(),
            Code::Unavailable | Code::Aborted | Code::FailedPrecondition | Code::NotFound | Code::Unknown
        );
    if !of_service {
        return CallError::of_status(node, status, limit);
    }
    let details = details(&status);
    CallError::Gateway { node: node.clone(), source: Box::new(status), details }
}

/// `google.rpc.Status`, as gRPC carries it beside the code.
#[derive(Clone, PartialEq, prost::Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

fn details(status: &Status) -> Box<[GatewayDetail]> {
    let Ok(rich) = RichStatus::decode(status.details()) else { return Box::default() };
    let text = |text: String| text.chars().take(DETAIL_CHARACTERS).collect();
    rich.details
        .into_iter()
        .filter(|any| any.type_url.ends_with("/gateway.ErrorDetail"))
        .filter_map(|any| ErrorDetail::decode(&any.value[..]).ok())
        .take(DETAILS)
        .map(|ErrorDetail { address, msp_id, message }| GatewayDetail {
            address: text(address),
            msp_id: text(msp_id),
            message: text(message),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_say_who_said_what() {
        let node = NodeName { name: "peer0".into(), address: "localhost:7051".into() };
        let detail = |message: &str| ErrorDetail {
            address: "peer0.org2:9051".into(),
            msp_id: "Org2MSP".into(),
            message: message.into(),
        };
        let any = |url: &str, value: Vec<u8>| prost_types::Any { type_url: url.into(), value };
        let known = "type.googleapis.com/gateway.ErrorDetail";
        let rich = RichStatus {
            details: vec![
                any("type.googleapis.com/other", vec![1, 2, 3]),
                any(known, b"rubbish".to_vec()),
                any(known, detail("chaincode response 404, no such asset, sorry").encode_to_vec()),
            ],
        };
        let status = Status::with_details(Code::Aborted, "failed to endorse", rich.encode_to_vec().into());
        let error = failed(&node, status, Duration::ZERO);
        assert_eq!(error.refusal(), Some((404, "no such asset, sorry")));
        assert!(!error.is_retryable() && !error.is_of_this_node());
        assert_eq!(
            error.to_string(),
            "gateway on peer0 (localhost:7051) failed: failed to endorse \
             (peer0.org2:9051 of Org2MSP: chaincode response 404, no such asset, sorry)"
        );
        let rubbish = Status::with_details(Code::Unavailable, "no orderers", vec![0xff; 9].into());
        let error = failed(&node, rubbish, Duration::ZERO);
        assert!(error.is_retryable() && !error.is_certain() && error.is_of_this_node(), "{error:?}");
        let busy = failed(&node, Status::resource_exhausted("too many requests"), Duration::ZERO);
        assert!(matches!(busy, CallError::Busy { .. }) && busy.is_retryable());
    }
}
