//! Composite keys: several texts in one key of the state, so that all keys that begin with some of them lie together.
//!
//! A module of its own because both ends need it: the stubs to build keys and ranges, the contracts' callers to read the
//! keys that a contract hands out (`GetAllProposals` answers with them).
//!
//! Invariant: [`split`] undoes [`key`]; a composite key begins with U+0000 and a simple key never does, so no range of
//! one kind holds keys of the other.
//!
//! Source: fabric-chaincode-go v2, `shim/stub.go`.

use super::StubError;

/// What a composite key begins with, and what ends each of its parts.
const SEPARATOR: char = '\0';
/// Above every part, so it closes the range of a prefix.
const CEILING: char = '\u{10FFFF}';
/// Where a range of simple keys begins that is open at its start: just behind the composite keys.
const FIRST_SIMPLE: &str = "\u{1}";

/// The composite key of `object_type` and `attributes`.
///
/// # Errors
/// [`StubError::InvalidKey`] where a part holds U+0000 or U+10FFFF.
pub fn key<A: AsRef<str>>(object_type: &str, attributes: &[A]) -> Result<String, StubError> {
    let parts = || std::iter::once(object_type).chain(attributes.iter().map(AsRef::as_ref));
    let mut key = String::with_capacity(1 + parts().map(|part| part.len() + 1).sum::<usize>());
    key.push(SEPARATOR);
    for part in parts() {
        if let Some((at, found)) = part.char_indices().find(|(_, c)| [SEPARATOR, CEILING].contains(c)) {
            return Err(StubError::InvalidKey(format!(
                "input contains unicode U+{:04X} starting at position [{at}]. U+0000 and U+10FFFF are not allowed in \
                 the input attribute of a composite key",
                u32::from(found)
            )));
        }
        key.push_str(part);
        key.push(SEPARATOR);
    }
    Ok(key)
}

/// The object type and the attributes of a composite key, or `None` where `key` is none.
pub fn split(key: &str) -> Option<(&str, Vec<&str>)> {
    let mut parts = key.strip_prefix(SEPARATOR)?.strip_suffix(SEPARATOR)?.split(SEPARATOR);
    let object_type = parts.next()?;
    Some((object_type, parts.collect()))
}

/// The range (start included, end excluded) of all composite keys that begin with `object_type` and `attributes`.
///
/// # Errors
/// As [`key`].
pub fn range<A: AsRef<str>>(object_type: &str, attributes: &[A]) -> Result<(String, String), StubError> {
    let start = key(object_type, attributes)?;
    let end = format!("{start}{CEILING}");
    Ok((start, end))
}

/// A range of simple keys as it is asked of the peer: an open start lies behind the composite keys.
///
/// # Errors
/// [`StubError::InvalidKey`] where an end of the range is a composite key.
pub fn simple_range<'a>(start: &'a str, end: &'a str) -> Result<(&'a str, &'a str), StubError> {
    if start.starts_with(SEPARATOR) || end.starts_with(SEPARATOR) {
        return Err(StubError::InvalidKey("a range of simple keys begins or ends with U+0000".to_owned()));
    }
    Ok((if start.is_empty() { FIRST_SIMPLE } else { start }, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fabrics() {
        assert_eq!(key("proposal", &["p1"]), Ok("\0proposal\0p1\0".to_owned()));
        assert_eq!(key::<&str>("channel", &[]), Ok("\0channel\0".to_owned()));
        assert_eq!(key("history", &["", "vote"]), Ok("\0history\0\0vote\0".to_owned()));
        assert_eq!(range("history", &["p"]), Ok(("\0history\0p\0".into(), "\0history\0p\0\u{10FFFF}".into())));
    }

    #[test]
    fn split_undoes_key() {
        for parts in [&["a"][..], &["a", "b", "c"], &["a", "", ""], &["ä", "\u{FFFF}"], &[""]] {
            let key = key(parts[0], &parts[1..]).unwrap();
            assert_eq!(split(&key), Some((parts[0], parts[1..].to_vec())), "for {parts:?}");
        }
        for other in ["", "votingConfig", "\0", "\0a", "a\0"] {
            assert_eq!(split(other), None, "for {other:?}");
        }
    }

    #[test]
    fn separators_cannot_be_smuggled_in() {
        for hostile in ["a\0b", "\0", "\u{10FFFF}", "a\u{10FFFF}"] {
            assert!(matches!(key("proposal", &[hostile]), Err(StubError::InvalidKey(_))), "for {hostile:?}");
            assert!(matches!(key::<&str>(hostile, &[]), Err(StubError::InvalidKey(_))), "for {hostile:?}");
        }
        assert!(simple_range("\0proposal", "").is_err());
        assert_eq!(simple_range("", ""), Ok(("\u{1}", "")));
    }
}
