//! `configtx.yaml`: channels as people describe them.
//!
//! A module of its own because these names are configtxgen's interface, with its defaults and its strictness: a key
//! that it does not know is an error.
//!
//! Source: Fabric 3.1.5 `internal/configtxgen/genesisconfig`, `common/viperutil`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::fabric::config::edit::profile::{Policies, nullable, parse};
use crate::fabric::config::edit::{EditError, size};

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
struct TopLevel {
    #[serde(deserialize_with = "nullable")]
    profiles: BTreeMap<String, Profile>,
    // What profiles are made of by reference; looked at for its form alone.
    #[serde(rename = "Organizations", deserialize_with = "nullable")]
    _organizations: Vec<Organization>,
    #[serde(rename = "Channel")]
    _channel: Option<Profile>,
    #[serde(rename = "Application")]
    _application: Option<Application>,
    #[serde(rename = "Orderer")]
    _orderer: Option<Orderer>,
    #[serde(rename = "Capabilities", deserialize_with = "nullable")]
    _capabilities: BTreeMap<String, BTreeMap<String, bool>>,
}

/// A channel.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub struct Profile {
    #[serde(deserialize_with = "nullable")]
    pub(super) consortium: String,
    pub(super) application: Option<Application>,
    pub(super) orderer: Option<Orderer>,
    pub(super) consortiums: Option<BTreeMap<String, Consortium>>,
    #[serde(deserialize_with = "nullable")]
    pub(super) capabilities: BTreeMap<String, bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) policies: Policies,
}

impl Profile {
    /// Reads the profile of this name from the text of a `configtx.yaml`; without a name, the only one there is.
    ///
    /// # Errors
    /// [`EditError::Profile`] when the file has another form or no such profile.
    pub fn parse(text: &str, name: &str) -> Result<Self, EditError> {
        let mut file: TopLevel = parse(text)?;
        if name.is_empty() && file.profiles.len() == 1 {
            return file
                .profiles
                .pop_first()
                .map(|(_, profile)| profile)
                .ok_or_else(|| EditError::profile("no profile"));
        }
        let known = file.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
        let profile = file.profiles.remove(name);
        profile.ok_or_else(|| EditError::profile(format!("there is no profile {name:?}, but these: {known}")))
    }

    /// Whether it describes a whole channel, orderers included.
    pub fn is_whole(&self) -> bool {
        self.orderer.is_some() && self.application.is_some()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Consortium {
    #[serde(deserialize_with = "nullable")]
    pub(super) organizations: Vec<Organization>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Application {
    #[serde(deserialize_with = "nullable")]
    pub(super) organizations: Vec<Organization>,
    #[serde(deserialize_with = "nullable")]
    pub(super) capabilities: BTreeMap<String, bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) policies: Policies,
    #[serde(rename = "ACLs", deserialize_with = "nullable")]
    pub(super) acls: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Organization {
    #[serde(rename = "Name")]
    pub(super) name: String,
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "MSPDir", deserialize_with = "nullable")]
    pub(super) msp_dir: String,
    #[serde(rename = "MSPType", deserialize_with = "nullable")]
    pub(super) msp_type: String,
    #[serde(rename = "Policies", deserialize_with = "nullable")]
    pub(super) policies: Policies,
    #[serde(rename = "AnchorPeers", deserialize_with = "nullable")]
    pub(super) anchor_peers: Vec<Host>,
    #[serde(rename = "OrdererEndpoints", deserialize_with = "nullable")]
    pub(super) orderer_endpoints: Vec<String>,
    // Means nothing any more.
    #[serde(rename = "AdminPrincipal", deserialize_with = "nullable")]
    _admin_principal: String,
    #[serde(rename = "SkipAsForeign", deserialize_with = "nullable")]
    pub(super) skip_as_foreign: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Host {
    pub(super) host: String,
    #[serde(deserialize_with = "number")]
    pub(super) port: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Orderer {
    #[serde(rename = "OrdererType", deserialize_with = "nullable")]
    pub(super) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) addresses: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) batch_timeout: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) batch_size: BatchSize,
    #[serde(deserialize_with = "nullable")]
    pub(super) consenter_mapping: Vec<BftConsenter>,
    pub(super) etcd_raft: Option<Raft>,
    #[serde(rename = "SmartBFT")]
    pub(super) smart_bft: Option<BftOptions>,
    #[serde(deserialize_with = "nullable")]
    pub(super) organizations: Vec<Organization>,
    #[serde(deserialize_with = "number")]
    pub(super) max_channels: u64,
    #[serde(deserialize_with = "nullable")]
    pub(super) capabilities: BTreeMap<String, bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) policies: Policies,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct BatchSize {
    #[serde(deserialize_with = "number")]
    pub(super) max_message_count: u32,
    #[serde(deserialize_with = "number")]
    pub(super) absolute_max_bytes: u32,
    #[serde(deserialize_with = "number")]
    pub(super) preferred_max_bytes: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BftConsenter {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: u32,
    #[serde(rename = "Host")]
    pub(super) host: String,
    #[serde(rename = "Port", deserialize_with = "number")]
    pub(super) port: u32,
    #[serde(rename = "MSPID")]
    pub(super) msp_id: String,
    #[serde(rename = "Identity")]
    pub(super) identity: String,
    #[serde(rename = "ClientTLSCert")]
    pub(super) client_tls_cert: String,
    #[serde(rename = "ServerTLSCert")]
    pub(super) server_tls_cert: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Raft {
    #[serde(deserialize_with = "nullable")]
    pub(super) consenters: Vec<RaftConsenter>,
    #[serde(deserialize_with = "nullable")]
    pub(super) options: RaftOptions,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RaftConsenter {
    #[serde(rename = "Host")]
    pub(super) host: String,
    #[serde(rename = "Port", deserialize_with = "number")]
    pub(super) port: u32,
    #[serde(rename = "ClientTLSCert")]
    pub(super) client_tls_cert: String,
    #[serde(rename = "ServerTLSCert")]
    pub(super) server_tls_cert: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct RaftOptions {
    #[serde(deserialize_with = "nullable")]
    pub(super) tick_interval: String,
    #[serde(deserialize_with = "number")]
    pub(super) election_tick: u32,
    #[serde(deserialize_with = "number")]
    pub(super) heartbeat_tick: u32,
    #[serde(deserialize_with = "number")]
    pub(super) max_inflight_blocks: u32,
    #[serde(deserialize_with = "number")]
    pub(super) snapshot_interval_size: u32,
}

/// The settings of BFT; those of the library that agrees where none are given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct BftOptions {
    #[serde(deserialize_with = "number")]
    pub(super) request_batch_max_count: u64,
    #[serde(deserialize_with = "number")]
    pub(super) request_batch_max_bytes: u64,
    pub(super) request_batch_max_interval: String,
    #[serde(deserialize_with = "number")]
    pub(super) incoming_message_buffer_size: u64,
    #[serde(deserialize_with = "number")]
    pub(super) request_pool_size: u64,
    pub(super) request_forward_timeout: String,
    pub(super) request_complain_timeout: String,
    pub(super) request_auto_remove_timeout: String,
    #[serde(deserialize_with = "number")]
    pub(super) request_max_bytes: u64,
    pub(super) view_change_resend_interval: String,
    pub(super) view_change_timeout: String,
    pub(super) leader_heartbeat_timeout: String,
    #[serde(deserialize_with = "number")]
    pub(super) leader_heartbeat_count: u64,
    pub(super) collect_timeout: String,
    pub(super) sync_on_start: bool,
    pub(super) speed_up_view_change: bool,
    #[serde(deserialize_with = "number")]
    pub(super) leader_rotation: u32,
    #[serde(deserialize_with = "number")]
    pub(super) decisions_per_leader: u64,
}

impl BftOptions {
    pub(super) fn of_the_library() -> Self {
        let text = str::to_owned;
        Self {
            request_batch_max_count: 100,
            request_batch_max_bytes: 10 << 20,
            request_batch_max_interval: text("50ms"),
            incoming_message_buffer_size: 200,
            request_pool_size: 400,
            request_forward_timeout: text("2s"),
            request_complain_timeout: text("20s"),
            request_auto_remove_timeout: text("3m0s"),
            view_change_resend_interval: text("5s"),
            view_change_timeout: text("20s"),
            leader_heartbeat_timeout: text("1m0s"),
            leader_heartbeat_count: 10,
            collect_timeout: text("1s"),
            ..Self::default()
        }
    }
}

/// A number, as such or as text, also with a unit such as `512 KB`.
fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
        Nothing(()),
    }

    let read = match Written::deserialize(deserializer)? {
        Written::Number(number) => Some(number),
        Written::Nothing(()) => Some(0),
        Written::Text(text) if text.is_empty() => Some(0),
        Written::Text(text) => size(&text).map(u64::from).or_else(|| text.parse().ok()),
    };
    read.and_then(|number| T::try_from(number).ok()).ok_or_else(|| D::Error::custom("a number or size is no such"))
}
