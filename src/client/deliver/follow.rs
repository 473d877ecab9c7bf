//! One peer after the other: who is asked, when it is given up, where to go on.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::StreamError;
use super::item::Item;
use super::source::Source;
use super::span::{Span, Start};
use super::verify::{Doubt, Verifier};
use crate::client::error::CallError;
use crate::client::node::{Delivery, delivery_ended};
use crate::fabric::names::BlockNumber;
use crate::pb::orderer::{SeekNewest, SeekOldest, SeekSpecified, seek_position::Type as Seek};
use crate::pb::protos::deliver_response::Type as Delivered;
use crate::runtime::retry::Backoff;

/// How long nothing may come before the peer is asked how it is.
pub(in crate::client) const QUIET: Duration = Duration::from_secs(20);
/// How long a block that exists may be under way.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Waits between rounds over all own peers.
pub(in crate::client) const FIRST_WAIT: Duration = Duration::from_millis(200);
pub(in crate::client) const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Oldest,
    Newest,
    At(BlockNumber),
    /// The last block that was asked for is through.
    End,
}

/// What is known of the open stream when nothing came for a while.
enum Checkup {
    Fine,
    Behind(CallError),
}

pub(super) struct Follower<I, S: Source> {
    source: S,
    position: Position,
    stop: Option<BlockNumber>,
    verifier: Verifier,
    open: Option<(S::Peer, S::Open)>,
    /// The block that came with the opening, if it is one that was asked for.
    first: Option<I>,
    /// Whether the open stream has given anything yet.
    fruitful: bool,
    /// The own peer whose turn is next.
    turn: usize,
    backoff: Backoff,
    /// Wait this long before the next try.
    wait: Option<Duration>,
    said: watch::Sender<bool>,
}

impl<I: Item, S: Source> Follower<I, S> {
    pub(super) fn new(source: S, span: Span, said: watch::Sender<bool>) -> Self {
        let position = match span.start {
            Start::Oldest => Position::Oldest,
            Start::Newest => Position::Newest,
            Start::Number(number) => Position::At(number),
            Start::After(checkpoint) => Position::At(checkpoint.block),
        };
        let position = match (position, span.stop) {
            (Position::At(number), Some(stop)) if number > stop => Position::End,
            (position, _) => position,
        };
        Self {
            turn: source.first(),
            source,
            position,
            stop: span.stop,
            verifier: Verifier::new(span.trust),
            open: None,
            first: None,
            fruitful: false,
            backoff: Self::backoff(),
            wait: None,
            said,
        }
    }

    pub(super) fn stream(self) -> Pin<Box<dyn Stream<Item = Result<I, StreamError>> + Send>>
    where
        I: Sync,
    {
        Box::pin(stream::unfold(self, |mut follower| async move {
            let item = follower.next().await?;
            Some((item, follower))
        }))
    }

    fn backoff() -> Backoff {
        Backoff::new(FIRST_WAIT, LONGEST_WAIT)
    }

    /// The next block; `None` after the last one that was asked for. Must be driven to its end, or dropped together with
    /// the follower.
    async fn next(&mut self) -> Option<Result<I, StreamError>> {
        loop {
            if self.position == Position::End {
                self.open = None;
                return None;
            }
            if self.open.is_none()
                && let Err(error) = self.connect().await
            {
                return Some(Err(error));
            }
            let item = match self.first.take() {
                Some(item) => item,
                None => match self.hear().await {
                    Ok(Some(item)) => item,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "block delivery interrupted");
                        self.hang_up();
                        if !self.fruitful {
                            self.wait = self.backoff.next();
                        }
                        continue;
                    }
                },
            };
            let item = self.accept(item).await;
            if item.is_err() {
                // Another peer may have a better copy; this one would send the same at once.
                self.hang_up();
                self.wait = Some(LONGEST_WAIT);
            }
            return Some(item);
        }
    }

    /// Judges an item that is the next one, and moves on.
    async fn accept(&mut self, mut item: I) -> Result<I, StreamError> {
        let number = item.number().unwrap_or_default();
        item.read().map_err(|source| StreamError::Malformed { block: number, source })?;
        if let (Some(block), Some((peer, _))) = (item.block(), &self.open) {
            match self.verifier.judge(&self.source, peer, block).await {
                Ok(()) => {}
                Err(Doubt::Forged(source)) => {
                    return Err(StreamError::Forged { node: self.source.node(peer), block: number, source });
                }
                Err(Doubt::Unknown(reason)) => return Err(StreamError::Unjudged { block: number, reason }),
            }
        }
        // Past the end of numbers nothing comes any more.
        let next = number.checked_add(1).filter(|next| self.stop.is_none_or(|stop| *next <= stop));
        self.backoff = Self::backoff();
        self.fruitful = true;
        self.position = next.map_or(Position::End, Position::At);
        Ok(item)
    }

    fn hang_up(&mut self) {
        self.open = None;
        self.first = None;
        self.said.send_replace(false);
        self.turn += 1;
    }

    /// Opens a stream at the first own peer that delivers. One round; the next one waits first.
    async fn connect(&mut self) -> Result<(), StreamError> {
        if let Some(wait) = self.wait.take() {
            tokio::time::sleep(wait).await;
        }
        let peers = self.source.peers();
        let mut failures = Vec::new();
        let mut behind: Option<S::Peer> = None;
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
    async fn open_at(&mut self, peer: &S::Peer, choosy: bool) -> Result<bool, CallError> {
        let at = |number| (Seek::Specified(SeekSpecified { number }), Some(number));
        let mut beyond = false;
        let (seek, mut number) = match self.position {
            Position::Oldest => (Seek::Oldest(SeekOldest {}), Some(0)),
            Position::Newest | Position::End => (Seek::Newest(SeekNewest {}), None),
            Position::At(0) => at(0),
            Position::At(next) => {
                let newest = match self.source.height(peer).await {
                    Ok(height) => height.saturating_sub(1),
                    // Whoever may not ask for the height may still listen.
                    Err(CallError::Refused { .. } | CallError::Chaincode { .. }) => next - 1,
                    Err(error) => return Err(error),
                };
                if choosy && newest < next - 1 {
                    return Ok(false);
                }
                // The one before the first, where the chain begins: its hash is what the first one must name.
                let chained = I::DELIVERY != Delivery::Filtered && !self.verifier.knows_before(next);
                let from = if chained { next - 1 } else { next };
                beyond = chained && newest >= next;
                at(newest.min(from))
            }
        };
        let opened = match (self.source.open(peer, I::DELIVERY, seek).await, self.position) {
            // A peer that began with a snapshot may have the first wanted block and not the one before it.
            (Err(CallError::Refused { status: 404, .. }), Position::At(next)) if beyond => {
                number = Some(next);
                self.source.open(peer, I::DELIVERY, at(next).0).await
            }
            (opened, _) => opened,
        };
        let (first, stream) = opened?;
        let first = delivered_or_built::<I, S>(&self.source, peer, first, number).await?;
        self.first = self.take(first, peer)?;
        self.open = Some((peer.clone(), stream));
        self.fruitful = false;
        self.said.send_replace(true);
        Ok(true)
    }

    /// Whether an item is the next one: `None` when it comes before it.
    fn take(&mut self, delivered: Delivered, peer: &S::Peer) -> Result<Option<I>, CallError> {
        let malformed = |reason: String| CallError::Malformed { node: self.source.node(peer), reason };
        let item = I::of(delivered).ok_or_else(|| malformed("another kind of block than asked for".to_owned()))?;
        let number = item.number().ok_or_else(|| malformed("a block without header".to_owned()))?;
        match self.position {
            Position::At(next) if number < next => {
                if let Some(block) = item.block().filter(|_| number.checked_add(1) == Some(next)) {
                    self.verifier.before(block);
                }
                Ok(None)
            }
            Position::At(next) if number > next => Err(malformed(format!("block {number} instead of {next}"))),
            _ => Ok(Some(item)),
        }
    }

    /// Waits for the next block of the open stream, and while none comes, for a sign that there should have been one.
    async fn hear(&mut self) -> Result<Option<I>, CallError> {
        let Some((peer, mut stream)) = self.open.take() else { return Ok(None) };
        let delivered = loop {
            if let Ok(delivered) = tokio::time::timeout(QUIET, S::next(&mut stream)).await {
                break delivered?;
            }
            let Position::At(next) = self.position else { continue };
            tokio::select! {
                biased;
                delivered = S::next(&mut stream) => break delivered?,
                checkup = checkup(&self.source, &peer, next) => match checkup {
                    Checkup::Fine => {}
                    Checkup::Behind(error) => return Err(error),
                },
            }
        };
        let number = if let Position::At(next) = self.position { Some(next) } else { None };
        let delivered = delivered_or_built::<I, S>(&self.source, &peer, delivered, number).await?;
        let item = self.take(delivered, &peer)?;
        self.open = Some((peer, stream));
        Ok(item)
    }
}

/// What was delivered, or what takes its place where the peer cannot deliver block `number` (its newest where there is
/// none) in the form that was asked for. Without this nobody would get past a transaction that cannot be taken apart,
/// and whoever may write can have one ordered.
async fn delivered_or_built<I: Item, S: Source>(
    source: &S,
    peer: &S::Peer,
    delivered: Delivered,
    number: Option<BlockNumber>,
) -> Result<Delivered, CallError> {
    let Delivered::Status(status) = delivered else { return Ok(delivered) };
    let number = match number {
        Some(number) => number,
        None => source.height(peer).await?.saturating_sub(1),
    };
    let block = source.block(peer, number).await?;
    // Where nothing is wrong with the block, it is the request that the peer does not like.
    let built = I::in_place_of(source.channel(), &block).ok_or_else(|| delivery_ended(&source.node(peer), status))?;
    tracing::debug!(channel = %source.channel(), block = number, "the peer cannot filter a block, which is read whole");
    Ok(built)
}

/// Whether the ledger grew past `next` without the stream from `peer`.
async fn checkup<S: Source>(source: &S, peer: &S::Peer, next: BlockNumber) -> Checkup {
    let node = source.node(peer);
    let stands_still = |height: BlockNumber, whose: &str| {
        Checkup::Behind(CallError::Malformed {
            node: node.clone(),
            reason: format!("it delivers no block {next}, while {whose} has {height} blocks"),
        })
    };
    match source.height(peer).await {
        // The block may be under way just now: it gets the time of another answer.
        Ok(height) if height > next => {
            tokio::time::sleep(GRACE).await;
            return stands_still(height, "it");
        }
        Ok(_) | Err(CallError::Refused { .. } | CallError::Chaincode { .. } | CallError::Rejected { .. }) => {}
        Err(error) => return Checkup::Behind(error),
    }
    for other in source.peers() {
        let whose = source.node(&other);
        if whose != node
            && let Ok(height) = source.height(&other).await
            && height > next
        {
            tokio::time::sleep(GRACE).await;
            return stands_still(height, &whose.name);
        }
    }
    Checkup::Fine
}
