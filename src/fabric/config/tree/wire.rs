//! The protobuf wire format, field by field.
//!
//! A module of its own because the generated types forget what they do not know, and leave out map values that are
//! empty where Go writes them: a configuration has to come out as it went in.
//!
//! Source: the protobuf encoding; Go's `google.golang.org/protobuf/internal/impl` for what is unknown.

use bytes::Bytes;

use super::TreeError;

/// Groups of the old encoding may lie so deep in each other.
const MAX_OLD_GROUPS: usize = 32;

/// What a field holds, by wire type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed width or a group of the old encoding: nothing here has such.
    Other,
}

/// The fields of a message that no definition here names, as they were received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unknown(Vec<u8>);

impl Unknown {
    pub(crate) fn keep(&mut self, raw: &[u8]) {
        self.0.extend_from_slice(raw);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// Calls `take` with every field of `message`; a field that it does not know goes to `unknown`.
pub(crate) fn read(
    message: &[u8],
    unknown: &mut Unknown,
    mut take: impl FnMut(u32, Field<'_>) -> Result<bool, TreeError>,
) -> Result<(), TreeError> {
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let (number, field) = next(&mut rest)?;
        if !take(number, field)? {
            unknown.keep(&start[..start.len() - rest.len()]);
        }
    }
    Ok(())
}

/// Takes the next field off `rest`, which is not empty.
pub(crate) fn next<'a>(rest: &mut &'a [u8]) -> Result<(u32, Field<'a>), TreeError> {
    let (number, wire_type) = tag(rest)?;
    let field = match wire_type {
        0 => Field::Varint(varint(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| TreeError::Truncated)?;
            Field::Bytes(take(rest, length)?)
        }
        _ => {
            skip(rest, number, wire_type, 0)?;
            Field::Other
        }
    };
    Ok((number, field))
}

fn tag(rest: &mut &[u8]) -> Result<(u32, u8), TreeError> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    let [low, ..] = tag.to_le_bytes();
    Ok((number.ok_or(TreeError::Field)?, low & 7))
}

fn skip(rest: &mut &[u8], number: u32, wire_type: u8, depth: usize) -> Result<(), TreeError> {
    match wire_type {
        0 => varint(rest).map(drop),
        1 => take(rest, 8).map(drop),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| TreeError::Truncated)?;
            take(rest, length).map(drop)
        }
        3 if depth < MAX_OLD_GROUPS => loop {
            match tag(rest)? {
                (end, 4) if end == number => return Ok(()),
                (inner, wire_type) => skip(rest, inner, wire_type, depth + 1)?,
            }
        },
        5 => take(rest, 4).map(drop),
        _ => Err(TreeError::Field),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], TreeError> {
    let (taken, after) = rest.split_at_checked(length).ok_or(TreeError::Truncated)?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, TreeError> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(TreeError::Truncated)?;
        *rest = after;
        // The tenth byte has room for one bit.
        if shift == 63 && byte > 1 {
            return Err(TreeError::Field);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(TreeError::Field)
}

/// Text, which has to be UTF-8 as Go demands.
pub(crate) fn text(bytes: &[u8]) -> Result<String, TreeError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| TreeError::Text)
}

/// A number of 32 bits; what is above is cut off, as Go does.
#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
pub(crate) fn to_i32(value: u64) -> i32 {
    (value as u32).cast_signed()
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// A number, left out when it is zero.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(number) << 3);
        put_varint(out, value);
    }
}

/// Text or bytes, left out when empty.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    if !value.is_empty() {
        put_message(out, number, value);
    }
}

/// A message, written even when it is empty.
pub(crate) fn put_message(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// An entry of a map: key and value are both written whatever they are, as Go does.
pub(crate) fn put_entry(out: &mut Vec<u8>, number: u32, key: &str, value: &[u8]) {
    let mut entry = Vec::with_capacity(key.len() + value.len() + 12);
    put_message(&mut entry, 1, key.as_bytes());
    put_message(&mut entry, 2, value);
    put_message(out, number, &entry);
}

/// Key and value of a map's entry whose value is a message or bytes. Pieces of a message given twice are joined, which
/// merges them.
pub(crate) fn entry(bytes: &[u8]) -> Result<(String, Bytes), TreeError> {
    let mut key = String::new();
    let mut value = Vec::new();
    // Go forgets what else an entry holds.
    read(bytes, &mut Unknown::default(), |number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => key = text(bytes)?,
            (2, Field::Bytes(bytes)) => value.extend_from_slice(bytes),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((key, value.into()))
}
