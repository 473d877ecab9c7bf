//! Channels that are voted for as a whole.

use super::*;
use crate::fabric::config::update::{UpdateError, compute};

fn whole() -> ConfigUpdate {
    let path = format!("{}/testdata/golden/config-update/bases/raft3.config.pb", env!("CARGO_MANIFEST_DIR"));
    let config = Config::decode(&std::fs::read(path).unwrap()).unwrap();
    ConfigUpdate {
        channel_id: "ch".to_owned(),
        read_set: Some(ConfigGroup::default()),
        write_set: config.channel_group,
        ..ConfigUpdate::default()
    }
}

#[test]
fn everybody_makes_the_same_block() {
    let update = whole().encode();
    let block = block_of_creation(&update).unwrap();
    assert_eq!(block_of_creation(&update).unwrap(), block);
    let config = ChannelConfig::from_block(&block).unwrap();
    assert_eq!((config.channel().as_str(), config.sequence()), ("ch", 0));
    let made = Config::decode(&config.config().encode_to_vec()).unwrap();
    let voted = Config { channel_group: whole().write_set, ..Config::default() };
    assert_eq!(compute("ch", &made, &voted).unwrap_err(), UpdateError::NoDifference);
    let other = ConfigUpdate { channel_id: "other".to_owned(), ..whole() }.encode();
    assert_ne!(block_of_creation(&other).unwrap(), block);
}

#[test]
fn what_creates_no_channel_makes_no_block() {
    let without = |name: &str| {
        let mut update = whole();
        update.write_set.as_mut().unwrap().groups.remove(name);
        update
    };
    for update in [
        without("Application"),
        without("Orderer"),
        ConfigUpdate { write_set: None, ..whole() },
        ConfigUpdate { read_set: Some(ConfigGroup::at_version(1)), ..whole() },
        ConfigUpdate { channel_id: "Capitals".to_owned(), ..whole() },
    ] {
        assert!(block_of_creation(&update.encode()).is_err());
    }
    assert!(block_of_creation(b"\xff").is_err());
}

#[test]
fn profiles_keep_to_their_form() {
    for (text, expected) in [
        ("Profiles: {P: {}}", None),
        ("Profiles: {Q: {}}", Some("there is no profile")),
        ("Profile: {P: {}}", Some("unknown field")),
        ("x: &x {Consortium: C}", Some("unknown field")),
        ("Channel: &c {Consortium: C}\nProfiles: {P: {<<: *c}}", None),
        ("Profiles: {P: {Orderer: {BatchSize: {AbsoluteMaxBytes: 9 TB}}}}", Some("number or size")),
        ("Profiles: {P: {Orderer: {BatchSize: {AbsoluteMaxBytes: '1000', MaxMessageCount: 3}}}}", None),
    ] {
        let error = Profile::parse(text, "P").err().map(|error| error.to_string());
        assert_eq!(error.is_some(), expected.is_some(), "{text}: {error:?}");
        assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{text}");
    }
}
