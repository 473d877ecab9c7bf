//! The life of chaincodes: packages on peers, definitions on channels.
//!
//! Two faces, as in Fabric's own administration library: [`PeerLifecycle`] for one peer, [`OrgLifecycle`] for an
//! organization on a channel. All calls that change something may be repeated: what is done already is success.
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle`, `fabric-protos/peer/lifecycle`.

mod org;
mod peer;

use std::collections::BTreeMap;

pub use org::{Approval, ApprovedDefinition, Commitment, CommittedDefinition, OrgLifecycle};
pub use peer::{InstalledChaincode, PeerLifecycle};

use super::channel::EvaluateError;
use super::error::CallError;
use super::transact::SubmitError;
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
        "definition of {chaincode} with sequence {sequence} is approved by {} of {} organizations, {needed} are needed",
        approvals.values().filter(|approved| **approved).count(),
        approvals.len()
    )]
    NotReady {
        /// The chaincode.
        chaincode: ChaincodeName,
        /// The sequence.
        sequence: i64,
        /// Which organizations have approved it.
        approvals: BTreeMap<MspId, bool>,
        /// How many must have.
        needed: usize,
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
            Self::Malformed { .. } => false,
        }
    }

    /// The status and the words of whoever refused, peer or `_lifecycle`.
    pub fn refusal(&self) -> Option<(i32, &str)> {
        match self {
            Self::Call(error) => error.refusal(),
            Self::Evaluate(error) => error.refusal(),
            Self::Submit(error) => error.refusal(),
            Self::NotReady { .. } | Self::Malformed { .. } => None,
        }
    }
}

fn decode<M: prost::Message + Default>(function: &'static str, bytes: bytes::Bytes) -> Result<M, LifecycleError> {
    M::decode(bytes).map_err(|error| LifecycleError::Malformed { function, reason: error.to_string() })
}

fn malformed(function: &'static str) -> impl Fn(crate::fabric::names::NameError) -> LifecycleError {
    move |error| LifecycleError::Malformed { function, reason: error.to_string() }
}
