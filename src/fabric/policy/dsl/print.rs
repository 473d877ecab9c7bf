//! Policies back to text.

use std::fmt;

use super::{PolicyError, principal, role_of};
use crate::pb::common::signature_policy::Type;
use crate::pb::common::{SignaturePolicy, SignaturePolicyEnvelope};

/// As long as a text may be that is read again.
const LONGEST: usize = 1 << 20;

/// The policy as text that [`parse`](super::parse) reads again, with every gate as `OutOf`.
///
/// # Errors
/// [`PolicyError::Invalid`] for policies that cannot be written: principals that are no roles, numbers that lead
/// nowhere, more than a megabyte.
pub fn print(policy: &SignaturePolicyEnvelope) -> Result<String, PolicyError> {
    let rule = policy.rule.as_ref().ok_or_else(|| PolicyError::invalid("it has no rule"))?;
    let mut text = String::new();
    match &rule.r#type {
        // A lone principal has no form of its own.
        Some(Type::SignedBy(_)) => {
            text.push_str("OutOf(1, ");
            write(rule, policy, &mut text)?;
            text.push(')');
        }
        _ => write(rule, policy, &mut text)?,
    }
    Ok(text)
}

/// What a policy means, for people and for comparing: every policy has a text here, also one that no text makes, and
/// policies that differ only in how they are encoded have the same.
///
/// # Errors
/// Whatever `out` says.
pub(crate) fn describe(policy: &SignaturePolicyEnvelope, out: &mut dyn fmt::Write) -> fmt::Result {
    if policy.version != 0 {
        write!(out, "version {} ", policy.version)?;
    }
    match &policy.rule {
        Some(rule) => describe_rule(rule, policy, out),
        None => out.write_str("no rule"),
    }
}

fn describe_rule(rule: &SignaturePolicy, policy: &SignaturePolicyEnvelope, out: &mut dyn fmt::Write) -> fmt::Result {
    match &rule.r#type {
        Some(Type::SignedBy(number)) => {
            let identity = usize::try_from(*number).ok().and_then(|at| policy.identities.get(at));
            match (identity, identity.and_then(role_of)) {
                (_, Some((msp_id, role))) => write!(out, "'{}.{role}'", msp_id.escape_debug()),
                (Some(other), None) => {
                    write!(out, "principal {} ", other.principal_classification)?;
                    other.principal.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
                }
                (None, _) => write!(out, "identity {number}, which is none"),
            }
        }
        Some(Type::NOutOf(gate)) => {
            write!(out, "OutOf({}", gate.n)?;
            for rule in &gate.rules {
                out.write_str(", ")?;
                describe_rule(rule, policy, out)?;
            }
            out.write_char(')')
        }
        None => out.write_str("an empty rule"),
    }
}

fn write(rule: &SignaturePolicy, policy: &SignaturePolicyEnvelope, out: &mut String) -> Result<(), PolicyError> {
    if out.len() > LONGEST {
        // Rules may name one principal millions of times over.
        return Err(PolicyError::invalid("it is too long to be written"));
    }
    match &rule.r#type {
        Some(Type::SignedBy(number)) => {
            let found = usize::try_from(*number).ok().and_then(|at| policy.identities.get(at)).and_then(role_of);
            let (msp_id, part) = found.ok_or_else(|| PolicyError::invalid(format!("identity {number} is no role")))?;
            let text = format!("{msp_id}.{part}");
            if principal(&text).is_none() {
                return Err(PolicyError::invalid(format!("{text:?} cannot be written as a principal")));
            }
            out.push('\'');
            out.push_str(&text);
            out.push('\'');
        }
        Some(Type::NOutOf(gate)) => {
            out.push_str("OutOf(");
            out.push_str(&gate.n.to_string());
            for rule in &gate.rules {
                out.push_str(", ");
                write(rule, policy, out)?;
            }
            out.push(')');
        }
        None => return Err(PolicyError::invalid("a rule is empty")),
    }
    Ok(())
}
