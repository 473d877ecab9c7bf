//! Policies, as bytes and as text, and the collections that they guard.

use prost::Message as _;

use crate::fabric::identity::Role;
use crate::fabric::names::MspId;
use crate::fabric::policy::{
    ApplicationPolicy, Member, PolicyError, collections as written, dsl, evaluate, evaluate_members,
    opssc_validation_parameter,
};
use crate::pb::common::SignaturePolicyEnvelope;
use crate::pb::protos::CollectionConfigPackage;

/// Someone of each role of two organizations.
fn members() -> Vec<Member> {
    ["Org1MSP", "Org2MSP"]
        .into_iter()
        .filter_map(|name| MspId::parse(name).ok())
        .flat_map(|msp_id| Role::ALL.map(|role| Member { msp_id: msp_id.clone(), role }))
        .collect()
}

/// A policy that can be written reads back as one that is written the same.
fn judged(policy: &SignaturePolicyEnvelope) {
    assert!(!evaluate(policy, &[]) || policy.version == 0);
    let _ = evaluate_members(policy, &members());
    let Ok(text) = dsl::print(policy) else { return };
    let Ok(again) = dsl::parse(&text) else { return };
    assert_eq!(dsl::print(&again), Ok(text), "printed, read and printed");
}

/// A signature policy, an application policy or a package of collections.
pub fn policy_bytes(input: &[u8]) {
    if let Ok(policy) = SignaturePolicyEnvelope::decode(input) {
        judged(&policy);
    }
    if let Ok(policy) = ApplicationPolicy::decode(input) {
        assert_eq!(ApplicationPolicy::decode(&policy.encode()), Ok(policy.clone()));
        if let ApplicationPolicy::Signature(policy) = policy {
            judged(&policy);
        }
    }
    let _ = CollectionConfigPackage::decode(input);
}

/// That a policy which was read from text is written and read again as the very same.
fn same_again(policy: &SignaturePolicyEnvelope) {
    judged(policy);
    let text = dsl::print(policy).expect("what was read can be written");
    let again = dsl::parse(&text).expect("what was written can be read");
    assert_eq!(again.rule.is_some(), policy.rule.is_some());
    assert_eq!(dsl::print(&again), Ok(text));
}

/// A policy as text, as the peer CLI, as OpsSC's agents and as configtx profiles read it.
pub fn policy_text(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (peer, opssc) = (dsl::parse(&text), dsl::parse_opssc(&text));
    for read in [&peer, &opssc] {
        match read {
            Ok(policy) => same_again(policy),
            Err(error) => assert!(error.to_string().len() < 1000 + 8 * text.len()),
        }
    }
    if let Ok(policy) = dsl::parse_profile(&text) {
        judged(&policy);
    }
    // Where both read it, organizations arrive at the same bytes.
    if let (Ok(peer), Ok(opssc)) = (peer, opssc) {
        assert_eq!(peer, opssc);
    }
}

/// A validation parameter of a proposal.
pub fn policy_of_opssc(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(Some(policy)) = opssc_validation_parameter(&text) {
        assert_eq!(ApplicationPolicy::decode(&policy.encode()), Ok(policy));
    }
    let (signature, reference) = super::split(input);
    let (signature, reference) = (String::from_utf8_lossy(signature), String::from_utf8_lossy(reference));
    let read = ApplicationPolicy::parse_flags(&signature, &reference);
    assert!(signature.is_empty() || reference.is_empty() || read == Err(PolicyError::Both));
}

/// Collections in JSON, in both dialects.
pub fn collections(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for package in [written::peer_cli(&text).ok(), written::opssc(&text).ok().flatten()].into_iter().flatten() {
        let bytes = package.encode_to_vec();
        assert_eq!(CollectionConfigPackage::decode(&bytes[..]).ok(), Some(package));
    }
}
