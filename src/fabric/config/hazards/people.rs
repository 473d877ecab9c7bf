//! Who there is on a channel to satisfy policies, and how long their authorities last.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::{Hazard, SOON};
use crate::fabric::identity::{Certificate, Msp, MspVersion, Role, pem};
use crate::fabric::policy::Candidate;
use crate::pb::common::msp_principal::Classification;
use crate::pb::common::{Capabilities, ConfigGroup, MspPrincipal, MspRole, OrganizationUnit};
use crate::pb::msp::{FabricMspConfig, MspConfig, SerializedIdentity};

/// Where organizations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Orderer,
    Application,
    Consortium,
}

/// An organization in one of its places.
pub(super) struct Organization {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) msp: FabricMspConfig,
    /// Why nodes would refuse it.
    trouble: Option<String>,
}

/// All organizations of a channel.
pub(super) struct People {
    pub(super) organizations: Vec<Organization>,
    /// By MSP ID: one may be told differently in two places.
    roles: BTreeMap<String, Vec<Role>>,
}

impl People {
    pub(super) fn read(root: &ConfigGroup) -> Self {
        let capabilities = root.values.get("Capabilities").map(|value| Capabilities::decode(value.value.clone()));
        let v3 = matches!(capabilities, Some(Ok(known)) if known.capabilities.contains_key("V3_0"));
        let version = if v3 { MspVersion::V3_0 } else { MspVersion::V1_4_3 };
        let mut organizations = Vec::new();
        let mut take = |kind, group: Option<&ConfigGroup>| {
            let members = group.map(|group| &group.groups).into_iter().flatten();
            organizations.extend(members.filter_map(|(name, group)| Organization::read(kind, name, group, version)));
        };
        take(Kind::Orderer, root.groups.get("Orderer"));
        take(Kind::Application, root.groups.get("Application"));
        let consortiums = root.groups.get("Consortiums").map(|group| &group.groups);
        consortiums.into_iter().flatten().for_each(|(_, group)| take(Kind::Consortium, Some(group)));
        let mut roles: BTreeMap<String, Vec<Role>> = BTreeMap::new();
        for organization in &organizations {
            roles.entry(organization.msp.name.clone()).or_default().extend(organization.roles());
        }
        Self { organizations, roles }
    }

    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &Organization> {
        self.organizations.iter().filter(move |organization| organization.kind == kind)
    }

    /// Whether there may be anybody who is what a principal demands.
    pub(super) fn exist(&self, principal: &MspPrincipal) -> bool {
        let value = || principal.principal.clone();
        match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => MspRole::decode(value()).is_ok_and(|wanted| {
                let roles = self.roles.get(&wanted.msp_identifier);
                roles.is_some_and(|roles| roles.iter().any(|role| role.number() == wanted.role))
            }),
            Ok(Classification::OrganizationUnit) => {
                OrganizationUnit::decode(value()).is_ok_and(|unit| self.roles.contains_key(&unit.msp_identifier))
            }
            Ok(Classification::Identity) => {
                SerializedIdentity::decode(value()).is_ok_and(|identity| self.roles.contains_key(&identity.mspid))
            }
            // Not judged here.
            _ => true,
        }
    }

    /// What is wrong with the organizations themselves.
    pub(super) fn hazards(&self, now: i64) -> Vec<Hazard> {
        let mut found = Vec::new();
        for organization in &self.organizations {
            let name = &organization.name;
            if let Some(reason) = &organization.trouble {
                found.push(Hazard::Refused { reason: format!("the MSP of {name}: {reason}") });
            }
            let msp = &organization.msp;
            for (what, certificates) in [
                ("authority", &msp.root_certs),
                ("intermediate authority", &msp.intermediate_certs),
                ("TLS authority", &msp.tls_root_certs),
                ("intermediate TLS authority", &msp.tls_intermediate_certs),
                ("administrator", &msp.admins),
            ] {
                let of = format!("{what} of {name}");
                found.extend(certificates.iter().flat_map(|text| expiries(&of, text, now)));
            }
        }
        found.sort();
        // One organization may be in several places.
        found.dedup();
        found
    }
}

impl Organization {
    fn read(kind: Kind, name: &str, group: &ConfigGroup, version: MspVersion) -> Option<Self> {
        let config = MspConfig::decode(group.values.get("MSP")?.value.clone()).ok()?;
        let msp = FabricMspConfig::decode(config.config.clone()).ok()?;
        // What is of another kind (Idemix) is not judged here.
        let trouble = (config.r#type == 0).then(|| Msp::from_config(&config, version).err()).flatten();
        Some(Self { kind, name: name.to_owned(), msp, trouble: trouble.map(|error| error.to_string()) })
    }

    /// The roles that its people can have.
    fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Member];
        if !self.msp.admins.is_empty() {
            roles.push(Role::Admin);
        }
        if let Some(units) = self.msp.fabric_node_ous.as_ref().filter(|units| units.enable) {
            let named = [
                (Role::Client, &units.client_ou_identifier),
                (Role::Peer, &units.peer_ou_identifier),
                (Role::Admin, &units.admin_ou_identifier),
                (Role::Orderer, &units.orderer_ou_identifier),
            ];
            roles.extend(named.into_iter().filter(|(_, unit)| unit.is_some()).map(|(role, _)| role));
        }
        roles
    }

    /// One of its nodes, as policies see it.
    pub(super) fn node(&self, role: Role) -> Node<'_> {
        let role = if self.roles().contains(&role) { role } else { Role::Member };
        Node { msp_id: &self.msp.name, role }
    }
}

/// A node of an organization, nobody in particular.
pub(super) struct Node<'a> {
    msp_id: &'a str,
    role: Role,
}

impl Candidate for Node<'_> {
    /// Where a policy names a unit or a certificate, it may be this node's.
    fn satisfies(&self, principal: &MspPrincipal) -> bool {
        let value = || principal.principal.clone();
        match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => MspRole::decode(value()).is_ok_and(|wanted| {
                wanted.msp_identifier == self.msp_id
                    && [Role::Member, self.role].iter().any(|role| role.number() == wanted.role)
            }),
            Ok(Classification::OrganizationUnit) => {
                OrganizationUnit::decode(value()).is_ok_and(|unit| unit.msp_identifier == self.msp_id)
            }
            Ok(Classification::Identity) => {
                SerializedIdentity::decode(value()).is_ok_and(|identity| identity.mspid == self.msp_id)
            }
            _ => true,
        }
    }
}

/// What is to be told of the certificates in a PEM text: those that have ended or soon will.
pub(super) fn expiries(of: &str, text: &Bytes, now: i64) -> Vec<Hazard> {
    let mut found = Vec::new();
    let mut rest = &text[..];
    while let Some((block, after)) = pem::first(rest) {
        rest = after;
        let Ok(certificate) = Certificate::from_der(&block.der) else { continue };
        let (subject, expiry) = (certificate.subject(), certificate.expiry());
        let reason = match certificate.not_after() {
            end if end < now => format!("certificate of {subject} expired on {expiry}"),
            end if end < now.saturating_add(SOON) => format!("certificate of {subject} expires on {expiry}"),
            _ => continue,
        };
        found.push(Hazard::Certificate { of: of.to_owned(), reason });
    }
    found
}
