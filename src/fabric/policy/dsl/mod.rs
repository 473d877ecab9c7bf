//! Signature policies as text, such as `OR('Org1MSP.member', 'Org2MSP.member')`.
//!
//! A module of its own because the text is a language with quirks: the peer CLI evaluates it as an expression, three
//! times over, and whatever comes out of that is the policy. The quirks that follow are kept, because an
//! organization may have approved a definition with one of them and the others must arrive at the same bytes:
//! inner gates number their principals before outer ones, equal principals are not merged, a threshold may be one more
//! than there are rules and may be quoted, `and` and `or` in lower case are no gates.
//!
//! Profiles of channel configurations are read by an older form of that language, with quirks of its own.
//!
//! Source: Fabric 3.1.5 `common/policydsl`, fabric-config 0.3.0 `policydsl` (the same as Fabric 2.5's).

mod expression;
mod opssc;
mod print;

use bytes::Bytes;
use prost::Message as _;

pub use opssc::parse_opssc;
pub(crate) use opssc::parse_opssc_any_role;
pub(crate) use print::describe;
pub use print::print;

use super::PolicyError;
use crate::fabric::identity::Role;
use crate::pb::common::msp_principal::Classification;
use crate::pb::common::signature_policy::{NOutOf, Type};
use crate::pb::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};
use expression::{Dialect, Expression, Node};

/// Reads a policy as the peer CLI does.
///
/// # Errors
/// [`PolicyError`] where the peer CLI refuses the text.
///
/// ```
/// use opssc::fabric::policy::dsl;
///
/// let policy = dsl::parse("OR('Org1MSP.admin', AND('Org2MSP.peer', 'Org3MSP.peer'))")?;
/// assert_eq!(dsl::print(&policy)?, "OutOf(1, 'Org1MSP.admin', OutOf(2, 'Org2MSP.peer', 'Org3MSP.peer'))");
/// # Ok::<(), opssc::fabric::policy::PolicyError>(())
/// ```
pub fn parse(text: &str) -> Result<SignaturePolicyEnvelope, PolicyError> {
    evaluate(text, Dialect::Peer)
}

/// Reads a policy as configtx profiles have it, and as the peer CLI did before 3.0: `and` and `or` are gates too, and
/// any of the two quotes ends a text. Comments and a comma after the last principal are refused. So is a word after a
/// closing parenthesis, which those tools drop without saying so.
///
/// # Errors
/// [`PolicyError`] where the tools for profiles refuse the text.
///
/// ```
/// use opssc::fabric::policy::dsl;
///
/// let text = "or('Org1MSP.admin', 'Org2MSP.admin')";
/// assert_eq!(dsl::print(&dsl::parse_profile(text)?)?, "OutOf(1, 'Org1MSP.admin', 'Org2MSP.admin')");
/// assert!(dsl::parse(text).is_err());
/// # Ok::<(), opssc::fabric::policy::PolicyError>(())
/// ```
pub fn parse_profile(text: &str) -> Result<SignaturePolicyEnvelope, PolicyError> {
    evaluate(text, Dialect::Profile)
}

fn evaluate(text: &str, dialect: Dialect) -> Result<SignaturePolicyEnvelope, PolicyError> {
    let first = expression::parse(text, dialect)?;
    let second = text_of(gates(&first, dialect)?)?;
    // What the later passes say of their own texts helps nobody; what they most likely met was this.
    later_passes(&second, dialect).map_err(|error| match odd_principal(&first) {
        Some(odd) => PolicyError::invalid(format!("{odd:?} is not <MSP ID>.<role>")),
        None => error,
    })
}

fn later_passes(second: &str, dialect: Dialect) -> Result<SignaturePolicyEnvelope, PolicyError> {
    let third = text_of(context(&expression::parse(second, dialect)?)?)?;
    let mut identities = Vec::new();
    match rule(&expression::parse(&third, dialect)?, &mut identities)? {
        Value::Rule(rule) => Ok(SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities }),
        _ => Err(PolicyError::invalid("it is no gate")),
    }
}

/// The first quoted text that stands for a principal and is none.
fn odd_principal(node: &Node) -> Option<&str> {
    match &node.expression {
        Expression::Text(text) => principal(text).is_none().then_some(text),
        Expression::Call(name, args) => {
            let threshold = usize::from(name.eq_ignore_ascii_case("outof"));
            args.iter().skip(threshold).find_map(odd_principal)
        }
        _ => None,
    }
}

/// What an expression comes to.
enum Value {
    Text(String),
    Number(i64),
    Rule(SignaturePolicy),
}

fn text_of(value: Value) -> Result<String, PolicyError> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(PolicyError::invalid("it is no gate")),
    }
}

/// Whether `text` is an MSP ID, a dot and a role; which they are.
fn principal(text: &str) -> Option<(&str, Role)> {
    let (msp_id, role) = text.rsplit_once('.')?;
    let valid = !msp_id.is_empty() && msp_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    valid.then_some(())?;
    Some((msp_id, role.parse().ok()?))
}

/// A principal is written in quotes into the next pass, anything else as it is: nested gates are text by then.
fn written(text: &str) -> String {
    if principal(text).is_some() { format!("'{text}'") } else { text.to_owned() }
}

fn unexpected(node: &Node) -> PolicyError {
    PolicyError::Syntax { reason: format!("unexpected {}", node.kind()), column: node.column }
}

/// The first pass: every gate becomes `outof` with its threshold.
fn gates(node: &Node, dialect: Dialect) -> Result<Value, PolicyError> {
    let (name, args) = match &node.expression {
        Expression::Text(text) => return Ok(Value::Text(text.clone())),
        Expression::Number(number) => return Ok(Value::Number(*number)),
        Expression::Call(name, args) => (name.as_str(), args),
        Expression::Name(_) | Expression::List(_) => return Err(unexpected(node)),
    };
    let mut values = Vec::with_capacity(args.len() + 1);
    match name {
        "And" | "AND" => values.push(Value::Number(count(args))),
        "Or" | "OR" => values.push(Value::Number(1)),
        "OutOf" | "OUTOF" | "outof" => {}
        "and" if dialect == Dialect::Profile => values.push(Value::Number(count(args))),
        "or" if dialect == Dialect::Profile => values.push(Value::Number(1)),
        _ => {
            let reason = format!("unknown gate {name:?}");
            return Err(PolicyError::Syntax { reason, column: node.column });
        }
    }
    for arg in args {
        values.push(gates(arg, dialect)?);
    }
    if values.len() < 2 {
        let reason = "a gate without principals".to_owned();
        return Err(PolicyError::Syntax { reason, column: node.column });
    }
    let mut text = String::from("outof(");
    for (at, value) in values.into_iter().enumerate() {
        match value {
            // A quoted threshold is taken as it is.
            Value::Text(threshold) if at == 0 => text.push_str(&threshold),
            Value::Number(threshold) if at == 0 => text.push_str(&threshold.to_string()),
            Value::Text(arg) => {
                text.push_str(", ");
                text.push_str(&written(&arg));
            }
            _ => return Err(unexpected(node)),
        }
    }
    text.push(')');
    Ok(Value::Text(text))
}

/// The second pass: the gates are given the place where identities are numbered.
fn context(node: &Node) -> Result<Value, PolicyError> {
    match &node.expression {
        Expression::Text(text) => Ok(Value::Text(text.clone())),
        Expression::Number(number) => Ok(Value::Number(*number)),
        Expression::Call(name, args) if name == "outof" => {
            let mut text = String::from("outof(ID");
            for arg in args {
                text.push_str(", ");
                match context(arg)? {
                    Value::Text(arg) => text.push_str(&written(&arg)),
                    Value::Number(number) => text.push_str(&number.to_string()),
                    Value::Rule(_) => return Err(unexpected(arg)),
                }
            }
            text.push(')');
            Ok(Value::Text(text))
        }
        Expression::Call(..) | Expression::Name(_) | Expression::List(_) => Err(unexpected(node)),
    }
}

/// The third pass: the policy itself. Arguments are evaluated before the gate that they belong to numbers its own.
fn rule(node: &Node, identities: &mut Vec<MspPrincipal>) -> Result<Value, PolicyError> {
    let args = match &node.expression {
        Expression::Text(text) => return Ok(Value::Text(text.clone())),
        Expression::Number(number) => return Ok(Value::Number(*number)),
        Expression::Call(name, args) if name == "outof" => args,
        Expression::Call(..) | Expression::Name(_) | Expression::List(_) => return Err(unexpected(node)),
    };
    let [context, args @ ..] = args.as_slice() else { return Err(unexpected(node)) };
    if !matches!(&context.expression, Expression::Name(name) if name == "ID") {
        return Err(unexpected(context));
    }
    let mut values = Vec::with_capacity(args.len());
    for arg in args {
        values.push(rule(arg, identities)?);
    }
    let mut values = values.into_iter();
    let Some(Value::Number(threshold)) = values.next() else {
        return Err(PolicyError::invalid("a threshold is not a number"));
    };
    let rules = values.map(|value| match value {
        Value::Rule(rule) => Ok(rule),
        Value::Text(text) => {
            let (msp_id, role) =
                principal(&text).ok_or_else(|| PolicyError::invalid(format!("{text:?} is not <MSP ID>.<role>")))?;
            let number = i32::try_from(identities.len()).map_err(|_| PolicyError::invalid("too many principals"))?;
            identities.push(role.principal(msp_id));
            Ok(SignaturePolicy { r#type: Some(Type::SignedBy(number)) })
        }
        Value::Number(number) => Err(PolicyError::invalid(format!("{number} is no principal"))),
    });
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    // One more than there are rules is accepted: such a policy can never be satisfied.
    let n = i32::try_from(threshold)
        .ok()
        .filter(|_| !rules.is_empty() && (0..=count(&rules) + 1).contains(&threshold))
        .ok_or_else(|| PolicyError::invalid(format!("{threshold} out of {} rules", rules.len())))?;
    Ok(Value::Rule(SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n, rules })) }))
}

fn count<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

/// MSP ID and role of a principal that is a role.
pub(crate) fn role_of(principal: &MspPrincipal) -> Option<(String, Role)> {
    if principal.principal_classification != Classification::Role as i32 {
        return None;
    }
    let role = MspRole::decode(Bytes::clone(&principal.principal)).ok()?;
    let known = Role::ALL.into_iter().find(|known| known.number() == role.role)?;
    Some((role.msp_identifier, known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = parse(text).and_then(|policy| print(&policy)).unwrap_or_else(|error| format!("error: {error}"));
        assert_eq!(shown, expected, "for {text}");
    }

    #[test]
    fn reads_rules() {
        check("OR('A.member')", "OutOf(1, 'A.member')");
        check("AND(\"A.peer\", `B-1.x.client` /* and */,) // end", "OutOf(2, 'A.peer', 'B-1.x.client')");
        check("OutOf('1', 'A.admin', OR('B.orderer'))", "OutOf(1, 'A.admin', OutOf(1, 'B.orderer'))");
        check("OutOf(0x2, 'A.admin', 'B.admin')", "OutOf(2, 'A.admin', 'B.admin')");
        check("OutOf(1.9, 'A.admin')", "OutOf(1, 'A.admin')");
        check("XOR('A.peer')", "error: policy cannot be read: unknown gate \"XOR\" at column 1");
        check("OR('A.peer'", "error: policy cannot be read: unexpected end at column 12");
        check("OutOf(3, 'A.peer')", "error: policy makes no sense: 3 out of 1 rules");
        check("OR('A_1.peer')", "error: policy makes no sense: \"A_1.peer\" is not <MSP ID>.<role>");
    }

    #[track_caller]
    fn check_profile(text: &str, expected: &str) {
        let policy = parse_profile(text).and_then(|policy| print(&policy));
        assert_eq!(policy.as_deref().unwrap_or("refused"), expected, "for {text}");
    }

    /// Each was shown to Fabric 2.5.16's parser.
    #[test]
    fn reads_rules_of_profiles() {
        check_profile("and('A.member', or('B.peer', 'C.peer'))", "OutOf(2, 'A.member', OutOf(1, 'B.peer', 'C.peer'))");
        check_profile("OR('A.member\")", "OutOf(1, 'A.member')");
        check_profile("OR('A\\.mem\\ber')", "OutOf(1, 'A.member')");
        check_profile("OR(('A.member', 'B.peer'), 'C.peer')", "OutOf(1, 'A.member', 'B.peer', 'C.peer')");
        check_profile("OutOf(('2'), 'A.member', 'B.peer')", "OutOf(2, 'A.member', 'B.peer')");
        check_profile("OutOf(0x1, 'A.member')", "OutOf(1, 'A.member')");
        check_profile("OutOf(-0, 'A.member')", "OutOf(0, 'A.member')");
        check_profile("OutOf(2, ('A.member', 'B.peer'))", "refused");
        check_profile("OR('A.member',)", "refused");
        check_profile("OR(`A.member`)", "refused");
        check_profile("OR('A.member') // end", "refused");
        check_profile("OutOf(+1, 'A.member')", "refused");
        check_profile("OutOf(1e0, 'A.member')", "refused");
        check_profile("OR('A.member'), OR('B.member')", "refused");
        check_profile("OR('A.member\\", "refused");
    }

    #[test]
    fn what_is_named_over_and_over_is_not_written_out() {
        let identities = vec![Role::Peer.principal(&"A".repeat(1 << 20))];
        let rules = vec![SignaturePolicy { r#type: Some(Type::SignedBy(0)) }; 100_000];
        let rule = Some(SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n: 1, rules })) });
        // A megabyte and a half that once became a hundred gigabytes.
        assert!(print(&SignaturePolicyEnvelope { version: 0, rule, identities }).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let deep = format!("{}'A.member'{}", "OR(".repeat(100_000), ")".repeat(100_000));
        assert!(parse(&deep).is_err());
    }

    /// A tree of gates as text.
    fn policies() -> impl Strategy<Value = String> {
        let role = prop::sample::select(Role::ALL.to_vec());
        let leaf = ("[A-Za-z0-9][A-Za-z0-9.-]{0,8}", role).prop_map(|(msp, role)| format!("'{msp}.{role}'"));
        let gate = |inner: BoxedStrategy<String>| {
            prop::collection::vec(inner, 1..4)
                .prop_flat_map(|rules| (0..=rules.len() + 1, Just(rules)))
                .prop_map(|(n, rules)| format!("OutOf({n}, {})", rules.join(", ")))
        };
        let nested = leaf.prop_recursive(3, 12, 3, move |inner| gate(inner.boxed()));
        prop::collection::vec(nested, 1..4).prop_map(|rules| format!("OutOf({}, {})", rules.len(), rules.join(", ")))
    }

    proptest! {
        #[test]
        fn prints_what_it_reads(text in policies()) {
            prop_assert_eq!(&print(&parse(&text).unwrap()).unwrap(), &text);
            prop_assert_eq!(print(&parse_profile(&text).unwrap()).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[(),'\"`A-Za-z0-9. /*+-]{0,60}|\\PC{0,40}") {
            let _ = parse(&text);
            let _ = parse_profile(&text);
        }
    }
}
