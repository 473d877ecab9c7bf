//! Who may propose what, and what is said to the others.

use std::sync::Arc;

use bytes::Bytes;

use super::kit::{CHANNEL, net, process, sign};
use crate::chaincode::asset::AssetContract;
use crate::devnet::peer::acl::{Guard, guard};
use crate::fabric::identity::Role;
use crate::fabric::lifecycle::{approved_args, installed_all_args};
use crate::fabric::names::ChaincodeName;
use crate::fabric::tx::Invocation;
use crate::pb::protos::SignedProposal;

#[test]
fn every_resource_has_one_guard() {
    for (resource, expected) in [
        ("_lifecycle/InstallChaincode", Some(Guard::Local(Role::Admin))),
        ("_lifecycle/ApproveChaincodeDefinitionForMyOrg", Some(Guard::Local(Role::Admin))),
        ("_lifecycle/CommitChaincodeDefinition", Some(Guard::Channel("/Channel/Application/Writers"))),
        ("cscc/GetChannels", Some(Guard::Local(Role::Member))),
        ("cscc/GetConfigBlock", Some(Guard::Channel("/Channel/Application/Readers"))),
        ("qscc/GetBlockByTxID", Some(Guard::Channel("/Channel/Application/Readers"))),
        ("peer/Propose", Some(Guard::Channel("/Channel/Application/Writers"))),
        ("cscc/Nothing", None),
        ("", None),
    ] {
        assert_eq!(guard(resource), expected, "for {resource:?}");
    }
}

#[tokio::test]
async fn wrong_proposals_fail_the_call() {
    let net = net();
    let (org1, org2) = (&net.sides[0], &net.sides[1]);
    let read = Invocation::new("asset", "ReadAsset");
    let error = async |proposal: SignedProposal| process(&org1.peer, proposal).await.unwrap_err();

    let rubbish = SignedProposal { proposal_bytes: Bytes::from_static(b"\xff"), signature: Bytes::new() };
    assert!(error(rubbish).await.message().starts_with("failed parsing proposal: error unmarshalling Proposal"));

    let proposal = net.proposal(CHANNEL, &read, &org1.user);
    let said = error(sign(&proposal, &org2.user)).await;
    assert_eq!(said.code(), tonic::Code::Unknown, "as a Go server tells errors");
    assert_eq!(said.message(), "error validating proposal: access denied: channel [ops] creator org [Org1MSP]");

    // Outside of channels a peer knows its own organization only.
    let proposal = net.proposal("", &Invocation::new("cscc", "GetChannels"), &org2.admin);
    let said = error(sign(&proposal, &org2.admin)).await;
    assert_eq!(
        said.message(),
        "error validating proposal: access denied: channel [] creator org unknown, creator is malformed"
    );

    let nowhere = net.ask(0, "nowhere", &read).await;
    assert_eq!((nowhere.status, nowhere.message.as_str()), (500, "channel 'nowhere' not found"));
}

#[tokio::test]
async fn a_proposal_must_be_of_the_last_minutes() {
    let net = net();
    let org1 = &net.sides[0];
    for (minutes, accepted) in [(-16, false), (-14, true), (14, true), (16, false)] {
        org1.peer.faults().clock(minutes * 60_000);
        let proposal = net.proposal("", &Invocation::new("cscc", "GetChannels"), &org1.admin);
        let answer = process(&org1.peer, sign(&proposal, &org1.admin)).await;
        assert_eq!(answer.is_ok(), accepted, "{minutes} minutes: {answer:?}");
        if let Err(error) = answer {
            let said = error.message();
            assert!(said.starts_with("request unauthorized due to incorrect timestamp 20"), "{said}");
            assert!(said.ends_with("Z, peer.authentication.timewindow 15m0s"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_committed_transaction_is_not_endorsed_again() {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    let (tx_id, code) = net.submit(&[0, 1], &Invocation::new("asset", "InitLedger")).await.unwrap();
    assert!(code.is_valid());
    let ledger = net.ledger(0, CHANNEL);
    let envelope = ledger.transaction(&tx_id).unwrap().transaction_envelope.unwrap();
    // The same headers again, under another call.
    let payload = <crate::pb::common::Payload as prost::Message>::decode(envelope.payload).unwrap();
    let header = prost::Message::encode_to_vec(&payload.header.unwrap());
    let again = net.proposal(CHANNEL, &Invocation::new("asset", "GetAllAssets"), &net.sides[0].admin);
    let again = <crate::pb::protos::Proposal as prost::Message>::decode(again.bytes().clone()).unwrap();
    let again = crate::pb::protos::Proposal { header: header.into(), ..again };
    let proposal_bytes = Bytes::from(prost::Message::encode_to_vec(&again));
    let signature = net.sides[0].admin.sign_now(&proposal_bytes);
    let said = process(&net.sides[0].peer, SignedProposal { proposal_bytes, signature }).await.unwrap_err();
    let expected = format!("duplicate transaction found [{tx_id}]. Creator [");
    assert!(said.message().starts_with(&expected), "{}", said.message());
}

#[tokio::test]
async fn installing_and_approving_is_for_admins() {
    let net = net();
    let (peer, user) = (&net.sides[0].peer, &net.sides[0].user);
    let asset = ChaincodeName::parse("asset").unwrap();
    let ask = async |channel: &str, invocation: &Invocation| {
        process(peer, sign(&net.proposal(channel, invocation, user), user)).await.unwrap().response.unwrap()
    };
    let denied = "Failed to authorize invocation due to failed ACL check: Failed verifying that proposal's creator \
                  satisfies local MSP principal during channelless check policy with policy [Admins]: [The identity \
                  is not an admin under this MSP [Org1MSP]: The identity does not contain OU [ADMIN], MSP: [Org1MSP]]";
    for (channel, invocation) in [
        ("", Invocation::lifecycle("QueryInstalledChaincodes", &installed_all_args())),
        (CHANNEL, Invocation::lifecycle("QueryApprovedChaincodeDefinition", &approved_args(&asset, 1))),
    ] {
        assert_eq!(ask(channel, &invocation).await.message, denied);
    }
    let genesis = prost::Message::encode_to_vec(&*net.ledger(0, CHANNEL).block(0).unwrap());
    let join = ask("", &Invocation::new("cscc", "JoinChain").arg(genesis)).await;
    assert!(join.message.starts_with("access denied for [JoinChain][ops]: ["), "{}", join.message);
    // What is for all members goes on.
    assert_eq!(ask("", &Invocation::new("cscc", "GetChannels")).await.status, 200);
    assert_eq!(ask(CHANNEL, &Invocation::new("cscc", "GetConfigBlock").arg(CHANNEL)).await.status, 200);
    // An admin of the other organization is none here.
    let other = &net.sides[1].admin;
    let query = Invocation::lifecycle("QueryInstalledChaincodes", &installed_all_args());
    let response = process(peer, sign(&net.proposal(CHANNEL, &query, other), other)).await.unwrap();
    assert!(response.response.unwrap().message.contains("Failed deserializing proposal creator"));
}

#[tokio::test]
async fn peers_do_not_propose() {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    let peer = &net.sides[0].peer;
    let signer = &peer.signer;
    let read = Invocation::new("asset", "GetAllAssets");
    let said = process(peer, sign(&net.proposal(CHANNEL, &read, signer), signer)).await.unwrap_err();
    let expected = "Failed evaluating policy on signed data during check policy on channel [ops] with policy \
                    [/Channel/Application/Writers]: [";
    assert!(said.message().starts_with(expected), "{}", said.message());
}
