//! The tree from bytes and to bytes.
//!
//! A module of its own because the form of every message stands here once, reading beside writing.
//!
//! Source: `fabric-protos/common/configtx.proto`, `common/policies.proto`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::wire::{self, Field};
use super::{Config, ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigValue, Fields, MAX_DEPTH, Policy, TreeError};
use crate::pb::common;

impl Config {
    /// Reads a `common.Config`.
    ///
    /// # Errors
    /// [`TreeError`] when the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut config = Self::default();
        let Self { sequence, channel_group, unknown } = &mut config;
        wire::read(bytes, unknown, |number, field| {
            match (number, field) {
                (1, Field::Varint(value)) => *sequence = value,
                (2, Field::Bytes(bytes)) => channel_group.get_or_insert_default().merge(bytes, 0)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(config)
    }

    /// Takes the configuration out of the block that sets it, with everything that is unknown in it.
    ///
    /// # Errors
    /// [`TreeError`] when the block sets none.
    pub fn from_block(block: &common::Block) -> Result<Self, TreeError> {
        let envelope = block.data.iter().flat_map(|data| &data.data).next().ok_or(TreeError::NoConfig)?;
        let payload = common::Envelope::decode(envelope.clone())
            .and_then(|envelope| common::Payload::decode(envelope.payload))
            .map_err(|_| TreeError::NoConfig)?;
        let header = payload.header.unwrap_or_default().channel_header;
        let header = common::ChannelHeader::decode(header).map_err(|_| TreeError::NoConfig)?;
        if header.r#type != common::HeaderType::Config as i32 {
            return Err(TreeError::NoConfig);
        }
        Self::decode(&Fields::decode(&payload.data)?.bytes(1))
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        wire::put_number(&mut out, 1, self.sequence);
        if let Some(group) = &self.channel_group {
            wire::put_message(&mut out, 2, &group.write());
        }
        out.extend_from_slice(self.unknown.as_slice());
        out.into()
    }
}

impl ConfigUpdate {
    /// Reads a `common.ConfigUpdate`.
    ///
    /// # Errors
    /// [`TreeError`] when the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut update = Self::default();
        let Self { channel_id, read_set, write_set, isolated_data, unknown } = &mut update;
        wire::read(bytes, unknown, |number, field| {
            match (number, field) {
                (1, Field::Bytes(bytes)) => *channel_id = wire::text(bytes)?,
                (2, Field::Bytes(bytes)) => read_set.get_or_insert_default().merge(bytes, 0)?,
                (3, Field::Bytes(bytes)) => write_set.get_or_insert_default().merge(bytes, 0)?,
                (5, Field::Bytes(bytes)) => {
                    let (key, value) = wire::entry(bytes)?;
                    isolated_data.insert(key, value);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(update)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        wire::put_bytes(&mut out, 1, self.channel_id.as_bytes());
        for (number, set) in [(2, &self.read_set), (3, &self.write_set)] {
            if let Some(group) = set {
                wire::put_message(&mut out, number, &group.write());
            }
        }
        for (key, data) in &self.isolated_data {
            wire::put_entry(&mut out, 5, key, data);
        }
        out.extend_from_slice(self.unknown.as_slice());
        out.into()
    }
}

impl ConfigGroup {
    /// Reads a `common.ConfigGroup`.
    ///
    /// # Errors
    /// [`TreeError`] when the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut group = Self::default();
        group.merge(bytes, 0)?;
        Ok(group)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.write().into()
    }

    /// A message that comes in pieces is the sum of them.
    fn merge(&mut self, bytes: &[u8], depth: usize) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::Deep);
        }
        let Self { version, groups, values, policies, mod_policy, unknown } = self;
        wire::read(bytes, unknown, |number, field| {
            match (number, field) {
                (1, Field::Varint(value)) => *version = value,
                (2, Field::Bytes(bytes)) => insert(groups, bytes, |bytes| {
                    let mut group = ConfigGroup::default();
                    group.merge(bytes, depth + 1)?;
                    Ok(group)
                })?,
                (3, Field::Bytes(bytes)) => insert(values, bytes, ConfigValue::decode)?,
                (4, Field::Bytes(bytes)) => insert(policies, bytes, ConfigPolicy::decode)?,
                (5, Field::Bytes(bytes)) => *mod_policy = wire::text(bytes)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_number(&mut out, 1, self.version);
        for (key, group) in &self.groups {
            wire::put_entry(&mut out, 2, key, &group.write());
        }
        for (key, value) in &self.values {
            wire::put_entry(&mut out, 3, key, &value.write());
        }
        for (key, policy) in &self.policies {
            wire::put_entry(&mut out, 4, key, &policy.write());
        }
        wire::put_bytes(&mut out, 5, self.mod_policy.as_bytes());
        out.extend_from_slice(self.unknown.as_slice());
        out
    }
}

/// Puts an entry into the map; the last with a key counts.
fn insert<V>(
    map: &mut BTreeMap<String, V>,
    entry: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<V, TreeError>,
) -> Result<(), TreeError> {
    let (key, value) = wire::entry(entry)?;
    map.insert(key, decode(&value)?);
    Ok(())
}

impl ConfigValue {
    fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut config_value = Self::default();
        let Self { version, value, mod_policy, unknown } = &mut config_value;
        wire::read(bytes, unknown, |number, field| {
            match (number, field) {
                (1, Field::Varint(number)) => *version = number,
                (2, Field::Bytes(bytes)) => *value = Bytes::copy_from_slice(bytes),
                (3, Field::Bytes(bytes)) => *mod_policy = wire::text(bytes)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(config_value)
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_number(&mut out, 1, self.version);
        wire::put_bytes(&mut out, 2, &self.value);
        wire::put_bytes(&mut out, 3, self.mod_policy.as_bytes());
        out.extend_from_slice(self.unknown.as_slice());
        out
    }
}

impl ConfigPolicy {
    fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut config_policy = Self::default();
        let Self { version, policy, mod_policy, unknown } = &mut config_policy;
        wire::read(bytes, unknown, |number, field| {
            match (number, field) {
                (1, Field::Varint(number)) => *version = number,
                (2, Field::Bytes(bytes)) => policy.get_or_insert_default().merge(bytes)?,
                (3, Field::Bytes(bytes)) => *mod_policy = wire::text(bytes)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(config_policy)
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_number(&mut out, 1, self.version);
        if let Some(policy) = &self.policy {
            wire::put_message(&mut out, 2, &policy.write());
        }
        wire::put_bytes(&mut out, 3, self.mod_policy.as_bytes());
        out.extend_from_slice(self.unknown.as_slice());
        out
    }
}

impl Policy {
    fn merge(&mut self, bytes: &[u8]) -> Result<(), TreeError> {
        let Self { r#type, value, unknown } = self;
        wire::read(bytes, unknown, |number, field| {
            match (number, field) {
                (1, Field::Varint(number)) => *r#type = wire::to_i32(number),
                (2, Field::Bytes(bytes)) => *value = Bytes::copy_from_slice(bytes),
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Negative numbers are ten bytes long.
        wire::put_number(&mut out, 1, i64::from(self.r#type).cast_unsigned());
        wire::put_bytes(&mut out, 2, &self.value);
        out.extend_from_slice(self.unknown.as_slice());
        out
    }
}
