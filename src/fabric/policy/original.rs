//! Definitions as the original OpsSC agent encodes them, byte for byte.
//!
//! A module of its own because peers compare approvals of different organizations by bytes, so next to organizations that
//! run the original agent the same policy must be written as it writes it: values that are zero are written out, equal
//! principals are one, numbered in order of first appearance, an absent endorsement policy of a collection is an
//! empty message; and in a validation parameter every role becomes `MEMBER`, which is a fault of it that the others
//! share. What it reads differs too: of the peer CLI's names for collections it knows only two.
//!
//! Source: fabric-opssc `common/src/lib/{application_policy_lib,collection_pb_lib}.ts`.

use std::str::FromStr;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::encode_varint;

use super::collections::{OpsscNames, opssc_items};
use super::dsl::role_of;
use super::opssc::{Dialect, validation_parameter};
use super::{ApplicationPolicy, PolicyError, collections, opssc_validation_parameter};
use crate::fabric::identity::Role;
use crate::pb::common::signature_policy::Type;
use crate::pb::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};
use crate::pb::protos::{
    CollectionConfigPackage, StaticCollectionConfig, application_policy, collection_config, collection_policy_config,
};

/// In which bytes definitions are written: the organizations of a consortium must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefinitionEncoding {
    /// As Fabric's `peer` does.
    #[default]
    Fabric,
    /// As the original OpsSC agent does.
    Original,
}

impl FromStr for DefinitionEncoding {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "fabric" => Ok(Self::Fabric),
            "original" => Ok(Self::Original),
            _ => Err(PolicyError::invalid("an encoding is fabric or original")),
        }
    }
}

impl DefinitionEncoding {
    /// The setting's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fabric => "fabric",
            Self::Original => "original",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Fabric => Self::Original,
            Self::Original => Self::Fabric,
        }
    }

    /// The validation parameter of a proposal, after base64; empty where there is none.
    ///
    /// # Errors
    /// [`PolicyError`] where the text cannot be read.
    pub fn validation_parameter(self, text: &str) -> Result<Bytes, PolicyError> {
        match self {
            Self::Fabric => Ok(opssc_validation_parameter(text)?.map(|policy| policy.encode()).unwrap_or_default()),
            Self::Original => Ok(original_validation_parameter(text)?.unwrap_or_default()),
        }
    }

    /// The collections of a proposal, after base64.
    ///
    /// # Errors
    /// [`PolicyError`] where the text cannot be read.
    pub fn collections(self, text: &str) -> Result<Option<CollectionConfigPackage>, PolicyError> {
        match self {
            Self::Fabric => collections::opssc(text),
            // What a peer makes of the bytes: it keeps the principals as they are written.
            Self::Original => original_collections(text)?
                .map(CollectionConfigPackage::decode)
                .transpose()
                .map_err(|error| PolicyError::Malformed { reason: error.to_string() }),
        }
    }
}

/// The validation parameter in the original agent's bytes; `None` where there is none.
///
/// # Errors
/// [`PolicyError`] where it refuses the text.
pub fn original_validation_parameter(text: &str) -> Result<Option<Bytes>, PolicyError> {
    let Some(policy) = validation_parameter(text, Dialect::OriginalAnyRole)? else { return Ok(None) };
    let mut out = Vec::new();
    match &policy {
        ApplicationPolicy::ChannelReference(path) => field(2, path.as_bytes(), &mut out),
        ApplicationPolicy::Signature(policy) => field(1, &signature_policy(policy, Roles::Lost), &mut out),
    }
    Ok(Some(out.into()))
}

/// The collections in the original agent's bytes; `None` where there are none.
///
/// # Errors
/// [`PolicyError`] where it refuses the text.
pub fn original_collections(text: &str) -> Result<Option<Bytes>, PolicyError> {
    let Some(package) = opssc_items(text, OpsscNames::Original)? else { return Ok(None) };
    let mut out = Vec::new();
    for one in &package.config {
        let Some(collection_config::Payload::StaticCollectionConfig(collection)) = &one.payload else { continue };
        let mut config = Vec::new();
        field(1, &static_collection(collection), &mut config);
        field(1, &config, &mut out);
    }
    Ok(Some(out.into()))
}

/// What becomes of the roles of principals.
#[derive(Clone, Copy)]
enum Roles {
    Kept,
    /// They are all `MEMBER`.
    Lost,
}

fn static_collection(collection: &StaticCollectionConfig) -> Vec<u8> {
    let mut out = Vec::new();
    field(1, collection.name.as_bytes(), &mut out);
    let mut members = Vec::new();
    if let Some(collection_policy_config::Payload::SignaturePolicy(policy)) =
        collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref())
    {
        field(1, &signature_policy(policy, Roles::Kept), &mut members);
    }
    field(2, &members, &mut out);
    number(3, collection.required_peer_count.into(), &mut out);
    number(4, collection.maximum_peer_count.into(), &mut out);
    // The same bits: that is how a number without sign is written.
    number(5, collection.block_to_live.cast_signed(), &mut out);
    number(6, collection.member_only_read.into(), &mut out);
    number(7, collection.member_only_write.into(), &mut out);
    let mut endorsement = Vec::new();
    match collection.endorsement_policy.as_ref().and_then(|policy| policy.r#type.as_ref()) {
        Some(application_policy::Type::SignaturePolicy(policy)) => {
            field(1, &signature_policy(policy, Roles::Kept), &mut endorsement);
        }
        Some(application_policy::Type::ChannelConfigPolicyReference(path)) => {
            field(2, path.as_bytes(), &mut endorsement);
        }
        None => {}
    }
    field(8, &endorsement, &mut out);
    out
}

fn signature_policy(policy: &SignaturePolicyEnvelope, roles: Roles) -> Vec<u8> {
    let mut out = Vec::new();
    number(1, policy.version.into(), &mut out);
    if let Some(rule) = &policy.rule {
        field(2, &rule_bytes(rule), &mut out);
    }
    for identity in &policy.identities {
        field(3, &principal(identity, roles), &mut out);
    }
    out
}

fn rule_bytes(rule: &SignaturePolicy) -> Vec<u8> {
    let mut out = Vec::new();
    match &rule.r#type {
        Some(Type::SignedBy(identity)) => number(1, (*identity).into(), &mut out),
        Some(Type::NOutOf(gate)) => {
            let mut inner = Vec::new();
            number(1, gate.n.into(), &mut inner);
            for rule in &gate.rules {
                field(2, &rule_bytes(rule), &mut inner);
            }
            field(2, &inner, &mut out);
        }
        None => {}
    }
    out
}

fn principal(principal: &MspPrincipal, roles: Roles) -> Vec<u8> {
    let mut out = Vec::new();
    number(1, principal.principal_classification.into(), &mut out);
    // Nothing but roles is ever read here.
    let (msp_id, role) = role_of(principal).unwrap_or((String::new(), Role::Member));
    let mut inner = Vec::new();
    field(1, msp_id.as_bytes(), &mut inner);
    let role = match roles {
        Roles::Kept => role,
        Roles::Lost => Role::Member,
    };
    number(2, role.number().into(), &mut inner);
    field(2, &inner, &mut out);
    out
}

/// A number, written also when it is zero.
fn number(tag: u64, value: i64, out: &mut Vec<u8>) {
    encode_varint(tag << 3, out);
    encode_varint(value.cast_unsigned(), out);
}

/// Bytes of known length, written also when there are none.
fn field(tag: u64, bytes: &[u8], out: &mut Vec<u8>) {
    encode_varint(tag << 3 | 2, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Principals in order of first appearance in the text, each once.
pub(super) fn in_order(policy: SignaturePolicyEnvelope) -> SignaturePolicyEnvelope {
    let SignaturePolicyEnvelope { version, rule, identities } = policy;
    let mut seen = Vec::new();
    let rule = rule.map(|rule| renumbered(rule, &identities, &mut seen));
    SignaturePolicyEnvelope { version, rule, identities: seen }
}

fn renumbered(rule: SignaturePolicy, old: &[MspPrincipal], seen: &mut Vec<MspPrincipal>) -> SignaturePolicy {
    let r#type = rule.r#type.map(|kind| match kind {
        Type::SignedBy(at) => {
            let Some(principal) = usize::try_from(at).ok().and_then(|at| old.get(at)) else {
                return Type::SignedBy(at);
            };
            let place = seen.iter().position(|known| known == principal).unwrap_or_else(|| {
                seen.push(principal.clone());
                seen.len() - 1
            });
            // There are no more of them than before, which were counted in the same type.
            Type::SignedBy(i32::try_from(place).unwrap_or(at))
        }
        Type::NOutOf(mut gate) => {
            gate.rules = gate.rules.into_iter().map(|rule| renumbered(rule, old, seen)).collect();
            Type::NOutOf(gate)
        }
    });
    SignaturePolicy { r#type }
}
