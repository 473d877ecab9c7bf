//! Carrying out the two tasks of a chaincode proposal on the organization's own peers.
//!
//! The loop around [`State`]: it does what the state asks for, feeds the result in, and waits where something is only
//! down or busy. What is done already (installed, approved, committed, told) counts as done, so that a task may be run
//! again at any point.

mod prepare;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use crate::client::lifecycle::{Commitment, LifecycleError};
use crate::client::{Channel, Client, SubmitError};
use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::MspId;
use crate::fabric::package::Package;
use crate::fabric::policy::DefinitionEncoding;
use crate::opssc::calls::ChaincodeOps;
use crate::opssc::chaincode_ops::{HistoryQuery, Task as OpsTask, TaskStatus, TaskStatusUpdate};
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::comparison;
use super::config::{ChaincodeServers, Sources};
use super::daemon::Bells;
use super::plan::Plan;
use super::progress::{Happening, Progress, Reporter, Step, Verdict};
use super::sources::{Built, Fetched, Workshop};
use super::standing::{self, Standing};
use super::task::{Ending, Input, Kind, Report, State};
use super::text;
use super::trouble::{Doubts, LOOKS, Trouble};

/// The agent was told to stop before the task ended. It is taken up again after the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abandoned;

/// What carries out tasks in the name of one organization.
pub(super) struct Operations {
    pub(super) client: Client,
    pub(super) ledger: ChaincodeOps,
    pub(super) servers: ChaincodeServers,
    pub(super) sources: Sources,
    pub(super) workshop: Arc<Workshop>,
    pub(super) encoding: DefinitionEncoding,
    pub(super) reporter: Arc<dyn Reporter>,
    pub(super) bells: Arc<Bells>,
    pub(super) stop: CancellationToken,
}

impl Operations {
    /// Runs one task to its end.
    ///
    /// # Cancel safety
    /// Dropping it ends the wait; a step under way may still take effect, and counts as done when the task runs again.
    pub(super) async fn run(&self, kind: Kind, proposal_id: &str, first: Happening) -> Result<Ending, Abandoned> {
        let shown = text::bounded(proposal_id, 80);
        let span = tracing::info_span!("task", task = kind.as_str(), proposal = %shown);
        let task = Task {
            operations: self,
            kind,
            id: proposal_id,
            shown,
            found: None,
            fetched: None,
            built: None,
            package: None,
            installed: BTreeSet::new(),
            readiness_looks: 0,
            waiting_since: None,
            compared: false,
        };
        task.run(first).instrument(span).await
    }
}

/// What the proposal asks for, as the ledger has it now.
struct Found {
    plan: Plan,
    /// The same in the bytes of the other encoding, where that makes a difference.
    otherwise: Option<ChaincodeDefinition>,
    channel: Channel,
}

struct Task<'a> {
    operations: &'a Operations,
    kind: Kind,
    id: &'a str,
    shown: String,
    found: Option<Found>,
    fetched: Option<Arc<Fetched>>,
    built: Option<Arc<Built>>,
    package: Option<Package>,
    installed: BTreeSet<String>,
    readiness_looks: usize,
    /// Since when something is waited for that others have to provide.
    waiting_since: Option<Instant>,
    /// Whether the packages of all organizations were compared.
    compared: bool,
}

impl Task<'_> {
    async fn run(mut self, first: Happening) -> Result<Ending, Abandoned> {
        let begun = Instant::now();
        self.report(None, first);
        let mut state = State::first(self.kind);
        let schedule = || Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
        let (mut waits, mut doubts) = (schedule(), Doubts::default());
        let ending = loop {
            if let State::Ended(ending) = state {
                break ending;
            }
            if self.operations.stop.is_cancelled() {
                return Err(Abandoned);
            }
            let step = self.step_of(&state);
            match self.work(&state).await {
                Ok(input) => {
                    state = state.next(input);
                    (waits, doubts) = (schedule(), Doubts::default());
                }
                Err(trouble) => {
                    // Only the contract can refuse a report, and that is never final: giving up would tell nobody.
                    if doubts.settles(&trouble) && !matches!(state, State::Reporting(_)) {
                        let error = trouble.reason().to_owned();
                        self.report(None, Happening::Refused { step, error: error.clone() });
                        state = state.next(Input::Refused(error));
                        (waits, doubts) = (schedule(), Doubts::default());
                    } else {
                        let again_in = waits.next().unwrap_or(Duration::from_secs(30));
                        let error = trouble.reason().to_owned();
                        self.report(None, Happening::Waiting { step, again_in, error });
                        if self.operations.stop.run_until_cancelled(tokio::time::sleep(again_in)).await.is_none() {
                            return Err(Abandoned);
                        }
                    }
                }
            }
        };
        let outcome = match &ending {
            Ending::Reported(Report::Prepared(package)) => format!("prepared, package {package}"),
            Ending::Reported(Report::Committed) => "committed".to_owned(),
            Ending::Reported(Report::Failed(reason)) => format!("failed: {reason}"),
            Ending::Skipped(reason) => format!("nothing to do: {reason}"),
        };
        let verdict = match &ending {
            Ending::Reported(report) if report.is_success() => Verdict::Done,
            Ending::Reported(_) => Verdict::Failed,
            Ending::Skipped(_) => Verdict::Skipped,
        };
        self.report(None, Happening::Ended { verdict, outcome, elapsed: begun.elapsed() });
        Ok(ending)
    }

    fn step_of(&self, state: &State) -> Step {
        match state {
            State::Validating => Step::Validate,
            State::Fetching(_) => Step::Fetch,
            State::Building => Step::Build,
            State::Packaging => Step::Package,
            State::Installing(_) => Step::Install,
            State::Approving(_) => Step::Approve,
            State::CheckingReadiness => Step::CheckReadiness,
            State::Committing => Step::Commit,
            State::Reporting(_) | State::Ended(_) => match self.kind {
                Kind::PrepareToDeploy | Kind::CatchUp => Step::Acknowledge,
                Kind::Deploy => Step::Notify,
            },
        }
    }

    async fn work(&mut self, state: &State) -> Result<Input, Trouble> {
        if self.kind == Kind::CatchUp && matches!(state, State::Reporting(_)) {
            return Ok(Input::Reported);
        }
        let begun = Instant::now();
        let step = self.step_of(state);
        if step != Step::Install {
            self.report(None, Happening::Started(step));
        }
        let (input, detail) = match state {
            State::Validating => self.validate().await?,
            State::Fetching(_) => self.fetch().await?,
            State::Building => self.build().await?,
            State::Packaging => self.package().await?,
            State::Installing(package) => return self.install(package).await,
            State::Approving(package) => self.approve(package).await?,
            State::CheckingReadiness => self.check_readiness().await?,
            State::Committing => self.commit().await?,
            State::Reporting(report) => self.tell(report).await?,
            State::Ended(_) => return Ok(Input::Reported),
        };
        self.report(None, Happening::Finished { step, elapsed: begun.elapsed(), detail });
        Ok(input)
    }

    /// Reads the proposal again and, when the task is due, works out what it asks for.
    async fn look(&mut self) -> Result<Option<Input>, Trouble> {
        let ledger = &self.operations.ledger;
        // Whoever sends the event has the proposal: a peer that does not know it is behind.
        let proposal = ledger.get_proposal(self.id).await.map_err(|error| Trouble::passing(text::chain(&error)))?;
        match standing::of_status(self.kind, &proposal.status) {
            Standing::Due => {}
            Standing::Early(reason) => return Err(Trouble::passing(reason)),
            Standing::Over(reason) => return Ok(Some(Input::Obsolete(reason))),
        }
        if self.told().await?.is_some_and(|(status, _)| status == TaskStatus::Success) {
            return Ok(Some(Input::Obsolete("this organization has already reported success".to_owned())));
        }
        let plan = Plan::of(&proposal, self.operations.encoding).map_err(Trouble::definite)?;
        let otherwise = Plan::of(&proposal, self.operations.encoding.other()).ok().map(|plan| plan.definition);
        let otherwise = otherwise.filter(|otherwise| !otherwise.is_same(&plan.definition));
        let channel = self.operations.client.channel(plan.channel.clone());
        self.found = Some(Found { plan, otherwise, channel });
        Ok(None)
    }

    /// What the own organization has told about this task so far.
    async fn told(&self) -> Result<Option<(TaskStatus, String)>, Trouble> {
        let own = self.operations.client.msp_id();
        let task = match self.kind {
            Kind::PrepareToDeploy => OpsTask::Acknowledge,
            Kind::Deploy => OpsTask::Commit,
            Kind::CatchUp => return Ok(None),
        };
        let query = HistoryQuery { proposal_id: self.id.to_owned(), task: Some(task), org_id: own.to_string() };
        let histories = self
            .operations
            .ledger
            .get_histories(&query)
            .await
            .map_err(|error| Trouble::passing(text::chain(&error)))?;
        let told = standing::told(self.kind, own, histories.values());
        Ok(told.map(|history| (history.status.clone(), history.data.clone())))
    }

    fn found(&self) -> Result<&Found, Trouble> {
        // Every task begins by finding its proposal.
        self.found.as_ref().ok_or_else(|| Trouble::passing("the proposal has not been read yet"))
    }

    async fn check_readiness(&mut self) -> Result<(Input, String), Trouble> {
        if let Some(input) = self.look().await? {
            return Ok((input, String::new()));
        }
        if self.is_committed().await? {
            return Ok((Input::Committed, "it is committed already".to_owned()));
        }
        let Found { plan, channel, otherwise } = self.found()?;
        let (channel, otherwise) = (channel.clone(), otherwise.clone());
        let agreement =
            channel.lifecycle().agreement(&plan.definition).await.map_err(|error| lifecycle_trouble(&error))?;
        let named = |organizations: &mut dyn Iterator<Item = &MspId>| {
            organizations.map(MspId::as_str).collect::<Vec<_>>().join(", ")
        };
        let (ready, missing) = (agreement.agreed().count(), agreement.missing().count());
        self.readiness_looks += 1;
        if missing == 0 || (ready > missing && self.readiness_looks >= LOOKS) {
            let agreed = named(&mut agreement.agreed());
            self.compare_packages().await?;
            return Ok((Input::Ready, format!("approved by {agreed}")));
        }
        let missing = named(&mut agreement.missing());
        let mut reason = format!("the definition is not approved as proposed by {missing}{}", agreement.in_words());
        // Whoever approved the same in other bytes can be told from whoever approved something else.
        if let Some(otherwise) = otherwise
            && let Ok(readiness) = channel.lifecycle().readiness(&otherwise).await
            && readiness.values().any(|approved| *approved)
        {
            let encoding = self.operations.encoding.other().as_str();
            let others = named(&mut readiness.iter().filter(|(_, approved)| **approved).map(|(msp_id, _)| msp_id));
            reason = format!("{reason}; {others} approved it as with DEFINITION_ENCODING={encoding}");
        }
        Err(Trouble::doubtful(reason))
    }

    /// Warns where organizations acknowledged different packages of the same sources. It stops nothing.
    async fn compare_packages(&mut self) -> Result<(), Trouble> {
        if self.compared || !comparison::is_reproducible(&self.found()?.plan.package.package_type) {
            return Ok(());
        }
        let query = HistoryQuery {
            proposal_id: self.id.to_owned(),
            task: Some(OpsTask::Acknowledge),
            ..HistoryQuery::default()
        };
        let histories = self.operations.ledger.get_histories(&query).await;
        let histories = histories.map_err(|error| Trouble::passing(text::chain(&error)))?;
        self.compared = true;
        if let Some(packages) = comparison::difference(self.id, &histories.into_values().collect::<Vec<_>>()) {
            self.report(None, Happening::PackagesDiffer { packages });
        }
        Ok(())
    }

    /// Whether the proposed sequence is committed; another content under it cannot be made good.
    async fn is_committed(&self) -> Result<bool, Trouble> {
        let Found { plan, channel, .. } = self.found()?;
        let committed =
            channel.lifecycle().committed(plan.chaincode()).await.map_err(|error| lifecycle_trouble(&error))?;
        let Some(committed) = committed else { return Ok(false) };
        let (sequence, differences) = (plan.sequence(), plan.definition.differences(&committed.definition));
        if committed.definition.sequence == sequence && !differences.is_empty() {
            let chaincode = plan.chaincode().clone();
            return Err(lifecycle_trouble(&LifecycleError::Differs { chaincode, sequence, differences }));
        }
        Ok(committed.definition.sequence >= sequence)
    }

    async fn commit(&self) -> Result<(Input, String), Trouble> {
        // An attempt whose outcome was unknown may have succeeded, or another organization may have been faster.
        if self.is_committed().await? {
            return Ok((Input::Committed, "it is committed already".to_owned()));
        }
        let Found { plan, channel, .. } = self.found()?;
        let commitment =
            channel.lifecycle().ensure_committed(&plan.definition).await.map_err(|error| lifecycle_trouble(&error))?;
        Ok((Input::Committed, commitment_in_words(&commitment)))
    }

    /// Puts the report on the ledger, unless it is there.
    async fn tell(&self, report: &Report) -> Result<(Input, String), Trouble> {
        let status = if report.is_success() { TaskStatus::Success } else { TaskStatus::Failure };
        let data = report.data();
        if self.told().await?.is_some_and(|told| told == (status.clone(), data.clone())) {
            return Ok((Input::Reported, "it was told before".to_owned()));
        }
        let update = TaskStatusUpdate::new(self.id, status).with_data(data);
        let ledger = &self.operations.ledger;
        let told = match self.kind {
            Kind::PrepareToDeploy => ledger.acknowledge(&update).await,
            Kind::Deploy => ledger.notify_commit_result(&update).await,
            Kind::CatchUp => return Ok((Input::Reported, String::new())),
        };
        let committed = told.map_err(|error| Trouble::passing(text::chain(&error)))?;
        Ok((Input::Reported, format!("block {}", committed.block)))
    }

    fn report(&self, peer: Option<&str>, happening: Happening) {
        let progress = Progress {
            organization: self.operations.client.msp_id().clone(),
            proposal: self.shown.clone(),
            task: self.kind.into(),
            peer: peer.map(str::to_owned),
            happening,
        };
        progress.log();
        self.operations.reporter.report(&progress);
    }
}

/// What an error of the lifecycle means here, where every step may be done again.
fn lifecycle_trouble(error: &LifecycleError) -> Trouble {
    let passing = match error {
        LifecycleError::Submit(SubmitError::Undecided { .. }) => true,
        LifecycleError::NotReady { .. } => false,
        other => other.is_retryable(),
    };
    Trouble::of(error, passing)
}

fn commitment_in_words(commitment: &Commitment) -> String {
    match commitment {
        Commitment::New(committed) => format!("block {}", committed.block),
        Commitment::Already => "it was committed already".to_owned(),
    }
}
