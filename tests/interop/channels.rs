//! A channel from its first block to a new configuration, by `peer channel` and `osnadmin` on the embedded network.

use std::time::{Duration, Instant};

use opssc::fabric::block::data_hash;
use opssc::pb::common::{
    Block, ChannelHeader, Config, ConfigEnvelope, ConfigGroup, ConfigUpdate, ConfigUpdateEnvelope, ConfigValue,
    Envelope, Header, HeaderType, Payload,
};
use opssc::pb::orderer::BatchTimeout;
use prost::Message as _;
use serde_json::Value;

use crate::binaries::{Cli, osnadmin_of, run, succeed};
use crate::embedded::{CHANNEL, Embedded, OTHER_CHANNEL};
use crate::network::Binaries;

/// A channel that the network does not begin with.
const NEW: &str = "newchannel";

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_command_joins_reads_and_changes_channels() {
    let test = "the_peer_command_joins_reads_and_changes_channels";
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let network = Embedded::start().await;
    tokio::task::block_in_place(|| {
        let cli = Cli { binaries: &binaries, network: &network };
        join(&cli);
        fetch(&cli);
        update(&cli);
    });
}

fn payload(block: &Block) -> Payload {
    let envelope = Envelope::decode(block.data.as_ref().unwrap().data[0].clone()).unwrap();
    Payload::decode(envelope.payload).unwrap()
}

/// The first block of a channel, made that of another one.
fn renamed(block: &mut Block, name: &str) {
    let data = block.data.as_mut().unwrap();
    let mut envelope = Envelope::decode(data.data[0].clone()).unwrap();
    let mut payload = Payload::decode(envelope.payload).unwrap();
    let header = payload.header.as_mut().unwrap();
    let mut channel = ChannelHeader::decode(header.channel_header.clone()).unwrap();
    name.clone_into(&mut channel.channel_id);
    header.channel_header = channel.encode_to_vec().into();
    envelope.payload = payload.encode_to_vec().into();
    data.data[0] = envelope.encode_to_vec().into();
    block.header.as_mut().unwrap().data_hash = data_hash(data).to_vec().into();
}

/// What an organization's peer says of a channel.
fn info(cli: &Cli<'_>, number: usize, channel: &str) -> Value {
    let told = succeed(&mut cli.peer(number, &["channel", "getinfo", "-c", channel]));
    let (_, info) = told.split_once("Blockchain info: ").unwrap_or_else(|| panic!("{told}"));
    serde_json::from_str(info.lines().next().unwrap()).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn join(cli: &Cli<'_>) {
    let first = cli.network.folder().join(format!("channel-artifacts/{CHANNEL}.block"));
    let mut block = Block::decode(std::fs::read(first).unwrap().as_slice()).unwrap();
    renamed(&mut block, NEW);
    let file = cli.file("new.block");
    std::fs::write(&file, block.encode_to_vec()).unwrap();
    let file = file.to_str().unwrap();
    for number in [0, 1] {
        let listed = succeed(&mut cli.peer(number, &["channel", "list"]));
        let known = |name: &str| listed.lines().any(|line| line == name);
        assert!(known(CHANNEL) && known(OTHER_CHANNEL) && !known(NEW), "{listed}");
        let (_, joined) = run(&mut osnadmin_of(cli, number, "join", &["--channelID", NEW, "--config-block", file]));
        assert!(joined.contains("Status: 201"), "{joined}");
        succeed(&mut cli.peer(number, &["channel", "join", "-b", file]));
        let (done, again) = run(&mut cli.peer(number, &["channel", "join", "-b", file]));
        assert!(!done && again.contains("already exists with state [ACTIVE]"), "{again}");
        let listed = succeed(&mut cli.peer(number, &["channel", "list"]));
        assert!(listed.lines().any(|line| line == NEW), "{listed}");
        assert_eq!(info(cli, number, NEW)["height"], 1);
    }
    let (done, unknown) = run(&mut cli.peer(0, &["channel", "getinfo", "-c", "nowhere"]));
    assert!(!done && unknown.contains("Invalid chain ID, nowhere"), "{unknown}");
}

/// A block as `peer channel fetch` writes it: of an orderer, or of the own peer.
fn fetched(cli: &Cli<'_>, what: &str, from_orderer: bool) -> Block {
    let file = cli.file("fetched.block");
    let arguments = ["channel", "fetch", what, file.to_str().unwrap(), "-c", NEW];
    let mut command = if from_orderer { cli.ordering(0, &arguments) } else { cli.peer(0, &arguments) };
    succeed(&mut command);
    Block::decode(std::fs::read(file).unwrap().as_slice()).unwrap()
}

fn number(block: &Block) -> u64 {
    block.header.as_ref().unwrap().number
}

fn config(block: &Block) -> Config {
    ConfigEnvelope::decode(payload(block).data).unwrap().config.unwrap()
}

fn fetch(cli: &Cli<'_>) {
    let first = Block::decode(std::fs::read(cli.file("new.block")).unwrap().as_slice()).unwrap();
    for from_orderer in [true, false] {
        for what in ["0", "newest", "oldest", "config"] {
            let block = fetched(cli, what, from_orderer);
            assert_eq!((block.header, block.data), (first.header.clone(), first.data.clone()), "{what}");
        }
    }
    let file = cli.file("fetched.block");
    let nowhere = ["channel", "fetch", "newest", file.to_str().unwrap(), "-c", "nowhere"];
    let (done, refused) = run(&mut cli.ordering(0, &nowhere));
    assert!(!done && refused.contains("NOT_FOUND"), "{refused}");
}

/// An update of what a majority of both organizations' administrators decides, as it is before anybody signs it.
fn slower(timeout: &str) -> Envelope {
    let value = ConfigValue {
        version: 1,
        value: BatchTimeout { timeout: timeout.to_owned() }.encode_to_vec().into(),
        mod_policy: "Admins".to_owned(),
    };
    let tree = |value: Option<ConfigValue>| {
        let mut orderer = ConfigGroup { mod_policy: "Admins".to_owned(), ..ConfigGroup::default() };
        orderer.values.extend(value.map(|value| ("BatchTimeout".to_owned(), value)));
        let mut root = ConfigGroup { mod_policy: "Admins".to_owned(), ..ConfigGroup::default() };
        root.groups.insert("Orderer".to_owned(), orderer);
        Some(root)
    };
    let (read_set, write_set) = (tree(None), tree(Some(value)));
    let update = ConfigUpdate { channel_id: NEW.to_owned(), read_set, write_set, ..ConfigUpdate::default() };
    let update = ConfigUpdateEnvelope { config_update: update.encode_to_vec().into(), signatures: Vec::new() };
    let r#type = HeaderType::ConfigUpdate.into();
    let header = ChannelHeader { r#type, channel_id: NEW.to_owned(), ..ChannelHeader::default() };
    let header = Header { channel_header: header.encode_to_vec().into(), ..Header::default() };
    let payload = Payload { header: Some(header), data: update.encode_to_vec().into() };
    Envelope { payload: payload.encode_to_vec().into(), ..Envelope::default() }
}

fn update(cli: &Cli<'_>) {
    let file = cli.file("update.pb");
    std::fs::write(&file, slower("3s").encode_to_vec()).unwrap();
    let file = file.to_str().unwrap();
    // One administrator is no majority of two.
    let update = ["channel", "update", "-f", file, "-c", NEW];
    let (done, refused) = run(&mut cli.ordering(0, &update));
    assert!(!done && refused.contains("/Channel/Orderer/BatchTimeout not satisfied"), "{refused}");
    succeed(&mut cli.peer(1, &["channel", "signconfigtx", "-f", file]));
    succeed(&mut cli.ordering(0, &update));

    let begun = Instant::now();
    while number(&fetched(cli, "newest", true)) < 1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the update does not become a block");
    }
    let block = fetched(cli, "config", true);
    assert_eq!(number(&block), 1);
    let config = config(&block);
    assert_eq!(config.sequence, 1);
    let timeout = &config.channel_group.unwrap().groups["Orderer"].values["BatchTimeout"].value;
    assert_eq!(BatchTimeout::decode(timeout.clone()).unwrap().timeout, "3s");
    assert_eq!(number(&fetched(cli, "0", true)), 0);
    assert_eq!(number(&fetched(cli, "oldest", true)), 0);
    // The same again refers to versions that have passed.
    let (done, again) = run(&mut cli.ordering(0, &update));
    assert!(!done && again.contains("at version 1"), "{again}");
    while info(cli, 1, NEW)["height"] != 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the peer does not get the block");
    }
}
