//! What an update changes, for people who are to sign it.
//!
//! The update is applied to the channel as it is, by the rules of the orderers, so one that is out of date shows as such
//! before anybody signs it. What is shown was written by others and is cleaned.

use anyhow::Context as _;

use super::super::super::output;
use super::{Session, compute};
use crate::agent::channel_signatures;
use crate::agent::text;
use crate::fabric::config::show::{diff, summary};
use crate::fabric::config::tree::{Config, ConfigUpdate};
use crate::fabric::config::update::{apply, standing};
use crate::fabric::config::{ChannelConfig, genesis};
use crate::fabric::names::ChannelName;
use crate::opssc::channel_ops::{Action, Proposal, Status};
use crate::pb::common::ConfigSignature;

/// What a proposal changes, and whose signatures it has and needs.
pub(super) async fn of(session: &Session, proposal: &Proposal, update: &[u8]) -> anyhow::Result<String> {
    let channel = ChannelName::parse(proposal.channel_id.as_str()).context("the proposal names no channel")?;
    if proposal.status == Status::Committed {
        return Ok("It is committed: what it changed is part of the channel.".to_owned());
    }
    let (signatures, unreadable) = channel_signatures(proposal);
    let shown = described(session, &channel, &proposal.action, update, &signatures).await?;
    if unreadable.is_empty() {
        return Ok(shown);
    }
    Ok(format!("{shown}\nSignatures that cannot be read: {}", unreadable.join(", ")))
}

/// What an update changes that nobody has signed yet.
pub(super) async fn of_update(
    session: &Session,
    channel: &ChannelName,
    action: &Action,
    update: &[u8],
) -> anyhow::Result<String> {
    described(session, channel, action, update, &[]).await
}

async fn described(
    session: &Session,
    channel: &ChannelName,
    action: &Action,
    update: &[u8],
    signatures: &[ConfigSignature],
) -> anyhow::Result<String> {
    if *action == Action::Create {
        return Ok(creation(update));
    }
    let block = compute::config_block(session, channel).await?;
    let before = Config::from_block(&block)?;
    let decoded = ConfigUpdate::decode(update).context("the proposal's update is none")?;
    let group = before.channel_group.as_ref().context("the channel has no configuration")?;
    let mut lines = match apply(group, &decoded, channel.as_str(), |_| Ok(())) {
        Ok(group) => {
            let after = Config { channel_group: Some(group), ..before.clone() };
            let mut lines: Vec<String> =
                diff(&before, &after)?.iter().flat_map(|change| clean(&change.to_string())).collect();
            lines.extend(output::warnings(Some(&before), &after));
            lines
        }
        Err(error) => vec![format!("The channel does not take it as it is: {}", text::chain(&error))],
    };
    let config = ChannelConfig::from_block(&block)?;
    lines.extend(needed(&config, update, signatures));
    Ok(lines.join("\n"))
}

/// A channel to make, in lines.
fn creation(update: &[u8]) -> String {
    let block = match genesis::block_of_creation(update) {
        Ok(block) => block,
        Err(error) => return by_system_channel(update).unwrap_or_else(|| text::chain(&error)),
    };
    match Config::from_block(&block) {
        Ok(config) => {
            let mut lines: Vec<String> = summary(&config).iter().flat_map(|line| clean(line)).collect();
            lines.extend(output::warnings(None, &config));
            lines.join("\n")
        }
        Err(error) => text::chain(&error),
    }
}

/// A channel that orderers with a system channel make of their consortium: who is in it. None where it is no such update.
fn by_system_channel(update: &[u8]) -> Option<String> {
    let root = ConfigUpdate::decode(update).ok()?.write_set?;
    let members = root.groups.get("Application")?.groups.keys();
    let members = members.map(|member| text::bounded(member, 80)).collect::<Vec<_>>().join(", ");
    Some(format!("By way of the orderers' system channel, a channel of {members} is made."))
}

/// Whose signatures are needed, and whether they are there.
fn needed(config: &ChannelConfig, update: &[u8], signatures: &[ConfigSignature]) -> Vec<String> {
    match standing(config, update, signatures) {
        Ok(standings) => {
            let lines = standings.iter().flat_map(|standing| clean(&standing.to_string()));
            std::iter::once("Signatures:".to_owned()).chain(lines.map(|line| format!("  {line}"))).collect()
        }
        Err(error) => vec![format!("Whose signatures it needs is not known: {}", text::chain(&error))],
    }
}

/// Lines that are fit for a terminal.
fn clean(shown: &str) -> Vec<String> {
    shown.lines().map(|line| text::bounded(line, output::LINE)).collect()
}
