//! What a definition must look like before anyone may approve or commit it: names, version, collections.
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle/scc.go` (`validateInput`).

use std::collections::BTreeSet;

use prost::Message as _;

use crate::devnet::peer::context::Refused;
use crate::devnet::peer::proposal::shown;
use crate::pb::common::msp_principal::Classification;
use crate::pb::common::signature_policy::Type as Rule;
use crate::pb::common::{MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy};
use crate::pb::msp::SerializedIdentity;
use crate::pb::protos::{CollectionConfigPackage, StaticCollectionConfig, collection_config, collection_policy_config};

const SYSTEM_CHAINCODES: [&str; 5] = ["cscc", "escc", "lscc", "qscc", "vscc"];
/// Rules nested deeper than this are somebody's attack.
const DEEPEST: usize = 64;

/// Checks a chaincode's name as `_lifecycle` takes it.
pub(super) fn name(name: &str) -> Result<(), Refused> {
    let valid =
        name.split(['-', '_']).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if !valid {
        return Err(Refused(format!(
            "invalid chaincode name '{}'. Names can only consist of alphanumerics, '_', and '-' and can only begin \
             with alphanumerics",
            shown(name)
        )));
    }
    if SYSTEM_CHAINCODES.contains(&name) {
        return Err(Refused(format!("chaincode name '{name}' is the name of a system chaincode")));
    }
    Ok(())
}

/// Checks a chaincode's version.
pub(super) fn version(version: &str) -> Result<(), Refused> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    if version.is_empty() || !version.bytes().all(valid) {
        return Err(Refused(format!(
            "invalid chaincode version '{}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'",
            shown(version)
        )));
    }
    Ok(())
}

/// Checks the collections of a definition among the organizations of the channel, and against those of the committed
/// definition.
pub(super) fn collections(
    proposed: &CollectionConfigPackage,
    organizations: &BTreeSet<String>,
    committed: Option<&CollectionConfigPackage>,
) -> Result<(), Refused> {
    let proposed = static_configs(proposed)?;
    let mut names = BTreeSet::new();
    for collection in &proposed {
        let name = &collection.name;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.starts_with('_') || !name.bytes().all(allowed) {
            return Err(Refused(format!(
                "invalid collection name '{}'. Names can only consist of alphanumerics, '_', and '-' and cannot begin \
                 with '_'",
                shown(name)
            )));
        }
        if !names.insert(name.as_str()) {
            return Err(Refused(format!("collection-name: {name} -- found duplicate in collection configuration")));
        }
        let (required, maximum) = (collection.required_peer_count, collection.maximum_peer_count);
        if maximum < required {
            return Err(Refused(format!(
                "collection-name: {name} -- maximum peer count ({maximum}) cannot be less than the required peer \
                 count ({required})"
            )));
        }
        if required < 0 {
            return Err(Refused(format!(
                "collection-name: {name} -- requiredPeerCount ({required}) cannot be less than zero"
            )));
        }
        members(collection, organizations)?;
    }
    let committed = committed.map_or_else(|| Ok(Vec::new()), static_configs)?;
    if !committed.is_empty() && proposed.is_empty() {
        return Err(Refused::new("the proposed collection config does not contain previously defined collections"));
    }
    for old in committed {
        let Some(new) = proposed.iter().find(|collection| collection.name == old.name) else {
            return Err(Refused(format!(
                "existing collection [{}] missing in the proposed collection configuration",
                old.name
            )));
        };
        if new.block_to_live != old.block_to_live {
            return Err(Refused(format!(
                "the BlockToLive in an existing collection [{}] modified. Existing value [{}]",
                old.name, old.block_to_live
            )));
        }
    }
    Ok(())
}

fn static_configs(package: &CollectionConfigPackage) -> Result<Vec<&StaticCollectionConfig>, Refused> {
    package
        .config
        .iter()
        .map(|config| match &config.payload {
            Some(collection_config::Payload::StaticCollectionConfig(config)) => Ok(config),
            None => Err(Refused::new("collection config contains unexpected payload type: <nil>")),
        })
        .collect()
}

fn members(collection: &StaticCollectionConfig, organizations: &BTreeSet<String>) -> Result<(), Refused> {
    let name = &collection.name;
    let Some(policy) = &collection.member_orgs_policy else {
        return Err(Refused(format!("collection member policy is not set for collection '{name}'")));
    };
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = &policy.payload else {
        return Err(Refused(format!("collection member org policy is empty for collection '{name}'")));
    };
    let invalid = |error: Refused| error.context(format_args!("invalid member org policy for collection '{name}'"));
    let rule = policy.rule.as_ref().ok_or_else(|| invalid(Refused::new("Empty policy element")))?;
    let principals = policy.identities.len();
    let is_or = check_rule(rule, principals, 0).map_err(invalid)?;
    is_or.map_err(|error| error.context(format_args!("collection-name: {name} -- error in member org policy")))?;
    for principal in &policy.identities {
        let organization =
            organization(principal).map_err(|error| error.context(format_args!("collection-name: {name} --")))?;
        if !organizations.contains(&organization) {
            return Err(Refused(format!(
                "collection-name: {name} -- collection member '{}' is not part of the channel",
                shown(&organization)
            )));
        }
    }
    Ok(())
}

/// Whether the rule can be evaluated at all, and inside, whether it is made of ORs only.
fn check_rule(rule: &SignaturePolicy, principals: usize, depth: usize) -> Result<Result<(), Refused>, Refused> {
    if depth > DEEPEST {
        return Err(Refused::new("policy is nested too deeply"));
    }
    match &rule.r#type {
        None => Err(Refused::new("Empty policy element")),
        Some(Rule::SignedBy(index)) => {
            if usize::try_from(*index).is_ok_and(|index| index < principals) {
                Ok(Ok(()))
            } else {
                Err(Refused(format!(
                    "identity index out of range, requested {index}, but identities length is {principals}"
                )))
            }
        }
        Some(Rule::NOutOf(out_of)) => {
            let mut is_or = Ok(());
            if out_of.n != 1 {
                is_or = Err(Refused(format!("signature policy is not an OR concatenation, NOutOf {}", out_of.n)));
            }
            for rule in &out_of.rules {
                let inner = check_rule(rule, principals, depth + 1)?;
                is_or = is_or.and(inner);
            }
            Ok(is_or)
        }
    }
}

fn organization(principal: &MspPrincipal) -> Result<String, Refused> {
    let bytes = principal.principal.clone();
    let broken = |what: &str, error: &prost::DecodeError| {
        Refused(format!("cannot unmarshal identity bytes into {what}: {error}"))
    };
    match principal.principal_classification() {
        Classification::Role => {
            MspRole::decode(bytes).map(|role| role.msp_identifier).map_err(|error| broken("MSPRole", &error))
        }
        Classification::OrganizationUnit => OrganizationUnit::decode(bytes)
            .map(|unit| unit.msp_identifier)
            .map_err(|error| broken("OrganizationUnit", &error)),
        Classification::Identity => SerializedIdentity::decode(bytes)
            .map(|identity| identity.mspid)
            .map_err(|_| Refused::new("contains an identity that is not part of the channel")),
        other => Err(Refused(format!("principal type {} is not supported", other.as_str_name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::common::SignaturePolicyEnvelope;
    use crate::pb::common::signature_policy::NOutOf;
    use crate::pb::protos::{CollectionConfig, CollectionPolicyConfig};

    fn said(result: Result<(), Refused>) -> String {
        result.err().map_or_else(String::new, |error| error.0)
    }

    #[test]
    fn names_and_versions() {
        for (text, valid) in [
            ("basic", true),
            ("a-b_c", true),
            ("", false),
            ("_a", false),
            ("a--b", false),
            ("a.b", false),
            ("qscc", false),
        ] {
            assert_eq!(name(text).is_ok(), valid, "for {text:?}");
        }
        for (text, valid) in [("1.0", true), ("1.0-rc+2_3", true), ("", false), ("1 0", false), ("ä", false)] {
            assert_eq!(version(text).is_ok(), valid, "for {text:?}");
        }
    }

    fn signed_by(index: i32) -> SignaturePolicy {
        SignaturePolicy { r#type: Some(Rule::SignedBy(index)) }
    }

    fn out_of(n: i32, rules: Vec<SignaturePolicy>) -> SignaturePolicy {
        SignaturePolicy { r#type: Some(Rule::NOutOf(NOutOf { n, rules })) }
    }

    fn collection(name: &str, member: &str, rule: SignaturePolicy) -> StaticCollectionConfig {
        let member = MspRole { msp_identifier: member.to_owned(), role: 0 }.encode_to_vec().into();
        let principal = MspPrincipal { principal_classification: 0, principal: member };
        let policy = SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities: vec![principal] };
        StaticCollectionConfig {
            name: name.to_owned(),
            member_orgs_policy: Some(CollectionPolicyConfig {
                payload: Some(collection_policy_config::Payload::SignaturePolicy(policy)),
            }),
            maximum_peer_count: 1,
            ..StaticCollectionConfig::default()
        }
    }

    fn package(collections: Vec<StaticCollectionConfig>) -> CollectionConfigPackage {
        let config = collections.into_iter().map(|config| CollectionConfig {
            payload: Some(collection_config::Payload::StaticCollectionConfig(config)),
        });
        CollectionConfigPackage { config: config.collect() }
    }

    #[test]
    fn collections_are_checked() {
        let organizations = BTreeSet::from(["Org1MSP".to_owned()]);
        let good = || collection("c", "Org1MSP", out_of(1, vec![signed_by(0)]));
        let check = |proposed: Vec<StaticCollectionConfig>, expected: &str| {
            assert_eq!(said(collections(&package(proposed), &organizations, None)), expected);
        };
        check(vec![], "");
        check(vec![good()], "");
        check(vec![good(), good()], "collection-name: c -- found duplicate in collection configuration");
        check(
            vec![StaticCollectionConfig { name: "_c".into(), ..good() }],
            "invalid collection name '_c'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'",
        );
        check(
            vec![StaticCollectionConfig { required_peer_count: 2, ..good() }],
            "collection-name: c -- maximum peer count (1) cannot be less than the required peer count (2)",
        );
        check(
            vec![StaticCollectionConfig { member_orgs_policy: None, ..good() }],
            "collection member policy is not set for collection 'c'",
        );
        check(
            vec![collection("c", "Org9MSP", signed_by(0))],
            "collection-name: c -- collection member 'Org9MSP' is not part of the channel",
        );
        check(
            vec![collection("c", "Org1MSP", out_of(2, vec![signed_by(0), signed_by(0)]))],
            "collection-name: c -- error in member org policy: signature policy is not an OR concatenation, NOutOf 2",
        );
        check(
            vec![collection("c", "Org1MSP", signed_by(7))],
            "invalid member org policy for collection 'c': identity index out of range, requested 7, but identities \
             length is 1",
        );
        let deep = (0..100).fold(signed_by(0), |rule, _| out_of(1, vec![rule]));
        check(
            vec![collection("c", "Org1MSP", deep)],
            "invalid member org policy for collection 'c': policy is nested too deeply",
        );
    }

    #[test]
    fn committed_collections_stay() {
        let organizations = BTreeSet::from(["Org1MSP".to_owned()]);
        let named = |name: &str, block_to_live| StaticCollectionConfig {
            block_to_live,
            ..collection(name, "Org1MSP", signed_by(0))
        };
        let committed = package(vec![named("a", 5)]);
        let check = |proposed: Vec<StaticCollectionConfig>, expected: &str| {
            assert_eq!(said(collections(&package(proposed), &organizations, Some(&committed))), expected);
        };
        check(vec![named("b", 0), named("a", 5)], "");
        check(vec![], "the proposed collection config does not contain previously defined collections");
        check(vec![named("b", 0)], "existing collection [a] missing in the proposed collection configuration");
        check(vec![named("a", 6)], "the BlockToLive in an existing collection [a] modified. Existing value [5]");
    }
}
