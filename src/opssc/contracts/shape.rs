//! Which JSON object a function takes: its fields, their types, and which it must have.
//!
//! The original's contract API does two things with an argument. It reads it into a structure, leniently as Go does:
//! keys in any letter case, null as nothing, objects under a key that comes twice merged. And it holds it against a
//! schema, strictly: exact keys, no others, none missing. An argument must pass both.

use super::json::{Json, parse};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Anything,
    Object(&'static Shape),
}

/// A field: its key, what it holds, whether it must be there.
pub(super) type Field = (&'static str, Kind, bool);

/// An object: the name of its Go type, which the errors show, and its fields.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) go_type: &'static str,
    pub(super) fields: &'static [Field],
}

/// An object that has passed, with the members of all objects that were merged into it.
#[derive(Debug)]
pub(super) struct Object {
    members: Vec<(&'static str, Json)>,
}

impl Shape {
    /// Reads an argument.
    pub(super) fn read(&'static self, argument: &[u8]) -> Result<Object, String> {
        let mistaken = || {
            let shown = String::from_utf8_lossy(argument);
            format!("Conversion error. Value {shown} was not passed in expected format {}", self.go_type)
        };
        let value = parse(argument).map_err(|_| mistaken())?;
        let mut problems = Vec::new();
        self.hold(&value, "", &mut problems);
        let object = self.structure(value).ok_or_else(mistaken)?;
        if problems.is_empty() {
            return Ok(object);
        }
        let numbered = problems.iter().enumerate().map(|(index, problem)| format!("\n{}. {problem}", index + 1));
        Err(format!("Value did not match schema:{}", numbered.collect::<String>()))
    }

    /// Reads leniently; `None` where a field holds another type.
    fn structure(&'static self, value: Json) -> Option<Object> {
        let members = match value {
            Json::Object(members) => members,
            Json::Null => Vec::new(),
            _ => return None,
        };
        let mut object = Object { members: Vec::with_capacity(members.len()) };
        for (key, value) in members {
            let exact = self.fields.iter().find(|(name, ..)| *name == key);
            let field = exact.or_else(|| self.fields.iter().find(|(name, ..)| name.eq_ignore_ascii_case(&key)));
            if let Some((name, kind, _)) = field {
                // Null leaves a field as it was, but a field of any type takes it.
                if value == Json::Null && !matches!(kind, Kind::Anything) {
                    continue;
                }
                kind.takes(&value).then_some(())?;
                object.members.push((name, value));
            }
        }
        Some(object)
    }

    /// Holds a value against the schema. Of keys that come twice it sees the last.
    fn hold(&'static self, value: &Json, path: &str, problems: &mut Vec<String>) {
        // The schema asks nothing of what is no object, so null passes and is then found to be empty.
        let Json::Object(members) = value else { return };
        let at = |key: &str| format!("param0{path}.{key}");
        for (name, kind, required) in self.fields {
            match members.iter().rev().find(|(key, _)| key == name) {
                None if *required => problems.push(format!("param0{path}: {name} is required")),
                None => {}
                Some((_, value)) => match (kind, value) {
                    (Kind::Object(shape), Json::Object(_)) => shape.hold(value, &format!("{path}.{name}"), problems),
                    // The schema of an object asks nothing of what is none.
                    (Kind::Anything | Kind::Object(_), _) => {}
                    (kind, Json::Null) => {
                        problems.push(format!("{}: Invalid type. Expected: {}, given: null", at(name), kind.name()));
                    }
                    _ => {}
                },
            }
        }
        let mut others: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        others.retain(|key| !self.fields.iter().any(|(name, ..)| name == key));
        others.sort_unstable();
        others.dedup();
        problems.extend(others.iter().map(|key| format!("param0{path}: Additional property {key} is not allowed")));
    }
}

impl Kind {
    fn takes(self, value: &Json) -> bool {
        match (self, value) {
            (Self::Anything, value) => value.clone().into_untyped().is_some(),
            (Self::Text, Json::Text(_)) | (Self::Boolean, Json::Bool(_)) => true,
            (Self::Integer, Json::Number(text)) => text.parse::<i64>().is_ok(),
            (Self::Object(shape), value) => shape.structure(value.clone()).is_some(),
            _ => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Anything => "any",
            Self::Object(_) => "object",
        }
    }
}

impl Object {
    fn last(&self, key: &str) -> Option<&Json> {
        self.members.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, key: &str) -> String {
        match self.last(key) {
            Some(Json::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// A whole number; 0 where there is none.
    pub(super) fn integer(&self, key: &str) -> i64 {
        match self.last(key) {
            Some(Json::Number(text)) => text.parse().unwrap_or_default(),
            _ => 0,
        }
    }

    /// A truth value; false where there is none.
    pub(super) fn boolean(&self, key: &str) -> bool {
        matches!(self.last(key), Some(Json::Bool(true)))
    }

    /// A value of any type.
    pub(super) fn anything(&self, key: &str) -> serde_json::Value {
        self.last(key).cloned().and_then(Json::into_untyped).unwrap_or_default()
    }

    /// The object under `key`, merged where the key comes twice.
    pub(super) fn object(&self, key: &str, shape: &'static Shape) -> Self {
        let under = self.members.iter().filter(|(name, _)| *name == key);
        let merged = under.filter_map(|(_, value)| shape.structure(value.clone())).flat_map(|object| object.members);
        Self { members: merged.collect() }
    }
}
