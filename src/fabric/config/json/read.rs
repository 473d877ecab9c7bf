//! From bytes to JSON.
//!
//! Source: fabric-config's `protolator/json.go`, Go's `protojson` with `EmitUnpopulated` and `UseProtoNames`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::schema::{self, Field, Kind, Shape};
use super::{Beside, JsonError, MAX_DEPTH, Type};
use crate::fabric::config::tree::TreeError;
use crate::fabric::config::tree::wire::{self, Field as Wire, Unknown};

/// What was found under a number.
#[derive(Default)]
struct Found {
    varint: Option<u64>,
    bytes: Vec<Vec<u8>>,
}

impl Found {
    /// A message that comes in pieces is the sum of them; of anything else the last counts.
    fn joined(&self) -> Vec<u8> {
        self.bytes.concat()
    }

    fn last(&self) -> &[u8] {
        self.bytes.last().map_or(&[], Vec::as_slice)
    }
}

pub(super) fn message(of: &Type, bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    if depth > MAX_DEPTH {
        return Err(TreeError::Deep.into());
    }
    let fields = schema::fields(&of.message).ok_or_else(|| JsonError::Unknown { name: of.message.clone() })?;
    let mut found: BTreeMap<u32, Found> = BTreeMap::new();
    let choices: Vec<Field> = fields.iter().filter(|field| field.shape == Shape::Choice).copied().collect();
    wire::read(bytes, &mut Unknown::default(), |number, field| {
        if let Some(choice) = choices.iter().find(|choice| choice.number == number) {
            if choice.kind.is_number() != matches!(field, Wire::Varint(_)) {
                return Ok(true);
            }
            // Of several of which one may be there, the last counts.
            for other in choices.iter().filter(|other| other.number != number) {
                found.remove(&other.number);
            }
        }
        let found = found.entry(number).or_default();
        match field {
            Wire::Varint(value) => found.varint = Some(value),
            Wire::Bytes(bytes) => found.bytes.push(bytes.to_vec()),
            Wire::Other => {}
        }
        Ok(true)
    })?;
    let mut object = Map::new();
    // What varies comes last: it depends on the others.
    let (variable, plain): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.kind == Kind::Variable);
    for field in plain.into_iter().chain(variable) {
        let beside = if field.kind == Kind::Variable { super::beside(of, &object) } else { Beside::Nothing };
        let found = found.remove(&field.number);
        if let Some(value) = value(of, field, found, &beside, depth)? {
            object.insert(field.name.to_owned(), value);
        }
    }
    Ok(Value::Object(object))
}

fn value(
    of: &Type,
    field: Field,
    found: Option<Found>,
    beside: &Beside,
    depth: usize,
) -> Result<Option<Value>, JsonError> {
    let one = |found: &Found, bytes: &[u8]| single(of, field.kind, found, bytes, beside, depth);
    Ok(Some(match (field.shape, found) {
        (Shape::Choice, None) => return Ok(None),
        (Shape::Many, found) => {
            let found = found.unwrap_or_default();
            Value::Array(found.bytes.iter().map(|bytes| one(&found, bytes)).collect::<Result<_, _>>()?)
        }
        (Shape::Map, found) => {
            let mut entries = Map::new();
            for entry in &found.unwrap_or_default().bytes {
                let (key, bytes) = wire::entry(entry)?;
                let value = match field.kind {
                    Kind::Message(name) => message(&of.entry(name, &key), &bytes, depth + 1)?,
                    _ => Value::String(STANDARD.encode(&bytes)),
                };
                entries.insert(key, value);
            }
            Value::Object(entries)
        }
        (Shape::One | Shape::Choice, found) => {
            let found = found.unwrap_or_default();
            let bytes = match field.kind {
                Kind::Message(_) | Kind::Time => found.joined(),
                _ => found.last().to_vec(),
            };
            one(&found, &bytes)?
        }
    }))
}

fn single(
    of: &Type,
    kind: Kind,
    found: &Found,
    bytes: &[u8],
    beside: &Beside,
    depth: usize,
) -> Result<Value, JsonError> {
    let varint = found.varint.unwrap_or_default();
    Ok(match kind {
        Kind::Small { signed: true } => wire::to_i32(varint).into(),
        Kind::Small { signed: false } => wire::to_i32(varint).cast_unsigned().into(),
        Kind::Large => varint.to_string().into(),
        Kind::Bool => (varint != 0).into(),
        Kind::Text => wire::text(bytes)?.into(),
        Kind::Bytes => STANDARD.encode(bytes).into(),
        Kind::Enum(name) => {
            let number = wire::to_i32(varint);
            schema::name_of(name, number).map_or_else(|| number.into(), Into::into)
        }
        Kind::Time | Kind::Message(_) if found.bytes.is_empty() => Value::Null,
        Kind::Time => time(bytes).map_or(Value::Null, Into::into),
        Kind::Message(name) => message(&Type::of(name), bytes, depth + 1)?,
        Kind::Nested(_) | Kind::Variable if bytes.is_empty() => Value::Null,
        Kind::Nested(name) => nested(Some(name), bytes, depth)?,
        Kind::Variable => nested(of.variable(beside).as_deref(), bytes, depth)?,
    })
}

/// What cannot be taken apart stays as it is.
fn nested(name: Option<&str>, bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    let read = name.map(|name| message(&Type::of(name), bytes, depth + 1));
    match read {
        Some(Err(JsonError::Tree(TreeError::Deep))) => Err(TreeError::Deep.into()),
        Some(Ok(value)) => Ok(value),
        _ => Ok(Value::String(STANDARD.encode(bytes))),
    }
}

/// A time that can be written; there are some that cannot.
fn time(bytes: &[u8]) -> Option<String> {
    let time = <prost_types::Timestamp as prost::Message>::decode(bytes).ok()?;
    let text = time.to_string();
    (text.parse() == Ok(time)).then_some(text)
}
