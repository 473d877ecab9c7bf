//! Carrying out a channel proposal: the update that was voted on is handed in, seen in force, and told to the ledger.
//!
//! The ledger is told only when an own peer has the new configuration, and what is in force already, because this agent
//! or another one was here before, counts as done. So the task may run again at any point and in several organizations.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::client::{Client, UpdateError, Updated};
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops::{Proposal, Status};
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::channel_plan::ChannelPlan;
use super::progress::{Happening, Progress, Reporter, Step, Task, Verdict};
use super::text;
use super::trouble::{Doubts, Trouble};

/// The longest pause between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What carries out channel proposals in the name of one organization.
pub(super) struct ChannelOperations {
    pub(super) client: Client,
    pub(super) ledger: ChannelOps,
    pub(super) reporter: Arc<dyn Reporter>,
    /// Rung when a channel may have other members than before.
    pub(super) changed: Arc<Notify>,
    pub(super) stop: CancellationToken,
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
    pub(super) async fn run(&self, proposal_id: &str, first: Happening) -> bool {
        let shown = text::bounded(proposal_id, 80);
        let span = tracing::info_span!("task", task = Task::UpdateChannel.as_str(), proposal = %shown);
        self.follow(proposal_id, &shown, first).instrument(span).await
    }

    async fn follow(&self, id: &str, shown: &str, first: Happening) -> bool {
        let begun = Instant::now();
        self.report(shown, first);
        let schedule = || Backoff::new(Duration::from_millis(250), LONGEST_WAIT);
        let (mut waits, mut doubts) = (schedule(), Doubts::default());
        let mut stage = Stage::Reading;
        let (verdict, outcome) = loop {
            let step = stage.step();
            self.report(shown, Happening::Started(step));
            let started = Instant::now();
            let Some(result) = self.stop.run_until_cancelled(Box::pin(self.act(id, &stage))).await else {
                return false;
            };
            match result {
                Ok(Next::Go(next, detail)) => {
                    self.report(shown, Happening::Finished { step, elapsed: started.elapsed(), detail });
                    stage = next;
                    (waits, doubts) = (schedule(), Doubts::default());
                }
                Ok(Next::End(verdict, outcome)) => break (verdict, outcome),
                // Only the contract can refuse to be told, and what is done stays to be told.
                Err(trouble) if doubts.settles(&trouble) && !matches!(stage, Stage::Notifying) => {
                    let error = trouble.reason().to_owned();
                    self.report(shown, Happening::Refused { step, error: error.clone() });
                    break (Verdict::Failed, format!("failed: {error}"));
                }
                Err(trouble) => {
                    let again_in = waits.next().unwrap_or(LONGEST_WAIT);
                    let error = trouble.reason().to_owned();
                    self.report(shown, Happening::Waiting { step, again_in, error });
                    if self.stop.run_until_cancelled(tokio::time::sleep(again_in)).await.is_none() {
                        return false;
                    }
                }
            }
        };
        self.report(shown, Happening::Ended { verdict, outcome, elapsed: begun.elapsed() });
        true
    }

    async fn act(&self, id: &str, stage: &Stage) -> Result<Next, Trouble> {
        match stage {
            Stage::Reading => self.read(id).await,
            Stage::Submitting(plan) => self.submit(plan).await,
            Stage::Notifying => self.notify(id).await,
        }
    }

    async fn proposal(&self, id: &str) -> Result<Proposal, Trouble> {
        // Whoever sends the event has the proposal: a peer that does not know it is behind.
        self.ledger.get_proposal(id).await.map_err(|error| Trouble::passing(text::chain(&error)))
    }

    async fn read(&self, id: &str) -> Result<Next, Trouble> {
        let proposal = self.proposal(id).await?;
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
        if plan.creates {
            return Err(Trouble::definite("this agent does not make channels yet: make this one yourself"));
        }
        let mut detail = format!("{} signatures for {}", plan.update.signatures.len(), plan.channel);
        if !plan.unreadable.is_empty() {
            detail = format!("{detail}; those of {} cannot be read", plan.unreadable.join(", "));
        }
        Ok(Next::Go(Stage::Submitting(Box::new(plan)), detail))
    }

    async fn submit(&self, plan: &ChannelPlan) -> Result<Next, Trouble> {
        let channel = self.client.channel(plan.channel.clone());
        let detail = match channel.submit_config_update(&plan.update).await {
            Ok(Updated::New { block }) => format!("{} is updated by block {block}", plan.channel),
            Ok(Updated::Already { block }) => format!("{} was updated by block {block} already", plan.channel),
            Err(error) => return Err(update_trouble(&error)),
        };
        Ok(Next::Go(Stage::Notifying, detail))
    }

    async fn notify(&self, id: &str) -> Result<Next, Trouble> {
        if self.proposal(id).await?.status == Status::Committed {
            return Ok(Next::End(Verdict::Done, "committed, and told by another organization".to_owned()));
        }
        let told = self.ledger.notify_commit_result(id).await;
        let committed = told.map_err(|error| Trouble::passing(text::chain(&error)))?;
        // Its event says the same to everybody; this organization need not wait for it.
        self.changed.notify_one();
        Ok(Next::End(Verdict::Done, format!("committed, told in block {}", committed.block)))
    }

    fn report(&self, proposal: &str, happening: Happening) {
        let progress = Progress {
            organization: self.client.msp_id().clone(),
            proposal: proposal.to_owned(),
            task: Task::UpdateChannel,
            peer: None,
            happening,
        };
        progress.log();
        self.reporter.report(&progress);
    }
}

/// What an error of handing in means here, where it may be done again.
fn update_trouble(error: &UpdateError) -> Trouble {
    Trouble::of(error, error.is_retryable())
}
