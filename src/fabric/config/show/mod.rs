//! A configuration for people: who is in it, who may do what, and what differs between two.
//!
//! A module of its own because people vote on it: what they are shown has to be the whole truth and nothing else, so
//! everything is made from the tree that is signed.
//!
//! Does not clean text for terminals: that is for who prints it.

mod diff;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

pub use diff::{Change, diff};

use super::json;
use super::tree::{Config, ConfigGroup, ConfigPolicy, Policy};
use crate::fabric::identity::{Certificate, Creator};
use crate::fabric::policy::dsl;
use crate::pb::common::policy::PolicyType;
use crate::pb::common::{ImplicitMetaPolicy, SignaturePolicyEnvelope, implicit_meta_policy, signature_policy};

/// The configuration in lines: groups with their policies as rules and their values as fields.
pub fn summary(config: &Config) -> Vec<String> {
    let mut lines = vec![format!("sequence {}", config.sequence)];
    if let Some(root) = &config.channel_group {
        group("Channel", "Channel", root, 0, &mut lines);
    }
    lines
}

fn group(name: &str, role: &str, group: &ConfigGroup, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    lines.push(format!("{indent}{name} (version {}, changed by {})", group.version, guard(&group.mod_policy)));
    for (name, item) in &group.policies {
        lines.push(format!("{indent}  policy {name}: {}", policy_text(item)));
    }
    for (name, value) in &group.values {
        let leaves = leaves(role, name, &value.value);
        match &leaves[..] {
            [(path, leaf)] if path.is_empty() => lines.push(format!("{indent}  {name}: {leaf}")),
            [] => lines.push(format!("{indent}  {name}: empty")),
            _ => {
                lines.push(format!("{indent}  {name}:"));
                lines.extend(leaves.iter().map(|(path, leaf)| format!("{indent}    {path}: {leaf}")));
            }
        }
    }
    for (name, inner) in &group.groups {
        self::group(name, json::role_of(role, name), inner, depth + 1, lines);
    }
}

fn guard(mod_policy: &str) -> &str {
    if mod_policy.is_empty() { "nobody" } else { mod_policy }
}

/// A policy as its rule: `MAJORITY Admins`, `OR('Org1MSP.admin')`.
pub(super) fn policy_text(policy: &ConfigPolicy) -> String {
    policy.policy.as_ref().map_or_else(|| "empty".to_owned(), rule)
}

fn rule(policy: &Policy) -> String {
    let value: Bytes = policy.value.clone();
    let known = match PolicyType::try_from(policy.r#type) {
        Ok(PolicyType::Signature) => SignaturePolicyEnvelope::decode(value)
            .ok()
            .and_then(|rule| dsl::print(&rule).ok().or_else(|| of_identities(&rule))),
        Ok(PolicyType::ImplicitMeta) => ImplicitMetaPolicy::decode(value).ok().and_then(|meta| {
            let quorum = implicit_meta_policy::Rule::try_from(meta.rule).ok()?;
            Some(format!("{} {}", quorum.as_str_name(), meta.sub_policy))
        }),
        _ => None,
    };
    known.unwrap_or_else(|| format!("type {}, {}", policy.r#type, STANDARD.encode(&policy.value)))
}

/// A policy that names certificates in place of roles, as BFT's does.
fn of_identities(policy: &SignaturePolicyEnvelope) -> Option<String> {
    let Some(signature_policy::Type::NOutOf(gate)) = policy.rule.as_ref()?.r#type.as_ref() else { return None };
    let mut text = format!("OutOf({}", gate.n);
    for rule in &gate.rules {
        let Some(signature_policy::Type::SignedBy(at)) = rule.r#type else { return None };
        let principal = policy.identities.get(usize::try_from(at).ok()?)?;
        let creator = Creator::decode(&principal.principal).ok()?;
        let certificate = Certificate::from_pem(&creator.certificate_pem).ok()?;
        text.extend([", ", creator.msp_id.as_str(), " ", certificate.subject()]);
    }
    text.push(')');
    Some(text)
}

/// The fields of a value by path, those that say something, in words.
pub(super) fn leaves(role: &str, name: &str, value: &Bytes) -> Vec<(String, String)> {
    let mut leaves = Vec::new();
    let read = json::value_of(role, name).and_then(|message| json::decode(message, value).ok());
    match read {
        Some(json) => collect(String::new(), &json, &mut leaves),
        None if value.is_empty() => {}
        None => leaves.push((String::new(), STANDARD.encode(value))),
    }
    leaves
}

fn collect(path: String, json: &Value, leaves: &mut Vec<(String, String)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match json {
        Value::Object(fields) if fields.is_empty() => {
            // The names alone matter, as those of capabilities.
            leaves.push((path, "yes".to_owned()));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(below(key), value, leaves));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(below(&at.to_string()), item, leaves));
        }
        Value::Null | Value::Bool(false) => {}
        Value::String(text) if text.is_empty() || text == "0" => {}
        Value::String(text) => leaves.push((path, certificate(text).unwrap_or_else(|| text.clone()))),
        other => leaves.push((path, other.to_string())),
    }
}

/// A certificate by its subject and its last day.
fn certificate(text: &str) -> Option<String> {
    let pem = STANDARD.decode(text).ok()?;
    let certificate = Certificate::from_pem(&pem).ok()?;
    Some(format!("certificate of {}, valid until {}", certificate.subject(), certificate.expiry()))
}
