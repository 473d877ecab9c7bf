//! Policies back to text.

use super::{PolicyError, principal, role_of};
use crate::pb::common::signature_policy::Type;
use crate::pb::common::{SignaturePolicy, SignaturePolicyEnvelope};

/// The policy as text that [`parse`](super::parse) reads again, with every gate as `OutOf`.
///
/// # Errors
/// [`PolicyError::Invalid`] for policies that cannot be written: principals that are no roles, numbers that lead
/// nowhere.
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

fn write(rule: &SignaturePolicy, policy: &SignaturePolicyEnvelope, out: &mut String) -> Result<(), PolicyError> {
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
