//! Whose agent it is: what does not change while it runs.

use serde::Serialize;

use crate::agent::config::Settings;
use crate::agent::survey::now_ms;
use crate::fabric::names::{ChaincodeName, ChannelName, MspId};

/// Whose agent it is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct About {
    /// The version of the program.
    pub(super) version: &'static str,
    /// The organization.
    #[serde(serialize_with = "shown")]
    pub(super) organization: MspId,
    #[serde(serialize_with = "shown")]
    pub(super) ops_channel: ChannelName,
    #[serde(serialize_with = "shown")]
    pub(super) chaincode_ops: ChaincodeName,
    #[serde(serialize_with = "shown")]
    pub(super) channel_ops: ChaincodeName,
    /// In milliseconds since 1970.
    pub(super) started_ms: u64,
}

impl About {
    pub(in crate::agent) fn of(settings: &Settings) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            organization: settings.msp_id.clone(),
            ops_channel: settings.ops_channel.clone(),
            chaincode_ops: settings.chaincode_ops.clone(),
            channel_ops: settings.channel_ops.clone(),
            started_ms: now_ms(),
        }
    }
}

fn shown<S: serde::Serializer>(name: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(name)
}
