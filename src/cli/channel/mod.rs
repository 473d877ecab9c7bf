//! `opssc-agent channel …`: the own peers' channels, their blocks and their configuration.

mod create;
mod register;
mod update;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use prost::Message as _;
use serde_json::json;

use super::failure::{Exit, UsageError};
use super::logging;
use super::output;
use super::settings::SettingFlags;
use crate::agent;
use crate::agent::text;
use crate::client::channels::Joined;
use crate::client::participation::BlockId;
use crate::client::{Client, Peer};
use crate::fabric::block::Block as Decoded;
use crate::fabric::config::tree::Config;
use crate::fabric::config::{self, ChannelConfig};
use crate::fabric::names::{ChannelName, MspId};
use crate::pb::common::Block;

use self::create::Create;
pub(super) use self::create::update_of_profile;
use self::register::{Register, Registered};
use self::update::Update;

/// What to do with channels.
#[derive(Debug, Subcommand)]
pub(super) enum ChannelCommand {
    /// Have own peers join a channel: one that has joined already is left alone
    Join(Join),
    /// List the channels that own peers have joined
    List(List),
    /// Fetch a block: newest, oldest, config, or a number
    Fetch(Fetch),
    /// Show a channel: who is in it, who may do what, its settings, and how the own peers stand in it
    #[command(alias = "getinfo")]
    Info(Info),
    /// Hand in a configuration update and wait until an own peer has it
    Update(Update),
    /// Enter a channel into the books of the ops channel, or change what they say of it
    Register(Register),
    /// List the channels in the books of the ops channel
    Registered(Registered),
    /// Make a channel without a vote, and have the own orderers and peers join it
    Create(Box<Create>),
}

/// Which own peers.
#[derive(Debug, Args)]
struct Peers {
    /// An own peer as the connection profile names it; may be repeated. All of them unless given
    #[arg(long = "peer", value_name = "NAME")]
    names: Vec<String>,
}

/// Joining.
#[derive(Debug, Args)]
pub(super) struct Join {
    /// The channel, whose first block is then fetched from an orderer
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME", required_unless_present_any = ["block", "snapshot"])]
    channel: Option<String>,
    /// The channel's first block
    #[arg(short = 'b', long = "block", visible_alias = "blockpath", value_name = "FILE", conflicts_with_all = ["channel", "snapshot"])]
    block: Option<PathBuf>,
    /// A folder on the peer's own machine with a snapshot to join from
    #[arg(long, visible_alias = "snapshotpath", value_name = "FOLDER", conflicts_with = "channel")]
    snapshot: Option<String>,
    /// Do not wait for the end of joining from a snapshot
    #[arg(long, requires = "snapshot")]
    no_wait: bool,
    #[command(flatten)]
    peers: Peers,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Listing.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peers: Peers,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Fetching.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// newest, oldest, config, or a number
    #[arg(value_parser = block_id)]
    block: BlockId,
    /// The file to write; <channel>_<block>.block unless given, standard output where it is a dash
    file: Option<PathBuf>,
    /// The channel
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME")]
    channel: String,
    /// Ask the orderers of the connection profile in place of own peers
    #[arg(long)]
    from_orderers: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Looking.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// The channel
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME")]
    channel: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

fn block_id(text: &str) -> Result<BlockId, String> {
    match text {
        "newest" => Ok(BlockId::Newest),
        "oldest" => Ok(BlockId::Oldest),
        "config" => Ok(BlockId::Config),
        number => number.parse().map(BlockId::Number).map_err(|_| "use newest, oldest, config, or a number".to_owned()),
    }
}

/// Carries out one of these commands.
pub(super) fn run(command: &ChannelCommand, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        match command {
            ChannelCommand::Join(join) => join_all(join, environment).await,
            ChannelCommand::List(list) => show_all(list, environment).await,
            ChannelCommand::Fetch(fetch) => fetch_one(fetch, environment).await,
            ChannelCommand::Info(info) => show(info, environment).await,
            ChannelCommand::Update(update) => update::run(update, environment).await,
            ChannelCommand::Register(channel) => register::register(channel, environment).await,
            ChannelCommand::Registered(list) => register::registered(list, environment).await,
            ChannelCommand::Create(create) => create::run(create, environment).await,
        }
    })
}

fn open(flags: &SettingFlags, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Client> {
    let settings = flags.settings_of_command(environment)?;
    logging::start(settings.log_level, settings.log_format);
    Ok(agent::connect(&settings)?)
}

fn channel_name(name: &str) -> Result<ChannelName, UsageError> {
    ChannelName::parse(name).map_err(|error| UsageError(error.to_string()))
}

impl Peers {
    fn of<'a>(&self, client: &'a Client) -> Result<Vec<&'a Peer>, UsageError> {
        if self.names.is_empty() {
            return Ok(client.peers().iter().collect());
        }
        let find = |name: &String| {
            client.peers().iter().find(|peer| peer.name() == name || peer.address() == name).ok_or_else(|| {
                let known: Vec<&str> = client.peers().iter().map(Peer::name).collect();
                UsageError(format!("{name:?} is no own peer of the connection profile, which has {}", known.join(", ")))
            })
        };
        self.names.iter().map(find).collect()
    }
}

async fn join_all(join: &Join, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let client = open(&join.flags, environment)?;
    let peers = join.peers.of(&client)?;
    if let Some(folder) = &join.snapshot {
        return join_by_snapshot(&client, &peers, folder, !join.no_wait).await;
    }
    let block = match (&join.block, &join.channel) {
        (Some(file), _) => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            Block::decode(bytes.as_slice()).with_context(|| format!("{} holds no block", file.display()))?
        }
        (None, Some(name)) => {
            client.genesis_block(&channel_name(name)?).await.context("the first block was not got")?
        }
        (None, None) => return Err(UsageError("name a channel or its first block".to_owned()).into()),
    };
    let mut exit = Exit::Done;
    for peer in peers {
        match client.join(peer, &block).await {
            Ok(Joined::New) => output::say(&format!("{} joined", peer.name())),
            Ok(Joined::Already) => output::say(&format!("{} had joined", peer.name())),
            Err(error) => {
                output::say(&format!("{}: {}", peer.name(), text::chain(&error)));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

async fn join_by_snapshot(client: &Client, peers: &[&Peer], folder: &str, wait: bool) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for peer in peers {
        let before = client.joined_channels(peer).await.with_context(|| format!("{} is not asked", peer.name()))?;
        match client.join_by_snapshot(peer, folder).await {
            Ok(()) if !wait => output::say(&format!("{} is joining from {folder}: see `channel list`", peer.name())),
            Ok(()) => {
                output::say(&format!("{} is joining from {folder}", peer.name()));
                exit = followed(client, peer, &before).await.unwrap_or(exit);
            }
            Err(error) => {
                output::say(&format!("{}: {}", peer.name(), text::chain(&error)));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

/// Waits for the end of joining from a snapshot. How it failed, if it did.
async fn followed(client: &Client, peer: &Peer, before: &[ChannelName]) -> Option<Exit> {
    match client.joined_by_snapshot(peer, before).await {
        Ok(joined) if joined.is_empty() => {
            let before: Vec<&str> = before.iter().map(ChannelName::as_str).collect();
            let before = if before.is_empty() { "none".to_owned() } else { before.join(", ") };
            let name = peer.name();
            output::say(&format!("{name} has joined no channel from it (it was in {before}): its log tells why"));
            Some(Exit::Failed)
        }
        Ok(joined) => {
            let joined: Vec<String> = joined.iter().map(ToString::to_string).collect();
            output::say(&format!("{} joined {}", peer.name(), joined.join(", ")));
            None
        }
        Err(error) => {
            output::say(&format!("{}: {}", peer.name(), text::chain(&error)));
            Some(Exit::Unknown)
        }
    }
}

async fn show_all(list: &List, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let client = open(&list.flags, environment)?;
    let mut exit = Exit::Done;
    let (mut rows, mut found) = (Vec::new(), Vec::new());
    for peer in list.peers.of(&client)? {
        let channels = match client.joined_channels(peer).await {
            Ok(channels) => channels,
            Err(error) => {
                output::say(&format!("{}: {}", peer.name(), text::chain(&error)));
                exit = Exit::Failed;
                continue;
            }
        };
        // Peers before 2.3 have no snapshots and refuse the question.
        let joining = client.snapshot_under_way(peer).await.ok().flatten();
        for channel in &channels {
            let height = client.channel(channel.clone()).height_of(peer).await.ok();
            let shown = height.map_or_else(|| "unknown".to_owned(), |height| height.to_string());
            rows.push(vec![peer.name().to_owned(), channel.to_string(), shown]);
            found.push(json!({ "peer": peer.name(), "channel": channel.as_str(), "height": height }));
        }
        if let Some(folder) = joining {
            output::say(&format!("{} is joining a channel from snapshot {}", peer.name(), text::bounded(&folder, 200)));
        }
    }
    if list.json {
        output::put_json(&found)?;
    } else if rows.is_empty() {
        output::say("no channels");
    } else {
        output::put(&output::table(&["PEER", "CHANNEL", "HEIGHT"], &rows))?;
    }
    Ok(exit)
}

async fn fetch_one(fetch: &Fetch, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let channel = channel_name(&fetch.channel)?;
    let client = open(&fetch.flags, environment)?;
    let block = if fetch.from_orderers {
        client.fetch_block(&channel, fetch.block).await.context("the block was not got")?
    } else {
        client.channel(channel.clone()).fetch(fetch.block).await.context("the block was not got")?
    };
    let bytes = block.encode_to_vec();
    let number = Decoded::new(block).context("what was got is no block")?.number();
    let file = fetch.file.clone().unwrap_or_else(|| PathBuf::from(format!("{channel}_{}.block", fetch.block)));
    if file.as_os_str() == "-" {
        std::io::stdout().lock().write_all(&bytes).context("cannot write to standard output")?;
    } else {
        std::fs::write(&file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
        output::say(&format!("block {number} is in {}", file.display()));
    }
    Ok(Exit::Done)
}

async fn show(info: &Info, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let channel = channel_name(&info.channel)?;
    let client = open(&info.flags, environment)?;
    let view = client.channel(channel.clone());
    let block = view.config_block().await.context("the channel's configuration was not got")?;
    let config = ChannelConfig::from_block(&block)?;
    let tree = Config::from_block(&block)?;
    let mut exit = Exit::Done;
    let mut heights = Vec::new();
    for peer in client.peers() {
        match view.height_of(peer).await {
            Ok(height) => heights.push((peer.name().to_owned(), height)),
            Err(error) => {
                output::say(&format!("{}: {}", peer.name(), text::chain(&error)));
                exit = Exit::Failed;
            }
        }
    }
    let members: Vec<&str> = config.application().keys().map(MspId::as_str).collect();
    let orderers: Vec<&str> = config.orderers().keys().map(MspId::as_str).collect();
    if info.json {
        let heights: serde_json::Map<_, _> = heights.into_iter().map(|(peer, height)| (peer, height.into())).collect();
        output::put_json(&json!({
            "channel": channel.as_str(),
            "configSequence": config.sequence(),
            "organizations": members,
            "ordererOrganizations": orderers,
            "ordererAddresses": config.orderer_addresses(),
            "heights": heights,
            "config": config::json::decode("common.Config", &tree.encode())?,
        }))?;
        return Ok(exit);
    }
    let heights: Vec<String> = heights.iter().map(|(peer, height)| format!("{peer} {height}")).collect();
    output::put(&output::fields(&[
        ("Channel", channel.to_string()),
        ("Organizations", members.join(", ")),
        ("Orderers' organizations", orderers.join(", ")),
        ("Orderers", config.orderer_addresses().join(", ")),
        ("Configuration", format!("sequence {}", config.sequence())),
        ("Heights", heights.join(", ")),
    ]))?;
    output::put("")?;
    config::show::summary(&tree).iter().try_for_each(|line| output::put(&text::clean(line)))?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_named_as_by_the_tools() {
        assert_eq!(block_id("newest"), Ok(BlockId::Newest));
        assert_eq!(block_id("12"), Ok(BlockId::Number(12)));
        assert!(block_id("-1").is_err() && block_id("latest").is_err());
    }
}
