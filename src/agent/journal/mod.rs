//! What the agent has to do, is doing and has done, and how far it has listened: remembered across any crash.
//!
//! One file `journal.redb` in the checkpoint folder. An event becomes a queued task in the same transaction that moves
//! the checkpoint over it, so that a task which is stuck holds up no other event and none is lost. A step is written down
//! before it is taken and after it.
//!
//! The ledger is the truth and this is a memory of it: a file that is damaged is moved aside with a warning, and what is
//! due is found on the ledger again. A file that cannot be written is no reason to act without it: who writes waits and
//! tries again, and [`Journal::trouble`] says so meanwhile.
//!
//! Everything is held in memory as well, bounded by the number of ended tasks that are kept; reading never waits for the
//! disk. Writers that come together share one transaction.
//!
//! Does not know when a task is due and does not act.

mod adopt;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{broadcast, oneshot, watch};

use crate::client::events::Checkpoint;
use crate::fabric::names::{ChaincodeName, ChannelName};
use crate::runtime::retry::Backoff;
use crate::runtime::{CancellationToken, blocking, durable};

pub(in crate::agent) use record::again_after;
pub use record::{EventPosition, LONGEST_ID, StepRecord, StepResult, TaskRecord, TaskState};

use super::progress::Task;
use store::{Failure, Store, Write};

/// The file's name in the checkpoint folder.
const FILE: &str = "journal.redb";
/// How many ended tasks are kept unless told otherwise.
const KEPT: usize = 1000;
/// How many changes a subscriber may be behind before it misses some.
const BEHIND: usize = 256;

/// Why the journal cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process has it: another agent uses the same folder.
    #[error("the journal {} is in use by another agent", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened or made.
    #[error("the journal {} cannot be opened: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// It cannot be written; nothing of this change is kept.
    #[error("the journal {} cannot be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A checkpoint of an earlier version, or of the original, is there and cannot be read.
    #[error("the checkpoint {} cannot be taken over: {reason}", path.display())]
    Adopt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// This agent does not hold the journal now.
    #[error("the journal {} is closed", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

/// Milliseconds since 1970. Only shown and compared with care: clocks jump.
pub fn now_ms() -> u64 {
    ms_of(SystemTime::now())
}

pub(in crate::agent) fn ms_of(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// One thing to be remembered.
#[derive(Debug, Clone)]
pub enum Change {
    /// A task as it stands now.
    Task(Arc<TaskRecord>),
    /// Everything up to here is dealt with, or queued as a task.
    Checkpoint(String, Checkpoint),
}

/// The journal. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    kept: AtomicUsize,
    memory: Mutex<Memory>,
    waiting: Mutex<Vec<Batch>>,
    /// Who holds it writes for all that wait.
    turn: tokio::sync::Mutex<()>,
    file: Mutex<Option<File>>,
    trouble: watch::Sender<Option<String>>,
    changed: broadcast::Sender<Arc<TaskRecord>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The file while this agent holds it.
enum File {
    Open(Store),
    /// A write has failed: it is opened anew before the next one.
    Broken,
}

type Key = (Task, String);

#[derive(Default)]
struct Memory {
    tasks: BTreeMap<Key, Arc<TaskRecord>>,
    checkpoints: BTreeMap<String, Checkpoint>,
}

struct Batch {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), JournalError>>,
}

/// A poisoned lock is only held over assignments: what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Opens the journal in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// [`JournalError::Taken`] and [`JournalError::Open`]. A damaged file is no error: it is moved aside.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, JournalError> {
        let journal = Self::closed(folder);
        journal.inner.acquire()?;
        Ok(journal)
    }

    /// The journal in `folder`, not opened yet: for an agent that stands by while another one holds it.
    pub fn closed(folder: impl AsRef<Path>) -> Self {
        let inner = Inner {
            path: folder.as_ref().join(FILE),
            kept: AtomicUsize::new(KEPT),
            memory: Mutex::default(),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            file: Mutex::default(),
            trouble: watch::Sender::new(None),
            changed: broadcast::Sender::new(BEHIND),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Opens it unless it is open.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    /// It may be open afterwards.
    pub async fn acquire(&self) -> Result<(), JournalError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.acquire()).await
    }

    /// Closes it, so that another agent may open it. What is known stays to be read.
    ///
    /// # Cancel safety
    /// It is closed nevertheless.
    pub async fn release(&self) {
        let inner = Arc::clone(&self.inner);
        blocking(move || drop(lock(&inner.file).take())).await;
    }

    /// Keeps so many ended tasks from now on; those that have not ended are always kept.
    pub fn keep_ended(&self, tasks: usize) {
        self.inner.kept.store(tasks, Ordering::Relaxed);
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// All tasks that are remembered, in the order in which they came.
    pub fn tasks(&self) -> Vec<Arc<TaskRecord>> {
        let mut tasks: Vec<_> = lock(&self.inner.memory).tasks.values().cloned().collect();
        tasks.sort_by_key(|record| record.created_ms);
        tasks
    }

    /// One task.
    pub fn task(&self, task: Task, proposal: &str) -> Option<Arc<TaskRecord>> {
        lock(&self.inner.memory).tasks.get(&(task, proposal.to_owned())).cloned()
    }

    /// Every change of a task from now on. Whoever is too slow misses some and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<TaskRecord>> {
        self.inner.changed.subscribe()
    }

    /// Why it cannot be written just now; `None` while it can.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.inner.trouble.subscribe()
    }

    /// Up to where the events of a contract are dealt with, or queued as tasks.
    pub fn checkpoint(&self, channel: &ChannelName, contract: &ChaincodeName) -> Option<Checkpoint> {
        lock(&self.inner.memory).checkpoints.get(&checkpoint_name(channel, contract)).cloned()
    }

    /// Takes over the checkpoint that an earlier version or the original has left in the folder, where there is one and
    /// none is known here.
    ///
    /// # Errors
    /// [`JournalError::Adopt`]: it is there and cannot be read. Going on would mean to skip or repeat what it is about.
    ///
    /// # Cancel safety
    /// It is taken over or not.
    pub async fn adopt(&self, channel: &ChannelName, contract: &ChaincodeName) -> Result<(), JournalError> {
        if self.checkpoint(channel, contract).is_some() {
            return Ok(());
        }
        let folder = self.inner.path.parent().map(Path::to_owned).unwrap_or_default();
        let (named, of) = (channel.clone(), contract.clone());
        let found = blocking(move || adopt::checkpoint(&folder, &named, &of)).await?;
        let Some((path, checkpoint)) = found else { return Ok(()) };
        tracing::info!(file = %path.display(), block = checkpoint.block, %contract, "took over a checkpoint");
        self.write(vec![Self::moved(channel, contract, checkpoint)]).await
    }

    /// The change by which the events of a contract are dealt with up to `checkpoint`.
    pub fn moved(channel: &ChannelName, contract: &ChaincodeName, checkpoint: Checkpoint) -> Change {
        Change::Checkpoint(checkpoint_name(channel, contract), checkpoint)
    }

    /// Remembers these changes, all or none; they are on disk when it returns.
    ///
    /// # Errors
    /// [`JournalError::Write`] and [`JournalError::Closed`]: none of it is kept.
    ///
    /// # Cancel safety
    /// They may be kept nevertheless.
    pub async fn write(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let inner = &self.inner;
        let (done, mut answer) = oneshot::channel();
        lock(&inner.waiting).push(Batch { changes, done });
        let turn = inner.turn.lock().await;
        // Whoever had the turn before may have written it along with its own.
        let answer = if let Ok(answer) = answer.try_recv() {
            answer
        } else {
            let writer = Arc::clone(inner);
            blocking(move || writer.flush()).await;
            answer.await.unwrap_or_else(|_| Err(JournalError::Closed { path: inner.path.clone() }))
        };
        drop(turn);
        answer
    }

    /// [`write`](Self::write), tried again until it succeeds. `None` when told to stop.
    pub async fn write_until(&self, changes: Vec<Change>, stop: &CancellationToken) -> Option<()> {
        for wait in Backoff::new(Duration::from_millis(250), Duration::from_secs(10)) {
            // The failure itself is told by `flush`, once.
            if self.write(changes.clone()).await.is_ok() {
                return Some(());
            }
            stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
        }
        None
    }
}

fn checkpoint_name(channel: &ChannelName, contract: &ChaincodeName) -> String {
    format!("{channel}/{contract}")
}

impl Inner {
    fn acquire(&self) -> Result<(), JournalError> {
        let mut file = lock(&self.file);
        if file.is_some() {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| JournalError::Open { path: self.path.clone(), reason: error.to_string() })?;
        }
        let (store, content) = self.open_store()?;
        let mut memory = lock(&self.memory);
        memory.tasks = content
            .tasks
            .into_iter()
            .map(|record| ((record.task, record.proposal.clone()), Arc::new(record)))
            .collect();
        memory.checkpoints = content.checkpoints.into_iter().collect();
        *file = Some(File::Open(store));
        self.trouble.send_replace(None);
        Ok(())
    }

    fn open_store(&self) -> Result<(Store, store::Content), JournalError> {
        let path = || self.path.clone();
        let failed = |failure| match failure {
            Failure::Taken => JournalError::Taken { path: path() },
            Failure::Corrupt(reason) | Failure::Unusable(reason) => JournalError::Open { path: path(), reason },
        };
        match Store::open(&self.path) {
            Err(Failure::Corrupt(reason)) => {
                let aside = durable::set_aside_blocking(&self.path, "corrupt")
                    .map_err(|error| JournalError::Open { path: path(), reason: format!("{reason}; {error}") })?;
                tracing::warn!(
                    file = %self.path.display(), moved_to = %aside.display(), reason,
                    "the journal is damaged: it is moved aside, and what is due is looked up on the ledger"
                );
                Store::open(&self.path).map_err(failed)
            }
            opened => opened.map_err(failed),
        }
    }

    /// Writes what waits, and answers those who wait.
    fn flush(&self) {
        let mut file = lock(&self.file);
        let batches = std::mem::take(&mut *lock(&self.waiting));
        if batches.is_empty() {
            return;
        }
        let result = match file.as_mut() {
            None => Err(JournalError::Closed { path: self.path.clone() }),
            Some(file) => self.write(file, &batches),
        };
        match &result {
            Ok(()) => {
                if self.trouble.send_replace(None).is_some() {
                    tracing::info!(file = %self.path.display(), "the journal can be written again");
                }
            }
            Err(error) => {
                if self.trouble.send_replace(Some(error.to_string())).is_none() {
                    tracing::error!(%error, "nothing is done until the journal can be written");
                }
            }
        }
        for batch in batches {
            // Whoever does not wait any more does not need to know.
            let _ = batch.done.send(result.clone());
        }
    }

    /// All changes, in their order. Who has to see to the whole of a task has to from then on: it may be asked for while
    /// the task is under way, whose own account does not know of it. Then it has not ended with that, but begins anew.
    fn changes(&self, batches: &[Batch]) -> Vec<Change> {
        let memory = lock(&self.memory);
        let mut asked: BTreeSet<Key> = BTreeSet::new();
        let change = |change: &Change| match change {
            Change::Task(record) => {
                let key = (record.task, record.proposal.clone());
                let is_asked = asked.contains(&key) || memory.tasks.get(&key).is_some_and(|known| known.executor);
                if record.executor {
                    asked.insert(key);
                } else if is_asked {
                    let state = if record.state.is_open() { record.state } else { TaskState::Queued };
                    return Change::Task(Arc::new(TaskRecord { executor: true, state, ..(**record).clone() }));
                }
                Change::Task(Arc::clone(record))
            }
            Change::Checkpoint(name, checkpoint) => Change::Checkpoint(name.clone(), checkpoint.clone()),
        };
        batches.iter().flat_map(|batch| &batch.changes).map(change).collect()
    }

    fn write(&self, file: &mut File, batches: &[Batch]) -> Result<(), JournalError> {
        let failed = |failure| match failure {
            Failure::Taken => JournalError::Taken { path: self.path.clone() },
            Failure::Corrupt(reason) | Failure::Unusable(reason) => {
                JournalError::Write { path: self.path.clone(), reason }
            }
        };
        let changes = self.changes(batches);
        let mut changed: BTreeMap<Key, &Arc<TaskRecord>> = BTreeMap::new();
        let mut moved: BTreeMap<&str, &Checkpoint> = BTreeMap::new();
        for change in &changes {
            match change {
                Change::Task(record) => _ = changed.insert((record.task, record.proposal.clone()), record),
                Change::Checkpoint(name, checkpoint) => _ = moved.insert(name, checkpoint),
            }
        }
        // Only who holds the file changes the memory, and nobody who reads has to wait for the disk.
        let removed = lock(&self.memory).superfluous(&changed, self.kept.load(Ordering::Relaxed));
        let older = match file {
            File::Open(_) => Memory::default(),
            // Whatever has become of the file: what is known is in memory, and goes into it as a whole.
            File::Broken => {
                let (store, _) = self.open_store()?;
                *file = File::Open(store);
                lock(&self.memory).without(&changed, &moved, &removed)
            }
        };
        let write = Write {
            tasks: changed.values().copied().chain(older.tasks.values()).map(AsRef::as_ref).collect(),
            checkpoints: moved
                .iter()
                .map(|(name, checkpoint)| (*name, *checkpoint))
                .chain(older.checkpoints.iter().map(|(name, checkpoint)| (name.as_str(), checkpoint)))
                .collect(),
            removed: removed.iter().map(|record| store::key(record)).collect(),
        };
        if let File::Open(store) = file
            && let Err(failure) = store.write(&write)
        {
            *file = File::Broken;
            return Err(failed(failure));
        }
        let mut memory = lock(&self.memory);
        for record in removed {
            memory.tasks.remove(&(record.task, record.proposal.clone()));
        }
        for change in &changes {
            match change {
                Change::Task(record) => {
                    memory.tasks.insert((record.task, record.proposal.clone()), Arc::clone(record));
                    // Nobody may be listening.
                    let _ = self.changed.send(Arc::clone(record));
                }
                Change::Checkpoint(name, checkpoint) => {
                    memory.checkpoints.insert(name.clone(), checkpoint.clone());
                }
            }
        }
        Ok(())
    }
}

impl Memory {
    /// The oldest ended tasks beyond those that are kept. In one go for several, as it looks at all of them.
    fn superfluous(&self, changed: &BTreeMap<Key, &Arc<TaskRecord>>, kept: usize) -> Vec<Arc<TaskRecord>> {
        if self.tasks.len() <= kept + kept / 10 {
            return Vec::new();
        }
        let mut ended: Vec<_> = self
            .tasks
            .iter()
            .filter(|(key, record)| !record.state.is_open() && !changed.contains_key(*key))
            .map(|(_, record)| record)
            .collect();
        if ended.len() <= kept + kept / 10 {
            return Vec::new();
        }
        ended.sort_by_key(|record| record.updated_ms);
        ended[..ended.len() - kept].iter().map(|record| Arc::clone(record)).collect()
    }

    /// What is known beyond what is written or forgotten just now.
    fn without(
        &self,
        changed: &BTreeMap<Key, &Arc<TaskRecord>>,
        moved: &BTreeMap<&str, &Checkpoint>,
        removed: &[Arc<TaskRecord>],
    ) -> Self {
        let gone = |record: &Arc<TaskRecord>| removed.iter().any(|removed| Arc::ptr_eq(removed, record));
        let tasks = self.tasks.iter().filter(|(key, record)| !changed.contains_key(*key) && !gone(record));
        let checkpoints = self.checkpoints.iter().filter(|(name, _)| !moved.contains_key(name.as_str()));
        Self {
            tasks: tasks.map(|(key, record)| (key.clone(), Arc::clone(record))).collect(),
            checkpoints: checkpoints.map(|(name, checkpoint)| (name.clone(), checkpoint.clone())).collect(),
        }
    }
}
