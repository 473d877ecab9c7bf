//! Who would have to sign: the combinations of principals that satisfy policies.
//!
//! A module of its own because it knows policies only, neither peers nor channels. Several policies at once (those of a
//! chaincode, of the chaincodes that it calls, of collections) are merged, so that one endorser serves all that it can.
//!
//! Invariant: there are never more than [`MOST`] combinations, however a policy is written; what is beyond is left out,
//! as Fabric leaves it out, though it does so later.
//!
//! Source: Fabric 3.1.5 `common/policies/inquire`, `common/graph`.

use bytes::Bytes;
use prost::Message as _;

use crate::pb::common::msp_principal::Classification;
use crate::pb::common::signature_policy::Type;
use crate::pb::common::{MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy, SignaturePolicyEnvelope};
use crate::pb::msp::SerializedIdentity;

/// More combinations of principals than any sensible policy has.
const MOST: usize = 1000;
/// More principals than any network has signers for; larger combinations are left out.
const LARGEST: usize = 10_000;

const MEMBER: i32 = crate::pb::common::msp_role::MspRoleType::Member as i32;

/// A principal that can be compared with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::devnet::peer) struct Principal {
    pub(super) message: MspPrincipal,
    msp_id: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Role(i32),
    Unit { name: String, certifiers: Bytes },
    Identity(Bytes),
}

impl Principal {
    /// `None` for one of a kind that cannot be compared.
    fn read(message: &MspPrincipal) -> Option<Self> {
        let bytes = message.principal.clone();
        let (msp_id, kind) = match Classification::try_from(message.principal_classification).ok()? {
            Classification::Role => {
                let role = MspRole::decode(bytes).ok()?;
                (role.msp_identifier, Kind::Role(role.role))
            }
            Classification::OrganizationUnit => {
                let unit = OrganizationUnit::decode(bytes).ok()?;
                let name = unit.organizational_unit_identifier;
                (unit.msp_identifier, Kind::Unit { name, certifiers: unit.certifiers_identifier })
            }
            Classification::Identity => {
                let identity = SerializedIdentity::decode(bytes).ok()?;
                (identity.mspid, Kind::Identity(identity.id_bytes))
            }
            Classification::Anonymity | Classification::Combined => return None,
        };
        Some(Self { message: message.clone(), msp_id, kind })
    }

    /// Whether all who are this are `other` too, as far as that is known.
    fn is_a(&self, other: &Self) -> bool {
        self.msp_id == other.msp_id && (other.kind == Kind::Role(MEMBER) || self.kind == other.kind)
    }
}

/// Principals, each of which somebody else has to be.
pub(in crate::devnet::peer) type Combination = Vec<Principal>;

/// Whether every principal of `inner` is covered by one of `outer`.
fn is_contained(inner: &Combination, outer: &Combination) -> bool {
    inner.iter().all(|principal| outer.iter().any(|cover| cover.is_a(principal)))
}

fn is_subset(inner: &Combination, outer: &Combination) -> bool {
    inner.iter().all(|principal| outer.contains(principal))
}

/// The combinations that satisfy a policy; none where nobody can.
pub(in crate::devnet::peer) fn combinations(policy: &SignaturePolicyEnvelope) -> Option<Vec<Combination>> {
    let sets = policy.rule.as_ref().map(|rule| sets(rule, policy.identities.len())).unwrap_or_default();
    let principals: Option<Vec<_>> = policy.identities.iter().map(Principal::read).collect();
    let principals = principals?;
    let combinations: Vec<Combination> =
        sets.iter().map(|set| set.iter().map(|at| principals[*at].clone()).collect()).collect();
    // A rule that nobody needs to satisfy makes no layout.
    (!combinations.is_empty() && combinations.iter().all(|set| !set.is_empty())).then_some(combinations)
}

/// The sets of numbers of identities that satisfy `rule`; a broken rule has none.
fn sets(rule: &SignaturePolicy, identities: usize) -> Vec<Vec<usize>> {
    match &rule.r#type {
        Some(Type::SignedBy(number)) => {
            usize::try_from(*number).ok().filter(|at| *at < identities).map(|at| vec![vec![at]]).unwrap_or_default()
        }
        Some(Type::NOutOf(gate)) => {
            let Ok(needed) = usize::try_from(gate.n) else { return Vec::new() };
            let mut parts = gate.rules.len();
            while parts > needed && exceeds(parts, needed) {
                parts -= 1;
            }
            let mut parts: Vec<_> = gate.rules[..parts].iter().map(|rule| sets(rule, identities)).collect();
            // What nobody can satisfy is never taken. Left in, it would be found out anew after every way to get there.
            parts.retain(|part| !part.is_empty());
            let mut found = Vec::new();
            choose(&parts, needed, &Vec::new(), &mut found);
            found
        }
        None => Vec::new(),
    }
}

/// Whether there are more than [`MOST`] ways to choose `k` out of `n`.
fn exceeds(n: usize, k: usize) -> bool {
    let mut ways: u128 = 1;
    for step in 1..=k.min(n - k) {
        ways = ways * (n - step + 1) as u128 / step as u128;
        if ways > MOST as u128 {
            return true;
        }
    }
    false
}

/// All ways to take `needed` of `parts`, and one set of each taken one, after `taken`.
fn choose(parts: &[Vec<Vec<usize>>], needed: usize, taken: &Vec<usize>, found: &mut Vec<Vec<usize>>) {
    if found.len() >= MOST || parts.len() < needed || taken.len() > LARGEST {
        return;
    }
    if needed == 0 {
        found.push(taken.clone());
        return;
    }
    let Some((part, rest)) = parts.split_first() else { return };
    for set in part {
        let more = [taken.as_slice(), set.as_slice()].concat();
        choose(rest, needed - 1, &more, found);
    }
    choose(rest, needed, taken, found);
}

/// The combinations that satisfy what both demand.
///
/// Follows Fabric's order of steps to the letter, for layouts show it.
pub(super) fn merge(first: Vec<Combination>, second: Vec<Combination>) -> Vec<Combination> {
    let in_second = containment(&first, &second);
    let mut merged: Vec<Combination> =
        in_second.iter().map(|(inner, outer)| cover(&first[*inner], &second[*outer])).collect();
    let first = without(first, in_second.iter().map(|(inner, _)| *inner));
    let in_first = containment(&second, &first);
    merged.extend(in_first.iter().map(|(inner, outer)| cover(&second[*inner], &first[*outer])));
    let second = without(second, in_first.iter().map(|(inner, _)| *inner));
    let first = without(first, in_first.iter().map(|(_, outer)| *outer));
    let second = without(second, in_second.iter().map(|(_, outer)| *outer));
    'all: for one in &first {
        for other in &second {
            if merged.len() >= MOST {
                break 'all;
            }
            merged.push(cover(one, other));
        }
    }
    merged.truncate(MOST);
    reduce(merged)
}

/// Pairs of a combination and another that contains it, by their numbers.
fn containment(inner: &[Combination], outer: &[Combination]) -> Vec<(usize, usize)> {
    let pairs = (0..inner.len()).flat_map(|one| (0..outer.len()).map(move |other| (one, other)));
    pairs.filter(|(one, other)| is_contained(&inner[*one], &outer[*other])).collect()
}

fn without(combinations: Vec<Combination>, left_out: impl Iterator<Item = usize>) -> Vec<Combination> {
    let left_out: std::collections::BTreeSet<_> = left_out.collect();
    let kept = combinations.into_iter().enumerate().filter(|(at, _)| !left_out.contains(at));
    kept.map(|(_, combination)| combination).collect()
}

/// `outer` with those principals of `inner` that it does not cover, each principal covering one.
fn cover(inner: &Combination, outer: &Combination) -> Combination {
    let mut used = vec![false; outer.len()];
    let mut covered = outer.clone();
    for principal in inner {
        let free = (0..outer.len()).find(|at| !used[*at] && outer[*at].is_a(principal));
        match free {
            Some(at) => used[at] = true,
            None => covered.push(principal.clone()),
        }
    }
    covered
}

/// Leaves out what contains another combination, again and again until nothing changes.
fn reduce(combinations: Vec<Combination>) -> Vec<Combination> {
    let mut current = combinations;
    loop {
        let redundant: Vec<_> = (0..current.len()).filter(|at| is_redundant(&current, *at)).collect();
        if redundant.is_empty() {
            return current;
        }
        current = without(current, redundant.into_iter());
    }
}

fn is_redundant(combinations: &[Combination], at: usize) -> bool {
    let mut redundant = false;
    for (other, combination) in combinations.iter().enumerate().filter(|(other, _)| *other != at) {
        if is_subset(combination, &combinations[at]) {
            redundant = true;
        }
        // Of two that contain each other, the first stays.
        if at < other && is_subset(&combinations[at], combination) {
            redundant = false;
        }
    }
    redundant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::policy::dsl;

    /// The combinations, each as its organizations (with the role where it is not `peer`), in order.
    fn shown(combinations: &[Combination]) -> Vec<String> {
        let name = |principal: &Principal| match &principal.kind {
            Kind::Role(3) => principal.msp_id.clone(),
            Kind::Role(role) => format!("{}:{role}", principal.msp_id),
            other => format!("{other:?}"),
        };
        let mut shown: Vec<_> = combinations
            .iter()
            .map(|combination| {
                let mut names: Vec<_> = combination.iter().map(name).collect();
                names.sort();
                names.join("+")
            })
            .collect();
        shown.sort();
        shown
    }

    fn of(rule: &str) -> Vec<Combination> {
        combinations(&dsl::parse(rule).unwrap()).unwrap()
    }

    #[test]
    fn every_way_to_satisfy_a_policy() {
        for (rule, expected) in [
            ("AND('A.peer','B.peer')", &["A+B"][..]),
            ("OR('A.peer','B.peer')", &["A", "B"]),
            ("OutOf(2,'A.peer','B.peer','C.peer')", &["A+B", "A+C", "B+C"]),
            ("AND('A.peer',OR('B.peer','C.peer'))", &["A+B", "A+C"]),
            ("AND('A.peer','A.peer')", &["A+A"]),
        ] {
            assert_eq!(shown(&of(rule)), expected, "for {rule}");
        }
        assert!(combinations(&dsl::parse("OutOf(0,'A.peer')").unwrap()).is_none(), "nobody is needed");
        assert!(combinations(&dsl::parse("OutOf(2,'A.peer')").unwrap()).is_none(), "nobody suffices");
    }

    #[test]
    fn policies_are_merged() {
        for (first, second, expected) in [
            ("OR('A.peer','B.peer')", "OR('A.peer','B.peer')", &["A", "B"][..]),
            ("AND('A.peer','B.peer')", "OR('A.peer','C.peer')", &["A+B"]),
            ("OR('A.peer','B.peer')", "OR('C.peer','D.peer')", &["A+C", "A+D", "B+C", "B+D"]),
            // Once one combination serves both, none is made up for the others.
            ("OR('A.member','B.member')", "OR('A.peer')", &["A"]),
            ("AND('A.peer','A.peer')", "OR('A.peer')", &["A+A"]),
        ] {
            assert_eq!(shown(&merge(of(first), of(second))), expected, "for {first} and {second}");
        }
    }

    #[test]
    fn what_nobody_can_satisfy_is_not_looked_for_everywhere() {
        // 50^9 ways lead to the last rule, which nobody satisfies; all were once gone.
        let many: Vec<_> = (0..50).map(|at| format!("'Org{at}.peer'")).collect();
        let wide = vec![format!("OR({})", many.join(",")); 9].join(",");
        assert!(combinations(&dsl::parse(&format!("AND({wide},OutOf(2,'A.peer'))")).unwrap()).is_none());
    }

    #[test]
    fn a_wide_policy_does_not_explode() {
        let many: Vec<_> = (0..60).map(|at| format!("'Org{at}.peer'")).collect();
        let found = of(&format!("OutOf(30,{})", many.join(",")));
        assert!(!found.is_empty() && found.len() <= MOST, "{}", found.len());
        assert!(merge(found.clone(), of("OR('X.peer','Y.peer')")).len() <= MOST);
        assert!(found.iter().all(|combination| combination.len() == 30));
    }
}
