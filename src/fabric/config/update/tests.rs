//! Updates by hand: what Fabric's own rules make of them.

use super::*;
use crate::fabric::config::tree::{ConfigGroup, ConfigUpdate, ConfigValue};

fn value(version: u64, text: &str) -> ConfigValue {
    ConfigValue { version, ..ConfigValue::new(text.to_owned(), "Admins") }
}

fn group(version: u64, values: &[(&str, ConfigValue)], groups: &[(&str, ConfigGroup)]) -> ConfigGroup {
    ConfigGroup {
        version,
        mod_policy: "Admins".to_owned(),
        values: values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        groups: groups.iter().map(|(key, group)| ((*key).to_owned(), group.clone())).collect(),
        ..ConfigGroup::default()
    }
}

fn current() -> ConfigGroup {
    group(0, &[("V", value(0, "old"))], &[("Application", group(1, &[], &[("Org1", group(0, &[], &[]))]))])
}

fn result(read: &ConfigGroup, write: &ConfigGroup, granted: &[&str]) -> Result<ConfigGroup, UpdateError> {
    let update = ConfigUpdate {
        channel_id: "ch".to_owned(),
        read_set: Some(read.clone()),
        write_set: Some(write.clone()),
        ..ConfigUpdate::default()
    };
    apply(
        &current(),
        &update,
        "ch",
        |path| {
            if granted.contains(&path) { Ok(()) } else { Err(format!("{path} denied")) }
        },
    )
}

#[test]
fn a_value_changes_where_its_policy_grants_it() {
    let read = group(0, &[], &[]);
    let write = group(0, &[("V", value(1, "new"))], &[]);
    let changed = result(&read, &write, &["/Channel/Admins"]).unwrap();
    assert_eq!(changed.values["V"], value(1, "new"));
    assert_eq!(changed.groups, current().groups, "the rest stays");
    let denied = result(&read, &write, &[]).unwrap_err().to_string();
    assert!(denied.contains("policy for [Value]  /Channel/V not satisfied"), "{denied}");
}

#[test]
fn a_new_member_needs_a_new_version_of_its_group() {
    let org = |key| (key, group(0, &[], &[]));
    let read = group(0, &[], &[("Application", group(1, &[], &[org("Org1")]))]);
    let write = group(0, &[], &[("Application", group(2, &[], &[org("Org1"), org("Org2")]))]);
    let changed = result(&read, &write, &["/Channel/Application/Admins"]).unwrap();
    assert_eq!(changed.groups["Application"].groups.len(), 2);
    assert_eq!(changed.groups["Application"].version, 2);
}

#[test]
fn refusals_speak_as_fabric_does() {
    let root = group(0, &[], &[]);
    for (read, write, expected) in [
        (root.clone(), root.clone(), "delta set was empty"),
        (group(3, &[], &[]), root.clone(), "be at version 3, but it is currently at version 0"),
        (group(0, &[("X", value(0, ""))], &[]), root.clone(), "existing config does not contain element"),
        (root.clone(), group(0, &[("V", value(5, ""))], &[]), "to version 5, but key is at version 0"),
        (root.clone(), group(0, &[("X", value(1, ""))], &[]), "but key does not exist"),
        (root.clone(), group(0, &[("../x", value(0, ""))], &[]), "contains illegal characters"),
    ] {
        let error = result(&read, &write, &["/Channel/Admins"]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not contain {expected}");
    }
    let mut unguarded = value(0, "");
    unguarded.mod_policy.clear();
    let error = result(&root, &group(0, &[("X", unguarded)], &[]), &[]).unwrap_err().to_string();
    assert!(error.contains("mod_policy not set"), "{error}");
}
