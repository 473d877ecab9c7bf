//! Elements of a configuration by their place.
//!
//! A module of its own because applying an update, showing a difference and counting signatures all walk the tree the
//! same way.
//!
//! Source: Fabric 3.1.5 `common/configtx/configmap.go`.

use std::collections::BTreeMap;

use crate::fabric::config::tree::{ConfigGroup, ConfigPolicy, ConfigValue};

/// The name of the configuration's root.
pub(crate) const ROOT: &str = "Channel";

/// Where an element lies. Shown as Fabric shows it, such as `[Value]  /Channel/Application/Org1MSP/AnchorPeers`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    kind: Kind,
    path: Vec<String>,
}

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A group.
    Group,
    /// A value.
    Value,
    /// A policy.
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
    pub(crate) fn root() -> Self {
        Self { kind: Kind::Group, path: vec![ROOT.to_owned()] }
    }

    pub(crate) fn child(&self, kind: Kind, key: &str) -> Self {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        Self { kind, path }
    }

    /// What lies there.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names on the way there, from `Channel`.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// The full path of the policy that guards a change of this element.
    pub(crate) fn policy_path(&self, mod_policy: &str) -> String {
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

/// One element of a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Element<'a> {
    Group(&'a ConfigGroup),
    Value(&'a ConfigValue),
    Policy(&'a ConfigPolicy),
}

impl Element<'_> {
    pub(crate) fn version(&self) -> u64 {
        match self {
            Self::Group(group) => group.version,
            Self::Value(value) => value.version,
            Self::Policy(policy) => policy.version,
        }
    }

    pub(crate) fn mod_policy(&self) -> &str {
        match self {
            Self::Group(group) => &group.mod_policy,
            Self::Value(value) => &value.mod_policy,
            Self::Policy(policy) => &policy.mod_policy,
        }
    }
}

/// All elements of a configuration by their place.
pub(crate) type Elements<'a> = BTreeMap<Place, Element<'a>>;

/// All elements at and below the root.
pub(crate) fn elements(group: Option<&ConfigGroup>) -> Result<Elements<'_>, String> {
    let mut elements = Elements::new();
    if let Some(group) = group {
        collect(&Place::root(), group, &mut elements)?;
    }
    Ok(elements)
}

fn collect<'a>(place: &Place, group: &'a ConfigGroup, elements: &mut Elements<'a>) -> Result<(), String> {
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

/// That a name may stand in a configuration.
pub(crate) fn check_key(key: &str) -> Result<(), String> {
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
