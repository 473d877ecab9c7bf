//! Blocks as a stream that survives its peers.
//!
//! A module of its own because everything that is heard from the ledger (events, commits) is heard through it. It asks
//! one own peer, and when that one fails, goes on with the next at the right block. A peer that is reachable but stands
//! still is noticed by its height and that of the other own peers. Every block comes exactly once and in order; that it
//! is the right block is the peer's word, as own peers are trusted.
//!
//! A peer sends nothing at all before the first block that was asked for, so a stream that waits for a block of the
//! future cannot be told from a dead one. Therefore one block too many is asked for: the last one that exists.
//!
//! Source: Fabric 3.1.5 `common/deliver`, `core/peer/deliverevents.go`; `fabric-protos/orderer/ab.proto`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use prost::Message as _;
use tokio::sync::watch;

use super::channel::Channel;
use super::error::CallError;
use super::events::Start;
use super::node::{DeliverStream, Peer};
use crate::fabric::names::BlockNumber;
use crate::pb::common::{Block, HeaderType};
use crate::pb::orderer::seek_info::{SeekBehavior, SeekErrorResponse};
use crate::pb::orderer::{SeekInfo, SeekNewest, SeekOldest, SeekPosition, SeekSpecified, seek_position::Type as Seek};
use crate::pb::protos::FilteredBlock;
use crate::pb::protos::deliver_response::Type as Delivered;
use crate::runtime::retry::Backoff;

/// How long a peer may take to send a block that it has; whole ones may be large.
const FIRST_BLOCK: Duration = Duration::from_secs(20);
const FIRST_FILTERED_BLOCK: Duration = Duration::from_secs(5);
/// How long nothing may come before the peer is asked how it is.
const QUIET: Duration = Duration::from_secs(20);
/// How long an answer to that may take.
const HEIGHT: Duration = Duration::from_secs(10);
/// Waits between rounds over all own peers.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

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
        source: crate::fabric::block::BlockError,
    },
}

/// What a stream consists of: blocks, whole or filtered.
trait Item: Sized + Send + 'static {
    const FILTERED: bool;
    fn of(delivered: Delivered) -> Option<Self>;
    fn number(&self) -> Option<BlockNumber>;
}

impl Item for Block {
    const FILTERED: bool = false;

    fn of(delivered: Delivered) -> Option<Self> {
        match delivered {
            Delivered::Block(block) => Some(block),
            _ => None,
        }
    }

    fn number(&self) -> Option<BlockNumber> {
        self.header.as_ref().map(|header| header.number)
    }
}

impl Item for FilteredBlock {
    const FILTERED: bool = true;

    fn of(delivered: Delivered) -> Option<Self> {
        match delivered {
            Delivered::FilteredBlock(block) => Some(block),
            _ => None,
        }
    }

    fn number(&self) -> Option<BlockNumber> {
        Some(self.number)
    }
}

macro_rules! block_stream {
    ($(#[$doc:meta])* $name:ident, $item:ty) => {
        $(#[$doc])*
        pub struct $name {
            stream: Pin<Box<dyn Stream<Item = Result<$item, StreamError>> + Send>>,
            said: watch::Sender<bool>,
        }

        impl $name {
            pub(super) fn new(channel: Channel, start: Start) -> Self {
                let said = watch::Sender::new(false);
                Self { stream: Follower::<$item>::new(channel, start, said.clone()).stream(), said }
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
    /// Blocks of a channel, without end. Dropping it hangs up.
    ///
    /// Cancel safety: waiting for the next item may be cancelled, nothing is lost.
    BlockStream,
    Block
);
block_stream!(
    /// Filtered blocks of a channel, without end. Dropping it hangs up.
    ///
    /// Cancel safety: waiting for the next item may be cancelled, nothing is lost.
    FilteredBlockStream,
    FilteredBlock
);

impl BlockStream {
    /// Begins anew at `block`, which cannot be read as the present peer gave it: after a while, at the next peer.
    pub(super) fn reread(&mut self, channel: Channel, block: BlockNumber) {
        self.said.send_replace(false);
        let mut follower = Follower::<Block>::new(channel, Start::Number(block), self.said.clone());
        follower.turn += 1;
        follower.wait = Some(LONGEST_WAIT);
        self.stream = follower.stream();
    }
}

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Oldest,
    Newest,
    At(BlockNumber),
}

struct Follower<I> {
    channel: Channel,
    position: Position,
    open: Option<(Peer, DeliverStream)>,
    /// The block that came with the opening, if it is one that was asked for.
    first: Option<I>,
    /// The own peer whose turn is next.
    turn: usize,
    backoff: Backoff,
    /// All peers failed: wait this long before the next round.
    wait: Option<Duration>,
    said: watch::Sender<bool>,
}

/// What is known of the open stream when nothing came for a while.
enum Checkup {
    Fine,
    Behind(CallError),
}

impl<I: Item> Follower<I> {
    fn new(channel: Channel, start: Start, said: watch::Sender<bool>) -> Self {
        let position = match start {
            Start::Oldest => Position::Oldest,
            Start::Newest => Position::Newest,
            Start::Number(number) => Position::At(number),
            Start::After(checkpoint) => Position::At(checkpoint.block),
        };
        let turn = channel.client().preferred_index();
        let backoff = Self::backoff();
        Self { channel, position, open: None, first: None, turn, backoff, wait: None, said }
    }

    fn stream(self) -> Pin<Box<dyn Stream<Item = Result<I, StreamError>> + Send>> {
        Box::pin(stream::unfold(self, |mut follower| async move {
            let item = follower.next().await;
            Some((item, follower))
        }))
    }

    fn backoff() -> Backoff {
        Backoff::new(FIRST_WAIT, LONGEST_WAIT)
    }

    /// The next block. Must be driven to its end, or dropped together with the follower.
    async fn next(&mut self) -> Result<I, StreamError> {
        loop {
            if self.open.is_none() {
                self.connect().await?;
            }
            if let Some(item) = self.first.take() {
                return Ok(item);
            }
            match self.hear().await {
                Ok(Some(item)) => {
                    self.backoff = Self::backoff();
                    return Ok(item);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(channel = %self.channel.name(), %error, "block delivery interrupted");
                    self.hang_up();
                }
            }
        }
    }

    fn hang_up(&mut self) {
        self.open = None;
        self.said.send_replace(false);
        self.turn += 1;
    }

    /// Opens a stream at the first own peer that delivers. One round; the next one waits first.
    async fn connect(&mut self) -> Result<(), StreamError> {
        if let Some(wait) = self.wait.take() {
            tokio::time::sleep(wait).await;
        }
        let peers = self.channel.client().peers().to_vec();
        let mut failures = Vec::new();
        let mut behind: Option<Peer> = None;
        for _ in 0..peers.len() {
            let peer = &peers[self.turn % peers.len()];
            match self.open_at(peer, peers.len() > 1).await {
                Ok(true) => return Ok(()),
                // It misses blocks that were seen elsewhere: only if there is no better one.
                Ok(false) => behind = behind.or_else(|| Some(peer.clone())),
                Err(error) => failures.push(error),
            }
            self.turn += 1;
        }
        if let Some(peer) = behind {
            match self.open_at(&peer, false).await {
                Ok(_) => return Ok(()),
                Err(error) => failures.push(error),
            }
        }
        self.wait = self.backoff.next();
        Err(StreamError::Interrupted { failures })
    }

    /// Opens a stream at `peer`. `Ok(false)`: the peer is behind, and `choosy` wants a better one.
    async fn open_at(&mut self, peer: &Peer, choosy: bool) -> Result<bool, CallError> {
        let seek = match self.position {
            Position::Oldest => Seek::Oldest(SeekOldest {}),
            Position::Newest => Seek::Newest(SeekNewest {}),
            Position::At(0) => Seek::Specified(SeekSpecified { number: 0 }),
            Position::At(next) => {
                let newest = match height_of(&self.channel, peer).await {
                    Ok(height) => height.saturating_sub(1),
                    // Whoever may not ask for the height may still listen.
                    Err(CallError::Refused { .. } | CallError::Chaincode { .. }) => next - 1,
                    Err(error) => return Err(error),
                };
                if choosy && newest < next - 1 {
                    return Ok(false);
                }
                Seek::Specified(SeekSpecified { number: newest.min(next) })
            }
        };
        let info = SeekInfo {
            start: Some(SeekPosition { r#type: Some(seek) }),
            stop: Some(SeekPosition { r#type: Some(Seek::Specified(SeekSpecified { number: u64::MAX })) }),
            behavior: SeekBehavior::BlockUntilReady.into(),
            error_response: SeekErrorResponse::Strict.into(),
            content_type: 0,
        };
        let data = Bytes::from(info.encode_to_vec());
        let envelope = self.channel.client().envelope(HeaderType::DeliverSeekInfo, self.channel.name(), data).await?;
        let limit = if I::FILTERED { FIRST_FILTERED_BLOCK } else { FIRST_BLOCK };
        let (first, stream) = peer.deliver(envelope, I::FILTERED, limit).await?;
        self.first = self.take(first, peer)?;
        self.open = Some((peer.clone(), stream));
        self.said.send_replace(true);
        tracing::debug!(channel = %self.channel.name(), peer = %peer.name(), "listening for blocks");
        Ok(true)
    }

    /// Judges a block that came: `None` when it is one that was seen before.
    fn take(&mut self, delivered: Delivered, peer: &Peer) -> Result<Option<I>, CallError> {
        let malformed = |reason: String| CallError::Malformed { node: peer.node().clone(), reason };
        let item = I::of(delivered).ok_or_else(|| malformed("another kind of block than asked for".to_owned()))?;
        let number = item.number().ok_or_else(|| malformed("a block without header".to_owned()))?;
        let after = || number.checked_add(1).ok_or_else(|| malformed(format!("block number {number}")));
        match self.position {
            Position::At(next) if number < next => return Ok(None),
            Position::At(next) if number > next => return Err(malformed(format!("block {number} instead of {next}"))),
            _ => self.position = Position::At(after()?),
        }
        Ok(Some(item))
    }

    /// Waits for the next block of the open stream, and while none comes, for a sign that there should have been one.
    async fn hear(&mut self) -> Result<Option<I>, CallError> {
        let Some((peer, mut stream)) = self.open.take() else { return Ok(None) };
        let delivered = loop {
            if let Ok(delivered) = tokio::time::timeout(QUIET, stream.next()).await {
                break delivered?;
            }
            let Position::At(next) = self.position else { continue };
            tokio::select! {
                biased;
                delivered = stream.next() => break delivered?,
                checkup = checkup(&self.channel, &peer, next) => match checkup {
                    Checkup::Fine => {}
                    Checkup::Behind(error) => return Err(error),
                },
            }
        };
        let item = self.take(delivered, &peer)?;
        self.open = Some((peer, stream));
        Ok(item)
    }
}

/// Whether the ledger of `channel` grew past `next` without the stream from `peer`.
async fn checkup(channel: &Channel, peer: &Peer, next: BlockNumber) -> Checkup {
    let stands_still = |height: BlockNumber, whose: &str| {
        Checkup::Behind(CallError::Malformed {
            node: peer.node().clone(),
            reason: format!("it delivers no block {next}, while {whose} has {height} blocks"),
        })
    };
    match height_of(channel, peer).await {
        // The block may be under way just now: it gets the time of another answer.
        Ok(height) if height > next => {
            tokio::time::sleep(HEIGHT).await;
            return stands_still(height, "it");
        }
        Ok(_) | Err(CallError::Refused { .. } | CallError::Chaincode { .. } | CallError::Rejected { .. }) => {}
        Err(error) => return Checkup::Behind(error),
    }
    for other in channel.client().peers().iter().filter(|other| other.node() != peer.node()) {
        if let Ok(height) = height_of(channel, other).await
            && height > next
        {
            tokio::time::sleep(HEIGHT).await;
            return stands_still(height, other.name());
        }
    }
    Checkup::Fine
}

async fn height_of(channel: &Channel, peer: &Peer) -> Result<BlockNumber, CallError> {
    match tokio::time::timeout(HEIGHT, channel.height_of(peer)).await {
        Ok(height) => height,
        Err(_) => Err(CallError::Deadline { node: peer.node().clone(), waited: HEIGHT }),
    }
}
