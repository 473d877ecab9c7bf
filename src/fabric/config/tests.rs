//! The configuration of a real channel, and what becomes of broken ones.

use proptest::prelude::*;

use super::*;
use crate::fabric::identity::Role;
use crate::fabric::policy::Member;

fn block(case: &str) -> Block {
    let path = format!("{}/testdata/golden/blocks/{case}/block.pb", env!("CARGO_MANIFEST_DIR"));
    Block::decode(std::fs::read(path).unwrap()).unwrap()
}

fn config(case: &str) -> ChannelConfig {
    ChannelConfig::from_block(block(case).raw()).unwrap()
}

#[test]
fn reads_a_real_channel() {
    let config = config("00-genesis");
    assert_eq!((config.channel().as_str(), config.sequence()), ("goldenchannel", 0));
    let names = |organizations: &BTreeMap<MspId, Organization>| -> Vec<String> {
        organizations.keys().map(ToString::to_string).collect()
    };
    assert_eq!(names(config.application()), ["Org1MSP", "Org2MSP"]);
    assert_eq!(names(config.orderers()), ["OrdererOrg1MSP"]);
    assert!(config.application().values().all(|organization| organization.msp().is_ok()));
    assert!(config.application().values().all(|organization| !organization.tls_roots().is_empty()));
    assert_eq!(config.consensus().kind, "etcdraft");
    assert!(config.batch().max_messages > 0 && !config.orderer_addresses().is_empty());
    assert!(config.application_capabilities().iter().any(|name| name.starts_with("V2_")));
}

#[test]
fn majorities_are_those_of_the_organizations() {
    let config = config("00-genesis");
    let suffice = |path: &str, organizations: &[&str], role: Role| {
        let member = |name: &&str| Member { msp_id: MspId::parse(*name).unwrap(), role };
        let members: Vec<Member> = organizations.iter().map(member).collect();
        config.policies().evaluate_members(path, &members).is_ok()
    };
    let lifecycle = "/Channel/Application/LifecycleEndorsement";
    assert!(suffice(lifecycle, &["Org1MSP", "Org2MSP"], Role::Peer));
    assert!(!suffice(lifecycle, &["Org1MSP"], Role::Peer));
    assert!(!suffice(lifecycle, &["Org1MSP", "Org2MSP"], Role::Client));
    assert!(suffice("/Channel/Application/Writers", &["Org2MSP"], Role::Admin));
    assert!(!suffice("/Channel/Application/Admins", &["Org2MSP"], Role::Admin));
}

#[test]
fn blocks_of_the_orderers_are_told_from_forged_ones() {
    let config = config("00-genesis");
    config.check_block(&block("07-single")).unwrap();
    let mut forged = block("07-single").into_raw();
    forged.header.as_mut().unwrap().number += 1;
    let error = config.check_block(&Block::new(forged).unwrap()).unwrap_err();
    assert!(matches!(error, ConfigError::Forged { number: 8, .. }), "{error}");
    let mut swapped = block("07-single").into_raw();
    swapped.data = block("12-endorsement-policy").into_raw().data;
    assert!(matches!(config.check_block(&Block::new(swapped).unwrap()), Err(ConfigError::Block(_))));
}

#[test]
fn other_blocks_hold_no_configuration() {
    let error = ChannelConfig::from_block(block("07-single").raw()).unwrap_err();
    assert!(matches!(error, ConfigError::NoConfig { number: 7 }), "{error}");
}

#[test]
fn an_organization_without_a_usable_msp_does_not_hide_the_others() {
    let mut raw = config("00-genesis").config().clone();
    let group = raw.channel_group.as_mut().unwrap().groups.get_mut("Application").unwrap();
    let organization = group.groups.get_mut("Org1MSP").unwrap();
    let value = organization.values.get_mut("MSP").unwrap();
    let mut msp = crate::pb::msp::MspConfig::decode(value.value.clone()).unwrap();
    msp.r#type = 1;
    value.value = msp.encode_to_vec().into();
    let config = ChannelConfig::from_config(ChannelName::parse("c").unwrap(), raw).unwrap();
    let usable = |name| config.organization(&MspId::parse(name).unwrap()).unwrap().msp().is_ok();
    assert_eq!((usable("Org1MSP"), usable("Org2MSP")), (false, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_bytes_make_it_panic(places in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut bytes = block("00-genesis").raw().encode_to_vec();
        for (at, byte) in places {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(block) = Block::decode(bytes) {
            let _ = ChannelConfig::from_block(block.raw());
        }
    }
}
