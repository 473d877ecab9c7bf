//! Which task runs when: side by side up to a limit, those of one chaincode or one channel in order.
//!
//! Tasks come from events, from looking through the ledger, and from an earlier run of the process, all by way of the
//! journal: what is not in it is not run. The same task that comes twice runs once. One that has to wait for long gives
//! its place and its turn to others; one that an operator holds keeps those behind it waiting.
//!
//! Does not know what a task does: that is a [`Runner`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::account::{Account, Listeners};
use super::holds::Holds;
use super::journal::{Change, Journal, LONGEST_ID, TaskRecord, TaskState};
use super::progress::{Happening, Task};
use super::text;
use super::turn::{Crowd, End};

/// What carries a task out.
pub(super) trait Runner: Send + Sync {
    /// Runs one turn.
    fn run(self: Arc<Self>, account: Arc<Account>, crowd: Crowd) -> Pin<Box<dyn Future<Output = End> + Send>>;
}

type Key = (Task, String);

/// Tasks of one lane run one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Lane {
    Chaincode(String, String),
    Channel(String),
}

fn lane(record: &TaskRecord) -> Option<Lane> {
    let channel = record.channel.clone()?;
    Some(match &record.chaincode {
        Some(chaincode) => Lane::Chaincode(channel, chaincode.clone()),
        None => Lane::Channel(channel),
    })
}

/// Where tasks are handed in. Clones are the same.
#[derive(Clone)]
pub(super) struct Tasks {
    listeners: Arc<Listeners>,
    /// Bounded by what the journal holds: only what was written there gets in.
    inbox: Arc<Mutex<VecDeque<Key>>>,
    arrived: Arc<Notify>,
    backlog: watch::Sender<usize>,
}

impl Tasks {
    pub(super) fn new(listeners: Arc<Listeners>) -> Self {
        Self { listeners, inbox: Arc::default(), arrived: Arc::default(), backlog: watch::Sender::new(0) }
    }

    fn journal(&self) -> &Journal {
        &self.listeners.journal
    }

    /// How many tasks wait for a place that only the others take.
    pub(super) fn backlog(&self) -> watch::Receiver<usize> {
        self.backlog.subscribe()
    }

    /// Has these tasks done, and remembers `with` them in one go. Those that are known already are not done again.
    /// `None` when told to stop: then nothing is remembered.
    pub(super) async fn hand_in(&self, records: Vec<TaskRecord>, with: Option<Change>) -> Option<()> {
        let mut changes: BTreeMap<Key, TaskRecord> = BTreeMap::new();
        for record in records {
            if record.proposal.len() > LONGEST_ID {
                let proposal = record.shown();
                tracing::warn!(proposal, "the proposal's ID is too long to be kept: it is not carried out");
                continue;
            }
            let key = (record.task, record.proposal.clone());
            let known =
                changes.get(&key).cloned().or_else(|| self.journal().task(key.0, &key.1).map(|known| (*known).clone()));
            if let Some(record) = merged(known, record) {
                changes.insert(key, record);
            }
        }
        let keys: Vec<Key> =
            changes.iter().filter(|(_, record)| record.state.is_open()).map(|(key, _)| key.clone()).collect();
        let written: Vec<Change> =
            changes.into_values().map(|record| Change::Task(Arc::new(record))).chain(with).collect();
        if written.is_empty() {
            return Some(());
        }
        self.journal().write_until(written, &self.listeners.stop).await?;
        self.call(keys);
        Some(())
    }

    /// Whether this task was refused a while ago and rests.
    pub(super) fn rests(&self, record: &TaskRecord) -> bool {
        let known = self.journal().task(record.task, &record.proposal);
        known.and_then(|known| known.rest_at(self.now_ms())).is_some_and(|rest| !rest.is_zero())
    }

    /// What time it is, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.listeners.now_ms()
    }

    fn call(&self, keys: impl IntoIterator<Item = Key>) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        self.arrived.notify_one();
    }

    fn arrivals(&self) -> VecDeque<Key> {
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is to be written when a task comes that may be known already; `None` where that changes nothing.
fn merged(known: Option<TaskRecord>, new: TaskRecord) -> Option<TaskRecord> {
    let Some(known) = known else { return Some(new) };
    if known.state.is_open() {
        // Whoever was only to have its own nodes join may have to see to the whole meanwhile.
        let more = new.executor && !known.executor;
        return more.then_some(TaskRecord { executor: true, ..known });
    }
    if new.event.is_some() && new.event == known.event {
        return None;
    }
    // It was found to be due before its event came.
    if known.state == TaskState::Done && known.event.is_none() && new.event.is_some() && known.executor >= new.executor
    {
        return Some(TaskRecord { event: new.event, ..known });
    }
    let event = new.event.or(known.event);
    let executor = new.executor || known.executor;
    Some(TaskRecord { event, executor, created_ms: known.created_ms, attempts: known.attempts, ..new })
}

/// Takes tasks and has them carried out.
pub(super) struct Scheduler {
    pub(super) tasks: Tasks,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) holds: Holds,
    /// At most so many run at the same time.
    pub(super) side_by_side: usize,
    /// How long turns under way may go on after the agent was told to stop.
    pub(super) grace: Duration,
}

/// Where everything stands.
#[derive(Default)]
struct Board {
    /// In order, and not running.
    ready: VecDeque<Key>,
    /// Put back until then. The number keeps those apart that come together.
    resting: BTreeMap<(Instant, u64), Key>,
    /// Everything in `ready`, in `resting` or running.
    known: HashSet<Key>,
    /// The lanes of those that run.
    busy: HashMap<Lane, Crowd>,
    rested: u64,
}

type Turn = Pin<Box<dyn Future<Output = (Key, Option<Lane>, End)> + Send>>;
type Turns = FuturesUnordered<Turn>;

impl Scheduler {
    /// Runs tasks until told to stop, beginning with those that an earlier run has left over.
    ///
    /// # Cancel safety
    /// Dropping it abandons what is under way; it is taken up again after the next start.
    pub(super) async fn run(self) {
        let stop = self.tasks.listeners.stop.clone();
        let mut board = Board::default();
        let mut turns = Turns::new();
        let crowd = Crowd::default();
        let mut held = self.holds.subscribe();
        let open = self.tasks.journal().tasks().into_iter();
        // What bootstrap has left over it looks at by itself.
        let open = open.filter(|record| record.state.is_open() && !record.task.is_of_bootstrap());
        self.tasks.call(open.map(|record| (record.task, record.proposal.clone())));
        while !stop.is_cancelled() {
            board.take(self.tasks.arrivals());
            board.wake(Instant::now());
            let waiting = self.start(&mut board, &mut turns, &crowd).await;
            crowd.set(waiting);
            self.tasks.backlog.send_replace(waiting);
            let next = board.resting.first_key_value().map(|((at, _), _)| *at);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.tasks.arrived.notified() => {}
                _ = held.changed() => {}
                () = async { tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {}
                Some((key, lane, end)) = turns.next(), if !turns.is_empty() => board.ended(key, lane, end),
            }
        }
        let rest = async { while turns.next().await.is_some() {} };
        if tokio::time::timeout(self.grace, rest).await.is_err() {
            tracing::warn!(unfinished = turns.len(), "stopping in the middle of tasks; they are taken up again later");
        }
    }

    /// Starts what may start. Tells how many could if there were places.
    async fn start(&self, board: &mut Board, turns: &mut Turns, crowd: &Crowd) -> usize {
        let held = self.holds.held();
        let mut blocked: HashSet<Lane> = board.busy.keys().cloned().collect();
        let (mut kept, mut waiting) = (VecDeque::with_capacity(board.ready.len()), 0);
        for key in std::mem::take(&mut board.ready) {
            let Some(record) = self.tasks.journal().task(key.0, &key.1).filter(|record| record.state.is_open()) else {
                board.known.remove(&key);
                continue;
            };
            let lane = lane(&record);
            if let Some(lane) = lane.as_ref().filter(|lane| blocked.contains(lane)) {
                if let Some(before) = board.busy.get(lane) {
                    before.press();
                }
                kept.push_back(key);
                continue;
            }
            if let Some(reason) = held.reason(record.channel.as_deref(), record.chaincode.as_deref()) {
                blocked.extend(lane);
                self.hold(&record, reason).await;
                kept.push_back(key);
                continue;
            }
            if turns.len() >= self.side_by_side {
                blocked.extend(lane);
                waiting += 1;
                kept.push_back(key);
                continue;
            }
            blocked.extend(lane.clone());
            let crowd = crowd.another();
            board.busy.extend(lane.clone().map(|lane| (lane, crowd.clone())));
            turns.push(self.turn(key, lane, (*record).clone(), crowd));
        }
        board.ready = kept;
        waiting
    }

    fn turn(&self, key: Key, lane: Option<Lane>, record: TaskRecord, crowd: Crowd) -> Turn {
        let runner = Arc::clone(&self.runner);
        // What came by an event just now was told when it came.
        let is_new = record.attempts == 0 && record.event.is_some();
        let span = tracing::info_span!(
            "task",
            task = key.0.as_str(),
            proposal = %record.shown(),
            channel = record.channel.as_deref().map(|name| text::bounded(name, 80)),
            chaincode = record.chaincode.as_deref().map(|name| text::bounded(name, 80)),
            attempt = record.attempts + 1,
        );
        let account = Arc::new(Account::new(Arc::clone(&self.tasks.listeners), record));
        let work = async move {
            account.take_up();
            if !is_new {
                account.report(None, Happening::Resumed);
            }
            // Proposals are written by others: one that breaks something here must not take the others with it.
            let ran = AssertUnwindSafe(runner.run(Arc::clone(&account), crowd)).catch_unwind().await;
            let end = ran.unwrap_or_else(|_| {
                tracing::error!("the task panicked; it is tried again");
                End::PutBack(Duration::from_mins(1))
            });
            (key, lane, end)
        };
        Box::pin(tracing::Instrument::instrument(work, span))
    }

    /// Makes it visible that an operator holds a task. That it is held does not depend on it.
    async fn hold(&self, record: &TaskRecord, reason: String) {
        if record.state == TaskState::Held && record.outcome.as_ref() == Some(&reason) {
            return;
        }
        tracing::info!(task = record.task.as_str(), proposal = record.shown(), reason, "task is held");
        let updated_ms = self.tasks.now_ms();
        let held = TaskRecord { state: TaskState::Held, outcome: Some(reason), updated_ms, ..record.clone() };
        if let Err(error) = self.tasks.journal().write(vec![Change::Task(Arc::new(held))]).await {
            tracing::debug!(%error, "the hold is not in the journal");
        }
    }
}

impl Board {
    /// Lines up those that are not known yet.
    fn take(&mut self, arrivals: VecDeque<Key>) {
        for key in arrivals {
            if self.known.insert(key.clone()) {
                self.ready.push_back(key);
            }
        }
    }

    /// Lines up those that have rested.
    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.resting.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            self.ready.push_back(key);
        }
    }

    fn ended(&mut self, key: Key, lane: Option<Lane>, end: End) {
        if let Some(lane) = lane {
            self.busy.remove(&lane);
        }
        match end {
            // One that has to be seen to further is open again in the journal, and looked for there.
            End::Over | End::Queue => self.ready.push_front(key),
            End::PutBack(pause) => {
                self.rested += 1;
                self.resting.insert((Instant::now() + pause, self.rested), key);
            }
            End::Abandoned => _ = self.known.remove(&key),
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
