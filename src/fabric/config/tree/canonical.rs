//! One form of the values that hold maps, so that equal ones can be told by their bytes.
//!
//! Go writes the entries of a map in random order, so two encodings of the same `ACLs` or `Capabilities` differ. No
//! other value of a configuration holds a map.
//!
//! Does not run by itself: who signed over other bytes keeps them.
//!
//! Source: `fabric-protos/common/configuration.proto` (`Capabilities`), `peer/configuration.proto` (`ACLs`).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::wire::{self, Field, Unknown};
use super::{Config, ConfigGroup, ConfigUpdate, TreeError};

/// The values that hold a map, as their only field.
const MAPS: [&str; 2] = ["ACLs", "Capabilities"];

impl Config {
    /// The same configuration with all its maps sorted, also those in its values.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.channel_group.iter_mut().for_each(canonicalize);
        self
    }
}

impl ConfigUpdate {
    /// The same update with all its maps sorted, also those in its values. Signatures over other bytes do not hold for
    /// it.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.read_set.iter_mut().chain(&mut self.write_set).for_each(canonicalize);
        self
    }
}

fn canonicalize(group: &mut ConfigGroup) {
    for name in MAPS {
        if let Some(value) = group.values.get_mut(name)
            && let Ok(sorted) = sorted(&value.value)
        {
            value.value = sorted;
        }
    }
    group.groups.values_mut().for_each(canonicalize);
}

/// Whether both are the same value of this name: the same bytes, or the same map in another order.
pub fn same_value(name: &str, one: &Bytes, other: &Bytes) -> bool {
    one == other || (MAPS.contains(&name) && matches!((sorted(one), sorted(other)), (Ok(a), Ok(b)) if a == b))
}

/// Entries of a message whose only field is a map from text to messages.
pub(crate) fn map_of(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Bytes {
    let mut out = Vec::new();
    let sorted: BTreeMap<_, _> = entries.into_iter().collect();
    for (key, value) in &sorted {
        wire::put_entry(&mut out, 1, key, value);
    }
    out.into()
}

fn sorted(value: &[u8]) -> Result<Bytes, TreeError> {
    let mut entries = BTreeMap::new();
    let mut unknown = Unknown::default();
    wire::read(value, &mut unknown, |number, field| match (number, field) {
        (1, Field::Bytes(bytes)) => {
            let (key, value) = wire::entry(bytes)?;
            entries.insert(key, value.to_vec());
            Ok(true)
        }
        _ => Ok(false),
    })?;
    Ok([&map_of(entries)[..], unknown.as_slice()].concat().into())
}
