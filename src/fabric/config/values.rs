//! The orderers' settings.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::{ConfigError, Group};
use crate::pb::msp::SerializedIdentity;
use crate::pb::{common, orderer};

/// When a block is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// So many messages.
    pub max_messages: u32,
    /// So many bytes, which no message may exceed.
    pub absolute_max_bytes: u32,
    /// So many bytes, unless one message alone is larger.
    pub preferred_max_bytes: u32,
    /// So long after the first message.
    pub timeout: Duration,
}

impl BatchLimits {
    pub(super) fn read(orderer: &Group<'_>) -> Result<Self, ConfigError> {
        let size: orderer::BatchSize = orderer.required("BatchSize")?;
        let timeout: orderer::BatchTimeout = orderer.required("BatchTimeout")?;
        let timeout = go_duration(&timeout.timeout)
            .ok_or_else(|| orderer.broken("BatchTimeout", &format!("{:?} is no duration", timeout.timeout)))?;
        Ok(Self {
            max_messages: size.max_message_count,
            absolute_max_bytes: size.absolute_max_bytes,
            preferred_max_bytes: size.preferred_max_bytes,
            timeout,
        })
    }
}

/// How orderers agree on blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consensus {
    /// `etcdraft`, `BFT`, `solo`.
    pub kind: String,
    /// What the kind needs to know, encoded.
    pub metadata: Bytes,
    /// While the kind is being changed, transactions are refused.
    pub maintenance: bool,
}

impl Consensus {
    pub(super) fn read(orderer: &Group<'_>) -> Result<Self, ConfigError> {
        let kind: orderer::ConsensusType = orderer.required("ConsensusType")?;
        let maintenance = super::in_maintenance(&kind);
        Ok(Self { kind: kind.r#type, metadata: kind.metadata, maintenance })
    }
}

/// An orderer that takes part in Byzantine fault tolerant consensus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consenter {
    /// Its organization.
    pub msp_id: String,
    /// Where it is, host and port.
    pub address: (String, u32),
    creator: Bytes,
}

impl Consenter {
    /// Its serialized identity, with which it signs.
    pub fn creator(&self) -> &Bytes {
        &self.creator
    }

    pub(super) fn read_all(orderer: &Group<'_>) -> Result<BTreeMap<u32, Self>, ConfigError> {
        let all: Option<common::Orderers> = orderer.value("Orderers")?;
        let mut consenters = BTreeMap::new();
        for one in all.unwrap_or_default().consenter_mapping {
            let creator = SerializedIdentity { mspid: one.msp_id.clone(), id_bytes: one.identity };
            let creator = creator.encode_to_vec().into();
            let consenter = Self { msp_id: one.msp_id, address: (one.host, one.port), creator };
            // The first with a number is the one that counts.
            consenters.entry(one.id).or_insert(consenter);
        }
        Ok(consenters)
    }
}

/// A duration as Go writes it, such as `1m30s` or `200ms`; `None` for what is none or negative.
pub fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanos = 0_u128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos = nanos.checked_add(whole.checked_mul(unit)?)?;
        let mut scale = unit;
        for digit in fraction.chars() {
            scale /= 10;
            nanos = nanos.checked_add(scale.checked_mul(u128::from(digit.to_digit(10)?))?)?;
        }
        rest = tail;
    }
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("2s", Some(2_000)),
            ("200ms", Some(200)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("0", Some(0)),
            ("", None),
            ("2", None),
            ("-2s", None),
            ("s", None),
            ("2 s", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(go_duration(text), expected.map(Duration::from_millis), "for {text:?}");
        }
    }
}
