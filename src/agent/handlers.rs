//! What the events of the two contracts ask this organization for.
//!
//! An event only says that something was true once: what it asks for is looked up on the ledger when the task runs.

use std::sync::Arc;

use crate::fabric::block::ChaincodeEvent;
use crate::opssc::chaincode_ops::{self, DeploymentEvent};
use crate::opssc::channel_ops;

use super::account::{Account, Listeners};
use super::daemon::Bells;
use super::journal::{EventPosition, TaskRecord};
use super::listen::Handler;
use super::progress::{Happening, Progress, Task};
use super::reconcile::Overdue;
use super::text;

/// The events of `chaincode-ops`.
pub(super) struct ChaincodeEvents {
    pub(super) listeners: Arc<Listeners>,
    pub(super) overdue: Arc<Overdue>,
}

/// A task of a chaincode proposal.
pub(super) fn of_proposal(task: Task, proposal: &chaincode_ops::Proposal, now_ms: u64) -> TaskRecord {
    let mut record = TaskRecord::queued(task, proposal.id.as_str(), now_ms);
    // Names that no channel and no chaincode can have are shortened: nothing is done with them.
    record.channel = Some(text::bounded(&proposal.channel_id, 260));
    record.chaincode = Some(text::bounded(&proposal.chaincode_name, 260));
    record.sequence = Some(proposal.chaincode_definition.sequence);
    record.executor = task == Task::Deploy;
    record
}

impl Handler for ChaincodeEvents {
    fn task(&self, event: &ChaincodeEvent) -> Option<TaskRecord> {
        let (task, deployment): (_, Box<DeploymentEvent>) =
            match chaincode_ops::Event::parse(&event.name, &event.payload) {
                Ok(chaincode_ops::Event::PrepareToDeploy(deployment)) => (Task::PrepareToDeploy, deployment),
                Ok(chaincode_ops::Event::Deploy(deployment)) => (Task::Deploy, deployment),
                Ok(other) => {
                    nothing(event, other.proposal_id());
                    return None;
                }
                Err(error) => {
                    skipped(event, &text::chain(&error));
                    return None;
                }
            };
        let own = self.listeners.organization.as_str();
        if !deployment.operation_targets.iter().any(|target| target == own) {
            let proposal = text::bounded(&deployment.proposal.id, 80);
            tracing::info!(task = task.as_str(), proposal, "event is for other organizations");
            seen(&self.listeners, event, task, proposal);
            if task == Task::Deploy {
                self.overdue.expect(task, &deployment.proposal.id);
            }
            return None;
        }
        Some(received(&self.listeners, event, of_proposal(task, &deployment.proposal, self.listeners.now_ms())))
    }
}

/// The events of `channel-ops`: updates are handed in by whoever is asked to, and everybody looks where the own peers
/// belong when a channel has changed.
pub(super) struct ChannelEvents {
    pub(super) listeners: Arc<Listeners>,
    pub(super) bells: Arc<Bells>,
    pub(super) overdue: Arc<Overdue>,
}

impl Handler for ChannelEvents {
    fn task(&self, event: &ChaincodeEvent) -> Option<TaskRecord> {
        match channel_ops::Event::parse(&event.name, &event.payload) {
            Ok(channel_ops::Event::ReadyToUpdateConfig(update)) => {
                let own = self.listeners.organization.as_str();
                let mut record =
                    TaskRecord::queued(Task::UpdateChannel, update.proposal_id.as_str(), self.listeners.now_ms());
                record.executor = update.operation_targets.iter().any(|target| target == own);
                if !record.executor {
                    self.overdue.expect(Task::UpdateChannel, &update.proposal_id);
                }
                return Some(received(&self.listeners, event, record));
            }
            Ok(channel_ops::Event::UpdateConfig { proposal_id }) => {
                let proposal = text::bounded(&proposal_id, 80);
                tracing::info!(proposal, "a channel has changed: looking where the own peers belong");
                seen(&self.listeners, event, Task::UpdateChannel, proposal);
                self.bells.bootstrap.notify_one();
            }
            Ok(other) => nothing(event, other.proposal_id()),
            Err(error) => skipped(event, &text::chain(&error)),
        }
        None
    }
}

fn received(listeners: &Arc<Listeners>, event: &ChaincodeEvent, mut record: TaskRecord) -> TaskRecord {
    record.event = Some(EventPosition::of(event));
    let happening = Happening::EventReceived { event: text::bounded(&event.name, 120) };
    let span = tracing::info_span!(
        "event",
        proposal = record.shown(),
        channel = record.channel.as_deref().map(|name| text::bounded(name, 80)),
        chaincode = record.chaincode.as_deref().map(|name| text::bounded(name, 80)),
    );
    span.in_scope(|| Account::new(Arc::clone(listeners), record.clone()).report(None, happening));
    record
}

/// Tells whoever watches of an event that asks for no task here, as the original does.
fn seen(listeners: &Listeners, event: &ChaincodeEvent, task: Task, proposal: String) {
    let progress = Progress {
        organization: listeners.organization.clone(),
        proposal,
        task,
        peer: None,
        happening: Happening::EventSeen { event: text::bounded(&event.name, 120) },
    };
    progress.log();
    listeners.reporter.report(&progress);
}

fn nothing(event: &ChaincodeEvent, proposal: &str) {
    let (event, proposal) = (text::bounded(&event.name, 120), text::bounded(proposal, 80));
    tracing::info!(event, proposal, "event asks for nothing");
}

fn skipped(event: &ChaincodeEvent, error: &str) {
    let (name, block) = (text::bounded(&event.name, 120), event.block);
    tracing::warn!(event = name, block, tx_id = %event.tx_id, error, "event is not understood and skipped");
}
