//! Listening to one contract: events in, work side by side, the checkpoint behind it.
//!
//! The checkpoint moves only over events whose work is done. A stuck proposal holds it back and nothing else; a restart
//! then sees some events again, which does no harm.
//!
//! Does not know what an event asks for: that is a [`Handler`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::client::Channel;
use crate::client::events::{Checkpoint, Start};
use crate::fabric::block::ChaincodeEvent;
use crate::fabric::names::{BlockNumber, ChaincodeName};
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::http::{Health, Listener};
use super::journal::{Journal, JournalError};
use super::low_water::{LowWater, Ticket};
use super::text;

/// Work on one event. It answers whether the event is dealt with; if not, it must come again after the next start.
pub(super) type Work = Pin<Box<dyn Future<Output = bool> + Send>>;

/// What is done about events.
pub(super) trait Handler: Send + Sync {
    /// What one event asks for; `None` where it asks for nothing.
    fn work(&self, event: &ChaincodeEvent) -> Option<Work>;

    /// What was left unfinished before the start. Asked once, when the events are being listened to.
    fn unfinished(&self) -> Pin<Box<dyn Future<Output = Vec<Work>> + Send + '_>>;
}

/// At most this many events are worked on at the same time; more wait on the ledger.
const SIDE_BY_SIDE: usize = 256;

/// Without a checkpoint, listening begins this many blocks before the newest: the peer that lists the proposals may be
/// that far behind the one that told the height.
const MARGIN: u64 = 100;

/// How long work may go on after the agent was told to stop.
const GRACE: Duration = Duration::from_secs(25);

/// One contract to listen to.
pub(super) struct Listening {
    pub(super) channel: Channel,
    pub(super) contract: ChaincodeName,
    pub(super) journal: Journal,
    pub(super) listener: Listener,
    pub(super) health: Arc<Health>,
    pub(super) stop: CancellationToken,
}

impl Listening {
    /// Listens until told to stop.
    ///
    /// # Errors
    /// The checkpoint cannot be read or written: going on would mean to forget, and so the agent must not.
    pub(super) async fn run(self, handler: &dyn Handler) -> Result<(), JournalError> {
        self.journal.adopt(self.channel.name(), &self.contract).await?;
        let result = self.listen(handler).await;
        self.health.set(self.listener, false);
        result
    }

    async fn listen(&self, handler: &dyn Handler) -> Result<(), JournalError> {
        let Some(height) = self.reach().await else { return Ok(()) };
        let checkpoint = self.checkpoint();
        let start = checkpoint.clone().map_or(Start::Number(height.saturating_sub(MARGIN)), Start::After);
        if let Some(ahead) = checkpoint.map(|checkpoint| checkpoint.block).filter(|block| *block > height) {
            tracing::warn!(
                channel = %self.channel.name(), height, checkpoint = ahead, file = %self.journal.path().display(),
                "the checkpoint is ahead of the peer: nothing is heard until the peer has caught up; is the checkpoint \
                 of another network?"
            );
        }
        tracing::info!(channel = %self.channel.name(), chaincode = %self.contract, height, from = ?start, "listening");
        let mut events = self.channel.chaincode_events(&self.contract, start);
        let (mut listening, mut read) = (events.listening(), events.progress());
        let mut water = LowWater::default();
        let mut work = FuturesUnordered::new();
        let mut deaf = false;
        let unfinished = handler.unfinished();
        tokio::pin!(unfinished);
        let mut asked = false;
        loop {
            self.health.set(self.listener, *listening.borrow());
            tokio::select! {
                () = self.stop.cancelled() => break,
                Ok(()) = listening.changed() => {
                    let heard = *listening.borrow_and_update();
                    if heard && deaf {
                        tracing::info!(chaincode = %self.contract, "events are heard again");
                    }
                    deaf = deaf && !heard;
                }
                found = &mut unfinished, if !asked => {
                    asked = true;
                    for one in found {
                        work.push(worked(one, None));
                    }
                }
                event = events.next(), if work.len() < SIDE_BY_SIDE => match event {
                    Some(Ok(event)) => {
                        deaf = false;
                        let ticket = water.begin(Checkpoint::after(&event));
                        match handler.work(&event) {
                            Some(one) => work.push(worked(one, Some(ticket))),
                            None => self.advance(water.finish(ticket)).await?,
                        }
                    }
                    Some(Err(error)) if !deaf => {
                        deaf = true;
                        tracing::warn!(error = text::chain(&error), "no peer tells events just now; listening goes on");
                    }
                    Some(Err(_)) => {}
                    // Only a stream with an end ends.
                    None => break,
                },
                Some((done, ticket)) = work.next(), if !work.is_empty() => {
                    if let (true, Some(ticket)) = (done, ticket) {
                        self.advance(water.finish(ticket)).await?;
                    }
                }
                Ok(()) = read.changed() => {
                    let through = quiet(&water, *read.borrow_and_update());
                    let behind = self.checkpoint().map_or(0, |checkpoint| checkpoint.block);
                    if through.as_ref().is_some_and(|through| through.block >= behind.saturating_add(MARGIN)) {
                        self.advance(through).await?;
                    }
                }
            }
        }
        self.health.set(self.listener, false);
        let rest = async {
            while let Some((done, ticket)) = work.next().await {
                if let (true, Some(ticket)) = (done, ticket) {
                    self.advance(water.finish(ticket)).await?;
                }
            }
            Ok(())
        };
        let result = tokio::time::timeout(GRACE, rest).await;
        if result.is_err() {
            tracing::warn!(
                unfinished = work.len(),
                "stopping before all work is done; it is taken up at the next start"
            );
        }
        result.unwrap_or(Ok(()))?;
        let through = quiet(&water, *read.borrow());
        self.advance(through).await
    }

    /// Waits until a peer answers on the channel, and tells its height. `None` when told to stop.
    async fn reach(&self) -> Option<u64> {
        for wait in Backoff::new(Duration::from_millis(250), Duration::from_secs(15)) {
            match self.stop.run_until_cancelled(self.channel.height()).await? {
                Ok(height) => return Some(height),
                Err(error) => {
                    let (error, channel) = (text::chain(&error), self.channel.name());
                    tracing::warn!(%channel, again_in = ?wait, error, "the ops channel cannot be reached; waiting for it");
                }
            }
            self.stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
        }
        None
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.journal.checkpoint(self.channel.name(), &self.contract)
    }

    async fn advance(&self, reached: Option<Checkpoint>) -> Result<(), JournalError> {
        match reached {
            Some(checkpoint) => {
                self.journal.write(vec![Journal::moved(self.channel.name(), &self.contract, checkpoint)]).await
            }
            None => Ok(()),
        }
    }
}

/// Up to where nothing is left to do when no event is open: blocks without events need not be read again.
fn quiet(water: &LowWater<Checkpoint>, read: Option<BlockNumber>) -> Option<Checkpoint> {
    read.filter(|_| water.waiting() == 0).map(Checkpoint::after_block)
}

async fn worked(work: Work, ticket: Option<Ticket>) -> (bool, Option<Ticket>) {
    (work.await, ticket)
}
