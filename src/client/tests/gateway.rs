//! Transactions by a peer's Gateway service, and what such a service may do to them.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use prost::Message as _;
use tonic::{Code, Request, Response, Status, async_trait};

use super::node::{Ledger, Script, tx_id};
use super::{AnySigner, Net};
use crate::client::{CallError, Endorsers, EvaluateError, SubmitError, Way};
use crate::fabric::block::ValidationCode;
use crate::fabric::names::MspId;
use crate::fabric::tx::{Invocation, Proposal, response_payload};
use crate::pb::common::{BlockMetadataIndex, Envelope};
use crate::pb::gateway::gateway_server::Gateway;
use crate::pb::gateway::{
    ChaincodeEventsResponse, CommitStatusRequest, CommitStatusResponse, EndorseRequest, EndorseResponse, ErrorDetail,
    EvaluateRequest, EvaluateResponse, SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest,
    SubmitResponse,
};
use crate::pb::protos::{ChaincodeAction, Endorsement, ProposalResponse, Response as ChaincodeResponse};

/// How one call goes wrong.
pub(super) enum GatewayFault {
    /// Not at all.
    None,
    Fail(Status),
    /// It makes a transaction of another call than the one that was proposed.
    Swap,
    /// It does what it was asked for, and the answer is lost.
    LoseAnswer,
}

impl Script {
    fn gateway_fault(&self) -> Result<GatewayFault, Status> {
        match self.gateway.lock().unwrap().pop_front() {
            Some(GatewayFault::Fail(status)) => Err(status),
            fault => Ok(fault.unwrap_or(GatewayFault::None)),
        }
    }
}

/// A transaction as an honest service makes it.
fn endorsed(proposal: &Proposal) -> Envelope {
    let response = ChaincodeResponse { status: 200, payload: "result".into(), ..Default::default() };
    let action = ChaincodeAction { response: Some(response.clone()), ..Default::default() };
    let response = ProposalResponse {
        response: Some(response),
        payload: response_payload(&proposal.hash(), &action),
        endorsement: Some(Endorsement { endorser: "peer0".into(), signature: "signature".into() }),
        ..Default::default()
    };
    let payload = proposal.assemble(&[response]).unwrap().payload().clone();
    Envelope { payload, signature: Bytes::new() }
}

#[async_trait]
impl Gateway for Script {
    type ChaincodeEventsStream = stream::BoxStream<'static, Result<ChaincodeEventsResponse, Status>>;

    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        self.seen.lock().unwrap().organizations.push(request.into_inner().target_organizations);
        self.gateway_fault()?;
        let result = ChaincodeResponse { status: 200, payload: "result".into(), ..Default::default() };
        Ok(Response::new(EvaluateResponse { result: Some(result) }))
    }

    async fn endorse(&self, request: Request<EndorseRequest>) -> Result<Response<EndorseResponse>, Status> {
        let request = request.into_inner();
        self.seen.lock().unwrap().organizations.push(request.endorsing_organizations);
        let bytes = request.proposed_transaction.unwrap().proposal_bytes;
        let proposal = Proposal::decode(bytes.clone()).unwrap();
        let prepared = match self.gateway_fault()? {
            GatewayFault::Swap => {
                // The same length, so that nothing else is different.
                let place = bytes.windows(5).position(|window| window == b"trust").unwrap();
                let mut other = bytes.to_vec();
                other[place..place + 5].copy_from_slice(b"steal");
                endorsed(&Proposal::decode(other).unwrap())
            }
            _ => endorsed(&proposal),
        };
        Ok(Response::new(EndorseResponse { prepared_transaction: Some(prepared) }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let envelope = request.into_inner().prepared_transaction.unwrap();
        self.seen.lock().unwrap().envelopes.push(envelope.clone());
        let fault = self.gateway_fault()?;
        self.ledger.add(&[envelope], &[0]);
        match fault {
            GatewayFault::LoseAnswer => Err(Status::unavailable("no orderers could successfully process transaction")),
            _ => Ok(Response::new(SubmitResponse {})),
        }
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        let wanted = CommitStatusRequest::decode(request.into_inner().request).unwrap().transaction_id;
        let mut blocks = self.ledger.blocks.subscribe();
        let mut found = None;
        let _ = blocks
            .wait_for(|blocks| {
                found = blocks.iter().find_map(|block| {
                    let of_block = &block.data.as_ref().unwrap().data;
                    let place =
                        of_block.iter().position(|bytes| tx_id(&Envelope::decode(bytes.clone()).unwrap()) == wanted)?;
                    let codes =
                        &block.metadata.as_ref().unwrap().metadata[BlockMetadataIndex::TransactionsFilter as usize];
                    Some((i32::from(codes[place]), block.header.as_ref().unwrap().number))
                });
                found.is_some()
            })
            .await;
        let (result, block_number) = found.unwrap();
        Ok(Response::new(CommitStatusResponse { result, block_number }))
    }

    async fn chaincode_events(
        &self,
        _: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }
}

/// A failure of the service with what one node said.
fn failure(code: Code, message: &str, by: (&str, &str)) -> Status {
    let detail = ErrorDetail { address: "node:1".to_owned(), msp_id: by.0.to_owned(), message: by.1.to_owned() };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(),
        value: detail.encode_to_vec(),
    };
    // A google.rpc.Status: code, message, details.
    let mut rich = Vec::new();
    prost::encoding::int32::encode(1, &i32::from(code), &mut rich);
    prost::encoding::string::encode(2, &message.to_owned(), &mut rich);
    prost::encoding::message::encode(3, &any, &mut rich);
    Status::with_details(code, message, rich.into())
}

fn call() -> Invocation {
    Invocation::new("cc", "f").arg("trust")
}

async fn submit(net: &Net, endorsers: Endorsers) -> Result<crate::client::Committed, SubmitError> {
    net.channel.clone().by(Way::Gateway).submit(&call(), endorsers).await
}

fn sent(script: &Script) -> Vec<Envelope> {
    script.seen.lock().unwrap().envelopes.clone()
}

fn organizations(script: &Script) -> Vec<Vec<String>> {
    script.seen.lock().unwrap().organizations.clone()
}

fn msp(id: &str) -> MspId {
    MspId::parse(id).unwrap()
}

#[tokio::test]
async fn a_transaction_goes_by_the_gateway_alone() {
    let ledger = Ledger::new();
    let net = Net::new(vec![Script::new(&ledger)], vec![]).await;
    let committed = submit(&net, Endorsers::Discovered).await.unwrap();
    assert_eq!((committed.block, committed.payload), (1, Bytes::from_static(b"result")));
    submit(&net, Endorsers::Orgs(vec![msp("Org2MSP"), msp("Org1MSP")])).await.unwrap();
    let channel = net.channel.clone().by(Way::Gateway);
    assert_eq!(channel.evaluate(&call()).await.unwrap(), "result");
    channel.evaluate(&Invocation::new("_lifecycle", "f")).await.unwrap();
    let seen: [&[&str]; 4] = [&[], &["Org1MSP", "Org2MSP"], &[], &["Org1MSP"]];
    assert_eq!(organizations(&net.peers[0]), seen, "of the peer itself its own organization is asked");
    assert_eq!(net.peers[0].seen.lock().unwrap().proposals, 0, "nothing went straight to the endorser");
}

#[tokio::test]
async fn a_gateway_that_puts_another_call_in_gets_no_signature() {
    let ledger = Ledger::new();
    let swapping = Script::new(&ledger).failing_as_gateway([GatewayFault::Swap, GatewayFault::Swap]);
    let net = Net::new(vec![swapping], vec![]).await;
    let error = submit(&net, Endorsers::Discovered).await.unwrap_err();
    let SubmitError::Endorse { failures, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(&failures[..], [CallError::Malformed { .. }]), "{error:?}");
    assert!(sent(&net.peers[0]).is_empty());
    // Another own peer steps in.
    let swapping = Script::new(&ledger).failing_as_gateway([GatewayFault::Swap]);
    let net = Net::new(vec![swapping, Script::new(&ledger)], vec![]).await;
    submit(&net, Endorsers::Discovered).await.unwrap();
    assert_eq!((sent(&net.peers[0]).len(), sent(&net.peers[1]).len()), (0, 1));
}

#[tokio::test]
async fn the_chaincodes_refusal_comes_through() {
    let ledger = Ledger::new();
    let status = || failure(Code::Aborted, "failed to endorse", ("Org2MSP", "chaincode response 404, no such asset"));
    let refusing =
        Script::new(&ledger).failing_as_gateway([GatewayFault::Fail(status()), GatewayFault::Fail(status())]);
    let net = Net::new(vec![refusing, Script::new(&ledger)], vec![]).await;
    let error = submit(&net, Endorsers::Discovered).await.unwrap_err();
    assert_eq!(error.refusal(), Some((404, "no such asset")));
    assert!(!error.is_retryable() && !error.is_conflict(), "{error:?}");
    let error = net.channel.clone().by(Way::Gateway).evaluate(&call()).await.unwrap_err();
    assert!(matches!(&error, EvaluateError::Failed(CallError::Gateway { .. })), "{error:?}");
    assert_eq!(error.refusal(), Some((404, "no such asset")));
    assert!(organizations(&net.peers[1]).is_empty(), "another peer would say the same");
}

#[tokio::test]
async fn endorsers_that_disagree_are_a_conflict_here_too() {
    let ledger = Ledger::new();
    let status = failure(Code::Aborted, "failed", ("Org2MSP", "ProposalResponsePayloads do not match"));
    let net = Net::new(vec![Script::new(&ledger).failing_as_gateway([GatewayFault::Fail(status)])], vec![]).await;
    let error = submit(&net, Endorsers::Discovered).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Mismatch { .. }) && error.is_conflict(), "{error:?}");
}

#[tokio::test]
async fn others_step_in_for_organizations_that_are_away() {
    let ledger = Ledger::new();
    let away = failure(Code::Aborted, "failed", ("Org2MSP", "rpc error: code = Unavailable"));
    let net = Net::new(vec![Script::new(&ledger).failing_as_gateway([GatewayFault::Fail(away)])], vec![]).await;
    let two = Endorsers::AtLeast { needed: 2, of: vec![msp("Org1MSP"), msp("Org2MSP"), msp("Org3MSP")] };
    submit(&net, two).await.unwrap();
    assert_eq!(organizations(&net.peers[0]), [["Org1MSP", "Org2MSP"], ["Org1MSP", "Org3MSP"]]);
}

#[tokio::test]
async fn an_own_peer_that_is_away_or_busy_is_passed_over() {
    let ledger = Ledger::new();
    for status in [Status::unavailable("away"), Status::resource_exhausted("too many requests")] {
        let bad = Script::new(&ledger).failing_as_gateway((0..9).map(|_| GatewayFault::Fail(status.clone())));
        let net = Net::new(vec![bad, Script::new(&ledger)], vec![]).await;
        submit(&net, Endorsers::Own).await.unwrap();
        assert_eq!((sent(&net.peers[0]).len(), sent(&net.peers[1]).len()), (0, 1), "for {status}");
    }
}

#[tokio::test]
async fn a_busy_peer_without_a_second_one_is_asked_again_later() {
    let ledger = Ledger::new();
    let busy = || GatewayFault::Fail(Status::resource_exhausted("too many requests"));
    let net = Net::new(vec![Script::new(&ledger).failing_as_gateway([busy(), busy()])], vec![]).await;
    submit(&net, Endorsers::Own).await.unwrap();
    assert_eq!(organizations(&net.peers[0]).len(), 3);
}

#[tokio::test]
async fn an_answer_that_is_lost_on_the_way_back_doubles_nothing() {
    let ledger = Ledger::new();
    let losing = Script::new(&ledger).failing_as_gateway([GatewayFault::None, GatewayFault::LoseAnswer]);
    let net = Net::new(vec![losing], vec![]).await;
    let committed = submit(&net, Endorsers::Own).await.unwrap();
    assert_eq!(committed.block, 1);
    let sent = sent(&net.peers[0]);
    assert!(sent.iter().all(|envelope| envelope == &sent[0]), "the same bytes, whose copies have no effect");
}

#[tokio::test]
async fn what_orderers_refuse_is_not_ordered() {
    let ledger = Ledger::new();
    let refused = Status::aborted("received unsuccessful response from orderer: status=BAD_REQUEST, info=");
    let refusing = Script::new(&ledger).failing_as_gateway([GatewayFault::None, GatewayFault::Fail(refused)]);
    let net = Net::new(vec![refusing, Script::new(&ledger)], vec![]).await;
    let error = submit(&net, Endorsers::Own).await.unwrap_err();
    assert!(matches!(&error, SubmitError::NotOrdered { .. }) && !error.is_retryable(), "{error:?}");
    assert!(sent(&net.peers[1]).is_empty());
    let none = failure(Code::Unavailable, "no orderers could successfully process transaction", ("OrdererMSP", "away"));
    let faults = (0..99).map(|at| if at == 0 { GatewayFault::None } else { GatewayFault::Fail(none.clone()) });
    let net = Net::new(vec![Script::new(&ledger).failing_as_gateway(faults)], vec![]).await;
    let error = submit(&net, Endorsers::Own).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Undecided { .. }), "an orderer may have taken it: {error:?}");
}

#[tokio::test]
async fn stages_are_signed_elsewhere() {
    let ledger = Ledger::new();
    let net = Net::new(vec![Script::new(&ledger)], vec![]).await;
    let channel = net.channel.clone().by(Way::Gateway);
    let proposal = channel.propose(&call()).unwrap();
    // By way of another process.
    let proposal = Proposal::decode(proposal.bytes().clone()).unwrap();
    assert_eq!(
        (proposal.chaincode(), proposal.channel(), proposal.has_transient()),
        ("cc", Some(channel.name()), false)
    );
    let endorsed = channel.endorse_signed(&proposal.signed_with("s1"), Endorsers::Own).await.unwrap();
    assert_eq!(endorsed.result(), "result");
    let transaction = endorsed.into_transaction().signed_with("s2");
    channel.order_signed(&transaction).await.unwrap();
    let question = channel.commit_request(transaction.tx_id()).unwrap().signed_with("s3");
    for _ in 0..2 {
        let status = channel.commit_status_signed(&question).await.unwrap();
        assert_eq!((status.block, status.code), (1, ValidationCode::Valid));
    }
    assert_eq!(sent(&net.peers[0])[0].signature, "s2");
    let unknown = crate::fabric::names::TxId::of(b"another", b"creator");
    let question = channel.commit_request(&unknown).unwrap().signed_with("s4");
    let error = channel.commit_status_signed(&question).await.unwrap_err();
    assert!(matches!(error, SubmitError::Undecided { .. }), "{error:?}");
}

#[test]
fn proposals_that_do_not_hold_together_are_refused() {
    let signer = AnySigner { msp_id: msp("Org1MSP"), creator: "creator".into() };
    let time = prost_types::Timestamp::default();
    let proposal = Proposal::new(
        None,
        &call().transient("k", "secret"),
        &signer.creator,
        crate::fabric::tx::Nonce([7; 24]),
        time,
        crate::pb::common::HeaderType::EndorserTransaction,
    );
    let read = Proposal::decode(proposal.bytes().clone()).unwrap();
    assert_eq!(read.payload_for_tx(), proposal.payload_for_tx(), "without the transient values");
    assert!(read.has_transient() && read.channel().is_none());
    assert_eq!(read.hash(), proposal.hash());
    let mut other = proposal.bytes().to_vec();
    let place = other.windows(7).position(|window| window == b"creator").unwrap();
    other[place] ^= 1;
    let error = Proposal::decode(other).unwrap_err();
    assert!(error.to_string().contains("transaction ID does not follow"), "{error}");
    for end in 0..proposal.bytes().len() {
        assert!(Proposal::decode(proposal.bytes().slice(..end)).is_err(), "cut at {end}");
    }
}
