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

use std::time::Duration;

use network::{Binaries, Network, Options, until};

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
    until(Duration::from_secs(20), "the peer has opened its ledgers", || match peer.height("mychannel") {
        1 => Ok(()),
        height => Err(format!("its height is {height}")),
    });
}
