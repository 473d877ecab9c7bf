//! Trees from real bytes, and from hostile ones.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::pb::common;

fn block(case: &str) -> crate::fabric::block::Block {
    let path = format!("{}/testdata/golden/blocks/{case}/block.pb", env!("CARGO_MANIFEST_DIR"));
    crate::fabric::block::Block::decode(std::fs::read(path).unwrap()).unwrap()
}

fn genesis() -> common::Config {
    crate::fabric::config::ChannelConfig::from_block(block("00-genesis").raw()).unwrap().config().clone()
}

#[test]
fn reads_what_the_generated_messages_read() {
    let pb = genesis();
    let tree = Config::decode(&pb.encode_to_vec()).unwrap();
    assert_eq!(common::Config::decode(tree.encode()).unwrap(), pb);
    assert_eq!(Config::decode(&tree.encode()).unwrap(), tree);
    let root = tree.channel_group.unwrap();
    assert!(root.group(&["Application", "Org1MSP"]).unwrap().values.contains_key("MSP"));
    assert!(root.group(&["Application", "Org1MSP", "Org1MSP"]).is_none());
}

#[test]
fn what_is_unknown_survives_at_every_level() {
    // Field 99, of every wire type, beside what is known.
    let unknown = |out: &mut Vec<u8>| {
        for (wire_type, content) in [(0, &[5][..]), (1, &[1; 8]), (2, &[2, b'h', b'i']), (5, &[3; 4])] {
            wire::put_varint(out, 99 << 3 | wire_type);
            out.extend_from_slice(content);
        }
    };
    let message = |fields: &[(u32, &[u8])]| {
        let mut out = Vec::new();
        for (number, bytes) in fields {
            wire::put_message(&mut out, *number, bytes);
        }
        unknown(&mut out);
        out
    };
    let entry = |value: &[u8]| [&[10, 1, b'k', 18, u8::try_from(value.len()).unwrap()][..], value].concat();
    let policy = message(&[(2, b"rule")]);
    let config_policy = message(&[(2, &policy), (3, b"Admins")]);
    let value = message(&[(2, b"value"), (3, b"Admins")]);
    let inner = message(&[(5, b"Admins")]);
    let group = message(&[(2, &entry(&inner)), (3, &entry(&value)), (4, &entry(&config_policy)), (5, b"Admins")]);
    let config = message(&[(2, &group)]);
    let read = Config::decode(&config).unwrap();
    assert_eq!(read.encode(), config);
    assert_eq!(read.channel_group.unwrap().policies["k"].policy.as_ref().unwrap().value, "rule");
    let update = message(&[(1, b"ch"), (2, &group), (3, &group), (5, &entry(b"data"))]);
    assert_eq!(ConfigUpdate::decode(&update).unwrap().encode(), update);
}

#[test]
fn empty_members_of_maps_are_written_as_go_does() {
    let mut group = ConfigGroup::default();
    group.values.insert("V".to_owned(), ConfigValue::default());
    group.groups.insert(String::new(), ConfigGroup::default());
    assert_eq!(group.encode(), [0x12, 4, 10, 0, 18, 0, 0x1a, 5, 10, 1, b'V', 18, 0][..]);
}

#[test]
fn maps_in_values_have_one_canonical_order() {
    let entry = |key: &str, policy: &str| {
        (key.to_owned(), [&[10, u8::try_from(policy.len()).unwrap()], policy.as_bytes()].concat())
    };
    let sorted = map_of([entry("b", "/B"), entry("a", "/A")]);
    assert_eq!(sorted, map_of([entry("a", "/A"), entry("b", "/B")]));
    let halves: Vec<u8> = [&sorted[sorted.len() / 2..], &sorted[..sorted.len() / 2]].concat();
    let other = Bytes::from(halves);
    assert_ne!(other, sorted);
    assert!(same_value("ACLs", &other, &sorted) && !same_value("MSP", &other, &sorted));
    let mut group = ConfigGroup::default();
    group.values.insert("ACLs".to_owned(), ConfigValue::new(other, "Admins"));
    let config = Config { channel_group: Some(group), ..Config::default() };
    assert_eq!(config.canonical().channel_group.unwrap().values["ACLs"].value, sorted);
}

#[test]
fn broken_bytes_are_refused() {
    let mut nested = Vec::new();
    for _ in 0..200 {
        let mut out = Vec::new();
        wire::put_entry(&mut out, 2, "g", &nested);
        nested = out;
    }
    for (bytes, expected) in [
        (&[0x0a][..], TreeError::Truncated),
        (&[0x0a, 5, 1], TreeError::Truncated),
        (&[0x00, 1], TreeError::Field),
        (&[0x0c], TreeError::Field),
        (&[0x2a, 1, 0xff], TreeError::Text),
        (&[0x9b, 0x06, 0x9c], TreeError::Truncated),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], TreeError::Field),
        (&nested, TreeError::Deep),
    ] {
        assert_eq!(ConfigGroup::decode(bytes).unwrap_err(), expected, "for {bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(config) = Config::decode(&bytes) {
            prop_assert_eq!(Config::decode(&config.encode()).unwrap(), config);
        }
        if let Ok(update) = ConfigUpdate::decode(&bytes) {
            prop_assert_eq!(ConfigUpdate::decode(&update.encode()).unwrap(), update);
        }
    }
}
