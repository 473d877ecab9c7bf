//! The network as its folder describes it: to clients by profiles, to shells by environments, to scripts by one file.
//!
//! A module of its own because none of it is needed to run the network.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::made::MadeOrganization;
use super::start::MARKER;
use super::{Devnet, NodeAddress};
use crate::devnet::error::DevnetError;
use crate::devnet::files::{self, FileError};
use crate::devnet::profile::{self, CommandLine, Profile, ProfileNode};
use crate::fabric::names::ChannelName;
use crate::runtime::durable::replace_file_blocking;

fn profile_node<'a>(node: &'a NodeAddress, tls_ca_pem: &'a str) -> ProfileNode<'a> {
    ProfileNode { fqdn: &node.fqdn, address: &node.address, tls_ca_pem }
}

pub(super) fn write_profiles(folder: &Path, made: &[MadeOrganization], mutual_tls: bool) -> Result<(), DevnetError> {
    let cli = folder.join("cli");
    profile::write_core(&cli)?;
    for (index, own) in made.iter().enumerate() {
        let others = made.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
        let orderers = std::iter::once(own)
            .chain(others)
            .flat_map(|made| made.organization.orderers.iter().map(|node| profile_node(node, &made.tls_ca_pem)));
        let client = (own.organization.admin_tls_certificate.as_path(), own.organization.admin_tls_key.as_path());
        let profile = Profile {
            organization: &own.organization.name,
            msp_id: own.organization.msp_id.as_str(),
            peers: own.organization.peers.iter().map(|node| profile_node(node, &own.tls_ca_pem)).collect(),
            orderers: orderers.collect(),
            client: mutual_tls.then_some(client),
        };
        profile.write(&own.organization.connection_profile, &own.organization.connection_profile_json)?;
        let orderer = &own.organization.orderers[0];
        CommandLine {
            msp_id: own.organization.msp_id.as_str(),
            admin_msp: &own.organization.admin_msp,
            peer: &own.organization.peers[0].address,
            peer_tls_ca: &own.organization.tls_ca,
            orderer: &orderer.address,
            orderer_fqdn: &orderer.fqdn,
            orderer_tls_ca: &own.organization.tls_ca,
            orderer_admin: orderer.admin.as_deref().unwrap_or_default(),
            admin_tls_certificate: &own.organization.admin_tls_certificate,
            admin_tls_key: &own.organization.admin_tls_key,
            mutual_tls,
        }
        .write(&own.organization.environment, &cli)?;
    }
    Ok(())
}

/// Describes the network, with these application channels, for scripts, and marks the folder as ours.
pub(super) fn write_marker(network: &Devnet, channels: &[ChannelName]) -> Result<(), DevnetError> {
    let node = |node: &NodeAddress| {
        let NodeAddress { name, fqdn, address, admin } = node;
        let mut described = serde_json::json!({ "name": name, "fqdn": fqdn, "address": address });
        if let Some(admin) = admin {
            described["admin"] = admin.as_str().into();
        }
        described
    };
    let shown = |path: &PathBuf| path.display().to_string();
    let organizations: Vec<_> = network
        .organizations
        .iter()
        .map(|organization| {
            serde_json::json!({
                "name": organization.name,
                "mspid": organization.msp_id.as_str(),
                "domain": organization.domain,
                "admin_msp": shown(&organization.admin_msp),
                "admin_cert": shown(&organization.admin_certificate),
                "admin_key": shown(&organization.admin_key),
                "admin_tls_cert": shown(&organization.admin_tls_certificate),
                "admin_tls_key": shown(&organization.admin_tls_key),
                "user_msp": shown(&organization.user_msp),
                "tls_ca": shown(&organization.tls_ca),
                "connection_profile": shown(&organization.connection_profile),
                "connection_profile_json": shown(&organization.connection_profile_json),
                "environment": shown(&organization.environment),
                "peers": organization.peers.iter().map(node).collect::<Vec<_>>(),
                "orderers": organization.orderers.iter().map(node).collect::<Vec<_>>(),
            })
        })
        .collect();
    let described = serde_json::json!({
        "ops_channel": network.ops_channel.as_str(),
        "channels": channels.iter().map(ChannelName::as_str).collect::<Vec<_>>(),
        "system_channel": network.system_channel.as_ref().map(ChannelName::as_str),
        "bft": network.origin.bft,
        "orgs": organizations,
        "kept": network.origin.is_kept,
    });
    // As a whole: an earlier run's description stays until this one's is there.
    let path = network.folder.join(MARKER);
    let text = format!("{described:#}\n");
    replace_file_blocking(&path, text.as_bytes()).map_err(|source| FileError::new(&path, source))?;
    Ok(())
}

/// A network that an earlier run has kept, as its folder describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    ops_channel: String,
    channels: Vec<String>,
    #[serde(default)]
    system_channel: Option<String>,
    #[serde(default)]
    bft: bool,
    orgs: Vec<KeptOrganization>,
    #[serde(rename = "kept")]
    resumable: bool,
}

#[derive(Debug, Deserialize)]
struct KeptOrganization {
    peers: Vec<KeptNode>,
    orderers: Vec<KeptNode>,
}

#[derive(Debug, Deserialize)]
struct KeptNode {
    address: String,
    admin: Option<String>,
}

impl Kept {
    /// The network that is kept in `folder`, if there is one.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = files::read(&folder.join(MARKER)).ok()?;
        let kept: Self = serde_json::from_str(&text).ok()?;
        (kept.resumable && !kept.orgs.is_empty()).then_some(kept)
    }

    /// The ops channel.
    pub(super) fn ops_channel(&self) -> Option<ChannelName> {
        ChannelName::parse(self.ops_channel.as_str()).ok()
    }

    /// The application channels that it was made with.
    pub(super) fn channels(&self) -> impl Iterator<Item = ChannelName> {
        self.channels.iter().filter_map(|name| ChannelName::parse(name.as_str()).ok())
    }

    /// The orderers' system channel, if it has one.
    pub(super) fn system_channel(&self) -> Option<ChannelName> {
        self.system_channel.as_deref().and_then(|name| ChannelName::parse(name).ok())
    }

    /// How many organizations it has.
    pub(super) fn organizations(&self) -> u16 {
        u16::try_from(self.orgs.len()).unwrap_or(u16::MAX)
    }

    /// How many peers each of them has.
    pub(super) fn peers(&self) -> u16 {
        self.orgs.first().map_or(0, |organization| u16::try_from(organization.peers.len()).unwrap_or(u16::MAX))
    }

    /// The port that a peer had.
    pub(super) fn peer_port(&self, organization: u16, peer: u16) -> u16 {
        let peers = self.orgs.get(usize::from(organization)).map(|organization| &organization.peers);
        port(peers.and_then(|peers| peers.get(usize::from(peer))).map(|peer| peer.address.as_str()))
    }

    /// Whether its orderers agree by BFT.
    pub(super) fn is_bft(&self) -> bool {
        self.bft
    }

    /// How many orderers each of them has.
    pub(super) fn orderers(&self) -> u16 {
        self.orgs.first().map_or(1, |organization| u16::try_from(organization.orderers.len()).unwrap_or(u16::MAX))
    }

    /// The ports that an orderer had, for its services and its administrators.
    pub(super) fn orderer_ports(&self, organization: u16, orderer: u16) -> (u16, u16) {
        let orderers = self.orgs.get(usize::from(organization)).map(|organization| &organization.orderers);
        let orderer = orderers.and_then(|orderers| orderers.get(usize::from(orderer)));
        let admin = orderer.and_then(|orderer| orderer.admin.as_deref());
        (port(orderer.map(|orderer| orderer.address.as_str())), port(admin))
    }
}

/// The port in an address, or 0, at which the system chooses.
fn port(address: Option<&str>) -> u16 {
    address.and_then(|address| address.rsplit_once(':')?.1.parse().ok()).unwrap_or(0)
}
