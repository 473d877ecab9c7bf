//! Configurations as trees, updates of them, their JSON, and the profiles that change them.

use std::sync::OnceLock;

use crate::fabric::block::Block;
use crate::fabric::config::edit::{Operation, create_channel, profile};
use crate::fabric::config::genesis::{self, Profile};
use crate::fabric::config::tree::{Config, ConfigGroup, ConfigUpdate};
use crate::fabric::config::update::{apply, compute, standing};
use crate::fabric::config::{Artifacts, ChannelConfig, hazards, json, show};

const GENESIS: &[u8] = include_bytes!("../../testdata/golden/blocks/00-genesis/block.pb");

fn known() -> &'static (ChannelConfig, Config) {
    static KNOWN: OnceLock<(ChannelConfig, Config)> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let genesis = Block::decode(GENESIS).expect("a file of this repository");
        let config = ChannelConfig::from_block(genesis.raw()).expect("a file of this repository");
        (config, Config::from_block(genesis.raw()).expect("a file of this repository"))
    })
}

/// Bytes as a configuration, as an update and as every message that JSON is made of.
///
/// What is decoded, encoded and decoded again is the same; an update leads to its target.
pub fn config_tree(input: &[u8]) {
    let (channel, current) = known();
    if let Ok(config) = Config::decode(input) {
        assert_eq!(Config::decode(&config.encode()).as_ref(), Ok(&config));
        let canonical = config.clone().canonical();
        assert_eq!(canonical.clone().canonical(), canonical);
        let _ = show::summary(&config);
        let _ = show::diff(current, &config);
        let _ = hazards(Some(current), &config, 0);
        if let Ok(update) = compute("ch", current, &config)
            && let Some(Ok(group)) = current.channel_group.as_ref().map(|root| apply(root, &update, "ch", |_| Ok(())))
        {
            let result = Config { channel_group: Some(group), ..Config::default() };
            assert!(compute("ch", &result, &config).is_err(), "the update did not lead to its target");
        }
    }
    if let Ok(update) = ConfigUpdate::decode(input) {
        assert_eq!(ConfigUpdate::decode(&update.encode()).as_ref(), Ok(&update));
        let _ = standing(channel, input, &[]);
        let _ = genesis::block_of_creation(input);
    }
    for message in ["common.Config", "common.ConfigUpdate", "common.ConfigEnvelope", "common.Envelope", "common.Block"]
    {
        if let Ok(value) = json::decode(message, input) {
            let again = json::encode(message, &value).expect("what was decoded can be encoded");
            // What JSON has no place for is lost once, and no more after that.
            let value = json::decode(message, &again).expect("what was encoded can be decoded");
            assert_eq!(json::encode(message, &value).as_ref(), Ok(&again), "{message}");
        }
    }
    let _ = ConfigGroup::decode(input);
}

/// Text as every kind of profile, and what it makes of a channel. No files are read.
pub fn config_profile(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = Artifacts::parse(text);
    let _ = Profile::parse(text, "P");
    let mut operations = Operation::parse_all(text).unwrap_or_default();
    operations.extend(profile::parse(text).ok().map(Operation::SetConsenter));
    operations.extend(profile::parse(text).ok().map(Operation::SetOrderer));
    operations.extend(profile::parse(text).ok().map(Operation::SetChannel));
    operations.extend(profile::parse(text).ok().map(|org| Operation::SetOrg(Vec::new(), org)));
    let mut config = known().1.clone();
    for operation in operations {
        let _ = operation.apply(&mut config, None);
    }
    assert_eq!(Config::decode(&config.encode()).as_ref(), Ok(&config));
    if let Ok(profile) = profile::parse(text) {
        let _ = create_channel("ch", &profile);
    }
}
