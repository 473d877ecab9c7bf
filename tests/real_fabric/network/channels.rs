//! Genesis blocks of the channels, by configtxgen, or the transactions by which a system channel makes them.
//!
//! Anchor peers stand in the genesis block, so nobody has to send an update for gossip to cross organizations. A system
//! channel leaves them out; there each organization adds its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::binaries::Binaries;
use super::layout::{Layout, Node as _, Orderer, Organization};
use super::{Consensus, process};

/// The channel of orderers that have one.
pub const SYSTEM_CHANNEL: &str = "system-channel";

const PROFILE: &str = "Channel";
const SYSTEM_PROFILE: &str = "SystemChannel";
const CONSORTIUM: &str = "SampleConsortium";

/// Makes the genesis block of every channel, or of the system channel alone.
pub fn generate(binaries: &Binaries, layout: &Layout) {
    let folder = layout.directory.join("channels");
    process::write_yaml(&folder.join("configtx.yaml"), &configtx(layout));
    if layout.options.system_channel {
        let mut command = configtxgen(binaries, layout, SYSTEM_PROFILE, SYSTEM_CHANNEL);
        command.arg("-outputBlock").arg(layout.genesis_block(SYSTEM_CHANNEL));
        process::run(&mut command).unwrap_or_else(|error| panic!("genesis block of {SYSTEM_CHANNEL}: {error}"));
        return;
    }
    for channel in &layout.options.channels {
        genesis_block(binaries, layout, channel);
    }
    assert!(fs::read_dir(&folder).is_ok_and(|files| files.count() > layout.options.channels.len()));
}

/// The transaction by which a system channel makes a channel, in a file.
pub fn creation(binaries: &Binaries, layout: &Layout, channel: &str) -> PathBuf {
    let file = layout.directory.join("channels").join(format!("{channel}.tx"));
    let mut command = configtxgen(binaries, layout, PROFILE, channel);
    command.arg("-outputCreateChannelTx").arg(&file);
    process::run(&mut command).unwrap_or_else(|error| panic!("creation of {channel}: {error}"));
    file
}

/// The update by which an organization adds its anchor peers to a channel, in a file.
pub fn anchor_peers(binaries: &Binaries, layout: &Layout, channel: &str, organization: &Organization) -> PathBuf {
    let file = layout.directory.join("channels").join(format!("{channel}.{}.tx", organization.name));
    let mut command = configtxgen(binaries, layout, PROFILE, channel);
    command.args(["-asOrg", organization.msp_id.as_str(), "-outputAnchorPeersUpdate"]).arg(&file);
    process::run(&mut command).unwrap_or_else(|error| panic!("anchor peers in {channel}: {error}"));
    file
}

fn configtxgen(binaries: &Binaries, layout: &Layout, profile: &str, channel: &str) -> Command {
    let mut command = binaries.command("configtxgen");
    command.arg("-configPath").arg(layout.directory.join("channels"));
    command.args(["-profile", profile, "-channelID", channel]);
    command
}

/// Makes one genesis block, once the others were made.
pub fn genesis_block(binaries: &Binaries, layout: &Layout, channel: &str) {
    let mut command = configtxgen(binaries, layout, PROFILE, channel);
    command.arg("-outputBlock").arg(layout.genesis_block(channel));
    process::run(&mut command).unwrap_or_else(|error| panic!("genesis block of {channel}: {error}"));
}

fn configtx(layout: &Layout) -> Value {
    let members: Vec<_> = layout.members().iter().map(organization).collect();
    let batch_timeout = format!("{}ms", layout.options.batch_timeout.as_millis());
    let mut orderer = json!({
        "BatchTimeout": batch_timeout,
        "BatchSize": {"MaxMessageCount": 10, "AbsoluteMaxBytes": "99 MB", "PreferredMaxBytes": "512 KB"},
        "Organizations": members,
        "Policies": {
            "Readers": implicit("ANY OrdererReaders"),
            "Writers": implicit("ANY OrdererWriters"),
            "Admins": implicit("MAJORITY Admins"),
            // BFT writes its own in place of this one: a quorum of the consenters.
            "BlockValidation": implicit("ANY OrdererWriters"),
        },
        "Capabilities": {"V2_0": true},
    });
    let (consensus, channel_capability) = match layout.options.consensus {
        Consensus::Raft => (raft(layout), "V2_0"),
        Consensus::Bft => (bft(layout), "V3_0"),
    };
    for (key, value) in consensus {
        orderer[key] = value;
    }
    let mut profile = json!({
        "Policies": {
            "Readers": implicit("ANY Readers"),
            "Writers": implicit("ANY Writers"),
            "Admins": implicit("MAJORITY Admins"),
        },
        "Capabilities": {channel_capability: true},
    });
    let mut system = profile.clone();
    profile["Application"] = json!({
            "Organizations": members,
            "Policies": {
                "Readers": implicit("ANY Readers"),
                "Writers": implicit("ANY Writers"),
                "Admins": implicit("MAJORITY Admins"),
                "LifecycleEndorsement": implicit("MAJORITY Endorsement"),
                "Endorsement": implicit("MAJORITY Endorsement"),
            },
            "Capabilities": {"V2_5": true},
    });
    if layout.options.system_channel {
        profile["Consortium"] = json!(CONSORTIUM);
        system["Consortiums"] = json!({CONSORTIUM: {"Organizations": members}});
        system["Orderer"] = orderer;
        return json!({"Profiles": {PROFILE: profile, SYSTEM_PROFILE: system}});
    }
    profile["Orderer"] = orderer;
    json!({"Profiles": {PROFILE: profile}})
}

fn raft(layout: &Layout) -> Vec<(&'static str, Value)> {
    let consenters: Vec<_> = layout.member_orderers().map(|(_, orderer)| consenter(orderer)).collect();
    let options = json!({
        "TickInterval": "100ms",
        "ElectionTick": 10,
        "HeartbeatTick": 1,
        "MaxInflightBlocks": 5,
        "SnapshotIntervalSize": "16 MB",
    });
    vec![("OrdererType", json!("etcdraft")), ("EtcdRaft", json!({"Consenters": consenters, "Options": options}))]
}

/// With timeouts so short that a leader that is gone is missed within seconds.
fn bft(layout: &Layout) -> Vec<(&'static str, Value)> {
    let consenters = (1..).zip(layout.member_orderers()).map(|(number, (organization, orderer))| {
        let mut consenter = consenter(orderer);
        consenter["ID"] = json!(number);
        consenter["MSPID"] = json!(organization.msp_id);
        consenter["Identity"] = json!(orderer.certificate());
        consenter
    });
    let options = json!({
        "RequestBatchMaxCount": 10,
        "RequestBatchMaxBytes": 10 << 20,
        "RequestBatchMaxInterval": format!("{}ms", layout.options.batch_timeout.as_millis()),
        "IncomingMessageBufferSize": 200,
        "RequestPoolSize": 1000,
        "RequestForwardTimeout": "1s",
        "RequestComplainTimeout": "3s",
        "RequestAutoRemoveTimeout": "3m0s",
        "ViewChangeResendInterval": "1s",
        "ViewChangeTimeout": "5s",
        "LeaderHeartbeatTimeout": "3s",
        "LeaderHeartbeatCount": 10,
        "CollectTimeout": "500ms",
        "RequestMaxBytes": 10 << 20,
    });
    vec![("OrdererType", json!("BFT")), ("ConsenterMapping", consenters.collect()), ("SmartBFT", options)]
}

pub fn consenter(orderer: &Orderer) -> Value {
    json!({
        "Host": "127.0.0.1",
        "Port": orderer.endpoint.number(),
        "ClientTLSCert": orderer.tls_certificate(),
        "ServerTLSCert": orderer.tls_certificate(),
    })
}

pub fn organization(organization: &Organization) -> Value {
    let anchor = &organization.peers[0].endpoint;
    let orderers: Vec<_> = organization.orderers.iter().map(|orderer| orderer.endpoint.to_string()).collect();
    json!({
        "Name": organization.msp_id,
        "ID": organization.msp_id,
        "MSPDir": organization.msp(),
        "Policies": Map::from_iter([
            signature(organization, "Readers", &["admin", "peer", "client"]),
            signature(organization, "Writers", &["admin", "client"]),
            signature(organization, "OrdererReaders", &["admin", "orderer"]),
            signature(organization, "OrdererWriters", &["admin", "orderer"]),
            signature(organization, "Admins", &["admin"]),
            signature(organization, "Endorsement", &["peer"]),
        ]),
        "OrdererEndpoints": orderers,
        "AnchorPeers": [{"Host": anchor.address().ip(), "Port": anchor.number()}],
    })
}

fn implicit(rule: &str) -> Value {
    json!({"Type": "ImplicitMeta", "Rule": rule})
}

fn signature(organization: &Organization, name: &str, roles: &[&str]) -> (String, Value) {
    let roles: Vec<_> = roles.iter().map(|role| format!("'{}.{role}'", organization.msp_id)).collect();
    (name.to_owned(), json!({"Type": "Signature", "Rule": format!("OR({})", roles.join(", "))}))
}
