//! `opssc-agent configtx`: configurations of channels as files, without a network.
//!
//! Flags and file forms are those of configtxlator and of the configtx CLI of fabric-opssc; channels without a system
//! channel are created from a `configtx.yaml`.

pub(in crate::cli) mod data;
mod edit;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Exit, UsageError};
use super::output;
use crate::fabric::config::tree::{Config, ConfigUpdate};
use crate::fabric::config::{ChannelConfig, update_envelope};
use prost::Message as _;

/// Compute, sign and look at changes of a channel's configuration
#[derive(Debug, Subcommand)]
pub(super) enum ConfigtxCommand {
    /// Add an organization, or replace it
    SetOrg(edit::SetOrg),
    /// Remove an organization
    RemoveOrg(edit::RemoveOrg),
    /// Add a consenter, or replace the one at the same address
    SetConsenter(edit::WithProfile),
    /// Remove a consenter
    RemoveConsenter(edit::RemoveConsenter),
    /// Change the orderers' settings
    SetOrderer(edit::WithProfile),
    /// Change policies and ACLs
    SetChannel(edit::WithProfile),
    /// Carry out a list of commands as one update
    ExecuteMultipleOps(edit::WithProfile),
    /// Make the update that creates a channel
    CreateChannel(edit::CreateChannel),
    /// Compute the update from one configuration to another
    #[command(name = "compute_update", alias = "compute-update")]
    ComputeUpdate(data::ComputeUpdate),
    /// Show a message as JSON
    #[command(alias = "proto_decode")]
    Decode(data::Convert),
    /// Make a message from JSON
    #[command(alias = "proto_encode")]
    Encode(data::Convert),
    /// Sign an update
    Sign(data::Sign),
    /// Put an update and its signatures into an envelope
    CreateEnvelope(data::CreateEnvelope),
    /// Show what an update changes, or how two configurations differ
    Diff(data::Diff),
    /// Show a configuration for people
    Show(data::Show),
}

pub(super) fn run(command: &ConfigtxCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigtxCommand::SetOrg(command) => command.run(),
        ConfigtxCommand::RemoveOrg(command) => command.run(),
        ConfigtxCommand::SetConsenter(command) => command.run(edit::Kind::Consenter),
        ConfigtxCommand::RemoveConsenter(command) => command.run(),
        ConfigtxCommand::SetOrderer(command) => command.run(edit::Kind::Orderer),
        ConfigtxCommand::SetChannel(command) => command.run(edit::Kind::Channel),
        ConfigtxCommand::ExecuteMultipleOps(command) => command.run(edit::Kind::Several),
        ConfigtxCommand::CreateChannel(command) => command.run(),
        ConfigtxCommand::ComputeUpdate(command) => command.run(),
        ConfigtxCommand::Decode(command) => command.decode(),
        ConfigtxCommand::Encode(command) => command.encode(),
        ConfigtxCommand::Sign(command) => command.run(),
        ConfigtxCommand::CreateEnvelope(command) => command.run(),
        ConfigtxCommand::Diff(command) => command.run(),
        ConfigtxCommand::Show(command) => command.run(),
    }
    .map(|()| Exit::Done)
}

/// The form of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Format {
    /// The bare update
    Delta,
    /// In an envelope that is still to be signed
    EnvelopedDelta,
}

/// Where an update goes.
#[derive(Debug, Args)]
struct UpdateOutput {
    /// The form of the update
    #[arg(long, alias = "outputFormat", value_name = "FORMAT", default_value = "enveloped_delta")]
    output_format: Format,
    /// The file to write (`-`: standard output)
    #[arg(long, short, aliases = ["outputFile", "outputPath"], value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

impl UpdateOutput {
    fn write(&self, update: &ConfigUpdate) -> anyhow::Result<()> {
        match self.output_format {
            Format::Delta => write(&self.output, &update.encode()),
            Format::EnvelopedDelta => {
                let now = std::time::SystemTime::now().into();
                write(&self.output, &update_envelope(update, now).encode_to_vec())
            }
        }
    }
}

/// The bytes of a file, or of standard input for `-`.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| UsageError(format!("{} is no text", path.display())).into())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return output::put_bytes(bytes);
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The configuration in a file: a configuration block, a `ConfigEnvelope` or a `Config`.
fn config(path: &Path) -> anyhow::Result<Config> {
    let bytes = read(path)?;
    let found = [in_block(&bytes), in_envelope(&bytes), Config::decode(&bytes).ok()].into_iter().flatten();
    let mut found = found.filter(|config| config.channel_group.is_some());
    found.next().ok_or_else(|| UsageError(format!("{} holds no configuration", path.display())).into())
}

fn in_block(bytes: &[u8]) -> Option<Config> {
    let block = crate::fabric::block::Block::decode(bytes.to_vec()).ok()?;
    Config::from_block(block.raw()).ok()
}

fn in_envelope(bytes: &[u8]) -> Option<Config> {
    let envelope = crate::pb::common::ConfigEnvelope::decode(bytes).ok()?;
    // A `Config` may pass for an envelope: the group has to be a channel's.
    let config = envelope.config?;
    config.channel_group.as_ref()?.groups.contains_key("Orderer").then_some(())?;
    Config::decode(&config.encode_to_vec()).ok()
}

/// The configuration with what is to be known of it beyond the tree.
fn channel_config(channel: &str, config: &Config) -> anyhow::Result<ChannelConfig> {
    let name = crate::fabric::names::ChannelName::parse(channel)?;
    Ok(ChannelConfig::from_config(name, crate::pb::common::Config::decode(config.encode())?)?)
}
