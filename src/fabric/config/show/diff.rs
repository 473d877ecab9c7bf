//! What differs between two configurations.
//!
//! A module of its own because it is what people look at before they sign: every element that came, went or changed,
//! with its guard, and of values the very fields.

use std::collections::BTreeMap;
use std::fmt;

use super::{guard, leaves, policy_text};
use crate::fabric::config::json;
use crate::fabric::config::tree::{Config, same_value};
use crate::fabric::config::update::{Element, Place, UpdateError, elements};

/// An element that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it lies.
    pub place: Place,
    /// Whether it is in the first configuration.
    pub was: bool,
    /// Whether it is in the second one.
    pub is: bool,
    /// What differs: a field, what it was, what it is.
    pub fields: Vec<(String, Option<String>, Option<String>)>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.was, self.is) {
            (false, _) => '+',
            (true, false) => '-',
            (true, true) => '~',
        };
        write!(f, "{sign} {}", self.place)?;
        for (field, was, is) in &self.fields {
            let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
            match (was, is) {
                (Some(was), Some(is)) => write!(f, "\n    {field}{was} -> {is}")?,
                (None, Some(is)) => write!(f, "\n    + {field}{is}")?,
                (Some(was), None) => write!(f, "\n    - {field}{was}")?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// What differs, by place. Versions do not count, and neither does the order of a map in a value.
///
/// # Errors
/// [`UpdateError::Malformed`] when a configuration has names that cannot be.
pub fn diff(original: &Config, updated: &Config) -> Result<Vec<Change>, UpdateError> {
    let mapped = |reason| UpdateError::Malformed { set: "config", reason };
    let before = elements(original.channel_group.as_ref()).map_err(mapped)?;
    let after = elements(updated.channel_group.as_ref()).map_err(mapped)?;
    let mut places: Vec<&Place> =
        before.keys().chain(after.keys().filter(|place| !before.contains_key(place))).collect();
    places.sort_by(|one, other| one.path().cmp(other.path()).then_with(|| one.cmp(other)));
    let mut changes = Vec::new();
    for place in places {
        let (was, is) = (before.get(place), after.get(place));
        if let (Some(was), Some(is)) = (was, is)
            && same(place, was, is)
        {
            continue;
        }
        let (old, new) = (fields(place, was), fields(place, is));
        let mut fields: Vec<_> = old
            .iter()
            .filter(|(field, text)| new.get(*field) != Some(text))
            .map(|(field, text)| (field.clone(), Some(text.clone()), new.get(field).cloned()))
            .collect();
        let added = new.iter().filter(|(field, _)| !old.contains_key(*field));
        fields.extend(added.map(|(field, text)| (field.clone(), None, Some(text.clone()))));
        changes.push(Change { place: place.clone(), was: was.is_some(), is: is.is_some(), fields });
    }
    Ok(changes)
}

fn same(place: &Place, was: &Element<'_>, is: &Element<'_>) -> bool {
    was.mod_policy() == is.mod_policy()
        && match (was, is) {
            (Element::Value(was), Element::Value(is)) => {
                let name = place.path().last().map_or("", String::as_str);
                same_value(name, &was.value, &is.value)
            }
            (Element::Policy(was), Element::Policy(is)) => was.policy == is.policy,
            // Of groups the members are listed themselves.
            _ => true,
        }
}

/// What an element says, by field.
fn fields(place: &Place, element: Option<&Element<'_>>) -> BTreeMap<String, String> {
    let Some(element) = element else { return BTreeMap::new() };
    let mut fields = BTreeMap::new();
    match element {
        Element::Group(_) => {}
        Element::Policy(policy) => drop(fields.insert(String::new(), policy_text(policy))),
        Element::Value(value) => {
            let (name, parents) = place.path().split_last().map_or(("", &[][..]), |(name, rest)| (name, rest));
            let mut role = "Channel";
            for parent in parents.iter().skip(1) {
                role = json::role_of(role, parent);
            }
            fields.extend(leaves(role, name, &value.value));
        }
    }
    fields.insert("mod_policy".to_owned(), guard(element.mod_policy()).to_owned());
    fields
}
