//! What an update makes of a configuration, and whether it may.
//!
//! Pure: configuration, update and a judge of policies go in, a configuration or the words of a refusal come out. The
//! judge is asked for the policy of every element that changes; with one that grants everything, this is what becomes
//! of an update once all have signed.
//!
//! Source: Fabric 3.1.5 `common/configtx/update.go`, `configmap.go`.

use super::UpdateError;
use super::place::{Element, Elements, Kind, Place, check_key, elements};
use crate::fabric::config::tree::{ConfigGroup, ConfigUpdate};

/// The root group after `update` of `channel`. `authorized` is asked with the full path of every policy that guards a
/// change, such as `/Channel/Application/Admins`.
///
/// # Errors
/// [`UpdateError`] with the reason why orderers refuse it.
pub fn apply(
    current: &ConfigGroup,
    update: &ConfigUpdate,
    channel: &str,
    authorized: impl Fn(&str) -> Result<(), String>,
) -> Result<ConfigGroup, UpdateError> {
    if update.channel_id != channel {
        return Err(UpdateError::Channel { update: update.channel_id.clone(), channel: channel.to_owned() });
    }
    let mapped = |set| move |reason| UpdateError::Malformed { set, reason };
    let config = elements(Some(current)).map_err(mapped("current config"))?;
    let reads = elements(update.read_set.as_ref()).map_err(mapped("ReadSet"))?;
    check_reads(&config, &reads)?;
    let writes = elements(update.write_set.as_ref()).map_err(mapped("WriteSet"))?;
    let delta = delta(&reads, &writes);
    check_delta(&config, &delta, authorized)?;
    if let Some(place) = writes.keys().find(|place| !config.contains_key(place) && !delta.contains_key(place)) {
        let reason = format!(
            "full config did not verify: writeset contained key {place} which did not appear in proposed config"
        );
        return Err(UpdateError::Incomplete { reason });
    }
    let mut result = config;
    result.extend(delta);
    assemble(&Place::root(), &result)
}

/// What the update changes: written elements whose version is not the one that was read.
pub(super) fn delta<'a>(reads: &Elements<'_>, writes: &Elements<'a>) -> Elements<'a> {
    writes
        .iter()
        .filter(|(place, write)| reads.get(place).is_none_or(|read| read.version() != write.version()))
        .map(|(place, write)| (place.clone(), *write))
        .collect()
}

fn check_reads(config: &Elements<'_>, reads: &Elements<'_>) -> Result<(), UpdateError> {
    let stale = |reason| UpdateError::Stale { reason };
    for (place, read) in reads {
        let existing = config.get(place).ok_or_else(|| {
            stale(format!("existing config does not contain element for {place} but was in the read set"))
        })?;
        if existing.version() != read.version() {
            return Err(stale(format!(
                "proposed update requires that key {place} be at version {}, but it is currently at version {}",
                read.version(),
                existing.version()
            )));
        }
    }
    Ok(())
}

fn check_delta(
    config: &Elements<'_>,
    delta: &Elements<'_>,
    authorized: impl Fn(&str) -> Result<(), String>,
) -> Result<(), UpdateError> {
    let refused = |reason| UpdateError::Delta { reason };
    if delta.is_empty() {
        return Err(refused("delta set was empty -- update would have no effect".to_owned()));
    }
    for (place, element) in delta {
        check_mod_policy(element.mod_policy())
            .map_err(|reason| refused(format!("invalid mod_policy for element {place}: {reason}")))?;
        let version = element.version();
        let Some(existing) = config.get(place) else {
            if version != 0 {
                let reason = format!("attempted to set key {place} to version {version}, but key does not exist");
                return Err(refused(reason));
            }
            continue;
        };
        if existing.version().checked_add(1) != Some(version) {
            return Err(refused(format!(
                "attempt to set key {place} to version {version}, but key is at version {}",
                existing.version()
            )));
        }
        if existing.mod_policy().is_empty() {
            return Err(refused(format!("unexpected missing policy {} for item {place}", existing.mod_policy())));
        }
        authorized(&place.policy_path(existing.mod_policy()))
            .map_err(|reason| UpdateError::Unauthorized { place: Box::new(place.clone()), reason })?;
    }
    Ok(())
}

fn check_mod_policy(mod_policy: &str) -> Result<(), String> {
    if mod_policy.is_empty() {
        return Err("mod_policy not set".to_owned());
    }
    let elements = mod_policy.strip_prefix('/').unwrap_or(mod_policy).split('/');
    elements.enumerate().try_for_each(|(at, element)| {
        check_key(element).map_err(|reason| format!("path element at {at} is invalid: {reason}"))
    })
}

/// Puts the tree together again: a group has the members that its newest version names, each in its newest version.
fn assemble(place: &Place, elements: &Elements<'_>) -> Result<ConfigGroup, UpdateError> {
    let missing = |place: &Place| UpdateError::Incomplete {
        reason: format!("could not turn configMap back to channelGroup: missing {place}"),
    };
    let Some(Element::Group(group)) = elements.get(place) else { return Err(missing(place)) };
    let mut result = group.bare();
    for key in group.groups.keys() {
        result.groups.insert(key.clone(), assemble(&place.child(Kind::Group, key), elements)?);
    }
    for key in group.values.keys() {
        let child = place.child(Kind::Value, key);
        let Some(Element::Value(value)) = elements.get(&child) else { return Err(missing(&child)) };
        result.values.insert(key.clone(), (*value).clone());
    }
    for key in group.policies.keys() {
        let child = place.child(Kind::Policy, key);
        let Some(Element::Policy(policy)) = elements.get(&child) else { return Err(missing(&child)) };
        result.policies.insert(key.clone(), (*policy).clone());
    }
    Ok(result)
}
