//! Edits of a real channel, and what they refuse.

use std::collections::BTreeMap;

use prost::Message as _;

use super::*;
use crate::fabric::config::ChannelConfig;
use crate::fabric::config::tree::ConfigUpdate;
use crate::fabric::config::update::{UpdateError, compute};
use crate::pb::common;

fn base(name: &str) -> Config {
    let path = format!("{}/testdata/golden/config-update/bases/{name}.config.pb", env!("CARGO_MANIFEST_DIR"));
    Config::decode(&std::fs::read(path).unwrap()).unwrap()
}

fn edited(config: &Config, operation: &Operation) -> Result<Config, EditError> {
    let mut config = config.clone();
    operation.apply(&mut config, None).map(|()| config)
}

fn update(before: &Config, after: &Config) -> Result<ConfigUpdate, UpdateError> {
    compute("ch", before, after)
}

/// A certificate of the channel, as PEM.
fn certificate(config: &Config) -> String {
    let msp = &config.channel_group.as_ref().unwrap().group(&["Application", "Org1MSP"]).unwrap().values["MSP"];
    let msp = crate::pb::msp::MspConfig::decode(msp.value.clone()).unwrap();
    let fabric = crate::pb::msp::FabricMspConfig::decode(msp.config).unwrap();
    String::from_utf8(fabric.root_certs[0].to_vec()).unwrap()
}

fn consenter(config: &Config, host: &str) -> ConsenterProfile {
    let pem = certificate(config);
    ConsenterProfile {
        host: host.to_owned(),
        port: 7050,
        client_tls_cert: pem.clone(),
        server_tls_cert: pem.clone(),
        msp_id: "Org1MSP".to_owned(),
        identity: pem,
        id: None,
    }
}

#[test]
fn consenters_of_bft_come_and_go_with_their_policy() {
    let before = base("bft4");
    let orderer = |config: &Config| config.channel_group.as_ref().unwrap().groups["Orderer"].clone();
    let policy = |config: &Config| {
        let policy = orderer(config).policies["BlockValidation"].policy.clone().unwrap();
        common::SignaturePolicyEnvelope::decode(policy.value).unwrap()
    };
    let needed = |config: &Config| match policy(config).rule.unwrap().r#type.unwrap() {
        common::signature_policy::Type::NOutOf(gate) => (gate.n, gate.rules.len()),
        common::signature_policy::Type::SignedBy(_) => panic!("a single signature"),
    };
    assert_eq!((needed(&before), policy(&before).identities.len()), ((3, 4), 4));
    let added = edited(&before, &Operation::SetConsenter(consenter(&before, "new.example.com"))).unwrap();
    assert_eq!((needed(&added), policy(&added).identities.len()), ((4, 5), 5));
    let mapping = common::Orderers::decode(orderer(&added).values["Orderers"].value.clone()).unwrap();
    assert_eq!(mapping.consenter_mapping.last().map(|last| (last.id, last.port)), Some((5, 7050)));
    let write = update(&before, &added).unwrap().write_set.unwrap().groups["Orderer"].clone();
    assert!(write.values.contains_key("Orderers") && write.policies.contains_key("BlockValidation"), "{write:?}");
    // And back again: not a trace.
    let back = edited(&added, &Operation::RemoveConsenter("new.example.com:7050".to_owned())).unwrap();
    assert_eq!(back, before);
    let taken = ConsenterProfile { id: Some(1), ..consenter(&before, "new.example.com") };
    assert!(edited(&before, &Operation::SetConsenter(taken)).is_err());
}

#[test]
fn raft_takes_one_consenter_at_a_time() {
    let before = base("raft3");
    let mut after = before.clone();
    let names = ["a.example.com", "b.example.com"];
    Operation::SetConsenter(consenter(&before, names[0])).apply(&mut after, None).unwrap();
    check_consenters(&before, &after).unwrap();
    let mut other = consenter(&before, names[1]);
    other.client_tls_cert = certificate_of(&before, "Org2MSP");
    Operation::SetConsenter(other).apply(&mut after, None).unwrap();
    let error = check_consenters(&before, &after).unwrap_err().to_string();
    assert!(error.contains("more than one consenter at a time") && error.contains("add 2"), "{error}");
    check_consenters(&base("bft4"), &base("bft4")).unwrap();
}

fn certificate_of(config: &Config, member: &str) -> String {
    let msp = &config.channel_group.as_ref().unwrap().group(&["Application", member]).unwrap().values["MSP"];
    let msp = crate::pb::msp::MspConfig::decode(msp.value.clone()).unwrap();
    let fabric = crate::pb::msp::FabricMspConfig::decode(msp.config).unwrap();
    String::from_utf8(fabric.root_certs[0].to_vec()).unwrap()
}

#[test]
fn what_is_unknown_in_a_value_survives_its_edit() {
    let mut before = base("raft3");
    let orderer = before.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
    let value = orderer.values.get_mut("ConsensusType").unwrap();
    let mut fields = super::super::tree::Fields::decode(&value.value).unwrap();
    fields.set_bytes(77, b"later");
    value.value = fields.encode();
    let after = edited(&before, &Operation::SetConsenter(consenter(&before, "a.example.com"))).unwrap();
    let value = &after.channel_group.as_ref().unwrap().groups["Orderer"].values["ConsensusType"].value;
    assert_eq!(super::super::tree::Fields::decode(value).unwrap().bytes(77), "later");
}

#[test]
fn what_is_set_again_is_no_difference() {
    let raft = base("raft3");
    let root = raft.channel_group.as_ref().unwrap();
    let capabilities = common::Capabilities::decode(root.values["Capabilities"].value.clone()).unwrap();
    let acls = crate::pb::protos::AcLs::decode(root.groups["Application"].values["ACLs"].value.clone()).unwrap();
    let acls: BTreeMap<String, String> =
        acls.acls.into_iter().map(|(resource, policy)| (resource, policy.policy_ref)).collect();
    for operation in [
        Operation::SetCapabilities(Part::Channel, capabilities.capabilities.into_keys().collect()),
        Operation::SetAcls(acls),
        Operation::SetAnchorPeers("Org3MSP".to_owned(), Vec::new()),
        Operation::SetRevocationList("Org1MSP".to_owned(), Vec::new()),
    ] {
        let mut before = raft.clone();
        if let Operation::SetAnchorPeers(name, _) = &operation {
            let member = before.channel_group.as_mut().unwrap().group_mut(&["Application", name.as_str()]).unwrap();
            member.values.remove("AnchorPeers");
        }
        let after = edited(&before, &operation).unwrap();
        assert_eq!(update(&before, &after).unwrap_err(), UpdateError::NoDifference, "{operation:?}");
    }
}

#[test]
fn every_edit_makes_a_channel_that_can_be_read() {
    let before = base("raft3");
    let crl = format!("{}/testdata/fuzz/revocation_list/1.pem", env!("CARGO_MANIFEST_DIR"));
    let crl = std::fs::read_to_string(crl).unwrap();
    let peer = AnchorPeer { host: "p.example.com".to_owned(), port: 1 };
    for (operation, place) in [
        (Operation::SetCapabilities(Part::Application, vec!["V2_0".to_owned()]), "Application"),
        (Operation::SetAnchorPeers("Org1MSP".to_owned(), vec![peer]), "AnchorPeers"),
        (Operation::SetAcls(BTreeMap::from([("a/b".to_owned(), "/Channel/Application/Admins".to_owned())])), "ACLs"),
        (Operation::SetOrdererEndpoints("OrdererOrg1".to_owned(), vec!["o:1".to_owned()]), "Endpoints"),
        (Operation::SetRevocationList("Org1MSP".to_owned(), vec![crl]), "MSP"),
    ] {
        let after = edited(&before, &operation).unwrap();
        let changed = update(&before, &after).unwrap();
        assert!(format!("{:?}", changed.write_set).contains(place), "{operation:?}");
        let config = common::Config::decode(after.encode()).unwrap();
        ChannelConfig::from_config(crate::fabric::names::ChannelName::parse("ch").unwrap(), config).unwrap();
    }
}

#[test]
fn lists_of_commands_are_read_and_refused() {
    let some = "[{Command: set-capabilities, Parameters: {Group: Channel, Capabilities: [V3_0]}},\n \
                {Command: remove-org, Parameters: {OrgName: A, OrgType: 'Application|Orderer'}}]";
    assert_eq!(
        Operation::parse_all(some).unwrap(),
        [
            Operation::SetCapabilities(Part::Channel, vec!["V3_0".to_owned()]),
            Operation::RemoveOrg(vec![OrganizationType::Application, OrganizationType::Orderer], "A".to_owned()),
        ]
    );
    assert_eq!(Operation::parse_all("").unwrap(), []);
    for text in ["[{Command: dance}]", "[{Command: remove-org}]", "{}", "[{Command: set-orderer}]", "[[]]", "a: b"] {
        assert!(Operation::parse_all(text).is_err(), "{text}");
    }
}

#[test]
fn profiles_of_others_read_no_files() {
    let before = base("raft3");
    let mut profile = consenter(&before, "a.example.com");
    profile.client_tls_cert = "/etc/hosts".to_owned();
    let error = edited(&before, &Operation::SetConsenter(profile)).unwrap_err();
    assert!(matches!(error, EditError::Profile { .. }), "{error}");
}

/// A list of ACLs under a misspelt name was taken for an empty one, and removed them all.
#[test]
fn what_is_misspelt_is_missed() {
    for (command, parameters, missing) in [
        ("set-acls", "Acls: {a: b}", "ACLs"),
        ("set-anchor-peers", "OrgName: Org1MSP", "AnchorPeers"),
        ("set-capabilities", "Group: Channel", "Capabilities"),
        ("set-orderer-endpoints", "OrgName: Org1MSP", "OrdererEndpoints"),
        ("set-revocation-list", "OrgName: Org1MSP", "RevocationList"),
    ] {
        let list = format!("- Command: {command}\n  Parameters: {{{parameters}}}\n");
        let error = Operation::parse_all(&list).unwrap_err().to_string();
        assert!(error.contains(&format!("command {command} has no parameter {missing}")), "{error}");
    }
    assert!(Operation::parse_all("- {Command: set-acls, Parameters: {ACLs: {}}}").is_ok());
}
