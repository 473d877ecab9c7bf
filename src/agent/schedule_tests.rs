//! The scheduler with scripted tasks, in paused time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::agent::holds::Scope;
use crate::agent::journal::{EventPosition, now_ms};
use crate::agent::progress::{Step, Verdict};
use crate::agent::trouble::Trouble;
use crate::agent::turn::{self, Acting, Job, Next};
use crate::runtime::Workers;

/// What a scripted task does in its only step, try for try; afterwards it is done.
#[derive(Clone)]
enum Act {
    Wait(Arc<Notify>),
    Fails,
    /// Fails until then.
    Away(Instant),
    Hangs,
    Panics,
    Refused,
}

#[derive(Default)]
struct Script {
    acts: Mutex<HashMap<String, VecDeque<Act>>>,
    running: AtomicUsize,
    most: AtomicUsize,
    order: Mutex<Vec<String>>,
}

struct Scripted {
    script: Arc<Script>,
    proposal: String,
    ended: Option<(Verdict, String)>,
}

impl Job for Scripted {
    fn next(&self) -> Next {
        match &self.ended {
            Some((verdict, outcome)) => Next::Ended(*verdict, outcome.clone()),
            None => Next::Step(Step::Approve),
        }
    }

    fn act(&mut self) -> Acting<'_> {
        Box::pin(async move {
            let act = self.script.acts.lock().unwrap().get_mut(&self.proposal).and_then(VecDeque::pop_front);
            match act {
                Some(Act::Wait(until)) => until.notified().await,
                Some(Act::Fails) => return Err(Trouble::passing("it is down")),
                Some(Act::Away(until)) if Instant::now() < until => {
                    let mut acts = self.script.acts.lock().unwrap();
                    acts.entry(self.proposal.clone()).or_default().push_front(Act::Away(until));
                    return Err(Trouble::passing("it is down"));
                }
                Some(Act::Hangs) => std::future::pending().await,
                Some(Act::Panics) => panic!("over what others wrote"),
                Some(Act::Refused) => return Err(Trouble::definite("no")),
                Some(Act::Away(_)) | None => {}
            }
            self.ended = Some((Verdict::Done, "done".to_owned()));
            Ok(String::new())
        })
    }

    fn refused(&mut self, reason: &str) -> bool {
        self.ended = Some((Verdict::Failed, reason.to_owned()));
        true
    }
}

const LIMIT: Duration = Duration::from_mins(5);

impl Runner for Script {
    fn run(self: Arc<Self>, account: Arc<Account>, crowd: Crowd) -> Pin<Box<dyn Future<Output = End> + Send>> {
        Box::pin(async move {
            self.order.lock().unwrap().push(account.proposal().to_owned());
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            // Also when the turn panics.
            let script = Arc::clone(&self);
            let _ended = Ended(script);
            let mut job = Scripted { script: Arc::clone(&self), proposal: account.proposal().to_owned(), ended: None };
            turn::run(&account, &mut job, &crowd, |_| LIMIT).await
        })
    }
}

struct Ended(Arc<Script>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Bench {
    folder: tempfile::TempDir,
    journal: Journal,
    tasks: Tasks,
    holds: Holds,
    script: Arc<Script>,
    workers: Workers,
    changes: tokio::sync::broadcast::Receiver<Arc<TaskRecord>>,
}

impl Bench {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(folder: tempfile::TempDir) -> Self {
        let journal = Journal::open(folder.path()).unwrap();
        let workers = Workers::new();
        let listeners = Arc::new(Listeners {
            organization: "Org1MSP".parse().unwrap(),
            reporter: Arc::new(()),
            hook: Arc::new(()),
            journal: journal.clone(),
            stop: workers.token(),
        });
        let holds = Holds::load(folder.path().join("holds.json"));
        let changes = journal.subscribe();
        Self { folder, journal, tasks: Tasks::new(listeners), holds, script: Arc::default(), workers, changes }
    }

    fn start(&self, side_by_side: usize) {
        let scheduler = Scheduler {
            tasks: self.tasks.clone(),
            runner: Arc::clone(&self.script) as Arc<dyn Runner>,
            holds: self.holds.clone(),
            side_by_side,
            grace: Duration::from_secs(30),
        };
        self.workers.spawn_to_end("scheduler", async move {
            scheduler.run().await;
            Ok::<(), std::convert::Infallible>(())
        });
    }

    fn script(&self, proposal: &str, acts: impl IntoIterator<Item = Act>) {
        self.script.acts.lock().unwrap().insert(proposal.to_owned(), acts.into_iter().collect());
    }

    async fn hand_in(&self, record: TaskRecord) {
        self.tasks.hand_in(vec![record], None).await.unwrap();
    }

    /// Waits until the task is written with this state.
    async fn until(&mut self, proposal: &str, state: TaskState) -> Arc<TaskRecord> {
        loop {
            if let Some(record) = self.journal.task(Task::PrepareToDeploy, proposal)
                && record.state == state
            {
                return record;
            }
            // Paused time moves on only when nothing else does, so a longer wait than any in here means that it hangs.
            let changed = tokio::time::timeout(Duration::from_hours(24), self.changes.recv()).await;
            assert!(changed.is_ok(), "{proposal} never becomes {state}: {:?}", self.journal.tasks());
        }
    }

    fn order(&self) -> Vec<String> {
        self.script.order.lock().unwrap().clone()
    }

    async fn stop(self) -> tempfile::TempDir {
        self.workers.cancel();
        self.workers.finished().await.unwrap();
        self.folder
    }
}

fn record(proposal: &str, chaincode: &str) -> TaskRecord {
    let mut record = TaskRecord::queued(Task::PrepareToDeploy, proposal, now_ms());
    record.channel = Some("mychannel".to_owned());
    record.chaincode = Some(chaincode.to_owned());
    record
}

fn with_event(mut record: TaskRecord, tx_id: &str) -> TaskRecord {
    record.event = Some(EventPosition { block: 7, tx_id: tx_id.to_owned() });
    record
}

#[tokio::test(start_paused = true)]
async fn side_by_side_up_to_a_limit_and_in_order_for_one_chaincode() {
    let mut bench = Bench::new();
    let gate = Arc::new(Notify::new());
    bench.script("a1", [Act::Wait(Arc::clone(&gate))]);
    bench.script("b1", [Act::Wait(Arc::clone(&gate))]);
    bench.start(2);
    for (proposal, chaincode) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")] {
        bench.hand_in(record(proposal, chaincode)).await;
    }
    bench.until("b1", TaskState::Running).await;
    assert_eq!(bench.order(), ["a1", "b1"], "no place for c1, and a2 comes after a1");
    gate.notify_one();
    gate.notify_one();
    for proposal in ["a1", "a2", "b1", "c1"] {
        bench.until(proposal, TaskState::Done).await;
    }
    let order = bench.order();
    let place = |proposal: &str| order.iter().position(|ran| ran == proposal).unwrap();
    assert!(place("a1") < place("a2"), "{order:?}");
    assert_eq!(bench.script.most.load(Ordering::SeqCst), 2);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_task_twice_runs_once() {
    let mut bench = Bench::new();
    let gate = Arc::new(Notify::new());
    bench.script("p", [Act::Wait(Arc::clone(&gate))]);
    bench.start(4);
    bench.hand_in(with_event(record("p", "a"), "tx")).await;
    bench.until("p", TaskState::Running).await;
    bench.hand_in(with_event(record("p", "a"), "tx")).await;
    bench.hand_in(record("p", "a")).await;
    gate.notify_one();
    bench.until("p", TaskState::Done).await;
    // The event comes again after everything, as when the checkpoint was lost.
    bench.hand_in(with_event(record("p", "a"), "tx")).await;
    bench.hand_in(record("last", "a")).await;
    bench.until("last", TaskState::Done).await;
    assert_eq!(bench.order(), ["p", "last"]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for_and_a_refusal_is_tried_again_when_asked_for() {
    let mut bench = Bench::new();
    bench.script("p", [Act::Fails, Act::Fails, Act::Refused]);
    bench.start(4);
    bench.hand_in(record("p", "a")).await;
    let failed = bench.until("p", TaskState::Failed).await;
    assert_eq!(failed.outcome.as_deref(), Some("no"));
    assert!(failed.next_try_ms.is_some_and(|next| next > failed.updated_ms));
    bench.hand_in(record("p", "a")).await;
    let done = bench.until("p", TaskState::Done).await;
    assert_eq!((done.attempts, done.created_ms), (2, failed.created_ms));
    bench.stop().await;
}

/// A proposal that its peer does not know kept all others of the chaincode from being looked at.
/// Orderers that were away for a minute, and peers for 90 seconds, made others tell a failure for good.
#[tokio::test(start_paused = true)]
async fn an_outage_however_long_fails_nothing() {
    for outage in [Duration::from_mins(1), Duration::from_secs(90), Duration::from_hours(10)] {
        let mut bench = Bench::new();
        let until = Instant::now() + outage;
        bench.script("a", [Act::Away(until)]);
        bench.start(8);
        bench.hand_in(record("a", "cc")).await;
        let mut all = bench.journal.subscribe();
        bench.until("a", TaskState::Done).await;
        assert!(Instant::now() >= until);
        // A time of the paused clock: the longest pause between two tries.
        assert!(until.elapsed() < Duration::from_secs(40), "{outage:?}: {:?} too late", until.elapsed());
        let mut told = std::iter::from_fn(|| all.try_recv().ok());
        assert!(told.all(|record| record.state != TaskState::Failed), "{outage:?}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_waits_lets_the_next_of_its_chaincode_pass() {
    let mut bench = Bench::new();
    bench.script("ghost", vec![Act::Fails; 1000]);
    bench.start(4);
    bench.hand_in(record("ghost", "a")).await;
    bench.hand_in(record("next", "a")).await;
    let begun = Instant::now();
    bench.until("next", TaskState::Done).await;
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    bench.stop().await;
}

/// A step that hangs is given up; meanwhile it holds up its own chaincode, and afterwards nobody.
#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_given_up_and_holds_nobody_up() {
    let mut bench = Bench::new();
    bench.script("stuck", vec![Act::Hangs; 50]);
    bench.start(4);
    bench.hand_in(record("stuck", "a")).await;
    bench.hand_in(record("other", "b")).await;
    bench.hand_in(record("next", "a")).await;
    let begun = Instant::now();
    bench.until("other", TaskState::Done).await;
    assert!(begun.elapsed() < LIMIT, "another chaincode does not wait");
    bench.until("next", TaskState::Done).await;
    assert!(begun.elapsed() >= LIMIT);
    let stuck = bench.journal.task(Task::PrepareToDeploy, "stuck").unwrap();
    assert!(stuck.steps[0].detail.contains("time limit"), "{stuck:?}");
    bench.script("stuck", []);
    assert!(bench.until("stuck", TaskState::Done).await.attempts > 1);
    bench.stop().await;
}

/// All places were taken by tasks that waited for nodes which were down, and the rest waited for them.
#[tokio::test(start_paused = true)]
async fn tasks_that_only_wait_make_room() {
    let mut bench = Bench::new();
    for number in 0..4 {
        bench.script(&format!("down{number}"), vec![Act::Fails; 1000]);
    }
    bench.start(2);
    for number in 0..4 {
        bench.hand_in(record(&format!("down{number}"), &format!("c{number}"))).await;
    }
    bench.hand_in(record("fine", "fine")).await;
    let begun = Instant::now();
    bench.until("fine", TaskState::Done).await;
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_takes_nobody_along() {
    let mut bench = Bench::new();
    bench.script("odd", [Act::Panics]);
    bench.start(1);
    bench.hand_in(record("odd", "a")).await;
    bench.hand_in(record("fine", "b")).await;
    bench.until("fine", TaskState::Done).await;
    bench.until("odd", TaskState::Done).await;
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_waits_and_the_rest_does_not() {
    let mut bench = Bench::new();
    let scope = Scope { channel: "mychannel".parse().ok(), chaincode: "a".parse().ok() };
    bench.holds.pause(scope.clone(), "audit").await.unwrap();
    bench.start(4);
    bench.hand_in(record("held", "a")).await;
    bench.hand_in(record("free", "b")).await;
    bench.until("free", TaskState::Done).await;
    let held = bench.until("held", TaskState::Held).await;
    assert!(held.outcome.as_deref().is_some_and(|reason| reason.contains("audit")), "{held:?}");
    bench.holds.resume(scope).await.unwrap();
    bench.until("held", TaskState::Done).await;
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_left_over_is_taken_up_after_a_restart() {
    let bench = Bench::new();
    // Handed in, and never run: the process ends before.
    bench.hand_in(with_event(record("p", "a"), "tx")).await;
    let folder = bench.stop().await;
    let mut again = Bench::on(folder);
    again.start(4);
    again.until("p", TaskState::Done).await;
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_at_once() {
    let mut bench = Bench::new();
    bench.start(16);
    let records = (0..200).map(|number| record(&format!("p{number}"), &format!("c{}", number % 50)));
    bench.tasks.hand_in(records.collect(), None).await.unwrap();
    for number in 0..200 {
        bench.until(&format!("p{number}"), TaskState::Done).await;
    }
    assert_eq!(bench.order().len(), 200);
    assert_eq!(bench.script.most.load(Ordering::SeqCst), 16);
    assert_eq!(*bench.tasks.backlog().borrow(), 0);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_under_way_is_finished_when_told_to_stop() {
    let mut bench = Bench::new();
    let gate = Arc::new(Notify::new());
    bench.script("p", [Act::Wait(Arc::clone(&gate))]);
    bench.script("q", [Act::Hangs]);
    bench.start(4);
    bench.hand_in(record("p", "a")).await;
    bench.hand_in(record("q", "b")).await;
    bench.until("p", TaskState::Running).await;
    bench.until("q", TaskState::Running).await;
    let (journal, workers) = (bench.journal.clone(), bench.workers.clone());
    workers.cancel();
    gate.notify_one();
    let begun = Instant::now();
    workers.finished().await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(31), "the other one is abandoned in time");
    let left = journal.task(Task::PrepareToDeploy, "p").unwrap();
    assert_eq!(left.state, TaskState::Done, "{left:?}");
    assert!(journal.task(Task::PrepareToDeploy, "q").unwrap().state.is_open());
}

#[tokio::test]
async fn an_id_without_bounds_is_not_kept() {
    let bench = Bench::new();
    bench.hand_in(record(&"x".repeat(LONGEST_ID + 1), "a")).await;
    assert_eq!(bench.journal.tasks(), []);
}

#[test]
fn who_has_to_see_to_the_whole_may_turn_out_later() {
    let member = TaskRecord::queued(Task::UpdateChannel, "p", 1);
    let executor = || TaskRecord { executor: true, ..TaskRecord::queued(Task::UpdateChannel, "p", 2) };
    let open = merged(Some(member.clone()), executor()).unwrap();
    assert!(open.executor && open.created_ms == 1);
    assert_eq!(merged(Some(open), executor()), None);
    let done = TaskRecord { state: TaskState::Done, ..member };
    let again = merged(Some(done), executor()).unwrap();
    assert!(again.executor && again.state == TaskState::Queued);
}
