//! Changes that would end a channel, and some that would not.

use super::*;
use crate::fabric::config::edit::Operation;
use crate::fabric::config::tree::{ConfigValue, Policy};
use crate::fabric::policy::dsl;
use crate::pb::common::policy::PolicyType;

/// When the golden configurations were good.
const NOW: i64 = 1_800_000_000;

fn base(name: &str) -> Config {
    let path = format!("{}/testdata/golden/config-update/bases/{name}.config.pb", env!("CARGO_MANIFEST_DIR"));
    Config::decode(&std::fs::read(path).unwrap()).unwrap()
}

fn edited(before: &Config, commands: &serde_json::Value) -> Config {
    let mut after = before.clone();
    for operation in Operation::parse_all(&commands.to_string()).unwrap() {
        operation.apply(&mut after, None).unwrap();
    }
    after
}

fn told(before: &Config, after: &Config) -> Vec<String> {
    hazards(Some(before), after, NOW).iter().map(ToString::to_string).collect()
}

fn group<'a>(config: &'a mut Config, path: &[&str]) -> &'a mut crate::fabric::config::tree::ConfigGroup {
    config.channel_group.as_mut().unwrap().group_mut(path).unwrap()
}

#[test]
fn what_is_common_is_no_hazard() {
    for (name, commands) in [
        ("raft3", serde_json::json!([{ "Command": "set-acls", "Parameters": { "ACLs": {} } }])),
        (
            "raft3",
            serde_json::json!([{ "Command": "remove-org", "Parameters": {
            "OrgType": "Application", "OrgName": "Org3MSP" } }]),
        ),
        (
            "bft4",
            serde_json::json!([{ "Command": "set-orderer-endpoints", "Parameters": {
            "OrgName": "OrdererOrg1", "OrdererEndpoints": ["o.example.com:1"] } }]),
        ),
    ] {
        let before = base(name);
        assert_eq!(told(&before, &edited(&before, &commands)), [""; 0], "{commands}");
        assert_eq!(hazards(None, &before, NOW), [], "{name} as it is");
    }
}

#[test]
fn guards_that_nobody_can_satisfy_are_told() {
    let before = base("raft3");
    let ruled = |name: &str, rule: &str| {
        let mut after = before.clone();
        let rule = dsl::parse(rule).unwrap().encode_to_vec();
        let policy = Policy::new(PolicyType::Signature as i32, rule);
        group(&mut after, &["Application"]).policies.get_mut(name).unwrap().policy = Some(policy);
        after
    };
    let lines = told(&before, &ruled("Admins", "AND('Org1MSP.admin', 'Gone.admin')")).join("\n");
    assert!(lines.contains("nobody can satisfy /Channel/Application/Admins"), "{lines}");
    assert!(lines.contains("nobody can change [Group]  /Channel/Application and"), "{lines}");
    let lines = told(&before, &ruled("Endorsement", "OR('Gone.peer')")).join("\n");
    assert!(lines.contains("nobody can satisfy /Channel/Application/Endorsement afterwards"), "{lines}");
    assert_eq!(told(&before, &ruled("Admins", "AND('Org1MSP.admin', 'Org2MSP.admin')")), [""; 0]);
    let mut after = before.clone();
    let orderers = group(&mut after, &["Orderer"]);
    orderers.policies.remove("Admins");
    let lines = told(&before, &after).join("\n");
    assert!(lines.contains("there is no policy /Channel/Orderer/Admins"), "{lines}");
    let mut after = before.clone();
    group(&mut after, &["Orderer"]).values.get_mut("BatchSize").unwrap().mod_policy.clear();
    let lines = told(&before, &after).join("\n");
    assert!(lines.contains("[Value]  /Channel/Orderer/BatchSize afterwards: it has no mod_policy"), "{lines}");
}

#[test]
fn orderers_and_peers_that_are_shut_out_are_told() {
    let before = base("raft3");
    let mut after = before.clone();
    // The organization's writers are another's people from now on.
    let members = group(&mut after, &["Application", "Org1MSP"]).policies["Writers"].clone();
    group(&mut after, &["Orderer", "OrdererOrg1"]).policies.insert("Writers".to_owned(), members);
    let lines = told(&before, &after).join("\n");
    assert!(lines.contains("orderers of OrdererOrg1 do not satisfy /Channel/Writers afterwards"), "{lines}");
    assert!(lines.contains("do not satisfy /Channel/Orderer/BlockValidation afterwards: peers take none"), "{lines}");

    let mut after = before.clone();
    let admins = group(&mut after, &["Application", "Org2MSP"]).policies["Admins"].clone();
    group(&mut after, &["Application", "Org2MSP"]).policies.insert("Readers".to_owned(), admins);
    let lines = told(&before, &after);
    assert_eq!(lines, ["peers of Org2MSP do not satisfy /Channel/Readers afterwards: they get no further block"]);
}

#[test]
fn groups_without_members_are_unguarded() {
    let before = base("raft3");
    let mut after = before.clone();
    group(&mut after, &["Application"]).groups.clear();
    let lines = told(&before, &after).join("\n");
    assert!(lines.contains("everybody satisfies /Channel/Application/Admins afterwards"), "{lines}");
}

#[test]
fn quorums_are_counted() {
    let raft = base("raft3");
    let remove = |host: &str| {
        let address = format!("{host}:7050");
        serde_json::json!({ "Command": "remove-consenter", "Parameters": { "ConsenterAddress": address } })
    };
    let two = edited(&raft, &serde_json::json!([remove("orderer3.ord1.example.com")]));
    let lines = told(&raft, &two);
    assert_eq!(lines, ["all 2 consenters have to be up from then on: the channel stands still when one fails"]);
    let one = edited(&two, &serde_json::json!([remove("orderer2.ord1.example.com")]));
    assert_eq!(told(&two, &one), ["one consenter is left: the channel stands still when it fails"]);
    let lines = told(&one, &two);
    assert!(lines[0].contains("stands still until 1 of the new consenters have joined"), "{lines:?}");
    assert_eq!(told(&two, &raft), [""; 0], "a third one costs nothing");
    // Orderers refuse two at once, and say so.
    let lines = told(&raft, &one).join("\n");
    assert!(lines.contains("orderers will refuse it") && lines.contains("remove 2 node(s)"), "{lines}");
}

#[test]
fn certificates_that_end_are_told() {
    let config = base("raft3");
    let ended = 2_200_000_000;
    let lines: Vec<String> = hazards(None, &config, ended).iter().map(ToString::to_string).collect();
    let shown = lines.join("\n");
    for expected in [
        "TLS authority of OrdererOrg1: certificate of ",
        "authority of Org1MSP: certificate of ",
        "TLS certificate as a server of consenter orderer.ord1.example.com:7050: certificate of ",
        " expired on ",
    ] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
    // What had ended before is not this change's doing.
    let after = edited(&config, &serde_json::json!([{ "Command": "set-acls", "Parameters": { "ACLs": {} } }]));
    assert_eq!(hazards(Some(&config), &after, ended), []);

    // A consenter whose TLS authority nobody has named.
    let mut after = config.clone();
    let other = group(&mut after, &["Application", "Org1MSP"]).values["MSP"].clone();
    group(&mut after, &["Orderer", "OrdererOrg1"]).values.insert("MSP".to_owned(), other);
    let lines = told(&config, &after).join("\n");
    assert!(lines.contains("no organization of the orderers vouches for its TLS certificates"), "{lines}");
}

#[test]
fn what_one_administrator_alone_may_not_use_is_told() {
    let before = base("raft3");
    let ruled = |resource: &str, policy: &str| {
        let acls = serde_json::json!({ resource: policy });
        edited(&before, &serde_json::json!([{ "Command": "set-acls", "Parameters": { "ACLs": acls } }]))
    };
    let lines = told(&before, &ruled("qscc/GetChainInfo", "/Channel/Application/Admins"));
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains("administrators of Org1MSP, Org2MSP, Org3MSP, each alone, do not satisfy"), "{line}");
    assert!(line.contains("peers refuse them qscc/GetChainInfo"), "{line}");
    assert_eq!(told(&before, &ruled("qscc/GetChainInfo", "/Channel/Application/Readers")), [""; 0]);
}

#[test]
fn capabilities_are_told() {
    let before = base("raft3");
    let after = edited(
        &before,
        &serde_json::json!([{ "Command": "set-capabilities", "Parameters": {
            "Group": "Orderer", "Capabilities": ["V2_0", "V3_0"] } }]),
    );
    let lines = told(&before, &after).join("\n");
    assert!(lines.contains("capability V3_0 of the orderers is not one of Fabric's"), "{lines}");
    let after = edited(
        &before,
        &serde_json::json!([{ "Command": "set-capabilities", "Parameters": {
            "Group": "Application", "Capabilities": ["V2_0", "V2_5", "V1_4_2"] } }]),
    );
    let lines = told(&before, &after).join("\n");
    assert!(lines.contains("every node has to know capability V1_4_2 of the application"), "{lines}");
}

#[test]
fn consenters_of_bft_need_their_policy() {
    let before = base("bft4");
    let mut after = before.clone();
    let writers = group(&mut after, &["Orderer"]).policies["Writers"].clone();
    group(&mut after, &["Orderer"]).policies.insert("BlockValidation".to_owned(), writers);
    let lines = told(&before, &after).join("\n");
    assert!(lines.contains("block validation policy should be a signature policy: 3 of the 4"), "{lines}");
}

#[test]
fn what_cannot_be_read_is_told_without_panic() {
    let before = base("raft3");
    let mut after = before.clone();
    for path in [&["Orderer"][..], &["Orderer", "OrdererOrg1"], &["Application", "Org1MSP"], &["Application"], &[]] {
        for value in group(&mut after, path).values.values_mut() {
            *value = ConfigValue::new(&b"\xff\xff"[..], "Admins");
        }
    }
    assert!(!told(&before, &after).is_empty());
    assert!(!hazards(None, &Config::default(), NOW).is_empty());
}
