//! Policies that nobody can satisfy, that everybody does, or that shut nodes out.

use std::collections::BTreeMap;

use prost::Message as _;

use super::Hazard;
use super::people::{Kind, People};
use crate::fabric::config::policies::PolicySet;
use crate::fabric::config::tree::Config;
use crate::fabric::config::update::{Place, elements};
use crate::fabric::identity::Role;
use crate::pb::common::ConfigGroup;
use crate::pb::orderer::ConsensusType;
use crate::pb::protos::AcLs;

/// The policies that nodes ask for themselves, with what comes of it when nobody satisfies them.
const ASKED: [(&str, &str); 6] = [
    ("/Channel/Readers", "nobody gets blocks any more"),
    ("/Channel/Writers", "nothing is ordered any more"),
    ("/Channel/Orderer/BlockValidation", "peers take no further block"),
    ("/Channel/Application/Writers", "nobody transacts any more"),
    ("/Channel/Application/Endorsement", "chaincodes that are endorsed by it take no further transaction"),
    ("/Channel/Application/LifecycleEndorsement", "no chaincode definition can be committed any more"),
];

pub(super) fn hazards(config: &Config, root: &ConfigGroup, people: &People) -> Vec<Hazard> {
    let policies = PolicySet::read(root);
    let mut found = guards(config, &policies, people);
    for (policy, consequence) in ASKED {
        // Older channels have no policies for endorsement.
        if policies.contains(policy) && policies.reach(policy, &|principal| people.exist(principal)).is_err() {
            found.push(Hazard::OutOfReach { policy: policy.to_owned(), consequence: consequence.to_owned() });
        }
    }
    found.extend(shut_out(root, &policies, people));
    found.extend(acls(root, &policies, people));
    found
}

/// Guards that are not there, that nobody can satisfy, or that everybody does.
fn guards(config: &Config, policies: &PolicySet, people: &People) -> Vec<Hazard> {
    let elements = match elements(config.channel_group.as_ref()) {
        Ok(elements) => elements,
        Err(reason) => return vec![Hazard::Refused { reason }],
    };
    let mut guarded: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    let mut found = Vec::new();
    for (place, element) in elements {
        match element.mod_policy() {
            "" => found.push(Hazard::Frozen { what: place.to_string(), reason: "it has no mod_policy".to_owned() }),
            policy => guarded.entry(place.policy_path(policy)).or_default().push(place),
        }
    }
    for (policy, places) in guarded {
        let what = || match &places[..] {
            [] => String::new(),
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        if !policies.contains(&policy) {
            found.push(Hazard::Frozen { what: what(), reason: format!("there is no policy {policy}") });
        } else if policies.reach(&policy, &|principal| people.exist(principal)).is_err() {
            found.push(Hazard::Frozen { what: what(), reason: format!("nobody can satisfy {policy}") });
        } else if policies.evaluate_members(&policy, &[]).is_ok() {
            found.push(Hazard::Unguarded { policy });
        }
    }
    found
}

/// Nodes that do not satisfy what they live by.
fn shut_out(root: &ConfigGroup, policies: &PolicySet, people: &People) -> Vec<Hazard> {
    let kind = root.groups.get("Orderer").and_then(|orderer| orderer.values.get("ConsensusType"));
    let kind = kind.and_then(|value| ConsensusType::decode(value.value.clone()).ok()).unwrap_or_default();
    let mut asked = vec![
        ("/Channel/Readers", "they cannot get blocks from each other"),
        ("/Channel/Writers", "they can put no further configuration into force"),
    ];
    if kind.r#type != "BFT" {
        asked.push(("/Channel/Orderer/BlockValidation", "peers take none of their blocks"));
    }
    let mut found = Vec::new();
    let mut check = |nodes: String, node, policy: &str, consequence: &str| {
        if policies.contains(policy) && policies.judge(policy, &[node]).is_err() {
            found.push(Hazard::ShutOut { nodes, policy: policy.to_owned(), consequence: consequence.to_owned() });
        }
    };
    for organization in people.of(Kind::Orderer) {
        for (policy, consequence) in &asked {
            let nodes = format!("orderers of {}", organization.name);
            check(nodes, organization.node(Role::Orderer), policy, consequence);
        }
    }
    for organization in people.of(Kind::Application) {
        let nodes = format!("peers of {}", organization.name);
        check(nodes, organization.node(Role::Peer), "/Channel/Readers", "they get no further block");
    }
    found
}

/// Resources that are guarded by what is not there, or by more than whoever asks for them can show: a peer is asked by
/// one, whose signature is all that it judges by.
fn acls(root: &ConfigGroup, policies: &PolicySet, people: &People) -> Vec<Hazard> {
    let value = root.groups.get("Application").and_then(|application| application.values.get("ACLs"));
    let Some(Ok(acls)) = value.map(|value| AcLs::decode(value.value.clone())) else { return Vec::new() };
    let mut found = Vec::new();
    for (resource, reference) in acls.acls {
        let reference = reference.policy_ref;
        let policy = if reference.starts_with('/') { reference } else { format!("/Channel/Application/{reference}") };
        if policies.reach(&policy, &|principal| people.exist(principal)).is_err() {
            found.push(Hazard::OutOfReach { policy, consequence: format!("nobody may use {resource}") });
            continue;
        }
        let refused: Vec<&str> = people
            .of(Kind::Application)
            .filter(|organization| policies.judge(&policy, &[organization.node(Role::Admin)]).is_err())
            .map(|organization| organization.name.as_str())
            .collect();
        if !refused.is_empty() {
            let nodes = format!("administrators of {}, each alone,", refused.join(", "));
            let consequence = format!("peers refuse them {resource}, agents of theirs included");
            found.push(Hazard::ShutOut { nodes, policy, consequence });
        }
    }
    found
}
