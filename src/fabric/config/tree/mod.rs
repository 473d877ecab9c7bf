//! A channel's configuration as a tree that can be edited, and that loses nothing.
//!
//! The same messages as in `pb::common`, under the same names, but what a later Fabric adds to them survives, and the
//! bytes are those that Go writes with sorted maps: the canonical form. Updates are computed over these trees and
//! signed over their bytes. Values stay encoded: who does not change one keeps its bytes.
//!
//! Does not judge what it holds; [`ChannelConfig`](super::ChannelConfig) does.
//!
//! Source: `fabric-protos/common/configtx.proto`, `common/policies.proto`.

mod canonical;
mod fields;
mod message;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;
pub(crate) use canonical::map_of;
pub use canonical::same_value;
pub(crate) use fields::Fields;
use wire::Unknown;

/// Groups may lie so deep in each other; Fabric's lie three deep.
pub(crate) const MAX_DEPTH: usize = 32;

/// Why bytes are no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A field ends before its length says.
    #[error("configuration is cut off")]
    Truncated,
    /// A block that sets no configuration.
    #[error("block holds no configuration")]
    NoConfig,
    /// A field is none of the protobuf encoding.
    #[error("configuration has a field that is no protobuf")]
    Field,
    /// Text that is not UTF-8.
    #[error("configuration has text that is not UTF-8")]
    Text,
    /// Groups in groups without end.
    #[error("configuration has groups nested too deeply")]
    Deep,
}

/// The configuration of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// How often it has been changed.
    pub sequence: u64,
    /// The group `Channel`.
    pub channel_group: Option<ConfigGroup>,
    pub(crate) unknown: Unknown,
}

/// A group: values, policies and groups by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigGroup {
    /// How often its members or its `mod_policy` have been changed.
    pub version: u64,
    /// The groups in it.
    pub groups: BTreeMap<String, ConfigGroup>,
    /// Its values.
    pub values: BTreeMap<String, ConfigValue>,
    /// Its policies.
    pub policies: BTreeMap<String, ConfigPolicy>,
    /// The policy that guards changes of its members.
    pub mod_policy: String,
    pub(crate) unknown: Unknown,
}

/// A value, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigValue {
    /// How often it has been changed.
    pub version: u64,
    /// The message, as it was received.
    pub value: Bytes,
    /// The policy that guards changes of it.
    pub mod_policy: String,
    pub(crate) unknown: Unknown,
}

/// A policy with its guard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigPolicy {
    /// How often it has been changed.
    pub version: u64,
    /// The policy itself.
    pub policy: Option<Policy>,
    /// The policy that guards changes of it.
    pub mod_policy: String,
    pub(crate) unknown: Unknown,
}

/// A policy, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The number of `common.Policy.PolicyType`.
    pub r#type: i32,
    /// The message, as it was received.
    pub value: Bytes,
    pub(crate) unknown: Unknown,
}

/// A change of a configuration: what it was made from and what is to become of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigUpdate {
    /// The channel.
    pub channel_id: String,
    /// The versions that the change relies on.
    pub read_set: Option<ConfigGroup>,
    /// What is new, each with its next version.
    pub write_set: Option<ConfigGroup>,
    /// Data that does not become part of the configuration.
    pub isolated_data: BTreeMap<String, Bytes>,
    pub(crate) unknown: Unknown,
}

impl ConfigGroup {
    /// The group below, step by step.
    pub fn group(&self, path: &[&str]) -> Option<&ConfigGroup> {
        path.iter().try_fold(self, |group, name| group.groups.get(*name))
    }

    /// The group below, step by step, to change it.
    pub fn group_mut(&mut self, path: &[&str]) -> Option<&mut ConfigGroup> {
        path.iter().try_fold(self, |group, name| group.groups.get_mut(*name))
    }

    /// Nothing but a version, as it stands in a read set.
    pub(crate) fn at_version(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    /// The group without its members.
    pub(crate) fn bare(&self) -> Self {
        Self {
            version: self.version,
            mod_policy: self.mod_policy.clone(),
            unknown: self.unknown.clone(),
            ..Self::default()
        }
    }
}

impl ConfigValue {
    /// A new value.
    pub fn new(value: impl Into<Bytes>, mod_policy: impl Into<String>) -> Self {
        Self { value: value.into(), mod_policy: mod_policy.into(), ..Self::default() }
    }
}

impl ConfigPolicy {
    /// A new policy.
    pub fn new(policy: Policy, mod_policy: impl Into<String>) -> Self {
        Self { policy: Some(policy), mod_policy: mod_policy.into(), ..Self::default() }
    }
}

impl Policy {
    /// A policy of the type with this number.
    pub fn new(r#type: i32, value: impl Into<Bytes>) -> Self {
        Self { r#type, value: value.into(), ..Self::default() }
    }
}
