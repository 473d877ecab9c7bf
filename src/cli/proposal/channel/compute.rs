//! Working an update out of what people mean, against the channel as it is.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::super::super::channel::update_of_profile;
use super::super::super::configtx::data::signed_update;
use super::super::super::failure::UsageError;
use super::Session;
use super::inline::inlined;
use crate::fabric::config::edit::profile::parse;
use crate::fabric::config::edit::{Operation, check_consenters};
use crate::fabric::config::tree::{Config, ConfigUpdate};
use crate::fabric::config::update;
use crate::fabric::names::ChannelName;
use crate::opssc::channel_ops::Action;
use crate::pb::common::Block;

/// What a proposal asks for, and the profile from which it was made.
pub(super) struct Computed {
    pub(super) action: Action,
    pub(super) update: Vec<u8>,
    pub(super) profile: Value,
}

/// The changes that a file lists. Files that it names lie beside it.
pub(super) async fn operations_of_file(
    session: &Session,
    channel: &ChannelName,
    file: &Path,
) -> anyhow::Result<Computed> {
    let text = read(file)?;
    let wrong = |error: &dyn std::fmt::Display| UsageError(format!("{}: {error}", file.display()));
    let profile: Value = parse(&text).map_err(|error| wrong(&error))?;
    let operations = Operation::parse_all(&text).map_err(|error| wrong(&error))?;
    let before = current(session, channel).await?;
    let update = apply(channel, &before, &operations, Some(folder_of(file)))?;
    // Others have to be able to work the same out of what the proposal carries.
    let held = inlined(&profile, folder_of(file)).ok().filter(|held| {
        let operations = Operation::parse_all(&held.to_string());
        operations.is_ok_and(|held| apply(channel, &before, &held, None).is_ok_and(|same| same == update))
    });
    Ok(Computed { action: Action::Update, update, profile: held.unwrap_or(profile) })
}

/// The changes that the profile of a proposal lists. It may name no files: they would be those of another machine.
pub(super) async fn operations(session: &Session, channel: &ChannelName, profile: &Value) -> anyhow::Result<Computed> {
    // JSON is YAML.
    let operations = Operation::parse_all(&profile.to_string())?;
    let update = apply(channel, &current(session, channel).await?, &operations, None)?;
    Ok(Computed { action: Action::Update, update, profile: profile.clone() })
}

fn apply(
    channel: &ChannelName,
    before: &Config,
    operations: &[Operation],
    files: Option<&Path>,
) -> anyhow::Result<Vec<u8>> {
    let mut after = before.clone();
    for operation in operations {
        operation.apply(&mut after, files)?;
    }
    check_consenters(before, &after)?;
    let update = update::compute(channel.as_str(), before, &after)
        .with_context(|| format!("there is no update of {channel} to propose"))?;
    Ok(update.encode().to_vec())
}

/// The configuration of the channel as an own peer has it.
pub(super) async fn current(session: &Session, channel: &ChannelName) -> anyhow::Result<Config> {
    Ok(Config::from_block(&config_block(session, channel).await?)?)
}

/// The newest configuration block of the channel, from an own peer. No peer is in the orderers' own channel, and own
/// peers may be in a channel later than their organization: there the orderers are asked.
pub(super) async fn config_block(session: &Session, channel: &ChannelName) -> anyhow::Result<Block> {
    let failed = match session.client.channel(channel.clone()).config_block().await {
        Ok(block) => return Ok(block),
        Err(error) => error,
    };
    match session.client.newest_config_block(channel).await {
        Ok(block) => Ok(block),
        Err(error) => {
            let orderers = crate::agent::text::chain(&error);
            Err(failed).with_context(|| format!("the configuration of {channel} was not got ({orderers})"))
        }
    }
}

/// A channel to make, of a profile.
pub(super) fn creation(channel: &ChannelName, named: &str) -> anyhow::Result<Computed> {
    let update = update_of_profile(channel, named)?;
    let file = Path::new(named.split_once('#').map_or(named, |(file, _)| file));
    let shown: Value = parse(&read(file)?).unwrap_or(Value::Null);
    Ok(Computed { action: Action::Create, update: update.encode().to_vec(), profile: shown })
}

/// An update that was computed elsewhere, in an envelope or bare, as it is.
pub(super) fn given(channel: &ChannelName, file: &Path, makes: bool) -> anyhow::Result<Computed> {
    let update = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let update = signed_update(&update).config_update;
    let decoded = ConfigUpdate::decode(&update)
        .map_err(|error| UsageError(format!("{} holds no configuration update: {error}", file.display())))?;
    if decoded.channel_id != channel.as_str() {
        let named = crate::agent::text::bounded(&decoded.channel_id, 80);
        return Err(UsageError(format!("{} is for channel {named:?}", file.display())).into());
    }
    let action = if makes { Action::Create } else { Action::Update };
    Ok(Computed { action, update: update.to_vec(), profile: Value::Null })
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
