//! `opssc-agent channel update`: a configuration update from a file, handed in and seen in force.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use prost::Message as _;

use super::super::failure::{Exit, OutcomeUnknown, UsageError};
use super::super::output;
use super::super::settings::SettingFlags;
use super::{channel_name, open};
use crate::client::{UpdateError, Updated};
use crate::pb::common::{ChannelHeader, ConfigUpdateEnvelope, Envelope, HeaderType, Payload};

/// Updating.
#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    /// The channel
    #[arg(short = 'c', long = "channel-id", alias = "channelID", value_name = "NAME")]
    channel: String,
    /// The update in an envelope, with the signatures of those who agree to it
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    flags: SettingFlags,
}

pub(super) async fn run(update: &Update, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let channel = channel_name(&update.channel)?;
    let bytes = std::fs::read(&update.file).with_context(|| format!("cannot read {}", update.file.display()))?;
    let envelope = unwrap(bytes.into())
        .map_err(|reason| UsageError(format!("{} holds no update in an envelope: {reason}", update.file.display())))?;
    let client = open(&update.flags, environment)?;
    match client.channel(channel.clone()).submit_config_update(&envelope).await {
        Ok(Updated::New { block }) => output::say(&format!("{channel} is updated (block {block})")),
        Ok(Updated::Already { block }) => output::say(&format!("{channel} had this update already (block {block})")),
        Err(error @ (UpdateError::Undecided { .. } | UpdateError::Behind { .. })) => {
            return Err(OutcomeUnknown(error.to_string()).into());
        }
        Err(error) => return Err(anyhow::Error::new(error).context(format!("{channel} is not updated"))),
    }
    Ok(Exit::Done)
}

/// The update in an envelope, as the tools write it.
fn unwrap(bytes: Bytes) -> Result<ConfigUpdateEnvelope, String> {
    let words = |error: prost::DecodeError| error.to_string();
    let payload = Payload::decode(Envelope::decode(bytes).map_err(words)?.payload).map_err(words)?;
    let header = payload.header.ok_or("it has no header")?;
    let header = ChannelHeader::decode(header.channel_header).map_err(words)?;
    if header.r#type != i32::from(HeaderType::ConfigUpdate) {
        return Err(format!("it is of type {}, not a configuration update", header.r#type));
    }
    ConfigUpdateEnvelope::decode(payload.data).map_err(words)
}
