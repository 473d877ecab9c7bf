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

fn write(rule: &SignaturePolicy, policy: &SignaturePolicyEnvelope, text: &mut String) -> Result<(), PolicyError> {
    match &rule.r#type {
        Some(Type::SignedBy(number)) => {
            let named = usize::try_from(*number).ok().and_then(|at| policy.identities.get(at)).and_then(role_of);
            let (msp_id, role) = named.ok_or_else(|| PolicyError::invalid(format!("identity {number} is no role")))?;
            let shown = format!("{msp_id}.{role}");
            if principal(&shown).is_none() {
                return Err(PolicyError::invalid(format!("{shown:?} cannot be written as a principal")));
            }
            text.push('\'');
            text.push_str(&shown);
            text.push('\'');
        }
        Some(Type::NOutOf(gate)) => {
            text.push_str("OutOf(");
            text.push_str(&gate.n.to_string());
            for rule in &gate.rules {
                text.push_str(", ");
                write(rule, policy, text)?;
            }
            text.push(')');
        }
        None => return Err(PolicyError::invalid("a rule is empty")),
    }
    Ok(())
}
