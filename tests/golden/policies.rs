//! Policies: as text, as messages.

use bytes::Bytes;
use opssc::fabric::names::hex;
use opssc::fabric::policy::{
    ApplicationPolicy, DefinitionEncoding, PolicyError, collections, dsl, opssc_validation_parameter as read,
    original_collections, original_validation_parameter,
};
use opssc::pb::common::signature_policy::Type;
use opssc::pb::common::{MspRole, SignaturePolicy, SignaturePolicyEnvelope, msp_role::MspRoleType};
use opssc::pb::protos::{
    CollectionConfig, CollectionConfigPackage, application_policy, collection_config, collection_policy_config,
};
use prost::Message as _;
use serde_json::{Value, json};

use super::support::{Case, Finding, agree, family, root, same, same_file};

pub(crate) fn policy_dsl() {
    family("policy-dsl", |case| {
        let text = String::from_utf8(case.bytes("policy.txt")).unwrap();
        let Some(policy) = agree(dsl::parse(&text), case.ok())? else { return Ok(()) };
        same_file(&case.folder.join("expected.pb"), &policy.encode_to_vec())?;
        let printed = dsl::print(&policy).map_err(|error| error.to_string())?;
        match dsl::parse(&printed) {
            Ok(again) if again == policy => Ok(()),
            _ => Err(format!("printed as {printed}, which is another policy")),
        }
    });
}

/// The same texts, and what the parser of profiles makes of them.
pub(crate) fn policy_dsl_of_profiles() {
    let file = root().join("policy-dsl/fabric-config.json");
    let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    let findings =
        cases.iter().filter_map(|case| profile(case).err().map(|finding| format!("{}: {finding}", case["id"])));
    let findings: Vec<_> = findings.collect();
    assert!(findings.is_empty(), "{} of {} cases\n{}", findings.len(), cases.len(), findings.join("\n"));
}

fn profile(case: &Value) -> Finding {
    let policy = dsl::parse_profile(case["policy"].as_str().unwrap());
    let Some(policy) = agree(policy, case["fabric_config_ok"].as_bool().unwrap())? else { return Ok(()) };
    same("bytes", &hex(&policy.encode_to_vec()).as_str(), &case["fabric_config_hex"].as_str().unwrap())
}

pub(crate) fn application_policy() {
    family("application-policy", |case| {
        let input = case.json("input.json");
        let flag = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        let policy = ApplicationPolicy::parse_flags(&flag("signaturePolicy"), &flag("channelConfigPolicy"));
        let Some(policy) = agree(policy, case.ok())? else { return Ok(()) };
        let expected = case.folder.join("expected.pb");
        match policy {
            Some(policy) => {
                same_file(&expected, &policy.encode())?;
                match ApplicationPolicy::decode(&policy.encode()) {
                    Ok(again) if again == policy => Ok(()),
                    _ => Err("decoded to another policy".to_owned()),
                }
            }
            None if case.get("/expected/absent").as_bool() == Some(true) || !expected.exists() => Ok(()),
            None => same_file(&expected, &[]),
        }
    });
}

pub(crate) fn collections_peer_cli() {
    family("collections-peer-cli", |case| {
        let text = String::from_utf8(case.bytes("collections.json")).unwrap();
        let Some(collections) = agree(collections::peer_cli(&text), case.ok())? else { return Ok(()) };
        same_file(&case.folder.join("expected.pb"), &collections.encode_to_vec())
    });
}

pub(crate) fn opssc_validation_parameter() {
    family("opssc-validation-parameter", |case| {
        let text = String::from_utf8(case.bytes("input.txt")).unwrap();
        original(case, original_validation_parameter(&text))?;
        // Where roles are kept, an unknown one is refused; the original loses it instead.
        let accepted = case.ok() && case.get("/expected/intended_error").is_null();
        let Some(policy) = agree::<_, PolicyError>(read(&text), accepted)? else { return Ok(()) };
        let absent = case.get("/expected/absent").as_bool().unwrap_or_default();
        let Some(policy) = policy else { return same("absent", &true, &absent) };
        same("absent", &false, &absent)?;
        let ours = match &policy {
            ApplicationPolicy::ChannelReference(path) => json!({"channel_config_policy_reference": path}),
            ApplicationPolicy::Signature(policy) => {
                json!({"signature_policy": resolved(policy.rule.as_ref().unwrap(), policy)})
            }
        };
        same("policy", &ours, &case.json("intended.resolved.json"))?;
        // Text that the peer CLI reads too gives the same bytes as there.
        let cli = case.folder.join("fabric-cli.pb");
        if cli.exists() { same_file(&cli, &policy.encode()) } else { Ok(()) }
    });
}

pub(crate) fn opssc_collections() {
    family("opssc-collections", |case| {
        let text = String::from_utf8(case.bytes("input.json")).unwrap();
        original(case, original_collections(&text))?;
        let Some(read) = agree(DefinitionEncoding::Fabric.collections(&text), case.ok())? else { return Ok(()) };
        let beside = DefinitionEncoding::Original.collections(&text).map_err(|error| error.to_string())?;
        same("absent", &beside.is_none(), &read.is_none())?;
        let (Some(read), Some(beside)) = (read, beside) else { return Ok(()) };
        let shown =
            |package: &CollectionConfigPackage| -> Vec<Value> { package.config.iter().map(collection).collect() };
        same("what a peer makes of it", &json!(shown(&beside)), &case.json("original.resolved.json"))?;
        // More names are known where the peer CLI's bytes are written.
        let more = case.folder.ends_with("peer-cli-names");
        if more { Ok(()) } else { same("policies", &shown(&read), &shown(&beside)) }
    });
}

/// The bytes of the original agent.
fn original(case: &Case, ours: Result<Option<Bytes>, PolicyError>) -> Finding {
    let Some(ours) = agree(ours, case.ok())? else { return Ok(()) };
    let absent = case.get("/expected/absent").as_bool().unwrap_or_default();
    same("absent", &ours.is_none(), &absent)?;
    ours.map_or(Ok(()), |ours| same_file(&case.folder.join("original.pb"), &ours))
}

/// A collection with principals in place of numbers.
fn collection(config: &CollectionConfig) -> Value {
    let Some(collection_config::Payload::StaticCollectionConfig(collection)) = &config.payload else {
        return Value::Null;
    };
    let rule = |policy: &SignaturePolicyEnvelope| resolved(policy.rule.as_ref().unwrap(), policy);
    let members = match collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref()) {
        Some(collection_policy_config::Payload::SignaturePolicy(policy)) => rule(policy),
        None => Value::Null,
    };
    let endorsement = match collection.endorsement_policy.as_ref().and_then(|policy| policy.r#type.as_ref()) {
        Some(application_policy::Type::SignaturePolicy(policy)) => json!({"signature_policy": rule(policy)}),
        Some(application_policy::Type::ChannelConfigPolicyReference(path)) => {
            json!({"channel_config_policy_reference": path})
        }
        None => json!({}),
    };
    json!({
        "name": collection.name,
        "member_orgs_policy": members,
        "required_peer_count": collection.required_peer_count,
        "maximum_peer_count": collection.maximum_peer_count,
        "block_to_live": collection.block_to_live.to_string(),
        "member_only_read": collection.member_only_read,
        "member_only_write": collection.member_only_write,
        "endorsement_policy": endorsement,
    })
}

/// The rule with principals in place of numbers.
fn resolved(rule: &SignaturePolicy, policy: &SignaturePolicyEnvelope) -> Value {
    match rule.r#type.as_ref().unwrap() {
        Type::SignedBy(number) => {
            let principal = &policy.identities[usize::try_from(*number).unwrap()].principal;
            let role = MspRole::decode(principal.clone()).unwrap();
            let name = MspRoleType::try_from(role.role).unwrap().as_str_name();
            json!({"mspid": role.msp_identifier, "role": name})
        }
        Type::NOutOf(gate) => {
            let rules: Vec<Value> = gate.rules.iter().map(|rule| resolved(rule, policy)).collect();
            json!({"n": gate.n, "rules": rules})
        }
    }
}
