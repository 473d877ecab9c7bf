//! One turn of one task: its steps, one after the other, until it ends or has to make room for others.
//!
//! The loop around every kind of task. What fails and may pass is tried again here for a while; a step that takes longer
//! than its limit, tries and pauses together, is given up and its task put back, so that it holds up nobody else. A task
//! that was put back begins anew: what is done already counts as done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tracing::Instrument as _;

use crate::runtime::retry::Backoff;

use super::account::{Abandoned, Account};
use super::progress::{Happening, Step, Verdict};
use super::text;
use super::trouble::{Doubts, Trouble};

/// The first pause after a failure that may pass, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// While others wait for it, a task that only waits keeps its place and its turn for so long.
const CROWDED: Duration = Duration::from_secs(10);

/// What comes next in a task.
pub(super) enum Next {
    /// This step.
    Step(Step),
    /// Its channel has become known: it has to queue up there.
    Queue,
    /// Nothing.
    Ended(Verdict, String),
}

/// The future of one step: what it came to, in a few words.
pub(super) type Acting<'a> = Pin<Box<dyn Future<Output = Result<String, Trouble>> + Send + 'a>>;

/// A task as steps.
pub(super) trait Job: Send {
    /// What comes next.
    fn next(&self) -> Next;

    /// Takes the next step. When it succeeds, [`next`](Self::next) is the one after it.
    fn act(&mut self) -> Acting<'_>;

    /// The next step was refused for good. Whether that is final: if not, it is tried on.
    fn refused(&mut self, reason: &str) -> bool;
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The task is over.
    Over,
    /// It queues up again at once.
    Queue,
    /// It queues up again after a pause.
    PutBack(Duration),
    /// The agent was told to stop.
    Abandoned,
}

/// Whether others wait for what a task has: a place, or the turn of its chaincode.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd {
    places: Arc<AtomicUsize>,
    behind: Arc<AtomicBool>,
}

impl Crowd {
    /// The same places, for another task.
    pub(super) fn another(&self) -> Self {
        Self { places: Arc::clone(&self.places), behind: Arc::default() }
    }

    /// So many could begin if there were a place.
    pub(super) fn set(&self, waiting: usize) {
        self.places.store(waiting, Ordering::Relaxed);
    }

    /// Somebody waits for this task to end.
    pub(super) fn press(&self) {
        self.behind.store(true, Ordering::Relaxed);
    }

    fn waits(&self) -> bool {
        self.places.load(Ordering::Relaxed) > 0 || self.behind.load(Ordering::Relaxed)
    }
}

/// Runs a task until it ends or is put back. `limit` says how long a step may take.
///
/// # Cancel safety
/// Dropping it ends the wait; a step under way may still take effect, and counts as done when the task runs again.
pub(super) async fn run(account: &Account, job: &mut dyn Job, crowd: &Crowd, limit: impl Fn(Step) -> Duration) -> End {
    follow(account, job, crowd, limit).await.unwrap_or(End::Abandoned)
}

async fn follow(
    account: &Account,
    job: &mut dyn Job,
    crowd: &Crowd,
    limit: impl Fn(Step) -> Duration,
) -> Result<End, Abandoned> {
    let stop = account.stop();
    let begun = Instant::now();
    let schedule = || Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let (mut waits, mut doubts, mut since) = (schedule(), Doubts::default(), Instant::now());
    loop {
        let step = match job.next() {
            Next::Step(step) => step,
            Next::Queue => {
                account.save().await?;
                return Ok(End::Queue);
            }
            Next::Ended(verdict, outcome) => {
                account.report(None, Happening::Ended { verdict, outcome, elapsed: begun.elapsed() });
                account.save().await?;
                return Ok(End::Over);
            }
        };
        if stop.is_cancelled() {
            return Err(Abandoned);
        }
        account.begin(step).await?;
        let (limit, started) = (limit(step), Instant::now());
        let span = tracing::info_span!(
            "step",
            %step,
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
        );
        let acted = tokio::time::timeout(limit, job.act().instrument(span.clone())).await;
        // For whoever looks at spans alone; the log has it in an event of its own.
        if let Some(reason) = failure(&acted) {
            span.record("otel.status_code", "error").record("otel.status_description", reason);
        }
        drop(span);
        let error = match acted {
            Ok(Ok(detail)) => {
                account.done(step, started.elapsed(), detail).await?;
                (waits, doubts, since) = (schedule(), Doubts::default(), Instant::now());
                continue;
            }
            Ok(Err(trouble)) if doubts.settles(&trouble) && job.refused(trouble.reason()) => {
                account.report(None, Happening::Refused { step, error: trouble.reason().to_owned() });
                account.save().await?;
                (waits, doubts, since) = (schedule(), Doubts::default(), Instant::now());
                continue;
            }
            Ok(Err(trouble)) => trouble.reason().to_owned(),
            Err(_) => format!("the step was given up after its time limit of {limit:?}"),
        };
        let again_in = waits.next().unwrap_or(LONGEST_WAIT);
        let error = text::bounded(&error, text::ERROR_LIMIT);
        account.report(None, Happening::Waiting { step, again_in, error });
        account.save().await?;
        let waited = since.elapsed();
        if waited >= limit || (is_idle(step) && crowd.waits() && waited >= CROWDED) {
            return Ok(End::PutBack(again_in));
        }
        stop.run_until_cancelled(tokio::time::sleep(again_in)).await.ok_or(Abandoned)?;
    }
}

/// Why a step did not succeed.
fn failure(acted: &Result<Result<String, Trouble>, Elapsed>) -> Option<&str> {
    match acted {
        Ok(Ok(_)) => None,
        Ok(Err(trouble)) => Some(trouble.reason()),
        Err(_) => Some("it took longer than its limit"),
    }
}

/// Whether nothing is lost by giving up a step: others count for themselves how long they have waited.
fn is_idle(step: Step) -> bool {
    !matches!(step, Step::Fetch | Step::Build | Step::Package | Step::Install)
}
