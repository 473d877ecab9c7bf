//! The network as its folder describes it: to clients by profiles, to shells by environments, to scripts by one file.
//!
//! A module of its own because none of it is needed to run the network.

use std::path::{Path, PathBuf};

use super::start::{MARKER, MadeOrganization};
use super::{NodeAddress, Organization};
use crate::devnet::error::DevnetError;
use crate::devnet::files;
use crate::devnet::profile::{self, CommandLine, Profile, ProfileNode};
use crate::fabric::names::ChannelName;

fn profile_node<'a>(node: &'a NodeAddress, tls_ca_pem: &'a str) -> ProfileNode<'a> {
    ProfileNode { fqdn: &node.fqdn, address: &node.address, tls_ca_pem }
}

pub(super) fn write_profiles(folder: &Path, made: &[MadeOrganization]) -> Result<(), DevnetError> {
    let cli = folder.join("cli");
    profile::write_core(&cli)?;
    for (index, own) in made.iter().enumerate() {
        let others = made.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
        let orderers = std::iter::once(own)
            .chain(others)
            .flat_map(|made| made.organization.orderers.iter().map(|node| profile_node(node, &made.tls_ca_pem)));
        let profile = Profile {
            organization: &own.organization.name,
            msp_id: own.organization.msp_id.as_str(),
            peers: own.organization.peers.iter().map(|node| profile_node(node, &own.tls_ca_pem)).collect(),
            orderers: orderers.collect(),
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
        }
        .write(&own.organization.environment, &cli)?;
    }
    Ok(())
}

/// Describes the network for scripts, and marks the folder as ours.
pub(super) fn write_marker(
    folder: &Path,
    ops_channel: &ChannelName,
    channels: &[ChannelName],
    organizations: &[Organization],
) -> Result<(), DevnetError> {
    let node = |node: &NodeAddress| {
        let NodeAddress { name, fqdn, address, admin } = node;
        let mut described = serde_json::json!({ "name": name, "fqdn": fqdn, "address": address });
        if let Some(admin) = admin {
            described["admin"] = admin.as_str().into();
        }
        described
    };
    let text = |path: &PathBuf| path.display().to_string();
    let organizations: Vec<_> = organizations
        .iter()
        .map(|organization| {
            serde_json::json!({
                "name": organization.name,
                "mspid": organization.msp_id.as_str(),
                "domain": organization.domain,
                "admin_msp": text(&organization.admin_msp),
                "admin_cert": text(&organization.admin_certificate),
                "admin_key": text(&organization.admin_key),
                "admin_tls_cert": text(&organization.admin_tls_certificate),
                "admin_tls_key": text(&organization.admin_tls_key),
                "user_msp": text(&organization.user_msp),
                "tls_ca": text(&organization.tls_ca),
                "connection_profile": text(&organization.connection_profile),
                "connection_profile_json": text(&organization.connection_profile_json),
                "environment": text(&organization.environment),
                "peers": organization.peers.iter().map(node).collect::<Vec<_>>(),
                "orderers": organization.orderers.iter().map(node).collect::<Vec<_>>(),
            })
        })
        .collect();
    let network = serde_json::json!({
        "ops_channel": ops_channel.as_str(),
        "channels": channels.iter().map(ChannelName::as_str).collect::<Vec<_>>(),
        "orgs": organizations,
    });
    files::write(&folder.join(MARKER), format!("{network:#}\n"))?;
    Ok(())
}
