//! PEM, read as Go reads it and written as Go writes it.
//!
//! A module of its own because a creator is PEM text inside a message: the bytes decide whether two nodes take an
//! identity for the same. Reading is lenient (text around a block is passed over, the first sound block counts),
//! writing knows one form: 64 columns, LF, no headers.
//!
//! Source: Go's `encoding/pem`, which every Fabric node uses.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Padding is demanded, but what the last character holds beyond the last byte is not looked at.
const STANDARD: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// One PEM block.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// What stands between `BEGIN` and the dashes.
    pub(crate) label: String,
    /// A header says how to decrypt it, as in a key encrypted in the old way.
    pub(crate) encrypted: bool,
    /// The decoded body.
    pub(crate) der: Vec<u8>,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The first sound block of `text` and what follows it; malformed ones before it are passed over.
pub(crate) fn first(text: &[u8]) -> Option<(Block, &[u8])> {
    let mut rest = text;
    loop {
        let start = find_at_line_start(rest, BEGIN.as_bytes())?;
        let after = &rest[start + BEGIN.len()..];
        if let Some(found) = block(after) {
            return Some(found);
        }
        rest = after;
    }
}

/// `der` as a PEM block.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("{BEGIN}{label}{DASHES}\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so any index is a boundary.
        let (line, next) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = next;
    }
    text.push_str(END);
    text.push_str(label);
    text.push_str(DASHES);
    text.push('\n');
    text
}

/// Reads a block whose `BEGIN ` has been passed.
fn block(after: &[u8]) -> Option<(Block, &[u8])> {
    let (line, mut rest) = split_line(after);
    let label = line.strip_suffix(DASHES.as_bytes())?;
    let label = std::str::from_utf8(label).ok()?;
    let mut encrypted = false;
    loop {
        if rest.is_empty() {
            return None;
        }
        let (line, next) = split_line(rest);
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        encrypted |= line[..colon].trim_ascii() == b"DEK-Info";
        rest = next;
    }
    let ending = format!("{END}{label}{DASHES}");
    let end = if rest.starts_with(ending.as_bytes()) { 0 } else { find(rest, format!("\n{ending}").as_bytes())? + 1 };
    let tail = &rest[end + ending.len()..];
    let (remainder, next) = split_line(tail);
    if !remainder.is_empty() {
        return None;
    }
    // It may be a key.
    let body = rest[..end].iter().copied().filter(|byte| !b" \t\r\n".contains(byte));
    let body = Zeroizing::new(body.collect::<Vec<u8>>());
    let der = STANDARD.decode(&*body).ok()?;
    Some((Block { label: label.to_owned(), encrypted, der }, next))
}

/// The first line without its end and trailing blanks, and what follows.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match text.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[text.len()..]),
    };
    let end = line.iter().rposition(|byte| !b" \t\r".contains(byte)).map_or(0, |at| at + 1);
    (&line[..end], rest)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn find_at_line_start(text: &[u8], wanted: &[u8]) -> Option<usize> {
    (0..text.len()).find(|at| (*at == 0 || text[at - 1] == b'\n') && text[*at..].starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        let der: Vec<u8> = (0..200).collect();
        let text = encode("THING", &der);
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
        let around = format!("before\r\n{}after", text.replace('\n', "\r\n"));
        let (block, rest) = first(around.as_bytes()).unwrap();
        assert_eq!((block.label.as_str(), block.der, rest), ("THING", der, "after".as_bytes()));
    }

    #[test]
    fn passes_over_malformed_blocks() {
        let text = format!("-----BEGIN A-----\n!!\n-----END A-----\n{}", encode("B", b"x"));
        assert_eq!(first(text.as_bytes()).unwrap().0.label, "B");
        assert!(first(b"garbage").is_none());
        assert!(first(b"-----BEGIN A-----").is_none());
    }
}
