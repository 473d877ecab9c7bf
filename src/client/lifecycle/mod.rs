//! The life of chaincodes: packages on peers, definitions on channels.
//!
//! Two faces, as in Fabric's own administration library: [`PeerLifecycle`] for one peer, [`OrgLifecycle`] for an
//! organization on a channel. Each has the plain calls, under the names of Fabric, and `ensure_` forms that look before
//! they act and tell what they did; those may be repeated at any time, also after an outcome that is not known.
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle`, `fabric-protos/peer/lifecycle`.

mod agreement;
mod ensure;
mod org;
mod peer;

use std::collections::BTreeMap;
use std::fmt;

pub use agreement::{Agreement, Disagreement};
pub use ensure::{Approval, Commitment, Installation};
pub use org::{ApprovedDefinition, CommittedDefinition, OrgLifecycle};
pub use peer::{InstalledChaincode, PeerLifecycle};

use super::channel::EvaluateError;
use super::error::CallError;
use super::transact::SubmitError;
use crate::fabric::lifecycle::Difference;
use crate::fabric::names::{ChaincodeName, MspId};

/// Why something about a chaincode was not done or not learnt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// A call to a peer failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A query failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The transaction is not known to have taken effect.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Too few organizations have approved the definition as given.
    #[error(
        "definition of {chaincode} with sequence {sequence} is approved by {} of {} organizations, {needed} are needed{}",
        agreement.approvals.values().filter(|approved| **approved).count(),
        agreement.approvals.len(),
        agreement.in_words()
    )]
    NotReady {
        /// The chaincode.
        chaincode: ChaincodeName,
        /// The sequence.
        sequence: i64,
        /// Which organizations have approved it, and in what the others differ.
        agreement: Agreement,
        /// How many must have.
        needed: usize,
    },
    /// The channel has another definition under this sequence. That cannot be made good: take the next sequence.
    #[error(
        "another definition of {chaincode} is committed with sequence {sequence}: {}{}",
        listed(differences),
        encoding_hint(differences)
    )]
    Differs {
        /// The chaincode.
        chaincode: ChaincodeName,
        /// The sequence.
        sequence: i64,
        /// In what the committed one differs.
        differences: Vec<Difference>,
    },
    /// The sequence is neither the committed one nor the next one.
    #[error("sequence {requested} of {chaincode} cannot be defined: {committed} is committed, so {} is next", committed.saturating_add(1))]
    Sequence {
        /// The chaincode.
        chaincode: ChaincodeName,
        /// What was asked for.
        requested: i64,
        /// What the channel has; 0 for nothing.
        committed: i64,
    },
    /// The peer's version of Fabric does not have the function.
    #[error("the peer does not know {function}, which is newer than it")]
    Unsupported {
        /// The function of `_lifecycle`.
        function: &'static str,
    },
    /// The peer's answer is not what the protocol says.
    #[error("answer of {function} is not understood: {reason}")]
    Malformed {
        /// The function of `_lifecycle`.
        function: &'static str,
        /// What is wrong with its answer.
        reason: String,
    },
}

impl LifecycleError {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Call(error) => error.is_retryable(),
            Self::Evaluate(error) => error.is_retryable(),
            Self::Submit(error) => error.is_retryable(),
            Self::NotReady { .. } => true,
            // The one before it may be committed meanwhile; one that is past is past.
            Self::Sequence { requested, committed, .. } => requested > committed,
            Self::Differs { .. } | Self::Unsupported { .. } | Self::Malformed { .. } => false,
        }
    }

    /// The status and the words of whoever refused, peer or `_lifecycle`.
    pub fn refusal(&self) -> Option<(i32, &str)> {
        match self {
            Self::Call(error) => error.refusal(),
            Self::Evaluate(error) => error.refusal(),
            Self::Submit(error) => error.refusal(),
            _ => None,
        }
    }
}

/// What to look at when only the encoding can be the reason.
const ENCODING_HINT: &str =
    " (definitions are compared byte for byte: see DEFINITION_ENCODING where others run the original OpsSC agent)";

fn encoding_hint(differences: &[Difference]) -> &'static str {
    if differences.iter().any(|difference| difference.field.is_encoded()) { ENCODING_HINT } else { "" }
}

fn listed<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn decode<M: prost::Message + Default>(function: &'static str, bytes: bytes::Bytes) -> Result<M, LifecycleError> {
    M::decode(bytes).map_err(|error| LifecycleError::Malformed { function, reason: error.to_string() })
}

fn malformed(function: &'static str) -> impl Fn(crate::fabric::names::NameError) -> LifecycleError {
    move |error| LifecycleError::Malformed { function, reason: error.to_string() }
}

/// The approvals of an answer, by organization.
fn approvals(
    function: &'static str,
    approvals: BTreeMap<String, bool>,
) -> Result<BTreeMap<MspId, bool>, LifecycleError> {
    approvals
        .into_iter()
        .map(|(msp_id, approved)| Ok((MspId::parse(msp_id).map_err(malformed(function))?, approved)))
        .collect()
}

/// `_lifecycle` knows no status for "there is none": it tells with these words.
fn absent<T>(result: Result<T, LifecycleError>, words: &str) -> Result<Option<T>, LifecycleError> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(error) if error.refusal().is_some_and(|(_, message)| message.contains(words)) => Ok(None),
        Err(error) => Err(error),
    }
}
