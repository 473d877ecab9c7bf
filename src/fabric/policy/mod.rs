//! Signature policies: how they are written, what they demand.
//!
//! A policy says whose signatures suffice: so many out of these, each a principal (a role in an organization, mostly)
//! or again so many out of others. Chaincode definitions and collections carry them, channels are governed by them.
//!
//! Source: `fabric-protos/common/policies.proto`, `peer/policy.proto`, Fabric 3.1.5 `common/policydsl`,
//! `common/cauthdsl`.

mod application;
pub mod collections;
pub mod dsl;
mod evaluate;
mod opssc;
mod original;

pub use application::ApplicationPolicy;
pub(crate) use evaluate::{Candidate, attainable, suffices};
pub use evaluate::{Member, distinct, evaluate, evaluate_members};
pub use opssc::opssc_validation_parameter;
pub use original::{DefinitionEncoding, original_collections, original_validation_parameter};

/// Why a policy cannot be had from what was given, or is not satisfied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The text does not follow the grammar.
    #[error("policy cannot be read: {reason} at column {column}")]
    Syntax {
        /// What was met.
        reason: String,
        /// Where, from 1.
        column: usize,
    },
    /// The text is well written but makes no policy.
    #[error("policy makes no sense: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// The message cannot be decoded.
    #[error("policy cannot be decoded: {reason}")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
    /// A signature policy and a reference were both given.
    #[error("give either a signature policy or a channel policy reference, not both")]
    Both,
    /// The channel has no policy of that name.
    #[error("channel has no policy {path}")]
    Unknown {
        /// The path that was asked for.
        path: String,
    },
    /// The signatures that are there do not suffice.
    #[error("policy {path} is not satisfied: {reason}")]
    Unsatisfied {
        /// The policy.
        path: String,
        /// What was found and what is needed.
        reason: String,
    },
}

impl PolicyError {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }
}
