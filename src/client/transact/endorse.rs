//! Endorsements by several organizations at once, and what they make together.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Endorsers, SubmitError};
use crate::client::channel::Channel;
use crate::client::discovery;
use crate::client::error::CallError;
use crate::client::node::Peer;
use crate::client::turns::first_answer;
use crate::fabric::names::MspId;
use crate::fabric::tx::{AssembleError, Invocation, UnsignedTransaction};
use crate::pb::common::HeaderType;
use crate::pb::protos::{ProposalResponse, SignedProposal};

/// A transaction that only lacks the client's signature.
pub(super) struct Endorsed {
    pub(super) transaction: UnsignedTransaction,
    /// What the chaincode returned.
    pub(super) payload: Bytes,
}

/// The peers of one organization, the best first.
struct Group {
    msp_id: MspId,
    peers: Vec<Peer>,
}

/// Who is asked: the first `needed` groups, and the others where those fail.
struct Plan {
    groups: Vec<Group>,
    needed: usize,
}

pub(super) async fn endorse(
    channel: &Channel,
    invocation: &Invocation,
    endorsers: &Endorsers,
) -> Result<Endorsed, SubmitError> {
    let client = channel.client();
    let Plan { groups, needed } = plan(channel, endorsers).await?;
    let (proposal, signed) = client.propose(Some(channel.name()), invocation, HeaderType::EndorserTransaction).await?;
    let mut groups = groups.into_iter();
    let mut responses = Vec::new();
    let mut endorsed = Vec::new();
    let mut failures = Vec::new();
    while responses.len() < needed {
        let asked: Vec<Group> = groups.by_ref().take(needed - responses.len()).collect();
        if asked.len() < needed - responses.len() {
            break;
        }
        let answers = join_all(asked.iter().map(|group| ask(channel, group, &signed))).await;
        let mut refused = false;
        for (group, answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(response) => {
                    responses.push(response);
                    endorsed.push(group.msp_id);
                }
                Err(errors) => {
                    refused |= errors.iter().any(|error| !error.is_of_this_node());
                    failures.extend(errors);
                }
            }
        }
        // The chaincode's word does not depend on whom one asks.
        if refused {
            break;
        }
    }
    let tx_id = proposal.tx_id().clone();
    if responses.len() < needed {
        if failures.iter().any(CallError::is_retryable) {
            channel.cache.forget();
        }
        return Err(SubmitError::Endorse { tx_id, failures, endorsed });
    }
    let payload = responses
        .first()
        .and_then(|first| first.response.as_ref())
        .map_or_else(Bytes::new, |response| response.payload.clone());
    let transaction = proposal.assemble(&responses).map_err(|error| match error {
        AssembleError::Mismatch { first, differing, .. } => {
            SubmitError::Mismatch { tx_id, reason: format!("{} not as {first}", differing.join(", ")) }
        }
        // Peers were asked one per organization and their statuses were judged: what is left is malformed.
        other => SubmitError::Mismatch { tx_id, reason: other.to_string() },
    })?;
    Ok(Endorsed { transaction, payload })
}

/// Asks the peers of one organization, one after the other, until one endorses.
async fn ask(channel: &Channel, group: &Group, signed: &SignedProposal) -> Result<ProposalResponse, Vec<CallError>> {
    let timeouts = &channel.client().shared.timeouts;
    let ask = async |peer: Peer| {
        let response = peer.process(signed.clone(), timeouts.endorse).await?;
        if response.endorsement.is_some() {
            return Ok(response);
        }
        // A success without a signature is a fault of the peer.
        let status = response.response.map_or(0, |response| response.status);
        let reason = format!("status {status} without an endorsement");
        Err(CallError::Malformed { node: peer.node().clone(), reason })
    };
    let (peer, response) = first_answer(group.peers.clone(), timeouts.silence, ask).await?;
    channel.client().prefer(&peer);
    Ok(response)
}

async fn plan(channel: &Channel, endorsers: &Endorsers) -> Result<Plan, SubmitError> {
    let client = channel.client();
    let own = || Group { msp_id: client.msp_id().clone(), peers: client.own_peers().cloned().collect() };
    let wanted = match endorsers {
        Endorsers::Own => return Ok(Plan { groups: vec![own()], needed: 1 }),
        Endorsers::Orgs(wanted) if wanted.iter().all(|msp_id| msp_id == client.msp_id()) && !wanted.is_empty() => {
            return Ok(Plan { groups: vec![own()], needed: 1 });
        }
        Endorsers::Orgs(wanted) | Endorsers::AtLeast { of: wanted, .. } => Some(wanted),
        Endorsers::AllOrgs | Endorsers::Majority => None,
    };
    let view = discovery::view(channel)
        .await
        .map_err(|failures| SubmitError::NoEndorsers { missing: wanted.cloned().unwrap_or_default(), failures })?;
    let mut msp_ids: Vec<MspId> = match wanted {
        Some(wanted) => wanted.clone(),
        None => view.organizations.keys().cloned().collect(),
    };
    // The own organization first: it answers soonest, and its word is the one to compare with.
    msp_ids.sort_by_key(|msp_id| (msp_id != client.msp_id(), msp_id.clone()));
    msp_ids.dedup();
    let all = msp_ids.len();
    let (groups, missing): (Vec<Group>, Vec<Group>) = msp_ids
        .into_iter()
        .map(|msp_id| {
            if msp_id == *client.msp_id() {
                return own();
            }
            let peers = view.organizations.get(&msp_id).cloned().unwrap_or_default();
            Group { msp_id, peers }
        })
        .partition(|group| !group.peers.is_empty());
    let needed = match endorsers {
        Endorsers::Majority => all / 2 + 1,
        Endorsers::AtLeast { needed, .. } => *needed,
        _ => all,
    };
    if groups.len() < needed || needed == 0 {
        channel.cache.forget();
        let missing = missing.into_iter().map(|group| group.msp_id).collect();
        return Err(SubmitError::NoEndorsers { missing, failures: Vec::new() });
    }
    Ok(Plan { groups, needed })
}
