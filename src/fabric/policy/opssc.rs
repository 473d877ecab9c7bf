//! Policies as OpsSC's proposals hold them: as text, by reference, or in one of two JSON shapes.
//!
//! A module of its own because the shapes are OpsSC's and the SDKs', not Fabric's. Roles are kept, which the original
//! agent loses in validation parameters (there, every role becomes `member`).
//!
//! Source: fabric-opssc `common/src/lib/application_policy_lib.ts`.

use serde_json::{Map, Value};

use super::original::in_order;
use super::{ApplicationPolicy, PolicyError, dsl};
use crate::fabric::identity::Role;
use crate::pb::common::signature_policy::{NOutOf, Type};
use crate::pb::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};

/// Reads a proposal's validation parameter, after base64: a channel policy (it starts with a slash), a signature policy
/// as text, either of them as a JSON string, or a JSON object with `identities` and `policy` (SDKs) or `rule` (Fabric).
/// `None` for nothing and for `null`: the channel's default applies.
///
/// # Errors
/// [`PolicyError`] for anything else.
pub fn opssc_validation_parameter(text: &str) -> Result<Option<ApplicationPolicy>, PolicyError> {
    validation_parameter(text, Dialect::Fabric)
}

/// How policies as text are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Numbered as by the peer CLI, with known roles only.
    Fabric,
    /// As by the original agent: numbered in order of appearance, equal principals being one.
    Original,
    /// The same in a validation parameter, where roles are lost and so may be any word.
    OriginalAnyRole,
}

pub(super) fn validation_parameter(text: &str, dialect: Dialect) -> Result<Option<ApplicationPolicy>, PolicyError> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::String(text)) => written(&text, dialect),
        Ok(value @ Value::Object(_)) => {
            signature_policy(&value, dialect).map(|policy| Some(ApplicationPolicy::Signature(policy)))
        }
        Ok(other) => Err(PolicyError::invalid(format!("{} is no policy", kind(&other)))),
        Err(_) => written(text, dialect),
    }
}

fn written(text: &str, dialect: Dialect) -> Result<Option<ApplicationPolicy>, PolicyError> {
    match text {
        "" => Ok(None),
        path if path.starts_with('/') => Ok(Some(ApplicationPolicy::ChannelReference(path.to_owned()))),
        text => language(text, dialect).map(|policy| Some(ApplicationPolicy::Signature(policy))),
    }
}

fn language(text: &str, dialect: Dialect) -> Result<SignaturePolicyEnvelope, PolicyError> {
    match dialect {
        Dialect::Fabric => dsl::parse_opssc(text),
        Dialect::Original => dsl::parse_opssc(text).map(in_order),
        Dialect::OriginalAnyRole => dsl::parse_opssc_any_role(text).map(in_order),
    }
}

/// A signature policy as text or as a JSON object of either shape.
pub(super) fn signature_policy(value: &Value, dialect: Dialect) -> Result<SignaturePolicyEnvelope, PolicyError> {
    match value {
        Value::String(text) => language(text, dialect),
        Value::Object(object) => shape(object),
        other => Err(PolicyError::invalid(format!("{} is no policy", kind(other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shape(object: &Map<String, Value>) -> Result<SignaturePolicyEnvelope, PolicyError> {
    let identities = list(object, &["identities"])?.iter().map(identity).collect::<Result<Vec<_>, _>>()?;
    let version = match object.get("version") {
        None | Some(Value::Null) => 0,
        Some(version) => integer(version)?,
    };
    let rule = match (object.get("policy"), object.get("rule")) {
        (Some(policy), None) => sdk_rule(policy, identities.len())?,
        (None, Some(rule)) => fabric_rule(rule, identities.len())?,
        (Some(_), Some(_)) => return Err(PolicyError::invalid("it has both a policy and a rule")),
        (None, None) => return Err(PolicyError::invalid("it has neither a policy nor a rule")),
    };
    Ok(SignaturePolicyEnvelope { version, rule: Some(rule), identities })
}

fn get<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Result<&'a Value, PolicyError> {
    let found = names.iter().find_map(|name| object.get(*name));
    found.ok_or_else(|| PolicyError::invalid(format!("{:?} is missing", names[0])))
}

fn list<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Result<&'a [Value], PolicyError> {
    let value = get(object, names)?;
    value.as_array().map(Vec::as_slice).ok_or_else(|| PolicyError::invalid(format!("{:?} is no list", names[0])))
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, PolicyError> {
    value.as_object().ok_or_else(|| PolicyError::invalid(format!("{what} is {}", kind(value))))
}

fn integer(value: &Value) -> Result<i32, PolicyError> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| PolicyError::invalid(format!("{value} is no number that fits")))
}

/// `{"role": {"name": "member", "mspId": "Org1MSP"}}`, or Fabric's `{"principal_classification": 0, "principal":
/// {"msp_identifier": "Org1MSP", "role": "MEMBER"}}`.
fn identity(value: &Value) -> Result<MspPrincipal, PolicyError> {
    let identity = object(value, "an identity")?;
    let (msp_id, role) = if let Some(role) = identity.get("role") {
        let role = object(role, "a role")?;
        (get(role, &["mspId"])?, get(role, &["name"])?)
    } else {
        let classification = identity.get("principal_classification").or(identity.get("principalClassification"));
        let is_role = match classification {
            None => true,
            Some(Value::String(name)) => name == "ROLE",
            Some(number) => number.as_i64() == Some(0),
        };
        if !is_role {
            return Err(PolicyError::invalid("an identity is no role"));
        }
        let principal = object(get(identity, &["principal"])?, "a principal")?;
        (get(principal, &["msp_identifier", "mspIdentifier"])?, get(principal, &["role"])?)
    };
    let msp_id = msp_id.as_str().ok_or_else(|| PolicyError::invalid("an MSP ID is no text"))?;
    let role = match role {
        Value::String(name) => name.to_lowercase().parse().ok(),
        number => Role::ALL.into_iter().find(|role| number.as_i64() == Some(role.number().into())),
    };
    let role = role.ok_or_else(|| PolicyError::invalid("a role is unknown"))?;
    Ok(role.principal(msp_id))
}

fn signed_by(value: &Value, identities: usize) -> Result<SignaturePolicy, PolicyError> {
    let number = integer(value)?;
    if usize::try_from(number).is_ok_and(|at| at < identities) {
        Ok(SignaturePolicy { r#type: Some(Type::SignedBy(number)) })
    } else {
        Err(PolicyError::invalid(format!("there is no identity {number}")))
    }
}

/// `{"signed-by": 0}` or `{"2-of": […]}`.
fn sdk_rule(value: &Value, identities: usize) -> Result<SignaturePolicy, PolicyError> {
    let rule = object(value, "a policy")?;
    let (Some((key, value)), 1) = (rule.iter().next(), rule.len()) else {
        return Err(PolicyError::invalid("a policy must have one key"));
    };
    if key == "signed-by" {
        return signed_by(value, identities);
    }
    let n = key.strip_suffix("-of").and_then(|n| n.parse().ok()).filter(|n| *n >= 0);
    let n = n.ok_or_else(|| PolicyError::invalid(format!("{key:?} is neither \"signed-by\" nor \"<number>-of\"")))?;
    let rules = value.as_array().ok_or_else(|| PolicyError::invalid(format!("{key:?} is no list")))?;
    let rules = rules.iter().map(|rule| sdk_rule(rule, identities)).collect::<Result<_, _>>()?;
    Ok(SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n, rules })) })
}

/// `{"signed_by": 0}` or `{"n_out_of": {"n": 2, "rules": […]}}`.
fn fabric_rule(value: &Value, identities: usize) -> Result<SignaturePolicy, PolicyError> {
    let rule = object(value, "a rule")?;
    if let Some(number) = rule.get("signed_by").or(rule.get("signedBy")) {
        return signed_by(number, identities);
    }
    let gate = object(get(rule, &["n_out_of", "nOutOf"])?, "a gate")?;
    let n = integer(get(gate, &["n"])?)?;
    let rules = list(gate, &["rules"])?.iter().map(|rule| fabric_rule(rule, identities)).collect::<Result<_, _>>()?;
    Ok(SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n, rules })) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "[\\[\\]{}:,\"a-z_0-9. '()/-]{0,80}|\\PC{0,40}",
            shape in "\\{\"identities\":\\[[a-z{}\":,]{0,30}\\],\"policy\":\\{\"[0-9a-z-]{0,9}\":[0-9\\[\\]{}]{0,9}\\}\\}",
        ) {
            let _ = opssc_validation_parameter(&text);
            let _ = opssc_validation_parameter(&shape);
        }
    }
}
