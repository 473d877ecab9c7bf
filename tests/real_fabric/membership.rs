//! Organizations that come into channels by votes, and leave them.
//!
//! Everything is done as people do it, by commands of the organization whose turn it is.

use std::fmt::Write as _;
use std::time::Duration;

use opssc::opssc::calls::ChannelOps;
use serde_json::{Value, json};

use crate::consortium::{Consortium, OPS_CHANNEL, channel_name};
use crate::network::{Binaries, Network, Options, Organization, until};
use crate::program::{self, Agent};

/// How long nodes may take to follow.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Where no chaincode server is ever dialled.
pub const NO_SERVER: &str = "127.0.0.1:9";

const CHANNEL: &str = "mychannel";

/// Proposals of channels as people of a network make them.
pub struct Council<'a> {
    pub network: &'a Network,
}

impl Council<'_> {
    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, content: &Value) -> String {
        let file = self.network.directory().join(name);
        std::fs::write(&file, content.to_string()).expect("a file");
        file.to_str().expect("a path").to_owned()
    }

    /// Proposes changes of a channel.
    pub fn request(&self, by: &Organization, id: &str, channel: &str, operations: &Value) -> String {
        let file = self.file(&format!("{id}.json"), operations);
        command(by, &["proposal", "channel", "request", "--id", id, "-c", channel, "--operations", &file])
    }

    /// Changes of a channel by a proposal that the others agree to, in order.
    pub fn change(&self, by: &Organization, voters: &[&Organization], id: &str, channel: &str, operations: &Value) {
        self.request(by, id, channel, operations);
        for voter in voters {
            vote(voter, id);
        }
        committed(by, id);
    }

    /// The configuration of a channel in lines for people, as an organization gets it.
    pub fn configuration(&self, seen_by: &Organization, channel: &str) -> String {
        let block = self.config_block(seen_by, channel);
        command(seen_by, &["configtx", "show", "--block", &block])
    }

    /// The newest configuration block of a channel, from the orderers, in a file.
    pub fn config_block(&self, seen_by: &Organization, channel: &str) -> String {
        let file = self.network.directory().join(format!("{channel}.{}.block", seen_by.name));
        let file = file.to_str().expect("a path").to_owned();
        command(seen_by, &["channel", "fetch", "config", &file, "-c", channel, "--from-orderers"]);
        file
    }
}

/// Runs a command, which must succeed.
pub fn command(organization: &Organization, arguments: &[&str]) -> String {
    program::command(organization, arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// Signs a proposal; gives what was shown before.
pub fn vote(by: &Organization, id: &str) -> String {
    command(by, &["proposal", "channel", "vote", id, "--yes"])
}

/// Waits until a proposal is committed.
pub fn committed(seen_by: &Organization, id: &str) {
    command(seen_by, &["proposal", "channel", "watch", id, "--timeout", "60"]);
}

/// Waits until all own orderers of an organization have this part in a channel.
pub fn orderers_are(organization: &Organization, channel: &str, relation: &str, status: &str) {
    until(PATIENCE, &format!("orderers of {} are {relation} in {channel}, {status}", organization.name), || {
        let list = program::command(organization, &["orderer", "list", "-c", channel, "--json"])?;
        let parts: Vec<Value> = serde_json::from_str(&list).map_err(|error| format!("{error}: {list}"))?;
        let is = |part: &Value| part["consensusRelation"] == relation && part["status"] == status;
        if !parts.is_empty() && parts.iter().all(is) { Ok(()) } else { Err(list) }
    });
}

/// Waits until all own peers of an organization are in a channel.
pub fn peers_are_in(organization: &Organization, channel: &str) {
    until(PATIENCE, &format!("peers of {} are in {channel}", organization.name), || {
        let list = program::command(organization, &["channel", "list", "--json"])?;
        let list: Vec<Value> = serde_json::from_str(&list).map_err(|error| format!("{error}: {list}"))?;
        let joined = list.iter().filter(|part| part["channel"] == channel && part["height"].is_u64()).count();
        if joined == organization.peers.len() { Ok(()) } else { Err(format!("{list:?}")) }
    });
}

/// An organization, and its orderer among the consenters.
pub fn addition(network: &Network, organization: &Organization) -> Value {
    json!([
        {"Command": "set-org", "Parameters":
            {"OrgType": "Application|Orderer", "Org": network.described(organization)}},
        {"Command": "set-consenter", "Parameters": {"Consenter": network.consenter(organization)}},
    ])
}

pub fn consenter_removal(organization: &Organization) -> Value {
    let address = organization.orderer().endpoint.to_string();
    json!([{"Command": "remove-consenter", "Parameters": {"ConsenterAddress": address}}])
}

fn acls(resource: &str) -> Value {
    json!([{"Command": "set-acls", "Parameters": {"ACLs": {resource: "/Channel/Application/Readers"}}}])
}

pub fn run(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let network = Network::start(&binaries, Options { guests: 1, ..Options::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut consortium = Consortium::connect(&network);
    runtime.block_on(consortium.deploy_opssc(&network));
    let [one, two, three] = network.organizations() else { panic!("three organizations") };
    let mut agents = vec![Agent::start(&network, one, NO_SERVER), Agent::start(&network, two, NO_SERVER)];
    let council = Council { network: &network };
    let ledger = ChannelOps::new(
        consortium.clients[0].channel(channel_name(OPS_CHANNEL)),
        "channel-ops".parse().expect("a name"),
    );
    let members = |channel: &str| {
        runtime.block_on(ledger.get_organizations_in_channel(channel)).expect("the members of a channel")
    };

    // The third organization comes into both channels, its orderer as a consenter.
    for channel in [OPS_CHANNEL, CHANNEL] {
        let id = format!("add-to-{channel}");
        council.request(one, &id, channel, &addition(&network, three));
        if channel == CHANNEL {
            // Something comes between, so it is worked out anew, by one who does not have the newcomer's files.
            council.change(one, &[two], "between", channel, &acls("qscc/GetBlockByNumber"));
            command(two, &["proposal", "channel", "rebase", &id, "--id", "anew"]);
            vote(one, "anew");
            committed(two, "anew");
        } else {
            vote(two, &id);
            committed(one, &id);
        }
        assert_eq!(members(channel), ["Org1MSP", "Org2MSP", "Org3MSP"]);
        command(three, &["orderer", "join", "-c", channel]);
        orderers_are(three, channel, "consenter", "active");
    }
    // Its agent has its peers join the ops channel, brings the contracts there, and learns of them where else they belong.
    agents.push(Agent::start_of_newcomer(&network, three, NO_SERVER));
    peers_are_in(three, OPS_CHANNEL);
    peers_are_in(three, CHANNEL);
    let books = command(three, &["channel", "registered"]);
    assert!(books.contains(CHANNEL) && books.contains("Org3MSP"), "{books}");

    // Three vote: the newcomer's agent is the one that is asked to hand this in.
    let settings = json!([
        {"Command": "set-orderer", "Parameters": {"Orderer": {
            "OrdererType": "etcdraft",
            "BatchTimeout": "300ms",
            "BatchSize": {"MaxMessageCount": 7, "AbsoluteMaxBytes": "90 MB", "PreferredMaxBytes": "400 KB"},
            "EtcdRaftOptions": {"TickInterval": "100ms", "ElectionTick": 10, "HeartbeatTick": 1,
                "MaxInflightBlocks": 5, "SnapshotIntervalSize": "16 MB"},
            "Policies": {
                "Readers": {"Type": "ImplicitMeta", "Rule": "ANY OrdererReaders"},
                "Writers": {"Type": "ImplicitMeta", "Rule": "ANY OrdererWriters"},
                "Admins": {"Type": "ImplicitMeta", "Rule": "MAJORITY Admins"},
                "BlockValidation": {"Type": "ImplicitMeta", "Rule": "ANY OrdererWriters"},
            },
        }}},
        {"Command": "set-channel", "Parameters": {"Channel": {
            "Channel": {"Policies": {
                "Readers": {"Type": "ImplicitMeta", "Rule": "ANY Readers"},
                "Writers": {"Type": "ImplicitMeta", "Rule": "ANY Writers"},
                "Admins": {"Type": "ImplicitMeta", "Rule": "MAJORITY Admins"},
            }},
            "Application": {"Policies": {
            "Readers": {"Type": "ImplicitMeta", "Rule": "ANY Readers"},
            "Writers": {"Type": "ImplicitMeta", "Rule": "ANY Writers"},
            "Admins": {"Type": "ImplicitMeta", "Rule": "MAJORITY Admins"},
            "Endorsement": {"Type": "ImplicitMeta", "Rule": "ANY Endorsement"},
            "LifecycleEndorsement": {"Type": "ImplicitMeta", "Rule": "MAJORITY Endorsement"},
        }}}}},
    ]);
    council.request(one, "settings", CHANNEL, &settings);
    let shown = vote(three, "settings");
    assert!(shown.contains("needs 2 of 3 Admins: have Org1MSP; missing"), "{shown}");
    committed(two, "settings");
    let config = runtime.block_on(consortium.clients[1].channel(channel_name(CHANNEL)).config());
    assert_eq!(config.expect("a configuration").batch().max_messages, 7);
    let seen = council.configuration(three, CHANNEL);
    assert!(seen.contains("300ms") && seen.contains("ANY Endorsement"), "{seen}");
    assert_eq!(members(CHANNEL), ["Org1MSP", "Org2MSP", "Org3MSP"], "a change of settings leaves the members alone");
    let handed_in = agents[2].output();
    assert!(handed_in.contains("is updated by block"), "{handed_in}");

    // Its orderer leaves consensus, then the organization the channel.
    council.change(two, &[three], "remove-consenter", CHANNEL, &consenter_removal(three));
    command(three, &["orderer", "remove", "-c", CHANNEL]);
    until(PATIENCE, "the orderer has left", || {
        let list = program::command(three, &["orderer", "list", "--json"])?;
        if list.contains(CHANNEL) { Err(list) } else { Ok(()) }
    });
    let removal = json!([
        {"Command": "remove-org", "Parameters": {"OrgType": "Application|Orderer", "OrgName": three.msp_id}},
    ]);
    council.change(one, &[two], "remove-org", CHANNEL, &removal);
    assert_eq!(members(CHANNEL), ["Org1MSP", "Org2MSP"]);
    let seen = council.configuration(one, CHANNEL);
    assert!(!seen.contains("Org3MSP"), "{seen}");
    assert_eq!(members(OPS_CHANNEL).len(), 3, "it stays in the other channel");

    leave_the_orderers(&council, [one, two, three]);
    council.change(two, &[three], "acls", OPS_CHANNEL, &acls("qscc/GetChainInfo"));
    assert_eq!(members(OPS_CHANNEL).len(), 3);
    let mut report = String::new();
    for agent in &agents {
        let _ = write!(report, "{} ", agent.is_healthy());
    }
    assert_eq!(report, "true true true ");
}

/// An orderer leaves the ops channel, and all three organizations go on there. Once it is no consenter it may not even
/// hear of that, and peers that are connected to it hear of nothing any more until it is gone from the channel.
fn leave_the_orderers(council: &Council, [one, two, three]: [&Organization; 3]) {
    council.request(three, "shrink", OPS_CHANNEL, &consenter_removal(two));
    vote(one, "shrink");
    let address = two.orderer().endpoint.to_string();
    let port = address.rsplit(':').next().expect("an address");
    until(PATIENCE, "the consenter is removed", || {
        let seen = council.configuration(one, OPS_CHANNEL);
        let consents =
            seen.lines().any(|line| line.contains("consenters.") && line.ends_with(&format!("port: {port}")));
        if consents { Err(seen) } else { Ok(()) }
    });
    command(two, &["orderer", "remove", "-c", OPS_CHANNEL]);
    committed(three, "shrink");
}
