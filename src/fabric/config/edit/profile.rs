//! The profiles of edits, as people write them: YAML, or the same tree as JSON.
//!
//! A module of its own because these names are an interface: organizations keep such files, and proposals carry them.
//!
//! Does not judge what it reads beyond its form.
//!
//! Source: the profiles of fabric-opssc's configtx CLI.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::EditError;

/// Reads a profile from YAML or JSON.
///
/// # Errors
/// [`EditError::Profile`] when it has another form.
pub fn parse<P: DeserializeOwned>(text: &str) -> Result<P, EditError> {
    // JSON may hold tabs, which YAML does not take.
    if text.trim_start().starts_with(['{', '['])
        && let Ok(profile) = serde_json::from_str(text)
    {
        return Ok(profile);
    }
    let read = || {
        let mut value: serde_yaml::Value = serde_yaml::from_str(text)?;
        value.apply_merge()?;
        serde_yaml::from_value(value)
    };
    read().map_err(|error: serde_yaml::Error| EditError::profile(error.to_string()))
}

/// What is written as nothing is as if it were not written.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A policy by its rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct PolicyProfile {
    /// `Signature` or `ImplicitMeta`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Such as `OR('Org1MSP.admin')` or `MAJORITY Admins`.
    pub rule: String,
}

/// Policies by name; a name without a policy is refused later, with the name.
pub type Policies = BTreeMap<String, Option<PolicyProfile>>;

/// An organization.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OrganizationProfile {
    /// The name of its group.
    #[serde(rename = "Name")]
    pub name: String,
    /// Its MSP ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// The folder of its MSP.
    #[serde(rename = "MSPDir", deserialize_with = "nullable")]
    pub msp_dir: String,
    /// Its MSP, inline.
    #[serde(rename = "MSP")]
    pub msp: Option<MspProfile>,
    /// Its policies.
    #[serde(rename = "Policies", deserialize_with = "nullable")]
    pub policies: Policies,
    /// The peers by which others find it.
    #[serde(rename = "AnchorPeers", deserialize_with = "nullable")]
    pub anchor_peers: Vec<AnchorPeer>,
    /// Its orderers, host and port.
    #[serde(rename = "OrdererEndpoints", deserialize_with = "nullable")]
    pub orderer_endpoints: Vec<String>,
}

/// A peer by which others find an organization.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AnchorPeer {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// An MSP, every certificate as PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MspProfile {
    /// Authorities of members.
    #[serde(rename = "RootCerts", deserialize_with = "nullable")]
    pub root_certs: Vec<String>,
    /// Authorities below those.
    #[serde(rename = "IntermediateCerts", deserialize_with = "nullable")]
    pub intermediate_certs: Vec<String>,
    /// Administrators by certificate.
    #[serde(rename = "Admins", deserialize_with = "nullable")]
    pub admins: Vec<String>,
    /// Revocation lists.
    #[serde(rename = "RevocationList", deserialize_with = "nullable")]
    pub revocation_list: Vec<String>,
    /// Units whose members are members.
    #[serde(rename = "OrganizationalUnitIdentifiers", deserialize_with = "nullable")]
    pub organizational_unit_identifiers: Vec<UnitProfile>,
    /// Authorities of TLS certificates.
    #[serde(rename = "TLSRootCerts", deserialize_with = "nullable")]
    pub tls_root_certs: Vec<String>,
    /// Authorities below those.
    #[serde(rename = "TLSIntermediateCerts", deserialize_with = "nullable")]
    pub tls_intermediate_certs: Vec<String>,
    /// Roles by unit.
    #[serde(rename = "NodeOUs")]
    pub node_ous: Option<NodeUnitsProfile>,
}

/// Roles by organizational unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NodeUnitsProfile {
    /// Whether units make roles.
    #[serde(rename = "Enable")]
    pub enable: bool,
    /// The unit of clients.
    #[serde(rename = "ClientOUIdentifier")]
    pub client: Option<UnitProfile>,
    /// The unit of peers.
    #[serde(rename = "PeerOUIdentifier")]
    pub peer: Option<UnitProfile>,
    /// The unit of administrators.
    #[serde(rename = "AdminOUIdentifier")]
    pub admin: Option<UnitProfile>,
    /// The unit of orderers.
    #[serde(rename = "OrdererOUIdentifier")]
    pub orderer: Option<UnitProfile>,
}

/// An organizational unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UnitProfile {
    /// Its name.
    #[serde(rename = "OrganizationalUnitIdentifier", deserialize_with = "nullable")]
    pub name: String,
    /// The authority that has to vouch for it, as PEM.
    #[serde(rename = "Certificate", deserialize_with = "nullable")]
    pub certificate: String,
}

/// An orderer that takes part in consensus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConsenterProfile {
    /// Its host.
    #[serde(rename = "Host")]
    pub host: String,
    /// Its port.
    #[serde(rename = "Port")]
    pub port: u16,
    /// A file or PEM.
    #[serde(rename = "ClientTLSCert")]
    pub client_tls_cert: String,
    /// A file or PEM.
    #[serde(rename = "ServerTLSCert")]
    pub server_tls_cert: String,
    /// BFT alone: its organization.
    #[serde(rename = "MSPID", deserialize_with = "nullable")]
    pub msp_id: String,
    /// BFT alone: its enrolment certificate, a file or PEM.
    #[serde(rename = "Identity", deserialize_with = "nullable")]
    pub identity: String,
    /// BFT alone: its number; the next free one when it is new and none is given.
    #[serde(rename = "ID")]
    pub id: Option<u32>,
}

/// The orderers' settings, consenters aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct OrdererProfile {
    /// How orderers agree; it cannot be changed this way.
    pub orderer_type: String,
    /// How long a block waits for more, such as `2s`.
    pub batch_timeout: String,
    /// When a block is full.
    #[serde(deserialize_with = "nullable")]
    pub batch_size: BatchSizeProfile,
    /// The settings of Raft.
    pub etcd_raft_options: Option<RaftOptionsProfile>,
    /// How many channels there may be; 0 for any number.
    #[serde(deserialize_with = "nullable")]
    pub max_channels: u64,
    /// The policies.
    #[serde(deserialize_with = "nullable")]
    pub policies: Policies,
}

/// When a block is full. Sizes have a unit, such as `512 KB`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct BatchSizeProfile {
    /// So many messages.
    pub max_message_count: u32,
    /// So many bytes, which no message may exceed.
    pub absolute_max_bytes: String,
    /// So many bytes, unless one message alone is larger.
    pub preferred_max_bytes: String,
}

/// The settings of Raft.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct RaftOptionsProfile {
    /// The time of a tick, such as `500ms`.
    pub tick_interval: String,
    /// Ticks without a leader until an election.
    pub election_tick: u32,
    /// Ticks between heartbeats.
    pub heartbeat_tick: u32,
    /// Blocks on their way.
    pub max_inflight_blocks: u32,
    /// Bytes between snapshots, such as `16 MB`.
    pub snapshot_interval_size: String,
}

/// The channel's own settings, organizations aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ChannelProfile {
    /// Those of the application.
    pub application: Option<ApplicationProfile>,
    /// Those of the channel as a whole.
    pub channel: Option<ChannelPolicies>,
}

/// The application's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ApplicationProfile {
    /// The policies.
    #[serde(rename = "Policies", deserialize_with = "nullable")]
    pub policies: Policies,
    /// The policies of resources.
    #[serde(rename = "ACLs", deserialize_with = "nullable")]
    pub acls: BTreeMap<String, String>,
    /// When the channel is created: what peers must be able to do.
    #[serde(rename = "Capabilities", deserialize_with = "nullable")]
    pub capabilities: Vec<String>,
    /// When the channel is created: its members.
    #[serde(rename = "Organizations", deserialize_with = "nullable")]
    pub organizations: Vec<String>,
}

/// The policies of the channel as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ChannelPolicies {
    /// The policies.
    #[serde(deserialize_with = "nullable")]
    pub policies: Policies,
}

/// A channel that is to be created where there is a system channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct CreateChannelProfile {
    /// Under which consortium.
    #[serde(deserialize_with = "nullable")]
    pub consortium: String,
    /// Its application.
    pub application: Option<ApplicationProfile>,
}

/// One operation of several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct CommandProfile {
    pub(super) command: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) parameters: ParametersProfile,
}

/// What the operations of a list take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ParametersProfile {
    #[serde(rename = "OrgType", deserialize_with = "nullable")]
    pub(super) org_type: String,
    #[serde(rename = "Org")]
    pub(super) org: Option<OrganizationProfile>,
    #[serde(rename = "OrgName", deserialize_with = "nullable")]
    pub(super) org_name: String,
    #[serde(rename = "Channel")]
    pub(super) channel: Option<ChannelProfile>,
    #[serde(rename = "Orderer")]
    pub(super) orderer: Option<OrdererProfile>,
    #[serde(rename = "Consenter")]
    pub(super) consenter: Option<ConsenterProfile>,
    #[serde(rename = "ConsenterAddress", deserialize_with = "nullable")]
    pub(super) consenter_address: String,
    #[serde(rename = "Group", deserialize_with = "nullable")]
    pub(super) group: String,
    #[serde(rename = "Capabilities")]
    pub(super) capabilities: Option<Vec<String>>,
    #[serde(rename = "AnchorPeers")]
    pub(super) anchor_peers: Option<Vec<AnchorPeer>>,
    #[serde(rename = "ACLs")]
    pub(super) acls: Option<BTreeMap<String, String>>,
    #[serde(rename = "OrdererEndpoints")]
    pub(super) orderer_endpoints: Option<Vec<String>>,
    #[serde(rename = "RevocationList")]
    pub(super) revocation_list: Option<Vec<String>>,
}
