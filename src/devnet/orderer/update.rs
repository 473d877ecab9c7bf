//! What an update makes of a channel's configuration, and whether it may.
//!
//! A module of its own because it is pure: configuration, update and signatures go in, a configuration or the words of
//! a refusal come out.
//!
//! Source: Fabric 3.1.5 `common/configtx`.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::devnet::access::{Access, Signed};
use crate::fabric::config::ChannelConfig;
use crate::fabric::names::ChannelName;
use crate::pb::common::{
    Config, ConfigEnvelope, ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigUpdateEnvelope, ConfigValue, Envelope,
    Payload, SignatureHeader,
};

/// The name of the configuration's root.
const ROOT: &str = "Channel";
/// How deep groups may lie in each other; Fabric's lie three deep.
const MAX_DEPTH: usize = 16;

/// One element of a configuration.
#[derive(Debug, Clone, Copy)]
enum Element<'a> {
    Group(&'a ConfigGroup),
    Value(&'a ConfigValue),
    Policy(&'a ConfigPolicy),
}

impl Element<'_> {
    fn version(&self) -> u64 {
        match self {
            Self::Group(group) => group.version,
            Self::Value(value) => value.version,
            Self::Policy(policy) => policy.version,
        }
    }

    fn mod_policy(&self) -> &str {
        match self {
            Self::Group(group) => &group.mod_policy,
            Self::Value(value) => &value.mod_policy,
            Self::Policy(policy) => &policy.mod_policy,
        }
    }
}

/// All elements by their place, such as `[Value]  /Channel/Application/Org1MSP/AnchorPeers`.
type Elements<'a> = BTreeMap<Place, Element<'a>>;

/// Where an element lies. Shown as Fabric shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    kind: Kind,
    path: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Group,
    Value,
    Policy,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Group => "[Group]  ",
            Kind::Value => "[Value]  ",
            Kind::Policy => "[Policy] ",
        };
        write!(f, "{kind}/{}", self.path.join("/"))
    }
}

impl Place {
    fn child(&self, kind: Kind, key: &str) -> Self {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        Self { kind, path }
    }

    /// The full path of the policy that guards a change of this element.
    fn policy_path(&self, mod_policy: &str) -> String {
        if mod_policy.starts_with('/') {
            return mod_policy.to_owned();
        }
        let manager = match self.kind {
            Kind::Group => &self.path[..],
            Kind::Value | Kind::Policy => &self.path[..self.path.len() - 1],
        };
        format!("/{}/{mod_policy}", manager.join("/"))
    }
}

/// The configuration after the update in `envelope`, if it is in order.
///
/// The error is for the client, in Fabric's words where clients look at them.
pub(super) fn propose(access: &Access, channel: &str, envelope: &Envelope) -> Result<ConfigEnvelope, String> {
    let text = |error: prost::DecodeError| error.to_string();
    let payload = Payload::decode(envelope.payload.clone()).map_err(text)?;
    let update_envelope = ConfigUpdateEnvelope::decode(payload.data)
        .map_err(|error| format!("error converting envelope to config update: {error}"))?;
    let update = ConfigUpdate::decode(update_envelope.config_update.clone()).map_err(text)?;
    let signatures = signatures(&update_envelope)?;
    let group = access.config().channel_group.as_ref().ok_or("nil channel group")?;
    let authorized = |path: &str| access.evaluate(path, &signatures).map_err(|denied| denied.to_string());
    let group =
        updated(group, &update, channel, authorized).map_err(|error| format!("error authorizing update: {error}"))?;
    let sequence = access.sequence().checked_add(1).ok_or("no sequence is left")?;
    let config = Config { sequence, channel_group: Some(group) };
    // What cannot be read afterwards must not come into force.
    let name = ChannelName::parse(channel).map_err(|error| error.to_string())?;
    ChannelConfig::from_config(name, config.clone()).map_err(|error| error.to_string())?;
    Ok(ConfigEnvelope { config: Some(config), last_update: Some(envelope.clone()) })
}

/// So many bytes are signed in one update, all signatures together.
const MOST_SIGNED: usize = 64 << 20;

fn signatures(envelope: &ConfigUpdateEnvelope) -> Result<Vec<Signed>, String> {
    // Every signature covers the same bytes again.
    if envelope.signatures.len().saturating_mul(envelope.config_update.len()) > MOST_SIGNED {
        return Err(format!("{} signatures are too many", envelope.signatures.len()));
    }
    envelope
        .signatures
        .iter()
        .map(|signature| {
            let header =
                SignatureHeader::decode(signature.signature_header.clone()).map_err(|error| error.to_string())?;
            Ok(Signed {
                identity: header.creator,
                data: [&signature.signature_header[..], &envelope.config_update[..]].concat().into(),
                signature: signature.signature.clone(),
            })
        })
        .collect()
}

pub(super) fn updated(
    current: &ConfigGroup,
    update: &ConfigUpdate,
    channel: &str,
    authorized: impl Fn(&str) -> Result<(), String>,
) -> Result<ConfigGroup, String> {
    if update.channel_id != channel {
        return Err(format!("ConfigUpdate for channel '{}' but envelope for channel '{channel}'", update.channel_id));
    }
    let config = elements(Some(current))?;
    let reads = elements(update.read_set.as_ref()).map_err(|error| format!("error mapping ReadSet: {error}"))?;
    for (place, read) in &reads {
        let existing = config.get(place).ok_or_else(|| {
            format!(
                "error validating ReadSet: existing config does not contain element for {place} but was in the read set"
            )
        })?;
        if existing.version() != read.version() {
            return Err(format!(
                "error validating ReadSet: proposed update requires that key {place} be at version {}, but it is \
                 currently at version {}",
                read.version(),
                existing.version()
            ));
        }
    }
    let writes = elements(update.write_set.as_ref()).map_err(|error| format!("error mapping WriteSet: {error}"))?;
    let delta: Elements<'_> = writes
        .iter()
        .filter(|(place, write)| reads.get(place).is_none_or(|read| read.version() != write.version()))
        .map(|(place, write)| (place.clone(), *write))
        .collect();
    check_delta(&config, &delta, authorized).map_err(|error| format!("error validating DeltaSet: {error}"))?;
    if let Some(place) = writes.keys().find(|place| !config.contains_key(place) && !delta.contains_key(place)) {
        return Err(format!("writeset contained key {place} which did not appear in proposed config"));
    }
    let mut result = config;
    result.extend(delta);
    let root = Place { kind: Kind::Group, path: vec![ROOT.to_owned()] };
    assemble(&root, &result)
}

fn check_delta(
    config: &Elements<'_>,
    delta: &Elements<'_>,
    authorized: impl Fn(&str) -> Result<(), String>,
) -> Result<(), String> {
    if delta.is_empty() {
        return Err("delta set was empty -- update would have no effect".to_owned());
    }
    for (place, element) in delta {
        if element.mod_policy().is_empty() {
            return Err(format!("invalid mod_policy for element {place}: mod_policy not set"));
        }
        for part in element.mod_policy().strip_prefix('/').unwrap_or(element.mod_policy()).split('/') {
            check_key(part).map_err(|error| format!("invalid mod_policy for element {place}: {error}"))?;
        }
        let version = element.version();
        let Some(existing) = config.get(place) else {
            if version != 0 {
                return Err(format!("attempted to set key {place} to version {version}, but key does not exist"));
            }
            continue;
        };
        if existing.version().checked_add(1) != Some(version) {
            return Err(format!(
                "attempt to set key {place} to version {version}, but key is at version {}",
                existing.version()
            ));
        }
        if existing.mod_policy().is_empty() {
            return Err(format!("unexpected missing policy {} for item {place}", existing.mod_policy()));
        }
        authorized(&place.policy_path(existing.mod_policy()))
            .map_err(|error| format!("policy for {place} not satisfied: {error}"))?;
    }
    Ok(())
}

fn elements(group: Option<&ConfigGroup>) -> Result<Elements<'_>, String> {
    let mut elements = Elements::new();
    if let Some(group) = group {
        let root = Place { kind: Kind::Group, path: vec![ROOT.to_owned()] };
        collect(&root, group, &mut elements)?;
    }
    Ok(elements)
}

fn collect<'a>(place: &Place, group: &'a ConfigGroup, elements: &mut Elements<'a>) -> Result<(), String> {
    if place.path.len() > MAX_DEPTH {
        return Err("groups are nested too deeply".to_owned());
    }
    elements.insert(place.clone(), Element::Group(group));
    for (key, group) in &group.groups {
        check_key(key)?;
        collect(&place.child(Kind::Group, key), group, elements)?;
    }
    for (key, value) in &group.values {
        check_key(key)?;
        elements.insert(place.child(Kind::Value, key), Element::Value(value));
    }
    for (key, policy) in &group.policies {
        check_key(key)?;
        elements.insert(place.child(Kind::Policy, key), Element::Policy(policy));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("config ID illegal, cannot be empty".to_owned());
    }
    if key.len() > 249 {
        return Err("config ID illegal, cannot be longer than 249".to_owned());
    }
    if key == "." || key == ".." {
        return Err(format!("name '{key}' for config ID is not allowed"));
    }
    if !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-') {
        return Err(format!("config ID '{key}' contains illegal characters"));
    }
    Ok(())
}

/// Puts the tree together again: a group has the members that its newest version names, each in its newest version.
fn assemble(place: &Place, elements: &Elements<'_>) -> Result<ConfigGroup, String> {
    let missing = |place: &Place| format!("could not turn configMap back to channelGroup: missing {place}");
    let Some(Element::Group(group)) = elements.get(place) else { return Err(missing(place)) };
    let mut result =
        ConfigGroup { version: group.version, mod_policy: group.mod_policy.clone(), ..ConfigGroup::default() };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn value(version: u64, text: &str) -> ConfigValue {
        ConfigValue { version, value: text.to_owned().into(), mod_policy: "Admins".to_owned() }
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

    fn result(read: &ConfigGroup, write: &ConfigGroup, granted: &[&str]) -> Result<ConfigGroup, String> {
        let update = ConfigUpdate {
            channel_id: "ch".to_owned(),
            read_set: Some(read.clone()),
            write_set: Some(write.clone()),
            ..ConfigUpdate::default()
        };
        updated(
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
        let denied = result(&read, &write, &[]).unwrap_err();
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
            let error = result(&read, &write, &["/Channel/Admins"]).unwrap_err();
            assert!(error.contains(expected), "{error} does not contain {expected}");
        }
        let mut unguarded = value(0, "");
        unguarded.mod_policy.clear();
        let error = result(&root, &group(0, &[("X", unguarded)], &[]), &[]).unwrap_err();
        assert!(error.contains("mod_policy not set"), "{error}");
    }

    #[test]
    fn signatures_do_not_swell() {
        let signature = crate::pb::common::ConfigSignature::default();
        let envelope =
            ConfigUpdateEnvelope { config_update: vec![7; 1 << 20].into(), signatures: vec![signature; 200_000] };
        assert!(signatures(&envelope).is_err());
    }
}
