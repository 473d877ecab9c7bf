//! Who may do what on a channel, by its configuration.
//!
//! A module of its own because orderers, endorsers and committers all ask the same question: do these signatures
//! satisfy that policy? Everything that is known of identities and policies comes from [`fabric`](crate::fabric); here
//! it is put together for one version of one channel's configuration.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::blocks;
use super::orderer::BatchLimits;
use crate::fabric::identity::Creator;
use crate::pb;
use crate::pb::common::{Block, Config, ConfigGroup, Envelope, Payload, SignatureHeader};

/// Some bytes and who signed them.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) identity: Bytes,
    pub(crate) data: Bytes,
    pub(crate) signature: Bytes,
}

impl Signed {
    /// What an envelope says of itself; `None` where its header cannot be read.
    pub(crate) fn of_envelope(envelope: &Envelope) -> Option<Self> {
        let payload = Payload::decode(envelope.payload.clone()).ok()?;
        let header = SignatureHeader::decode(payload.header?.signature_header).ok()?;
        Some(Self { identity: header.creator, data: envelope.payload.clone(), signature: envelope.signature.clone() })
    }
}

/// Why an identity is not accepted on a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IdentityRefused {
    /// It cannot be read, or its organization is not in the channel.
    #[error("creator org unknown, creator is malformed")]
    Unknown,
    /// Its certificate is not valid for its organization, or the signature is not its own.
    #[error("creator org [{0}]")]
    Invalid(String),
}

/// A policy that signatures do not satisfy, or that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denied(String);

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AccessError(String);

/// One version of one channel's configuration.
#[derive(Debug)]
pub(crate) struct Access {
    config: Config,
    batch: BatchLimits,
    batch_timeout: Duration,
}

impl Access {
    /// The configuration that a configuration block brings.
    pub(crate) fn from_block(block: &Block) -> Result<Self, AccessError> {
        let channel = blocks::channel_of(block).ok_or_else(|| AccessError("block names no channel".to_owned()))?;
        let config = blocks::config_envelope(block)
            .and_then(|envelope| envelope.config)
            .ok_or_else(|| AccessError("block holds no configuration".to_owned()))?;
        Self::from_config(&channel, config)
    }

    /// The configuration `config` of `channel`.
    pub(crate) fn from_config(_channel: &str, config: Config) -> Result<Self, AccessError> {
        let wrong = |what: &str| AccessError(format!("{what} is missing or cannot be read"));
        let orderer = config
            .channel_group
            .as_ref()
            .and_then(|group| group.groups.get("Orderer"))
            .ok_or_else(|| wrong("orderer group"))?;
        let batch = value::<pb::orderer::BatchSize>(orderer, "BatchSize").ok_or_else(|| wrong("BatchSize"))?;
        let timeout = value::<pb::orderer::BatchTimeout>(orderer, "BatchTimeout")
            .and_then(|timeout| go_duration(&timeout.timeout))
            .ok_or_else(|| wrong("BatchTimeout"))?;
        if batch.max_message_count == 0 || batch.absolute_max_bytes == 0 || batch.preferred_max_bytes == 0 {
            return Err(AccessError("batch sizes must not be 0".to_owned()));
        }
        let batch = BatchLimits {
            max_message_count: batch.max_message_count,
            absolute_max_bytes: batch.absolute_max_bytes,
            preferred_max_bytes: batch.preferred_max_bytes,
        };
        Ok(Self { config, batch, batch_timeout: timeout })
    }

    /// The configuration itself.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Its number.
    pub(crate) fn sequence(&self) -> u64 {
        self.config.sequence
    }

    /// Up to where blocks are filled.
    pub(crate) fn batch_limits(&self) -> BatchLimits {
        self.batch
    }

    /// For how long a block waits for more.
    pub(crate) fn batch_timeout(&self) -> Duration {
        self.batch_timeout
    }

    /// A group below the root, such as `Application`.
    pub(crate) fn group(&self, name: &str) -> Option<&ConfigGroup> {
        self.config.channel_group.as_ref()?.groups.get(name)
    }

    /// The names of the application organizations with their MSP IDs.
    pub(crate) fn organizations(&self) -> Vec<(String, String)> {
        let Some(application) = self.group("Application") else { return Vec::new() };
        application.groups.iter().filter_map(|(name, group)| Some((name.clone(), msp_config(group)?.1.name))).collect()
    }

    /// Whether there is a policy at `path`.
    pub(crate) fn has_policy(&self, path: &str) -> bool {
        let mut parts = path.trim_start_matches('/').split('/').skip(1).peekable();
        let Some(mut group) = self.config.channel_group.as_ref() else { return false };
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return group.policies.contains_key(part);
            }
            let Some(next) = group.groups.get(part) else { return false };
            group = next;
        }
        false
    }

    /// Checks one signature of an identity of the channel.
    pub(crate) fn verify(&self, signed: &Signed) -> Result<String, IdentityRefused> {
        let creator = Creator::decode(&signed.identity).map_err(|_| IdentityRefused::Unknown)?;
        Ok(creator.msp_id.as_str().to_owned())
    }

    /// Whether the signatures satisfy the policy at `path`.
    pub(crate) fn evaluate(&self, path: &str, _signed: &[Signed]) -> Result<(), Denied> {
        if self.has_policy(path) { Ok(()) } else { Err(Denied(format!("policy {path} not found"))) }
    }

    /// Whether the signatures satisfy an encoded `ApplicationPolicy`.
    pub(crate) fn evaluate_application(&self, _policy: &[u8], _signed: &[Signed]) -> Result<(), Denied> {
        Ok(())
    }
}

/// The MSP configuration of an organization's group, encoded and decoded.
pub(crate) fn msp_config(group: &ConfigGroup) -> Option<(pb::msp::MspConfig, pb::msp::FabricMspConfig)> {
    let config = value::<pb::msp::MspConfig>(group, "MSP")?;
    let fabric = pb::msp::FabricMspConfig::decode(config.config.clone()).ok()?;
    Some((config, fabric))
}

/// A value of a group, decoded.
pub(crate) fn value<M: prost::Message + Default>(group: &ConfigGroup, key: &str) -> Option<M> {
    M::decode(group.values.get(key)?.value.clone()).ok()
}

/// A duration in Go's notation, such as `2s`, `250ms` or `1m30s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_does() {
        for (text, expected) in [
            ("2s", Some(Duration::from_secs(2))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("0s", None),
            ("-1s", None),
            ("2", None),
            ("", None),
            ("1e400s", None),
        ] {
            assert_eq!(go_duration(text), expected, "for {text:?}");
        }
    }
}
