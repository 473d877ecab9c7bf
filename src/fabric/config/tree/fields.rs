//! A message as its fields in the order in which they came: for changing one and leaving the others as they are.
//!
//! A module of its own because values are edited in place: a consenter that is added must not cost what a later Fabric
//! wrote beside it.

use bytes::Bytes;

use super::TreeError;
use super::wire::{self, Field};

/// A message, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(u32, Vec<u8>)>);

impl Fields {
    /// Takes a message apart.
    pub(crate) fn decode(message: &[u8]) -> Result<Self, TreeError> {
        let mut fields = Vec::new();
        let mut rest = message;
        while !rest.is_empty() {
            let start = rest;
            let (number, _) = wire::next(&mut rest)?;
            fields.push((number, start[..start.len() - rest.len()].to_vec()));
        }
        Ok(Self(fields))
    }

    /// Puts it together again.
    pub(crate) fn encode(&self) -> Bytes {
        self.0.iter().flat_map(|(_, raw)| raw).copied().collect()
    }

    /// The contents of all fields of this number that hold bytes.
    pub(crate) fn all(&self, number: u32) -> Vec<Bytes> {
        let of = |raw: &Vec<u8>| match wire::next(&mut raw.as_slice()) {
            Ok((_, Field::Bytes(bytes))) => Some(Bytes::copy_from_slice(bytes)),
            _ => None,
        };
        self.0.iter().filter(|(found, _)| *found == number).filter_map(|(_, raw)| of(raw)).collect()
    }

    /// The content of the last field of this number that holds bytes; empty when there is none.
    pub(crate) fn bytes(&self, number: u32) -> Bytes {
        self.all(number).pop().unwrap_or_default()
    }

    /// Sets a number.
    pub(crate) fn set_number(&mut self, number: u32, value: u64) {
        let mut raw = Vec::new();
        wire::put_number(&mut raw, number, value);
        self.replace(number, if raw.is_empty() { Vec::new() } else { vec![raw] });
    }

    /// Sets text or bytes.
    pub(crate) fn set_bytes(&mut self, number: u32, value: &[u8]) {
        let contents = if value.is_empty() { &[][..] } else { &[value] };
        self.set_all(number, contents.iter().copied());
    }

    /// Sets all of a repeated field.
    pub(crate) fn set_all<'a>(&mut self, number: u32, contents: impl IntoIterator<Item = &'a [u8]>) {
        let raw = contents.into_iter().map(|content| {
            let mut raw = Vec::new();
            wire::put_message(&mut raw, number, content);
            raw
        });
        let raw = raw.collect();
        self.replace(number, raw);
    }

    /// In place of the first of them, else where the order of numbers demands it.
    fn replace(&mut self, number: u32, raw: Vec<Vec<u8>>) {
        let first = self.0.iter().position(|(found, _)| *found == number);
        let at = first.or_else(|| self.0.iter().position(|(found, _)| *found > number)).unwrap_or(self.0.len());
        self.0.retain(|(found, _)| *found != number);
        self.0.splice(at..at, raw.into_iter().map(|raw| (number, raw)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_changes_and_the_rest_stays() {
        let message = [8, 1, 26, 1, b'c', 0xf8, 6, 9];
        let mut fields = Fields::decode(&message).unwrap();
        assert_eq!((fields.bytes(1), fields.bytes(3), fields.bytes(4)), (Bytes::new(), "c".into(), Bytes::new()));
        fields.set_bytes(2, b"b");
        fields.set_all(3, [&b"x"[..], b""]);
        fields.set_number(1, 0);
        assert_eq!(fields.encode(), [18, 1, b'b', 26, 1, b'x', 26, 0, 0xf8, 6, 9][..]);
        assert_eq!(fields.all(3), ["x", ""]);
        assert!(Fields::decode(&[8]).is_err());
    }
}
