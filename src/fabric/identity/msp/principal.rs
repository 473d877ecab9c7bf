//! Roles and the other principals that policies speak of.

use std::fmt;
use std::str::FromStr;

use prost::Message as _;

use super::{Identity, MspError};
use crate::pb::common::msp_principal::Classification;
use crate::pb::common::msp_role::MspRoleType;
use crate::pb::common::{CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, MspRole, OrganizationUnit};
use crate::pb::msp::{FabricNodeOUs, FabricOuIdentifier};

/// What a member can be in its organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Anyone whom the organization vouches for.
    Member,
    /// An administrator.
    Admin,
    /// A client.
    Client,
    /// A peer.
    Peer,
    /// An orderer.
    Orderer,
}

impl Role {
    /// All roles, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Member, Self::Admin, Self::Client, Self::Peer, Self::Orderer];

    /// As policies write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Orderer => "orderer",
        }
    }

    /// The number in messages.
    pub fn number(self) -> i32 {
        let role = match self {
            Self::Member => MspRoleType::Member,
            Self::Admin => MspRoleType::Admin,
            Self::Client => MspRoleType::Client,
            Self::Peer => MspRoleType::Peer,
            Self::Orderer => MspRoleType::Orderer,
        };
        role as i32
    }

    /// The principal "one with this role in that organization".
    pub fn principal(self, msp_id: &str) -> MspPrincipal {
        let role = MspRole { msp_identifier: msp_id.to_owned(), role: self.number() };
        MspPrincipal { principal_classification: Classification::Role as i32, principal: role.encode_to_vec().into() }
    }

    fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}

/// The units that stand for roles, where an organization enforces them.
pub(super) struct NodeUnits(Vec<NodeUnit>);

struct NodeUnit {
    role: Role,
    name: String,
    /// The authority that must vouch for it, if one is named.
    certifiers: Option<[u8; 32]>,
}

impl NodeUnits {
    /// Reads the configuration; `None` where units are not enforced.
    pub(super) fn new(
        config: &FabricNodeOUs,
        certifiers: impl Fn(&[u8]) -> Result<[u8; 32], MspError>,
    ) -> Result<Option<Self>, MspError> {
        let mut units = Vec::new();
        for (role, unit) in [
            (Role::Client, &config.client_ou_identifier),
            (Role::Peer, &config.peer_ou_identifier),
            (Role::Admin, &config.admin_ou_identifier),
            (Role::Orderer, &config.orderer_ou_identifier),
        ] {
            let Some(FabricOuIdentifier { certificate, organizational_unit_identifier }) = unit else { continue };
            let certifiers = if certificate.is_empty() { None } else { Some(certifiers(certificate)?) };
            units.push(NodeUnit { role, name: organizational_unit_identifier.clone(), certifiers });
        }
        Ok((config.enable && !units.is_empty()).then_some(Self(units)))
    }

    /// That exactly one of a member's units stands for a role.
    pub(super) fn check(&self, units: &[String], certifiers: [u8; 32]) -> Result<(), String> {
        let mut roles = 0;
        for unit in units {
            // Two roles may have one unit; the last one configured counts.
            let Some(known) = self.0.iter().rev().find(|known| known.name == *unit) else { continue };
            if known.certifiers.is_some_and(|demanded| demanded != certifiers) {
                return Err(format!("its unit {unit:?} is vouched for by another authority than demanded"));
            }
            roles += 1;
        }
        match roles {
            1 => Ok(()),
            0 => Err(format!("none of its units {units:?} stands for a role")),
            _ => Err(format!("more than one of its units {units:?} stands for a role")),
        }
    }

    pub(super) fn has_admins(&self) -> bool {
        self.0.iter().any(|unit| unit.role == Role::Admin)
    }

    pub(super) fn may_administrate(&self, units: &[String]) -> bool {
        self.has(Role::Client, units) || self.has(Role::Admin, units)
    }

    fn has(&self, role: Role, units: &[String]) -> bool {
        self.0.iter().any(|known| known.role == role && units.contains(&known.name))
    }
}

impl Identity {
    /// Whether the identity is valid and has `role`.
    pub fn has_role(&self, role: Role) -> bool {
        let inner = &self.msp.0;
        let by_unit = |role| {
            let units = self.certificate.organizational_units();
            self.certifiers.is_some() && inner.node_units.as_ref().is_some_and(|known| known.has(role, units))
        };
        match role {
            Role::Member => self.verdict.is_ok(),
            // Administrators that the configuration lists are not asked for anything else.
            Role::Admin => inner.admins.contains(&self.certificate) || (self.verdict.is_ok() && by_unit(Role::Admin)),
            Role::Client | Role::Peer | Role::Orderer => self.verdict.is_ok() && by_unit(role),
        }
    }

    /// All roles that it has.
    pub fn roles(&self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| self.has_role(*role)).collect()
    }

    /// Whether the identity is what `principal` demands: a role, a unit, this very identity, or several at once.
    pub fn satisfies(&self, principal: &MspPrincipal) -> bool {
        self.satisfies_within(principal, 0)
    }

    fn satisfies_within(&self, principal: &MspPrincipal, depth: usize) -> bool {
        // Deeper than anyone writes: a bound against hostile nesting.
        const DEEPEST: usize = 16;
        let msp_id = self.msp.0.id.as_str();
        let bytes = principal.principal.clone();
        match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => MspRole::decode(bytes).is_ok_and(|wanted| {
                wanted.msp_identifier == msp_id
                    && Role::from_number(wanted.role).is_some_and(|role| self.has_role(role))
            }),
            Ok(Classification::OrganizationUnit) => OrganizationUnit::decode(bytes).is_ok_and(|wanted| {
                wanted.msp_identifier == msp_id
                    && self.verdict.is_ok()
                    && self.certificate.organizational_units().contains(&wanted.organizational_unit_identifier)
                    && self.certifiers.is_some_and(|known| known[..] == wanted.certifiers_identifier[..])
            }),
            Ok(Classification::Identity) => self
                .msp
                .deserialize(&bytes)
                .is_ok_and(|wanted| wanted.certificate == self.certificate && wanted.verdict.is_ok()),
            // X.509 identities are never anonymous.
            Ok(Classification::Anonymity) => {
                MspIdentityAnonymity::decode(bytes).is_ok_and(|wanted| wanted.anonymity_type == 0)
            }
            Ok(Classification::Combined) => CombinedPrincipal::decode(bytes).is_ok_and(|wanted| {
                depth < DEEPEST
                    && !wanted.principals.is_empty()
                    && wanted.principals.iter().all(|part| self.satisfies_within(part, depth + 1))
            }),
            Err(_) => false,
        }
    }
}
