//! From an invocation to a committed transaction: endorse, compare, order, wait for the commit.
//!
//! A module of its own because the stages fail with different consequences, which [`SubmitError`] tells apart. The
//! commit is listened for before the transaction is ordered, so it cannot be missed; and while no orderer answers for
//! certain, the same bytes are handed in again, which is harmless: peers let one of the copies take effect.
//!
//! It decides nothing about trying again as a new transaction: see
//! [`submit_with_retry`](super::Channel::submit_with_retry).
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway` (how orderers' answers are taken), `core/endorser`.

mod commit;
mod endorse;
mod gateway;
mod layouts;
mod order;
mod plan;
mod retry;
mod staged;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::channel::Channel;
use super::credentials::Credentials;
use super::error::{CallError, listed};
use super::node::Peer;
use crate::fabric::block::ValidationCode;
use crate::fabric::identity::SignError;
use crate::fabric::names::{BlockNumber, MspId, TxId};
use crate::fabric::tx::{Invocation, Proposal, UnsignedTransaction};
use crate::pb::common::HeaderType;
use crate::pb::protos::SignedProposal;

pub(super) use gateway::evaluate as evaluate_by_gateway;
pub(super) use layouts::call;
pub use order::BroadcastError;
pub(super) use order::broadcast;
pub use retry::Retry;
pub use staged::{CommitRequest, SignedCommitRequest};

/// How proposals come to endorsers, and transactions to orderers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Way {
    /// Straight to them. The client finds them itself, and compares what the endorsers say.
    #[default]
    Direct,
    /// By the Gateway service of an own peer (Fabric 2.4 and later): the client needs to reach nothing else.
    Gateway,
}

/// Whose peers endorse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endorsers {
    /// One own peer.
    Own,
    /// One peer of each of these organizations.
    Orgs(Vec<MspId>),
    /// One peer each of this many of these organizations, the own one first; the others step in for those that cannot
    /// be reached.
    AtLeast {
        /// How many.
        needed: usize,
        /// Which ones.
        of: Vec<MspId>,
    },
    /// One peer of every organization of the channel.
    AllOrgs,
    /// One peer each of more than half of the channel's organizations, the own one among them; others step in for
    /// those that cannot be reached.
    Majority,
    /// Whoever must by the policies of what the transaction touches: chaincodes, collections, keys. The network is
    /// asked, after one own peer has told what is touched, or [`Invocation::interest`] does.
    Discovered,
    /// These very peers. (A Gateway service cannot be told peers: then their organizations.)
    Peers(Vec<Peer>),
}

/// An endorsed transaction, which only lacks the client's signature.
#[derive(Debug, Clone)]
pub struct Endorsed {
    transaction: UnsignedTransaction,
    result: Bytes,
}

impl Endorsed {
    /// The ID that the transaction has.
    pub fn tx_id(&self) -> &TxId {
        self.transaction.tx_id()
    }

    /// What the chaincode returned.
    pub fn result(&self) -> &Bytes {
        &self.result
    }

    /// What is to be signed.
    pub fn transaction(&self) -> &UnsignedTransaction {
        &self.transaction
    }

    /// What is to be signed.
    #[must_use]
    pub fn into_transaction(self) -> UnsignedTransaction {
        self.transaction
    }
}

/// What became of a transaction that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// Its ID.
    pub tx_id: TxId,
    /// The block that holds it.
    pub block: BlockNumber,
    /// Whether it took effect, or why not.
    pub code: ValidationCode,
}

/// A transaction that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its ID.
    pub tx_id: TxId,
    /// The block that holds it.
    pub block: BlockNumber,
    /// What the chaincode returned.
    pub payload: Bytes,
}

/// Why a transaction is not known to have taken effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Not enough peers are known to endorse. Nothing was ordered.
    #[error("no peers are known to endorse{}", reasons(missing, failures))]
    NoEndorsers {
        /// The organizations without peers; none when the channel's organizations are not known.
        missing: Vec<MspId>,
        /// Why nothing is known of them.
        failures: Vec<CallError>,
    },
    /// Peers did not endorse. Nothing was ordered.
    #[error("transaction {tx_id} was not endorsed: {}", listed(failures))]
    Endorse {
        /// The transaction that will not be.
        tx_id: TxId,
        /// What they said; at least one.
        failures: Vec<CallError>,
        /// The organizations whose peers did endorse: then the refusing ones may just be behind.
        endorsed: Vec<MspId>,
    },
    /// The endorsers came to different results. Nothing was ordered. One may be behind, or the chaincode is not
    /// deterministic.
    #[error("endorsers of transaction {tx_id} disagree: {reason}")]
    Mismatch {
        /// The transaction that will not be.
        tx_id: TxId,
        /// Who differs from whom.
        reason: String,
    },
    /// Nothing was signed. Nothing was ordered.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Nothing was ordered, so sending it again is safe.
    #[error("no orderer accepted transaction {tx_id}")]
    NotOrdered {
        /// The transaction that will not be.
        tx_id: TxId,
        /// What the orderers said.
        source: BroadcastError,
    },
    /// It may be on its way: look the ID up before sending another.
    #[error("transaction {tx_id} was not seen committed within {waited:?}")]
    Undecided {
        /// The transaction.
        tx_id: TxId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// It is on the ledger and without effect.
    #[error("transaction {tx_id} is invalid in block {block}: {code}")]
    Invalidated {
        /// The transaction.
        tx_id: TxId,
        /// The block that holds it.
        block: BlockNumber,
        /// Why the peers found it invalid.
        code: ValidationCode,
    },
}

fn reasons(missing: &[MspId], failures: &[CallError]) -> String {
    let organizations = missing.iter().map(MspId::as_str).collect::<Vec<_>>().join(", ");
    match (missing.is_empty(), failures.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(" for {organizations}"),
        (true, false) => format!(": {}", listed(failures)),
        (false, false) => format!(" for {organizations}: {}", listed(failures)),
    }
}

impl Endorsers {
    /// Whether others may be chosen when the channel has changed.
    pub(super) fn follow_the_channel(&self) -> bool {
        matches!(self, Self::AllOrgs | Self::Majority | Self::Discovered)
    }
}

impl SubmitError {
    /// Whether the same call as a new transaction may succeed, and cannot take effect twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Endorse { failures, .. } => self.is_conflict() || failures.iter().all(CallError::is_retryable),
            Self::NoEndorsers { .. } | Self::Mismatch { .. } => true,
            Self::NotOrdered { source, .. } => source.is_retryable(),
            // A policy failure: the channel's organizations may have changed meanwhile.
            Self::Invalidated { code, .. } => code.is_conflict() || *code == ValidationCode::EndorsementPolicyFailure,
            Self::Sign(error) => error.is_retryable(),
            Self::Undecided { .. } => false,
        }
    }

    /// Whether it lost against another transaction, or met peers at different blocks: then a new one is worth sending
    /// at once.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Mismatch { .. } => true,
            Self::Endorse { failures, endorsed, .. } => {
                !endorsed.is_empty() && failures.iter().any(|error| matches!(error, CallError::Chaincode { .. }))
            }
            // A policy failure: the channel's organizations or the chaincode's policy changed meanwhile.
            Self::Invalidated { code, .. } => code.is_conflict() || *code == ValidationCode::EndorsementPolicyFailure,
            _ => false,
        }
    }

    /// The transaction, where one was made.
    pub fn tx_id(&self) -> Option<&TxId> {
        match self {
            Self::Endorse { tx_id, .. }
            | Self::Mismatch { tx_id, .. }
            | Self::NotOrdered { tx_id, .. }
            | Self::Undecided { tx_id, .. }
            | Self::Invalidated { tx_id, .. } => Some(tx_id),
            Self::NoEndorsers { .. } | Self::Sign(_) => None,
        }
    }

    /// What the chaincode said, when that is why.
    pub fn refusal(&self) -> Option<(i32, &str)> {
        match self {
            Self::Endorse { failures, .. } => failures.iter().find_map(CallError::refusal),
            _ => None,
        }
    }
}

/// See [`Channel::submit_with_retry`].
pub(super) async fn submit_with_retry(
    channel: &Channel,
    invocation: &Invocation,
    endorsers: &Endorsers,
    mut retry: Retry,
) -> Result<Committed, SubmitError> {
    loop {
        let error = match submit(channel, invocation, endorsers).await {
            Ok(committed) => return Ok(committed),
            Err(error) => error,
        };
        if let Some(committed) = outlive(channel, invocation, endorsers, &mut retry, error).await? {
            return Ok(committed);
        }
    }
}

/// See [`Channel::submit_if_due`].
pub(super) async fn submit_if_due<F: Future<Output = bool>>(
    channel: &Channel,
    invocation: &Invocation,
    endorsers: &Endorsers,
    mut retry: Retry,
    is_due: impl Fn() -> F,
) -> Result<Option<Committed>, SubmitError> {
    loop {
        let outcome = match prepare(channel, invocation, endorsers).await {
            Ok(prepared) => {
                if !is_due().await {
                    return Ok(None);
                }
                finish(channel, prepared).await
            }
            Err(error) => Err(error),
        };
        let error = match outcome {
            Ok(committed) => return Ok(Some(committed)),
            Err(error) => error,
        };
        if let Some(committed) = outlive(channel, invocation, endorsers, &mut retry, error).await? {
            return Ok(Some(committed));
        }
    }
}

/// What comes after `error`: the transaction was committed all the same, or a new one is to be made, for which it is
/// time then.
async fn outlive(
    channel: &Channel,
    invocation: &Invocation,
    endorsers: &Endorsers,
    retry: &mut Retry,
    error: SubmitError,
) -> Result<Option<Committed>, SubmitError> {
    let error = match error {
        SubmitError::Undecided { tx_id, waited } => match look_up(channel, &tx_id, retry).await {
            Some(Ok(committed)) => return Ok(Some(committed)),
            Some(Err(error)) => error,
            None => return Err(SubmitError::Undecided { tx_id, waited }),
        },
        error => error,
    };
    let Some(wait) = retry.after(&error, endorsers.follow_the_channel()) else { return Err(error) };
    let (channel, chaincode) = (channel.name(), &invocation.chaincode);
    tracing::debug!(%channel, %chaincode, %error, "transaction is tried anew");
    tokio::time::sleep(wait).await;
    Ok(None)
}

/// What became of a transaction that was not seen in time, if it is on the ledger by now.
async fn look_up(channel: &Channel, tx_id: &TxId, retry: &mut Retry) -> Option<Result<Committed, SubmitError>> {
    while let Some(wait) = retry.next_lookup() {
        tokio::time::sleep(wait).await;
        let Ok(Some(transaction)) = channel.processed(tx_id).await else { continue };
        let Ok(block) = channel.block_of(tx_id).await else { continue };
        let tx_id = tx_id.clone();
        return Some(match transaction.validation {
            ValidationCode::Valid => Ok(Committed { tx_id, block, payload: transaction.result().unwrap_or_default() }),
            code => Err(SubmitError::Invalidated { tx_id, block, code }),
        });
    }
    None
}

/// See [`Channel::submit`].
pub(super) async fn submit(
    channel: &Channel,
    invocation: &Invocation,
    endorsers: &Endorsers,
) -> Result<Committed, SubmitError> {
    finish(channel, prepare(channel, invocation, endorsers).await?).await
}

/// An endorsed transaction of which nothing is ordered yet, and whose commit will not be missed.
struct Prepared {
    credentials: Arc<Credentials>,
    watch: commit::Watch,
    endorsed: Endorsed,
}

async fn prepare(channel: &Channel, invocation: &Invocation, endorsers: &Endorsers) -> Result<Prepared, SubmitError> {
    // What is proposed and what is handed in must be signed by the same.
    let credentials = channel.client().credentials();
    let header_type = HeaderType::EndorserTransaction;
    let (proposal, signed) =
        channel.client().propose_as(&credentials, Some(channel.name()), invocation, header_type).await?;
    let mut watch = commit::Watch::new(channel, proposal.tx_id()).await?;
    let open = async {
        watch.open().await;
        Ok(())
    };
    // Known by the time it is needed: to whom the transaction is handed depends on it.
    let warm = async {
        if channel.way() == Way::Direct {
            order::channels_word(channel).await;
        }
        Ok(())
    };
    let (endorsed, (), ()) = tokio::try_join!(endorse(channel, &proposal, &signed, endorsers), open, warm)?;
    Ok(Prepared { credentials, watch, endorsed })
}

async fn finish(channel: &Channel, prepared: Prepared) -> Result<Committed, SubmitError> {
    let Prepared { credentials, watch, endorsed } = prepared;
    let envelope = endorsed.transaction.sign(&*credentials.signer).await?;
    let CommitStatus { tx_id, block, code } =
        commit::order_and_watch(channel, watch, endorsed.tx_id(), envelope).await?;
    match code {
        ValidationCode::Valid => Ok(Committed { tx_id, block, payload: endorsed.result }),
        code => {
            if code == ValidationCode::EndorsementPolicyFailure {
                channel.cache.forget();
            }
            Err(SubmitError::Invalidated { tx_id, block, code })
        }
    }
}

/// Has a proposal endorsed, the channel's way.
async fn endorse(
    channel: &Channel,
    proposal: &Proposal,
    signed: &SignedProposal,
    endorsers: &Endorsers,
) -> Result<Endorsed, SubmitError> {
    match channel.way() {
        Way::Direct => endorse::endorse(channel, proposal, signed, endorsers).await,
        Way::Gateway => gateway::endorse(channel, proposal, signed, endorsers).await,
    }
}
