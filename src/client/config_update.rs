//! Changing a channel's configuration: an update handed in, and seen in force on an own peer.
//!
//! A module of its own because an orderer's word is worth little here: a follower takes an update that its leader drops,
//! and an update that another administrator has handed in already is refused although everything is as it should be.
//! What counts is a configuration block with these very bytes in it. The update is carried as it was signed and never
//! encoded again.
//!
//! Source: Fabric 3.1.5 `orderer/common/msgprocessor`, `common/configtx`; `fabric-protos/common/configtx.proto`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use prost::Message as _;
use tokio::time::Instant;

use super::channel::{Channel, EvaluateError};
use super::channels::ChannelError;
use super::error::CallError;
use super::events::Start;
use super::gateway::{Client, nonce};
use super::participation::BlockId;
use super::transact::{self, BroadcastError};
use crate::fabric::block::last_config;
use crate::fabric::config::edit::{EditError, check_consenters, check_raft_metadata};
use crate::fabric::config::update::{apply, standing};
use crate::fabric::config::{ChannelConfig, sign, tree};
use crate::fabric::identity::SignError;
use crate::fabric::names::{BlockNumber, ChannelName};
use crate::pb::common::{
    Block, ConfigEnvelope, ConfigSignature, ConfigUpdate, ConfigUpdateEnvelope, Envelope, HeaderType, Payload,
};
use crate::runtime::retry::Backoff;

/// How many configuration blocks are looked at when an update was refused: more than channels come to have, and an end
/// all the same.
pub(super) const LOOK_BACK: usize = 4096;

/// How a channel came to have an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// It was handed in and is in force since this block.
    New {
        /// The configuration block.
        block: BlockNumber,
    },
    /// It had been handed in before, by whomever.
    Already {
        /// The configuration block.
        block: BlockNumber,
    },
}

impl Updated {
    /// The configuration block with the update.
    pub fn block(self) -> BlockNumber {
        match self {
            Self::New { block } | Self::Already { block } => block,
        }
    }
}

/// Why an update is not known to be in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// There is no update in it.
    #[error("not a configuration update: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The update is for another channel.
    #[error("the update is for channel {named:?}, not for {channel}")]
    OtherChannel {
        /// The channel that it names.
        named: String,
        /// The channel that it was to be handed in for.
        channel: ChannelName,
    },
    /// The orderers refuse it, and it is in none of the last configuration blocks: it is out of date, lacks signatures
    /// or would make a configuration that is not valid.
    #[error("the ordering service refuses the update")]
    Refused(#[source] CallError),
    /// It was not handed in, because orderers would refuse it, or could not live with it.
    #[error("the orderers would not take the update: {reason}")]
    Unsuitable {
        /// In their words.
        reason: String,
    },
    /// It was not handed in, because signatures are lacking. More of them make it another one, which may be handed in.
    #[error("signatures are lacking: {}", lacking.join("; "))]
    Lacking {
        /// The policies that are not satisfied, with who has signed and who has not.
        lacking: Vec<String>,
    },
    /// No orderer took it. Handing in the same again is safe.
    #[error("the update was not handed in")]
    NotOrdered(#[source] BroadcastError),
    /// It may still come into force. Handing in the same again is safe, and finds out.
    #[error("the update was handed in but is not in force after {waited:?}{}", overtaken(*.superseded))]
    Undecided {
        /// How long it was waited for.
        waited: Duration,
        /// Another update that came into force meanwhile, so that this one may be out of date.
        superseded: Option<BlockNumber>,
    },
    /// It is in force, and no own peer has its block yet. Peers that hear blocks of a consenter that the update has
    /// removed get none until that orderer notices (minutes, as Fabric is set up), or leaves the channel.
    #[error("the orderers have the update in block {block}, and no own peer has got that block yet")]
    Behind {
        /// The configuration block.
        block: BlockNumber,
    },
    /// There is a channel of that name, and it was made from something else.
    #[error("channel {channel} exists already, and this update did not make it")]
    Exists {
        /// The channel.
        channel: ChannelName,
    },
    /// The own peers do not tell what is in force.
    #[error("own peers do not tell the configuration of the channel")]
    Look(#[from] EvaluateError),
    /// The orderers do not tell what is in force, of a channel that no peer is in.
    #[error("no orderer tells the configuration of the channel")]
    Fetch(#[from] ChannelError),
    /// The envelope could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl UpdateError {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Undecided { .. } | Self::Behind { .. } => true,
            Self::NotOrdered(error) => error.is_retryable(),
            Self::Look(error) => error.is_retryable(),
            Self::Fetch(error) => error.is_retryable(),
            Self::Sign(error) => error.is_retryable(),
            Self::Malformed { .. }
            | Self::OtherChannel { .. }
            | Self::Exists { .. }
            | Self::Refused(_)
            | Self::Unsuitable { .. }
            | Self::Lacking { .. } => false,
        }
    }
}

fn overtaken(superseded: Option<BlockNumber>) -> String {
    superseded.map_or_else(String::new, |block| format!("; block {block} holds another update"))
}

impl Channel {
    /// Hands in an update with the signatures that it has, and waits until an own peer has it in a configuration block.
    /// One that is in force already, because it was handed in before or by somebody else, is not handed in again.
    ///
    /// Cancel safety: a cancellation ends the wait; the update may come into force all the same. Call it again.
    ///
    /// # Errors
    /// [`UpdateError`], which tells whether the update may still come into force.
    pub async fn submit_config_update(&self, update: &ConfigUpdateEnvelope) -> Result<Updated, UpdateError> {
        let named = named(update)?;
        if named != self.name().as_str() {
            return Err(UpdateError::OtherChannel { named, channel: self.name().clone() });
        }
        // In this order: what comes into force between the two is in the block, or follows the height.
        let height = self.height().await?;
        let newest = self.config_block().await?;
        if holds(&newest, &update.config_update) {
            return Ok(Updated::Already { block: number(&newest) });
        }
        check(&newest, update)?;
        let data = Bytes::from(update.encode_to_vec());
        let envelope = self.client().envelope(HeaderType::ConfigUpdate, self.name(), data).await?;
        match transact::broadcast(self.client(), Some(self), &envelope).await {
            Ok(()) => {}
            Err(BroadcastError::Refused(refusal)) => {
                if let Some(block) = self.find_update(newest, &update.config_update).await? {
                    return Ok(Updated::Already { block });
                }
                return Err(match self.ordered(&update.config_update).await {
                    Some(block) => UpdateError::Behind { block },
                    None => UpdateError::Refused(refusal),
                });
            }
            // Some orderer may have it: only the ledger can tell.
            Err(error) if error.may_be_ordered() => {
                tracing::warn!(%error, "no orderer is known to have taken a configuration update; looking for it");
            }
            Err(error) => return Err(UpdateError::NotOrdered(error)),
        }
        match self.see_update(height, &update.config_update).await {
            Err(undecided @ UpdateError::Undecided { .. }) => match self.ordered(&update.config_update).await {
                Some(block) => Err(UpdateError::Behind { block }),
                None => Err(undecided),
            },
            seen => seen,
        }
    }

    /// The block of an update that is the newest one for some orderer. Each is asked: one that was removed knows nothing
    /// of what came after.
    async fn ordered(&self, update: &[u8]) -> Option<BlockNumber> {
        let client = self.client();
        let ask = |orderer| client.fetch_block_of(orderer, self.name(), BlockId::Config);
        let answers = join_all(client.orderers().iter().map(ask)).await;
        answers.into_iter().flatten().find(|block| holds(block, update)).map(|block| number(&block))
    }

    /// Waits for the update in the blocks from `start` on.
    async fn see_update(&self, start: BlockNumber, update: &[u8]) -> Result<Updated, UpdateError> {
        let waited = self.client().shared.timeouts.commit;
        let mut superseded = None;
        let seen = tokio::time::timeout(waited, async {
            let mut blocks = self.blocks(Start::Number(start));
            while let Some(block) = blocks.next().await {
                match block {
                    Ok(block) => match last_update(&block) {
                        Some(found) if found.config_update == update => return Some(number(&block)),
                        Some(_) => superseded = Some(number(&block)),
                        None => {}
                    },
                    Err(error) => tracing::debug!(%error, "blocks are not heard while waiting for an update"),
                }
            }
            None
        })
        .await;
        match seen {
            Ok(Some(block)) => Ok(Updated::New { block }),
            // A stream without end ended: nothing was seen either.
            Ok(None) | Err(_) => Err(UpdateError::Undecided { waited, superseded }),
        }
    }

    /// Looks for an update in the last configuration blocks, `newest` being the one that is known best.
    async fn find_update(&self, newest: Block, update: &[u8]) -> Result<Option<BlockNumber>, EvaluateError> {
        // Whoever was faster may have been so just now.
        let mut block = self.config_block().await.unwrap_or(newest);
        for _ in 0..LOOK_BACK {
            if holds(&block, update) {
                return Ok(Some(number(&block)));
            }
            let Some(before) = number(&block).checked_sub(1) else { return Ok(None) };
            let before = self.block(before).await?;
            let malformed = |error: crate::fabric::block::BlockError| EvaluateError::Malformed {
                function: "GetBlockByNumber",
                reason: error.to_string(),
            };
            let config = last_config(&before).map_err(malformed)?;
            block = if config == number(&before) { before } else { self.block(config).await? };
        }
        Ok(None)
    }
}

impl Client {
    /// The client's signature over an update, whose bytes must not change afterwards.
    ///
    /// # Errors
    /// [`SignError`] when the signer fails, or the client's certificate has expired.
    pub async fn sign_config_update(&self, update: &[u8]) -> Result<ConfigSignature, SignError> {
        let credentials = self.credentials();
        credentials.check_lifetime()?;
        sign(update, &*credentials.signer, nonce()?).await
    }

    /// Hands in an update that makes a channel, for orderers with a system channel (Fabric before 3.0), and waits until an
    /// orderer serves the channel. One that was made from this update before is not made again.
    ///
    /// Cancel safety: a cancellation ends the wait; the channel may be made all the same. Call it again.
    ///
    /// # Errors
    /// [`UpdateError`], which tells whether the channel may still come to be.
    pub async fn submit_channel_creation(&self, update: &ConfigUpdateEnvelope) -> Result<Updated, UpdateError> {
        let channel =
            ChannelName::parse(named(update)?).map_err(|error| UpdateError::Malformed { reason: error.to_string() })?;
        if let Some(made) = self.made_from(&channel, update).await? {
            return Ok(Updated::Already { block: made });
        }
        let data = Bytes::from(update.encode_to_vec());
        let envelope = self.envelope(HeaderType::ConfigUpdate, &channel, data).await?;
        match self.broadcast(&envelope).await {
            Ok(()) => {}
            Err(BroadcastError::Refused(refusal)) => {
                // Whoever was faster may have been so just now.
                return match self.made_from(&channel, update).await? {
                    Some(block) => Ok(Updated::Already { block }),
                    None => Err(UpdateError::Refused(refusal)),
                };
            }
            Err(error) if error.may_be_ordered() => {
                tracing::warn!(%error, "no orderer is known to have taken the creation of a channel; looking for it");
            }
            Err(error) => return Err(UpdateError::NotOrdered(error)),
        }
        let waited = self.shared.timeouts.commit;
        let end = Instant::now() + waited;
        for wait in Backoff::new(Duration::from_millis(100), Duration::from_secs(2)) {
            if let Some(block) = self.made_from(&channel, update).await? {
                return Ok(Updated::New { block });
            }
            if Instant::now() + wait >= end {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        Err(UpdateError::Undecided { waited, superseded: None })
    }

    /// The first block of the channel, if an orderer has it.
    async fn made_from(
        &self,
        channel: &ChannelName,
        update: &ConfigUpdateEnvelope,
    ) -> Result<Option<BlockNumber>, UpdateError> {
        match self.genesis_block(channel).await {
            Ok(block) if holds(&block, &update.config_update) => Ok(Some(number(&block))),
            Ok(_) => Err(UpdateError::Exists { channel: channel.clone() }),
            // Orderers that are away and orderers that know no such channel are one here: both are asked again.
            Err(error) => {
                tracing::debug!(%error, %channel, "no orderer serves the channel yet");
                Ok(None)
            }
        }
    }
}

/// What orderers would say of the update, as far as it is sure before they are asked: how they agree does not allow it,
/// or signatures are lacking. Of one that does not fit this configuration they have the last word: it may be in force, or
/// the peer may be behind.
fn check(newest: &Block, update: &ConfigUpdateEnvelope) -> Result<(), UpdateError> {
    let Ok(before) = tree::Config::from_block(newest) else { return Ok(()) };
    let (Some(root), Ok(decoded)) = (&before.channel_group, tree::ConfigUpdate::decode(&update.config_update)) else {
        return Ok(());
    };
    let Ok(group) = apply(root, &decoded, &decoded.channel_id, |_| Ok(())) else { return Ok(()) };
    let after = tree::Config { channel_group: Some(group), ..before.clone() };
    let agreeing = check_raft_metadata(&after).and_then(|()| check_consenters(&before, &after));
    if let Err(EditError::Unsuitable { reason }) = agreeing {
        return Err(UpdateError::Unsuitable { reason });
    }
    let Ok(config) = ChannelConfig::from_block(newest) else { return Ok(()) };
    // Who cannot be judged here may have signed well: members of a consortium, and MSPs of other kinds.
    if root.groups.contains_key("Consortiums") {
        return Ok(());
    }
    if config.application().values().chain(config.orderers().values()).any(|member| member.msp().is_err()) {
        return Ok(());
    }
    let standings = standing(&config, &update.config_update, &update.signatures).unwrap_or_default();
    let lacking: Vec<String> =
        standings.iter().filter(|standing| !standing.satisfied).map(ToString::to_string).collect();
    if lacking.is_empty() { Ok(()) } else { Err(UpdateError::Lacking { lacking }) }
}

/// The channel that an update is for.
pub(super) fn named(update: &ConfigUpdateEnvelope) -> Result<String, UpdateError> {
    let decoded = ConfigUpdate::decode(update.config_update.clone());
    Ok(decoded.map_err(|error| UpdateError::Malformed { reason: error.to_string() })?.channel_id)
}

pub(super) fn number(block: &Block) -> BlockNumber {
    block.header.as_ref().map_or(0, |header| header.number)
}

/// Whether a block brings this update into force.
pub(super) fn holds(block: &Block, update: &[u8]) -> bool {
    last_update(block).is_some_and(|envelope| envelope.config_update == update)
}

/// The update that a configuration block brings into force. A first block has none.
fn last_update(block: &Block) -> Option<ConfigUpdateEnvelope> {
    let [only] = block.data.as_ref()?.data.as_slice() else { return None };
    let config = ConfigEnvelope::decode(payload(only.clone(), HeaderType::Config)?).ok()?;
    let update = config.last_update?.encode_to_vec();
    ConfigUpdateEnvelope::decode(payload(update.into(), HeaderType::ConfigUpdate)?).ok()
}

/// The data of an envelope of this type.
fn payload(envelope: Bytes, header_type: HeaderType) -> Option<Bytes> {
    let payload = Payload::decode(Envelope::decode(envelope).ok()?.payload).ok()?;
    let header = crate::pb::common::ChannelHeader::decode(payload.header?.channel_header).ok()?;
    (header.r#type == i32::from(header_type)).then_some(payload.data)
}
