//! Updates of a configuration: what one says, what it makes of a configuration, and who has to sign it.
//!
//! A module of its own because three sides need the same rules: who proposes a change computes it, who is to sign it
//! wants to know what it does, and the orderers (those of the embedded network too) apply it.
//!
//! Source: Fabric 3.1.5 `internal/configtxlator/update` and `common/configtx`.

mod apply;
mod compute;
mod place;
#[cfg(test)]
mod properties;
mod standing;
#[cfg(test)]
mod tests;

pub use apply::apply;
pub use compute::compute;
pub(crate) use place::{Element, check_key, elements};
pub use place::{Kind, Place};
pub use standing::{Standing, standing};

use super::tree::TreeError;

/// Why there is no update, or why it cannot be applied. The words are Fabric's: clients look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// A configuration without its root.
    #[error("no channel group included for {which} config")]
    NoGroup {
        /// `original`, `updated` or `current`.
        which: &'static str,
    },
    /// Nothing would change.
    #[error("no differences detected between original and updated config")]
    NoDifference,
    /// The update is for another channel.
    #[error("ConfigUpdate for channel '{update}' but envelope for channel '{channel}'")]
    Channel {
        /// What the update says.
        update: String,
        /// The channel.
        channel: String,
    },
    /// A set that is no configuration.
    #[error("error mapping {set}: {reason}")]
    Malformed {
        /// `ReadSet`, `WriteSet` or `current config`.
        set: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It was made from another version of the configuration: compute it again and collect signatures again.
    #[error("error validating ReadSet: {reason}")]
    Stale {
        /// Which element differs.
        reason: String,
    },
    /// A change that may not be.
    #[error("error validating DeltaSet: {reason}")]
    Delta {
        /// Why not.
        reason: String,
    },
    /// The signatures do not satisfy a policy that guards a change.
    #[error("error validating DeltaSet: policy for {place} not satisfied: {reason}")]
    Unauthorized {
        /// What is to be changed.
        place: Box<Place>,
        /// What is missing.
        reason: String,
    },
    /// The sets contradict each other.
    #[error("{reason}")]
    Incomplete {
        /// How.
        reason: String,
    },
    /// The bytes cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}
