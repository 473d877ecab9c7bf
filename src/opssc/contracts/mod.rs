//! The OpsSC contracts themselves, for peers that run neither Go nor Docker, and for the embedded network.
//!
//! Peers of organizations that still run the original contracts must endorse the same bytes as ours: same keys, same
//! values, same events, same results, same reads. Where the original has a fault that ours does not repeat, [`Mode`]
//! says whether a consortium wants it kept.
//!
//! Both are reached by the names of the original's functions with one text per parameter. The contract API's own
//! function `org.hyperledger.fabric:GetMetadata` is not there: it only describes the others.
//!
//! Source: hyperledger-labs/fabric-opssc v0.4.0, its chaincodes; fabric-contract-api-go v1.2.0.

mod call;
mod chaincode_ops;
mod channel_ops;
mod channel_proposals;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
mod refusal;
mod repository;
mod shape;
mod time;

#[cfg(test)]
mod tests;

pub use chaincode_ops::ChaincodeOps;
pub use channel_ops::ChannelOps;

/// Whether the contracts repeat the original's known faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Ours: a channel's list of members changes only when an update changes the members.
    #[default]
    Fixed,
    /// The original's, for a consortium in which some still run it.
    Original,
}

/// That a text names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("contract mode {0:?} is neither fixed nor original")]
pub struct ModeError(String);

impl Mode {
    /// Reads the setting `OPSSC_CONTRACT`: `fixed` or `original`.
    ///
    /// # Errors
    /// [`ModeError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        match text {
            "fixed" => Ok(Self::Fixed),
            "original" => Ok(Self::Original),
            other => Err(ModeError(other.to_owned())),
        }
    }
}
