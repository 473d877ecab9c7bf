//! From JSON to bytes.
//!
//! Source: fabric-config's `protolator/json.go`, Go's `protojson`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::schema::{self, Field, Kind, Shape};
use super::{Beside, JsonError, Type};
use crate::fabric::config::tree::wire;

pub(super) fn message(of: &Type, json: &Value, path: &mut Vec<String>) -> Result<Bytes, JsonError> {
    let object = json.as_object().ok_or_else(|| form(path, "an object is needed"))?;
    let fields = schema::fields(&of.message).ok_or_else(|| JsonError::Unknown { name: of.message.clone() })?;
    if let Some(key) = object.keys().find(|key| fields.iter().all(|field| field.name != **key)) {
        return Err(form(path, &format!("{} has no field {key:?}", of.message)));
    }
    let choices = fields.iter().filter(|field| field.shape == Shape::Choice);
    if choices.filter(|field| object.get(field.name).is_some_and(|value| !value.is_null())).count() > 1 {
        return Err(form(path, "only one of several may be given"));
    }
    let beside = super::beside(of, object);
    let mut out = Vec::new();
    for field in fields {
        let Some(value) = object.get(field.name).filter(|value| !value.is_null()) else { continue };
        path.push(field.name.to_owned());
        put(of, field, value, &beside, &mut out, path)?;
        path.pop();
    }
    Ok(out.into())
}

fn form(path: &[String], reason: &str) -> JsonError {
    JsonError::Form { path: path.join("."), reason: reason.to_owned() }
}

fn put(
    of: &Type,
    field: Field,
    value: &Value,
    beside: &Beside,
    out: &mut Vec<u8>,
    path: &mut Vec<String>,
) -> Result<(), JsonError> {
    match field.shape {
        Shape::Many => {
            let list = value.as_array().ok_or_else(|| form(path, "a list is needed"))?;
            for (at, item) in list.iter().enumerate() {
                path.push(at.to_string());
                let bytes = content(of, field.kind, item, beside, path)?;
                wire::put_message(out, field.number, &bytes);
                path.pop();
            }
        }
        Shape::Map => {
            let entries = value.as_object().ok_or_else(|| form(path, "an object is needed"))?;
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_bytes());
            for (key, value) in entries {
                path.push(key.clone());
                let bytes = match field.kind {
                    Kind::Message(name) => message(&of.entry(name, key), value, path)?,
                    kind => content(of, kind, value, beside, path)?,
                };
                wire::put_entry(out, field.number, key, &bytes);
                path.pop();
            }
        }
        Shape::One | Shape::Choice => match number(field.kind, value, path)? {
            // One of several is written whatever it is.
            Some(0) if field.shape == Shape::Choice => {
                wire::put_varint(out, u64::from(field.number) << 3);
                wire::put_varint(out, 0);
            }
            Some(number) => wire::put_number(out, field.number, number),
            None => {
                let bytes = content(of, field.kind, value, beside, path)?;
                if matches!(field.kind, Kind::Message(_) | Kind::Time) {
                    wire::put_message(out, field.number, &bytes);
                } else {
                    wire::put_bytes(out, field.number, &bytes);
                }
            }
        },
    }
    Ok(())
}

/// The number that a field of numbers holds; `None` for every other field.
fn number(kind: Kind, value: &Value, path: &[String]) -> Result<Option<u64>, JsonError> {
    let wrong = || form(path, "a number in its range is needed");
    let text = value.as_str();
    let signed = || value.as_i64().or_else(|| text?.parse().ok());
    let number = match kind {
        Kind::Small { signed: false } => {
            let number = signed().and_then(|number| u32::try_from(number).ok());
            u64::from(number.ok_or_else(wrong)?)
        }
        Kind::Small { signed: true } => widened(signed().ok_or_else(wrong)?).ok_or_else(wrong)?,
        Kind::Large => value.as_u64().or_else(|| text?.parse().ok()).ok_or_else(wrong)?,
        Kind::Bool => u64::from(value.as_bool().ok_or_else(|| form(path, "true or false is needed"))?),
        Kind::Enum(name) => {
            let named = text.and_then(|text| schema::number_of(name, text)).map(i64::from);
            let number = named.or_else(|| value.as_i64());
            number.and_then(widened).ok_or_else(|| form(path, &format!("{value} is none of {name}")))?
        }
        _ => return Ok(None),
    };
    Ok(Some(number))
}

/// A number of 32 bits; negative ones are written with 64.
fn widened(number: i64) -> Option<u64> {
    i32::try_from(number).ok().map(|number| i64::from(number).cast_unsigned())
}

fn content(of: &Type, kind: Kind, value: &Value, beside: &Beside, path: &mut Vec<String>) -> Result<Bytes, JsonError> {
    let text = || value.as_str().ok_or_else(|| form(path, "text is needed"));
    match kind {
        Kind::Text => Ok(Bytes::from(text()?.to_owned())),
        Kind::Bytes => base64(text()?, path),
        Kind::Time => {
            let time: prost_types::Timestamp = text()?.parse().map_err(|_| form(path, "a time is needed"))?;
            Ok(prost::Message::encode_to_vec(&time).into())
        }
        // An entry of a list that holds no bytes.
        Kind::Nested(_) | Kind::Variable if value.is_null() => Ok(Bytes::new()),
        // What could not be taken apart.
        Kind::Nested(_) | Kind::Variable if value.is_string() => base64(text()?, path),
        Kind::Message(name) | Kind::Nested(name) => message(&Type::of(name), value, path),
        Kind::Variable => match of.variable(beside) {
            Some(name) => message(&Type::of(&name), value, path),
            None => Err(form(path, "it is not known which message this is: give it as base64")),
        },
        Kind::Small { .. } | Kind::Large | Kind::Bool | Kind::Enum(_) => Err(form(path, "numbers are not listed here")),
    }
}

fn base64(text: &str, path: &[String]) -> Result<Bytes, JsonError> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| form(path, "base64 is needed"))
}
