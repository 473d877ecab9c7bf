//! Whether signatures suffice.

use std::collections::HashMap;

use prost::Message as _;

use crate::fabric::identity::{Identity, Role};
use crate::fabric::names::MspId;
use crate::pb::common::msp_principal::Classification;
use crate::pb::common::signature_policy::Type;
use crate::pb::common::{MspPrincipal, MspRole};
use crate::pb::common::{SignaturePolicy, SignaturePolicyEnvelope};

/// Whether the policy is satisfied by `signers`, whose signatures were verified.
///
/// As Fabric's nodes do it: every signer counts once in all, however often it appears, and the first that fits a
/// principal is used up for it, in the order in which both are written. A policy that is broken (a number that leads
/// nowhere, an unknown version) is satisfied by nobody.
pub fn evaluate(policy: &SignaturePolicyEnvelope, signers: &[Identity]) -> bool {
    suffices(policy, &distinct(signers))
}

/// One who may sign, as far as policies look at it.
pub(crate) trait Candidate {
    /// Whether it is what `principal` demands.
    fn satisfies(&self, principal: &MspPrincipal) -> bool;
}

impl Candidate for &Identity {
    fn satisfies(&self, principal: &MspPrincipal) -> bool {
        Identity::satisfies(self, principal)
    }
}

/// Someone of an organization in a role, nobody in particular: for asking beforehand whose signatures would suffice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The organization.
    pub msp_id: MspId,
    /// What it is there.
    pub role: Role,
}

impl Candidate for Member {
    fn satisfies(&self, principal: &MspPrincipal) -> bool {
        principal.principal_classification == Classification::Role as i32
            && MspRole::decode(principal.principal.clone()).is_ok_and(|wanted| {
                wanted.msp_identifier == self.msp_id.as_str()
                    && (wanted.role == Role::Member.number() || wanted.role == self.role.number())
            })
    }
}

/// Whether `candidates` would satisfy the policy; each of them counts as a signer of its own.
pub(crate) fn suffices<C: Candidate>(policy: &SignaturePolicyEnvelope, candidates: &[C]) -> bool {
    let Some(rule) = &policy.rule else { return false };
    if policy.version != 0 || !sound(rule, policy.identities.len()) {
        return false;
    }
    let mut judge = Judge { policy, candidates, known: HashMap::new() };
    judge.satisfied(rule, &mut vec![false; candidates.len()])
}

/// Whether there could be signers who satisfy the policy; `exist` tells of a principal whether anybody is it. How many
/// there are is not known: as many as it takes.
pub(crate) fn attainable(policy: &SignaturePolicyEnvelope, exist: impl Fn(&MspPrincipal) -> bool) -> bool {
    fn met(rule: &SignaturePolicy, there: &[bool]) -> bool {
        match &rule.r#type {
            Some(Type::SignedBy(number)) => {
                usize::try_from(*number).is_ok_and(|at| there.get(at).copied().unwrap_or(false))
            }
            Some(Type::NOutOf(gate)) => {
                let met = gate.rules.iter().filter(|rule| met(rule, there)).count();
                i32::try_from(met).unwrap_or(i32::MAX) >= gate.n
            }
            None => false,
        }
    }
    let Some(rule) = &policy.rule else { return false };
    let there: Vec<bool> = policy.identities.iter().map(exist).collect();
    policy.version == 0 && sound(rule, policy.identities.len()) && met(rule, &there)
}

/// Whether the members in question would satisfy the policy if they signed.
pub fn evaluate_members(policy: &SignaturePolicyEnvelope, members: &[Member]) -> bool {
    suffices(policy, members)
}

/// The signers without repetitions: the same certificate of the same organization is the same signer.
pub fn distinct(signers: &[Identity]) -> Vec<&Identity> {
    let mut distinct: Vec<&Identity> = Vec::with_capacity(signers.len());
    for signer in signers {
        let known = distinct
            .iter()
            .any(|known| known.msp_id() == signer.msp_id() && known.certificate() == signer.certificate());
        if !known {
            distinct.push(signer);
        }
    }
    distinct
}

/// Whether every number in the rule leads to an identity.
fn sound(rule: &SignaturePolicy, identities: usize) -> bool {
    match &rule.r#type {
        Some(Type::SignedBy(number)) => usize::try_from(*number).is_ok_and(|at| at < identities),
        Some(Type::NOutOf(gate)) => gate.rules.iter().all(|rule| sound(rule, identities)),
        None => false,
    }
}

/// A policy that is held against those who may sign.
struct Judge<'a, C> {
    policy: &'a SignaturePolicyEnvelope,
    candidates: &'a [C],
    /// Which candidate is which principal, by their numbers: rules may name a principal millions of times over.
    known: HashMap<(usize, usize), bool>,
}

impl<C: Candidate> Judge<'_, C> {
    fn is(&mut self, candidate: usize, principal: usize) -> bool {
        let judge = || self.candidates[candidate].satisfies(&self.policy.identities[principal]);
        *self.known.entry((candidate, principal)).or_insert_with(judge)
    }

    /// Whether the rule is satisfied by those who are not `used` yet. All its numbers lead to identities.
    fn satisfied(&mut self, rule: &SignaturePolicy, used: &mut Vec<bool>) -> bool {
        match &rule.r#type {
            Some(Type::SignedBy(number)) => {
                let Ok(principal) = usize::try_from(*number) else { return false };
                let found = (0..used.len()).find(|at| !used[*at] && self.is(*at, principal));
                if let Some(at) = found {
                    used[at] = true;
                }
                found.is_some()
            }
            Some(Type::NOutOf(gate)) => {
                let mut met = 0;
                for rule in &gate.rules {
                    // What a failing rule has used up is free again.
                    let mut attempt = used.clone();
                    if self.satisfied(rule, &mut attempt) {
                        met += 1;
                        *used = attempt;
                    }
                }
                met >= gate.n
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::pb::common::signature_policy::NOutOf;

    /// Counts how often it is looked at.
    struct Counted<'a>(&'a Cell<usize>);

    impl Candidate for Counted<'_> {
        fn satisfies(&self, _: &MspPrincipal) -> bool {
            self.0.set(self.0.get() + 1);
            false
        }
    }

    #[test]
    fn a_principal_is_looked_at_once() {
        let signed_by = SignaturePolicy { r#type: Some(Type::SignedBy(0)) };
        let gate = NOutOf { n: 1, rules: vec![signed_by; 10_000] };
        let policy = SignaturePolicyEnvelope {
            version: 0,
            rule: Some(SignaturePolicy { r#type: Some(Type::NOutOf(gate)) }),
            identities: vec![MspPrincipal::default()],
        };
        let looks = Cell::new(0);
        assert!(!suffices(&policy, &[Counted(&looks), Counted(&looks)]));
        assert_eq!(looks.get(), 2, "one look for each signer, however often rules name the principal");
    }
}
