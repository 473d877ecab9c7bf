//! A file of settings, in TOML or YAML: the same names as the environment's, in any case, alone or by sections.
//!
//! A module of its own because the file is one more layer below flags and environment, and ends as the same table of
//! names and texts. A key that no setting has is refused, with the setting that is nearest to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::agent::text;

/// A file with more bytes than this is no file of settings.
const LIMIT: u64 = 1 << 20;

/// At most this many characters of a key are shown.
const KEY: usize = 80;

/// What is wrong with a file, and what to do about it.
pub(super) type Trouble = (String, String);

/// Settings by the environment's names.
pub(super) type Table = BTreeMap<String, String>;

/// Reads the file. The table has what could be understood even where there is trouble.
pub(super) fn load(path: &Path, known: &[&str]) -> (Table, Vec<Trouble>) {
    let unreadable = |what: String| (Table::new(), vec![(what, "name a file in TOML or YAML".to_owned())]);
    match std::fs::metadata(path) {
        Ok(found) if found.len() > LIMIT => return unreadable("it is too large".to_owned()),
        Ok(_) => {}
        Err(error) => return unreadable(format!("it cannot be read: {error}")),
    }
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
            parse(&text, is_toml, known)
        }
        Err(error) => unreadable(format!("it cannot be read: {error}")),
    }
}

fn parse(text: &str, is_toml: bool, known: &[&str]) -> (Table, Vec<Trouble>) {
    let (form, node) = if is_toml {
        ("TOML", toml::from_str::<Node>(text).map_err(|error| error.to_string()))
    } else {
        ("YAML", serde_yaml::from_str::<Node>(text).map_err(|error| error.to_string()))
    };
    let mut read = Reading { known, table: Table::new(), troubles: Vec::new() };
    match node {
        // A file of nothing but comments.
        Ok(Node::Nothing) => {}
        Ok(Node::Table(entries)) => read.section("", entries),
        Ok(_) => read.trouble("it holds no settings".to_owned(), "write lines such as admin_mspid: Org1MSP"),
        Err(error) => {
            let error = text::bounded(&error, text::ERROR_LIMIT);
            read.trouble(format!("it is no {form}: {error}"), "mend it at the place that is named");
        }
    }
    (read.table, read.troubles)
}

struct Reading<'a> {
    known: &'a [&'a str],
    table: Table,
    troubles: Vec<Trouble>,
}

impl Reading<'_> {
    fn trouble(&mut self, what: String, remedy: &str) {
        self.troubles.push((what, remedy.to_owned()));
    }

    fn section(&mut self, prefix: &str, entries: Vec<(String, Node)>) {
        for (key, node) in entries {
            let key = text::bounded(&key, KEY);
            let name = format!("{prefix}{}", key.to_uppercase().replace('-', "_"));
            match node {
                Node::Table(entries) => self.section(&format!("{name}_"), entries),
                Node::Nothing => {}
                Node::Refused(what) => self.trouble(format!("{name}: {what}"), "put the value in quotation marks"),
                Node::Value(value) => self.value(&name, value),
            }
        }
    }

    fn value(&mut self, name: &str, value: String) {
        if !self.known.contains(&name) {
            let remedy = match nearest(name, self.known) {
                Some(near) => format!("perhaps {near} is meant"),
                None => "remove it; `opssc-agent config` lists all settings".to_owned(),
            };
            self.troubles.push((format!("{name} is no setting"), remedy));
        } else if let Entry::Vacant(free) = self.table.entry(name.to_owned()) {
            free.insert(value);
        } else {
            self.trouble(format!("{name} is set twice"), "set it once");
        }
    }
}

/// A value of the file.
enum Node {
    Nothing,
    Value(String),
    Table(Vec<(String, Node)>),
    /// Something that no setting can be.
    Refused(String),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Refused("no setting is a number with a fraction".to_owned()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Value(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut values = Vec::new();
        let mut refused = None;
        while let Some(item) = items.next_element()? {
            match item {
                Node::Value(value) if !value.contains(',') => values.push(value),
                Node::Value(_) => refused = Some("an item of a list has a comma".to_owned()),
                Node::Refused(what) => refused = Some(what),
                Node::Nothing | Node::Table(_) => refused = Some("a list holds something that is no text".to_owned()),
            }
        }
        Ok(refused.map_or_else(|| Node::Value(values.join(",")), Node::Refused))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            // YAML's reader takes the last one of a repeated key without a word.
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("{} is there twice", text::bounded(&key, KEY))));
            }
            entries.push((key, map.next_value()?));
        }
        // TOML tells its dates as a map with one key of its own.
        match entries.first() {
            Some((key, _)) if key.starts_with("$__toml_private") => {
                Ok(Node::Refused("no setting is a date".to_owned()))
            }
            _ => Ok(Node::Table(entries)),
        }
    }
}

/// The name that differs from `name` in the fewest letters, unless it differs in too many.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, near) = known.iter().map(|known| (distance(name, known), *known)).min()?;
    (distance <= name.chars().count() / 3).then_some(near)
}

/// How many letters have to be put in, taken out or changed to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in other.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["ADMIN_MSPID", "AGENT_SERVICE_PORT", "GIT_MAX_BYTES", "WS_ENABLED", "ALLOWED_TYPES"];

    #[track_caller]
    fn check(text: &str, is_toml: bool, expected: &[(&str, &str)]) {
        let (table, troubles) = parse(text, is_toml, KNOWN);
        assert!(troubles.is_empty(), "{troubles:?}");
        let table: Vec<_> = table.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(table, expected, "for {text}");
    }

    #[test]
    fn both_forms_say_the_same() {
        let all = [
            ("ADMIN_MSPID", "Org2MSP"),
            ("AGENT_SERVICE_PORT", "5501"),
            ("ALLOWED_TYPES", "golang,ccaas"),
            ("GIT_MAX_BYTES", "5MB"),
            ("WS_ENABLED", "true"),
        ];
        let toml = "admin_mspid = \"Org2MSP\"\nagent-service-port = 5501\nWS_ENABLED = true\n\
                    allowed_types = [\"golang\", \"ccaas\"]\n[git]\nmax_bytes = \"5MB\"\n";
        check(toml, true, &all);
        let yaml = "# words\nadmin_mspid: Org2MSP\nagent-service-port: 5501\nWS_ENABLED: true\n\
                    allowed_types: [golang, ccaas]\ngit:\n  max_bytes: 5MB\n";
        check(yaml, false, &all);
        check("", true, &[]);
        check("# nothing\n", false, &[]);
        check("admin_mspid:\n", false, &[]);
    }

    #[test]
    fn what_is_wrong_is_named_with_a_remedy() {
        let table = [
            ("admin_mspd: a", false, "ADMIN_MSPD is no setting", "perhaps ADMIN_MSPID is meant"),
            ("colour: red", false, "COLOUR is no setting", "remove it"),
            ("ws_enabled: 1.5", false, "WS_ENABLED: no setting is a number with a fraction", "quotation"),
            ("admin_mspid: a\nadmin_mspid: b", false, "admin_mspid is there twice", "mend"),
            ("admin_mspid: a\nADMIN-MSPID: b", false, "ADMIN_MSPID is set twice", "once"),
            ("allowed_types: ['a,b']", false, "ALLOWED_TYPES: an item of a list has a comma", "quotation"),
            ("- a", false, "it holds no settings", "write lines"),
            ("a: [", false, "it is no YAML", "mend"),
            ("a = ", true, "it is no TOML", "mend"),
            ("admin_mspid = 2020-01-01", true, "ADMIN_MSPID: no setting is a date", "quotation"),
        ];
        for (text, is_toml, what, remedy) in table {
            let (_, troubles) = parse(text, is_toml, KNOWN);
            let [(told, advice)] = troubles.as_slice() else { panic!("for {text}: {troubles:?}") };
            assert!(told.contains(what) && advice.contains(remedy), "for {text}: {told}; {advice}");
        }
    }

    #[test]
    fn distances_count_letters() {
        for (one, other, letters) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "abd", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
        assert_eq!(nearest("XYZ", KNOWN), None);
    }

    #[test]
    fn nesting_without_end_is_refused() {
        for (text, is_toml) in
            [("a: ".to_owned() + &"[".repeat(100_000), false), ("a=".to_owned() + &"[".repeat(100_000), true)]
        {
            assert!(!parse(&text, is_toml, KNOWN).1.is_empty());
        }
    }
}
