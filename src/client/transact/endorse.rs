//! Endorsements by several organizations at once, and what they make together.

use bytes::Bytes;
use futures_util::future::join_all;

use super::plan::{Group, Plan, plan};
use super::{Endorsed, Endorsers, SubmitError};
use crate::client::channel::Channel;
use crate::client::error::CallError;
use crate::client::node::Peer;
use crate::client::turns::first_answer;
use crate::fabric::tx::{AssembleError, Proposal};
use crate::pb::protos::{ProposalResponse, SignedProposal};

pub(super) async fn endorse(
    channel: &Channel,
    proposal: &Proposal,
    signed: &SignedProposal,
    endorsers: &Endorsers,
) -> Result<Endorsed, SubmitError> {
    if *endorsers == Endorsers::Discovered {
        return super::layouts::endorse(channel, proposal, signed).await;
    }
    let Plan { groups, needed } = plan(channel, endorsers).await?;
    let mut groups = groups.into_iter();
    let mut responses = Vec::new();
    let mut endorsed = Vec::new();
    let mut failures = Vec::new();
    while responses.len() < needed {
        let asked: Vec<Group> = groups.by_ref().take(needed - responses.len()).collect();
        if asked.len() < needed - responses.len() {
            break;
        }
        let answers = join_all(asked.iter().map(|group| ask(channel, group.peers.clone(), signed))).await;
        let mut refused = false;
        for (group, answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok((_, response)) => {
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
    join(proposal, &responses)
}

/// Makes a transaction of what endorsers answered.
pub(super) fn join(proposal: &Proposal, responses: &[ProposalResponse]) -> Result<Endorsed, SubmitError> {
    let tx_id = proposal.tx_id().clone();
    let result = responses
        .first()
        .and_then(|first| first.response.as_ref())
        .map_or_else(Bytes::new, |response| response.payload.clone());
    let transaction = proposal.assemble(responses).map_err(|error| match error {
        AssembleError::Mismatch { first, differing, .. } => {
            SubmitError::Mismatch { tx_id, reason: format!("{} not as {first}", differing.join(", ")) }
        }
        // Statuses and endorsements were judged as they came: what is left is malformed.
        other => SubmitError::Mismatch { tx_id, reason: other.to_string() },
    })?;
    Ok(Endorsed { transaction, result })
}

/// Asks peers one after the other until one endorses.
pub(super) async fn ask(
    channel: &Channel,
    peers: Vec<Peer>,
    signed: &SignedProposal,
) -> Result<(Peer, ProposalResponse), Vec<CallError>> {
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
    let (peer, response) = first_answer(peers, timeouts, ask).await?;
    channel.client().prefer(&peer);
    Ok((peer, response))
}
