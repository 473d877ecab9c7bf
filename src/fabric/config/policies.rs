//! The policies of a channel, by path, with the ones that are made of others.
//!
//! A module of its own because an implicit policy (`MAJORITY Admins`) means the policies of that name one level below,
//! so it can be judged within the tree only.
//!
//! Source: Fabric 3.1.5 `common/policies`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use crate::fabric::identity::Identity;
use crate::fabric::policy::{Candidate, Member, PolicyError, attainable, distinct, suffices};
use crate::pb::common::implicit_meta_policy::Rule as Quorum;
use crate::pb::common::policy::PolicyType;
use crate::pb::common::{
    ConfigGroup, ConfigPolicy, ImplicitMetaPolicy, MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope,
    signature_policy,
};

/// All policies of a channel.
#[derive(Debug, Clone)]
pub struct PolicySet {
    root: Node,
}

/// How far a policy that is made of policies of members is satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Which policy of the members counts, such as `Admins`.
    pub name: String,
    /// How many of them have to be satisfied.
    pub needed: usize,
    /// The members whose policy is.
    pub met: BTreeSet<String>,
    /// Those whose is not.
    pub open: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Node {
    rules: BTreeMap<String, Rule>,
    children: BTreeMap<String, Node>,
}

#[derive(Debug, Clone)]
enum Rule {
    Signature(SignaturePolicyEnvelope),
    Implicit {
        quorum: Quorum,
        name: String,
    },
    /// Of an unknown type or unreadable: satisfied by nobody.
    Broken(String),
}

impl Rule {
    fn read(policy: &ConfigPolicy) -> Self {
        let Some(policy) = &policy.policy else { return Self::Broken("it is empty".to_owned()) };
        let broken = |error: prost::DecodeError| Self::Broken(error.to_string());
        match PolicyType::try_from(policy.r#type) {
            Ok(PolicyType::Signature) => {
                SignaturePolicyEnvelope::decode(policy.value.clone()).map_or_else(broken, Self::Signature)
            }
            Ok(PolicyType::ImplicitMeta) => {
                ImplicitMetaPolicy::decode(policy.value.clone()).map_or_else(broken, |meta| {
                    match Quorum::try_from(meta.rule) {
                        Ok(quorum) => Self::Implicit { quorum, name: meta.sub_policy },
                        Err(_) => Self::Broken(format!("unknown rule {}", meta.rule)),
                    }
                })
            }
            _ => Self::Broken(format!("unknown type {}", policy.r#type)),
        }
    }
}

impl Node {
    fn read(group: &ConfigGroup) -> Self {
        Self {
            rules: group.policies.iter().map(|(name, policy)| (name.clone(), Rule::read(policy))).collect(),
            children: group.groups.iter().map(|(name, group)| (name.clone(), Self::read(group))).collect(),
        }
    }

    /// How many of the policies below must be satisfied.
    fn needed(&self, quorum: Quorum) -> usize {
        match quorum {
            _ if self.children.is_empty() => 0,
            Quorum::Any => 1,
            Quorum::All => self.children.len(),
            Quorum::Majority => self.children.len() / 2 + 1,
        }
    }

    /// The policy as one of signatures. Equal principals of the policies below become one.
    fn to_signature_policy(&self, name: &str) -> Option<SignaturePolicyEnvelope> {
        match self.rules.get(name)? {
            Rule::Broken(_) => None,
            Rule::Signature(policy) => Some(policy.clone()),
            Rule::Implicit { quorum, name } => {
                let mut identities: Vec<MspPrincipal> = Vec::new();
                let mut rules = Vec::new();
                for child in self.children.values() {
                    let policy = child.to_signature_policy(name)?;
                    let places: Vec<i32> = policy
                        .identities
                        .into_iter()
                        .map(|principal| {
                            let known = identities.iter().position(|known| *known == principal);
                            let place = known.unwrap_or_else(|| {
                                identities.push(principal);
                                identities.len() - 1
                            });
                            i32::try_from(place).ok()
                        })
                        .collect::<Option<_>>()?;
                    rules.push(renumbered(policy.rule?, &places)?);
                }
                let n = i32::try_from(self.needed(*quorum)).ok()?;
                let gate = signature_policy::NOutOf { n, rules };
                let rule = SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(gate)) };
                Some(SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities })
            }
        }
    }

    /// Whether there could be people who satisfy the policy together.
    fn reach(&self, name: &str, exist: &dyn Fn(&MspPrincipal) -> bool) -> bool {
        match self.rules.get(name) {
            None | Some(Rule::Broken(_)) => false,
            Some(Rule::Signature(policy)) => attainable(policy, exist),
            Some(Rule::Implicit { quorum, name }) => {
                self.children.values().filter(|child| child.reach(name, exist)).count() >= self.needed(*quorum)
            }
        }
    }

    /// Says what is lacking, if anything.
    fn judge<C: Candidate>(&self, name: &str, candidates: &[C]) -> Result<(), String> {
        match self.rules.get(name) {
            None => Err(format!("there is no policy {name:?}")),
            Some(Rule::Broken(reason)) => Err(format!("it cannot be read: {reason}")),
            Some(Rule::Signature(policy)) if suffices(policy, candidates) => Ok(()),
            // From here on in the nodes' own words, which people search for.
            Some(Rule::Signature(_)) => Err("signature set did not satisfy policy".to_owned()),
            Some(Rule::Implicit { quorum, name }) => {
                let needed = self.needed(*quorum);
                let met = self.children.values().filter(|child| child.judge(name, candidates).is_ok()).count();
                if met >= needed {
                    return Ok(());
                }
                Err(format!(
                    "implicit policy evaluation failed - {met} sub-policies were satisfied, but this policy requires \
                     {needed} of the '{name}' sub-policies to be satisfied"
                ))
            }
        }
    }
}

/// `rule` with other numbers for its identities: the place in `places` for each.
fn renumbered(rule: SignaturePolicy, places: &[i32]) -> Option<SignaturePolicy> {
    let r#type = match rule.r#type? {
        signature_policy::Type::SignedBy(number) => {
            signature_policy::Type::SignedBy(*places.get(usize::try_from(number).ok()?)?)
        }
        signature_policy::Type::NOutOf(gate) => {
            let rules = gate.rules.into_iter().map(|rule| renumbered(rule, places)).collect::<Option<_>>()?;
            signature_policy::Type::NOutOf(signature_policy::NOutOf { rules, ..gate })
        }
    };
    Some(SignaturePolicy { r#type: Some(r#type) })
}

impl PolicySet {
    /// Reads the policies of a channel group.
    pub(crate) fn read(channel: &ConfigGroup) -> Self {
        Self { root: Node::read(channel) }
    }

    /// The node of a path and the name of the policy in it.
    fn find<'a>(&self, path: &'a str) -> Result<(&Node, &'a str), PolicyError> {
        let unknown = || PolicyError::Unknown { path: path.to_owned() };
        let mut parts = path.strip_prefix("/Channel/").ok_or_else(unknown)?.split('/');
        let name = parts.next_back().ok_or_else(unknown)?;
        let mut node = &self.root;
        for part in parts {
            node = node.children.get(part).ok_or_else(unknown)?;
        }
        if node.rules.contains_key(name) { Ok((node, name)) } else { Err(unknown()) }
    }

    /// Whether the channel has the policy.
    pub fn contains(&self, path: &str) -> bool {
        self.find(path).is_ok()
    }

    /// The policy of a path when it is one of signatures itself.
    pub fn signature_policy(&self, path: &str) -> Option<&SignaturePolicyEnvelope> {
        let (node, name) = self.find(path).ok()?;
        match node.rules.get(name) {
            Some(Rule::Signature(policy)) => Some(policy),
            _ => None,
        }
    }

    /// The policy of a path as one of signatures: an implicit one becomes so many of those below it. `None` where there
    /// is no such policy, or one that it is made of is broken.
    pub fn to_signature_policy(&self, path: &str) -> Option<SignaturePolicyEnvelope> {
        let (node, name) = self.find(path).ok()?;
        node.to_signature_policy(name)
    }

    /// That `signers`, whose signatures were verified, satisfy the policy, such as `/Channel/Application/Writers`.
    ///
    /// # Errors
    /// [`PolicyError::Unknown`] when there is no such policy, [`PolicyError::Unsatisfied`] when they do not.
    pub fn evaluate(&self, path: &str, signers: &[Identity]) -> Result<(), PolicyError> {
        self.judge(path, &distinct(signers))
    }

    /// The same beforehand: whether signatures of such members would satisfy the policy.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_members(&self, path: &str, members: &[Member]) -> Result<(), PolicyError> {
        self.judge(path, members)
    }

    /// How a policy that is made of policies of members stands with these signers; `None` for any other.
    pub(crate) fn share(&self, path: &str, signers: &[Identity]) -> Option<Share> {
        let (node, name) = self.find(path).ok()?;
        let Some(Rule::Implicit { quorum, name }) = node.rules.get(name) else { return None };
        let signers = distinct(signers);
        let (mut met, mut open) = (BTreeSet::new(), BTreeSet::new());
        for (member, child) in &node.children {
            let part = if child.judge(name, &signers).is_ok() { &mut met } else { &mut open };
            part.insert(member.clone());
        }
        Some(Share { name: name.clone(), needed: node.needed(*quorum), met, open })
    }

    /// Whether there could be people who satisfy the policy together; `exist` tells of a principal whether anybody is it.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub(crate) fn reach(&self, path: &str, exist: &dyn Fn(&MspPrincipal) -> bool) -> Result<(), PolicyError> {
        let (node, name) = self.find(path)?;
        if node.reach(name, exist) {
            return Ok(());
        }
        let reason = "nobody is what it asks for".to_owned();
        Err(PolicyError::Unsatisfied { path: path.to_owned(), reason })
    }

    /// That such candidates would satisfy the policy.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub(crate) fn judge<C: Candidate>(&self, path: &str, candidates: &[C]) -> Result<(), PolicyError> {
        let (node, name) = self.find(path)?;
        node.judge(name, candidates).map_err(|reason| PolicyError::Unsatisfied { path: path.to_owned(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::identity::Role;
    use crate::fabric::names::MspId;
    use crate::fabric::policy::dsl;
    use crate::pb::common::Policy;

    fn policy(r#type: PolicyType, value: Vec<u8>) -> ConfigPolicy {
        let policy = Policy { r#type: r#type as i32, value: value.into() };
        ConfigPolicy { version: 0, policy: Some(policy), mod_policy: String::new() }
    }

    fn tree(organizations: &[&str], quorum: Quorum) -> PolicySet {
        let mut channel = ConfigGroup::default();
        let implicit = ImplicitMetaPolicy { sub_policy: "Endorsement".to_owned(), rule: quorum as i32 };
        channel.policies.insert("Rule".to_owned(), policy(PolicyType::ImplicitMeta, implicit.encode_to_vec()));
        for name in organizations {
            let rule = dsl::parse(&format!("OR('{name}.peer')")).unwrap();
            let mut group = ConfigGroup::default();
            group.policies.insert("Endorsement".to_owned(), policy(PolicyType::Signature, rule.encode_to_vec()));
            channel.groups.insert((*name).to_owned(), group);
        }
        PolicySet::read(&channel)
    }

    #[test]
    fn implicit_policies_count_what_is_below() {
        let peers = |names: &[&str]| -> Vec<Member> {
            names.iter().map(|name| Member { msp_id: MspId::parse(*name).unwrap(), role: Role::Peer }).collect()
        };
        for (organizations, quorum, signers, satisfied) in [
            (&["A", "B", "C"][..], Quorum::Majority, &["A", "B"][..], true),
            (&["A", "B", "C"], Quorum::Majority, &["A", "A"], false),
            (&["A", "B"], Quorum::Majority, &["A"], false),
            (&["A", "B"], Quorum::Any, &["B"], true),
            (&["A", "B"], Quorum::Any, &["C"], false),
            (&["A", "B"], Quorum::All, &["A"], false),
            (&["A", "B"], Quorum::All, &["B", "A"], true),
            (&[], Quorum::Majority, &[], true),
        ] {
            let result = tree(organizations, quorum).evaluate_members("/Channel/Rule", &peers(signers));
            assert_eq!(result.is_ok(), satisfied, "{quorum:?} of {organizations:?} by {signers:?}: {result:?}");
        }
    }

    #[test]
    fn implicit_policies_can_be_written_out() {
        use crate::fabric::policy::evaluate_members;

        let set = tree(&["A", "B", "C"], Quorum::Majority);
        let policy = set.to_signature_policy("/Channel/Rule").unwrap();
        assert_eq!(policy.identities.len(), 3);
        for signers in [&["A", "B"][..], &["A", "A"], &["C"], &["A", "B", "C"], &[]] {
            let signers: Vec<Member> =
                signers.iter().map(|name| Member { msp_id: MspId::parse(*name).unwrap(), role: Role::Peer }).collect();
            let expected = set.evaluate_members("/Channel/Rule", &signers).is_ok();
            assert_eq!(evaluate_members(&policy, &signers), expected, "{signers:?}");
        }
        let alike = tree(&["A"], Quorum::Any).to_signature_policy("/Channel/A/Endorsement").unwrap();
        assert_eq!(alike, dsl::parse("OR('A.peer')").unwrap());
        assert!(set.to_signature_policy("/Channel/Other").is_none());
    }

    #[test]
    fn unknown_paths_are_told_from_unsatisfied_ones() {
        let set = tree(&["A"], Quorum::Any);
        for path in ["/Channel/Other", "/Channel", "Rule", "/Channel/X/Endorsement", ""] {
            assert!(matches!(set.evaluate(path, &[]), Err(PolicyError::Unknown { .. })), "for {path:?}");
        }
        assert!(matches!(set.evaluate("/Channel/Rule", &[]), Err(PolicyError::Unsatisfied { .. })));
    }
}
