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
///
/// Takes time in proportion to the text, whatever it is: a creator may be any bytes.
pub(crate) fn first(text: &[u8]) -> Option<(Block, &[u8])> {
    let mut from = 0;
    let mut known = None;
    loop {
        let begin = find_at_line_start(text, from, BEGIN.as_bytes())? + BEGIN.len();
        if let Some(found) = block(text, begin, &mut known) {
            return Some(found);
        }
        from = begin;
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

/// Where the body of a block lies: the same for all beginnings among the lines that count as headers.
struct Body {
    /// Behind the headers.
    start: usize,
    /// At the first dash, which no body holds: there the block ends, if it is one.
    end: Option<usize>,
    /// The last header that says how to decrypt the body.
    encrypted: Option<usize>,
    /// It was looked at, and is not base64.
    broken: bool,
}

impl Body {
    /// The body of a block whose headers, if it has some, begin at `at`.
    fn find(text: &[u8], mut at: usize) -> Self {
        let mut encrypted = None;
        while at < text.len() {
            let (line, next) = split_line(&text[at..]);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
            if line[..colon].trim_ascii() == b"DEK-Info" {
                encrypted = Some(at);
            }
            at = text.len() - next.len();
        }
        let end = text[at..].iter().position(|byte| *byte == b'-').map(|found| at + found);
        Self { start: at, end, encrypted, broken: false }
    }
}

/// Reads a block whose `BEGIN ` has been passed. `known` is the body that was found last.
fn block<'a>(text: &'a [u8], begin: usize, known: &mut Option<Body>) -> Option<(Block, &'a [u8])> {
    let (line, rest) = split_line(&text[begin..]);
    let label = std::str::from_utf8(line.strip_suffix(DASHES.as_bytes())?).ok()?;
    let headers = text.len() - rest.len();
    let body = match known {
        Some(body) if body.start >= headers => body,
        _ => known.insert(Body::find(text, headers)),
    };
    let end = body.end?;
    let at_line_start = end == body.start || text[end - 1] == b'\n';
    let tail = text[end..].strip_prefix(format!("{END}{label}{DASHES}").as_bytes())?;
    let (remainder, next) = split_line(tail);
    if !at_line_start || !remainder.is_empty() || body.broken {
        return None;
    }
    // It may be a key.
    let letters = text[body.start..end].iter().copied().filter(|byte| !b" \t\r\n".contains(byte));
    let letters = Zeroizing::new(letters.collect::<Vec<u8>>());
    let Ok(der) = STANDARD.decode(&*letters) else {
        body.broken = true;
        return None;
    };
    let encrypted = body.encrypted.is_some_and(|at| at >= headers);
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

fn find_at_line_start(text: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    (from..text.len()).find(|at| (*at == from || text[at - 1] == b'\n') && text[*at..].starts_with(wanted))
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

    #[test]
    fn any_text_is_read_in_one_go() {
        // Each beginning was once followed to the end of the text, which took minutes.
        let begin = |label: &str| format!("-----BEGIN {label}-----\n").repeat(40_000);
        let lines = "a: b\n".repeat(100_000);
        for text in [
            begin("A"),
            begin(":"),
            format!("{}{lines}", begin(":")),
            format!("{}{lines}{}\n-----END :-----\n", begin(":"), "!".repeat(100_000)),
            format!("{}{}\n-----END B-----\n", begin("A:"), "A".repeat(100_000)),
        ] {
            assert!(first(text.as_bytes()).is_none());
        }
    }

    #[test]
    fn headers_belong_to_the_block_that_is_sound() {
        let text = "-----BEGIN :a-----\nDEK-Info: x\n-----BEGIN :b-----\n\neA==\n-----END :b-----\n";
        let (block, _) = first(text.as_bytes()).unwrap();
        assert_eq!((block.label.as_str(), block.encrypted, block.der), (":b", false, b"x".to_vec()));
        let text = text.replace("END :b", "END :a");
        let (block, _) = first(text.as_bytes()).unwrap();
        assert_eq!((block.label.as_str(), block.encrypted), (":a", true));
        let inside = "-----BEGIN A-----\neA==-----END A-----\n";
        assert!(first(inside.as_bytes()).is_none(), "an end in the middle of a line");
    }
}
