//! Edits of organizations.
//!
//! A module of its own because an organization is a group of its own kind: MSP, policies, where its nodes are.
//! Certificates of a profile are written anew, so that the same MSP gives the same bytes wherever it comes from.
//!
//! Source: fabric-config 0.3.0 `configtx/organization.go`, `msp.go`.

use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::build::{self, Dialect, normal_certificate};
use super::profile::{AnchorPeer, MspProfile, NodeUnitsProfile, OrganizationProfile, UnitProfile};
use super::{EditError, child};
use crate::fabric::config::tree::{ConfigGroup, Fields};
use crate::fabric::identity::{MspFolder, pem};
use crate::fabric::names::MspId;
use crate::pb::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, MspConfig};
use crate::pb::{common, protos};

/// As what an organization is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationType {
    /// It transacts.
    Application,
    /// It orders.
    Orderer,
    /// It may create channels, in every consortium of a system channel.
    Consortiums,
}

impl OrganizationType {
    /// Reads one type, or several joined by a bar. Nothing means `Application`.
    ///
    /// # Errors
    /// [`EditError::Profile`] for an unknown type.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, EditError> {
        if text.is_empty() {
            return Ok(vec![Self::Application]);
        }
        let one = |name: &str| match name {
            "Application" => Ok(Self::Application),
            "Orderer" => Ok(Self::Orderer),
            "Consortiums" => Ok(Self::Consortiums),
            other => Err(EditError::profile(format!("there is no organization type {other:?}"))),
        };
        text.split('|').map(one).collect()
    }
}

pub(super) fn set(
    root: &mut ConfigGroup,
    types: &[OrganizationType],
    profile: &OrganizationProfile,
    files: Option<&Path>,
) -> Result<(), EditError> {
    if profile.name.is_empty() {
        return Err(EditError::profile("the organization has no Name"));
    }
    crate::fabric::config::update::check_key(&profile.name).map_err(EditError::profile)?;
    let mut member = build::group();
    member.policies = build::policies(&profile.policies, &[], Dialect::Profiles)?;
    let msp = MspConfig { r#type: 0, config: msp(profile, files)?.encode_to_vec().into() };
    build::set(&mut member, "MSP", msp.encode_to_vec());
    for kind in types {
        let mut member = member.clone();
        match kind {
            OrganizationType::Application => {
                put_anchor_peers(&mut member, addresses(&profile.anchor_peers));
                put(child(root, "Application")?, &profile.name, &member);
            }
            OrganizationType::Orderer => {
                put_endpoints(&mut member, &profile.orderer_endpoints);
                put(child(root, "Orderer")?, &profile.name, &member);
            }
            OrganizationType::Consortiums => {
                let consortiums = child(root, "Consortiums")?;
                consortiums.groups.values_mut().for_each(|group| put(group, &profile.name, &member));
            }
        }
    }
    Ok(())
}

/// What is there and says the same keeps its bytes.
fn put(group: &mut ConfigGroup, name: &str, member: &ConfigGroup) {
    let existing = group.groups.entry(name.to_owned()).or_default();
    existing.mod_policy.clone_from(&member.mod_policy);
    existing.groups.clear();
    existing.policies.clone_from(&member.policies);
    existing.values.retain(|name, _| member.values.contains_key(name));
    for (name, value) in &member.values {
        build::set(existing, name, value.value.clone());
    }
}

pub(super) fn remove(root: &mut ConfigGroup, types: &[OrganizationType], name: &str) -> Result<(), EditError> {
    for kind in types {
        let from = match kind {
            OrganizationType::Application => child(root, "Application")?,
            OrganizationType::Orderer => child(root, "Orderer")?,
            OrganizationType::Consortiums => {
                for consortium in child(root, "Consortiums")?.groups.values_mut() {
                    consortium.groups.remove(name);
                }
                continue;
            }
        };
        from.groups.remove(name).ok_or_else(|| EditError::absent(format!("organization {name}")))?;
    }
    Ok(())
}

pub(super) fn set_anchor_peers(root: &mut ConfigGroup, name: &str, peers: &[AnchorPeer]) -> Result<(), EditError> {
    let group = child(root, "Application")?.groups.get_mut(name);
    put_anchor_peers(group.ok_or_else(|| EditError::absent(format!("organization {name}")))?, addresses(peers));
    Ok(())
}

pub(super) fn set_endpoints(root: &mut ConfigGroup, name: &str, endpoints: &[String]) -> Result<(), EditError> {
    let group = child(root, "Orderer")?.groups.get_mut(name);
    put_endpoints(group.ok_or_else(|| EditError::absent(format!("orderer organization {name}")))?, endpoints);
    Ok(())
}

/// Hosts and ports of peers; without any there is no value.
pub(crate) fn put_anchor_peers<'a>(group: &mut ConfigGroup, peers: impl IntoIterator<Item = (&'a str, u32)>) {
    let one = |(host, port): (&str, u32)| protos::AnchorPeer { host: host.to_owned(), port: port.cast_signed() };
    let anchors = protos::AnchorPeers { anchor_peers: peers.into_iter().map(one).collect() };
    set_or_remove(group, "AnchorPeers", anchors.anchor_peers.is_empty(), anchors.encode_to_vec());
}

fn addresses(peers: &[AnchorPeer]) -> impl Iterator<Item = (&str, u32)> {
    peers.iter().map(|peer| (peer.host.as_str(), u32::from(peer.port)))
}

pub(crate) fn put_endpoints(group: &mut ConfigGroup, endpoints: &[String]) {
    let addresses = common::OrdererAddresses { addresses: endpoints.to_vec() };
    set_or_remove(group, "Endpoints", endpoints.is_empty(), addresses.encode_to_vec());
}

fn set_or_remove(group: &mut ConfigGroup, name: &str, remove: bool, value: Vec<u8>) {
    if remove {
        group.values.remove(name);
    } else {
        build::set(group, name, value);
    }
}

/// In every group where the organization is a member; the rest of its MSP keeps its bytes.
pub(super) fn set_revocation_list(
    root: &mut ConfigGroup,
    name: &str,
    lists: &[String],
    files: Option<&Path>,
) -> Result<(), EditError> {
    let lists: Vec<Bytes> = lists.iter().map(|list| revocation_list(list, files)).collect::<Result<_, _>>()?;
    let mut found = false;
    let mut members: Vec<&mut ConfigGroup> = Vec::new();
    for (key, group) in &mut root.groups {
        if key == "Consortiums" {
            members.extend(group.groups.values_mut().filter_map(|consortium| consortium.groups.get_mut(name)));
        } else {
            members.extend(group.groups.get_mut(name));
        }
    }
    for member in members {
        let Some(msp) = member.values.get_mut("MSP") else { continue };
        let mut config = Fields::decode(&msp.value)?;
        let mut fabric = Fields::decode(&config.bytes(2))?;
        // `FabricMSPConfig.revocation_list`.
        fabric.set_all(5, lists.iter().map(|list| &list[..]));
        config.set_bytes(2, &fabric.encode());
        msp.value = config.encode();
        found = true;
    }
    if found { Ok(()) } else { Err(EditError::absent(format!("organization {name}"))) }
}

fn msp(profile: &OrganizationProfile, files: Option<&Path>) -> Result<FabricMspConfig, EditError> {
    let id = MspId::parse(profile.id.clone()).map_err(|error| EditError::profile(error.to_string()))?;
    match (&profile.msp, profile.msp_dir.as_str()) {
        (Some(_), dir) if !dir.is_empty() => {
            Err(EditError::profile("give the MSP either as MSPDir or as MSP, not both"))
        }
        (Some(msp), _) => inline(&id, msp),
        (None, "") => Err(EditError::profile("the organization has neither MSPDir nor MSP")),
        (None, dir) => {
            let base = files.ok_or_else(|| EditError::profile("MSPDir is not read: give the MSP inline"))?;
            normal(MspFolder::load(&id, &base.join(dir))?.fabric_config().clone())
        }
    }
}

fn inline(id: &MspId, msp: &MspProfile) -> Result<FabricMspConfig, EditError> {
    let bytes = |list: &[String]| list.iter().map(|pem| Bytes::from(pem.clone())).collect();
    let unit = |unit: &UnitProfile| FabricOuIdentifier {
        certificate: unit.certificate.clone().into(),
        organizational_unit_identifier: unit.name.clone(),
    };
    let node_units = |units: &NodeUnitsProfile| FabricNodeOUs {
        enable: units.enable,
        client_ou_identifier: units.client.as_ref().map(unit),
        peer_ou_identifier: units.peer.as_ref().map(unit),
        admin_ou_identifier: units.admin.as_ref().map(unit),
        orderer_ou_identifier: units.orderer.as_ref().map(unit),
    };
    if msp.root_certs.is_empty() {
        return Err(EditError::profile("the MSP has no RootCerts"));
    }
    normal(FabricMspConfig {
        name: id.to_string(),
        root_certs: bytes(&msp.root_certs),
        intermediate_certs: bytes(&msp.intermediate_certs),
        admins: bytes(&msp.admins),
        revocation_list: bytes(&msp.revocation_list),
        signing_identity: None,
        organizational_unit_identifiers: msp.organizational_unit_identifiers.iter().map(unit).collect(),
        crypto_config: Some(FabricCryptoConfig {
            signature_hash_family: "SHA2".to_owned(),
            identity_identifier_hash_function: "SHA256".to_owned(),
        }),
        tls_root_certs: bytes(&msp.tls_root_certs),
        tls_intermediate_certs: bytes(&msp.tls_intermediate_certs),
        fabric_node_ous: msp.node_ous.as_ref().map(node_units),
    })
}

/// Every certificate and revocation list in the one form.
fn normal(mut msp: FabricMspConfig) -> Result<FabricMspConfig, EditError> {
    for (what, list) in [
        ("a root certificate", &mut msp.root_certs),
        ("an intermediate certificate", &mut msp.intermediate_certs),
        ("an administrator's certificate", &mut msp.admins),
        ("a TLS root certificate", &mut msp.tls_root_certs),
        ("a TLS intermediate certificate", &mut msp.tls_intermediate_certs),
    ] {
        for certificate in list {
            *certificate = normal_certificate(what, certificate)?;
        }
    }
    for list in &mut msp.revocation_list {
        *list = normal_revocation_list(list)?;
    }
    for unit in &mut msp.organizational_unit_identifiers {
        unit.certificate = normal_certificate("the certificate of an organizational unit", &unit.certificate)?;
    }
    if let Some(units) = &mut msp.fabric_node_ous {
        for (name, unit) in [
            ("ClientOUIdentifier", &mut units.client_ou_identifier),
            ("PeerOUIdentifier", &mut units.peer_ou_identifier),
            ("AdminOUIdentifier", &mut units.admin_ou_identifier),
            ("OrdererOUIdentifier", &mut units.orderer_ou_identifier),
        ] {
            // Profiles take all four, each with the authority that vouches for it, as those of OpsSC have to.
            let unit = unit.as_mut().ok_or_else(|| EditError::profile(format!("NodeOUs has no {name}")))?;
            unit.certificate = normal_certificate(&format!("the certificate of {name}"), &unit.certificate)?;
        }
    }
    Ok(msp)
}

fn revocation_list(text: &str, files: Option<&Path>) -> Result<Bytes, EditError> {
    if text.contains("-----BEGIN") {
        return normal_revocation_list(text.as_bytes());
    }
    normal_revocation_list(&build::read(files, text)?)
}

fn normal_revocation_list(text: &[u8]) -> Result<Bytes, EditError> {
    let broken = |reason: String| EditError::Certificate { what: "a revocation list".to_owned(), reason };
    let (block, _) = pem::first(text).ok_or_else(|| broken("no PEM block".to_owned()))?;
    CertificateRevocationList::from_der(&block.der).map_err(|error| broken(error.to_string()))?;
    Ok(pem::encode("X509 CRL", &block.der).into())
}
