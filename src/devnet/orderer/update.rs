//! What an update makes of a channel's configuration, and whether it may.
//!
//! A module of its own because it is pure: configuration, update and signatures go in, a configuration or the words of
//! a refusal come out. The rules are those of [`update`](crate::fabric::config::update); here signatures are judged.
//!
//! Source: Fabric 3.1.5 `common/configtx`.

use prost::Message as _;

use crate::devnet::access::{Access, Signed};
use crate::fabric::config::edit::{EditError, check_consenters};
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
    let text = |error: prost::DecodeError| error.to_string();
    let payload = Payload::decode(envelope.payload.clone()).map_err(text)?;
    let update_envelope = ConfigUpdateEnvelope::decode(payload.data)
        .map_err(|error| format!("error converting envelope to config update: {error}"))?;
    let signatures = signatures(&update_envelope)?;
    let authorized = |path: &str| access.evaluate(path, &signatures).map_err(|denied| denied.to_string());
    let group = updated(access.config(), &update_envelope.config_update, channel, authorized)
        .map_err(|error| format!("error authorizing update: {error}"))?;
    let current = access.config().channel_group.clone().unwrap_or_default();
    check_consensus(current, group.clone())
        .map_err(|error| format!("consensus metadata update for channel config update is invalid: {error}"))?;
    let sequence = access.sequence().checked_add(1).ok_or("no sequence is left")?;
    let config = Config { sequence, channel_group: Some(group) };
    // What cannot be read afterwards must not come into force.
    let name = ChannelName::parse(channel).map_err(|error| error.to_string())?;
    ChannelConfig::from_config(name, config.clone()).map_err(|error| error.to_string())?;
    Ok(ConfigEnvelope { config: Some(config), last_update: Some(envelope.clone()) })
}

/// That the orderers can make the step from the one configuration to the other.
fn check_consensus(current: ConfigGroup, updated: ConfigGroup) -> Result<(), EditError> {
    let tree = |group| tree::Config::decode(&Config { sequence: 0, channel_group: Some(group) }.encode_to_vec());
    check_consenters(&tree(current)?, &tree(updated)?)
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

    #[test]
    fn signatures_do_not_swell() {
        let signature = crate::pb::common::ConfigSignature::default();
        let envelope =
            ConfigUpdateEnvelope { config_update: vec![7; 1 << 20].into(), signatures: vec![signature; 200_000] };
        assert!(signatures(&envelope).is_err());
    }
}
