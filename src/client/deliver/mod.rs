//! Blocks as a stream that survives its peers.
//!
//! A module of its own because everything that is heard from the ledger (events, commits) is heard through it. It asks
//! one own peer, and when that one fails, goes on with the next at the right block. A peer that is reachable but stands
//! still is noticed by its height and that of the other own peers. Every block comes exactly once and in order.
//!
//! That a block is the channel's is checked as far as can be without trusting the peer: the data has the hash that its
//! header holds, and each header names the one before it; when asked, also that the orderers signed it (see
//! [`Span::verified`]). Filtered blocks have neither hashes nor signatures: they are the peer's word.
//!
//! A peer sends nothing at all before the first block that was asked for, so a stream that waits for a block of the
//! future cannot be told from a dead one. Therefore one block too many is asked for: the last one that exists.
//!
//! Source: Fabric 3.1.5 `common/deliver`, `core/peer/deliverevents.go`; `fabric-protos/orderer/ab.proto`.

mod follow;
mod item;
mod source;
mod span;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::Stream;
use tokio::sync::watch;

use super::channel::Channel;
use super::error::{CallError, NodeName};
use crate::fabric::block::{BlockError, BlockWithPrivateData};
use crate::fabric::config::ConfigError;
use crate::fabric::names::BlockNumber;
use crate::pb::common::Block;
use crate::pb::protos::FilteredBlock;

use follow::Follower;
pub(super) use follow::{FIRST_WAIT, LONGEST_WAIT, QUIET};
pub(super) use item::EventBlock;
pub(super) use source::{ANSWER, within};
pub use span::{Span, Start};

/// Why nothing is heard from the ledger at the moment. The stream goes on: polled again it tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// All own peers were tried and none delivers.
    #[error("no own peer delivers blocks: {}", super::error::listed(failures))]
    Interrupted {
        /// What each of them said.
        failures: Vec<CallError>,
    },
    /// A block that cannot be read. It is asked for again, as another peer may have a better copy.
    #[error("block {block} cannot be read")]
    Malformed {
        /// The block.
        block: BlockNumber,
        /// What is wrong with it.
        source: BlockError,
    },
    /// A block that is not the channel's. It is asked for again, elsewhere if possible; what delivered it should be
    /// looked at.
    #[error("{node} delivers a block {block} that is not the channel's")]
    Forged {
        /// Who delivered it.
        node: NodeName,
        /// The block.
        block: BlockNumber,
        /// What it lacks.
        source: Flaw,
    },
    /// The configuration by which a block is to be judged was not got. The block is asked for again.
    #[error("block {block} cannot be judged, as the configuration before it is not known: {reason}")]
    Unjudged {
        /// The block.
        block: BlockNumber,
        /// Why not.
        reason: String,
    },
    /// No own peer knows the transaction after which events are to begin. Peers may be behind; a checkpoint that
    /// belongs to another channel would be silent for ever.
    #[error("no own peer knows transaction {tx_id}, after which events are to begin")]
    UnknownCheckpoint {
        /// The transaction.
        tx_id: crate::fabric::names::TxId,
    },
}

/// What makes a block no block of its channel.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// The block contradicts itself.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// It does not follow the block before it.
    #[error("its header does not name the block before it")]
    Chain,
    /// The channel's orderers did not sign it, or its configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is a first block, and another one than is known.
    #[error("it is another first block than the known one")]
    Genesis,
}

macro_rules! block_stream {
    ($(#[$doc:meta])* $name:ident, $item:ty) => {
        $(#[$doc])*
        pub struct $name {
            stream: Pin<Box<dyn Stream<Item = Result<$item, StreamError>> + Send>>,
            said: watch::Sender<bool>,
        }

        impl $name {
            pub(super) fn new(channel: Channel, span: Span) -> Self {
                let said = watch::Sender::new(false);
                let source = source::OwnPeers::new(channel);
                Self { stream: Follower::<$item, _>::new(source, span, said.clone()).stream(), said }
            }

            /// Whether a peer has answered and still does. Changes only while the stream is polled.
            pub fn listening(&self) -> watch::Receiver<bool> {
                self.said.subscribe()
            }
        }

        impl Stream for $name {
            type Item = Result<$item, StreamError>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.stream.as_mut().poll_next(cx)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("listening", &*self.said.borrow()).finish_non_exhaustive()
            }
        }
    };
}

block_stream!(
    /// Blocks of a channel, without end unless one was asked for. Dropping it hangs up.
    ///
    /// Cancel safety: waiting for the next item may be cancelled, nothing is lost.
    BlockStream,
    Block
);
block_stream!(
    /// Filtered blocks of a channel, without end unless one was asked for. Dropping it hangs up.
    ///
    /// Cancel safety: waiting for the next item may be cancelled, nothing is lost.
    FilteredBlockStream,
    FilteredBlock
);
block_stream!(
    /// Blocks of a channel with the private data that the own organization may see, without end unless one was asked
    /// for. Dropping it hangs up.
    ///
    /// Cancel safety: waiting for the next item may be cancelled, nothing is lost.
    PrivateBlockStream,
    BlockWithPrivateData
);
/// Blocks with the events in them.
pub(super) type EventBlocks = Pin<Box<dyn Stream<Item = Result<EventBlock, StreamError>> + Send>>;

/// Blocks taken apart for their events; the second tells whether a peer has answered and still does.
pub(super) fn event_blocks(channel: Channel, span: Span) -> (EventBlocks, watch::Sender<bool>) {
    let said = watch::Sender::new(false);
    (Follower::new(source::OwnPeers::new(channel), span, said.clone()).stream(), said)
}
