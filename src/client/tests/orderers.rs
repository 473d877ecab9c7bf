//! Envelopes on their way to orderers of which some are away, and some may lie.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use prost::Message as _;

use super::node::{Ledger, NAME, Script, Take, add_orderers, config_block, endorsed};
use super::{Net, seen};
use crate::client::events::Start;
use crate::client::{BroadcastError, Endorsers, SubmitError};
use crate::fabric::tx::Invocation;
use crate::pb::common::Status;

/// Four orderers of a BFT channel.
async fn byzantine(takes: [Vec<Take>; 4]) -> Net {
    let ledger = Ledger::new();
    let config = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&config);
    let peer = Script::new(&ledger).endorsing(move |invoked| {
        let mut answer = endorsed("peer0", b"result");
        if invoked.chaincode == "cscc" {
            answer.response.as_mut().unwrap().payload = told.lock().unwrap().clone().into();
        }
        Ok(answer)
    });
    let orderers = takes.into_iter().map(|takes| Script::new(&ledger).taking(takes)).collect();
    let net = Net::new(vec![peer], orderers).await;
    let addresses: Vec<&str> = net.channel.client().orderers().iter().map(super::super::Orderer::address).collect();
    let mut block = config_block(&[("Org1MSP", "", "own:1")]);
    add_orderers(&mut block, "BFT", &addresses);
    *config.lock().unwrap() = block.encode_to_vec();
    net
}

fn refusing(status: Status) -> Vec<Take> {
    (0..99).map(|_| Take::Refuse(status)).collect()
}

async fn submit(net: &Net) -> Result<crate::client::Committed, SubmitError> {
    net.channel.submit(&Invocation::new("cc", "f"), Endorsers::Own).await
}

#[tokio::test]
async fn all_are_told_and_a_quorum_is_enough() {
    let liar = refusing(Status::BadRequest);
    let net = byzantine([vec![], liar, vec![Take::Known], vec![]]).await;
    submit(&net).await.unwrap();
    for orderer in &net.orderers {
        assert_eq!(seen(orderer), 1);
    }
}

#[tokio::test]
async fn too_few_are_no_quorum() {
    let away = || refusing(Status::ServiceUnavailable);
    let lose = || (0..99).map(|_| Take::Lose).collect();
    let net = byzantine([lose(), lose(), away(), away()]).await;
    let error = submit(&net).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Undecided { .. }), "two took it: {error:?}");
    let net = byzantine([away(), away(), away(), away()]).await;
    let error = submit(&net).await.unwrap_err();
    assert!(matches!(&error, SubmitError::NotOrdered { .. }) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn one_liar_does_not_refuse_and_two_do() {
    let (away, no) = (|| refusing(Status::ServiceUnavailable), || refusing(Status::Forbidden));
    let net = byzantine([no(), away(), away(), away()]).await;
    let error = submit(&net).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let net = byzantine([no(), away(), no(), away()]).await;
    let error = submit(&net).await.unwrap_err();
    assert!(
        matches!(&error, SubmitError::NotOrdered { source: BroadcastError::Refused(_), .. }) && !error.is_retryable(),
        "{error:?}"
    );
}

#[tokio::test]
async fn orderers_that_only_the_channel_names_are_found() {
    let ledger = Ledger::new();
    let away = Script::new(&ledger).taking(refusing(Status::ServiceUnavailable));
    let tls = super::Tls::new();
    let workers = crate::runtime::Workers::new();
    let (address, known) = Script::new(&ledger).serve(&tls, false, &workers).await;
    let mut block = config_block(&[("Org1MSP", &tls.roots, "own:1")]);
    add_orderers(&mut block, "etcdraft", &[&address]);
    let peer = Script::new(&ledger).endorsing(move |invoked| {
        let mut answer = endorsed("peer0", b"result");
        if invoked.chaincode == "cscc" {
            answer.response.as_mut().unwrap().payload = block.encode_to_vec().into();
        }
        Ok(answer)
    });
    let net = Net::new(vec![peer], vec![away]).await;
    submit(&net).await.unwrap();
    assert_eq!(seen(&known), 1);
    // The one that is away is not asked first again.
    submit(&net).await.unwrap();
    assert_eq!((seen(&known), seen(&net.orderers[0])), (2, 1), "at {NAME}");
    workers.cancel();
}

/// Streams that were dropped instead stayed open at the orderer, and after some thousands it took no more.
#[tokio::test]
async fn streams_of_envelopes_are_ended() {
    let ledger = Ledger::new();
    let net = Net::new(vec![Script::new(&ledger)], vec![Script::new(&ledger)]).await;
    let channel = &net.channel;
    let endorsed = channel.endorse(&Invocation::new("cc", "f"), Endorsers::Own).await.unwrap();
    let transaction = endorsed.into_transaction().signed_with("signature");
    for _ in 0..5 {
        channel.order_signed(&transaction).await.unwrap();
    }
    let orderer = &net.orderers[0];
    assert_eq!(seen(orderer), 5);
    // Not all of them where the machine is very slow.
    assert!(orderer.ended.load(Ordering::SeqCst) > 0);
}

/// As above: a peer serves only so many streams, and each transaction opens one to hear of its commit.
#[tokio::test]
async fn streams_of_blocks_that_nobody_reads_any_more_are_not_left_open() {
    let ledger = Ledger::new();
    let net = Net::new(vec![Script::new(&ledger)], vec![]).await;
    let mut blocks = Vec::new();
    for _ in 0..3 {
        let mut stream = net.channel.blocks(Start::Newest);
        stream.next().await.unwrap().unwrap();
        blocks.push(stream);
    }
    assert_eq!(ledger.blocks.receiver_count(), 3);
    drop(blocks);
    tokio::time::timeout(Duration::from_mins(1), ledger.blocks.closed()).await.expect("the peer hears of it");
}
