//! How the client treats what nodes may answer.
#![allow(clippy::unwrap_used, reason = "tests")]

mod gateway;
mod lifetime;
mod node;
mod orderers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use serde_json::json;

use self::node::{Fault, Ledger, NAME, Script, Take, Tls, config_block, endorsed, refused, tx_id, with_event};
use super::events::{Checkpoint, Start};
use super::profile::ConnectionProfile;
use super::{CallError, Channel, Client, Endorsers, EvaluateError, StreamError, SubmitError, Timeouts};
use crate::fabric::block::ValidationCode;
use crate::fabric::identity::{SignFuture, Signer};
use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::{ChaincodeName, ChannelName, MspId, TxId};
use crate::fabric::package::Package;
use crate::fabric::tx::Invocation;
use crate::pb::common::{Block, Status};
use crate::runtime::Workers;
use crate::runtime::retry::Backoff;

#[derive(Debug)]
struct AnySigner {
    msp_id: MspId,
    creator: Bytes,
}

impl Signer for AnySigner {
    fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    fn creator(&self) -> &Bytes {
        &self.creator
    }

    fn sign<'a>(&'a self, _: &'a [u8]) -> SignFuture<'a> {
        Box::pin(async { Ok(Bytes::from_static(b"signature")) })
    }
}

/// Nodes and a client of theirs.
struct Net {
    peers: Vec<Arc<Script>>,
    orderers: Vec<Arc<Script>>,
    channel: Channel,
    workers: Workers,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.workers.cancel();
    }
}

impl Net {
    async fn new(peers: Vec<Script>, orderers: Vec<Script>) -> Self {
        Self::with(peers, orderers, false).await
    }

    async fn with(peers: Vec<Script>, orderers: Vec<Script>, mutual: bool) -> Self {
        let tls = Tls::new();
        let workers = Workers::new();
        let mut profile = json!({
            "client": {"organization": "Org1"},
            "organizations": {"Org1": {"mspid": "Org1MSP", "peers": []}},
            "peers": {}, "orderers": {},
        });
        if mutual {
            profile["client"]["tlsCerts"] =
                json!({"client": {"cert": {"pem": tls.certificate}, "key": {"pem": tls.key}}});
        }
        let mut served = [Vec::new(), Vec::new()];
        for (at, (kind, scripts)) in [("peers", peers), ("orderers", orderers)].into_iter().enumerate() {
            for (number, script) in scripts.into_iter().enumerate() {
                let (address, script) = script.serve(&tls, mutual, &workers).await;
                let name = format!("{kind}{number}");
                if kind == "peers" {
                    profile["organizations"]["Org1"]["peers"].as_array_mut().unwrap().push(json!(name));
                }
                profile[kind][name] = json!({
                    "url": format!("grpcs://{address}"),
                    "tlsCACerts": {"pem": tls.roots},
                    "grpcOptions": {"ssl-target-name-override": NAME},
                });
                served[at].push(script);
            }
        }
        let [peers, orderers] = served;
        let signer = AnySigner { msp_id: MspId::parse("Org1MSP").unwrap(), creator: "creator".into() };
        let profile = ConnectionProfile::parse(&profile.to_string()).unwrap();
        let timeouts = Timeouts {
            order: Duration::from_millis(300),
            commit: Duration::from_millis(300),
            endorse: Duration::from_secs(5),
            silence: Duration::from_millis(200),
            ..Default::default()
        };
        let client = Client::builder(Arc::new(signer), profile).timeouts(timeouts).build().unwrap();
        let channel = client.channel(ChannelName::parse("c").unwrap());
        Self { peers, orderers, channel, workers }
    }

    async fn submit(&self) -> Result<super::Committed, SubmitError> {
        self.channel.submit(&Invocation::new("cc", "f"), Endorsers::Own).await
    }
}

fn seen(script: &Script) -> usize {
    script.seen.lock().unwrap().envelopes.len()
}

#[tokio::test]
async fn a_query_passes_over_peers_that_cannot_answer() {
    let ledger = Ledger::new();
    let not_running = Script::new(&ledger).endorsing(|_| Ok(refused(false, "chaincode is not running")));
    let denying = Script::new(&ledger).endorsing(|_| Err(tonic::Status::unknown("access denied")));
    let net = Net::new(vec![not_running, denying, Script::new(&ledger)], vec![]).await;
    let query = Invocation::new("cc", "f");
    assert_eq!(net.channel.evaluate(&query).await.unwrap(), "result");
    // The peer that answered is asked first from now on.
    assert_eq!(net.channel.evaluate(&query).await.unwrap(), "result");
    let asked = net.peers.iter().map(|peer| peer.seen.lock().unwrap().proposals).collect::<Vec<_>>();
    assert_eq!(asked, [1, 1, 2]);
}

#[tokio::test]
async fn a_peer_that_keeps_silent_is_not_waited_for() {
    let ledger = Ledger::new();
    let silent = Script::new(&ledger).endorsing(|_| Err(tonic::Status::cancelled("never")));
    let net = Net::new(vec![silent, Script::new(&ledger)], vec![Script::new(&ledger)]).await;
    let begun = std::time::Instant::now();
    assert_eq!(net.submit().await.unwrap().payload, "result");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_chaincodes_refusal_is_its_last_word() {
    let ledger = Ledger::new();
    let refusing = Script::new(&ledger).endorsing(|_| Ok(refused(true, "proposal not found")));
    let net = Net::new(vec![refusing, Script::new(&ledger)], vec![]).await;
    let error = net.channel.evaluate(&Invocation::new("cc", "f")).await.unwrap_err();
    assert!(matches!(&error, EvaluateError::Failed(CallError::Chaincode { status: 500, .. })), "{error:?}");
    assert_eq!(error.refusal(), Some((500, "proposal not found")));
    assert!(!error.is_retryable());
    assert_eq!(net.peers[1].seen.lock().unwrap().proposals, 0);
}

#[tokio::test]
async fn malformed_answers_are_errors() {
    let ledger = Ledger::new();
    let empty = Script::new(&ledger).endorsing(|_| Ok(crate::pb::protos::ProposalResponse::default()));
    let net = Net::new(vec![empty], vec![]).await;
    let error = net.channel.evaluate(&Invocation::new("cc", "f")).await.unwrap_err();
    assert!(matches!(&error, EvaluateError::Failed(CallError::Malformed { .. })), "{error:?}");
    let error = net.submit().await.unwrap_err();
    assert!(matches!(&error, SubmitError::Endorse { .. }), "{error:?}");
    assert!(net.channel.lifecycle().committed_all().await.is_err());
}

#[tokio::test]
async fn a_transaction_is_ordered_by_whoever_takes_it() {
    let ledger = Ledger::new();
    let leaderless = Script::new(&ledger).taking([Take::Refuse(Status::ServiceUnavailable)]);
    let net = Net::new(vec![Script::new(&ledger)], vec![leaderless, Script::new(&ledger)]).await;
    let committed = net.submit().await.unwrap();
    assert_eq!((committed.block, committed.payload), (1, Bytes::from_static(b"result")));
    let sent = |script: &Script| script.seen.lock().unwrap().envelopes.clone();
    assert_eq!(sent(&net.orderers[0]), sent(&net.orderers[1]), "the same bytes");
    assert_eq!(tx_id(&sent(&net.orderers[0])[0]), committed.tx_id.as_str());
    net.submit().await.unwrap();
    assert_eq!((seen(&net.orderers[0]), seen(&net.orderers[1])), (1, 2), "the one that took it is asked first");
}

#[tokio::test]
async fn a_refused_envelope_is_not_shown_around() {
    let ledger = Ledger::new();
    let strict = Script::new(&ledger).taking([Take::Refuse(Status::Forbidden)]);
    let net = Net::new(vec![Script::new(&ledger)], vec![strict, Script::new(&ledger)]).await;
    let error = net.submit().await.unwrap_err();
    assert!(matches!(&error, SubmitError::NotOrdered { .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert_eq!(seen(&net.orderers[1]), 0);
}

#[tokio::test]
async fn without_a_leader_nothing_is_ordered() {
    let ledger = Ledger::new();
    let leaderless = || Script::new(&ledger).taking((0..99).map(|_| Take::Refuse(Status::ServiceUnavailable)));
    let net = Net::new(vec![Script::new(&ledger)], vec![leaderless(), leaderless()]).await;
    let error = net.submit().await.unwrap_err();
    assert!(matches!(&error, SubmitError::NotOrdered { .. }), "{error:?}");
    assert!(error.is_retryable());
    assert!(seen(&net.orderers[0]) > 1, "it is tried again for a while");
}

#[tokio::test]
async fn an_answer_that_is_lost_is_no_loss() {
    let ledger = Ledger::new();
    let net = Net::new(vec![Script::new(&ledger)], vec![Script::new(&ledger).taking([Take::OrderAndHangUp(0)])]).await;
    assert_eq!(net.submit().await.unwrap().block, 1);
}

#[tokio::test]
async fn a_transaction_that_is_lost_is_undecided() {
    let ledger = Ledger::new();
    let net = Net::new(vec![Script::new(&ledger)], vec![Script::new(&ledger).taking([Take::Lose])]).await;
    let error = net.submit().await.unwrap_err();
    assert!(matches!(&error, SubmitError::Undecided { .. }), "{error:?}");
    assert!(!error.is_retryable(), "it may still be committed");
}

#[tokio::test]
async fn a_conflict_is_told_and_tried_anew() {
    let ledger = Ledger::new();
    let code = ValidationCode::PhantomReadConflict;
    let takes = || [Take::Order(code.number()), Take::Order(code.number()), Take::Order(0)];
    let net = Net::new(vec![Script::new(&ledger)], vec![Script::new(&ledger).taking(takes())]).await;
    let error = net.submit().await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    let call = Invocation::new("cc", "f");
    let committed = net.channel.submit_with_retry(&call, Endorsers::Own, Backoff::conflicts()).await.unwrap();
    assert_eq!(committed.block, 3);
}

#[tokio::test]
async fn retries_end_with_their_schedule() {
    let ledger = Ledger::new();
    let takes = (0..99).map(|_| Take::Order(ValidationCode::MvccReadConflict.number()));
    let net = Net::new(vec![Script::new(&ledger)], vec![Script::new(&ledger).taking(takes)]).await;
    let schedule = Backoff::conflicts().attempts(2);
    let error = net.channel.submit_with_retry(&Invocation::new("cc", "f"), Endorsers::Own, schedule).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Invalidated { block: 3, .. }), "{error:?}");
}

/// A channel of the own organization and two others, whose peers answer as told. Nobody serves discovery.
async fn consortium(
    answers: [fn() -> Result<crate::pb::protos::ProposalResponse, tonic::Status>; 2],
) -> (Net, [Arc<Script>; 2]) {
    let ledger = Ledger::new();
    let tls = Tls::new();
    let workers = Workers::new();
    let [second, third] = answers;
    let second = Script::new(&ledger).endorsing(move |_| second()).serve(&tls, false, &workers).await;
    let third = Script::new(&ledger).endorsing(move |_| third()).serve(&tls, false, &workers).await;
    let organizations =
        [("Org1MSP", "", "own:1"), ("Org2MSP", &*tls.roots, &*second.0), ("Org3MSP", &*tls.roots, &*third.0)];
    let block = config_block(&organizations).encode_to_vec();
    let own = Script::new(&ledger).endorsing(move |invoked| {
        let mut answer = endorsed("peer0", b"result");
        if invoked.chaincode == "cscc" {
            answer.response.as_mut().unwrap().payload = block.clone().into();
        }
        Ok(answer)
    });
    let net = Net::new(vec![own], vec![Script::new(&ledger)]).await;
    // Stops with the net.
    let token = net.workers.token();
    net.workers.spawn_to_end("stop the others", async move {
        token.cancelled().await;
        workers.cancel();
        Ok::<(), std::io::Error>(())
    });
    (net, [second.1, third.1])
}

fn proposals(script: &Script) -> usize {
    script.seen.lock().unwrap().proposals
}

#[tokio::test]
async fn other_organizations_are_found_by_their_anchor_peers() {
    let agreed = || Ok(endorsed("other", b"result"));
    let (net, [second, third]) = consortium([agreed, agreed]).await;
    let call = Invocation::new("cc", "f");
    net.channel.submit(&call, Endorsers::AllOrgs).await.unwrap();
    assert_eq!((proposals(&second), proposals(&third)), (1, 1));
    let wanted = Endorsers::Orgs(vec![MspId::parse("Org3MSP").unwrap()]);
    net.channel.submit(&call, wanted).await.unwrap();
    assert_eq!((proposals(&second), proposals(&third)), (1, 2));
    let unknown = Endorsers::Orgs(vec![MspId::parse("Org9MSP").unwrap()]);
    let error = net.channel.submit(&call, unknown).await.unwrap_err();
    assert!(matches!(&error, SubmitError::NoEndorsers { missing, .. } if missing.len() == 1), "{error:?}");
}

#[tokio::test]
async fn a_majority_does_without_the_ones_that_are_away() {
    let away = || Err(tonic::Status::unavailable("away"));
    let (net, [second, third]) = consortium([away, || Ok(endorsed("other", b"result"))]).await;
    let call = Invocation::new("cc", "f");
    net.channel.submit(&call, Endorsers::Majority).await.unwrap();
    assert_eq!((proposals(&second), proposals(&third)), (1, 1));
    let error = net.channel.submit(&call, Endorsers::AllOrgs).await.unwrap_err();
    assert!(
        matches!(&error, SubmitError::Endorse { failures, endorsed, .. }
        if failures.len() == 1 && endorsed.len() == 2),
        "{error:?}"
    );
    assert!(error.is_retryable());
}

#[tokio::test]
async fn endorsers_that_disagree_are_a_conflict() {
    let (net, _) = consortium([|| Ok(endorsed("other", b"another result")), || Ok(refused(true, "not found"))]).await;
    let call = Invocation::new("cc", "f");
    let error = net.channel.submit(&call, Endorsers::Majority).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Mismatch { .. }), "{error:?}");
    assert!(error.is_conflict());
    // One has the proposal, the other not yet.
    let behind = Endorsers::Orgs(vec![MspId::parse("Org1MSP").unwrap(), MspId::parse("Org3MSP").unwrap()]);
    let error = net.channel.submit(&call, behind).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    assert_eq!(error.refusal(), Some((500, "not found")));
    assert_eq!(seen(&net.orderers[0]), 0);
}

#[tokio::test]
async fn blocks_go_on_where_they_stopped() {
    let ledger = Ledger::new();
    for _ in 1..6 {
        ledger.add(&[], &[]);
    }
    let first = Script::new(&ledger).failing([Fault::CutAfter(2), Fault::Skip(4)]);
    let second = Script::new(&ledger).failing([Fault::CutAfter(2), Fault::Refuse(Status::Forbidden)]);
    let net = Net::new(vec![first, second], vec![]).await;
    let numbers: Vec<u64> = net
        .channel
        .blocks(Start::Oldest)
        .filter_map(|block| async { Some(block.ok()?.header?.number) })
        .take(5)
        .collect()
        .await;
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn blocks_of_the_future_are_waited_for_by_an_open_stream() {
    let ledger = Ledger::new();
    let net = Net::new(vec![Script::new(&ledger)], vec![]).await;
    let mut blocks = net.channel.filtered_blocks(Start::Number(3));
    let listening = blocks.listening();
    assert!(tokio::time::timeout(Duration::from_millis(50), blocks.next()).await.is_err());
    assert!(*listening.borrow(), "the peer has shown that it delivers");
    for _ in 1..5 {
        ledger.add(&[], &[]);
    }
    assert_eq!(blocks.next().await.unwrap().unwrap().number, 3);
    assert_eq!(blocks.next().await.unwrap().unwrap().number, 4);
}

#[tokio::test]
async fn a_stream_that_nobody_serves_says_so_and_goes_on() {
    let ledger = Ledger::new();
    let refusing = Script::new(&ledger).failing([Fault::Refuse(Status::Forbidden)]);
    let net = Net::new(vec![refusing], vec![]).await;
    let mut blocks = net.channel.blocks(Start::Newest);
    let error = blocks.next().await.unwrap().unwrap_err();
    let StreamError::Interrupted { failures } = &error else { panic!("{error:?}") };
    assert!(matches!(&failures[..], [CallError::Refused { status: 403, .. }]), "{failures:?}");
    assert!(blocks.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn events_are_of_valid_transactions_and_come_after_the_checkpoint() {
    let ledger = Ledger::new();
    let id = |digit: char| TxId::parse(digit.to_string().repeat(64)).unwrap();
    let event = |digit: char, chaincode: &str| with_event(&id(digit), chaincode, &digit.to_string(), Bytes::new());
    ledger.add(&[event('a', "cc"), event('b', "cc"), event('c', "cc"), event('d', "other")], &[0, 11, 0, 0]);
    // More than gRPC's usual limit.
    ledger.add(&[with_event(&id('e'), "cc", "e", vec![7; 6 << 20].into())], &[0]);
    let net = Net::new(vec![Script::new(&ledger).failing([Fault::CutAfter(2)])], vec![]).await;
    let chaincode = ChaincodeName::parse("cc").unwrap();
    let names = async |start: Start, count: usize| -> Vec<String> {
        let events = net.channel.chaincode_events(&chaincode, start);
        events.filter_map(|event| async { Some(event.ok()?.name) }).take(count).collect().await
    };
    assert_eq!(names(Start::Oldest, 3).await, ["a", "c", "e"]);
    assert_eq!(names(Start::After(Checkpoint { block: 1, tx_id: Some(id('a')) }), 2).await, ["c", "e"]);
    assert_eq!(names(Start::After(Checkpoint::after_block(1)), 1).await, ["e"]);
    assert_eq!(names(Start::Newest, 1).await, ["e"]);
}

#[tokio::test]
async fn mutual_tls_binds_streams_to_the_certificate() {
    let ledger = Ledger::new();
    let net = Net::with(vec![Script::new(&ledger)], vec![Script::new(&ledger)], true).await;
    net.submit().await.unwrap();
    let seeks = &net.peers[0].seen.lock().unwrap().seeks;
    assert_eq!(seeks[0].0.tls_cert_hash.len(), 32);
    assert_eq!(seeks[0].0.channel_id, "c");
}

#[tokio::test]
async fn a_repeated_approval_is_recognized_by_what_is_approved() {
    let definition = ChaincodeDefinition::new(ChaincodeName::parse("cc").unwrap(), "1", 1);
    let approved = crate::pb::lifecycle::QueryApprovedChaincodeDefinitionResult {
        sequence: 1,
        version: "1".to_owned(),
        validation_parameter: definition.clone().with_defaults().validation_parameter,
        ..Default::default()
    };
    let ledger = Ledger::new();
    let peer = Script::new(&ledger).endorsing(move |invoked| {
        Ok(match &invoked.args[0][..] {
            b"QueryApprovedChaincodeDefinition" => {
                let mut answer = endorsed("peer0", b"");
                answer.response.as_mut().unwrap().payload = approved.encode_to_vec().into();
                answer
            }
            _ => {
                refused(true, "attempted to redefine uncommitted sequence (1) for namespace cc with unchanged content")
            }
        })
    });
    let net = Net::new(vec![peer], vec![]).await;
    let lifecycle = net.channel.lifecycle();
    assert_eq!(lifecycle.ensure_approved(&definition, None).await.unwrap(), super::lifecycle::Approval::Already);
    let other = ChaincodeDefinition { version: "2".to_owned(), ..definition };
    assert!(lifecycle.ensure_approved(&other, None).await.is_err());
}

/// Workers run on any thread: what they wait for must be able to move.
#[allow(dead_code, clippy::too_many_arguments, reason = "compiled, not run")]
fn futures_move_between_threads(
    client: &Client,
    channel: &Channel,
    peer: &super::Peer,
    block: &Block,
    invocation: &Invocation,
    definition: &ChaincodeDefinition,
    package: &Package,
) {
    fn moves<T: Send>(_: T) {}
    moves(channel.submit_with_retry(invocation, Endorsers::Majority, Backoff::conflicts()));
    moves(channel.evaluate(invocation));
    moves(channel.lifecycle().ensure_approved(definition, None));
    moves(channel.lifecycle().ensure_committed(definition));
    moves(client.peer_lifecycle(peer).ensure_installed(package));
    moves(client.join(peer, block));
    moves(client.genesis_block(channel.name()));
    moves(client.newest_config_block(channel.name()));
    moves(channel.blocks(Start::Newest));
}
