//! An orderer's channels: which it takes part in, joining and leaving them, updating them, reading their blocks.
//!
//! A module of its own because none of it is gRPC or signed: it is a small HTTP service that every orderer has on an
//! address of its own, and who may use it is decided by TLS certificates alone. A question is made and an answer read
//! without a connection, so that both can be held against what real tools and orderers say. Blocks and envelopes are
//! sent as the bytes that were given, and only when they are of the channel that is meant.
//!
//! Source: Fabric 3.1.5 `orderer/common/channelparticipation`, `internal/osnadmin`, `orderer/common/types`.

mod error;
mod files;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod wire;

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Method;
use prost::Message as _;

pub use error::ParticipationError;
pub use files::TlsFiles;

use super::channels::{Joined, channel_of};
use super::error::NodeName;
use super::net::http::{Answered, Asked, HttpError};
use super::net::{Endpoint, NetError};
use crate::fabric::names::{BlockNumber, ChannelName};
use crate::pb::common::Block;
use files::Reach;
use wire::Refusal;

/// How long an orderer may take, unless told otherwise: joining writes a ledger.
const PATIENCE: Duration = Duration::from_secs(30);

/// The part that an orderer has in a channel's consensus.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsensusRelation {
    /// It is one of the consenters.
    Consenter,
    /// It is none of them and copies their blocks.
    Follower,
    /// It is none of them and only watches the configuration, to see when it becomes one.
    ConfigTracker,
    /// Another word, as the orderer gave it.
    Other(String),
}

/// How an orderer fares in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelStatus {
    /// It takes part, or keeps up.
    Active,
    /// It is catching up.
    Onboarding,
    /// It has left the channel and is still dropping the blocks.
    Inactive,
    /// What it did last with the channel failed: it could not drop the blocks.
    Failed,
    /// Another word, as the orderer gave it.
    Other(String),
}

impl fmt::Display for ConsensusRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consenter => "consenter",
            Self::Follower => "follower",
            Self::ConfigTracker => "config-tracker",
            Self::Other(word) => word,
        })
    }
}

impl fmt::Display for ChannelStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Onboarding => "onboarding",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Other(word) => word,
        })
    }
}

/// An orderer's part in one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participation {
    /// The channel.
    pub channel: ChannelName,
    /// Its part in the consensus.
    pub relation: ConsensusRelation,
    /// How it fares.
    pub status: ChannelStatus,
    /// How many blocks it has.
    pub height: BlockNumber,
}

/// The channels of an orderer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelList {
    /// The system channel, which orderers before 3.0 may still have.
    pub system_channel: Option<String>,
    /// The others, in the orderer's order.
    pub channels: Vec<ChannelName>,
}

/// Which block is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockId {
    /// The newest.
    Newest,
    /// The first.
    Oldest,
    /// The newest with a configuration.
    Config,
    /// The one with this number.
    Number(BlockNumber),
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Oldest => f.write_str("oldest"),
            Self::Config => f.write_str("config"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// The administration of one orderer.
///
/// The endpoint is that of its administration, which is another than the one it takes transactions at. With TLS, the
/// orderer wants a client certificate of an authority that its administrator configured.
#[derive(Debug, Clone)]
pub struct OrdererAdmin {
    node: NodeName,
    reach: Reach,
    patience: Duration,
}

impl OrdererAdmin {
    /// Checks the endpoint and dials nothing. `name` is what errors call the orderer.
    ///
    /// # Errors
    /// [`NetError`] when no connection could ever be made as described.
    pub fn new(name: impl Into<String>, endpoint: &Endpoint) -> Result<Self, NetError> {
        let node = NodeName { name: name.into(), address: endpoint.address.clone() };
        Ok(Self { node, reach: Reach::new(endpoint, None)?, patience: PATIENCE })
    }

    /// As [`new`](Self::new), with certificates that are read from these files again whenever they have changed. Those of
    /// `endpoint` serve while the files cannot be used.
    ///
    /// # Errors
    /// [`NetError`] when no connection could ever be made as described.
    pub fn with_files(name: impl Into<String>, endpoint: &Endpoint, files: TlsFiles) -> Result<Self, NetError> {
        let node = NodeName { name: name.into(), address: endpoint.address.clone() };
        Ok(Self { node, reach: Reach::new(endpoint, Some(files))?, patience: PATIENCE })
    }

    /// With another deadline for each call than 30 seconds.
    #[must_use]
    pub fn with_deadline(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The orderer, as errors name it.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The channels that the orderer has joined.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`ParticipationError`].
    pub async fn channels(&self) -> Result<ChannelList, ParticipationError> {
        let answer = self.ask(wire::about_all()).await?;
        wire::list(&answer).map_err(|refusal| self.refused(refusal))
    }

    /// The orderer's part in a channel, `None` where it has none.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`ParticipationError`].
    pub async fn channel(&self, channel: &ChannelName) -> Result<Option<Participation>, ParticipationError> {
        let answer = self.ask(wire::about_one(Method::GET, channel)).await?;
        match wire::participation(&answer, channel, 200) {
            Err(Refusal::Status { status: 404, .. }) => Ok(None),
            answer => answer.map(Some).map_err(|refusal| self.refused(refusal)),
        }
    }

    /// Has the orderer join `channel`, whose first block or a later configuration block is `block`. An orderer that is
    /// no consenter of it becomes a follower.
    ///
    /// Cancel safety: a cancellation ends the wait; the orderer may join all the same.
    ///
    /// # Errors
    /// [`ParticipationError`], [`AlreadyJoined`](ParticipationError::AlreadyJoined) among them.
    pub async fn join(
        &self,
        channel: &ChannelName,
        block: impl Into<Bytes>,
    ) -> Result<Participation, ParticipationError> {
        let block = block.into();
        let found =
            Block::decode(block.clone()).map_err(|error| error.to_string()).and_then(|block| channel_of(&block));
        wire::fits(channel, found)?;
        let answer = self.ask(wire::send(Method::POST, "config-block", "config.block", &block)).await?;
        wire::participation(&answer, channel, 201).map_err(|refusal| match refusal {
            Refusal::Status { status: 405, message, deletable: true } => {
                ParticipationError::AlreadyJoined { node: self.node.clone(), message }
            }
            refusal => self.refused(refusal),
        })
    }

    /// [`join`](Self::join) unless the orderer is in the channel already. Says which it was, and the orderer's part.
    ///
    /// Cancel safety: as [`join`](Self::join); call it again.
    ///
    /// # Errors
    /// [`ParticipationError`].
    pub async fn ensure_joined(
        &self,
        channel: &ChannelName,
        block: impl Into<Bytes>,
    ) -> Result<(Joined, Participation), ParticipationError> {
        match self.channel(channel).await? {
            // What it is leaving it will not be in; joining says when to try again.
            Some(Participation { status: ChannelStatus::Inactive | ChannelStatus::Failed, .. }) | None => {}
            Some(known) => return Ok((Joined::Already, known)),
        }
        match self.join(channel, block).await {
            Ok(joined) => Ok((Joined::New, joined)),
            // Another caller was faster.
            Err(error @ ParticipationError::AlreadyJoined { .. }) => {
                self.channel(channel).await?.map(|known| (Joined::Already, known)).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Has the orderer leave a channel and drop its blocks, which it may still be doing when it has answered: until then
    /// the channel is shown as [`Inactive`](ChannelStatus::Inactive) and cannot be joined again.
    ///
    /// Cancel safety: a cancellation ends the wait; the orderer may leave all the same.
    ///
    /// # Errors
    /// [`ParticipationError`], [`NotFound`](ParticipationError::NotFound) where it is in no such channel.
    pub async fn remove(&self, channel: &ChannelName) -> Result<(), ParticipationError> {
        let answer = self.ask(wire::about_one(Method::DELETE, channel)).await?;
        wire::expect(&answer, 204).map_err(|refusal| self.refused(refusal))
    }

    /// Hands a configuration update to the orderer, as a signed envelope. Orderers take them here from 3.1.2 on.
    ///
    /// Cancel safety: a cancellation ends the wait; the update may be ordered all the same.
    ///
    /// # Errors
    /// [`ParticipationError`], [`NotFound`](ParticipationError::NotFound) where it is in no such channel.
    pub async fn update(
        &self,
        channel: &ChannelName,
        envelope: impl Into<Bytes>,
    ) -> Result<Participation, ParticipationError> {
        let envelope = envelope.into();
        wire::fits(channel, wire::updated_channel(envelope.clone()))?;
        let answer =
            self.ask(wire::send(Method::PUT, "config-update-envelope", "config-update.envelope", &envelope)).await?;
        wire::participation(&answer, channel, 201).map_err(|refusal| match refusal {
            // In the words of HTTP: what is not there cannot be updated.
            Refusal::Status { status: 405, message, .. } => {
                ParticipationError::NotFound { node: self.node.clone(), message }
            }
            refusal => self.refused(refusal),
        })
    }

    /// One block of a channel, checked for its number and data hash. Orderers give them here from 3.1.2 on.
    ///
    /// Cancel safety: reading has no effect.
    ///
    /// # Errors
    /// [`ParticipationError`], [`NotFound`](ParticipationError::NotFound) where it has no such channel or block.
    pub async fn fetch(&self, channel: &ChannelName, block: BlockId) -> Result<Block, ParticipationError> {
        let answer = self.ask(wire::about_block(channel, block)).await?;
        wire::fetched(&answer, channel, block).map_err(|refusal| self.refused(refusal))
    }

    async fn ask(&self, asked: Asked) -> Result<Answered, ParticipationError> {
        let node = || self.node.clone();
        let (http, client) = self.reach.now();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(client) = client.filter(|client| client.not_after() < i64::try_from(now).unwrap_or(i64::MAX)) {
            // The orderer would only say that it does not like the certificate.
            let reason = format!("the certificate of {} expired on {}", client.subject(), client.expiry());
            return Err(ParticipationError::Unreached { node: node(), reason });
        }
        match tokio::time::timeout(self.patience, http.ask(asked)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match error {
                HttpError::Unreached(reason) => ParticipationError::Unreached { node: node(), reason },
                HttpError::Broken(reason) => ParticipationError::Broken { node: node(), reason },
                error @ HttpError::TooLong(_) => {
                    ParticipationError::Malformed { node: node(), reason: error.to_string() }
                }
            }),
            Err(_) => Err(ParticipationError::Deadline { node: node(), waited: self.patience }),
        }
    }

    fn refused(&self, refusal: Refusal) -> ParticipationError {
        let node = self.node.clone();
        match refusal {
            Refusal::Status { status: 404, message, .. } => ParticipationError::NotFound { node, message },
            Refusal::Status { status, message, .. } => ParticipationError::Refused { node, status, message },
            Refusal::Malformed(reason) => ParticipationError::Malformed { node, reason },
        }
    }
}
