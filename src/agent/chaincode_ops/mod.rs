//! Carrying out the two tasks of a chaincode proposal on the organization's own peers.
//!
//! Around [`State`]: it does what the state asks for and feeds the result in; [`turn`](super::turn) is the loop, and waits
//! where something is only down or busy. What is done already (installed, approved, committed, told) counts as done, so that a task may be run
//! again at any point.

mod prepare;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::client::lifecycle::{Commitment, LifecycleError};
use crate::client::{Channel, Client, SubmitError};
use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::MspId;
use crate::fabric::package::Package;
use crate::fabric::policy::DefinitionEncoding;
use crate::opssc::calls::ChaincodeOps;
use crate::opssc::chaincode_ops::{Histories, HistoryQuery, Task as OpsTask, TaskStatus, TaskStatusUpdate};
use crate::runtime::CancellationToken;

use super::account::Account;
use super::comparison;
use super::config::{ChaincodeServers, Sources};
use super::daemon::Bells;
use super::plan::Plan;
use super::progress::{Happening, Step, Verdict};
use super::sources::{Built, Fetched, Workshop};
use super::standing::{self, Standing};
use super::task::{Ending, Input, Kind, Report, State};
use super::text;
use super::trouble::{LOOKS, Trouble};
use super::turn::{Acting, Job, Next};

/// What carries out tasks in the name of one organization.
pub(super) struct Operations {
    pub(super) client: Client,
    pub(super) ledger: ChaincodeOps,
    pub(super) servers: ChaincodeServers,
    pub(super) sources: Sources,
    pub(super) workshop: Arc<Workshop>,
    pub(super) encoding: DefinitionEncoding,
    pub(super) bells: Arc<Bells>,
    pub(super) stop: CancellationToken,
}

impl Operations {
    /// The task of `account`, from its beginning.
    pub(super) fn job<'a>(&'a self, kind: Kind, account: &'a Account) -> Task<'a> {
        Task {
            operations: self,
            kind,
            id: account.proposal(),
            account,
            state: State::first(kind),
            found: None,
            fetched: None,
            built: None,
            package: None,
            installed: BTreeSet::new(),
            readiness_looks: 0,
            waiting_since: None,
            compared: false,
        }
    }
}

/// Whether something is still due.
type Asking<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// What the proposal asks for, as the ledger has it now.
struct Found {
    plan: Plan,
    /// The same in the bytes of the other encoding, where that makes a difference.
    otherwise: Option<ChaincodeDefinition>,
    channel: Channel,
}

/// One task on its way.
pub(super) struct Task<'a> {
    operations: &'a Operations,
    kind: Kind,
    id: &'a str,
    account: &'a Account,
    state: State,
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

impl Job for Task<'_> {
    fn next(&self) -> Next {
        let ending = match &self.state {
            State::Ended(ending) => ending.clone(),
            // What was committed before is told to nobody.
            State::Reporting(report) if self.kind == Kind::CatchUp => Ending::Reported(report.clone()),
            state => return Next::Step(self.step_of(state)),
        };
        let (verdict, outcome) = match ending {
            Ending::Reported(Report::Prepared(package)) => (Verdict::Done, format!("prepared, package {package}")),
            Ending::Reported(Report::Committed) => (Verdict::Done, "committed".to_owned()),
            Ending::Reported(Report::Failed(reason)) => (Verdict::Failed, format!("failed: {reason}")),
            Ending::Skipped(reason) => (Verdict::Skipped, format!("nothing to do: {reason}")),
        };
        Next::Ended(verdict, outcome)
    }

    fn act(&mut self) -> Acting<'_> {
        Box::pin(async move {
            let (input, detail) = self.work(&self.state.clone()).await?;
            self.state = self.state.clone().next(input);
            Ok(detail)
        })
    }

    fn refused(&mut self, reason: &str) -> bool {
        // Only the contract can refuse a report, and that is never final: giving up would tell nobody.
        if matches!(self.state, State::Reporting(_)) {
            return false;
        }
        self.state = self.state.clone().next(Input::Refused(reason.to_owned()));
        true
    }
}

impl Task<'_> {
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

    async fn work(&mut self, state: &State) -> Result<(Input, String), Trouble> {
        match state {
            State::Validating => self.validate().await,
            State::Fetching(_) => self.fetch().await,
            State::Building => self.build().await,
            State::Packaging => self.package().await,
            State::Installing(package) => self.install(package).await.map(|input| (input, package.to_string())),
            State::Approving(package) => self.approve(package).await,
            State::CheckingReadiness => self.check_readiness().await,
            State::Committing => self.commit().await,
            State::Reporting(report) => self.tell(report).await,
            State::Ended(_) => Ok((Input::Reported, String::new())),
        }
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
        let Some(query) = self.what_was_told() else { return Ok(None) };
        let histories = self.operations.ledger.get_histories(&query).await;
        let histories = histories.map_err(|error| Trouble::passing(text::chain(&error)))?;
        Ok(self.told_in(&histories))
    }

    /// Whether `update` still has to be told: not so where an own peer knows that it was, or where none can be asked.
    async fn is_due(&self, update: &TaskStatusUpdate) -> bool {
        let Some(query) = self.what_was_told() else { return false };
        let Operations { client, ledger, .. } = self.operations;
        let answers = join_all(client.peers().iter().map(|peer| ledger.get_histories_on(peer, &query))).await;
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        !answers.is_empty() && !answers.iter().any(|histories| is_told(self.told_in(histories).as_ref(), update))
    }

    fn what_was_told(&self) -> Option<HistoryQuery> {
        let task = match self.kind {
            Kind::PrepareToDeploy => OpsTask::Acknowledge,
            Kind::Deploy => OpsTask::Commit,
            Kind::CatchUp => return None,
        };
        let org_id = self.operations.client.msp_id().to_string();
        Some(HistoryQuery { proposal_id: self.id.to_owned(), task: Some(task), org_id })
    }

    fn told_in(&self, histories: &Histories) -> Option<(TaskStatus, String)> {
        let told = standing::told(self.kind, self.operations.client.msp_id(), histories.values());
        told.map(|history| (history.status.clone(), history.data.clone()))
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
            if readiness.get(self.operations.client.msp_id()) == Some(&true) {
                return Err(self.approve_anew().await?);
            }
            let encoding = self.operations.encoding.other().as_str();
            let others = named(&mut readiness.iter().filter(|(_, approved)| **approved).map(|(msp_id, _)| msp_id));
            reason = format!("{reason}; {others} approved it as with DEFINITION_ENCODING={encoding}");
        }
        Err(Trouble::doubtful(reason))
    }

    /// Puts the own approval into the bytes that are set now: it was given before the setting was changed, as people are
    /// told to do where others approve in the other ones.
    async fn approve_anew(&self) -> Result<Trouble, Trouble> {
        let Found { plan, channel, .. } = self.found()?;
        let lifecycle = channel.lifecycle();
        let approved = lifecycle.query_approved(plan.chaincode(), Some(plan.sequence())).await;
        let package = approved.map_err(|error| lifecycle_trouble(&error))?.and_then(|approved| approved.package_id);
        let anew = lifecycle.ensure_approved(&plan.definition, package.as_ref()).await;
        anew.map_err(|error| lifecycle_trouble(&error))?;
        let encoding = self.operations.encoding.as_str();
        Ok(Trouble::passing(format!(
            "this organization has just approved it anew, as with DEFINITION_ENCODING={encoding}"
        )))
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
        let update = TaskStatusUpdate::new(self.id, status).with_data(report.data());
        if is_told(self.told().await?.as_ref(), &update) {
            return Ok((Input::Reported, "it was told before".to_owned()));
        }
        // A transaction of before, whose fate nobody knew yet, may be committed by the time the endorsers are asked.
        let is_due = || -> Asking<'_> { Box::pin(self.is_due(&update)) };
        let ledger = &self.operations.ledger;
        let told = match self.kind {
            Kind::PrepareToDeploy => ledger.acknowledge_if_due(&update, is_due).await,
            Kind::Deploy => ledger.notify_commit_result_if_due(&update, is_due).await,
            Kind::CatchUp => return Ok((Input::Reported, String::new())),
        };
        match told.map_err(|error| Trouble::passing(text::chain(&error)))? {
            Some(committed) => Ok((Input::Reported, format!("block {}", committed.block))),
            None => Err(Trouble::passing("it may have been told meanwhile")),
        }
    }

    fn report(&self, peer: Option<&str>, happening: Happening) {
        self.account.report(peer, happening);
    }
}

/// Whether `told` is what `update` says.
fn is_told(told: Option<&(TaskStatus, String)>, update: &TaskStatusUpdate) -> bool {
    // A failure that is tried again now and then need not be told again, in other words, each time.
    told.is_some_and(|(status, data)| {
        update.status.as_ref() == Some(status) && (*data == update.data || *status == TaskStatus::Failure)
    })
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
