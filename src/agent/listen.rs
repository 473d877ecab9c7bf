//! Listening to one contract: events in, tasks into the journal, the checkpoint with them.
//!
//! An event that asks for something is a queued task in the journal from the very moment at which the checkpoint moves
//! over it. So whatever becomes of the task, the next event is heard, and none is lost.
//!
//! Does not know what an event asks for: that is a [`Handler`].

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;

use crate::client::Channel;
use crate::client::events::{Checkpoint, Start};
use crate::fabric::block::ChaincodeEvent;
use crate::fabric::names::ChaincodeName;
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::http::{Health, Listener};
use super::journal::{Journal, JournalError, TaskRecord};
use super::schedule::Tasks;
use super::text;

/// What is made of events.
pub(super) trait Handler: Send + Sync {
    /// The task that an event asks for; `None` where it asks for none.
    fn task(&self, event: &ChaincodeEvent) -> Option<TaskRecord>;
}

/// While so many tasks wait for their turn, more events are left on the ledger.
const BACKLOG: usize = 512;

/// At most so many events are taken at a time.
const AT_A_TIME: usize = 64;

/// Without a checkpoint, listening begins this many blocks before the newest: the peer that lists the proposals may be
/// that far behind the one that told the height.
const MARGIN: u64 = 100;

/// One contract to listen to.
pub(super) struct Listening {
    pub(super) channel: Channel,
    pub(super) contract: ChaincodeName,
    pub(super) journal: Journal,
    pub(super) tasks: Tasks,
    pub(super) listener: Listener,
    pub(super) health: std::sync::Arc<Health>,
    pub(super) stop: CancellationToken,
}

impl Listening {
    /// Listens until told to stop.
    ///
    /// # Errors
    /// An earlier version's checkpoint cannot be taken over: going on would mean to skip or to repeat.
    pub(super) async fn run(self, handler: &dyn Handler) -> Result<(), JournalError> {
        let adopted = self.adopt().await;
        if adopted.is_ok() {
            self.listen(handler).await;
        }
        self.health.set(self.listener, false);
        adopted
    }

    /// Takes over an earlier checkpoint; that it cannot be written down yet passes.
    async fn adopt(&self) -> Result<(), JournalError> {
        for wait in Backoff::new(Duration::from_millis(250), Duration::from_secs(10)) {
            match self.journal.adopt(self.channel.name(), &self.contract).await {
                Err(JournalError::Write { .. }) => {}
                settled => return settled,
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn listen(&self, handler: &dyn Handler) {
        let Some(height) = self.reach().await else { return };
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
        let stream = self.channel.chaincode_events(&self.contract, start);
        let (mut listening, mut read) = (stream.listening(), stream.progress());
        let mut events = stream.ready_chunks(AT_A_TIME);
        let (mut backlog, mut trouble) = (self.tasks.backlog(), self.journal.trouble());
        let mut deaf = false;
        loop {
            self.tell(&listening, &trouble);
            tokio::select! {
                () = self.stop.cancelled() => break,
                Ok(()) = listening.changed() => {
                    let heard = *listening.borrow_and_update();
                    if heard && deaf {
                        tracing::info!(chaincode = %self.contract, "events are heard again");
                    }
                    deaf = deaf && !heard;
                }
                Ok(()) = trouble.changed() => drop(trouble.borrow_and_update()),
                some = events.next(), if *backlog.borrow_and_update() < BACKLOG => {
                    // Only a stream with an end ends.
                    let Some(some) = some else { break };
                    let mut taken = Vec::new();
                    for one in some {
                        match one {
                            Ok(event) => taken.push(event),
                            Err(error) if !deaf => {
                                deaf = true;
                                tracing::warn!(
                                    error = text::chain(&error),
                                    "no peer tells events just now; listening goes on"
                                );
                            }
                            Err(_) => {}
                        }
                    }
                    // What was not taken must not be passed over.
                    let Some(()) = self.take(handler, &taken, &mut trouble).await else { return };
                }
                Ok(()) = backlog.changed() => {}
                Ok(()) = read.changed() => {
                    let through = (*read.borrow_and_update()).map(Checkpoint::after_block);
                    let behind = self.checkpoint().map_or(0, |checkpoint| checkpoint.block);
                    if through.as_ref().is_some_and(|through| through.block >= behind.saturating_add(MARGIN)) {
                        self.pass(through).await;
                    }
                }
            }
        }
        let through = (*read.borrow()).map(Checkpoint::after_block);
        self.pass(through).await;
    }

    /// Has the tasks of these events done. `None` when told to stop.
    async fn take(
        &self,
        handler: &dyn Handler,
        events: &[ChaincodeEvent],
        trouble: &mut watch::Receiver<Option<String>>,
    ) -> Option<()> {
        let Some(last) = events.last() else { return Some(()) };
        let tasks: Vec<TaskRecord> = events.iter().filter_map(|event| handler.task(event)).collect();
        let moved = Journal::moved(self.channel.name(), &self.contract, Checkpoint::after(last));
        let taking = self.tasks.hand_in(tasks, Some(moved));
        tokio::pin!(taking);
        loop {
            tokio::select! {
                taken = &mut taking => return taken,
                // Whoever cannot remember what is said might as well be deaf.
                Ok(()) = trouble.changed() => {
                    if trouble.borrow_and_update().is_some() {
                        self.health.set(self.listener, false);
                    }
                }
            }
        }
    }

    /// Moves the checkpoint over blocks without events, so that they need not be read again. All events before were
    /// taken: it may fail, as only time is lost.
    async fn pass(&self, reached: Option<Checkpoint>) {
        let Some(checkpoint) = reached else { return };
        if self.checkpoint().is_some_and(|known| known.block >= checkpoint.block) {
            return;
        }
        let moved = Journal::moved(self.channel.name(), &self.contract, checkpoint);
        if let Err(error) = self.journal.write(vec![moved]).await {
            tracing::debug!(%error, "the checkpoint stays where it was");
        }
    }

    fn tell(&self, listening: &watch::Receiver<bool>, trouble: &watch::Receiver<Option<String>>) {
        self.health.set(self.listener, *listening.borrow() && trouble.borrow().is_none());
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
}
