//! Differences between what two networks answered, and the list of those that are known.
//!
//! The list is `src/devnet/differences.md`, a part of the embedded network's documentation: each row of its table names
//! places by a pattern in which `*` stands for anything. A difference without a row fails the test, and so does a row
//! without a difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

const LIST: &str = include_str!("../../src/devnet/differences.md");

/// What two networks answered at one place.
#[derive(Debug)]
pub struct Difference {
    /// The step, and where in what came of it: `step / said / 1`.
    pub place: String,
    pub embedded: Value,
    pub fabric: Value,
}

/// All places where two values differ.
pub fn between(place: &str, embedded: &Value, fabric: &Value, found: &mut Vec<Difference>) {
    let inside = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place} / {name}") };
    match (embedded, fabric) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                let (one, other) = (one.get(name).unwrap_or(&Value::Null), other.get(name).unwrap_or(&Value::Null));
                between(&inside(name), one, other, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                between(&inside(&index.to_string()), one, other, found);
            }
        }
        _ if embedded == fabric => {}
        _ => found.push(Difference { place: place.to_owned(), embedded: embedded.clone(), fabric: fabric.clone() }),
    }
}

/// The patterns of the list.
fn listed() -> Vec<&'static str> {
    let rows = LIST.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(pattern, _)| pattern).collect()
}

/// Whether a pattern, in which `*` stands for anything, is that of a place.
fn matches(pattern: &str, place: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == place };
    let Some(tail) = place.strip_prefix(head) else { return false };
    tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| matches(rest, &tail[at..]))
}

/// Fails unless these differences are those of the list.
#[track_caller]
pub fn hold(differences: &[Difference]) {
    let patterns = listed();
    assert!(!patterns.is_empty(), "the list has no rows: its form has changed");
    let mut complaints = String::new();
    for Difference { place, embedded, fabric } in differences {
        if !patterns.iter().any(|pattern| matches(pattern, place)) {
            let _ = writeln!(complaints, "not listed: {place}\n  embedded: {embedded}\n  Fabric:   {fabric}");
        }
    }
    for pattern in patterns {
        if !differences.iter().any(|difference| matches(pattern, &difference.place)) {
            let _ = writeln!(complaints, "listed, but there is no such difference any more: {pattern}");
        }
    }
    assert!(complaints.is_empty(), "differences between the embedded network and Fabric:\n{complaints}");
}

#[test]
fn patterns_match_places() {
    for (pattern, place, expected) in [
        ("a / b", "a / b", true),
        ("a / b", "a / b / c", false),
        ("a / *", "a / b / c", true),
        ("* / said / 1", "install: empty / said / 1", true),
        ("* / said / 1", "install: empty / said / 2", false),
        ("a*c*", "abcd", true),
        ("a*c", "abcd", false),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, place), expected, "{pattern} for {place}");
    }
}

#[test]
fn differences_are_found_where_they_are() {
    let one = serde_json::json!({"a": {"said": [200, "x"]}, "b": 1, "c": [1]});
    let other = serde_json::json!({"a": {"said": [200, "y"]}, "c": [1, 2], "d": null});
    let mut found = Vec::new();
    between("", &one, &other, &mut found);
    let places: Vec<_> = found.iter().map(|difference| difference.place.as_str()).collect();
    assert_eq!(places, ["a / said / 1", "b", "c"]);
}
