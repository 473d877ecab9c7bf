//! JSON as `tsc` reads it: with comments, with commas after the last element, with a byte order mark.
//!
//! A module of its own because a reader of plain JSON refuses most of the `tsconfig.json` files in the world.

use serde_json::Value;

/// The value that a text holds.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&plain(text))
}

/// The same text without what JSON does not know. Lines stay where they are, for messages.
fn plain(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        if char == '"' {
            let end = string_end(rest);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if let Some(length) = comment(rest) {
            out.extend(rest[..length].chars().filter(|char| *char == '\n'));
            rest = &rest[length..];
        } else {
            rest = &rest[char.len_utf8()..];
            let last = char == ',' && closes_next(rest);
            out.push(if last { ' ' } else { char });
        }
    }
    out
}

/// Where the string ends that starts here.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long the comment is that starts here.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        Some(text.find('\n').unwrap_or(text.len()))
    } else {
        let rest = text.strip_prefix("/*")?;
        Some(rest.find("*/").map_or(text.len(), |at| at + 4))
    }
}

/// Whether nothing but a closing bracket follows.
fn closes_next(mut text: &str) -> bool {
    loop {
        text = text.trim_start();
        match comment(text) {
            Some(length) => text = &text[length..],
            None => return text.starts_with(['}', ']']),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_tsc_reads() {
        let table = [
            ("{}", "{}"),
            ("\u{feff}{ /* a */ \"a\": 1, // b\n }", r#"{"a":1}"#),
            ("[1, 2, /* , */ ]", "[1,2]"),
            (r#"{"include": ["src/**/*", "a\"//b",],}"#, r#"{"include":["src/**/*","a\"//b"]}"#),
            ("{\"a\": \"/* no comment */\"} // end", r#"{"a":"/* no comment */"}"#),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).map(|value| value.to_string()).unwrap(), expected, "for {text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "{", "{\"a\" 1}", "[1,,2]", "\"open", "/* open"] {
            assert!(parse(text).is_err(), "for {text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
