//! Chaincode events as a stream that survives reconnects.
//!
//! Sits on `deliver`, which yields blocks; this module picks the events of one chaincode out of
//! them and knows how far the caller got.
//!
//! Does not act on events and does not decide when one is done: the caller moves the [`Checkpoint`]. Until then a
//! restart yields the event again.
//!
//! Source: `fabric-protos/peer/events.proto`.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::watch;

use super::channel::Channel;
pub use super::checkpoint::{Checkpoint, CheckpointError, CheckpointFile};
use super::deliver::{EventBlock, EventBlocks, event_blocks};
pub use super::deliver::{Span, Start, StreamError};
pub use crate::fabric::block::ChaincodeEvent;
use crate::fabric::names::{BlockNumber, ChaincodeName};

/// The events of one chaincode, without end unless one was asked for. Dropping it hangs up.
///
/// An event comes again after a restart from the same checkpoint, never twice from one stream.
///
/// Cancel safety: waiting for the next item may be cancelled, nothing is lost.
pub struct EventStream {
    channel: Channel,
    chaincode: ChaincodeName,
    blocks: EventBlocks,
    said: watch::Sender<bool>,
    /// Events of the last block that were not handed out yet.
    ready: VecDeque<ChaincodeEvent>,
    /// What is done in the first block already.
    done: Option<Checkpoint>,
    /// The next block to be looked at, once there was one.
    next: Option<BlockNumber>,
    progress: watch::Sender<Option<BlockNumber>>,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("channel", &self.channel)
            .field("chaincode", &self.chaincode)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl EventStream {
    pub(super) fn new(channel: Channel, chaincode: ChaincodeName, span: Span) -> Self {
        let done = match &span.start {
            Start::After(checkpoint) => Some(checkpoint.clone()),
            _ => None,
        };
        let (blocks, said) = event_blocks(channel.clone(), span);
        let progress = watch::Sender::new(None);
        Self { channel, chaincode, blocks, said, ready: VecDeque::new(), done, next: None, progress }
    }

    /// Whether a peer has answered and still does. Changes only while the stream is polled.
    pub fn listening(&self) -> watch::Receiver<bool> {
        self.said.subscribe()
    }

    /// The newest block whose events were all handed out: when they are done, so is everything up to it, and
    /// [`Checkpoint::after_block`] saves reading the blocks without events again.
    pub fn progress(&self) -> watch::Receiver<Option<BlockNumber>> {
        self.progress.subscribe()
    }
}

impl Stream for EventStream {
    type Item = Result<ChaincodeEvent, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            // Asked for another one: those handed out before belong to blocks that are through.
            if let Some(last) = this.next.and_then(|next| next.checked_sub(1)) {
                this.progress.send_if_modified(|progress| progress.replace(last) != Some(last));
            }
            let block = match this.blocks.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(block))) => block,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            };
            let EventBlock { number, events, .. } = block;
            this.next = number.checked_add(1);
            this.ready = undone(events, this.done.take_if(|done| done.block <= number), number)
                .filter(|event| event.chaincode == this.chaincode.as_str())
                .collect();
        }
    }
}

/// The events after the checkpoint. A transaction that is not in the block hides nothing: better twice than never.
fn undone(
    events: Vec<ChaincodeEvent>,
    done: Option<Checkpoint>,
    block: BlockNumber,
) -> impl Iterator<Item = ChaincodeEvent> {
    let skip = done
        .filter(|done| done.block == block)
        .and_then(|done| done.tx_id)
        .and_then(|tx_id| events.iter().find(|event| event.tx_id == tx_id).map(|event| event.tx_index));
    events.into_iter().filter(move |event| skip.is_none_or(|skip| event.tx_index > skip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::names::TxId;

    fn event(tx_index: usize, digit: char) -> ChaincodeEvent {
        ChaincodeEvent {
            block: 7,
            tx_index,
            tx_id: TxId::parse(digit.to_string().repeat(64)).unwrap(),
            chaincode: "cc".into(),
            name: "e".into(),
            payload: bytes::Bytes::new(),
        }
    }

    #[test]
    fn a_checkpoint_hides_what_is_done_and_no_more() {
        let events = || vec![event(0, 'a'), event(2, 'b'), event(3, 'c')];
        let left = |done: Option<Checkpoint>| undone(events(), done, 7).map(|event| event.tx_index).collect::<Vec<_>>();
        let tx_id = |digit: char| Some(TxId::parse(digit.to_string().repeat(64)).unwrap());
        assert_eq!(left(None), [0, 2, 3]);
        assert_eq!(left(Some(Checkpoint { block: 7, tx_id: tx_id('a') })), [2, 3]);
        assert_eq!(left(Some(Checkpoint { block: 7, tx_id: tx_id('c') })), [0_usize; 0]);
        assert_eq!(left(Some(Checkpoint { block: 7, tx_id: None })), [0, 2, 3], "a block that is begun, not done");
        assert_eq!(left(Some(Checkpoint { block: 7, tx_id: tx_id('f') })), [0, 2, 3], "unknown transaction");
        assert_eq!(left(Some(Checkpoint { block: 6, tx_id: tx_id('c') })), [0, 2, 3], "another block");
    }
}
