//! Nodes that go and come back.

use opssc::client::Endorsers;
use opssc::devnet::DevnetError;

use super::{Network, create, read};

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
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let taken = opssc::devnet::Devnet::builder(first.path()).organizations(1).start().await.unwrap();
    let port: u16 = taken.organizations()[0].peers[0].address.rsplit(':').next().unwrap().parse().unwrap();
    // The peer's port comes ten after the orderer's.
    let again = || opssc::devnet::Devnet::builder(second.path()).organizations(1).base_port(port.checked_sub(10));
    let error = again().start().await.unwrap_err();
    assert!(matches!(&error, DevnetError::Listen { .. }), "{error:?}");
    taken.shutdown().await.unwrap();
    again().start().await.unwrap().shutdown().await.unwrap();
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
