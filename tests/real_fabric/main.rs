//! The crate against real Fabric nodes.
//!
//! Every test here starts its own two-organization network out of ready-made binaries and needs `FABRIC_BIN`, a folder
//! with `peer`, `orderer`, `configtxgen`, `cryptogen` and `osnadmin`; `FABRIC_CCAAS` names the folder of the
//! chaincode-as-a-service builder (default: `../builders/ccaas` beside `FABRIC_BIN`, as official releases lay it).
//! Without `FABRIC_BIN` a test says that it was skipped, and passes.

#![allow(clippy::print_stderr, reason = "tests talk to the person who runs them")]
#![allow(dead_code, reason = "the support modules offer a whole network, not only what the tests below use today")]
#![allow(unreachable_pub, reason = "a test binary has no users: pub marks what a support module offers")]

mod administration;
mod by_hand;
mod channels;
mod consortium;
mod flows;
mod latecomers;
mod membership;
mod network;
mod outages;
mod packages;
mod program;
mod proposals;
mod rubbish;
mod soak;
mod system_channel;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use consortium::{Consortium, channel_name};
use futures_util::StreamExt as _;
use network::ports::Port;
use network::{Binaries, Consensus, Network, Options, until};
use opssc::client::Endorsers;
use opssc::client::events::Start;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, Label};
use opssc::fabric::package::ccaas::{self, Connection};
use opssc::fabric::tx::Invocation;
use opssc::runtime::retry::Backoff;
use program::{Agent, proposal};

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

/// The client library alone: deploys, invokes, conflicts and listens, where nodes ask for TLS certificates.
#[test]
fn client_deploys_and_invokes() {
    let Some(binaries) = Binaries::from_environment("client_deploys_and_invokes") else { return };
    let options = Options { channels: vec![CHANNEL.to_owned()], mutual_tls: true, ..Options::default() };
    let network = Network::start(&binaries, options);
    let mut port = Port::reserve();
    let label = Label::parse("asset_1").expect("a label");
    let package = ccaas::package(&label, &Connection::plain(port.to_string())).expect("a package");
    port.release();
    let _server = program::serve(&network, CHAINCODE, package.id().as_str(), port.address());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let consortium = Consortium::connect(&network);
        let name = ChaincodeName::parse(CHAINCODE).expect("a name");
        let definition = ChaincodeDefinition::new(name.clone(), "1", 1);
        consortium.deploy(CHANNEL, &definition, &[package.clone(), package.clone()]).await;
        // Doing it again finds everything done.
        consortium.deploy(CHANNEL, &definition, &[package.clone(), package.clone()]).await;

        let channel = consortium.clients[0].channel(channel_name(CHANNEL));
        let mut events = channel.chaincode_events(&name, Start::Oldest);
        invoke(&consortium, 1, "asset1").await;
        let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("an event in time");
        let event = event.expect("the stream goes on").expect("an event");
        assert_eq!(event.name, "CreateAsset");

        // Two at once change the same asset: one of them must be tried again.
        let update = |owner: &str| Invocation::new(CHAINCODE, "TransferAsset").arg("asset1").arg(owner.to_owned());
        let (one, two) = (update("Brad"), update("Adriana"));
        let other = consortium.clients[1].channel(channel_name(CHANNEL));
        let (one, two) = tokio::join!(
            channel.submit_with_retry(&one, Endorsers::AllOrgs, Backoff::conflicts()),
            other.submit_with_retry(&two, Endorsers::AllOrgs, Backoff::conflicts()),
        );
        let (one, two) = (one.expect("the first transfer"), two.expect("the second transfer"));
        assert_ne!(one.block, two.block, "the same block cannot hold both");
    });
}

#[test]
fn flows_on_raft() {
    flows::run("flows_on_raft", Consensus::Raft, false);
}

#[test]
fn flows_on_raft_with_mutual_tls() {
    flows::run("flows_on_raft_with_mutual_tls", Consensus::Raft, true);
}

#[test]
fn flows_on_bft() {
    flows::run("flows_on_bft", Consensus::Bft, false);
}

#[test]
fn flows_on_bft_with_mutual_tls() {
    flows::run("flows_on_bft_with_mutual_tls", Consensus::Bft, true);
}

/// Packages of every kind are installed by real peers, and unpacked to what went into them.
#[test]
fn packages_are_installed() {
    packages::run("packages_are_installed");
}

#[test]
fn orderers_are_administered() {
    administration::run("orderers_are_administered");
}

#[test]
fn organizations_come_and_go() {
    membership::run("organizations_come_and_go");
}

#[test]
fn latecomers_get_what_was_deployed() {
    latecomers::run("latecomers_get_what_was_deployed");
}

#[test]
fn a_system_channel_makes_channels() {
    system_channel::run("a_system_channel_makes_channels");
}

#[test]
fn an_organization_comes_by_way_of_the_system_channel() {
    system_channel::newcomer("an_organization_comes_by_way_of_the_system_channel");
}

#[test]
fn consenters_of_bft_come_and_go() {
    by_hand::consenters("consenters_of_bft_come_and_go");
}

#[test]
fn peers_join_from_snapshots() {
    by_hand::snapshot("peers_join_from_snapshots");
}

#[test]
fn channels_are_made_and_bad_updates_are_told() {
    proposals::run("channels_are_made_and_bad_updates_are_told");
}

/// Two agents carry a chaincode from a proposal to an invocation, and then to its second sequence, which is voted while
/// one of the agents is down.
#[test]
fn proposals_end_as_committed_chaincode() {
    let Some(binaries) = Binaries::from_environment("proposals_end_as_committed_chaincode") else { return };
    let network = Network::start(&binaries, Options { peers_per_organization: 2, ..Options::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut consortium = Consortium::connect(&network);
    let began = Instant::now();
    runtime.block_on(consortium.deploy_opssc(&network));
    eprintln!("OpsSC is deployed after {:.1} s", began.elapsed().as_secs_f32());

    // One chaincode server for each sequence: the package ID, and so what the server registers as, differs.
    let port = reserve_on_two_addresses();
    let template = format!("127.0.0.{{sequence}}:{port}");
    let server = |sequence: u8| {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, sequence), port));
        let label = Label::parse(format!("{CHAINCODE}-{sequence}")).expect("a label");
        let package = ccaas::package(&label, &Connection::plain(address.to_string())).expect("a package");
        program::serve(&network, CHAINCODE, package.id().as_str(), address)
    };

    let [org1, org2] = network.organizations() else { panic!("two organizations") };
    let _agent1 = Agent::start(&network, org1, &template);
    let mut agent2 = Agent::start(&network, org2, &template);

    let request = ["request", "--channel", CHANNEL, "--chaincode", CHAINCODE, "--repository", "example.com/asset"];
    let _first_server = server(1);
    let requested = proposal(org1, &[&request[..], &["--id", "first", "--commit", "v1"]].concat());
    requested.expect("the first proposal is requested");
    let began = Instant::now();
    proposal(org2, &["vote", "first"]).expect("the second organization votes");
    let watched = proposal(org1, &["watch", "first", "--timeout", "60"]).expect("the first proposal is committed");
    eprintln!("{watched}from vote to committed: {:.2} s", began.elapsed().as_secs_f32());
    runtime.block_on(invoke(&consortium, 1, "asset1"));

    agent2.kill();
    let _second_server = server(2);
    let requested = proposal(org1, &[&request[..], &["--id", "second", "--commit", "v2"]].concat());
    requested.expect("the second proposal is requested");
    proposal(org2, &["vote", "second"]).expect("the second organization votes");
    agent2.restart();
    let watched = proposal(org2, &["watch", "second", "--timeout", "60"]).expect("the second proposal is committed");
    eprintln!("{watched}");
    runtime.block_on(invoke(&consortium, 2, "asset2"));
    eprintln!("an agent takes {:?} KiB of memory", agent2.resident_memory());
}

/// The chaincode is committed with this sequence, and answers clients of both organizations.
async fn invoke(consortium: &Consortium, sequence: i64, asset: &str) {
    let [client1, client2] = &consortium.clients[..] else { panic!("two organizations") };
    let channel = client1.channel(channel_name(CHANNEL));
    let name = ChaincodeName::parse(CHAINCODE).expect("a name");
    let committed = channel.lifecycle().committed(&name).await.expect("an answer").expect("a definition");
    assert_eq!(committed.definition.sequence, sequence);
    assert_eq!(committed.definition.version, sequence.to_string());
    assert!(committed.approvals.values().all(|approved| *approved), "{:?}", committed.approvals);

    let create = ["blue", "5", "Tomoko", "300"]
        .into_iter()
        .fold(Invocation::new(CHAINCODE, "CreateAsset").arg(asset.to_owned()), Invocation::arg);
    channel.submit(&create, Endorsers::AllOrgs).await.expect("an asset is created");
    let read = Invocation::new(CHAINCODE, "ReadAsset").arg(asset.to_owned());
    let answer = client2.channel(channel_name(CHANNEL)).evaluate(&read).await.expect("the asset is read");
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["Owner"], "Tomoko");
}

/// A port that is free on 127.0.0.1 and on 127.0.0.2.
fn reserve_on_two_addresses() -> u16 {
    let port = Port::reserve();
    let second = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port.number()));
    if second.is_ok() { port.number() } else { reserve_on_two_addresses() }
}
