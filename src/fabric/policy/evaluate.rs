//! Whether signatures suffice.

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
    satisfied(rule, policy, candidates, &mut vec![false; candidates.len()])
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

fn satisfied<C: Candidate>(
    rule: &SignaturePolicy,
    policy: &SignaturePolicyEnvelope,
    signers: &[C],
    used: &mut Vec<bool>,
) -> bool {
    match &rule.r#type {
        Some(Type::SignedBy(number)) => {
            let principal = usize::try_from(*number).ok().and_then(|at| policy.identities.get(at));
            let found = principal
                .and_then(|principal| (0..signers.len()).find(|at| !used[*at] && signers[*at].satisfies(principal)));
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
                if satisfied(rule, policy, signers, &mut attempt) {
                    met += 1;
                    *used = attempt;
                }
            }
            met >= gate.n
        }
        None => false,
    }
}
