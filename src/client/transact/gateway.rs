//! Transactions by the Gateway service of an own peer.
//!
//! The service finds endorsers and orderers; any own peer's does, so one that fails is passed over. What it makes of a
//! proposal is compared with the proposal before it is signed: a peer could put another call in.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway`.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use tonic::Code;

use super::plan::{needed, own_first};
use super::{BroadcastError, Endorsed, Endorsers, SubmitError};
use crate::client::channel::{Channel, EvaluateError};
use crate::client::discovery;
use crate::client::error::CallError;
use crate::client::node::Peer;
use crate::client::turns::first_answer;
use crate::fabric::names::{MspId, TxId};
use crate::fabric::tx::Proposal;
use crate::pb::common::Envelope;
use crate::pb::gateway::{CommitStatusRequest, EndorseRequest, EvaluateRequest, SubmitRequest};
use crate::pb::protos::SignedProposal;
use crate::runtime::retry::Backoff;

/// Answered by the own organization, since they speak of the peer itself.
const OF_THE_PEER: [&str; 4] = ["_lifecycle", "cscc", "qscc", "lscc"];

/// The result of a query.
pub(in crate::client) async fn evaluate(
    channel: &Channel,
    proposal: &Proposal,
    signed: &SignedProposal,
) -> Result<Bytes, EvaluateError> {
    let client = channel.client();
    let own = || vec![client.msp_id().to_string()];
    let request = EvaluateRequest {
        transaction_id: proposal.tx_id().to_string(),
        channel_id: channel.name().to_string(),
        proposed_transaction: Some(signed.clone()),
        target_organizations: if OF_THE_PEER.contains(&proposal.chaincode()) { own() } else { Vec::new() },
    };
    let limit = client.shared.timeouts.endorse;
    let ask = async |peer: Peer| peer.gateway_evaluate(request.clone(), limit).await;
    let peers = client.own_peers();
    match first_answer(peers, &client.shared.timeouts, ask).await {
        Ok((peer, response)) => {
            client.prefer(&peer);
            Ok(response.payload)
        }
        Err(failures) => Err(EvaluateError::best_of(failures)),
    }
}

/// See [`Channel::endorse`].
pub(super) async fn endorse(
    channel: &Channel,
    proposal: &Proposal,
    signed: &SignedProposal,
    endorsers: &Endorsers,
) -> Result<Endorsed, SubmitError> {
    let tx_id = || proposal.tx_id().clone();
    let (mut candidates, needed) = organizations(channel, endorsers).await?;
    let mut failures = Vec::new();
    loop {
        let asked: Vec<MspId> = candidates.iter().take(needed).cloned().collect();
        let errors = match ask(channel, proposal, signed, &asked).await {
            Ok(endorsed) => return Ok(endorsed),
            Err(errors) => errors,
        };
        let differs = |message: &str| message.contains("ProposalResponsePayloads do not match");
        let last_word = errors.iter().any(|error| !error.is_of_this_node());
        // Others may step in for those that could not be had.
        let mut away = Vec::new();
        for error in &errors {
            if let CallError::Gateway { details, .. } = error {
                if let Some(detail) = details.iter().find(|detail| differs(&detail.message)) {
                    let reason = format!("{} of {} not as the first", detail.address, detail.msp_id);
                    return Err(SubmitError::Mismatch { tx_id: tx_id(), reason });
                }
                away.extend(details.iter().map(|detail| detail.msp_id.clone()));
            }
        }
        failures.extend(errors);
        let before = candidates.len();
        candidates.retain(|msp_id| !away.iter().any(|away| away == msp_id.as_str()));
        if last_word || candidates.len() == before || candidates.len() < needed {
            return Err(SubmitError::Endorse { tx_id: tx_id(), failures, endorsed: Vec::new() });
        }
    }
}

/// The organizations of which the first so many are to endorse; none when the peer shall choose.
async fn organizations(channel: &Channel, endorsers: &Endorsers) -> Result<(Vec<MspId>, usize), SubmitError> {
    let own = channel.client().msp_id();
    let none = |missing: Vec<MspId>| SubmitError::NoEndorsers { missing, failures: Vec::new() };
    let named = match endorsers {
        Endorsers::Discovered => return Ok((Vec::new(), 0)),
        Endorsers::Own => vec![own.clone()],
        Endorsers::Orgs(named) | Endorsers::AtLeast { of: named, .. } => named.clone(),
        Endorsers::Peers(peers) => peers.iter().map(|peer| peer.msp_id().clone()).collect(),
        Endorsers::AllOrgs | Endorsers::Majority => {
            let view = discovery::view(channel).await;
            let view = view.map_err(|failures| SubmitError::NoEndorsers { missing: Vec::new(), failures })?;
            view.organizations.keys().cloned().collect()
        }
    };
    let named = own_first(channel, named);
    let needed = needed(endorsers, named.len());
    // No names at all would leave the choice to the peer.
    if needed == 0 || needed > named.len() { Err(none(named)) } else { Ok((named, needed)) }
}

async fn ask(
    channel: &Channel,
    proposal: &Proposal,
    signed: &SignedProposal,
    organizations: &[MspId],
) -> Result<Endorsed, Vec<CallError>> {
    let client = channel.client();
    let timeouts = &client.shared.timeouts;
    let request = EndorseRequest {
        transaction_id: proposal.tx_id().to_string(),
        channel_id: channel.name().to_string(),
        proposed_transaction: Some(signed.clone()),
        endorsing_organizations: organizations.iter().map(ToString::to_string).collect(),
    };
    let ask = async |peer: Peer| {
        let envelope = peer.gateway_endorse(request.clone(), timeouts.endorse).await?;
        proposal.adopt(&envelope.payload).map_err(|error| CallError::Malformed {
            node: peer.node().clone(),
            reason: format!("the transaction is not what was proposed: {error}"),
        })
    };
    let (peer, (transaction, result)) = first_answer(client.own_peers(), timeouts, ask).await?;
    client.prefer(&peer);
    Ok(Endorsed { transaction, result })
}

/// Has the transaction ordered, asking one own peer after the other, again and again until `order` is over.
pub(super) async fn hand_in(channel: &Channel, tx_id: &TxId, envelope: &Envelope) -> Result<(), BroadcastError> {
    let client = channel.client();
    let timeouts = &client.shared.timeouts;
    let end = Instant::now() + timeouts.order;
    let request = SubmitRequest {
        transaction_id: tx_id.to_string(),
        channel_id: channel.name().to_string(),
        prepared_transaction: Some(envelope.clone()),
    };
    let mut certain = true;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let mut failures = Vec::new();
        for peer in client.own_peers() {
            match peer.gateway_submit(request.clone(), timeouts.broadcast).await {
                Ok(()) => return Ok(()),
                // So the service says that an orderer refused the transaction itself. Something that was sent before
                // may have been taken: then this answer is not the last word.
                Err(error @ CallError::Gateway { .. }) if certain && is_refusal(&error) => {
                    return Err(BroadcastError::Refused(error));
                }
                Err(error) => {
                    tracing::debug!(%error, "gateway did not submit a transaction");
                    certain &= error.is_certain();
                    failures.push(error);
                }
            }
        }
        let wait = backoff.next().unwrap_or_default();
        if Instant::now() + wait >= end {
            return Err(BroadcastError::Unavailable { failures, certain });
        }
        tokio::time::sleep(wait).await;
    }
}

fn is_refusal(error: &CallError) -> bool {
    matches!(error, CallError::Gateway { source, .. } if source.code() == Code::Aborted)
}

/// What is to be signed to be told what became of a transaction.
pub(super) fn commit_status_request(channel: &Channel, tx_id: &TxId) -> Bytes {
    CommitStatusRequest {
        transaction_id: tx_id.to_string(),
        channel_id: channel.name().to_string(),
        identity: channel.client().signer().creator().clone(),
    }
    .encode_to_vec()
    .into()
}
