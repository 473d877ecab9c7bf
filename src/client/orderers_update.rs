//! Changing the configuration of a channel that no peer is in: the orderers' system channel, before Fabric 3.0.
//!
//! A module of its own because nobody but orderers can tell what is in force there. Otherwise as
//! [`config_update`](super::config_update): what counts is a configuration block with these very bytes in it.
//!
//! Source: Fabric 2.5.16 `orderer/common/msgprocessor`, `orderer/common/multichannel`.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;

use super::channels::ChannelError;
use super::config_update::{LOOK_BACK, UpdateError, Updated, holds, named, number};
use super::gateway::Client;
use super::participation::BlockId;
use super::transact::BroadcastError;
use crate::fabric::block::last_config;
use crate::fabric::names::{BlockNumber, ChannelName};
use crate::pb::common::{Block, ConfigUpdateEnvelope, HeaderType};
use crate::runtime::retry::Backoff;

impl Client {
    /// Hands in an update of the orderers' own channel, and waits until an orderer has it in a configuration block. One
    /// that is in force already, because it was handed in before or by somebody else, is not handed in again.
    ///
    /// Cancel safety: a cancellation ends the wait; the update may come into force all the same. Call it again.
    ///
    /// # Errors
    /// [`UpdateError`], which tells whether the update may still come into force.
    pub async fn submit_orderers_update(
        &self,
        channel: &ChannelName,
        update: &ConfigUpdateEnvelope,
    ) -> Result<Updated, UpdateError> {
        let named = named(update)?;
        if named != channel.as_str() {
            return Err(UpdateError::OtherChannel { named, channel: channel.clone() });
        }
        let newest = self.newest_config_block(channel).await?;
        if holds(&newest, &update.config_update) {
            return Ok(Updated::Already { block: number(&newest) });
        }
        let data = Bytes::from(update.encode_to_vec());
        let envelope = self.envelope(HeaderType::ConfigUpdate, channel, data).await?;
        match self.broadcast(&envelope).await {
            Ok(()) => {}
            Err(BroadcastError::Refused(refusal)) => {
                return match self.ordered_before(channel, &update.config_update).await? {
                    Some(block) => Ok(Updated::Already { block }),
                    None => Err(UpdateError::Refused(refusal)),
                };
            }
            Err(error) if error.may_be_ordered() => {
                tracing::warn!(%error, "no orderer is known to have taken a configuration update; looking for it");
            }
            Err(error) => return Err(UpdateError::NotOrdered(error)),
        }
        let waited = self.shared.timeouts.commit;
        let end = Instant::now() + waited;
        for wait in Backoff::new(Duration::from_millis(100), Duration::from_secs(2)) {
            match self.ordered_before(channel, &update.config_update).await {
                Ok(Some(block)) => return Ok(Updated::New { block }),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, %channel, "orderers do not tell what is in force"),
            }
            if Instant::now() + wait >= end {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        Err(UpdateError::Undecided { waited, superseded: None })
    }

    /// The configuration block with this update, among the last ones that orderers have.
    async fn ordered_before(&self, channel: &ChannelName, update: &[u8]) -> Result<Option<BlockNumber>, ChannelError> {
        let mut block = self.newest_config_block(channel).await?;
        for _ in 0..LOOK_BACK {
            if holds(&block, update) {
                return Ok(Some(number(&block)));
            }
            let Some(before) = number(&block).checked_sub(1) else { return Ok(None) };
            let before = self.fetch_block(channel, BlockId::Number(before)).await?;
            block = self.config_of(channel, before).await?;
        }
        Ok(None)
    }

    /// The configuration block that a block was ordered under.
    async fn config_of(&self, channel: &ChannelName, block: Block) -> Result<Block, ChannelError> {
        let config = last_config(&block).map_err(|error| ChannelError::Block { reason: error.to_string() })?;
        if config == number(&block) {
            return Ok(block);
        }
        self.fetch_block(channel, BlockId::Number(config)).await
    }
}
