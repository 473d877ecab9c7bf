//! What can go wrong in one call to one node.
//!
//! A module of its own because every other error of the room is made of these. Each names the node, and tells apart
//! what has different consequences: not heard, refused by the node, refused by the chaincode.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};

use crate::fabric::identity::SignError;

/// A node, as errors name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    /// The connection profile's name, or what discovery calls it.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.address { f.write_str(&self.name) } else { write!(f, "{} ({})", self.name, self.address) }
    }
}

/// Why one call to one node brought nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The node was not reached, or the connection broke. Another node, or the same one later, may answer.
    #[error("{node} was not reached: {}", cause(source))]
    Transport {
        /// The node.
        node: NodeName,
        /// What the connection says.
        source: Box<Status>,
    },
    /// The node did not answer in time.
    #[error("{node} did not answer within {waited:?}")]
    Deadline {
        /// The node.
        node: NodeName,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The node has too much to do at the moment. Another one may have time; this one later.
    #[error("{node} is busy: {}", source.message())]
    Busy {
        /// The node.
        node: NodeName,
        /// Its words.
        source: Box<Status>,
    },
    /// The Gateway service of a peer could not do with other nodes what it was asked for.
    #[error("gateway on {node} failed: {}{}", source.message(), shown(details))]
    Gateway {
        /// The peer whose Gateway service it is.
        node: NodeName,
        /// Its words, with the code.
        source: Box<Status>,
        /// What the nodes said that it asked.
        details: Box<[GatewayDetail]>,
    },
    /// The node refused the call before it looked at what it is about: identity, access, protocol.
    #[error("{node} rejected the call: {}", source.message())]
    Rejected {
        /// The node.
        node: NodeName,
        /// Its words, with the code.
        source: Box<Status>,
    },
    /// The node answered with a status of failure of its own: no such channel, chaincode not running, no leader.
    #[error("{node} refused with status {status}: {message}")]
    Refused {
        /// The node.
        node: NodeName,
        /// Its status, in the manner of HTTP.
        status: i32,
        /// Its words.
        message: String,
    },
    /// The chaincode ran and refused. Another peer with the same state would say the same.
    #[error("chaincode on {node} refused with status {status}: {message}")]
    Chaincode {
        /// The node on which it ran.
        node: NodeName,
        /// The chaincode's status.
        status: i32,
        /// The chaincode's words.
        message: String,
    },
    /// The answer is not what the protocol says.
    #[error("{node} gave a malformed answer: {reason}")]
    Malformed {
        /// The node.
        node: NodeName,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing was sent, because nothing was signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// What one node said to a Gateway service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayDetail {
    /// `host:port` of the endorser or orderer.
    pub address: String,
    /// Its organization.
    pub msp_id: String,
    /// Its words.
    pub message: String,
}

impl GatewayDetail {
    /// The status and the words of the chaincode, where it was the chaincode that refused.
    pub fn refusal(&self) -> Option<(i32, &str)> {
        // The service has no other form for it.
        let (status, message) = self.message.strip_prefix("chaincode response ")?.split_once(", ")?;
        Some((status.parse().ok()?, message))
    }
}

impl fmt::Display for GatewayDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.address, self.msp_id, self.message)
    }
}

fn shown(details: &[GatewayDetail]) -> String {
    let listed: Vec<String> = details.iter().map(ToString::to_string).collect();
    if listed.is_empty() { String::new() } else { format!(" ({})", listed.join("; ")) }
}

impl CallError {
    /// A failed RPC, sorted by what it means.
    pub(super) fn of_status(node: &NodeName, status: Status, waited: Duration) -> Self {
        let node = node.clone();
        match status.code() {
            Code::DeadlineExceeded => Self::Deadline { node, waited },
            Code::ResourceExhausted => Self::Busy { node, source: Box::new(status) },
            Code::Unavailable | Code::Cancelled | Code::Aborted | Code::Internal | Code::DataLoss => {
                Self::Transport { node, source: Box::new(status) }
            }
            // What the node itself says has no source on this side.
            _ if status.source().is_some() => Self::Transport { node, source: Box::new(status) },
            _ => Self::Rejected { node, source: Box::new(status) },
        }
    }

    /// Whether the same call may succeed later or on another node.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Deadline { .. } | Self::Busy { .. } => true,
            Self::Gateway { source, .. } => {
                self.refusal().is_none()
                    && matches!(source.code(), Code::Unavailable | Code::Aborted | Code::FailedPrecondition)
            }
            Self::Refused { status, .. } => *status >= 500,
            Self::Sign(error) => error.is_retryable(),
            Self::Rejected { .. } | Self::Chaincode { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Whether it tells that the node cannot be reached or has no time, rather than what it thinks of the call.
    pub(super) fn is_of_its_health(&self) -> bool {
        matches!(self, Self::Transport { .. } | Self::Deadline { .. } | Self::Busy { .. })
    }

    /// Whether another node of the same kind is worth asking at once.
    pub(super) fn is_of_this_node(&self) -> bool {
        match self {
            Self::Chaincode { .. } | Self::Sign(_) => false,
            Self::Gateway { .. } => self.refusal().is_none(),
            _ => true,
        }
    }

    /// Whether it is certain that the node took no notice: it was never reached, or said no.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Self::Transport { source, .. } => {
                let mut error: Option<&(dyn std::error::Error + 'static)> = source.source();
                while let Some(source) = error {
                    if source.is::<tonic::ConnectError>() {
                        return true;
                    }
                    error = source.source();
                }
                false
            }
            Self::Deadline { .. } | Self::Malformed { .. } => false,
            // The service may have lost what an orderer did take.
            Self::Gateway { source, .. } => source.code() != Code::Unavailable,
            Self::Busy { .. }
            | Self::Rejected { .. }
            | Self::Refused { .. }
            | Self::Chaincode { .. }
            | Self::Sign(_) => true,
        }
    }

    /// The node, where one was involved.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Transport { node, .. }
            | Self::Deadline { node, .. }
            | Self::Busy { node, .. }
            | Self::Gateway { node, .. }
            | Self::Rejected { node, .. }
            | Self::Refused { node, .. }
            | Self::Chaincode { node, .. }
            | Self::Malformed { node, .. } => Some(node),
            Self::Sign(_) => None,
        }
    }

    /// The status and the words of whoever refused, node or chaincode.
    pub fn refusal(&self) -> Option<(i32, &str)> {
        match self {
            Self::Refused { status, message, .. } | Self::Chaincode { status, message, .. } => Some((*status, message)),
            Self::Gateway { details, .. } => details.iter().find_map(GatewayDetail::refusal),
            _ => None,
        }
    }
}

/// The last source of a failed connection says what happened ("connection refused"); the first only that it failed.
fn cause(status: &Status) -> String {
    let mut last = None;
    let mut error = status.source();
    while let Some(source) = error {
        last = Some(source.to_string());
        error = source.source();
    }
    match last {
        Some(last) if last != status.message() => format!("{}: {last}", status.message()),
        _ => status.message().to_owned(),
    }
}

/// Several failures on one line.
pub(super) fn listed(errors: &[CallError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sorted_by_what_they_mean() {
        let node = NodeName { name: "peer0".into(), address: "localhost:7051".into() };
        let waited = Duration::from_secs(30);
        let sorted = |status| CallError::of_status(&node, status, waited);
        assert!(matches!(sorted(Status::deadline_exceeded("")), CallError::Deadline { .. }));
        assert!(matches!(sorted(Status::unavailable("")), CallError::Transport { .. }));
        let denied = sorted(Status::unknown("access denied: channel [x] creator org [y]"));
        assert!(matches!(denied, CallError::Rejected { .. }));
        assert!(!denied.is_retryable());
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        let broken = sorted(broken);
        assert!(broken.is_retryable() && !broken.is_certain());
        assert_eq!(
            denied.to_string(),
            "peer0 (localhost:7051) rejected the call: access denied: channel [x] creator org [y]"
        );
    }

    #[test]
    fn a_call_that_never_left_is_certain() {
        let node = NodeName { name: "o".into(), address: "o".into() };
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
        let error = CallError::of_status(&node, status, Duration::ZERO);
        assert!(error.is_certain(), "{error:?}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
