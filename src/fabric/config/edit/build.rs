//! Elements of a configuration in the making: policies out of rules, values out of messages, certificates out of PEM.
//!
//! A module of its own because edits and first blocks make the same elements.
//!
//! Source: Fabric 3.1.5 `internal/configtxgen/encoder`, `common/channelconfig`, fabric-config 0.3.0 `configtx`.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::EditError;
use super::profile::PolicyProfile;
use crate::fabric::config::tree::{ConfigGroup, ConfigPolicy, ConfigValue, Policy, map_of, same_value};
use crate::fabric::identity::{Certificate, pem};
use crate::fabric::policy::dsl;
use crate::pb::common::policy::PolicyType;
use crate::pb::common::{ImplicitMetaPolicy, implicit_meta_policy};

/// The policy that guards nearly everything.
pub(crate) const ADMINS: &str = "Admins";

/// Which signature policies are understood. They differ in the letter case of `and` and `or`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As in `configtx.yaml`.
    Configtxgen,
    /// As in profiles of OpsSC.
    Profiles,
}

/// All policies of a group. Those that every group needs must be there.
pub(crate) fn policies(
    profile: &BTreeMap<String, Option<PolicyProfile>>,
    needed: &[&str],
    dialect: Dialect,
) -> Result<BTreeMap<String, ConfigPolicy>, EditError> {
    for name in [ADMINS, "Readers", "Writers"].iter().chain(needed) {
        if !profile.contains_key(*name) {
            return Err(EditError::profile(format!("no {name} policy defined")));
        }
    }
    let one = |(name, profile): (&String, &Option<PolicyProfile>)| {
        let profile = profile.as_ref().ok_or_else(|| EditError::profile(format!("policy {name} has no definition")))?;
        Ok((name.clone(), ConfigPolicy::new(policy(name, profile, dialect)?, ADMINS)))
    };
    profile.iter().map(one).collect()
}

fn policy(name: &str, profile: &PolicyProfile, dialect: Dialect) -> Result<Policy, EditError> {
    match profile.kind.as_str() {
        "Signature" => {
            let parsed = match dialect {
                Dialect::Configtxgen => dsl::parse(&profile.rule),
                Dialect::Profiles => dsl::parse_profile(&profile.rule),
            };
            let parsed = parsed.map_err(|source| EditError::Policy { name: name.to_owned(), source })?;
            Ok(Policy::new(PolicyType::Signature as i32, parsed.encode_to_vec()))
        }
        "ImplicitMeta" => {
            let meta =
                implicit(&profile.rule).map_err(|reason| EditError::profile(format!("policy {name}: {reason}")))?;
            Ok(Policy::new(PolicyType::ImplicitMeta as i32, meta.encode_to_vec()))
        }
        other => Err(EditError::profile(format!("policy {name}: unknown policy type {other:?}"))),
    }
}

/// A rule such as `MAJORITY Admins`.
fn implicit(rule: &str) -> Result<ImplicitMetaPolicy, String> {
    let tokens: Vec<&str> = rule.split(' ').collect();
    let [quorum, name] = tokens[..] else {
        return Err(format!("{rule:?}: expected two space separated tokens, but got {}", tokens.len()));
    };
    let quorum = match quorum {
        "ANY" => implicit_meta_policy::Rule::Any,
        "ALL" => implicit_meta_policy::Rule::All,
        "MAJORITY" => implicit_meta_policy::Rule::Majority,
        other => return Err(format!("unknown rule type {other:?}, expected ALL, ANY, or MAJORITY")),
    };
    Ok(ImplicitMetaPolicy { sub_policy: name.to_owned(), rule: quorum as i32 })
}

/// Puts the policies in place of those that are there. One that stays keeps its guard.
pub(crate) fn replace_policies(group: &mut ConfigGroup, new: BTreeMap<String, ConfigPolicy>) {
    group.policies.retain(|name, _| new.contains_key(name));
    for (name, policy) in new {
        match group.policies.get_mut(&name) {
            Some(existing) => existing.policy = policy.policy,
            None => drop(group.policies.insert(name, policy)),
        }
    }
}

/// A new group whose changes administrators guard.
pub(crate) fn group() -> ConfigGroup {
    ConfigGroup { mod_policy: ADMINS.to_owned(), ..ConfigGroup::default() }
}

/// Sets a value. One that says the same already keeps its bytes, and any keeps its guard.
pub(crate) fn set(group: &mut ConfigGroup, name: &str, value: impl Into<Bytes>) {
    set_guarded(group, name, value, ADMINS);
}

/// As [`set`]; `mod_policy` guards the value when it is new.
pub(crate) fn set_guarded(group: &mut ConfigGroup, name: &str, value: impl Into<Bytes>, mod_policy: &str) {
    let value = value.into();
    match group.values.get_mut(name) {
        Some(existing) if same_value(name, &existing.value, &value) => {}
        Some(existing) => existing.value = value,
        None => drop(group.values.insert(name.to_owned(), ConfigValue::new(value, mod_policy))),
    }
}

/// The value `Capabilities`.
pub(crate) fn capabilities<'a>(names: impl IntoIterator<Item = &'a str>) -> Bytes {
    map_of(names.into_iter().map(|name| (name.to_owned(), Vec::new())))
}

/// The value `ACLs`: the policy of each resource.
pub(crate) fn acls(acls: &BTreeMap<String, String>) -> Bytes {
    map_of(acls.iter().map(|(resource, policy)| {
        let resource_policy = crate::pb::protos::ApiResource { policy_ref: policy.clone() };
        (resource.clone(), resource_policy.encode_to_vec())
    }))
}

/// Where files that a profile names are looked for; profiles of others may name none.
pub(crate) fn read(base: Option<&Path>, name: &str) -> Result<Vec<u8>, EditError> {
    let base = base.ok_or_else(|| EditError::profile(format!("file {name:?} is not read: give it inline")))?;
    let path = base.join(name);
    std::fs::read(&path).map_err(|source| EditError::Read { path, source: source.into() })
}

/// A certificate as PEM in the one form, from PEM text or from a file of that name.
pub(crate) fn certificate(what: &str, text: &str, base: Option<&Path>) -> Result<Bytes, EditError> {
    if pem::first(text.as_bytes()).is_some() || text.contains("-----BEGIN") {
        return normal_certificate(what, text.as_bytes());
    }
    normal_certificate(what, &read(base, text)?)
}

/// A certificate as PEM in the one form.
pub(crate) fn normal_certificate(what: &str, text: &[u8]) -> Result<Bytes, EditError> {
    let broken = |reason: String| EditError::Certificate { what: what.to_owned(), reason };
    let (block, _) = pem::first(text).ok_or_else(|| broken("no PEM block".to_owned()))?;
    Certificate::from_der(&block.der).map_err(|error| broken(error.to_string()))?;
    Ok(pem::encode("CERTIFICATE", &block.der).into())
}
