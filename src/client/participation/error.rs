//! What can go wrong between us and an orderer's administration.
//!
//! A module of its own because the service is no gRPC: its statuses are HTTP's, and a variant tells what follows from
//! one, so that callers need not know them.

use std::time::Duration;

use super::super::error::NodeName;
use crate::fabric::names::ChannelName;

/// Why an orderer did not do or tell what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParticipationError {
    /// What was to be sent is not of this channel, so nothing was sent.
    #[error("nothing was sent for channel {channel}: {reason}")]
    Unfit {
        /// The channel that was meant.
        channel: ChannelName,
        /// What is wrong.
        reason: String,
    },
    /// The orderer was not reached, so nothing happened.
    #[error("{node} was not reached: {reason}")]
    Unreached {
        /// The orderer.
        node: NodeName,
        /// What the connection says; a certificate that is not accepted often shows here.
        reason: String,
    },
    /// The answer did not come or broke off: it may have happened or not.
    #[error("{node} did not answer: {reason}")]
    Broken {
        /// The orderer.
        node: NodeName,
        /// What the connection says.
        reason: String,
    },
    /// The answer did not come in time: it may have happened or not.
    #[error("{node} did not answer within {waited:?}")]
    Deadline {
        /// The orderer.
        node: NodeName,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The orderer is in the channel already.
    #[error("{node} has joined the channel before: {message}")]
    AlreadyJoined {
        /// The orderer.
        node: NodeName,
        /// Its words.
        message: String,
    },
    /// The orderer has no such channel, or not this block of it, or is too old to know the question.
    #[error("{node} does not have it: {message}")]
    NotFound {
        /// The orderer.
        node: NodeName,
        /// Its words.
        message: String,
    },
    /// The orderer refused for another reason.
    #[error("{node} refused with status {status}: {message}")]
    Refused {
        /// The orderer.
        node: NodeName,
        /// The status of HTTP.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The answer is not what the protocol says.
    #[error("{node} gave a malformed answer: {reason}")]
    Malformed {
        /// The orderer.
        node: NodeName,
        /// What is wrong with it.
        reason: String,
    },
}

impl ParticipationError {
    /// Whether the same may succeed later. Every call may be made again: none does its work twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreached { .. } | Self::Broken { .. } | Self::Deadline { .. } => true,
            // 403: it has not caught up yet; 409: the channel is being removed.
            Self::Refused { status, .. } => matches!(status, 403 | 409 | 500..),
            Self::Unfit { .. } | Self::AlreadyJoined { .. } | Self::NotFound { .. } | Self::Malformed { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let node = || NodeName { name: "orderer0".into(), address: "localhost:7053".into() };
        let refused = |status| ParticipationError::Refused { node: node(), status, message: String::new() };
        for (status, retryable) in [(400, false), (403, true), (406, false), (409, true), (500, true), (503, true)] {
            assert_eq!(refused(status).is_retryable(), retryable, "{status}");
        }
        assert!(!ParticipationError::AlreadyJoined { node: node(), message: String::new() }.is_retryable());
    }
}
