//! Channels of orderers that have a system channel, before Fabric 3.0.

use std::path::Path;

use serde_json::{Value, json};

use crate::consortium::Consortium;
use crate::membership::{Council, NO_SERVER, addition, command, committed, orderers_are, peers_are_in, vote};
use crate::network::{Binaries, Network, Options, SYSTEM_CHANNEL};
use crate::program::Agent;

const FRESH: &str = "fresh";
const ORDERER_OF_NEWCOMER: &str = "orderer0.org3.example.com";

fn implicit(rule: &str) -> Value {
    json!({"Type": "ImplicitMeta", "Rule": rule})
}

/// A channel of these organizations, as people write it down.
fn profile(organizations: &[&str]) -> Value {
    json!({
        "Consortium": "SampleConsortium",
        "Application": {
            "Policies": {
                "Readers": implicit("ANY Readers"),
                "Writers": implicit("ANY Writers"),
                "Admins": implicit("MAJORITY Admins"),
                "Endorsement": implicit("MAJORITY Endorsement"),
                "LifecycleEndorsement": implicit("MAJORITY Endorsement"),
            },
            "Capabilities": ["V2_5"],
            "Organizations": organizations,
        },
    })
}

pub fn run(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    if binaries.is_3() {
        eprintln!("{test} was skipped: Fabric {} has no system channel", binaries.version());
        return;
    }
    let network = Network::start(&binaries, Options { organizations: 3, system_channel: true, ..Options::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut consortium = Consortium::connect(&network);
    runtime.block_on(consortium.deploy_opssc(&network));
    let [one, two, three] = network.organizations() else { panic!("three organizations") };
    let agents = [one, two, three].map(|organization| Agent::start(&network, organization, NO_SERVER));
    let council = Council { network: &network };
    let members = "Org1MSP,Org2MSP,Org3MSP";
    let register = ["channel", "register", "-c", SYSTEM_CHANNEL, "--type", "system", "--organizations", members];
    command(one, &register);

    // A channel of two of the three.
    let profile = council.file("fresh.json", &profile(&["Org1MSP", "Org2MSP"]));
    let update = network.directory().join("fresh.update.pb");
    let update = update.to_str().expect("a path");
    let make = ["configtx", "create-channel", "--channel-id", FRESH, "--profile", &profile, "--output", update];
    command(one, &make);
    let request = ["proposal", "channel", "request", "--id", "new", "-c", FRESH, "--update", update, "--makes"];
    command(one, &request);
    let shown = vote(two, "new");
    assert!(shown.contains("Org1MSP, Org2MSP"), "{shown}");
    committed(three, "new");
    for organization in [one, two] {
        peers_are_in(organization, FRESH);
        orderers_are(organization, FRESH, "consenter", "active");
    }
    let books = command(three, &["channel", "registered"]);
    let line = books.lines().find(|line| line.starts_with(FRESH)).expect("the channel in the books");
    assert!(line.contains("Org1MSP, Org2MSP") && !line.contains("Org3MSP"), "{books}");

    // It takes an update, and so does the orderers' own channel, in which no peer is.
    let acls = json!([{"Command": "set-acls", "Parameters":
        {"ACLs": {"qscc/GetChainInfo": "/Channel/Application/Readers"}}}]);
    council.change(two, &[one], "fresh-acls", FRESH, &acls);
    let block = json!([{"Command": "set-orderer", "Parameters": {"Orderer": {
        "OrdererType": "etcdraft",
        "BatchTimeout": "150ms",
        "BatchSize": {"MaxMessageCount": 9, "AbsoluteMaxBytes": "90 MB", "PreferredMaxBytes": "400 KB"},
        "EtcdRaftOptions": {"TickInterval": "100ms", "ElectionTick": 10, "HeartbeatTick": 1,
            "MaxInflightBlocks": 5, "SnapshotIntervalSize": "16 MB"},
        "Policies": {
            "Readers": implicit("ANY OrdererReaders"),
            "Writers": implicit("ANY OrdererWriters"),
            "Admins": implicit("MAJORITY Admins"),
            "BlockValidation": implicit("ANY OrdererWriters"),
        },
    }}}]);
    council.change(three, &[one], "system-settings", SYSTEM_CHANNEL, &block);
    let seen = council.configuration(two, SYSTEM_CHANNEL);
    assert!(seen.contains("150ms"), "{seen}");
    let books = command(two, &["channel", "registered"]);
    let line = books.lines().find(|line| line.starts_with(SYSTEM_CHANNEL)).expect("the channel in the books");
    assert!(line.contains("Org1MSP, Org2MSP, Org3MSP"), "{books}");
    for agent in &agents {
        assert!(agent.is_healthy());
    }
}

/// An organization comes into all channels by votes, the orderers' own channel among them, its orderer with it.
pub fn newcomer(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    if binaries.is_3() {
        eprintln!("{test} was skipped: Fabric {} has no system channel", binaries.version());
        return;
    }
    let mut network = Network::start(&binaries, Options { guests: 1, system_channel: true, ..Options::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut consortium = Consortium::connect(&network);
    runtime.block_on(consortium.deploy_opssc(&network));
    // It must not hear of anything before it begins with a block that has it among the consenters.
    network.kill(ORDERER_OF_NEWCOMER);
    let config = {
        let [one, two, three] = network.organizations() else { panic!("three organizations") };
        let _agents = [one, two].map(|organization| Agent::start(&network, organization, NO_SERVER));
        let council = Council { network: &network };
        let register =
            ["channel", "register", "-c", SYSTEM_CHANNEL, "--type", "system", "--organizations", "Org1MSP,Org2MSP"];
        command(one, &register);
        for channel in [SYSTEM_CHANNEL, "ops-channel", "mychannel"] {
            let mut addition = addition(&network, three);
            // It would dial itself, among others, and wait seconds for that each time it looks for blocks.
            addition[0]["Parameters"]["Org"]["OrdererEndpoints"] = json!([]);
            if channel == SYSTEM_CHANNEL {
                addition[0]["Parameters"]["OrgType"] = json!("Consortiums|Orderer");
            }
            council.change(one, &[two], &format!("add-to-{channel}"), channel, &addition);
            let books = command(two, &["channel", "registered"]);
            let line = books.lines().find(|line| line.starts_with(channel)).expect("the channel in the books");
            assert!(line.contains("Org1MSP, Org2MSP, Org3MSP"), "{books}");
        }
        council.config_block(one, SYSTEM_CHANNEL)
    };
    // What its operator does: the orderer starts with the newest configuration of the system channel.
    network.onboard(ORDERER_OF_NEWCOMER, Path::new(&config));
    let [one, two, three] = network.organizations() else { panic!("three organizations") };
    for channel in [SYSTEM_CHANNEL, "ops-channel", "mychannel"] {
        orderers_are(three, channel, "consenter", "active");
    }
    let agents = [
        Agent::start(&network, one, NO_SERVER),
        Agent::start(&network, two, NO_SERVER),
        Agent::start_of_newcomer(&network, three, NO_SERVER),
    ];
    peers_are_in(three, "ops-channel");
    peers_are_in(three, "mychannel");

    // It proposes a channel of its own with one of the others, and its orderer serves that too.
    let council = Council { network: &network };
    let profile = council.file("fresh.json", &profile(&["Org2MSP", "Org3MSP"]));
    let update = network.directory().join("fresh.update.pb");
    let update = update.to_str().expect("a path");
    command(three, &["configtx", "create-channel", "--channel-id", FRESH, "--profile", &profile, "--output", update]);
    command(three, &["proposal", "channel", "request", "--id", "new", "-c", FRESH, "--update", update, "--makes"]);
    vote(one, "new");
    committed(two, "new");
    for organization in [two, three] {
        peers_are_in(organization, FRESH);
        orderers_are(organization, FRESH, "consenter", "active");
    }
    for agent in &agents {
        assert!(agent.is_healthy());
    }
}
