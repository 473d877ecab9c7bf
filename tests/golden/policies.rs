//! Policies: as text, as messages.

use opssc::fabric::names::hex;
use opssc::fabric::policy::{ApplicationPolicy, PolicyError, collections, dsl, opssc_validation_parameter as read};
use opssc::pb::common::signature_policy::Type;
use opssc::pb::common::{MspRole, SignaturePolicy, SignaturePolicyEnvelope, msp_role::MspRoleType};
use prost::Message as _;
use serde_json::{Value, json};

use super::support::{Finding, agree, family, root, same, same_file};

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
