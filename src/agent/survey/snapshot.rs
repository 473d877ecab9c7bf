//! What was seen, as data. Its JSON is a part of the operations API, so names only ever get added.
//!
//! All texts of others in it are fit to be shown, and all lists are bounded: the ledger may say anything.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// One look at the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// When it was taken, in milliseconds since 1970.
    pub taken_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The own peers.
    pub peers: Vec<PeerView>,
    /// The orderers of the connection profile.
    pub orderers: Vec<OrdererView>,
    /// The channels that own peers are in, or should be.
    pub channels: Vec<ChannelView>,
    /// Certificates that will run out.
    pub certificates: Vec<CertificateView>,
    /// What could not be found out, or was left out because there is too much of it.
    pub remarks: Vec<String>,
}

/// An own peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// What the connection profile calls it.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// Whether it answered.
    pub up: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The channels that it is in.
    pub channels: Vec<PeerChannel>,
}

/// A channel as one peer has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerChannel {
    /// The channel.
    pub name: String,
    /// How many blocks the peer has; `None` where it does not tell.
    pub height: Option<u64>,
}

/// An orderer of the connection profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrdererView {
    /// What the connection profile calls it.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// Whether it answered, be it with a refusal.
    pub up: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many blocks of the ops channel it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// What OpsSC says it is for; `None` where it does not know the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its members, as OpsSC knows them.
    pub organizations: Vec<String>,
    /// How many blocks the own peer that has most of them has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// The own peers that answered and are not in it, although the own organization is a member.
    pub missing_peers: Vec<String>,
    /// The chaincodes that are committed on it.
    pub chaincodes: Vec<ChaincodeView>,
    /// Why these are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A chaincode that is committed on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChaincodeView {
    /// Its name.
    pub name: String,
    /// The sequence of its definition.
    pub sequence: i64,
    /// The version of its definition.
    pub version: String,
    /// Which organizations of the channel have approved exactly this definition; empty where that is not known.
    pub approvals: BTreeMap<String, bool>,
}

/// A certificate and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// Which one.
    pub what: String,
    /// Whose it is.
    pub subject: String,
    /// Its last moment, in seconds since 1970.
    pub not_after: i64,
    /// Whole days left when this was seen; negative once it has expired.
    pub days_left: i64,
}

impl Snapshot {
    /// Whether any of the own peers answered.
    pub fn reaches_peers(&self) -> bool {
        self.peers.iter().any(|peer| peer.up)
    }

    /// Whether any orderer answered, or none is known that could.
    pub fn reaches_orderers(&self) -> bool {
        self.orderers.is_empty() || self.orderers.iter().any(|orderer| orderer.up)
    }

    /// How many blocks the own peers have of a channel.
    pub fn height(&self, channel: &str) -> Option<u64> {
        self.channels.iter().find(|known| known.name == channel)?.height
    }
}
