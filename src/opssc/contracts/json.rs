//! JSON as Go's `encoding/json` reads and writes it.
//!
//! Endorsers of other organizations may run the original contracts; what ours writes must equal theirs byte for byte.
//! serde writes the fields, [`encode`] what is between them: `<`, `>`, `&`, U+2028 and U+2029 escaped, floating point
//! numbers in Go's form. [`parse`] takes what Go takes: bytes that are no UTF-8 and lone surrogates become U+FFFD, keys
//! may come twice.
//!
//! One difference: Go takes values nested 10,000 deep, we take [`DEPTH`] levels.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// How deep values may be nested.
pub(super) const DEPTH: usize = 200;

/// A value as it was written: keys in their order and perhaps more than once, numbers as text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// That a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not JSON from byte {0} on")]
pub(super) struct NotJson(usize);

/// Reads one value.
pub(super) fn parse(text: &[u8]) -> Result<Json, NotJson> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at == text.len() { Ok(value) } else { Err(NotJson(parser.at)) }
}

impl Json {
    /// The same value for serde: of keys that come twice the last counts.
    pub(super) fn into_value(self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(text) => match text.parse::<i64>() {
                // Only a floating point number can be minus zero.
                Ok(number) if text != "-0" => number.into(),
                _ => float(&text),
            },
            Self::Text(text) => Value::String(text),
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Object(members) => {
                Value::Object(members.into_iter().map(|(key, value)| (key, value.into_value())).collect())
            }
        }
    }

    /// The same with every number in floating point, as Go holds a value whose type it does not know. `None` where a
    /// number is too big for that.
    pub(super) fn into_untyped(self) -> Option<serde_json::Value> {
        use serde_json::Value;
        Some(match self {
            Self::Number(text) => Some(float(&text)).filter(|value| !value.is_null())?,
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_untyped).collect::<Option<_>>()?),
            Self::Object(members) => Value::Object(
                members.into_iter().map(|(key, value)| Some((key, value.into_untyped()?))).collect::<Option<_>>()?,
            ),
            other => other.into_value(),
        })
    }
}

/// The nearest floating point number; null where there is none.
fn float(text: &str) -> serde_json::Value {
    text.parse().ok().and_then(serde_json::Number::from_f64).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

/// Bytes as Go makes text of them: each byte that belongs to no character becomes U+FFFD.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn error<T>(&self) -> Result<T, NotJson> {
        Err(NotJson(self.at))
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn skip(&mut self, word: &[u8]) -> Result<(), NotJson> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        self.error()
    }

    fn value(&mut self, depth: usize) -> Result<Json, NotJson> {
        if depth > DEPTH {
            return self.error();
        }
        self.blanks();
        match self.peek() {
            Some(b'n') => self.skip(b"null").map(|()| Json::Null),
            Some(b't') => self.skip(b"true").map(|()| Json::Bool(true)),
            Some(b'f') => self.skip(b"false").map(|()| Json::Bool(false)),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b'[') => {
                let mut items = Vec::new();
                self.members(b']', |parser| {
                    items.push(parser.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Json::List(items))
            }
            Some(b'{') => {
                let mut members = Vec::new();
                self.members(b'}', |parser| {
                    parser.blanks();
                    let key = parser.string()?;
                    parser.blanks();
                    parser.skip(b":")?;
                    members.push((key, parser.value(depth + 1)?));
                    Ok(())
                })?;
                Ok(Json::Object(members))
            }
            _ => self.error(),
        }
    }

    /// What stands between a bracket and the one that closes it, separated by commas.
    fn members(&mut self, close: u8, mut member: impl FnMut(&mut Self) -> Result<(), NotJson>) -> Result<(), NotJson> {
        self.at += 1;
        self.blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            member(self)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(other) if other == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.error(),
            }
        }
    }

    fn number(&mut self) -> Result<String, NotJson> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.text[start..self.at].iter().copied().map(char::from).collect())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.error() } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, NotJson> {
        self.skip(b"\"")?;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len());
            text.push_str(&text_of(&rest[..plain]));
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => return self.error(),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, NotJson> {
        let escaped = match self.peek() {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let high = self.hex()?;
                let after = self.at;
                if (0xD800..0xDC00).contains(&high) && self.skip(b"\\u").is_ok() {
                    let low = self.hex()?;
                    if (0xDC00..0xE000).contains(&low) {
                        let joined = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                        return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    // Not its other half: it is read again for itself.
                    self.at = after;
                }
                return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => return self.error(),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn hex(&mut self) -> Result<u32, NotJson> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return self.error() };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

/// Writes `value` as Go would.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Go));
    // Only a map whose keys are no texts, or a failing writer, is an error; the contracts have neither.
    debug_assert!(written.is_ok(), "{written:?}");
    bytes
}

/// Go's way of writing what is inside texts and numbers.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut written = 0;
        // U+2028 and U+2029 are the bytes E2 80 A8 and E2 80 A9.
        let special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&' | 0xE2);
        let mut from = 0;
        while let Some(found) = fragment.as_bytes()[from..].iter().position(special) {
            let at = from + found;
            let c = fragment[at..].chars().next().unwrap_or_default();
            from = at + c.len_utf8();
            if matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                writer.write_all(&fragment.as_bytes()[written..at])?;
                write!(writer, "\\u{:04x}", u32::from(c))?;
                written = from;
            }
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size != 0.0 && !(1e-6..1e21).contains(&size) {
            let text = format!("{value:e}");
            // Go writes a plus sign in front of a positive exponent.
            return match text.split_once('e') {
                Some((digits, exponent)) if !exponent.starts_with('-') => write!(writer, "{digits}e+{exponent}"),
                _ => writer.write_all(text.as_bytes()),
            };
        }
        write!(writer, "{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match parse(text.as_bytes()) {
            Ok(value) => match value.into_untyped() {
                Some(value) => String::from_utf8(encode(&value)).unwrap(),
                None => "error: a number is too big".to_owned(),
            },
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown, expected, "for {text}");
    }

    #[test]
    fn values_are_written_as_go_does() {
        check(r#" { "b" : 1 , "a" : [ true , false , null ] } "#, r#"{"a":[true,false,null],"b":1}"#);
        check(r#"{"a":1,"a":{"c":"x"}}"#, r#"{"a":{"c":"x"}}"#);
        check(
            r#""<a href=\"x\">&\u2028\u2029é\u0000\b\f\u001f\u007f\/""#,
            "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\u2028\\u2029é\\u0000\\b\\f\\u001f\u{7f}/\"",
        );
        check(r#""\ud83d\ude00 \ud83d \ude00 \ud83dx \ud83d\u0041""#, "\"😀 � � �x �A\"");
        check("[]", "[]");
        check("{}", "{}");
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        check(
            "[1,1.0,1e2,-0,0.1,123456789012345678,1e20,1e21,1e-6,1e-7,1.5e300,5e-324]",
            "[1,1,100,-0,0.1,123456789012345680,100000000000000000000,1e+21,0.000001,1e-7,1.5e+300,5e-324]",
        );
        check("9223372036854775807", "9223372036854776000");
        check("1e999", "error: a number is too big");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "nulll",
            "\"",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12\"",
            "{} {}",
            "{a:1}",
            "'a'",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "for {text}");
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn bytes_that_are_no_utf8_become_replacement_characters() {
        assert_eq!(parse(b"\"a\xff\xe2\x82b\""), Ok(Json::Text("a\u{FFFD}\u{FFFD}\u{FFFD}b".into())));
        assert_eq!(text_of(b"\xed\xa0\x80"), "\u{FFFD}\u{FFFD}\u{FFFD}");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn texts_survive(text: String) {
            let written = encode(&text);
            proptest::prop_assert_eq!(parse(&written), Ok(Json::Text(text)));
        }
    }
}
