//! Carrying out a channel proposal: the update that was voted on is handed in, seen in force, and told to the ledger.
//!
//! The ledger is told only when an own peer has the new configuration, and what is in force already, because this agent
//! or another one was here before, counts as done. So the task may run again at any point and in several organizations.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use crate::client::participation::OrdererAdmin;
use crate::client::{Channel, Client, UpdateError, Updated};
use crate::fabric::config::update;
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops::{ChannelType, Proposal, Status};
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::channel_plan::ChannelPlan;
use super::creation::Creation;
use super::daemon::Bells;
use super::progress::{Happening, Progress, Reporter, Step, Task, Verdict};
use super::text;
use super::trouble::{Doubts, Trouble};

/// The longest pause between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What carries out channel proposals in the name of one organization.
pub(super) struct ChannelOperations {
    pub(super) client: Client,
    pub(super) ledger: ChannelOps,
    /// The own orderers, where the organization has some.
    pub(super) orderers: Vec<OrdererAdmin>,
    pub(super) reporter: Arc<dyn Reporter>,
    /// Rung when a channel may have other members than before.
    pub(super) bells: Arc<Bells>,
    pub(super) stop: CancellationToken,
}

/// What this organization has to do with a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It was asked to see to it, or finds it left over.
    Executor,
    /// It only has its own nodes join a channel that is made.
    Member,
}

/// One proposal on its way.
struct Run<'a> {
    operations: &'a ChannelOperations,
    id: &'a str,
    shown: String,
    part: Part,
}

/// What comes next.
enum Stage {
    Reading,
    Submitting(Box<ChannelPlan>),
    Notifying,
}

impl Stage {
    fn step(&self) -> Step {
        match self {
            Self::Reading => Step::Validate,
            Self::Submitting(plan) if plan.creates => Step::CreateChannel,
            Self::Submitting(_) => Step::UpdateChannel,
            Self::Notifying => Step::Notify,
        }
    }
}

/// What a stage came to.
enum Next {
    Go(Stage, String),
    End(Verdict, String),
}

impl ChannelOperations {
    /// Runs one task to its end. Whether it came to one: if not, it is to be taken up after the next start.
    ///
    /// # Cancel safety
    /// Dropping it ends the wait; a step under way may still take effect, and counts as done when the task runs again.
    pub(super) async fn run(&self, proposal_id: &str, part: Part, first: Happening) -> bool {
        let shown = text::bounded(proposal_id, 80);
        let span = tracing::info_span!("task", task = Task::UpdateChannel.as_str(), proposal = %shown);
        let run = Run { operations: self, id: proposal_id, shown, part };
        run.follow(first).instrument(span).await
    }
}

impl Run<'_> {
    async fn follow(&self, first: Happening) -> bool {
        let stop = &self.operations.stop;
        let begun = Instant::now();
        self.report(first);
        let schedule = || Backoff::new(Duration::from_millis(250), LONGEST_WAIT);
        let (mut waits, mut doubts) = (schedule(), Doubts::default());
        let mut stage = Stage::Reading;
        let (verdict, outcome) = loop {
            let step = stage.step();
            self.report(Happening::Started(step));
            let started = Instant::now();
            let Some(result) = stop.run_until_cancelled(Box::pin(self.act(&stage))).await else { return false };
            match result {
                Ok(Next::Go(next, detail)) => {
                    self.report(Happening::Finished { step, elapsed: started.elapsed(), detail });
                    stage = next;
                    (waits, doubts) = (schedule(), Doubts::default());
                }
                Ok(Next::End(verdict, outcome)) => break (verdict, outcome),
                // Only the contract can refuse to be told, and what is done stays to be told.
                Err(trouble) if doubts.settles(&trouble) && !matches!(stage, Stage::Notifying) => {
                    let error = trouble.reason().to_owned();
                    self.report(Happening::Refused { step, error: error.clone() });
                    break (Verdict::Failed, format!("failed: {error}"));
                }
                Err(trouble) => {
                    let again_in = waits.next().unwrap_or(LONGEST_WAIT);
                    let error = trouble.reason().to_owned();
                    self.report(Happening::Waiting { step, again_in, error });
                    if stop.run_until_cancelled(tokio::time::sleep(again_in)).await.is_none() {
                        return false;
                    }
                }
            }
        };
        self.report(Happening::Ended { verdict, outcome, elapsed: begun.elapsed() });
        true
    }

    async fn act(&self, stage: &Stage) -> Result<Next, Trouble> {
        match stage {
            Stage::Reading => self.read().await,
            Stage::Submitting(plan) if plan.creates => self.create(plan).await,
            Stage::Submitting(plan) => self.submit(plan).await,
            Stage::Notifying => self.notify().await,
        }
    }

    async fn proposal(&self) -> Result<Proposal, Trouble> {
        // Whoever sends the event has the proposal: a peer that does not know it is behind.
        let ledger = &self.operations.ledger;
        ledger.get_proposal(self.id).await.map_err(|error| Trouble::passing(text::chain(&error)))
    }

    async fn read(&self) -> Result<Next, Trouble> {
        let proposal = self.proposal().await?;
        match &proposal.status {
            Status::Approved => {}
            Status::Committed => return Ok(Next::End(Verdict::Skipped, "it is committed already".to_owned())),
            Status::Proposed => return Err(Trouble::passing("the peer does not know yet that it is voted for")),
            other => {
                let status = text::bounded(other.as_str(), 40);
                return Ok(Next::End(Verdict::Skipped, format!("the proposal is {status}")));
            }
        }
        let plan = ChannelPlan::of(&proposal).map_err(Trouble::definite)?;
        if !plan.creates && self.part == Part::Member {
            return Ok(Next::End(Verdict::Skipped, "another organization hands it in".to_owned()));
        }
        let mut detail = format!("{} signatures for {}", plan.update.signatures.len(), plan.channel);
        if !plan.unreadable.is_empty() {
            detail = format!("{detail}; those of {} cannot be read", plan.unreadable.join(", "));
        }
        Ok(Next::Go(Stage::Submitting(Box::new(plan)), detail))
    }

    async fn submit(&self, plan: &ChannelPlan) -> Result<Next, Trouble> {
        let ChannelOperations { client, ledger, .. } = self.operations;
        let channel = client.channel(plan.channel.clone());
        let kind = ledger.get_channel_type(plan.channel.as_str()).await;
        // No peer is in the orderers' own channel.
        let submitted = match kind {
            Ok(ChannelType::System) => client.submit_orderers_update(&plan.channel, &plan.update).await,
            Err(error) if error.refusal().is_none() => return Err(Trouble::passing(text::chain(&error))),
            _ => channel.submit_config_update(&plan.update).await,
        };
        let detail = match submitted {
            Ok(Updated::New { block }) => format!("{} is updated by block {block}", plan.channel),
            Ok(Updated::Already { block }) => format!("{} was updated by block {block} already", plan.channel),
            Err(error @ UpdateError::Refused(_)) => return Err(self.explained(plan, &channel, &error).await),
            Err(error) => return Err(update_trouble(&error)),
        };
        Ok(Next::Go(Stage::Notifying, detail))
    }

    /// A refusal, with the signatures that are lacking where it is about these.
    async fn explained(&self, plan: &ChannelPlan, channel: &Channel, error: &UpdateError) -> Trouble {
        let Ok(config) = channel.config().await else { return update_trouble(error) };
        let standings = update::standing(&config, &plan.update.config_update, &plan.update.signatures);
        let lacking: Vec<String> =
            standings.iter().flatten().filter(|standing| !standing.satisfied).map(ToString::to_string).collect();
        if lacking.is_empty() {
            return update_trouble(error);
        }
        Trouble::doubtful(format!("{}; signatures: {}", text::chain(error), lacking.join("; ")))
    }

    async fn create(&self, plan: &ChannelPlan) -> Result<Next, Trouble> {
        let ChannelOperations { client, ledger, orderers, .. } = self.operations;
        let detail = Creation { client, ledger, orderers }.make(plan, self.part).await?;
        Ok(match self.part {
            Part::Executor => Next::Go(Stage::Notifying, detail),
            Part::Member => Next::End(Verdict::Done, detail),
        })
    }

    async fn notify(&self) -> Result<Next, Trouble> {
        if self.proposal().await?.status == Status::Committed {
            return Ok(Next::End(Verdict::Done, "committed, and told by another organization".to_owned()));
        }
        let told = self.operations.ledger.notify_commit_result(self.id).await;
        let committed = told.map_err(|error| Trouble::passing(text::chain(&error)))?;
        // Its event says the same to everybody; this organization need not wait for it.
        self.operations.bells.bootstrap.notify_one();
        Ok(Next::End(Verdict::Done, format!("committed, told in block {}", committed.block)))
    }

    fn report(&self, happening: Happening) {
        let progress = Progress {
            organization: self.operations.client.msp_id().clone(),
            proposal: self.shown.clone(),
            task: Task::UpdateChannel,
            peer: None,
            happening,
        };
        progress.log();
        self.operations.reporter.report(&progress);
    }
}

/// What an error of handing in means here, where it may be done again.
pub(super) fn update_trouble(error: &UpdateError) -> Trouble {
    Trouble::of(error, error.is_retryable())
}
