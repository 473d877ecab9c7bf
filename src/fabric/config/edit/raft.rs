//! What orderers that agree by Raft demand of their own settings.
//!
//! A module of its own because it looks at one configuration, not at the step to it; and it refuses nothing that orderers
//! take: of certificates only the signature is looked at.
//!
//! Source: Fabric 3.1.5 `orderer/consensus/etcdraft/util.go`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::EditError;
use crate::fabric::config::go_duration;
use crate::fabric::config::tree::{Config, ConfigGroup};
use crate::fabric::identity::Certificate;
use crate::pb::etcdraft::ConfigMetadata;
use crate::pb::msp::{FabricMspConfig, MspConfig};
use crate::pb::orderer::ConsensusType;

/// That orderers take the consenters and settings of Raft as they are in a configuration; of other kinds, anything.
///
/// # Errors
/// [`EditError::Unsuitable`] in the orderers' words.
pub(crate) fn check_raft_metadata(config: &Config) -> Result<(), EditError> {
    let orderer = config.channel_group.as_ref().and_then(|root| root.groups.get("Orderer"));
    let Some(orderer) = orderer else { return Ok(()) };
    let Some(value) = orderer.values.get("ConsensusType") else { return Ok(()) };
    let refused = |reason: String| EditError::Unsuitable { reason };
    let kind = ConsensusType::decode(value.value.clone()).map_err(|error| refused(error.to_string()))?;
    if kind.r#type != "etcdraft" {
        return Ok(());
    }
    let metadata = ConfigMetadata::decode(kind.metadata)
        .map_err(|error| refused(format!("failed to unmarshal new etcdraft metadata configuration: {error}")))?;
    check(&metadata, &authorities(orderer)).map_err(|reason| refused(format!("invalid new config metadata: {reason}")))
}

/// The TLS authorities of the orderers' organizations.
fn authorities(orderer: &ConfigGroup) -> Vec<Certificate> {
    let members = orderer.groups.values().filter_map(|group| group.values.get("MSP"));
    let members =
        members.filter_map(|value| FabricMspConfig::decode(MspConfig::decode(value.value.clone()).ok()?.config).ok());
    members
        .flat_map(|msp| msp.tls_root_certs.into_iter().chain(msp.tls_intermediate_certs))
        .filter_map(|text| Certificate::from_pem(&text).ok())
        .collect()
}

fn check(metadata: &ConfigMetadata, authorities: &[Certificate]) -> Result<(), String> {
    let options = metadata.options.as_ref().ok_or("nil Raft config metadata options")?;
    let (heartbeat, election, inflight) = (options.heartbeat_tick, options.election_tick, options.max_inflight_blocks);
    if [heartbeat, election, inflight].contains(&0) {
        return Err(format!(
            "none of HeartbeatTick ({heartbeat}), ElectionTick ({election}) and MaxInflightBlocks ({inflight}) can be zero"
        ));
    }
    if election <= heartbeat {
        return Err(format!("ElectionTick ({election}) must be greater than HeartbeatTick ({heartbeat})"));
    }
    match go_duration(&options.tick_interval) {
        None => return Err(format!("failed to parse TickInterval ({}) to time duration", options.tick_interval)),
        Some(Duration::ZERO) => return Err("TickInterval cannot be zero".to_owned()),
        Some(_) => {}
    }
    if metadata.consenters.is_empty() {
        return Err("empty consenter set".to_owned());
    }
    let mut seen: BTreeSet<&Bytes> = BTreeSet::new();
    for consenter in &metadata.consenters {
        let (host, port) = (&consenter.host, consenter.port);
        for (what, text) in [("client", &consenter.client_tls_cert), ("server", &consenter.server_tls_cert)] {
            let certificate = Certificate::from_pem(text)
                .map_err(|error| format!("parsing tls {what} cert of {host}:{port}: {error}"))?;
            let vouched = authorities.iter().any(|authority| {
                authority.der() == certificate.der() || certificate.signature.is_by(authority.public_key())
            });
            if !vouched {
                return Err(format!(
                    "consenter {host}:{port} has invalid certificate: verifying tls {what} cert: certificate signed by \
                     unknown authority"
                ));
            }
        }
        if seen.contains(&consenter.server_tls_cert) || seen.contains(&consenter.client_tls_cert) {
            return Err(format!("duplicate consenter: {host}:{port} has the certificate of another"));
        }
        seen.extend([&consenter.server_tls_cert, &consenter.client_tls_cert]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::config::tree::ConfigValue;

    type Change = fn(&mut ConfigMetadata);

    #[test]
    fn settings_that_orderers_refuse_are_refused() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/config-update/bases/raft3.config.pb");
        let good = Config::decode(&std::fs::read(path).unwrap()).unwrap();
        check_raft_metadata(&good).unwrap();
        let cases: [(Change, &str); 8] = [
            (|metadata| metadata.options = None, "nil Raft config metadata options"),
            (
                |metadata| metadata.options.as_mut().unwrap().max_inflight_blocks = 0,
                "MaxInflightBlocks (0) can be zero",
            ),
            (|metadata| metadata.options.as_mut().unwrap().election_tick = 1, "ElectionTick (1) must be greater than"),
            (|metadata| metadata.options.as_mut().unwrap().tick_interval = "500".to_owned(), "failed to parse Tick"),
            (|metadata| metadata.options.as_mut().unwrap().tick_interval = "0s".to_owned(), "TickInterval cannot be"),
            (|metadata| metadata.consenters.clear(), "empty consenter set"),
            (|metadata| metadata.consenters.push(metadata.consenters[0].clone()), "duplicate consenter"),
            (|metadata| metadata.consenters[1].server_tls_cert = "none".into(), "parsing tls server cert of orderer2"),
        ];
        for (change, expected) in cases {
            let mut config = good.clone();
            let orderer = config.channel_group.as_mut().unwrap().group_mut(&["Orderer"]).unwrap();
            let value = orderer.values.get_mut("ConsensusType").unwrap();
            let mut kind = ConsensusType::decode(value.value.clone()).unwrap();
            let mut metadata = ConfigMetadata::decode(kind.metadata).unwrap();
            change(&mut metadata);
            kind.metadata = metadata.encode_to_vec().into();
            *value = ConfigValue::new(kind.encode_to_vec(), "Admins");
            let error = check_raft_metadata(&config).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut config = good.clone();
        let root = config.channel_group.as_mut().unwrap();
        let other = root.group_mut(&["Application", "Org1MSP"]).unwrap().values["MSP"].clone();
        let orderers = root.group_mut(&["Orderer", "OrdererOrg1"]).unwrap();
        orderers.values.insert("MSP".to_owned(), other);
        let error = check_raft_metadata(&config).unwrap_err().to_string();
        assert!(error.contains("certificate signed by unknown authority"), "{error}");
    }
}
