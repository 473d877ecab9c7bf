//! Which part of a channel is to be heard, and how closely it is looked at.

use std::sync::Arc;

use crate::client::checkpoint::Checkpoint;
use crate::fabric::config::ChannelConfig;
use crate::fabric::names::BlockNumber;

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the first block of the channel.
    Oldest,
    /// With the newest block that the peer has, that one included.
    Newest,
    /// With this block, which may be one of the future.
    Number(BlockNumber),
    /// After what is done. (Of blocks: with the block in which the checkpoint lies.)
    After(Checkpoint),
}

/// A part of a channel. A [`Start`] is one without end.
#[derive(Debug, Clone)]
pub struct Span {
    pub(in crate::client) start: Start,
    pub(in crate::client) stop: Option<BlockNumber>,
    pub(in crate::client) trust: Trust,
}

/// Whom to believe that a block is the channel's.
#[derive(Debug, Clone)]
pub(in crate::client) enum Trust {
    /// The peer, as far as its blocks make a chain.
    Peer,
    /// The orderers' signatures, judged by this configuration, or by what own peers say was in force at the start.
    Orderers(Option<Arc<ChannelConfig>>),
}

impl From<Start> for Span {
    fn from(start: Start) -> Self {
        Self { start, stop: None, trust: Trust::Peer }
    }
}

impl Start {
    /// From here up to this block, with which the stream ends.
    #[must_use]
    pub fn until(self, last: BlockNumber) -> Span {
        Span::from(self).until(last)
    }

    /// From here on, with the orderers' signatures checked: see [`Span::verified`].
    #[must_use]
    pub fn verified(self) -> Span {
        Span::from(self).verified()
    }
}

impl Span {
    /// Up to this block, with which the stream ends.
    #[must_use]
    pub fn until(self, last: BlockNumber) -> Self {
        Self { stop: Some(last), ..self }
    }

    /// With the orderers' signatures checked against the channel's policy `BlockValidation`. The configuration is
    /// followed: each block is judged by the one that was in force when it was made. The first one is what an own peer
    /// says it was; who does not trust that gives it with [`trusting`](Self::trusting). Filtered blocks carry no
    /// signatures: there this has no effect.
    #[must_use]
    pub fn verified(self) -> Self {
        Self { trust: Trust::Orderers(None), ..self }
    }

    /// The same with a configuration that is known to be the channel's and to be in force where the stream begins. A
    /// stream from the first block on takes that block only if it sets this configuration.
    #[must_use]
    pub fn trusting(self, config: ChannelConfig) -> Self {
        Self { trust: Trust::Orderers(Some(Arc::new(config))), ..self }
    }
}
