//! What the agent does about the events of the two contracts.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::fabric::block::ChaincodeEvent;
use crate::fabric::names::MspId;
use crate::opssc::calls::ChannelOps;
use crate::opssc::chaincode_ops::{DeploymentEvent, Event, HistoryQuery, Proposal, Status};
use crate::opssc::channel_ops;
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::chaincode_ops::Operations;
use super::channel_ops::{ChannelOperations, Part};
use super::listen::{Handler, Work};
use super::progress::Happening;
use super::standing;
use super::task::Kind;
use super::text;

/// The events of `chaincode-ops`: tasks of this organization are carried out, one after the other for one proposal and
/// side by side for several.
pub(super) struct ChaincodeEvents {
    operations: Arc<Operations>,
    channels: ChannelOps,
    turns: Turns,
}

impl ChaincodeEvents {
    pub(super) fn new(operations: Arc<Operations>, channels: ChannelOps) -> Self {
        Self { operations, channels, turns: Turns::default() }
    }

    fn task(&self, kind: Kind, proposal: String, first: Happening) -> Work {
        let operations = Arc::clone(&self.operations);
        let turns = self.turns.clone();
        Box::pin(async move {
            let turn = turns.of(&proposal);
            let _held = turn.lock().await;
            operations.run(kind, &proposal, first).await.is_ok()
        })
    }

    /// All proposals that were left unfinished.
    async fn list(&self) -> Result<Vec<(Kind, String)>, String> {
        let own = self.operations.client.msp_id();
        let ledger = &self.operations.ledger;
        let proposals = ledger.get_all_proposals().await.map_err(|error| text::chain(&error))?;
        let open: Vec<Proposal> = proposals
            .into_values()
            .filter(|proposal| matches!(proposal.status, Status::Approved | Status::Acknowledged))
            .collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let channels = self.channels.get_all_channels().await.map_err(|error| text::chain(&error))?;
        let mut found = Vec::new();
        for proposal in open {
            let is_member =
                channels.iter().any(|channel| channel.id == proposal.channel_id && channel.has(own.as_str()));
            let query = HistoryQuery { proposal_id: proposal.id.clone(), ..HistoryQuery::default() };
            let histories = ledger.get_histories(&query).await.map_err(|error| text::chain(&error))?;
            let histories: Vec<_> =
                histories.into_values().filter(|history| history.proposal_id == proposal.id).collect();
            if let Some(kind) = standing::unfinished(&proposal, own, is_member, &histories) {
                found.push((kind, proposal.id));
            }
        }
        Ok(found)
    }
}

impl Handler for ChaincodeEvents {
    fn work(&self, event: &ChaincodeEvent) -> Option<Work> {
        let own = self.operations.client.msp_id();
        let (kind, deployment) = match Event::parse(&event.name, &event.payload) {
            Ok(Event::PrepareToDeploy(deployment)) => (Kind::PrepareToDeploy, deployment),
            Ok(Event::Deploy(deployment)) => (Kind::Deploy, deployment),
            Ok(other) => {
                let (event, proposal) = (text::bounded(&event.name, 120), text::bounded(other.proposal_id(), 80));
                tracing::info!(event, proposal, "event asks for nothing");
                return None;
            }
            Err(error) => {
                skipped(event, &text::chain(&error));
                return None;
            }
        };
        if !concerns(&deployment, own) {
            let proposal = text::bounded(&deployment.proposal.id, 80);
            tracing::info!(task = kind.as_str(), proposal, "event is for other organizations");
            return None;
        }
        let first = Happening::EventReceived { event: text::bounded(&event.name, 120) };
        Some(self.task(kind, deployment.proposal.id, first))
    }

    fn unfinished(&self) -> Pin<Box<dyn Future<Output = Vec<Work>> + Send + '_>> {
        Box::pin(async move {
            let found = asked(&self.operations.stop, || self.list()).await.unwrap_or_default();
            found.into_iter().map(|(kind, proposal)| self.task(kind, proposal, Happening::Resumed)).collect()
        })
    }
}

fn concerns(deployment: &DeploymentEvent, own: &MspId) -> bool {
    deployment.operation_targets.iter().any(|target| target == own.as_str())
}

fn skipped(event: &ChaincodeEvent, error: &str) {
    let (name, block) = (text::bounded(&event.name, 120), event.block);
    tracing::warn!(event = name, block, tx_id = %event.tx_id, error, "event is not understood and skipped");
}

/// The events of `channel-ops`: updates are handed in by whoever is asked to, and everybody looks where the own peers
/// belong when a channel has changed.
pub(super) struct ChannelEvents {
    operations: Arc<ChannelOperations>,
    turns: Turns,
}

impl ChannelEvents {
    pub(super) fn new(operations: ChannelOperations) -> Self {
        Self { operations: Arc::new(operations), turns: Turns::default() }
    }

    fn task(&self, proposal: String, part: Part, first: Happening) -> Work {
        let operations = Arc::clone(&self.operations);
        let turns = self.turns.clone();
        Box::pin(async move {
            let turn = turns.of(&proposal);
            let _held = turn.lock().await;
            operations.run(&proposal, part, first).await
        })
    }

    /// The proposals that are voted for and that this organization voted for: whoever was asked to hand them in may be
    /// gone, and handing in twice does no harm.
    async fn list(&self) -> Result<Vec<String>, String> {
        let proposals = self.operations.ledger.get_all_proposals().await.map_err(|error| text::chain(&error))?;
        let own = self.operations.client.msp_id().as_str();
        let open = proposals.into_values().filter(|proposal| {
            proposal.status == channel_ops::Status::Approved && proposal.artifacts.signatures.contains_key(own)
        });
        Ok(open.map(|proposal| proposal.id).collect())
    }
}

impl Handler for ChannelEvents {
    fn work(&self, event: &ChaincodeEvent) -> Option<Work> {
        let own = self.operations.client.msp_id().as_str();
        match channel_ops::Event::parse(&event.name, &event.payload) {
            Ok(channel_ops::Event::ReadyToUpdateConfig(update)) => {
                let first = Happening::EventReceived { event: text::bounded(&event.name, 120) };
                let is_asked = update.operation_targets.iter().any(|target| target == own);
                let part = if is_asked { Part::Executor } else { Part::Member };
                return Some(self.task(update.proposal_id, part, first));
            }
            Ok(channel_ops::Event::UpdateConfig { proposal_id }) => {
                let proposal = text::bounded(&proposal_id, 80);
                tracing::info!(proposal, "a channel has changed: looking where the own peers belong");
                self.operations.bells.bootstrap.notify_one();
            }
            Ok(other) => {
                let (event, proposal) = (text::bounded(&event.name, 120), text::bounded(other.proposal_id(), 80));
                tracing::info!(event, proposal, "event asks for nothing");
            }
            Err(error) => skipped(event, &text::chain(&error)),
        }
        None
    }

    fn unfinished(&self) -> Pin<Box<dyn Future<Output = Vec<Work>> + Send + '_>> {
        Box::pin(async move {
            let found = asked(&self.operations.stop, || self.list()).await.unwrap_or_default();
            found.into_iter().map(|proposal| self.task(proposal, Part::Executor, Happening::Resumed)).collect()
        })
    }
}

/// Asks until the ledger answers. `None` when told to stop.
async fn asked<T, F: Future<Output = Result<T, String>>>(
    stop: &CancellationToken,
    mut list: impl FnMut() -> F,
) -> Option<T> {
    for wait in Backoff::new(Duration::from_millis(250), Duration::from_secs(15)) {
        match stop.run_until_cancelled(list()).await? {
            Ok(found) => return Some(found),
            Err(error) => tracing::warn!(again_in = ?wait, error, "proposals cannot be listed; trying again"),
        }
        stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
    }
    None
}

/// Lets one task at a time work on a proposal.
#[derive(Clone, Default)]
struct Turns(Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>);

impl Turns {
    fn of(&self, proposal: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds are over.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(proposal.to_owned()).or_default())
    }
}
