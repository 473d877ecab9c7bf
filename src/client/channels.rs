//! Channels and the peers in them: joining, listing, and the blocks that it takes.
//!
//! A module of its own because these calls are about no channel that the peer is in yet, so the blocks come from
//! orderers. A block that is fetched is checked for its number, channel and data hash; that it is the consortium's is
//! the orderer's word.
//!
//! Source: Fabric 3.1.5 `core/scc/cscc`, `fabric-protos/orderer/ab.proto`.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;

use super::error::{CallError, listed};
use super::gateway::Client;
use super::node::{Orderer, Peer};
use super::participation::BlockId;
use super::transact::{self, BroadcastError};
use crate::fabric::block::{Block as Decoded, BlockError, last_config};
use crate::fabric::names::{BlockNumber, ChannelName};
use crate::fabric::tx::Invocation;
use crate::pb::common::{Block, ChannelHeader, Envelope, HeaderType, Payload};
use crate::pb::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use crate::pb::orderer::{SeekInfo, SeekNewest, SeekPosition, SeekSpecified, seek_position::Type as Seek};
use crate::pb::protos::{ChannelQueryResponse, JoinBySnapshotStatus};
use crate::runtime::retry::Backoff;

/// How long an orderer may take to send one block.
const FETCH: Duration = Duration::from_secs(30);
/// How long a peer may take to join: it makes a ledger.
const JOIN: Duration = Duration::from_mins(2);
/// How long a peer that has joined may take until it serves the channel.
const SERVE: Duration = Duration::from_secs(30);

/// Whether there was anything to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The peer joined now.
    New,
    /// The peer was in the channel before.
    Already,
}

/// Why a channel's block was not got, or a peer did not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The profile names no orderer.
    #[error("no orderers are known")]
    NoOrderers,
    /// No orderer gave the block. `FORBIDDEN` and `NOT_FOUND` may just mean: not yet.
    #[error("no orderer gave the block: {}", listed(failures))]
    Fetch {
        /// What each of them said.
        failures: Vec<CallError>,
    },
    /// The block is not a configuration block of a channel.
    #[error("not a configuration block: {reason}")]
    Block {
        /// What is wrong with it.
        reason: String,
    },
    /// The peer did not join.
    #[error(transparent)]
    Join(#[from] CallError),
}

impl ChannelError {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fetch { failures } => failures
                .iter()
                .any(|error| error.is_retryable() || matches!(error, CallError::Refused { status: 403 | 404, .. })),
            Self::Join(error) => error.is_retryable(),
            Self::NoOrderers | Self::Block { .. } => false,
        }
    }
}

impl Client {
    /// The channels that an own peer is in.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn joined_channels(&self, peer: &Peer) -> Result<Vec<ChannelName>, CallError> {
        let result = self.query(peer, None, &Invocation::new("cscc", "GetChannels")).await?;
        let malformed = |reason: String| CallError::Malformed { node: peer.node().clone(), reason };
        let list = ChannelQueryResponse::decode(result).map_err(|error| malformed(error.to_string()))?;
        let name = |channel: crate::pb::protos::ChannelInfo| {
            ChannelName::parse(channel.channel_id).map_err(|error| malformed(error.to_string()))
        };
        list.channels.into_iter().map(name).collect()
    }

    /// Has an own peer join the channel of `block`, its first one, and waits until the peer serves the channel. A peer
    /// that is in the channel already is left alone.
    ///
    /// Cancel safety: a cancellation ends the wait; the peer may join all the same. Call it again.
    ///
    /// # Errors
    /// [`ChannelError::Block`] and [`ChannelError::Join`].
    pub async fn join(&self, peer: &Peer, block: &Block) -> Result<Joined, ChannelError> {
        let channel = channel_of(block).map_err(|reason| ChannelError::Block { reason })?;
        if self.joined_channels(peer).await?.contains(&channel) {
            return Ok(Joined::Already);
        }
        let invocation = Invocation::new("cscc", "JoinChain").arg(block.encode_to_vec());
        let joined = match self.call(peer, None, &invocation, HeaderType::Config, JOIN).await {
            Ok(_) => Joined::New,
            Err(error) => match self.joined_channels(peer).await {
                // Another caller was faster, or the answer was lost.
                Ok(joined) if joined.contains(&channel) => Joined::Already,
                _ => return Err(error.into()),
            },
        };
        self.served(peer, &channel).await?;
        Ok(joined)
    }

    /// Waits until a peer that has joined a channel tells its height.
    async fn served(&self, peer: &Peer, channel: &ChannelName) -> Result<(), ChannelError> {
        let channel = self.channel(channel.clone());
        let end = Instant::now() + SERVE;
        for wait in Backoff::new(Duration::from_millis(50), Duration::from_secs(1)) {
            match channel.height_of(peer).await {
                Ok(_) => break,
                Err(error) if Instant::now() + wait >= end => return Err(error.into()),
                Err(error) => tracing::debug!(%error, peer = peer.name(), "peer does not serve the channel yet"),
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Has an own peer join a channel from a snapshot, which lies in a folder on the peer's own machine. The peer works on
    /// when it has answered: [`snapshot_under_way`](Self::snapshot_under_way) tells until when. It then has the state of
    /// the snapshot's block, and the blocks after it.
    ///
    /// Cancel safety: a cancellation ends the wait; the peer may join all the same.
    ///
    /// # Errors
    /// [`CallError`]; the peer refuses while another snapshot is under way, and where it is in the channel already.
    pub async fn join_by_snapshot(&self, peer: &Peer, folder: &str) -> Result<(), CallError> {
        let invocation = Invocation::new("cscc", "JoinChainBySnapshot").arg(folder.to_owned());
        self.call(peer, None, &invocation, HeaderType::Config, JOIN).await.map(drop)
    }

    /// Waits until an own peer has made the ledger of a channel from a snapshot, which may take long, and serves it. Gives
    /// the channels that it is in, and was not in `before`: none where it failed, for which the peer's log has the reason.
    ///
    /// Cancel safety: a cancellation ends the wait.
    ///
    /// # Errors
    /// [`ChannelError::Join`].
    pub async fn joined_by_snapshot(
        &self,
        peer: &Peer,
        before: &[ChannelName],
    ) -> Result<Vec<ChannelName>, ChannelError> {
        for wait in Backoff::new(Duration::from_millis(100), Duration::from_secs(2)) {
            if self.snapshot_under_way(peer).await?.is_none() {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        let mut joined = self.joined_channels(peer).await?;
        joined.retain(|channel| !before.contains(channel));
        for channel in &joined {
            self.served(peer, channel).await?;
        }
        Ok(joined)
    }

    /// The folder of the snapshot from which an own peer is joining a channel just now.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn snapshot_under_way(&self, peer: &Peer) -> Result<Option<String>, CallError> {
        let result = self.query(peer, None, &Invocation::new("cscc", "JoinBySnapshotStatus")).await?;
        let status = JoinBySnapshotStatus::decode(result)
            .map_err(|error| CallError::Malformed { node: peer.node().clone(), reason: error.to_string() })?;
        Ok(status.in_progress.then_some(status.bootstrapping_snapshot_dir))
    }

    /// The first block of a channel, from an orderer of the connection profile.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn genesis_block(&self, channel: &ChannelName) -> Result<Block, ChannelError> {
        self.fetch_block(channel, BlockId::Oldest).await
    }

    /// The newest configuration block of a channel, from an orderer of the connection profile.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn newest_config_block(&self, channel: &ChannelName) -> Result<Block, ChannelError> {
        self.fetch_block(channel, BlockId::Config).await
    }

    /// Hands an envelope to the orderers of the connection profile until one takes it.
    ///
    /// Cancel safety: a cancellation ends the wait; the envelope may be ordered all the same. The same bytes may be
    /// handed in again: peers let one of the copies take effect.
    ///
    /// # Errors
    /// [`BroadcastError`].
    pub async fn broadcast(&self, envelope: &Envelope) -> Result<(), BroadcastError> {
        transact::broadcast(self, None, envelope).await
    }

    /// A block of a channel, from an orderer of the connection profile.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn fetch_block(&self, channel: &ChannelName, wanted: BlockId) -> Result<Block, ChannelError> {
        if self.orderers().is_empty() {
            return Err(ChannelError::NoOrderers);
        }
        let mut failures = Vec::new();
        for orderer in self.orderers() {
            match self.fetch_block_of(orderer, channel, wanted).await {
                Ok(block) => return Ok(block),
                Err(error) => failures.push(error),
            }
        }
        Err(ChannelError::Fetch { failures })
    }

    /// A block of a channel, from this orderer.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn fetch_block_of(
        &self,
        orderer: &Orderer,
        channel: &ChannelName,
        wanted: BlockId,
    ) -> Result<Block, CallError> {
        match wanted {
            BlockId::Oldest => self.fetch(orderer, channel, Some(0)).await,
            BlockId::Newest => self.fetch(orderer, channel, None).await,
            BlockId::Number(number) => self.fetch(orderer, channel, Some(number)).await,
            BlockId::Config => self.fetch_newest_config(orderer, channel).await,
        }
    }

    async fn fetch_newest_config(&self, orderer: &Orderer, channel: &ChannelName) -> Result<Block, CallError> {
        let newest = self.fetch(orderer, channel, None).await?;
        let number = last_config(&newest)
            .map_err(|error| CallError::Malformed { node: orderer.node().clone(), reason: error.to_string() })?;
        if newest.header.as_ref().is_some_and(|header| header.number == number) {
            return Ok(newest);
        }
        self.fetch(orderer, channel, Some(number)).await
    }

    /// The number of blocks of a channel that this orderer has. Only a header is sent.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn height_of_orderer(&self, orderer: &Orderer, channel: &ChannelName) -> Result<BlockNumber, CallError> {
        let newest = Some(SeekPosition { r#type: Some(Seek::Newest(SeekNewest {})) });
        let info = SeekInfo {
            start: newest,
            stop: newest,
            behavior: SeekBehavior::FailIfNotReady.into(),
            error_response: SeekErrorResponse::BestEffort.into(),
            content_type: SeekContentType::HeaderWithSig.into(),
        };
        let data = Bytes::from(info.encode_to_vec());
        let envelope = self.envelope(HeaderType::DeliverSeekInfo, channel, data).await?;
        let header = orderer.fetch(envelope, FETCH).await?.pop().and_then(|block| block.header);
        header.map(|header| header.number.saturating_add(1)).ok_or_else(|| CallError::Malformed {
            node: orderer.node().clone(),
            reason: "no block before the end of delivery".to_owned(),
        })
    }

    /// One block of one orderer, checked; the newest where no number is given.
    async fn fetch(
        &self,
        orderer: &Orderer,
        channel: &ChannelName,
        number: Option<BlockNumber>,
    ) -> Result<Block, CallError> {
        let seek = number.map_or(Seek::Newest(SeekNewest {}), |number| Seek::Specified(SeekSpecified { number }));
        let position = Some(SeekPosition { r#type: Some(seek) });
        let info = SeekInfo {
            start: position,
            stop: position,
            behavior: SeekBehavior::FailIfNotReady.into(),
            // An orderer without a leader still knows its blocks.
            error_response: SeekErrorResponse::BestEffort.into(),
            content_type: 0,
        };
        let data = Bytes::from(info.encode_to_vec());
        let envelope = self.envelope(HeaderType::DeliverSeekInfo, channel, data).await?;
        let malformed = |reason: String| CallError::Malformed { node: orderer.node().clone(), reason };
        let block = orderer
            .fetch(envelope, FETCH)
            .await?
            .pop()
            .ok_or_else(|| malformed("no block before the end of delivery".to_owned()))?;
        check(&block, number).map_err(|error| malformed(error.to_string()))?;
        Ok(block)
    }
}

pub(super) fn check(block: &Block, number: Option<BlockNumber>) -> Result<(), BlockError> {
    let decoded = Decoded::new(block.clone())?;
    decoded.check_data()?;
    match number {
        Some(number) if decoded.number() != number => {
            Err(BlockError::Missing { number, what: "its own number in the header" })
        }
        _ => Ok(()),
    }
}

/// The channel whose configuration a block holds.
pub(super) fn channel_of(block: &Block) -> Result<ChannelName, String> {
    let decode_error = |error: prost::DecodeError| error.to_string();
    let data = block.data.as_ref().and_then(|data| data.data.first()).ok_or("no transactions")?;
    let envelope = Envelope::decode(data.clone()).map_err(decode_error)?;
    let payload = Payload::decode(envelope.payload).map_err(decode_error)?;
    let header = payload.header.ok_or("no header")?;
    let header = ChannelHeader::decode(header.channel_header).map_err(decode_error)?;
    if header.r#type != HeaderType::Config as i32 {
        return Err("another kind of transaction".to_owned());
    }
    ChannelName::parse(header.channel_id).map_err(|error| error.to_string())
}
