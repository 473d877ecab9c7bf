//! The little DER that keys and signatures need, as strict as Go's.
//!
//! A module of its own because what counts as an ECDSA signature must be judged exactly as the nodes judge it: a
//! lenient reader would accept transactions that they refuse.
//!
//! Certificates are read elsewhere ([`certificate`](super::certificate)).

/// A value: tag, contents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    /// Tag, length and contents, as they lie.
    pub(crate) whole: &'a [u8],
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The first value of `input` and what follows it; `None` where this is no DER.
pub(crate) fn read(input: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (&tag, rest) = input.split_first()?;
    // Tags above 30 do not occur in what is read here.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let length = rest[..count].iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        // The shortest form only.
        if rest[0] == 0 || length < 0x80 {
            return None;
        }
        (length, &rest[count..])
    };
    if rest.len() < length {
        return None;
    }
    let header = input.len() - rest.len();
    Some((Value { tag, contents: &rest[..length], whole: &input[..header + length] }, &rest[length..]))
}

/// The first value, which must have `tag`.
pub(crate) fn expect(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (value, rest) = read(input)?;
    (value.tag == tag).then_some((value.contents, rest))
}

/// A positive INTEGER in its shortest form, without leading zeros; zero and negative ones are refused.
fn positive(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (contents, rest) = expect(input, INTEGER)?;
    match contents {
        [] | [0] | [0x80..=0xff, ..] => None,
        [0, second, ..] if *second < 0x80 => None,
        [0, digits @ ..] | digits => Some((digits, rest)),
    }
}

/// `r` and `s` of an ECDSA signature in DER. Bytes after the sequence go unnoticed, as they do on the nodes.
pub(crate) fn ecdsa_signature(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (contents, _trailing) = expect(input, SEQUENCE)?;
    let (r, rest) = positive(contents)?;
    let (s, _rest) = positive(rest)?;
    Some((r, s))
}

/// A value of `tag` around `contents`.
pub(crate) fn write(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = contents.len();
    if length < 0x80 {
        out.extend(u8::try_from(length));
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(contents);
    out
}

/// An INTEGER out of big-endian digits.
pub(crate) fn write_integer(digits: &[u8]) -> Vec<u8> {
    let digits = &digits[digits.iter().take_while(|byte| **byte == 0).count()..];
    match digits {
        [] => write(INTEGER, &[0]),
        [0x80..=0xff, ..] => write(INTEGER, &[&[0], digits].concat()),
        digits => write(INTEGER, digits),
    }
}

/// An ECDSA signature out of `r` and `s`.
pub(crate) fn write_ecdsa_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    write(SEQUENCE, &[write_integer(r), write_integer(s)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read_strictly() {
        let good = write_ecdsa_signature(&[0x80, 1], &[7]);
        assert_eq!(ecdsa_signature(&good), Some((&[0x80, 1][..], &[7][..])));
        assert!(ecdsa_signature(&[good, vec![1, 2]].concat()).is_some(), "trailing bytes go unnoticed");
        for (bad, why) in [
            (vec![0x30, 7, 2, 2, 0, 1, 2, 1, 1], "r not in its shortest form"),
            (vec![0x30, 6, 2, 1, 0, 2, 1, 1], "r is zero"),
            (vec![0x30, 6, 2, 1, 0x80, 2, 1, 1], "r is negative"),
            (vec![0x30, 0x81, 6, 2, 1, 1, 2, 1, 1], "length not in its shortest form"),
            (vec![0x31, 6, 2, 1, 1, 2, 1, 1], "not a sequence"),
            (vec![0x30, 9, 2, 1, 1, 2, 1, 1], "cut off"),
        ] {
            assert_eq!(ecdsa_signature(&bad), None, "{why}");
        }
    }
}
