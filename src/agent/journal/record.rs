//! What is remembered of one task.
//!
//! Bounded in size whatever the ledger says: texts from others are cut, and of very many steps the oldest are dropped.
//! Its JSON is what the store holds and what the operations endpoint tells, so that names only ever get added.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fabric::block::ChaincodeEvent;

use super::super::progress::{Step, Task};
use super::super::text;

/// A longer proposal ID is nobody's honest name and would have to be kept in full: such a proposal is not carried out.
pub const LONGEST_ID: usize = 4096;
/// How long a refused task rests at first, and at most.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_hours(1);
/// At most this many steps of one task are remembered.
const MOST_STEPS: usize = 128;
/// At most this many characters of what a step came to.
const DETAIL: usize = 400;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskState {
    /// It waits for its turn.
    Queued,
    /// It is being worked on.
    Running,
    /// A step failed for a reason that may pass; it is tried again.
    Waiting,
    /// An operator has paused it.
    Held,
    /// It is done.
    Done,
    /// It was refused. It is tried again now and then while the ledger still asks for it.
    Failed,
    /// There was nothing to do.
    Skipped,
}

impl TaskState {
    /// All states.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Held, Self::Done, Self::Failed, Self::Skipped];

    /// Whether the task has not ended yet.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Waiting | Self::Held)
    }

    /// The state in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one step came to so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepResult {
    /// It is under way, or was when the process ended.
    Running,
    /// It is done.
    Done,
    /// It failed for a reason that may pass.
    Waiting,
    /// It was refused.
    Refused,
}

/// One step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// Which step.
    pub step: Step,
    /// The peer, where it concerns one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// What it came to.
    pub result: StepResult,
    /// The same in a few words.
    #[serde(default)]
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// The event that asked for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPosition {
    /// Its block on the ops channel.
    pub block: u64,
    /// Its transaction.
    pub tx_id: String,
}

impl EventPosition {
    /// Where this event stands.
    pub fn of(event: &ChaincodeEvent) -> Self {
        Self { block: event.block, tx_id: event.tx_id.to_string() }
    }
}

/// One task and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRecord {
    /// What is done.
    pub task: Task,
    /// The proposal's ID as the ledger has it: not fit to be shown as it is. What names a task that is about no proposal.
    pub proposal: String,
    /// The channel that the proposal is about, once known; as the ledger has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The chaincode, where it is about one; as the ledger has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaincode: Option<String>,
    /// The sequence of its definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// Whether this organization sees to the whole of a channel proposal, and not to its own nodes alone.
    #[serde(default)]
    pub executor: bool,
    /// Where it stands.
    pub state: TaskState,
    /// The step that it stands at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// How often it was taken up.
    pub attempts: u32,
    /// Its steps since it was taken up last.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// How it ended, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub created_ms: u64,
    /// When this was last written.
    pub updated_ms: u64,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_ms: Option<u64>,
    /// The event that asked for it; none where the ledger was found to ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventPosition>,
}

impl TaskRecord {
    /// A task that waits for its turn.
    pub fn queued(task: Task, proposal: impl Into<String>, now_ms: u64) -> Self {
        Self {
            task,
            proposal: proposal.into(),
            channel: None,
            chaincode: None,
            sequence: None,
            executor: false,
            state: TaskState::Queued,
            step: None,
            attempts: 0,
            steps: Vec::new(),
            outcome: None,
            created_ms: now_ms,
            updated_ms: now_ms,
            next_try_ms: None,
            event: None,
        }
    }

    /// How long it rests yet before it is tried again, where it was refused. What is longer than it was to rest at all
    /// comes from a clock that was put back, and counts as over.
    pub fn rest_at(&self, now_ms: u64) -> Option<Duration> {
        let next = self.next_try_ms.filter(|_| self.state == TaskState::Failed)?;
        let rest = Duration::from_millis(next.saturating_sub(now_ms));
        Some(if rest > again_after(self.attempts) { Duration::ZERO } else { rest })
    }

    /// The proposal's ID, fit to be shown.
    pub fn shown(&self) -> String {
        text::bounded(&self.proposal, 80)
    }

    /// The last entry of this step (and peer), or a new one.
    pub fn step_entry(&mut self, step: Step, peer: Option<&str>, now_ms: u64) -> &mut StepRecord {
        let found = self.steps.iter().rposition(|entry| entry.step == step && entry.peer.as_deref() == peer);
        let at = found.unwrap_or_else(|| {
            if self.steps.len() >= MOST_STEPS {
                self.steps.remove(0);
            }
            self.steps.push(StepRecord {
                step,
                peer: peer.map(|peer| text::bounded(peer, 120)),
                began_ms: now_ms,
                ended_ms: None,
                result: StepResult::Running,
                detail: String::new(),
                attempts: 0,
            });
            self.steps.len() - 1
        });
        &mut self.steps[at]
    }
}

/// When a task that was refused is tried again, should the ledger still ask for it.
pub(in crate::agent) fn again_after(attempts: u32) -> Duration {
    FIRST_REST.saturating_mul(1 << attempts.saturating_sub(1).min(7)).min(LONGEST_REST)
}

impl StepRecord {
    /// Notes what the step came to.
    pub fn end(&mut self, result: StepResult, detail: &str, now_ms: u64) {
        self.result = result;
        self.ended_ms = Some(now_ms);
        self.detail = text::bounded(detail, DETAIL);
    }
}
