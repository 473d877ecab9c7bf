//! What can go wrong with the embedded network.

use super::crypto::FoldersError;
use super::files::FileError;
use super::listener::ListenError;
use crate::fabric::config::ConfigError;
use crate::fabric::identity::{IdentityError, MspError};
use crate::fabric::names::ChannelName;

/// What Fabric's decoder says of bytes that are no message; clients see it in answers.
pub(crate) const WIRE_FORMAT: &str = "proto: cannot parse invalid wire-format data";

/// Why the network (or a part of it) could not be started, changed or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevnetError {
    /// What was asked for makes no network.
    #[error("no such network can be made: {0}")]
    Plan(String),
    /// The folder holds something else; nothing was touched.
    #[error("folder {0} holds files that are not an embedded network's")]
    ForeignFolder(String),
    /// Certificates and keys could not be made or written.
    #[error("certificates could not be made")]
    Crypto(#[from] FoldersError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A node cannot listen.
    #[error("node {node} cannot be started")]
    Listen {
        /// Which node.
        node: String,
        /// Why not.
        source: ListenError,
    },
    /// An identity that was just made cannot be used.
    #[error("identity of {node} cannot be used")]
    Identity {
        /// Whose identity.
        node: String,
        /// Why not.
        source: IdentityError,
    },
    /// The MSP of an organization that was just made cannot be used.
    #[error("MSP of {organization} cannot be used")]
    Msp {
        /// Whose.
        organization: String,
        /// Why not.
        source: MspError,
    },
    /// The first configuration of a channel cannot be used.
    #[error("channel {channel} cannot be made")]
    Channel {
        /// Which channel.
        channel: ChannelName,
        /// Why not.
        source: ConfigError,
    },
    /// A peer did not take a channel that was just made.
    #[error("peer {peer} did not join a channel: {reason}")]
    Join {
        /// Which peer.
        peer: String,
        /// Its words.
        reason: String,
    },
    /// What an earlier run has kept cannot be taken up.
    #[error("{what}, which an earlier run has kept, cannot be taken up: {reason}")]
    Kept {
        /// What.
        what: String,
        /// Why not.
        reason: String,
    },
    /// An orderer did not take a channel.
    #[error("orderer {orderer} did not join a channel: {reason}")]
    Order {
        /// Which orderer.
        orderer: String,
        /// Its words.
        reason: String,
    },
    /// Another network runs in the folder.
    #[error("a network runs in folder {0} already")]
    Busy(String),
    /// Orders cannot be taken.
    #[error("cannot listen for orders at {path}")]
    Control {
        /// Where.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no node of that name.
    #[error("no node is called {0}")]
    NoNode(String),
}
