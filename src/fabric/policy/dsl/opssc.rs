//! The same language as OpsSC's agents read it.
//!
//! They know no quoted thresholds and none above the number of rules, but take gates in lower case too. What comes out is
//! numbered as the peer CLI numbers it, so that organizations arrive at the same bytes with either.
//!
//! Source: fabric-opssc `common/src/lib/application_policy_lib.ts`.

use super::expression::{self, Dialect, Expression, Node};
use super::{PolicyError, count, principal};
use crate::fabric::identity::Role;
use crate::pb::common::signature_policy::{NOutOf, Type};
use crate::pb::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};

/// Reads a policy as OpsSC's agents do.
///
/// # Errors
/// [`PolicyError`] where they refuse the text.
pub fn parse_opssc(text: &str) -> Result<SignaturePolicyEnvelope, PolicyError> {
    parse_by(text, principal)
}

/// The same where roles count for nothing: any word is one, and stands for `member`.
pub(crate) fn parse_opssc_any_role(text: &str) -> Result<SignaturePolicyEnvelope, PolicyError> {
    parse_by(text, |text| {
        principal(text).or_else(|| {
            let (msp_id, role) = text.rsplit_once('.')?;
            let word = !role.is_empty() && role.chars().all(|c| c.is_ascii_alphabetic());
            let valid = !msp_id.is_empty() && msp_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
            (word && valid).then_some((msp_id, Role::Member))
        })
    })
}

/// How a principal is read.
type ReadPrincipal = fn(&str) -> Option<(&str, Role)>;

fn parse_by(text: &str, principal: ReadPrincipal) -> Result<SignaturePolicyEnvelope, PolicyError> {
    let node = expression::parse(text, Dialect::Opssc)?;
    let mut identities = Vec::new();
    let rule = gate(&node, &mut identities, principal)?;
    Ok(SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities })
}

fn wrong(node: &Node, reason: impl Into<String>) -> PolicyError {
    PolicyError::Syntax { reason: reason.into(), column: node.column }
}

fn gate(
    node: &Node,
    identities: &mut Vec<MspPrincipal>,
    principal: ReadPrincipal,
) -> Result<SignaturePolicy, PolicyError> {
    let Expression::Call(name, args) = &node.expression else {
        return Err(wrong(node, format!("unexpected {}", node.kind())));
    };
    let (threshold, rules) = match (name.as_str(), args.as_slice()) {
        ("And" | "AND" | "and", rules) => (count(rules), rules),
        ("Or" | "OR" | "or", rules) => (1, rules),
        ("OutOf" | "OUTOF" | "outof", [Node { expression: Expression::Number(n), .. }, rules @ ..]) => (*n, rules),
        ("OutOf" | "OUTOF" | "outof", _) => return Err(wrong(node, "OutOf without a number")),
        _ => return Err(wrong(node, format!("unknown gate {name:?}"))),
    };
    let n = i32::try_from(threshold)
        .ok()
        .filter(|_| !rules.is_empty() && (0..=count(rules)).contains(&threshold))
        .ok_or_else(|| wrong(node, format!("{threshold} out of {} rules", rules.len())))?;
    // Inner gates number their principals first, as they do in the peer CLI.
    let mut made: Vec<Option<SignaturePolicy>> = Vec::with_capacity(rules.len());
    for rule in rules {
        let inner = matches!(rule.expression, Expression::Call(..));
        made.push(if inner { Some(gate(rule, identities, principal)?) } else { None });
    }
    for (rule, made) in rules.iter().zip(&mut made) {
        if made.is_none() {
            let Expression::Text(text) = &rule.expression else {
                return Err(wrong(rule, format!("unexpected {}", rule.kind())));
            };
            let (msp_id, role) =
                principal(text).ok_or_else(|| wrong(rule, format!("{text:?} is not <MSP ID>.<role>")))?;
            let number = i32::try_from(identities.len()).map_err(|_| wrong(rule, "too many principals"))?;
            identities.push(role.principal(msp_id));
            *made = Some(SignaturePolicy { r#type: Some(Type::SignedBy(number)) });
        }
    }
    let rules = made.into_iter().flatten().collect();
    Ok(SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n, rules })) })
}
