//! What an update makes of a channel's configuration, and whether it may.
//!
//! A module of its own because it is pure: configuration, update and signatures go in, a configuration or the words of
//! a refusal come out. The rules are those of [`update`](crate::fabric::config::update); here signatures are judged.
//!
//! Source: Fabric 3.1.5 `common/configtx`.

use prost::Message as _;

use crate::devnet::access::{Access, Signed};
use crate::fabric::config::edit::{EditError, check_bft, check_raft, check_raft_metadata};
use crate::fabric::config::update::{UpdateError, apply};
use crate::fabric::config::{ChannelConfig, tree};
use crate::fabric::names::ChannelName;
use crate::pb::common::{
    Config, ConfigEnvelope, ConfigGroup, ConfigUpdateEnvelope, Envelope, Payload, SignatureHeader,
};

/// The configuration after the update in `envelope`, if it is in order.
///
/// The error is for the client, in Fabric's words where clients look at them.
pub(super) fn propose(access: &Access, channel: &str, envelope: &Envelope) -> Result<ConfigEnvelope, String> {
    let proposed = applied(access, channel, envelope)?;
    let group = |config: Option<&Config>| config.and_then(|config| config.channel_group.clone()).unwrap_or_default();
    check_consensus(group(Some(access.config())), group(proposed.config.as_ref()))
        .map_err(|error| format!("consensus metadata update for channel config update is invalid: {error}"))?;
    check_readable(channel, &proposed)?;
    Ok(proposed)
}

/// The configuration after the update in `envelope`, if its signatures and versions are in order.
pub(super) fn applied(access: &Access, channel: &str, envelope: &Envelope) -> Result<ConfigEnvelope, String> {
    let text = |error: prost::DecodeError| error.to_string();
    let payload = Payload::decode(envelope.payload.clone()).map_err(text)?;
    let update_envelope = ConfigUpdateEnvelope::decode(payload.data)
        .map_err(|error| format!("error converting envelope to config update: {error}"))?;
    let signatures = signatures(&update_envelope)?;
    let authorized = |path: &str| access.evaluate(path, &signatures).map_err(|denied| denied.to_string());
    let group = updated(access.config(), &update_envelope.config_update, channel, authorized)
        .map_err(|error| format!("error authorizing update: {error}"))?;
    let sequence = access.sequence().checked_add(1).ok_or("no sequence is left")?;
    let config = Config { sequence, channel_group: Some(group) };
    Ok(ConfigEnvelope { config: Some(config), last_update: Some(envelope.clone()) })
}

/// What cannot be read afterwards must not come into force.
pub(super) fn check_readable(channel: &str, proposed: &ConfigEnvelope) -> Result<(), String> {
    let name = ChannelName::parse(channel).map_err(|error| error.to_string())?;
    let config = proposed.config.clone().unwrap_or_default();
    ChannelConfig::from_config(name, config).map(drop).map_err(|error| error.to_string())
}

/// That the orderers can make the step from the one configuration to the other.
fn check_consensus(current: ConfigGroup, updated: ConfigGroup) -> Result<(), EditError> {
    let tree = |group| tree::Config::decode(&Config { sequence: 0, channel_group: Some(group) }.encode_to_vec());
    let updated = tree(updated)?;
    check_raft_metadata(&updated)?;
    check_raft(&tree(current)?, &updated)
}

/// That consenters of BFT would let the configuration in: theirs is the last look, after all other checks.
pub(super) fn check_of_bft(proposed: &ConfigEnvelope) -> Result<(), String> {
    let config = proposed.config.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
    let config = tree::Config::decode(&config).map_err(|error| error.to_string())?;
    check_bft(&config).map_err(|error| match error {
        EditError::Unsuitable { reason } => reason,
        error => error.to_string(),
    })
}

/// So many bytes are signed in one update, all signatures together.
const MOST_SIGNED: usize = 64 << 20;

fn signatures(envelope: &ConfigUpdateEnvelope) -> Result<Vec<Signed>, String> {
    // Every signature covers the same bytes again.
    if envelope.signatures.len().saturating_mul(envelope.config_update.len()) > MOST_SIGNED {
        return Err(format!("{} signatures are too many", envelope.signatures.len()));
    }
    envelope
        .signatures
        .iter()
        .map(|signature| {
            let header =
                SignatureHeader::decode(signature.signature_header.clone()).map_err(|error| error.to_string())?;
            Ok(Signed {
                identity: header.creator,
                data: [&signature.signature_header[..], &envelope.config_update[..]].concat().into(),
                signature: signature.signature.clone(),
            })
        })
        .collect()
}

/// The root group after the update that these bytes are.
pub(super) fn updated(
    current: &Config,
    update: &[u8],
    channel: &str,
    authorized: impl Fn(&str) -> Result<(), String>,
) -> Result<ConfigGroup, UpdateError> {
    let update = tree::ConfigUpdate::decode(update)?;
    let current = tree::Config::decode(&current.encode_to_vec())?.channel_group;
    let group = apply(&current.ok_or(UpdateError::NoGroup { which: "current" })?, &update, channel, authorized)?;
    ConfigGroup::decode(group.encode())
        .map_err(|error| UpdateError::Malformed { set: "proposed config", reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::orderer::ConsensusType;
    use crate::pb::orderer::smartbft::Options;

    #[test]
    fn consenters_of_bft_want_their_policy() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/config-update/bases/bft4.config.pb");
        let bytes = std::fs::read(path).unwrap();
        let good = Config::decode(bytes.as_slice()).unwrap();
        let judged = |change: &dyn Fn(&mut ConfigGroup)| {
            let mut config = good.clone();
            change(config.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap());
            check_of_bft(&ConfigEnvelope { config: Some(config), last_update: None })
        };
        judged(&|_| ()).unwrap();
        let dropped = judged(&|orderer| drop(orderer.policies.remove("BlockValidation"))).unwrap_err();
        assert!(dropped.contains("block validation policy is not found"), "{dropped}");
        let other = judged(&|orderer| {
            let writers = orderer.policies["Writers"].clone();
            orderer.policies.insert("BlockValidation".to_owned(), writers);
        });
        assert!(other.unwrap_err().contains("block validation policy should be a signature policy"));
        let fewer = judged(&|orderer| {
            let value = orderer.values.get_mut("Orderers").unwrap();
            let mut mapping = crate::pb::common::Orderers::decode(value.value.clone()).unwrap();
            mapping.consenter_mapping.pop();
            value.value = mapping.encode_to_vec().into();
        });
        assert!(fewer.unwrap_err().contains("2 of the 3 consenters"));
        let rotating = judged(&|orderer| {
            let value = orderer.values.get_mut("ConsensusType").unwrap();
            let mut kind = ConsensusType::decode(value.value.clone()).unwrap();
            kind.metadata = Options { leader_rotation: 2, ..Options::default() }.encode_to_vec().into();
            value.value = kind.encode_to_vec().into();
        });
        assert!(rotating.unwrap_err().contains("leader rotation must be turned off"));
    }

    #[test]
    fn signatures_do_not_swell() {
        let signature = crate::pb::common::ConfigSignature::default();
        let envelope =
            ConfigUpdateEnvelope { config_update: vec![7; 1 << 20].into(), signatures: vec![signature; 200_000] };
        assert!(signatures(&envelope).is_err());
    }
}
