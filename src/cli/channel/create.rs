//! `opssc-agent channel create`: a channel made by one administrator, without a vote.
//!
//! What is made says how: an update with the whole channel makes a first block, which own orderers and peers join; any
//! other is for orderers with a system channel. Other organizations join by the same command with the same profile,
//! which makes the same first block.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use prost::Message as _;
use tokio::time::Instant;

use super::super::configtx::data::signed_update;
use super::super::failure::{Exit, OutcomeUnknown, UsageError};
use super::super::orderer::{Orderers, in_words};
use super::super::output;
use super::channel_name;
use crate::agent;
use crate::agent::config::Settings;
use crate::agent::text;
use crate::client::channels::{ChannelError, Joined};
use crate::client::{Client, UpdateError, Updated};
use crate::fabric::block::header_hash;
use crate::fabric::config::ChannelConfig;
use crate::fabric::config::edit::create_channel;
use crate::fabric::config::edit::profile::{CreateChannelProfile, parse};
use crate::fabric::config::genesis::{self, Profile};
use crate::fabric::config::tree::{Config, ConfigUpdate};
use crate::fabric::names::ChannelName;
use crate::pb::common::{Block, ConfigUpdateEnvelope};
use crate::runtime::retry::Backoff;

/// How long orderers may take to serve a channel that they have joined.
const SERVE: Duration = Duration::from_secs(30);

/// Creating.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// The channel
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME")]
    channel: String,
    #[command(flatten)]
    what: What,
    /// Also write the channel's first block
    #[arg(long, visible_alias = "outputBlock", value_name = "FILE")]
    output_block: Option<PathBuf>,
    #[command(flatten)]
    orderers: Orderers,
}

/// From what it is made.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A whole channel in a configtx.yaml (FILE or FILE#PROFILE), or for orderers with a system channel a profile of
    /// configtx create-channel
    #[arg(long, value_name = "FILE")]
    configtx: Option<String>,
    /// An update that makes it, bare or in an envelope, as configtxgen and configtx create-channel write it
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) async fn run(create: &Create, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let channel = channel_name(&create.channel)?;
    let mut update = match &create.what {
        What { configtx: Some(named), .. } => {
            ConfigUpdateEnvelope { config_update: update_of_profile(&channel, named)?.encode(), signatures: Vec::new() }
        }
        What { file: Some(file), .. } => update_of_file(file)?,
        // The parser demands one of them.
        What { .. } => return Err(UsageError("say what to make the channel from".to_owned()).into()),
    };
    let named = ConfigUpdate::decode(&update.config_update).map_err(|error| UsageError(error.to_string()))?.channel_id;
    if named != channel.as_str() {
        return Err(UsageError(format!("the update is for channel {:?}", text::bounded(&named, 80))).into());
    }
    let settings = create.orderers.settings(environment)?;
    let client = agent::connect(&settings)?;
    let mut outcome = Outcome(Exit::Done);
    let block_file = create.output_block.as_deref();
    let first = match genesis::block_of_creation(&update.config_update) {
        Ok(block) => by_joining(&client, &settings, &channel, &block, block_file, &mut outcome).await?,
        // What is whole is refused for a reason; anything else is for a system channel.
        Err(reason) if is_whole(&update) => return Err(reason).context("no channel can be made from this"),
        Err(_) => {
            update.signatures.push(client.sign_config_update(&update.config_update).await?);
            by_system_channel(&client, &channel, &update, block_file).await?
        }
    };
    join_peers(&client, &first, &mut outcome).await?;
    Ok(outcome.0)
}

/// Has the own orderers join the channel of a first block. The block as it is served.
async fn by_joining(
    client: &Client,
    settings: &Settings,
    channel: &ChannelName,
    block: &Block,
    file: Option<&Path>,
    outcome: &mut Outcome,
) -> anyhow::Result<Block> {
    output::warn(None, &Config::from_block(block)?);
    // Whatever becomes of the rest: others may need it.
    file.map(|file| write(file, block)).transpose()?;
    let orderers = settings.orderers.open()?;
    if orderers.is_empty() {
        output::say("no own orderers are named: others have to have theirs join");
    }
    for orderer in &orderers {
        match orderer.ensure_joined(channel, block.encode_to_vec()).await {
            Ok((joined, part)) => {
                let how = if joined == Joined::New { "joined" } else { "had joined" };
                output::say(&format!("{} {how} {channel}: {}", orderer.node(), in_words(&part)));
            }
            Err(error) => outcome.failed(&orderer.node().to_string(), &error),
        }
    }
    let served = served(client, channel).await.context("no orderer serves the channel")?;
    let hash = |block: &Block| block.header.as_ref().map(header_hash);
    anyhow::ensure!(hash(&served) == hash(block), "there is another channel {channel}, made from something else");
    Ok(served)
}

/// Hands the update to orderers with a system channel. The first block that they make of it.
async fn by_system_channel(
    client: &Client,
    channel: &ChannelName,
    update: &ConfigUpdateEnvelope,
    file: Option<&Path>,
) -> anyhow::Result<Block> {
    match client.submit_channel_creation(update).await {
        Ok(Updated::New { .. }) => output::say(&format!("{channel} is made")),
        Ok(Updated::Already { .. }) => output::say(&format!("{channel} had been made from this")),
        Err(error @ UpdateError::Undecided { .. }) => return Err(OutcomeUnknown(text::chain(&error)).into()),
        Err(error) => return Err(anyhow::Error::new(error).context(format!("{channel} is not made"))),
    }
    let first = served(client, channel).await.context("no orderer serves the channel")?;
    file.map(|file| write(file, &first)).transpose()?;
    Ok(first)
}

async fn join_peers(client: &Client, first: &Block, outcome: &mut Outcome) -> anyhow::Result<()> {
    if !ChannelConfig::from_block(first)?.application().contains_key(client.msp_id()) {
        output::say(&format!("{} is no member: its peers do not join", client.msp_id()));
        return Ok(());
    }
    for peer in client.peers() {
        match client.join(peer, first).await {
            Ok(Joined::New) => output::say(&format!("{} joined", peer.name())),
            Ok(Joined::Already) => output::say(&format!("{} had joined", peer.name())),
            Err(error) => outcome.failed(peer.name(), &error),
        }
    }
    Ok(())
}

/// What became of the nodes together.
struct Outcome(Exit);

impl Outcome {
    fn failed(&mut self, node: &str, error: &(dyn std::error::Error + 'static)) {
        output::say(&format!("{node}: {}", text::chain(error)));
        self.0 = Exit::Failed;
    }
}

/// The update that makes a channel of a profile: FILE or FILE#PROFILE of a `configtx.yaml`, or the profile of
/// `configtx create-channel`, which names a consortium. Files that it names lie beside it.
pub(in crate::cli) fn update_of_profile(channel: &ChannelName, named: &str) -> anyhow::Result<ConfigUpdate> {
    let (file, name) = named.split_once('#').unwrap_or((named, ""));
    let file = Path::new(file);
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let wrong = |error: &dyn std::fmt::Display| UsageError(format!("{}: {error}", file.display()));
    let tree: serde_json::Value = parse(&text).map_err(|error| wrong(&error))?;
    if name.is_empty() && tree.get("Consortium").is_some() && tree.get("Profiles").is_none() {
        let profile: CreateChannelProfile = parse(&text).map_err(|error| wrong(&error))?;
        return Ok(create_channel(channel.as_str(), &profile).map_err(|error| wrong(&error))?);
    }
    let profile = Profile::parse(&text, name).map_err(|error| wrong(&error))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(genesis::creation(channel, &profile, folder).map_err(|error| wrong(&error))?)
}

fn update_of_file(file: &Path) -> anyhow::Result<ConfigUpdateEnvelope> {
    let update = signed_update(&std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    if ConfigUpdate::decode(&update.config_update).is_ok_and(|update| update.write_set.is_some()) {
        return Ok(update);
    }
    Err(UsageError(format!("{} holds no update that makes a channel", file.display())).into())
}

/// Whether the update has the orderers of the channel in it, so that no system channel is needed.
fn is_whole(update: &ConfigUpdateEnvelope) -> bool {
    let group = ConfigUpdate::decode(&update.config_update).ok().and_then(|update| update.write_set);
    group.is_some_and(|group| group.groups.contains_key("Orderer"))
}

fn write(file: &Path, block: &Block) -> anyhow::Result<()> {
    std::fs::write(file, block.encode_to_vec()).with_context(|| format!("cannot write {}", file.display()))
}

/// The first block, once an orderer serves the channel.
async fn served(client: &Client, channel: &ChannelName) -> Result<Block, ChannelError> {
    let end = Instant::now() + SERVE;
    let mut waits = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        match client.genesis_block(channel).await {
            Ok(block) => return Ok(block),
            Err(error) => match waits.next() {
                Some(wait) if error.is_retryable() && Instant::now() + wait < end => tokio::time::sleep(wait).await,
                _ => return Err(error),
            },
        }
    }
}
