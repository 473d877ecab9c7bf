//! Nodes that go and come back.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use opssc::client::Endorsers;
use opssc::devnet::{ControlError, DevnetError, Order, control};
use opssc::fabric::block::signatures;
use opssc::fabric::tx::Invocation;
use opssc::pb::common::Block;
use prost::Message as _;
use tonic::Code;

use super::{Network, create, read, submit};

const EITHER: &str = "OR('Org1MSP.peer','Org2MSP.peer')";

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_away_catches_up() {
    let network = Network::with_asset(EITHER).await;
    let (one, two) = (network.user(1), network.user(2));
    network.devnet.stop_peer("peer0.org2").await.unwrap();
    one.submit(&create("a1"), Endorsers::Own).await.unwrap();
    two.evaluate(&read("a1")).await.expect_err("its only peer is away");
    network.devnet.start_peer("peer0.org2").await.unwrap();
    network.devnet.settled(one.name()).await;
    two.evaluate(&read("a1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_orderer_takes_over() {
    let network = Network::with_asset(EITHER).await;
    let one = network.user(1);
    for (down, up, asset) in [("orderer0.org1", "orderer0.org2", "a1"), ("orderer0.org2", "orderer0.org1", "a2")] {
        network.devnet.start_orderer(up).await.unwrap();
        network.devnet.stop_orderer(down).await.unwrap();
        one.submit(&create(asset), Endorsers::Own).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_and_starting_twice_is_harmless() {
    let network = Network::with_asset(EITHER).await;
    for _ in 0..2 {
        network.devnet.stop_node("peer0.org1.example.com").await.unwrap();
    }
    for _ in 0..2 {
        network.devnet.start_node("peer0.org1").await.unwrap();
    }
    network.user(1).submit(&create("a1"), Endorsers::Own).await.unwrap();
    let error = network.devnet.stop_node("peer9.org9").await.unwrap_err();
    assert!(matches!(error, DevnetError::NoNode(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_nothing_behind() {
    // Somebody else may have one of the ports meanwhile: then once more with others.
    for _ in 0..10 {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let taken = opssc::devnet::Devnet::builder(first.path()).organizations(1).start().await.unwrap();
        let port: u16 = taken.organizations()[0].peers[0].address.rsplit(':').next().unwrap().parse().unwrap();
        // The peer's port comes ten after the orderer's.
        let again = || opssc::devnet::Devnet::builder(second.path()).organizations(1).base_port(port.checked_sub(10));
        let error = again().start().await.unwrap_err();
        assert!(matches!(&error, DevnetError::Listen { .. }), "{error:?}");
        taken.shutdown().await.unwrap();
        if let Ok(network) = again().start().await {
            network.shutdown().await.unwrap();
            return;
        }
    }
    panic!("no network starts where another one has failed to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_stops_and_starts_anew_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let devnet = opssc::devnet::Devnet::builder(folder.path()).start().await.unwrap();
        devnet.shutdown().await.unwrap();
    }
    std::fs::remove_file(folder.path().join("network.json")).unwrap();
    let error = opssc::devnet::Devnet::builder(folder.path()).start().await.unwrap_err();
    assert!(matches!(error, DevnetError::ForeignFolder(_)), "{error:?}");
}

/// How long something that must not happen is waited for.
const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_messages_go_wrong_as_often_as_they_are_told() {
    let network = Network::with_asset(EITHER).await;
    let one = network.user(1);
    one.submit(&create("a1"), Endorsers::Own).await.unwrap();
    let faults = network.devnet.faults("peer0.org1").unwrap();
    faults.fail_next(1, Code::PermissionDenied);
    let refused = one.evaluate(&read("a1")).await.unwrap_err();
    assert!(format!("{refused:?}").contains("told to fail"), "{refused:?}");
    one.evaluate(&read("a1")).await.unwrap();
    faults.garbage_next(1);
    one.evaluate(&read("a1")).await.expect_err("the answer was rubbish");
    one.evaluate(&read("a1")).await.unwrap();
    faults.cut_next(1);
    one.evaluate(&read("a1")).await.expect_err("the answer was cut");
    one.evaluate(&read("a1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_answers_when_it_is_let() {
    let network = Network::with_asset(EITHER).await;
    let one = network.user(1);
    one.submit(&create("a1"), Endorsers::Own).await.unwrap();
    let faults = network.devnet.faults("peer0.org1").unwrap();
    for (begin, name) in [(true, "hangs"), (false, "is late")] {
        if begin {
            faults.hang(true);
        } else {
            faults.delay(Duration::from_hours(1));
        }
        let invocation = read("a1");
        let mut asked = std::pin::pin!(one.evaluate(&invocation));
        assert!(tokio::time::timeout(MOMENT, &mut asked).await.is_err(), "the peer {name}");
        faults.clear();
        asked.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_endorses_something_else_is_noticed() {
    let network = Network::with_asset("AND('Org1MSP.peer','Org2MSP.peer')").await;
    let one = network.user(1);
    network.devnet.faults("peer0.org2").unwrap().diverge_next(1);
    submit(&one, &create("a1")).await.expect_err("the endorsements differ");
    submit(&one, &create("a1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_peer_lags_behind() {
    let network = Network::with_asset(EITHER).await;
    let (one, two) = (network.user(1), network.user(2));
    let faults = network.devnet.faults("peer0.org2").unwrap();
    faults.slow_blocks(Duration::from_hours(1));
    one.submit(&create("a1"), Endorsers::Own).await.unwrap();
    let (ahead, behind) = (one.height().await.unwrap(), two.height().await.unwrap());
    assert!(behind < ahead, "{behind} is not below {ahead}");
    faults.clear();
    network.devnet.settled(one.name()).await;
    assert_eq!(two.height().await.unwrap(), ahead);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderer_whose_clock_is_wrong_delivers_nothing() {
    let network = Network::start().await;
    let admin = network.devnet.admin(&super::org(1)).unwrap();
    let name = super::channel_name();
    admin.genesis_block(&name).await.unwrap();
    for node in ["orderer0.org1", "orderer0.org2"] {
        network.devnet.faults(node).unwrap().clock(-3_600_000);
    }
    admin.genesis_block(&name).await.expect_err("requests are an hour off");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_come_over_a_socket_of_the_user_alone() {
    let network = Network::with_asset(EITHER).await;
    let one = network.user(1);
    one.submit(&create("a1"), Endorsers::Own).await.unwrap();
    let folder = network.devnet.folder();
    let nodes = Order::Nodes;
    assert!(matches!(control(folder, &nodes).await.unwrap_err(), ControlError::Connect { .. }));
    let socket = network.devnet.listen_for_orders().unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let node = || "peer0.org1".to_owned();
    control(folder, &Order::Stop { node: node() }).await.unwrap();
    let states = control(folder, &nodes).await.unwrap();
    let up: Vec<_> = states.iter().filter(|state| state.up).map(|state| state.name.as_str()).collect();
    assert_eq!(up, ["orderer0.org1", "orderer0.org2", "peer0.org2"]);
    one.evaluate(&read("a1")).await.expect_err("its peer was stopped");
    control(folder, &Order::Start { node: node() }).await.unwrap();
    one.evaluate(&read("a1")).await.unwrap();
    control(folder, &Order::Fail { node: "all".to_owned(), count: 1, code: 14 }).await.unwrap();
    one.evaluate(&read("a1")).await.expect_err("it was told to fail");
    control(folder, &Order::Clear { node: "all".to_owned() }).await.unwrap();
    one.evaluate(&read("a1")).await.unwrap();
    let refused = control(folder, &Order::Clear { node: "peer9.org9".to_owned() }).await.unwrap_err();
    assert!(matches!(&refused, ControlError::Refused(text) if text.contains("peer9.org9")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_signed_in_turn_by_those_that_are_up() {
    let network = Network::with_asset(EITHER).await;
    let one = network.user(1);
    let signer = async |id: &str| {
        let committed = one.submit(&create(id), Endorsers::Own).await.unwrap();
        let query = Invocation::new("qscc", "GetBlockByNumber").arg("mychannel").arg(committed.block.to_string());
        let block = Block::decode(one.evaluate(&query).await.unwrap()).unwrap();
        let [signature] = &signatures(&block).unwrap()[..] else { panic!("one signature") };
        signature.creator.clone()
    };
    assert_ne!(signer("a1").await, signer("a2").await);
    network.devnet.stop_orderer("orderer0.org2").await.unwrap();
    let alone = signer("a3").await;
    assert_eq!(alone, signer("a4").await);
}
