//! `opssc-agent channel register` and `registered`: what the ops channel knows of channels.
//!
//! A module of its own because this is about the books of `channel-ops` alone: nothing happens to the channel itself.

use std::ffi::OsString;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::super::failure::{Exit, UsageError};
use super::super::logging;
use super::super::output;
use super::super::settings::SettingFlags;
use super::channel_name;
use crate::agent;
use crate::agent::text;
use crate::fabric::names::MspId;
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops::ChannelType;

/// Registering.
#[derive(Debug, Args)]
pub(in crate::cli) struct Register {
    /// The channel
    #[arg(short = 'c', long = "channel-id", value_name = "NAME")]
    channel: String,
    /// What it is for; `system` names those who vote on new channels, also where the orderers have no such channel
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
    /// Its members' MSP IDs, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "MSP ID")]
    organizations: Vec<String>,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Looking.
#[derive(Debug, Args)]
pub(in crate::cli) struct Registered {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// What a channel is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// For applications: chaincode is proposed for it, and the members' agents have their peers join it
    Application,
    /// The ops channel
    Ops,
    /// Who votes on new channels
    System,
    /// Out of use
    Disable,
}

impl From<Kind> for ChannelType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Application => Self::Application,
            Kind::Ops => Self::Ops,
            Kind::System => Self::System,
            Kind::Disable => Self::Disable,
        }
    }
}

fn open(flags: &SettingFlags, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<ChannelOps> {
    let settings = flags.settings_of_command(environment)?;
    logging::start(settings.log_level, settings.log_format);
    let client = agent::connect(&settings)?;
    Ok(ChannelOps::new(client.channel(settings.ops_channel.clone()), settings.channel_ops))
}

pub(super) async fn register(
    register: &Register,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Exit> {
    let channel = channel_name(&register.channel)?;
    let mut members = register.organizations.clone();
    for member in &members {
        MspId::parse(member.clone()).map_err(|error| UsageError(error.to_string()))?;
    }
    members.sort();
    members.dedup();
    let wanted: Vec<&str> = members.iter().map(String::as_str).collect();
    let ledger = open(&register.flags, environment)?;
    let (id, kind) = (channel.as_str(), register.kind.map(ChannelType::from));
    if !ledger.channel_exists(id).await.context("the ops channel does not tell its channels")? {
        if wanted.is_empty() {
            return Err(UsageError(format!("{channel} is not registered yet: name its --organizations")).into());
        }
        let kind = kind.unwrap_or(ChannelType::Application);
        ledger.create_channel(id, &kind, &wanted).await.with_context(|| format!("{channel} was not registered"))?;
        output::say(&format!("{channel} is registered ({kind}: {})", wanted.join(", ")));
        return Ok(Exit::Done);
    }
    let known = ledger.read_channel(id).await.with_context(|| format!("{channel} was not read"))?;
    let mut changes = Vec::new();
    if let Some(kind) = kind.filter(|kind| *kind != known.channel_type) {
        ledger.update_channel_type(id, &kind).await.with_context(|| format!("{channel} is still of its type"))?;
        changes.push(format!("type {kind}"));
    }
    if !wanted.is_empty() && !known.organizations.iter().flatten().map(|(member, _)| member).eq(&members) {
        ledger.set_organizations(id, &wanted).await.with_context(|| format!("{channel} still has its members"))?;
        changes.push(format!("members {}", wanted.join(", ")));
    }
    let how = if changes.is_empty() { "was registered so already".to_owned() } else { changes.join("; ") };
    output::say(&format!("{channel}: {how}"));
    Ok(Exit::Done)
}

pub(super) async fn registered(
    list: &Registered,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Exit> {
    let ledger = open(&list.flags, environment)?;
    let channels = ledger.get_all_channels().await.context("the ops channel does not tell its channels")?;
    if list.json {
        output::put_json(&channels)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = channels
        .iter()
        .map(|channel| {
            let members: Vec<&str> =
                channel.organizations.iter().flatten().map(|(member, _)| member.as_str()).collect();
            let kind = text::bounded(&channel.channel_type.to_string(), 40);
            vec![text::bounded(&channel.id, 250), kind, text::bounded(&members.join(", "), 400)]
        })
        .collect();
    output::put(&output::table(&["CHANNEL", "TYPE", "ORGANIZATIONS"], &rows))?;
    Ok(Exit::Done)
}
