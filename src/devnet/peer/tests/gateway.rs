//! The Gateway service as its clients meet it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use tonic::{Code, Request, Status};

use super::kit::{CHANNEL, Net, net, sign};
use crate::chaincode::asset::AssetContract;
use crate::devnet::peer::gateway::Gatekeeper;
use crate::fabric::identity::{Signer as _, SigningIdentity};
use crate::fabric::tx::Invocation;
use crate::pb::common::{Envelope, Payload};
use crate::pb::gateway::gateway_server::Gateway as _;
use crate::pb::gateway::{
    ChaincodeEventsRequest, CommitStatusRequest, EndorseRequest, ErrorDetail, EvaluateRequest,
    SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest,
};
use crate::pb::orderer::{SeekOldest, SeekPosition, SeekSpecified, seek_position};
use crate::pb::protos::{ChaincodeActionPayload, Transaction};

fn gateway(net: &Arc<Net>, side: usize) -> Gatekeeper {
    let topology = Arc::clone(net) as Arc<dyn crate::devnet::peer::Topology>;
    Gatekeeper { peer: Arc::clone(&net.sides[side].peer), topology, workers: net.workers.clone() }
}

async fn assets() -> Arc<Net> {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    Arc::new(net)
}

fn create(id: &str) -> Invocation {
    let args = [id, "blue", "5", "Tomoko", "300"].map(ToOwned::to_owned);
    args.into_iter().fold(Invocation::new("asset", "CreateAsset"), Invocation::arg)
}

fn details(status: &Status) -> Vec<ErrorDetail> {
    /// `google.rpc.Status`.
    #[derive(Clone, PartialEq, prost::Message)]
    struct RpcStatus {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }
    let outer = RpcStatus::decode(status.details()).unwrap();
    assert!(status.details().is_empty() || (outer.code, &*outer.message) == (status.code() as i32, status.message()));
    let inner = |any: prost_types::Any| {
        assert_eq!(any.type_url, "type.googleapis.com/gateway.ErrorDetail");
        ErrorDetail::decode(&*any.value).unwrap()
    };
    outer.details.into_iter().map(inner).collect()
}

async fn evaluate(
    gateway: &Gatekeeper,
    net: &Net,
    channel: &str,
    call: &Invocation,
    organizations: &[&str],
) -> Result<crate::pb::protos::Response, Status> {
    let user = &net.sides[0].user;
    let proposal = net.proposal(channel, call, user);
    let request = EvaluateRequest {
        transaction_id: proposal.tx_id().to_string(),
        channel_id: channel.to_owned(),
        proposed_transaction: Some(sign(&proposal, user)),
        target_organizations: organizations.iter().map(|&name| name.to_owned()).collect(),
    };
    gateway.evaluate(Request::new(request)).await.map(|response| response.into_inner().result.unwrap())
}

async fn endorse(
    gateway: &Gatekeeper,
    net: &Net,
    call: &Invocation,
    organizations: &[&str],
) -> Result<(Envelope, String), Status> {
    let user = &net.sides[0].user;
    let proposal = net.proposal(CHANNEL, call, user);
    let request = EndorseRequest {
        transaction_id: proposal.tx_id().to_string(),
        channel_id: CHANNEL.to_owned(),
        proposed_transaction: Some(sign(&proposal, user)),
        endorsing_organizations: organizations.iter().map(|&name| name.to_owned()).collect(),
    };
    let response = gateway.endorse(Request::new(request)).await?.into_inner();
    Ok((response.prepared_transaction.unwrap(), proposal.tx_id().to_string()))
}

fn endorsers(transaction: &Envelope) -> usize {
    let payload = Payload::decode(transaction.payload.clone()).unwrap();
    let transaction = Transaction::decode(payload.data).unwrap();
    let action = ChaincodeActionPayload::decode(transaction.actions[0].payload.clone()).unwrap();
    action.action.unwrap().endorsements.len()
}

async fn submit(gateway: &Gatekeeper, mut transaction: Envelope, signer: &SigningIdentity) -> Result<(), Status> {
    transaction.signature = signer.sign_now(&transaction.payload);
    let request = SubmitRequest {
        transaction_id: String::new(),
        channel_id: CHANNEL.to_owned(),
        prepared_transaction: Some(transaction),
    };
    gateway.submit(Request::new(request)).await.map(|_| ())
}

async fn commit_status(gateway: &Gatekeeper, signer: &SigningIdentity, tx_id: &str) -> Result<(i32, u64), Status> {
    let request = CommitStatusRequest {
        transaction_id: tx_id.to_owned(),
        channel_id: CHANNEL.to_owned(),
        identity: signer.creator().clone(),
    };
    let request = Bytes::from(request.encode_to_vec());
    let signature = signer.sign_now(&request);
    let response = gateway.commit_status(Request::new(SignedCommitStatusRequest { request, signature })).await?;
    let response = response.into_inner();
    Ok((response.result, response.block_number))
}

#[tokio::test]
async fn a_transaction_goes_its_whole_way() {
    let net = assets().await;
    let gateway = gateway(&net, 0);
    let user = &net.sides[0].user;
    let (transaction, tx_id) = endorse(&gateway, &net, &create("a1"), &[]).await.unwrap();
    assert_eq!(endorsers(&transaction), 2, "the majority of two organizations are both");
    submit(&gateway, transaction.clone(), user).await.unwrap();
    assert_eq!(commit_status(&gateway, user, &tx_id).await.unwrap(), (0, 4));
    let read = Invocation::new("asset", "ReadAsset").arg("a1");
    let response = evaluate(&gateway, &net, CHANNEL, &read, &[]).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(String::from_utf8_lossy(&response.payload).contains("Tomoko"), "{:?}", response.payload);
    let elsewhere = evaluate(&gateway, &net, CHANNEL, &read, &["Org2MSP"]).await.unwrap();
    assert_eq!(elsewhere.payload, response.payload);
}

#[tokio::test]
async fn named_organizations_endorse_though_it_does_not_suffice() {
    let net = assets().await;
    let gateway = gateway(&net, 0);
    let user = &net.sides[0].user;
    let (transaction, tx_id) = endorse(&gateway, &net, &create("a1"), &["Org2MSP"]).await.unwrap();
    assert_eq!(endorsers(&transaction), 1);
    submit(&gateway, transaction, user).await.unwrap();
    let (code, _) = commit_status(&gateway, user, &tx_id).await.unwrap();
    assert_eq!(code, i32::from(crate::fabric::block::ValidationCode::EndorsementPolicyFailure.number()));
    let error = endorse(&gateway, &net, &create("a2"), &["Org1MSP", "Org7MSP", "Org8MSP"]).await.unwrap_err();
    let expected = "failed to find any endorsing peers for org(s): Org7MSP, Org8MSP";
    assert_eq!((error.code(), error.message()), (Code::Unavailable, expected));
}

#[tokio::test]
async fn what_a_chaincode_refuses_is_told_with_the_peer_that_says_so() {
    let net = assets().await;
    let gateway = gateway(&net, 0);
    let read = Invocation::new("asset", "ReadAsset").arg("nothing");
    let error = evaluate(&gateway, &net, CHANNEL, &read, &[]).await.unwrap_err();
    let said = "chaincode response 500, the asset nothing does not exist";
    assert_eq!(error.code(), Code::Unknown);
    assert_eq!(error.message(), format!("evaluate call to endorser returned error: {said}"));
    let detail =
        ErrorDetail { address: "localhost:7051".to_owned(), msp_id: "Org1MSP".to_owned(), message: said.to_owned() };
    assert_eq!(details(&error), std::slice::from_ref(&detail));
    let error = endorse(&gateway, &net, &read, &[]).await.unwrap_err();
    assert_eq!(error.code(), Code::Aborted);
    assert_eq!(error.message(), "failed to endorse transaction, see attached details for more info");
    assert_eq!(details(&error), [detail]);
    let error = endorse(&gateway, &net, &read, &["Org1MSP", "Org2MSP"]).await.unwrap_err();
    assert_eq!(error.code(), Code::Aborted);
    let expected = "failed to collect enough transaction endorsements, see attached details for more info";
    assert_eq!((error.message(), details(&error).len()), (expected, 2));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let net = assets().await;
    let gateway = gateway(&net, 0);
    let call = Invocation::new("asset", "ReadAsset").arg("a1");
    let error = evaluate(&gateway, &net, "nowhere", &call, &[]).await.unwrap_err();
    let expected = "failed to get config for channel [nowhere]: could not get last config for channel nowhere";
    assert_eq!((error.code(), error.message()), (Code::Unavailable, expected));
    let error = evaluate(&gateway, &net, "", &call, &[]).await.unwrap_err();
    let expected = "failed to unpack transaction proposal: no channel id provided";
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, expected));
    let error = evaluate(&gateway, &net, CHANNEL, &Invocation::new("other", "Read"), &[]).await.unwrap_err();
    let expected = "no peers available to evaluate chaincode other in channel ops";
    assert_eq!((error.code(), error.message()), (Code::FailedPrecondition, expected));
    let hidden = Invocation::new("other", "Read").transient("secret", "s");
    let error = evaluate(&gateway, &net, CHANNEL, &hidden, &[]).await.unwrap_err();
    assert!(error.message().starts_with("no endorsers found in the gateway's organization; "), "{error}");
    let error = endorse(&gateway, &net, &Invocation::new("other", "Read"), &[]).await.unwrap_err();
    let expected = "no combination of peers can be derived which satisfy the endorsement policy: No metadata was found \
                    for chaincode other in channel ops";
    assert_eq!((error.code(), error.message()), (Code::FailedPrecondition, expected));
    let user = &net.sides[0].user;
    let elsewhere = net.proposal("nowhere", &call, user);
    let request = EndorseRequest { proposed_transaction: Some(sign(&elsewhere, user)), ..EndorseRequest::default() };
    let error = gateway.endorse(Request::new(request)).await.unwrap_err();
    assert!(error.message().ends_with("No metadata was found for chaincode asset in channel nowhere"), "{error}");
    let error = gateway.endorse(Request::new(EndorseRequest::default())).await.unwrap_err();
    assert_eq!(error.message(), "the proposed transaction must contain a signed proposal");
    let error = gateway.submit(Request::new(SubmitRequest::default())).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "a prepared transaction is required"));
    let unsigned = SubmitRequest { prepared_transaction: Some(Envelope::default()), ..SubmitRequest::default() };
    let error = gateway.submit(Request::new(unsigned)).await.unwrap_err();
    assert_eq!(error.message(), "prepared transaction must be signed");
}

#[tokio::test]
async fn commit_status_waits_and_is_for_readers() {
    let net = assets().await;
    let gateway = gateway(&net, 0);
    let user = &net.sides[0].user;
    let (transaction, tx_id) = endorse(&gateway, &net, &create("a1"), &[]).await.unwrap();
    let waiting = commit_status(&gateway, user, &tx_id);
    let (status, submitted) = tokio::join!(waiting, submit(&gateway, transaction, user));
    submitted.unwrap();
    assert_eq!(status.unwrap(), (0, 4));

    let request =
        CommitStatusRequest { transaction_id: tx_id, channel_id: CHANNEL.to_owned(), identity: user.creator().clone() };
    let request = Bytes::from(request.encode_to_vec());
    let forged = SignedCommitStatusRequest { request, signature: user.sign_now(b"something else") };
    let error = gateway.commit_status(Request::new(forged)).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let error = commit_status(&gateway, user, "").await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "transaction ID should not be empty"));
}

#[tokio::test]
async fn events_begin_where_they_are_wanted() {
    let net = assets().await;
    let gateway = gateway(&net, 0);
    let user = &net.sides[0].user;
    let mut ids = Vec::new();
    for id in ["a1", "a2", "a3"] {
        ids.push(net.submit(&[0, 1], &create(id)).await.unwrap().0.to_string());
    }
    let request = |start: Option<seek_position::Type>, after: &str, chaincode: &str| {
        let request = ChaincodeEventsRequest {
            channel_id: CHANNEL.to_owned(),
            chaincode_id: chaincode.to_owned(),
            identity: user.creator().clone(),
            start_position: start.map(|r#type| SeekPosition { r#type: Some(r#type) }),
            after_transaction_id: after.to_owned(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = user.sign_now(&request);
        Request::new(SignedChaincodeEventsRequest { request, signature })
    };
    let specified = |number| Some(seek_position::Type::Specified(SeekSpecified { number }));
    let mut from_five = gateway.chaincode_events(request(specified(5), "", "asset")).await.unwrap().into_inner();
    let first = from_five.next().await.unwrap().unwrap();
    assert_eq!((first.block_number, &first.events[0].tx_id), (5, &ids[1]));
    assert_eq!((first.events[0].event_name.as_str(), first.events[0].payload.is_empty()), ("CreateAsset", false));

    let mut after = gateway.chaincode_events(request(specified(0), &ids[1], "asset")).await.unwrap().into_inner();
    assert_eq!(after.next().await.unwrap().unwrap().events[0].tx_id, ids[2]);

    let mut later = gateway.chaincode_events(request(None, "", "asset")).await.unwrap().into_inner();
    let mut other = gateway.chaincode_events(request(specified(0), "", "other")).await.unwrap().into_inner();
    let fourth = net.submit(&[0, 1], &create("a4")).await.unwrap().0;
    assert_eq!(later.next().await.unwrap().unwrap().events[0].tx_id, fourth.as_str());
    assert!(futures_util::poll!(other.next()).is_pending(), "that chaincode says nothing");

    let oldest = Some(seek_position::Type::Oldest(SeekOldest {}));
    let error = gateway.chaincode_events(request(oldest, "", "asset")).await.err().unwrap();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.message(), "invalid start position type: *orderer.SeekPosition_Oldest");
}
