//! The update that leads from one configuration to another.
//!
//! An element that changed gets its next version and its new content. A group whose members changed gets its next
//! version too, and names the members that stay by their versions alone; one in which only members changed keeps its
//! version and names those. What is not named where a group has a new version, is removed. The versions in the updated
//! configuration do not matter.
//!
//! Source: Fabric 3.1.5 `internal/configtxlator/update`.

use std::collections::BTreeMap;

use super::UpdateError;
use crate::fabric::config::tree::{Config, ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigValue};

/// The update of `channel` from `original` to `updated`.
///
/// # Errors
/// [`UpdateError::NoDifference`] when they are the same; [`UpdateError::NoGroup`] when one is empty.
pub fn compute(channel: &str, original: &Config, updated: &Config) -> Result<ConfigUpdate, UpdateError> {
    let root = |config: &'_ Config, which| config.channel_group.clone().ok_or(UpdateError::NoGroup { which });
    let sets = group(&root(original, "original")?, &root(updated, "updated")?);
    if !sets.differ {
        return Err(UpdateError::NoDifference);
    }
    Ok(ConfigUpdate {
        channel_id: channel.to_owned(),
        read_set: Some(sets.read),
        write_set: Some(sets.write),
        ..ConfigUpdate::default()
    })
}

/// What one group adds to both sets.
struct Sets {
    read: ConfigGroup,
    write: ConfigGroup,
    differ: bool,
}

/// What the members of one kind add to both sets.
struct Members<T> {
    read: BTreeMap<String, T>,
    write: BTreeMap<String, T>,
    /// Those that stay as they are, by version.
    same: BTreeMap<String, T>,
    /// Whether some came or went.
    moved: bool,
}

impl<T: Clone> Members<T> {
    fn unchanged(&self) -> bool {
        !self.moved && self.read.is_empty() && self.write.is_empty()
    }

    fn with_same(mut self) -> (BTreeMap<String, T>, BTreeMap<String, T>) {
        self.read.extend(self.same.clone());
        self.write.extend(self.same);
        (self.read, self.write)
    }
}

fn members<T>(
    original: &BTreeMap<String, T>,
    updated: &BTreeMap<String, T>,
    mut both: impl FnMut(&T, &T, &mut dyn FnMut(Change<T>)),
    new: impl Fn(&T) -> T,
) -> Members<T> {
    let mut members = Members { read: BTreeMap::new(), write: BTreeMap::new(), same: BTreeMap::new(), moved: false };
    for (name, before) in original {
        let Some(after) = updated.get(name) else {
            members.moved = true;
            continue;
        };
        both(before, after, &mut |change| match change {
            Change::None(bare) => drop(members.same.insert(name.clone(), bare)),
            Change::Written(written) => drop(members.write.insert(name.clone(), written)),
            Change::Inside { read, write } => {
                members.read.insert(name.clone(), read);
                members.write.insert(name.clone(), write);
            }
        });
    }
    for (name, added) in updated.iter().filter(|(name, _)| !original.contains_key(*name)) {
        members.moved = true;
        members.write.insert(name.clone(), new(added));
    }
    members
}

enum Change<T> {
    None(T),
    Written(T),
    Inside { read: T, write: T },
}

fn group(original: &ConfigGroup, updated: &ConfigGroup) -> Sets {
    let policies = policies(original, updated);
    let values = values(original, updated);
    let groups = groups(original, updated);
    let moved = policies.moved || values.moved || groups.moved || original.mod_policy != updated.mod_policy;
    let mut read = ConfigGroup::at_version(original.version);
    let mut write = ConfigGroup::at_version(original.version);
    if !moved {
        let differ = !(policies.unchanged() && values.unchanged() && groups.unchanged());
        (read.policies, write.policies) = (policies.read, policies.write);
        (read.values, write.values) = (values.read, values.write);
        (read.groups, write.groups) = (groups.read, groups.write);
        return Sets { read, write, differ };
    }
    write.version = original.version.wrapping_add(1);
    write.mod_policy.clone_from(&updated.mod_policy);
    (read.policies, write.policies) = policies.with_same();
    (read.values, write.values) = values.with_same();
    (read.groups, write.groups) = groups.with_same();
    Sets { read, write, differ: true }
}

fn policies(original: &ConfigGroup, updated: &ConfigGroup) -> Members<ConfigPolicy> {
    let at = |version, policy: &ConfigPolicy| ConfigPolicy {
        version,
        policy: policy.policy.clone(),
        mod_policy: policy.mod_policy.clone(),
        ..ConfigPolicy::default()
    };
    members(
        &original.policies,
        &updated.policies,
        |before, after, change| {
            let same = before.mod_policy == after.mod_policy && before.policy == after.policy;
            change(if same {
                Change::None(ConfigPolicy { version: before.version, ..ConfigPolicy::default() })
            } else {
                Change::Written(at(before.version.wrapping_add(1), after))
            });
        },
        |added| at(0, added),
    )
}

fn values(original: &ConfigGroup, updated: &ConfigGroup) -> Members<ConfigValue> {
    let at = |version, value: &ConfigValue| ConfigValue {
        version,
        value: value.value.clone(),
        mod_policy: value.mod_policy.clone(),
        ..ConfigValue::default()
    };
    members(
        &original.values,
        &updated.values,
        |before, after, change| {
            let same = before.mod_policy == after.mod_policy && before.value == after.value;
            change(if same {
                Change::None(ConfigValue { version: before.version, ..ConfigValue::default() })
            } else {
                Change::Written(at(before.version.wrapping_add(1), after))
            });
        },
        |added| at(0, added),
    )
}

fn groups(original: &ConfigGroup, updated: &ConfigGroup) -> Members<ConfigGroup> {
    members(
        &original.groups,
        &updated.groups,
        |before, after, change| {
            let sets = group(before, after);
            change(if sets.differ {
                Change::Inside { read: sets.read, write: sets.write }
            } else {
                Change::None(sets.read)
            });
        },
        |added| {
            let mut written = group(&ConfigGroup::default(), added).write;
            written.version = 0;
            written.mod_policy.clone_from(&added.mod_policy);
            written
        },
    )
}
