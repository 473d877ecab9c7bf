//! Random configurations and random edits of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{UpdateError, apply, compute};
use crate::fabric::config::tree::{Config, ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigValue, Policy};

fn key() -> impl Strategy<Value = String> {
    "[a-d]"
}

fn guard() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["Admins", "/Channel/Orderer/Admins", "Writers"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = ConfigValue> {
    (0..3_u64, prop::collection::vec(0..3_u8, 0..2), guard())
        .prop_map(|(version, value, mod_policy)| ConfigValue { version, ..ConfigValue::new(value, mod_policy) })
}

fn policy() -> impl Strategy<Value = ConfigPolicy> {
    (0..3_u64, 0..3_i32, guard()).prop_map(|(version, kind, mod_policy)| ConfigPolicy {
        version,
        ..ConfigPolicy::new(Policy::new(kind, vec![1]), mod_policy)
    })
}

fn group() -> impl Strategy<Value = ConfigGroup> {
    let leaf = members(Just(BTreeMap::new()).boxed());
    leaf.prop_recursive(3, 24, 4, |inner| members(prop::collection::btree_map(key(), inner, 0..4).boxed()))
}

fn members(groups: BoxedStrategy<BTreeMap<String, ConfigGroup>>) -> BoxedStrategy<ConfigGroup> {
    let values = prop::collection::btree_map(key(), value(), 0..3);
    let policies = prop::collection::btree_map(key(), policy(), 0..3);
    (0..3_u64, guard(), groups, values, policies)
        .prop_map(|(version, mod_policy, groups, values, policies)| ConfigGroup {
            version,
            groups,
            values,
            policies,
            mod_policy,
            ..ConfigGroup::default()
        })
        .boxed()
}

/// The same without versions, which an update counts itself.
fn content(group: &ConfigGroup) -> ConfigGroup {
    let mut group = group.clone();
    group.version = 0;
    group.values.values_mut().for_each(|value| value.version = 0);
    group.policies.values_mut().for_each(|policy| policy.version = 0);
    group.groups.values_mut().for_each(|inner| *inner = content(inner));
    group
}

fn config(group: &ConfigGroup) -> Config {
    Config { channel_group: Some(group.clone()), ..Config::default() }
}

/// One thing in a group that is changed, chosen by a number.
fn edit(group: &mut ConfigGroup, choice: usize, depth: usize) {
    let below = group.groups.len();
    match choice % 7 {
        0 => drop(group.values.insert("n".to_owned(), ConfigValue::new("new", "Admins"))),
        1 => drop(group.values.pop_first()),
        2 => drop(group.policies.pop_last()),
        3 => drop(group.groups.pop_first()),
        4 => "Editors".clone_into(&mut group.mod_policy),
        5 => drop(
            group
                .groups
                .insert("m".to_owned(), ConfigGroup { mod_policy: "Admins".to_owned(), ..ConfigGroup::default() }),
        ),
        _ => group.values.values_mut().for_each(|value| value.value = "changed".into()),
    }
    if depth > 0
        && below > 0
        && let Some(inner) = group.groups.values_mut().nth(choice / 7 % below)
    {
        edit(inner, choice / 49, depth - 1);
    }
}

proptest! {
    #[test]
    fn an_update_leads_to_its_target(before in group(), after in group()) {
        check(&before, &after)?;
    }

    #[test]
    fn an_edit_leads_to_its_target(before in group(), choice in any::<usize>(), depth in 0..4_usize) {
        let mut after = before.clone();
        edit(&mut after, choice, depth);
        check(&before, &after)?;
    }
}

fn check(before: &ConfigGroup, after: &ConfigGroup) -> Result<(), TestCaseError> {
    let update = match compute("ch", &config(before), &config(after)) {
        Ok(update) => update,
        Err(error) => {
            prop_assert_eq!(error, UpdateError::NoDifference);
            prop_assert_eq!(content(before), content(after));
            return Ok(());
        }
    };
    // As it is sent and signed.
    let update = ConfigUpdate::decode(&update.encode()).unwrap();
    let result = apply(before, &update, "ch", |_| Ok(())).unwrap();
    prop_assert_eq!(content(&result), content(after));
    // What it changed cannot be changed by it again.
    prop_assert!(apply(&result, &update, "ch", |_| Ok(())).is_err());
    // The way back is an update too.
    let back = compute("ch", &config(&result), &config(before)).unwrap();
    let again = apply(&result, &back, "ch", |_| Ok(())).unwrap();
    prop_assert_eq!(content(&again), content(before));
    Ok(())
}
