//! What bootstrap does, as tasks in the journal.
//!
//! A module of its own because these tasks are not made by what is in the journal: bootstrap finds by looking what there
//! is to do, and the journal says what became of it. A task comes into being with its first step, and is the same one for
//! as long as it fails. What an earlier run has left over, or others have done meanwhile, ends by what is seen.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::missing::{Observed, Step as Missing};
use crate::agent::account::{Account, Listeners};
use crate::agent::holds::Holds;
use crate::agent::journal::{StepResult, TaskRecord, TaskState};
use crate::agent::progress::{Happening, Step, Task, Verdict};
use crate::fabric::names::{ChaincodeName, ChannelName, PackageId};

/// What is said where the agent is told to stop in the middle of something.
const STOPPING: &str = "the agent is stopping";
/// What a step came to that was done although nobody could write it down.
const FOUND: &str = "found to be done";

/// What a task of bootstrap is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    task: Task,
    name: String,
    channel: Option<String>,
    chaincode: Option<String>,
    sequence: Option<i64>,
}

impl About {
    pub(super) fn join(channel: &ChannelName) -> Self {
        let name = channel.to_string();
        Self { task: Task::JoinChannel, channel: Some(name.clone()), name, chaincode: None, sequence: None }
    }

    pub(super) fn deploy(channel: &ChannelName, contract: &ChaincodeName, sequence: i64) -> Self {
        Self {
            task: Task::DeployContract,
            name: format!("{contract}_{sequence}"),
            channel: Some(channel.to_string()),
            chaincode: Some(contract.to_string()),
            sequence: Some(sequence),
        }
    }

    pub(super) fn install(package: &PackageId) -> Self {
        let name = package.to_string();
        Self { task: Task::InstallPackage, name, channel: None, chaincode: None, sequence: None }
    }

    /// The task of which this is a part; catching up has its own.
    fn of(missing: &Missing, ops: &ChannelName) -> Option<Self> {
        match missing {
            Missing::Join { channel, .. } => Some(Self::join(channel)),
            Missing::Deploy { definition } => Some(Self::deploy(ops, &definition.name, definition.sequence)),
            Missing::Install { package, .. } => Some(Self::install(package)),
            Missing::CatchUp { .. } => None,
        }
    }

    fn record(self, now_ms: u64) -> TaskRecord {
        let Self { task, name, channel, chaincode, sequence } = self;
        TaskRecord { channel, chaincode, sequence, ..TaskRecord::queued(task, name, now_ms) }
    }
}

/// Where bootstrap's tasks are kept.
pub(super) struct Works {
    pub(super) listeners: Arc<Listeners>,
    pub(super) holds: Holds,
}

impl Works {
    /// A task that begins or goes on. Nothing is written before its first step.
    ///
    /// # Errors
    /// Why an operator holds it.
    pub(super) async fn begin(&self, about: About, again_in: Duration) -> Result<Work, String> {
        let known = self.listeners.journal.task(about.task, &about.name).filter(|known| known.state.is_open());
        let is_left_over = known.as_ref().is_some_and(|known| known.state == TaskState::Running);
        let held = self.holds.held().reason(about.channel.as_deref(), about.chaincode.as_deref());
        let record = known.map_or_else(|| about.record(self.listeners.now_ms()), |known| (*known).clone());
        let what = format!("{} {}", record.task.as_str(), record.shown());
        let account = Account::new(Arc::clone(&self.listeners), record);
        if let Some(reason) = held {
            // Whoever is told to stop need not know.
            let _ = account.rest(TaskState::Held, &reason, None).await;
            return Err(format!("{what} is held: {reason}"));
        }
        account.go_on();
        if is_left_over {
            account.report(None, Happening::Resumed);
        }
        Ok(Work { account, again_in, begun: Instant::now() })
    }

    /// Ends what is under way by the journal and not missing any more by what was seen. What cannot be seen just now
    /// waits.
    pub(super) async fn settle(&self, observed: &Observed, missing: &[Missing]) {
        let Some(ops) = observed.channels.first() else { return };
        let due: Vec<About> = missing.iter().filter_map(|step| About::of(step, ops)).collect();
        let open = self.listeners.journal.tasks().into_iter();
        for record in open.filter(|record| record.state.is_open() && record.task.is_of_bootstrap()) {
            if due.iter().any(|about| about.task == record.task && about.name == record.proposal) {
                continue;
            }
            let hidden = hidden(observed, &record);
            let is_there = is_there(observed, &record);
            let account = Account::new(Arc::clone(&self.listeners), (*record).clone());
            // Whoever is told to stop finds it again after the next start.
            let _ = if let Some(reason) = hidden {
                account.settle_steps(None);
                account.rest(TaskState::Waiting, &reason, None).await
            } else {
                account.settle_steps(is_there.then_some(FOUND));
                let (verdict, outcome) =
                    if is_there { (Verdict::Done, FOUND) } else { (Verdict::Skipped, "not asked for any more") };
                let outcome = outcome.to_owned();
                account.report(None, Happening::Ended { verdict, outcome, elapsed: Duration::ZERO });
                account.save().await
            };
        }
    }
}

/// Why it cannot be seen now whether something of this task is missing yet.
fn hidden(observed: &Observed, record: &TaskRecord) -> Option<String> {
    let of_peer = |name: &str| observed.peers.iter().find(|peer| peer.name == name)?.told.as_ref().err();
    let unfinished = record.steps.iter().filter(|entry| entry.result != StepResult::Done);
    for peer in unfinished.filter_map(|entry| entry.peer.as_deref()) {
        if let Some(error) = of_peer(peer) {
            return Some(format!("{peer} does not tell what it has: {error}"));
        }
    }
    let ops = observed.channels.first().filter(|ops| record.channel.as_deref() == Some(ops.as_str()));
    if record.task == Task::JoinChannel && ops.is_some() {
        return None;
    }
    if ops.is_none() && !observed.listed {
        return Some("it is not known which channels there are".to_owned());
    }
    // A package may serve any of them.
    let asked: &[ChannelName] = match record.task {
        Task::JoinChannel => &[],
        Task::DeployContract => ops.map_or(&[], std::slice::from_ref),
        _ => &observed.channels,
    };
    let is_unknown = |channel: &&ChannelName| !matches!(observed.definitions.get(*channel), Some(Ok(_)));
    asked.iter().find(is_unknown).map(|channel| format!("the chaincodes of {channel} are not known"))
}

/// Whether what the task was about is so by now, and not merely asked for no longer.
fn is_there(observed: &Observed, record: &TaskRecord) -> bool {
    let mut definitions = observed.definitions.values().filter_map(|found| found.as_ref().ok()).flatten();
    match record.task {
        Task::JoinChannel => observed.channels.iter().any(|channel| channel.as_str() == record.proposal),
        Task::DeployContract => definitions.any(|seen| {
            seen.approved
                && record.chaincode.as_deref() == Some(seen.definition.name.as_str())
                && record.sequence == Some(seen.definition.sequence)
        }),
        _ => definitions.any(|seen| seen.package.as_ref().is_some_and(|package| package.as_str() == record.proposal)),
    }
}

/// A task of bootstrap that is under way.
pub(super) struct Work {
    account: Account,
    again_in: Duration,
    begun: Instant,
}

impl Work {
    /// Takes a step, which the journal has before and after. `taking` gives what comes of it, and the same in a few words.
    ///
    /// # Errors
    /// Why it failed.
    pub(super) async fn step<T>(
        &self,
        step: Step,
        peer: Option<&str>,
        taking: impl Future<Output = Result<(T, String), String>>,
    ) -> Result<T, String> {
        self.account.begin_on(step, peer).await.map_err(|_| STOPPING)?;
        let begun = Instant::now();
        match taking.await {
            Ok((value, detail)) => {
                self.account.done_on(step, peer, begun.elapsed(), detail).await.map_err(|_| STOPPING)?;
                Ok(value)
            }
            Err(error) => {
                let (again_in, told) = (self.again_in, error.clone());
                self.account.report(peer, Happening::Waiting { step, again_in, error: told });
                self.account.save().await.map_err(|_| STOPPING)?;
                Err(error)
            }
        }
    }

    /// Notes that nothing is left to do, in a few words.
    pub(super) async fn done(&self, outcome: String) {
        let verdict = Verdict::Done;
        self.account.report(None, Happening::Ended { verdict, outcome, elapsed: self.begun.elapsed() });
        // Whoever is told to stop finds it again after the next start, here and below.
        let _ = self.account.save().await;
    }

    /// Notes how it ended: with nothing left to do, or with what failed and is tried again.
    pub(super) async fn end(&self, failed: &[String]) {
        if failed.is_empty() {
            self.done("done".to_owned()).await;
        } else {
            let _ = self.account.rest(TaskState::Waiting, &failed.join("; "), Some(self.again_in)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::agent::account;
    use crate::agent::bootstrap::missing::{DefinitionSeen, PeerSeen};
    use crate::agent::holds::Scope;
    use crate::agent::journal::{Change, Journal};
    use crate::fabric::lifecycle::ChaincodeDefinition;

    const SOON: Duration = Duration::from_secs(7);

    fn channel(name: &str) -> ChannelName {
        name.parse().unwrap()
    }

    fn works(journal: &Journal) -> Works {
        let holds = Holds::load(journal.path().with_file_name("holds.json"));
        Works { listeners: account::tests::listeners(journal), holds }
    }

    fn seen(peers: &[(&str, Result<(), &str>)]) -> Observed {
        let ops = vec![DefinitionSeen {
            definition: ChaincodeDefinition::new("channel-ops".parse().unwrap(), "1", 2),
            approved: true,
            package: None,
        }];
        let told = |told: Result<(), &str>| told.map(|()| (Vec::new(), Vec::new())).map_err(str::to_owned);
        Observed {
            peers: peers.iter().map(|(name, it)| PeerSeen { name: (*name).to_owned(), told: told(*it) }).collect(),
            channels: vec![channel("ops"), channel("trade")],
            listed: true,
            definitions: BTreeMap::from([(channel("ops"), Ok(ops)), (channel("trade"), Ok(Vec::new()))]),
            ..Observed::default()
        }
    }

    #[tokio::test]
    async fn what_keeps_failing_is_one_task() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let works = works(&journal);
        for attempt in 1..=3 {
            let work = works.begin(About::join(&channel("trade")), SOON).await.unwrap();
            assert_eq!(journal.tasks().len(), usize::from(attempt > 1), "nothing is written before the first step");
            let failing = async { Err::<((), String), _>("it is full".to_owned()) };
            let failed = work.step(Step::Join, Some("p"), failing).await.unwrap_err();
            work.end(&[failed]).await;
            let task = journal.task(Task::JoinChannel, "trade").unwrap();
            assert_eq!((task.state, task.attempts), (TaskState::Waiting, attempt));
            assert_eq!((task.outcome.as_deref(), task.channel.as_deref()), (Some("it is full"), Some("trade")));
            assert_eq!(task.next_try_ms.unwrap() - task.updated_ms, 7000, "{task:?}");
            assert_eq!((task.steps.len(), task.steps[0].attempts), (1, attempt));
        }
        let work = works.begin(About::join(&channel("trade")), SOON).await.unwrap();
        work.step(Step::Join, Some("p"), async { Ok(((), String::new())) }).await.unwrap();
        work.end(&[]).await;
        let task = journal.task(Task::JoinChannel, "trade").unwrap();
        assert_eq!((task.state, task.attempts, task.next_try_ms), (TaskState::Done, 4, None));
        // The same anew, such as for a peer that was made anew, is another one.
        let work = works.begin(About::join(&channel("trade")), SOON).await.unwrap();
        work.step(Step::Join, Some("p"), async { Ok(((), String::new())) }).await.unwrap();
        assert_eq!(journal.task(Task::JoinChannel, "trade").unwrap().attempts, 1);
    }

    #[tokio::test]
    async fn what_is_held_is_seen_and_goes_on_later() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let works = works(&journal);
        works.holds.pause(Scope { channel: Some(channel("trade")), chaincode: None }, "audit").await.unwrap();
        for _ in 0..2 {
            let Err(held) = works.begin(About::join(&channel("trade")), SOON).await else { panic!("it is held") };
            assert!(held.contains("joinChannel trade is held") && held.contains("audit"), "{held}");
        }
        let task = journal.task(Task::JoinChannel, "trade").unwrap();
        assert_eq!((task.state, task.attempts), (TaskState::Held, 0));
        assert!(works.begin(About::join(&channel("ops")), SOON).await.is_ok());
        works.holds.resume_all().await.unwrap();
        assert!(works.begin(About::join(&channel("trade")), SOON).await.is_ok());
    }

    /// As an earlier run has left it when it was killed in the middle of it.
    fn left_over(about: About, step: Step, peer: Option<&str>) -> Change {
        let mut record = about.record(1);
        (record.state, record.attempts, record.step) = (TaskState::Running, 1, Some(step));
        record.step_entry(step, peer, 1);
        Change::Task(Arc::new(record))
    }

    #[tokio::test]
    async fn what_was_left_over_ends_by_what_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let works = works(&journal);
        let (trade, gone) = (channel("trade"), channel("gone"));
        let package = PackageId::parse(format!("lost:{}", "0".repeat(64))).unwrap();
        let contract = "channel-ops".parse().unwrap();
        let left = vec![
            left_over(About::join(&trade), Step::Join, Some("p")),
            left_over(About::join(&gone), Step::Join, Some("q")),
            left_over(About::deploy(&channel("ops"), &contract, 1), Step::Approve, None),
            left_over(About::deploy(&channel("ops"), &contract, 2), Step::Approve, None),
            left_over(About::install(&package), Step::Install, Some("q")),
        ];
        journal.write(left).await.unwrap();
        let states = || {
            let tasks = journal.tasks();
            let all = tasks.iter().map(|task| (task.proposal.clone(), (task.state, task.steps[0].result)));
            let mut all: Vec<_> =
                all.map(|(name, state)| (name.split(':').next().unwrap().to_owned(), state)).collect();
            all.sort_by(|one, other| one.0.cmp(&other.0));
            all
        };
        let waits = (TaskState::Waiting, StepResult::Waiting);
        let done = (TaskState::Done, StepResult::Done);
        let skipped = (TaskState::Skipped, StepResult::Waiting);
        // Nothing can be seen as long as nobody tells which channels there are.
        let blind = Observed { listed: false, definitions: BTreeMap::new(), ..seen(&[("p", Ok(())), ("q", Ok(()))]) };
        works.settle(&blind, &[]).await;
        let all = ["channel-ops_1", "channel-ops_2", "gone", "lost", "trade"];
        let of = |contract: [(TaskState, StepResult); 2], rest: [(TaskState, StepResult); 3]| {
            let states = contract.into_iter().chain(rest);
            all.into_iter().map(str::to_owned).zip(states).collect::<Vec<_>>()
        };
        assert_eq!(states(), of([waits; 2], [waits; 3]));
        // What is missing still is left to whoever does it.
        let missing = Missing::Join { peer: "p".to_owned(), channel: trade.clone() };
        works.settle(&seen(&[("p", Ok(())), ("q", Err("it is down"))]), std::slice::from_ref(&missing)).await;
        assert_eq!(states(), of([skipped, done], [waits; 3]));
        let told = journal.task(Task::JoinChannel, "gone").unwrap().outcome.clone();
        assert_eq!(told.as_deref(), Some("q does not tell what it has: it is down"));
        works.settle(&seen(&[("p", Ok(())), ("q", Ok(()))]), &[]).await;
        assert_eq!(states(), of([skipped, done], [skipped, skipped, done]));
    }
}
