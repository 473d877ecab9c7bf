//! Carrying out a channel proposal: the update that was voted on is handed in, seen in force, and told to the ledger.
//!
//! The ledger is told only when an own peer has the new configuration, and what is in force already, because this agent
//! or another one was here before, counts as done. So the task may run again at any point and in several organizations.

use std::sync::Arc;

use crate::client::participation::OrdererAdmin;
use crate::client::{Channel, Client, UpdateError, Updated};
use crate::fabric::config::update;
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops::{ChannelType, Proposal, Status};

use super::account::Account;
use super::channel_plan::ChannelPlan;
use super::creation::Creation;
use super::daemon::Bells;
use super::progress::{Step, Verdict};
use super::text;
use super::trouble::Trouble;
use super::turn::{Acting, Job, Next};

/// What carries out channel proposals in the name of one organization.
pub(super) struct ChannelOperations {
    pub(super) client: Client,
    pub(super) ledger: ChannelOps,
    /// The own orderers, where the organization has some.
    pub(super) orderers: Vec<OrdererAdmin>,
    /// Rung when a channel may have other members than before.
    pub(super) bells: Arc<Bells>,
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
pub(super) struct Run<'a> {
    operations: &'a ChannelOperations,
    id: &'a str,
    account: &'a Account,
    part: Part,
    stage: Stage,
}

/// What comes next.
enum Stage {
    Reading,
    /// The channel has just become known: others may be changing it.
    Placed,
    Submitting(Box<ChannelPlan>),
    Notifying,
    Ended(Verdict, String),
}

impl Stage {
    fn step(&self) -> Step {
        match self {
            Self::Reading | Self::Placed => Step::Validate,
            Self::Submitting(plan) if plan.creates => Step::CreateChannel,
            Self::Submitting(_) => Step::UpdateChannel,
            Self::Notifying | Self::Ended(..) => Step::Notify,
        }
    }
}

/// What a stage came to.
enum Outcome {
    Go(Stage, String),
    End(Verdict, String),
}

impl ChannelOperations {
    /// The task of `account`, from its beginning.
    pub(super) fn job<'a>(&'a self, part: Part, account: &'a Account) -> Run<'a> {
        Run { operations: self, id: account.proposal(), account, part, stage: Stage::Reading }
    }
}

impl Job for Run<'_> {
    fn next(&self) -> Next {
        match &self.stage {
            Stage::Placed => Next::Queue,
            Stage::Ended(verdict, outcome) => Next::Ended(*verdict, outcome.clone()),
            stage => Next::Step(stage.step()),
        }
    }

    fn act(&mut self) -> Acting<'_> {
        Box::pin(async move {
            let next = match &self.stage {
                Stage::Reading => self.read().await?,
                Stage::Submitting(plan) if plan.creates => self.create(plan).await?,
                Stage::Submitting(plan) => self.submit(plan).await?,
                Stage::Notifying => self.notify().await?,
                Stage::Placed | Stage::Ended(..) => return Ok(String::new()),
            };
            let (stage, detail) = match next {
                Outcome::Go(stage, detail) => (stage, detail),
                Outcome::End(verdict, outcome) => (Stage::Ended(verdict, outcome.clone()), outcome),
            };
            self.stage = stage;
            Ok(detail)
        })
    }

    fn refused(&mut self, reason: &str) -> bool {
        // Only the contract can refuse to be told, and what is done stays to be told.
        if matches!(self.stage, Stage::Notifying) {
            return false;
        }
        self.stage = Stage::Ended(Verdict::Failed, format!("failed: {reason}"));
        true
    }
}

impl Run<'_> {
    async fn proposal(&self) -> Result<Proposal, Trouble> {
        // Whoever sends the event has the proposal: a peer that does not know it is behind.
        let ledger = &self.operations.ledger;
        ledger.get_proposal(self.id).await.map_err(|error| Trouble::passing(text::chain(&error)))
    }

    async fn read(&self) -> Result<Outcome, Trouble> {
        let proposal = self.proposal().await?;
        match &proposal.status {
            Status::Approved => {}
            Status::Committed => return Ok(Outcome::End(Verdict::Skipped, "it is committed already".to_owned())),
            Status::Proposed => return Err(Trouble::passing("the peer does not know yet that it is voted for")),
            other => {
                let status = text::bounded(other.as_str(), 40);
                return Ok(Outcome::End(Verdict::Skipped, format!("the proposal is {status}")));
            }
        }
        if self.account.place(&proposal.channel_id) {
            return Ok(Outcome::Go(Stage::Placed, "it queues up at its channel".to_owned()));
        }
        let plan = ChannelPlan::of(&proposal).map_err(Trouble::definite)?;
        if !plan.creates && self.part == Part::Member {
            return Ok(Outcome::End(Verdict::Skipped, "another organization hands it in".to_owned()));
        }
        let mut detail = format!("{} signatures for {}", plan.update.signatures.len(), plan.channel);
        if !plan.unreadable.is_empty() {
            detail = format!("{detail}; those of {} cannot be read", plan.unreadable.join(", "));
        }
        Ok(Outcome::Go(Stage::Submitting(Box::new(plan)), detail))
    }

    async fn submit(&self, plan: &ChannelPlan) -> Result<Outcome, Trouble> {
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
        Ok(Outcome::Go(Stage::Notifying, detail))
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

    async fn create(&self, plan: &ChannelPlan) -> Result<Outcome, Trouble> {
        let ChannelOperations { client, ledger, orderers, .. } = self.operations;
        let detail = Creation { client, ledger, orderers }.make(plan, self.part).await?;
        Ok(match self.part {
            Part::Executor => Outcome::Go(Stage::Notifying, detail),
            Part::Member => Outcome::End(Verdict::Done, detail),
        })
    }

    async fn notify(&self) -> Result<Outcome, Trouble> {
        if self.proposal().await?.status == Status::Committed {
            return Ok(Outcome::End(Verdict::Done, "committed, and told by another organization".to_owned()));
        }
        let told = self.operations.ledger.notify_commit_result(self.id).await;
        let committed = told.map_err(|error| Trouble::passing(text::chain(&error)))?;
        // Its event says the same to everybody; this organization need not wait for it.
        self.operations.bells.bootstrap.notify_one();
        Ok(Outcome::End(Verdict::Done, format!("committed, told in block {}", committed.block)))
    }
}

/// What an error of handing in means here, where it may be done again.
pub(super) fn update_trouble(error: &UpdateError) -> Trouble {
    Trouble::of(error, error.is_retryable())
}
