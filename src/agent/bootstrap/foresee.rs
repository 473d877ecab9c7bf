//! What bootstrap and the open tasks would do, told without doing it.
//!
//! A module of its own because it acts on nothing: people ask before they start an agent, or while they hold one.

use super::contracts::Contracts;
use super::missing::{Missing, missing};
use super::observe::Observer;
use super::text;
use crate::agent::standing::{self, Due};
use crate::client::Client;
use crate::opssc::calls::{ChaincodeOps, ChannelOps, OpsError};
use crate::opssc::chaincode_ops::{HistoryQuery, Status};
use crate::opssc::channel_ops;

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Foreseen {
    /// What bootstrap would do now. More may follow: what is on a channel shows once it is joined.
    pub steps: Vec<String>,
    /// The tasks that the ledger asks this organization for.
    pub tasks: Vec<String>,
    /// What is in the way.
    pub waiting: Vec<String>,
    /// What nothing can be done about from here.
    pub notes: Vec<String>,
}

/// Looks what there is to do.
///
/// Cancel safety: nothing but questions.
pub(in crate::agent) async fn foresee(
    client: Client,
    channels: ChannelOps,
    chaincodes: ChaincodeOps,
    contracts: Contracts,
) -> Foreseen {
    let observer = Observer { client, channels, chaincodes, contracts };
    let Missing { steps, mut waiting, notes } = missing(&observer.look().await);
    let tasks = match tasks(&observer).await {
        Ok(tasks) => tasks,
        Err(error) => {
            waiting.push(format!("the open proposals are not known: {}", text::chain(&error)));
            Vec::new()
        }
    };
    Foreseen { steps: steps.iter().map(ToString::to_string).collect(), tasks, waiting, notes }
}

async fn tasks(observer: &Observer) -> Result<Vec<String>, OpsError> {
    let Observer { client, channels, chaincodes, .. } = observer;
    let own = client.msp_id();
    let mut tasks = Vec::new();
    let known = channels.get_all_channels().await?;
    for proposal in chaincodes.get_all_proposals().await?.into_values() {
        if !matches!(proposal.status, Status::Approved | Status::Acknowledged) {
            continue;
        }
        let is_member = known.iter().any(|channel| channel.id == proposal.channel_id && channel.has(own.as_str()));
        let query = HistoryQuery { proposal_id: proposal.id.clone(), ..HistoryQuery::default() };
        let histories: Vec<_> = chaincodes.get_histories(&query).await?.into_values().collect();
        let histories: Vec<_> = histories.into_iter().filter(|history| history.proposal_id == proposal.id).collect();
        if let Due::Task(kind) = standing::due(&proposal, own, is_member, &histories) {
            let (name, channel) =
                (text::bounded(&proposal.chaincode_name, 80), text::bounded(&proposal.channel_id, 80));
            let (id, sequence) = (text::bounded(&proposal.id, 80), proposal.chaincode_definition.sequence);
            tasks.push(format!("{} of proposal {id}: {name} sequence {sequence} on {channel}", kind.as_str()));
        }
    }
    for proposal in channels.get_all_proposals().await?.into_values() {
        let is_signed = proposal.artifacts.signatures.contains_key(own.as_str());
        if proposal.status == channel_ops::Status::Approved && is_signed {
            let (id, channel) = (text::bounded(&proposal.id, 80), text::bounded(&proposal.channel_id, 80));
            tasks.push(format!("updateChannel of proposal {id}: {channel}"));
        }
    }
    Ok(tasks)
}
