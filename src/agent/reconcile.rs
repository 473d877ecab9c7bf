//! Looking through the ledger for what is due, whatever events were heard.
//!
//! Events may be missed, tasks be refused for a reason that is gone by now, and whoever was asked to finish a proposal may
//! be away. So all open proposals are looked at: at the start, now and then, and when somebody asks for it. What is due is
//! handed in like what an event asks for. A task that was refused is tried again ever more rarely while the ledger asks
//! for it; the acknowledgement of its failure is then corrected by that of its success.
//!
//! Does not act: that the same is due twice, or for two organizations, does no harm.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::fabric::names::MspId;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::opssc::chaincode_ops::{HistoryQuery, Status};
use crate::opssc::channel_ops::{self, Action};
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::config;
use super::daemon::Bells;
use super::handlers::of_proposal;
use super::journal::{Journal, TaskRecord, TaskState};
use super::progress::Task;
use super::schedule::Tasks;
use super::standing::{self, Due};
use super::task::Kind;
use super::text;

/// A peer may not show for so long yet what was told through another one.
const SETTLING: Duration = Duration::from_mins(1);
/// So many proposals are watched at the same time.
const MOST: usize = 10_000;

/// Since when others have been asked for something that this organization may have to do instead.
///
/// By this process's own clock: those of the ledger and of the host may be wrong.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    since: Mutex<HashMap<(Task, String), Instant>>,
    changed: Notify,
}

impl Overdue {
    /// Others are asked for this now, unless they were before.
    pub(super) fn expect(&self, task: Task, proposal: &str) {
        self.since(task, proposal);
        self.changed.notify_one();
    }

    /// Whether others are known to be asked for this.
    fn has(&self, task: Task, proposal: &str) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&(task, proposal.to_owned()))
    }

    fn since(&self, task: Task, proposal: &str) -> Instant {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if since.len() >= MOST {
            return since.get(&(task, proposal.to_owned())).copied().unwrap_or(now);
        }
        *since.entry((task, proposal.to_owned())).or_insert(now)
    }

    fn keep(&self, open: &HashSet<(Task, String)>) {
        // One that was asked for a moment ago need not be listed by the peer that answered.
        let keep = |key: &(Task, String), since: &mut Instant| open.contains(key) || since.elapsed() < SETTLING;
        self.since.lock().unwrap_or_else(PoisonError::into_inner).retain(keep);
    }
}

/// When something is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    In(Duration),
    Never,
}

/// What looks through the ledger.
pub(super) struct Reconciliation {
    pub(super) organization: MspId,
    pub(super) chaincode_ops: ChaincodeOps,
    pub(super) channel_ops: ChannelOps,
    pub(super) tasks: Tasks,
    pub(super) journal: Journal,
    pub(super) overdue: Arc<Overdue>,
    pub(super) bells: Arc<Bells>,
    pub(super) settings: config::Tasks,
    pub(super) stop: CancellationToken,
}

impl Reconciliation {
    /// Looks until told to stop.
    pub(super) async fn run(self) -> Result<(), Infallible> {
        let schedule = || Backoff::new(Duration::from_millis(250), Duration::from_secs(15));
        let mut waits = schedule();
        // After a start, and when somebody asks for it, what was refused is tried again at once.
        let mut asked = true;
        let mut changes = self.journal.subscribe();
        loop {
            let Some(looked) = self.stop.run_until_cancelled(self.look(asked)).await else { return Ok(()) };
            let rest = match looked {
                Ok(rest) => {
                    (waits, asked) = (schedule(), false);
                    rest
                }
                Err(error) => {
                    let again_in = waits.next().unwrap_or(self.settings.reconcile_period);
                    tracing::warn!(?again_in, error, "proposals cannot be listed; trying again");
                    again_in
                }
            };
            let mut until = Instant::now() + rest;
            loop {
                tokio::select! {
                    () = self.stop.cancelled() => return Ok(()),
                    () = self.bells.reconcile.notified() => asked = true,
                    () = self.overdue.changed.notified() => {}
                    () = tokio::time::sleep_until(until) => {}
                    // What has just been refused is due before the period is over.
                    changed = changes.recv() => {
                        // With very many changes some are missed.
                        if let Some(rest) = changed.map_or(Some(SETTLING), |changed| changed.rest_at(self.tasks.now_ms())) {
                            until = until.min(Instant::now() + rest);
                        }
                        continue;
                    }
                }
                break;
            }
        }
    }

    /// Hands in what is due. Tells when to look again.
    async fn look(&self, asked: bool) -> Result<Duration, String> {
        let mut open = HashSet::new();
        let mut found = Vec::new();
        let mut rest = self.settings.reconcile_period;
        for (record, when) in [self.chaincodes(&mut open).await?, self.channels(&mut open).await?].concat() {
            let when = match when {
                When::Now => self.rested(&record, asked),
                other => other,
            };
            match when {
                When::Now => {
                    tracing::info!(
                        task = record.task.as_str(),
                        proposal = record.shown(),
                        "the ledger asks for a task"
                    );
                    found.push(record);
                }
                When::In(time) => rest = rest.min(time),
                When::Never => {}
            }
        }
        self.overdue.keep(&open);
        if self.tasks.hand_in(found, None).await.is_none() {
            tracing::debug!("stopping before all that is due was handed in");
        }
        // Not in a loop without a pause, whatever the clocks say.
        Ok(rest.max(Duration::from_millis(100)))
    }

    /// When a task that is due may run (again), after what was made of it before.
    fn rested(&self, record: &TaskRecord, asked: bool) -> When {
        let Some(known) = self.journal.task(record.task, &record.proposal) else { return When::Now };
        let now = self.tasks.now_ms();
        match known.state {
            state if state.is_open() => {
                // It is being done, but perhaps only for the own nodes.
                if record.executor && !known.executor { When::Now } else { When::Never }
            }
            TaskState::Failed if !asked && (known.executor || !record.executor) => {
                let left = known.rest_at(now).unwrap_or_default();
                if left.is_zero() { When::Now } else { When::In(left) }
            }
            TaskState::Done if known.executor >= record.executor => {
                let left = SETTLING.saturating_sub(Duration::from_millis(now.abs_diff(known.updated_ms)));
                if left.is_zero() { When::Now } else { When::In(left) }
            }
            _ => When::Now,
        }
    }

    async fn chaincodes(&self, open: &mut HashSet<(Task, String)>) -> Result<Vec<(TaskRecord, When)>, String> {
        let proposals = self.chaincode_ops.get_all_proposals().await.map_err(|error| text::chain(&error))?;
        let proposals: Vec<_> = proposals
            .into_values()
            .filter(|proposal| matches!(proposal.status, Status::Approved | Status::Acknowledged))
            .collect();
        if proposals.is_empty() {
            return Ok(Vec::new());
        }
        let channels = self.channel_ops.get_all_channels().await.map_err(|error| text::chain(&error))?;
        let own = &self.organization;
        let mut found = Vec::new();
        for proposal in proposals {
            let is_member =
                channels.iter().any(|channel| channel.id == proposal.channel_id && channel.has(own.as_str()));
            let query = HistoryQuery { proposal_id: proposal.id.clone(), ..HistoryQuery::default() };
            let histories = self.chaincode_ops.get_histories(&query).await.map_err(|error| text::chain(&error))?;
            let histories: Vec<_> =
                histories.into_values().filter(|history| history.proposal_id == proposal.id).collect();
            let (task, when) = match standing::due(&proposal, own, is_member, &histories) {
                Due::Nothing => continue,
                // The ledger's times have whole seconds: an event knows better whose acknowledgement was the last.
                Due::Task(Kind::Deploy) if self.overdue.has(Task::Deploy, &proposal.id) => {
                    (Task::Deploy, self.instead(Task::Deploy, &proposal.id, 1, open))
                }
                Due::Task(kind) => (kind.into(), When::Now),
                Due::Instead(place) => (Task::Deploy, self.instead(Task::Deploy, &proposal.id, place, open)),
            };
            found.push((of_proposal(task, &proposal, self.tasks.now_ms()), when));
        }
        Ok(found)
    }

    /// When to do what others were asked for: so many times the time that each of them is given.
    fn instead(&self, task: Task, proposal: &str, place: u32, open: &mut HashSet<(Task, String)>) -> When {
        open.insert((task, proposal.to_owned()));
        let given = self.settings.executor_timeout.saturating_mul(place);
        let left = given.saturating_sub(self.overdue.since(task, proposal).elapsed());
        if left.is_zero() { When::Now } else { When::In(left) }
    }

    async fn channels(&self, open: &mut HashSet<(Task, String)>) -> Result<Vec<(TaskRecord, When)>, String> {
        let proposals = self.channel_ops.get_all_proposals().await.map_err(|error| text::chain(&error))?;
        let mut found = Vec::new();
        for proposal in proposals.into_values().filter(|proposal| proposal.status == channel_ops::Status::Approved) {
            let known = self.journal.task(Task::UpdateChannel, &proposal.id);
            let mut record = TaskRecord::queued(Task::UpdateChannel, proposal.id.as_str(), self.tasks.now_ms());
            record.channel = Some(text::bounded(&proposal.channel_id, 260));
            // Who was asked is not on the ledger: all who have signed may have been, in the order of their MSP IDs.
            let place = proposal.artifacts.signatures.keys().position(|org| org == self.organization.as_str());
            let place = place.and_then(|place| u32::try_from(place).ok());
            let when = match place {
                _ if known.as_ref().is_some_and(|known| known.executor) => When::Now,
                Some(place) => self.instead(Task::UpdateChannel, &proposal.id, place.saturating_add(1), open),
                None => When::Never,
            };
            record.executor = when == When::Now;
            found.push((record.clone(), when));
            // Every organization has its own nodes join a channel that is made.
            let is_new = known.is_none_or(|known| known.state == TaskState::Failed);
            if proposal.action == Action::Create && !record.executor && is_new {
                found.push((record, When::Now));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_others_are_asked_for_is_timed_from_the_first_word() {
        let overdue = Overdue::default();
        overdue.expect(Task::Deploy, "p");
        let first = overdue.since(Task::Deploy, "p");
        tokio::time::advance(Duration::from_secs(30)).await;
        overdue.expect(Task::Deploy, "p");
        assert_eq!(overdue.since(Task::Deploy, "p"), first);
        // Not listed yet, and kept; not listed any more, and forgotten.
        overdue.keep(&HashSet::new());
        assert_eq!(overdue.since(Task::Deploy, "p").elapsed(), Duration::from_secs(30));
        tokio::time::advance(SETTLING).await;
        overdue.keep(&HashSet::new());
        assert_eq!(overdue.since(Task::Deploy, "p").elapsed(), Duration::ZERO);
    }
}
