//! Which peers a client may ask to endorse: groups of peers, and how many of each group suffice.
//!
//! A module of its own because two services stand on it: discovery shows these descriptors to clients, and the gateway
//! follows them itself.
//!
//! Source: Fabric 3.1.5 `discovery/endorsement`, `core/chaincode/lifecycle/metadata_provider.go`.

use std::collections::BTreeMap;

use prost::Message as _;

use super::principals::{Combination, Principal, combinations, merge};
use super::{Member, Topology};
use crate::devnet::access::Access;
use crate::devnet::ledger::implicit_owner;
use crate::devnet::lifecycle::state::LIFECYCLE;
use crate::devnet::peer::channel::PeerChannel;
use crate::devnet::peer::context::Refused;
use crate::devnet::peer::proposal::shown;
use crate::fabric::identity::{Identity, Role, Signer as _};
use crate::fabric::policy::ApplicationPolicy;
use crate::pb::common::{MspPrincipal, SignaturePolicyEnvelope};
use crate::pb::gossip::Chaincode;
use crate::pb::protos::{
    ChaincodeCall, ChaincodeInterest, StaticCollectionConfig, collection_config, collection_policy_config,
};

/// A peer of the channel that is up, with what it runs there.
#[derive(Debug, Clone)]
pub(in crate::devnet::peer) struct Candidate {
    pub(in crate::devnet::peer) member: Member,
    pub(in crate::devnet::peer) height: u64,
    pub(super) chaincodes: Vec<Chaincode>,
    /// `None` where the channel's configuration does not vouch for it.
    identity: Option<Identity>,
}

impl Candidate {
    /// Whether it says that it runs a chaincode.
    pub(in crate::devnet::peer) fn runs(&self, chaincode: &str) -> bool {
        self.chaincodes.iter().any(|known| known.name == chaincode)
    }

    fn runs_all(&self, demands: &[Demand]) -> bool {
        demands.iter().all(|demand| {
            self.chaincodes.iter().any(|known| known.name == demand.name && known.version == demand.version)
        })
    }

    fn is(&self, principal: &MspPrincipal) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.satisfies(principal))
    }
}

/// Groups of peers, and the numbers that suffice.
#[derive(Debug)]
pub(in crate::devnet::peer) struct Layouts {
    pub(in crate::devnet::peer) chaincode: String,
    pub(in crate::devnet::peer) groups: BTreeMap<String, Vec<Candidate>>,
    pub(in crate::devnet::peer) alternatives: Vec<BTreeMap<String, u32>>,
}

/// The peers of the channel that are up.
pub(in crate::devnet::peer) fn candidates(channel: &PeerChannel, topology: &dyn Topology) -> Vec<Candidate> {
    let name = channel.ledger().channel().as_str();
    let access = channel.access();
    let organizations = access.organizations();
    let of_channel = |member: Member| {
        organizations.iter().find(|(_, id)| id == member.peer.msp_id.as_str())?;
        let joined = member.peer.channel(name)?;
        Some(Candidate {
            height: joined.ledger().height(),
            chaincodes: member.peer.chaincodes(&joined),
            identity: access.identity(member.peer.signer.creator()).ok(),
            member,
        })
    };
    topology.members().into_iter().filter_map(of_channel).collect()
}

/// What one call of a chaincode asks of its endorsers.
struct Demand {
    name: String,
    /// The number of the definition, which gossip tells as the version.
    version: String,
    /// The policy of the chaincode, or those of the collections; the first one is the chaincode's.
    policies: Vec<SignaturePolicyEnvelope>,
    collections: Vec<StaticCollectionConfig>,
}

/// Those of `candidates` that may hold all collections of the interest and, where that is asked, run its chaincodes.
pub(super) fn authorized(
    channel: &PeerChannel,
    candidates: Vec<Candidate>,
    interest: &ChaincodeInterest,
) -> Result<Vec<Candidate>, Refused> {
    let demands = demands(channel, interest)?;
    let holders = holders(interest, &demands)?;
    let fits = |candidate: &Candidate| candidate.runs_all(&demands) && may_hold(candidate, &holders);
    Ok(candidates.into_iter().filter(fits).collect())
}

/// Who must be among the endorsers of what is described by `interest`.
pub(in crate::devnet::peer) fn layouts(
    channel: &PeerChannel,
    candidates: Vec<Candidate>,
    interest: &ChaincodeInterest,
) -> Result<Layouts, Refused> {
    let demands = demands(channel, interest)?;
    let holders = holders(interest, &demands)?;
    let candidates: Vec<_> = candidates.into_iter().filter(|candidate| may_hold(candidate, &holders)).collect();
    let combinations = needed(interest, &demands)?;

    let mut names: Vec<&MspPrincipal> = Vec::new();
    for principal in combinations.iter().flatten() {
        if !names.contains(&&principal.message) {
            names.push(&principal.message);
        }
    }
    let mut layouts = Vec::new();
    for combination in &combinations {
        let layout = layout(combination, &names);
        let suffice = |(group, number): (&usize, &u32)| {
            let fitting = candidates.iter().filter(|candidate| candidate.is(names[*group])).count();
            fitting >= *number as usize
        };
        if layout.iter().all(suffice) {
            layouts.push(layout);
        }
    }
    if layouts.is_empty() {
        return Err(Refused::new("no peer combination can satisfy the endorsement policy"));
    }
    let group_name = |group: usize| format!("G{group}");
    let mut groups = BTreeMap::new();
    for group in layouts.iter().flat_map(BTreeMap::keys) {
        let fitting = candidates
            .iter()
            .filter(|candidate| candidate.is(names[*group]) && candidate.runs_all(&demands))
            .cloned()
            .collect::<Vec<_>>();
        if !fitting.is_empty() {
            groups.insert(group_name(*group), fitting);
        }
    }
    let layouts: Vec<BTreeMap<_, _>> = layouts
        .into_iter()
        .map(|layout| layout.into_iter().map(|(group, number)| (group_name(group), number)).collect())
        .filter(|layout: &BTreeMap<String, u32>| {
            layout.iter().all(|(group, number)| groups.get(group).is_some_and(|peers| peers.len() >= *number as usize))
        })
        .collect();
    if layouts.is_empty() {
        return Err(Refused::new("required chaincodes are not installed on sufficient peers"));
    }
    let chaincode = interest.chaincodes.first().map(|call| call.name.clone()).unwrap_or_default();
    Ok(Layouts { chaincode, groups, alternatives: layouts })
}

/// How often each principal, by its place among `names`, is in a combination.
fn layout(combination: &Combination, names: &[&MspPrincipal]) -> BTreeMap<usize, u32> {
    let mut layout = BTreeMap::new();
    for principal in combination {
        if let Some(group) = names.iter().position(|name| **name == principal.message) {
            *layout.entry(group).or_insert(0) += 1;
        }
    }
    layout
}

fn demands(channel: &PeerChannel, interest: &ChaincodeInterest) -> Result<Vec<Demand>, Refused> {
    interest
        .chaincodes
        .iter()
        .map(|call| demand(channel, call).ok_or_else(|| no_metadata(&call.name, channel.ledger().channel().as_str())))
        .collect()
}

fn no_metadata(chaincode: &str, channel: &str) -> Refused {
    let (chaincode, channel) = (shown(chaincode), shown(channel));
    Refused(format!("No metadata was found for chaincode {chaincode} in channel {channel}"))
}

/// What is said where there is no such channel, and so no chaincode of the interest.
pub(in crate::devnet::peer) fn unknown_chaincode(interest: &ChaincodeInterest, channel: &str) -> Refused {
    no_metadata(interest.chaincodes.first().map_or("", |call| &call.name), channel)
}

/// What `call` asks for; `None` where there is no such chaincode, or its policies cannot be read.
fn demand(channel: &PeerChannel, call: &ChaincodeCall) -> Option<Demand> {
    let access = channel.access();
    let (sequence, policy, package) = if call.name == LIFECYCLE {
        (1, lifecycle_policy(&access)?, Vec::new())
    } else {
        let definition = channel.ledger().definition(&call.name)?;
        let policy = ApplicationPolicy::decode(&definition.parameters.validation.validation_parameter).ok()?;
        (definition.sequence, signature_policy(&access, policy)?, definition.parameters.collections.config)
    };
    let mut collections: Vec<StaticCollectionConfig> = package
        .into_iter()
        .filter_map(|config| config.payload)
        .map(|collection_config::Payload::StaticCollectionConfig(config)| config)
        .collect();
    for name in &call.collection_names {
        if let Some(owner) = implicit_owner(name) {
            collections.push(implicit(name, owner));
        }
    }
    let mut policies = Vec::new();
    for name in &call.collection_names {
        // A collection without a policy of its own is under that of the chaincode.
        let own = collections.iter().filter(|collection| collection.name == *name);
        let own = own.filter_map(|collection| collection.endorsement_policy.as_ref()).next_back();
        let collection_policy = match own {
            None => policy.clone(),
            Some(own) => signature_policy(&access, ApplicationPolicy::decode(&own.encode_to_vec()).ok()?)?,
        };
        if !policies.contains(&collection_policy) {
            policies.push(collection_policy);
        }
    }
    if call.collection_names.is_empty() {
        policies.push(policy);
    }
    Some(Demand { name: call.name.clone(), version: sequence.to_string(), policies, collections })
}

/// An organization's implicit collection: held and endorsed by its members.
fn implicit(name: &str, owner: &str) -> StaticCollectionConfig {
    use crate::pb::common::{SignaturePolicy, signature_policy};
    use crate::pb::protos::{ApplicationPolicy, CollectionPolicyConfig, application_policy};

    let signed = SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(0)) };
    let gate = signature_policy::NOutOf { n: 1, rules: vec![signed] };
    let policy = SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(gate)) }),
        identities: vec![Role::Member.principal(owner)],
    };
    StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(policy.clone())),
        }),
        endorsement_policy: Some(ApplicationPolicy { r#type: Some(application_policy::Type::SignaturePolicy(policy)) }),
        ..StaticCollectionConfig::default()
    }
}

fn lifecycle_policy(access: &Access) -> Option<SignaturePolicyEnvelope> {
    const PATH: &str = "/Channel/Application/LifecycleEndorsement";

    if access.has_policy(PATH) {
        return access.signature_policy(PATH);
    }
    // Channels from before such policies: a member of more than half of the organizations.
    let organizations = access.organizations();
    let rules = (0..organizations.len()).filter_map(|at| i32::try_from(at).ok()).map(|at| {
        use crate::pb::common::{SignaturePolicy, signature_policy};
        SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(at)) }
    });
    let rules: Vec<_> = rules.collect();
    let n = i32::try_from(organizations.len() / 2 + 1).ok()?;
    let gate = crate::pb::common::signature_policy::NOutOf { n, rules };
    Some(SignaturePolicyEnvelope {
        version: 0,
        rule: Some(crate::pb::common::SignaturePolicy {
            r#type: Some(crate::pb::common::signature_policy::Type::NOutOf(gate)),
        }),
        identities: organizations.iter().map(|(_, id)| Role::Member.principal(id)).collect(),
    })
}

fn signature_policy(access: &Access, policy: ApplicationPolicy) -> Option<SignaturePolicyEnvelope> {
    let policy = match policy {
        ApplicationPolicy::Signature(policy) => policy,
        ApplicationPolicy::ChannelReference(path) => access.signature_policy(&path)?,
    };
    (!policy.identities.is_empty() && policy.rule.is_some()).then_some(policy)
}

/// For each collection that is read: the principals, one of which every holder is.
fn holders(interest: &ChaincodeInterest, demands: &[Demand]) -> Result<Vec<Vec<MspPrincipal>>, Refused> {
    let mut holders = Vec::new();
    for (call, demand) in interest.chaincodes.iter().zip(demands) {
        if call.no_private_reads {
            continue;
        }
        for name in &call.collection_names {
            let known = demand.collections.iter().rfind(|collection| collection.name == *name).ok_or_else(|| {
                Refused(format!("collection {name} doesn't exist in collection config for chaincode {}", call.name))
            })?;
            let policy = known.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref());
            let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = policy else {
                return Err(Refused(format!("policy of {name} is nil")));
            };
            holders.push(policy.identities.clone());
        }
    }
    Ok(holders)
}

fn may_hold(candidate: &Candidate, holders: &[Vec<MspPrincipal>]) -> bool {
    holders.iter().all(|principals| principals.iter().any(|principal| candidate.is(principal)))
}

/// The combinations of principals that satisfy all policies of the interest.
fn needed(interest: &ChaincodeInterest, demands: &[Demand]) -> Result<Vec<Combination>, Refused> {
    let mut all: Vec<Vec<Combination>> = Vec::new();
    for (call, demand) in interest.chaincodes.iter().zip(demands) {
        let mut policies = demand.policies.as_slice();
        if call.disregard_namespace_policy {
            if policies.len() == 1 && call.key_policies.is_empty() {
                return Err(Refused(format!(
                    "requested to disregard chaincode {}'s policy but key and collection policies are missing, either \
                     disable DisregardNamespacePolicy or specify at least one key policy or at least one collection \
                     policy",
                    call.name
                )));
            }
            policies = policies.get(1..).unwrap_or_default();
        }
        for policy in policies {
            let found = combinations(policy);
            all.push(found.ok_or_else(|| Refused::new("endorsement policy cannot be satisfied"))?);
        }
    }
    let mut of_keys: Option<Vec<Combination>> = None;
    for policy in interest.chaincodes.iter().flat_map(|call| &call.key_policies) {
        let found =
            combinations(policy).ok_or_else(|| Refused::new("state based endorsement policy cannot be satisfied"))?;
        of_keys = Some(match of_keys {
            None => found,
            Some(before) => merge(before, found),
        });
    }
    all.extend(of_keys);
    let merged: Option<Vec<Vec<Principal>>> = all.into_iter().reduce(merge);
    merged.ok_or_else(|| Refused::new("no principal sets remained after filtering"))
}
