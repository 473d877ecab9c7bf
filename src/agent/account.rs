//! One task's account of itself: told to whoever watches, and kept in the journal.
//!
//! A module of its own so that the work neither knows who listens nor how it is remembered. A step is in the journal
//! before it is taken, and what it came to before the next one is; while the journal cannot be written, nothing is done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::fabric::names::MspId;
use crate::runtime::CancellationToken;

use super::journal::{Change, Journal, StepResult, TaskRecord, TaskState, again_after, ms_of};
use super::progress::{Happening, Progress, Reporter, Step, Task, Verdict};
use super::text;

/// The moment at which a [`Hook`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A step is about to be taken; the journal has it.
    Before,
    /// A step was taken and succeeded; the journal does not know yet.
    After,
}

/// Called around every step: for tests that end the process there.
pub trait Hook: Send + Sync {
    /// The agent is at this point.
    fn at(&self, moment: Moment, task: Task, step: Step, proposal: &str);

    /// What time it is by the host's clock, which may jump.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// No test is under way.
impl Hook for () {
    fn at(&self, _: Moment, _: Task, _: Step, _: &str) {}
}

/// The agent was told to stop before the task ended. It is taken up again after the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abandoned;

/// Whom tasks give account to.
pub(super) struct Listeners {
    pub(super) organization: MspId,
    pub(super) reporter: Arc<dyn Reporter>,
    pub(super) hook: Arc<dyn Hook>,
    pub(super) journal: Journal,
    pub(super) stop: CancellationToken,
}

impl Listeners {
    /// What time it is, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        ms_of(self.hook.now())
    }
}

/// The account of one task.
pub(super) struct Account {
    listeners: Arc<Listeners>,
    task: Task,
    proposal: String,
    shown: String,
    record: Mutex<TaskRecord>,
    /// Who holds it writes: of two that write at the same time, the one that knows more must be the last.
    saving: tokio::sync::Mutex<()>,
}

impl Account {
    /// Goes on with this record.
    pub(super) fn new(listeners: Arc<Listeners>, record: TaskRecord) -> Self {
        let (task, proposal, shown) = (record.task, record.proposal.clone(), record.shown());
        Self { listeners, task, proposal, shown, record: Mutex::new(record), saving: tokio::sync::Mutex::default() }
    }

    fn record(&self) -> MutexGuard<'_, TaskRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the task now.
    pub(super) fn now(&self) -> TaskRecord {
        self.record().clone()
    }

    /// What is done.
    pub(super) fn task(&self) -> Task {
        self.task
    }

    /// The proposal's ID as the ledger has it.
    pub(super) fn proposal(&self) -> &str {
        &self.proposal
    }

    /// Cancelled when the agent is to stop.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.listeners.stop
    }

    /// Notes which channel the task is about. Whether that was not known before.
    pub(super) fn place(&self, channel: &str) -> bool {
        let mut record = self.record();
        let is_new = record.channel.as_deref() != Some(channel);
        record.channel = Some(text::bounded(channel, 260));
        is_new
    }

    /// Tells whoever watches. What a step came to is part of the record, written with the next [`save`](Self::save).
    pub(super) fn report(&self, peer: Option<&str>, happening: Happening) {
        self.note(peer, &happening);
        let progress = Progress {
            organization: self.listeners.organization.clone(),
            proposal: self.shown.clone(),
            task: self.task,
            peer: peer.map(str::to_owned),
            happening,
        };
        progress.log();
        self.listeners.reporter.report(&progress);
    }

    fn note(&self, peer: Option<&str>, happening: &Happening) {
        let now = self.listeners.now_ms();
        let mut record = self.record();
        match happening {
            Happening::Started(step) => {
                let entry = record.step_entry(*step, peer, now);
                entry.attempts = entry.attempts.saturating_add(1);
                (entry.result, entry.ended_ms) = (StepResult::Running, None);
            }
            Happening::Advanced { step, detail } => {
                record.step_entry(*step, peer, now).detail = text::bounded(detail, 120);
            }
            Happening::Finished { step, detail, .. } => {
                record.step_entry(*step, peer, now).end(StepResult::Done, detail, now);
            }
            Happening::Waiting { step, again_in, error } => {
                record.step_entry(*step, peer, now).end(StepResult::Waiting, error, now);
                record.state = TaskState::Waiting;
                record.outcome = Some(text::bounded(error, text::ERROR_LIMIT));
                record.next_try_ms = Some(now.saturating_add(millis(*again_in)));
            }
            Happening::Refused { step, error } => {
                record.step_entry(*step, peer, now).end(StepResult::Refused, error, now);
            }
            Happening::Ended { verdict, outcome, .. } => {
                record.state = match verdict {
                    Verdict::Done => TaskState::Done,
                    Verdict::Failed => TaskState::Failed,
                    Verdict::Skipped => TaskState::Skipped,
                };
                record.outcome = Some(text::bounded(outcome, text::ERROR_LIMIT));
                let again = (*verdict == Verdict::Failed).then(|| millis(again_after(record.attempts)));
                record.next_try_ms = again.map(|again| now.saturating_add(again));
                record.step = None;
            }
            Happening::EventReceived { .. }
            | Happening::EventSeen { .. }
            | Happening::Resumed
            | Happening::Fetched { .. }
            | Happening::PackagesDiffer { .. } => {}
        }
    }

    /// Writes the record into the journal, and waits until that is possible.
    pub(super) async fn save(&self) -> Result<(), Abandoned> {
        let _turn = self.saving.lock().await;
        let record = {
            let mut record = self.record();
            record.updated_ms = self.listeners.now_ms();
            Arc::new(record.clone())
        };
        let written = self.listeners.journal.write_until(vec![Change::Task(record)], &self.listeners.stop).await;
        written.ok_or(Abandoned)
    }

    /// The task is taken up (again).
    pub(super) fn take_up(&self) {
        let mut record = self.record();
        record.attempts = record.attempts.saturating_add(1);
        record.steps.clear();
        (record.state, record.next_try_ms, record.outcome) = (TaskState::Running, None, None);
    }

    /// The task goes on: what its steps came to before stays known.
    pub(super) fn go_on(&self) {
        let mut record = self.record();
        record.attempts = record.attempts.saturating_add(1);
        (record.state, record.next_try_ms, record.outcome) = (TaskState::Running, None, None);
    }

    /// A step is about to be taken.
    pub(super) async fn begin(&self, step: Step) -> Result<(), Abandoned> {
        // Installing tells of each peer by itself.
        if step != Step::Install {
            self.report(None, Happening::Started(step));
        }
        self.stand_at(step).await
    }

    /// A step is about to be taken that concerns one peer alone, beside others.
    pub(super) async fn begin_on(&self, step: Step, peer: Option<&str>) -> Result<(), Abandoned> {
        self.report(peer, Happening::Started(step));
        self.stand_at(step).await
    }

    async fn stand_at(&self, step: Step) -> Result<(), Abandoned> {
        {
            let mut record = self.record();
            (record.state, record.step, record.next_try_ms, record.outcome) =
                (TaskState::Running, Some(step), None, None);
        }
        self.save().await?;
        self.listeners.hook.at(Moment::Before, self.task, step, &self.proposal);
        Ok(())
    }

    /// What a step came to that concerns one peer alone.
    pub(super) async fn done_on(
        &self,
        step: Step,
        peer: Option<&str>,
        elapsed: Duration,
        detail: String,
    ) -> Result<(), Abandoned> {
        self.listeners.hook.at(Moment::After, self.task, step, &self.proposal);
        self.report(peer, Happening::Finished { step, elapsed, detail });
        self.save().await
    }

    /// What is done on several peers came to this on one of them. What that means for the task is told elsewhere.
    pub(super) fn fell_short(&self, step: Step, peer: &str, result: StepResult, error: &str) {
        let now = self.listeners.now_ms();
        self.record().step_entry(step, Some(peer), now).end(result, error, now);
    }

    /// The task waits, in this state and for this reason.
    pub(super) async fn rest(
        &self,
        state: TaskState,
        reason: &str,
        again_in: Option<Duration>,
    ) -> Result<(), Abandoned> {
        {
            let mut record = self.record();
            let reason = text::bounded(reason, text::ERROR_LIMIT);
            if record.state == state && again_in.is_none() && record.outcome.as_ref() == Some(&reason) {
                return Ok(());
            }
            (record.state, record.outcome) = (state, Some(reason));
            record.next_try_ms = again_in.map(|again_in| self.listeners.now_ms().saturating_add(millis(again_in)));
        }
        self.save().await
    }

    /// Whatever is in the middle of something by the record is not: what it came to was `found`, or is not known.
    pub(super) fn settle_steps(&self, found: Option<&str>) {
        let now = self.listeners.now_ms();
        for entry in &mut self.record().steps {
            match (entry.result, found) {
                (StepResult::Running | StepResult::Waiting, Some(found)) => entry.end(StepResult::Done, found, now),
                (StepResult::Running, None) => entry.end(StepResult::Waiting, "what it came to is not known", now),
                _ => {}
            }
        }
    }

    /// A step was taken.
    pub(super) async fn done(&self, step: Step, elapsed: Duration, detail: String) -> Result<(), Abandoned> {
        self.listeners.hook.at(Moment::After, self.task, step, &self.proposal);
        if step == Step::Install {
            let now = self.listeners.now_ms();
            let mut record = self.record();
            if let Some(entry) = record.steps.iter_mut().find(|entry| entry.step == step && entry.peer.is_none()) {
                entry.end(StepResult::Done, &detail, now);
            }
        } else {
            self.report(None, Happening::Finished { step, elapsed, detail });
        }
        self.save().await
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Nobody but the journal.
    pub(in crate::agent) fn listeners(journal: &Journal) -> Arc<Listeners> {
        Arc::new(Listeners {
            organization: "Org1MSP".parse().unwrap(),
            reporter: Arc::new(()),
            hook: Arc::new(()),
            journal: journal.clone(),
            stop: CancellationToken::new(),
        })
    }

    #[test]
    fn a_refused_task_is_tried_again_ever_more_rarely() {
        let waits: Vec<u64> = (0..12).map(|attempts| again_after(attempts).as_secs()).collect();
        assert_eq!(waits, [30, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]);
    }

    #[tokio::test]
    async fn what_is_told_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let account = Account::new(listeners(&journal), TaskRecord::queued(Task::PrepareToDeploy, "p", 1));
        account.take_up();
        account.begin(Step::Validate).await.unwrap();
        let seen = journal.task(Task::PrepareToDeploy, "p").unwrap();
        assert_eq!(
            (seen.state, seen.step, seen.steps[0].result),
            (TaskState::Running, Some(Step::Validate), StepResult::Running)
        );
        account.done(Step::Validate, Duration::ZERO, "fine".to_owned()).await.unwrap();
        account.begin(Step::Install).await.unwrap();
        for peer in ["peer0", "peer1"] {
            account.report(Some(peer), Happening::Started(Step::Install));
        }
        let finished = Happening::Finished { step: Step::Install, elapsed: Duration::ZERO, detail: "id".to_owned() };
        account.report(Some("peer1"), finished);
        let again_in = Duration::from_secs(1);
        account.report(None, Happening::Waiting { step: Step::Install, again_in, error: "peer0 is down".to_owned() });
        account.save().await.unwrap();
        let seen = journal.task(Task::PrepareToDeploy, "p").unwrap();
        let steps: Vec<_> = seen.steps.iter().map(|entry| (entry.step, entry.peer.as_deref(), entry.result)).collect();
        assert_eq!(
            steps,
            [
                (Step::Validate, None, StepResult::Done),
                (Step::Install, Some("peer0"), StepResult::Running),
                (Step::Install, Some("peer1"), StepResult::Done),
                (Step::Install, None, StepResult::Waiting),
            ]
        );
        assert_eq!((seen.state, seen.outcome.as_deref()), (TaskState::Waiting, Some("peer0 is down")));
        assert!(seen.next_try_ms.is_some());
    }
}
