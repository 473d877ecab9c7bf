//! The crate against real Fabric nodes.
//!
//! Every test here starts its own two-organization network out of ready-made binaries and needs `FABRIC_BIN`, a folder
//! with `peer`, `orderer`, `configtxgen`, `cryptogen` and `osnadmin`; `FABRIC_CCAAS` names the folder of the
//! chaincode-as-a-service builder (default: `../builders/ccaas` beside `FABRIC_BIN`, as official releases lay it).
//! Without `FABRIC_BIN` a test says that it was skipped, and passes.

#![allow(clippy::print_stderr, reason = "tests talk to the person who runs them")]
#![allow(dead_code, reason = "the support modules offer a whole network, not only what the tests below use today")]
#![allow(unreachable_pub, reason = "a test binary has no users: pub marks what a support module offers")]

mod network;
mod program;

use std::time::Duration;

use network::ports::Port;
use network::{Binaries, Network, Options, until};
use opssc::fabric::names::Label;
use opssc::fabric::package::ccaas::{self, Connection};

/// The channel that the chaincode is deployed to.
const CHANNEL: &str = "mychannel";
const CHAINCODE: &str = "asset";

#[test]
fn network_starts_and_survives_a_restarted_peer() {
    let Some(binaries) = Binaries::from_environment("network_starts_and_survives_a_restarted_peer") else { return };
    let mut network = Network::start(&binaries, Options::default());
    for organization in network.organizations() {
        for peer in &organization.peers {
            for channel in network.channels() {
                assert_eq!(peer.height(channel), 1, "{channel} on {}", peer.name);
            }
        }
    }
    network.kill("peer0.org1.example.com");
    network.restart("peer0.org1.example.com");
    let peer = &network.organizations()[0].peers[0];
    until(Duration::from_secs(20), "the peer has opened its ledgers", || match peer.height(CHANNEL) {
        1 => Ok(()),
        height => Err(format!("its height is {height}")),
    });
}

/// What our packages and our contract server are worth to Fabric's own client and peers.
#[test]
fn served_contract_answers_real_peers() {
    let Some(binaries) = Binaries::from_environment("served_contract_answers_real_peers") else { return };
    let network = Network::start(&binaries, Options { channels: vec![CHANNEL.to_owned()], ..Options::default() });
    let mut port = Port::reserve();
    let label = Label::parse("asset_1").expect("a label");
    let package = ccaas::package(&label, &Connection::plain(port.to_string())).expect("a package");
    port.release();
    let _server = program::serve(&network, CHAINCODE, package.id().as_str(), port.address());
    network.deploy(CHANNEL, CHAINCODE, package.bytes(), package.id().as_str());

    network.invoke(CHANNEL, CHAINCODE, &["InitLedger"]).expect("the sample's assets are made");
    let create = ["CreateAsset", "asset9", "blue", "5", "Tomoko", "300"];
    network.invoke(CHANNEL, CHAINCODE, &create).expect("an asset is created");
    let refused = network.invoke(CHANNEL, CHAINCODE, &create).expect_err("it exists already");
    assert!(refused.contains("the asset asset9 already exists"), "{refused}");
    for organization in network.organizations() {
        let all = network.query(organization, CHANNEL, CHAINCODE, &["GetAllAssets"]).expect("a list of assets");
        let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
        let owners: Vec<_> = all.as_array().expect("a list").iter().map(|asset| &asset["Owner"]).collect();
        assert_eq!(owners.last().copied(), Some(&serde_json::Value::from("Tomoko")), "{all}");
        assert!(owners.len() > 1, "{all}");
    }
}
