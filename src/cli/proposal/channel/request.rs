//! Making a channel proposal out of arguments, and requesting it.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;

use super::super::super::failure::{Exit, UsageError};
use super::super::super::output;
use super::super::super::settings::SettingFlags;
use super::compute::{self, Computed};
use super::{Session, difference};
use crate::agent::text;
use crate::fabric::names::ChannelName;
use crate::opssc::channel_ops::{Action, ProposalInput};

/// What is proposed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Request {
    /// The proposal's ID
    #[arg(long)]
    id: String,
    /// The channel to change or make
    #[arg(short = 'c', long = "channel", visible_alias = "channel-id", value_name = "NAME")]
    channel: String,
    /// For people
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    what: What,
    /// With --update: it makes the channel, by way of the orderers' system channel
    #[arg(long, requires = "update")]
    makes: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// From what the update is made.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Changes as a YAML or JSON list of commands with parameters: the profile of execute-multiple-ops
    #[arg(long, value_name = "FILE")]
    operations: Option<PathBuf>,
    /// A channel to make: a configtx.yaml-like profile (FILE or FILE#PROFILE), or for orderers with a system channel a
    /// profile of configtx create-channel
    #[arg(long, value_name = "FILE")]
    create: Option<String>,
    /// An update that was computed elsewhere
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
}

/// What is proposed anew.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rebase {
    /// The out-of-date proposal
    of: String,
    /// The new proposal's ID
    #[arg(long)]
    id: String,
    #[command(flatten)]
    flags: SettingFlags,
}

pub(super) async fn run(request: Request, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let channel = ChannelName::parse(request.channel.as_str()).map_err(|error| UsageError(error.to_string()))?;
    let session = Session::open(&request.flags, environment)?;
    let computed = match &request.what {
        What { operations: Some(file), .. } => compute::operations_of_file(&session, &channel, file).await?,
        What { create: Some(profile), .. } => compute::creation(&channel, profile)?,
        What { update: Some(file), .. } => compute::given(&channel, file, request.makes)?,
        // The parser demands one of them.
        What { .. } => return Err(UsageError("say what to propose".to_owned()).into()),
    };
    hand_in(&session, &request.id, &channel, request.description, computed).await
}

pub(super) async fn rebase(rebase: Rebase, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&rebase.flags, environment)?;
    let old = session.proposal(&rebase.of).await?;
    if old.action != Action::Update {
        return Err(UsageError("only a change of a channel can be worked out anew".to_owned()).into());
    }
    let channel = ChannelName::parse(old.channel_id.as_str()).context("the proposal names no channel")?;
    let computed = compute::operations(&session, &channel, &old.ops_profile).await.with_context(|| {
        format!("the opsProfile of {} cannot be applied to the channel as it is", text::bounded(&old.id, 80))
    })?;
    hand_in(&session, &rebase.id, &channel, old.description, computed).await
}

async fn hand_in(
    session: &Session,
    id: &str,
    channel: &ChannelName,
    description: String,
    computed: Computed,
) -> anyhow::Result<Exit> {
    let Computed { action, update, profile } = computed;
    output::say(&difference::of_update(session, channel, &action, &update).await?);
    let input = ProposalInput {
        id: id.to_owned(),
        channel_id: channel.to_string(),
        description,
        signature: session.signature(&update).await?,
        config_update: BASE64_STANDARD.encode(&update),
        ops_profile: profile,
        action: Some(action),
    };
    let shown = text::bounded(id, 80);
    session.ledger.request_proposal(&input).await.with_context(|| format!("proposal {shown} was not requested"))?;
    output::say(&format!(
        "requested {shown}; follow it with: opssc-agent proposal channel watch {}",
        text::bounded(id, 200)
    ));
    Ok(Exit::Done)
}
