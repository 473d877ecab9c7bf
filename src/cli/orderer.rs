//! `opssc-agent orderer …`: which channels the own orderers take part in.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use prost::Message as _;
use serde_json::{Value, json};

use super::failure::{Exit, UsageError};
use super::logging;
use super::output;
use super::settings::SettingFlags;
use crate::agent;
use crate::agent::config::Settings;
use crate::agent::text;
use crate::client::channels::Joined;
use crate::client::participation::{OrdererAdmin, Participation, ParticipationError};
use crate::fabric::names::ChannelName;

/// What to do with the own orderers.
#[derive(Debug, Subcommand)]
pub(super) enum OrdererCommand {
    /// Have orderers join a channel: one that has joined already is left alone
    Join(Join),
    /// List the channels of orderers, or their part in one
    List(List),
    /// Have orderers leave a channel and drop its blocks
    Remove(Remove),
}

/// Which orderers, and everything else that is set.
#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "shown as they are by --help")]
pub(super) struct Orderers {
    /// An orderer's administration endpoint, host:port; may be repeated (ORDERER_ADMIN_ENDPOINTS)
    #[arg(short = 'o', long = "orderer-address", value_name = "HOST:PORT")]
    addresses: Vec<String>,
    /// Authorities of the orderers' certificates, in PEM (ORDERER_ADMIN_TLS_CA)
    #[arg(long, value_name = "PATH")]
    ca_file: Option<OsString>,
    /// The certificate that the orderers ask for, in PEM (ORDERER_ADMIN_TLS_CERT)
    #[arg(long, value_name = "PATH")]
    client_cert: Option<OsString>,
    /// Its private key, in PEM (ORDERER_ADMIN_TLS_KEY)
    #[arg(long, value_name = "PATH")]
    client_key: Option<OsString>,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Joining.
#[derive(Debug, Args)]
pub(super) struct Join {
    /// The channel
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME")]
    channel: String,
    /// The channel's first block or a later configuration block; unless given, the newest one is fetched from the orderers
    /// of the connection profile
    #[arg(short = 'b', long = "config-block", value_name = "FILE")]
    block: Option<PathBuf>,
    #[command(flatten)]
    orderers: Orderers,
}

/// Listing.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only this channel
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME")]
    channel: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    orderers: Orderers,
}

/// Leaving.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The channel
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME")]
    channel: String,
    #[command(flatten)]
    orderers: Orderers,
}

impl Orderers {
    /// The settings with these flags, after which logs are on.
    pub(super) fn settings(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Settings> {
        let settings = self.flags.settings_of_command(&|name: &str| {
            let flag = match name {
                "ORDERER_ADMIN_ENDPOINTS" if !self.addresses.is_empty() => Some(self.addresses.join(",").into()),
                "ORDERER_ADMIN_TLS_CA" => self.ca_file.clone(),
                "ORDERER_ADMIN_TLS_CERT" => self.client_cert.clone(),
                "ORDERER_ADMIN_TLS_KEY" => self.client_key.clone(),
                _ => None,
            };
            flag.or_else(|| environment(name))
        })?;
        logging::start(settings.log_level, settings.log_format);
        Ok(settings)
    }

    fn open(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Vec<OrdererAdmin>> {
        let orderers = self.settings(environment)?.orderers.open()?;
        if orderers.is_empty() {
            let what = "no orderer is named: use --orderer-address or ORDERER_ADMIN_ENDPOINTS";
            return Err(UsageError(what.to_owned()).into());
        }
        Ok(orderers)
    }
}

/// Carries out one of these commands.
pub(super) fn run(command: &OrdererCommand, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        match command {
            OrdererCommand::Join(join) => join_all(join, environment).await,
            OrdererCommand::List(list) => show(list, environment).await,
            OrdererCommand::Remove(remove) => remove_all(remove, environment).await,
        }
    })
}

fn channel_name(name: &str) -> Result<ChannelName, UsageError> {
    ChannelName::parse(name).map_err(|error| UsageError(error.to_string()))
}

async fn join_all(join: &Join, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let channel = channel_name(&join.channel)?;
    let orderers = join.orderers.open(environment)?;
    let block = if let Some(file) = &join.block {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
    } else {
        let client = agent::connect(&join.orderers.flags.settings_of_command(environment)?)?;
        let block = client.newest_config_block(&channel).await;
        block.with_context(|| format!("the configuration of {channel} was not got"))?.encode_to_vec()
    };
    let mut outcome = Outcome::default();
    for orderer in orderers {
        match orderer.ensure_joined(&channel, block.clone()).await {
            Ok((joined, part)) => {
                let how = if joined == Joined::New { "joined" } else { "had joined" };
                output::say(&format!("{} {how} {channel}: {}", orderer.node(), in_words(&part)));
            }
            Err(error) => outcome.failed(&orderer, &error),
        }
    }
    Ok(outcome.exit())
}

async fn remove_all(remove: &Remove, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let channel = channel_name(&remove.channel)?;
    let mut outcome = Outcome::default();
    for orderer in remove.orderers.open(environment)? {
        match orderer.remove(&channel).await {
            Ok(()) => output::say(&format!("{} leaves {channel}", orderer.node())),
            Err(error) => outcome.failed(&orderer, &error),
        }
    }
    Ok(outcome.exit())
}

async fn show(list: &List, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let only = list.channel.as_deref().map(channel_name).transpose()?;
    let mut outcome = Outcome::default();
    let (mut rows, mut found) = (Vec::new(), Vec::new());
    for orderer in list.orderers.open(environment)? {
        match parts(&orderer, only.as_ref()).await {
            Ok(parts) => {
                for part in parts {
                    found.push(as_json(&orderer, &part));
                    let (relation, status) = (part.relation.to_string(), part.status.to_string());
                    let height = part.height.to_string();
                    rows.push(vec![orderer.node().name.clone(), part.channel.to_string(), relation, status, height]);
                }
            }
            Err(error) => outcome.failed(&orderer, &error),
        }
    }
    if list.json {
        output::put_json(&found)?;
    } else if rows.is_empty() {
        output::say("there are no such channels");
    } else {
        output::put(&output::table(&["ORDERER", "CHANNEL", "PART", "STATUS", "HEIGHT"], &rows))?;
    }
    Ok(outcome.exit())
}

/// The orderer's part in each of its channels, or in one.
async fn parts(orderer: &OrdererAdmin, only: Option<&ChannelName>) -> Result<Vec<Participation>, ParticipationError> {
    let channels = match only {
        Some(channel) => vec![channel.clone()],
        None => orderer.channels().await?.channels,
    };
    let mut parts = Vec::new();
    for channel in channels {
        // One that was left meanwhile has no part.
        parts.extend(orderer.channel(&channel).await?);
    }
    Ok(parts)
}

pub(super) fn in_words(part: &Participation) -> String {
    format!("{}, {}, height {}", part.relation, part.status, part.height)
}

fn as_json(orderer: &OrdererAdmin, part: &Participation) -> Value {
    json!({
        "orderer": orderer.node().name,
        "channel": part.channel.as_str(),
        "consensusRelation": part.relation.to_string(),
        "status": part.status.to_string(),
        "height": part.height,
    })
}

/// What became of the orderers together.
#[derive(Default)]
struct Outcome {
    failed: bool,
    unknown: bool,
}

impl Outcome {
    fn failed(&mut self, orderer: &OrdererAdmin, error: &ParticipationError) {
        output::say(&format!("{}: {}", orderer.node(), text::chain(error)));
        self.failed = true;
        self.unknown |= matches!(error, ParticipationError::Broken { .. } | ParticipationError::Deadline { .. });
    }

    fn exit(&self) -> Exit {
        match (self.failed, self.unknown) {
            (false, _) => Exit::Done,
            (true, false) => Exit::Failed,
            (true, true) => Exit::Unknown,
        }
    }
}
