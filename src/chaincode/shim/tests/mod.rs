//! A scripted peer dials the server over loopback: what a peer does on the stream, without Fabric.

mod config;
mod peer;
#[cfg(feature = "devnet")]
mod tls;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::async_trait;

use self::peer::{Peer, answer, tx_id};
use super::{Config, Server};
use crate::chaincode::{Contract, Response, Stub, StubError};
use crate::fabric::names::ChannelName;
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::{ChaincodeEvent, ChaincodeId};
use crate::runtime::Workers;

/// Does what its arguments say, so that a test can ask for any call of the stub.
struct Probe;

#[async_trait]
impl Contract for Probe {
    async fn init(&self, stub: &mut dyn Stub) -> Response {
        match stub.args().first() {
            Some(refused) if refused == "refuse" => Response::failure("not today"),
            _ => Response::success("initialized"),
        }
    }

    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let args: Vec<String> = stub.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match probe(stub, &args).await {
            Ok(payload) => Response::success(payload),
            Err(error) => Response::failure(error.to_string()),
        }
    }
}

async fn probe(stub: &mut dyn Stub, args: &[&str]) -> Result<String, StubError> {
    Ok(match *args {
        ["get", key] => match stub.get_state(key).await? {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "nothing".to_owned(),
        },
        ["put", key, value] => stub.put_state(key, Bytes::from(value.to_owned())).await.map(|()| String::new())?,
        ["del", key] => stub.del_state(key).await.map(|()| String::new())?,
        ["range", start, end] => listed(&stub.get_state_by_range(start, end).await?),
        ["page", size, bookmark] => {
            let size = size.parse().unwrap_or_default();
            let page = stub.get_state_by_range_paged("", "", size, bookmark).await?;
            format!("{}|{}", listed(&page.entries), page.bookmark)
        }
        ["partial", object_type, attribute] => {
            listed(&stub.get_state_by_partial_composite_key(object_type, &[attribute]).await?)
        }
        ["event", name] => stub.set_event(name, Bytes::from_static(b"payload")).map(|()| String::new())?,
        ["who"] => {
            let timestamp = stub.timestamp();
            let transient: Vec<_> = stub.transient().keys().cloned().collect();
            format!(
                "{} {} {} {}.{} {transient:?}",
                stub.channel(),
                &stub.tx_id().as_str()[..4],
                String::from_utf8_lossy(stub.creator()),
                timestamp.seconds,
                timestamp.nanos
            )
        }
        ["call", chaincode, channel, argument] => {
            let channel = ChannelName::parse(channel).ok();
            let args = [Bytes::from(argument.to_owned())];
            let response = stub.invoke_chaincode(chaincode, &args, channel.as_ref()).await?;
            format!("{} {}{}", response.status, response.message, String::from_utf8_lossy(&response.payload))
        }
        ["impatient", first, second] => {
            // The first call is dropped after it was sent: its answer must not become the second's.
            {
                let mut call = stub.get_state(first);
                let polled = futures_util::poll!(call.as_mut());
                assert!(polled.is_pending());
            }
            String::from_utf8_lossy(&stub.get_state(second).await?.unwrap_or_default()).into_owned()
        }
        ["panic"] => panic!("as the test wants"),
        _ => "unknown".to_owned(),
    })
}

fn listed(entries: &[crate::chaincode::KeyValue]) -> String {
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.replace('\0', "/")).collect();
    keys.join(",")
}

/// A server of [`Probe`], and the workers that it ends with.
async fn serve(config: Config) -> (String, Workers) {
    let server = Server::bind(config, Arc::new(Probe)).await.unwrap();
    let address = server.local_address().to_string();
    let workers = Workers::new();
    let token = workers.clone();
    workers.spawn_to_end("server", async move { server.run(&token).await });
    (address, workers)
}

fn plain() -> Config {
    Config::new("127.0.0.1:0".parse().unwrap(), "probe_1:abc")
}

async fn plain_peer() -> (Peer, Workers) {
    let (address, workers) = serve(plain()).await;
    (Peer::dial(&format!("http://{address}")).await, workers)
}

#[tokio::test]
async fn registers_before_anything_else() {
    let (address, workers) = serve(plain()).await;
    let mut peer = Peer::unregistered(&format!("http://{address}")).await;
    let first = peer.receive().await;
    assert_eq!(first.r#type(), Type::Register);
    assert_eq!(ChaincodeId::decode(first.payload).unwrap().name, "probe_1:abc");
    workers.cancel();
    assert!(peer.is_over().await);
    workers.finished().await.unwrap();
}

#[tokio::test]
async fn a_message_out_of_turn_ends_the_stream() {
    let (address, _workers) = serve(plain()).await;
    let mut peer = Peer::unregistered(&format!("http://{address}")).await;
    peer.receive().await;
    peer.send(answer(Type::Ready, "", Vec::new())).await;
    assert_eq!(peer.receive().await.r#type(), Type::Error);
    assert!(peer.is_over().await);
}

#[tokio::test]
async fn keepalives_are_answered() {
    let (mut peer, _workers) = plain_peer().await;
    peer.send(answer(Type::Keepalive, "", Vec::new())).await;
    assert_eq!(peer.receive().await.r#type(), Type::Keepalive);
}

#[tokio::test]
async fn the_ledger_is_read_and_written() {
    let (mut peer, _workers) = plain_peer().await;
    for (args, expected) in [
        (&["get", "a"][..], "200 nothing"),
        (&["put", "a", "1"], "200 "),
        (&["get", "a"], "200 1"),
        (&["put", "", "1"], "500 not a valid key: it is empty"),
        (&["get", ""], "500 not a valid key: it is empty"),
        (&["get", "forbidden"], "500 peer refused: GET_STATE failed"),
        (&["put", "b", "2"], "200 "),
        (&["put", "c", "3"], "200 "),
        (&["put", "d", "4"], "200 "),
        (&["put", "e", "5"], "200 "),
        (&["put", "\0t\0x\0y\0", "6"], "200 "),
        (&["range", "", ""], "200 a,b,c,d,e"),
        (&["range", "b", "d"], "200 b,c"),
        (&["range", "\0", ""], "500 not a valid key: a range of simple keys begins or ends with U+0000"),
        (&["page", "2", ""], "200 a,b|c"),
        (&["page", "2", "c"], "200 c,d|e"),
        (&["page", "2", "e"], "200 e|"),
        (&["page", "0", ""], "500 peer refused: page size 0 is not positive"),
        (&["partial", "t", "x"], "200 /t/x/y/"),
        (&["partial", "t", "z"], "200 "),
        (&["del", "a"], "200 "),
        (&["get", "a"], "200 nothing"),
        (&["impatient", "b", "c"], "200 3"),
        (&["call", "other", "", "x"], "200 200 other got x"),
        (&["call", "other", "mychannel", "x"], "200 200 other/mychannel got x"),
        (&["call", "absent", "", "x"], "200 500 INVOKE_CHAINCODE failed"),
        (&["who"], "200 ops-channel 0000 creator 1767225600.5 [\"secret\"]"),
        (&[], "200 unknown"),
    ] {
        let done = peer.transact(Type::Transaction, args).await;
        assert_eq!(done.shown(), expected, "for {args:?}");
    }
}

#[tokio::test]
async fn events_go_with_the_result() {
    let (mut peer, _workers) = plain_peer().await;
    let done = peer.transact(Type::Transaction, &["event", "sold"]).await;
    let expected =
        ChaincodeEvent { event_name: "sold".into(), payload: Bytes::from_static(b"payload"), ..Default::default() };
    assert_eq!(done.chaincode_event(), Some(expected));
    let refused = peer.transact(Type::Transaction, &["event", ""]).await;
    assert_eq!(refused.shown(), "500 not a valid key: an event's name is empty");
}

#[tokio::test]
async fn initialization_that_fails_is_an_error() {
    let (mut peer, _workers) = plain_peer().await;
    assert_eq!(peer.transact(Type::Init, &[]).await.shown(), "200 initialized");
    assert_eq!(peer.transact(Type::Init, &["refuse"]).await.shown(), "ERROR not today");
}

#[tokio::test]
async fn a_panic_fails_its_transaction_alone() {
    let (mut peer, _workers) = plain_peer().await;
    assert_eq!(peer.transact(Type::Transaction, &["panic"]).await.shown(), "ERROR the contract panicked");
    assert_eq!(peer.transact(Type::Transaction, &["get", "a"]).await.shown(), "200 nothing");
}

#[tokio::test]
async fn transactions_run_side_by_side() {
    let (mut peer, _workers) = plain_peer().await;
    for (tx, key) in [("1", "a"), ("2", "b"), ("3", "c")] {
        peer.begin(Type::Transaction, tx, &["get", key]).await;
    }
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(peer.receive().await);
    }
    assert!(asked.iter().all(|message| message.r#type() == Type::GetState));
    // The last that asked is answered first.
    for message in asked.iter().rev() {
        peer.send(answer(Type::Response, &message.txid, message.txid.clone().into_bytes())).await;
        let done = peer.receive_done().await;
        assert_eq!(done.message.txid, message.txid);
        assert_eq!(done.shown(), format!("200 {}", message.txid));
    }
}

#[tokio::test]
async fn odd_transactions_are_refused() {
    let (mut peer, _workers) = plain_peer().await;
    let mut message = answer(Type::Transaction, &tx_id("1"), Vec::new());
    peer.send(message.clone()).await;
    assert_eq!(peer.receive_done().await.shown(), "ERROR the transaction has no proposal");
    message.payload = Bytes::from_static(b"\xff");
    peer.send(message).await;
    assert!(peer.receive_done().await.shown().starts_with("ERROR chaincode input cannot be decoded"));
    let mut message = Peer::transaction(Type::Transaction, "1", &["get", "a"]);
    message.txid = "../1".into();
    peer.send(message).await;
    assert!(peer.receive_done().await.shown().contains("transaction ID"));
    let mut message = Peer::transaction(Type::Transaction, "1", &["get", "a"]);
    message.channel_id = "Ops".into();
    peer.send(message).await;
    assert!(peer.receive_done().await.shown().contains("channel name"));
    // An answer that nobody waits for, and a transaction that comes twice.
    peer.send(answer(Type::Response, &tx_id("7"), Vec::new())).await;
    peer.begin(Type::Transaction, "8", &["get", "a"]).await;
    let asked = peer.receive().await;
    peer.begin(Type::Transaction, "8", &["get", "a"]).await;
    assert_eq!(peer.receive_done().await.shown(), "ERROR this transaction is under way already");
    peer.send(answer(Type::Response, &asked.txid, b"late".to_vec())).await;
    assert_eq!(peer.receive_done().await.shown(), "200 late");
}

#[tokio::test]
async fn the_end_waits_for_transactions_under_way() {
    let (mut peer, workers) = plain_peer().await;
    peer.begin(Type::Transaction, "1", &["get", "a"]).await;
    let asked = peer.receive().await;
    workers.cancel();
    peer.send(answer(Type::Response, &asked.txid, b"1".to_vec())).await;
    assert_eq!(peer.receive_done().await.shown(), "200 1");
    assert!(peer.is_over().await);
    workers.finished().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_goes_takes_its_transactions_along() {
    let (address, workers) = serve(plain()).await;
    let mut peer = Peer::dial(&format!("http://{address}")).await;
    peer.begin(Type::Transaction, "1", &["get", "a"]).await;
    peer.receive().await;
    drop(peer);
    let mut next = Peer::dial(&format!("http://{address}")).await;
    assert_eq!(next.transact(Type::Transaction, &["get", "a"]).await.shown(), "200 nothing");
    drop(next);
    workers.cancel();
    workers.finished().await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let (address, _workers) = serve(plain()).await;
    let taken = Config::new(address.parse().unwrap(), "probe_1:abc");
    let error = Server::bind(taken, Arc::new(Probe)).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
}
