//! `metadata.json`.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::PackageError;
use crate::fabric::names::Label;

/// What a package says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) kind: String,
    pub(super) path: String,
    pub(super) label: String,
}

impl Metadata {
    /// Reads it as the peers do: keys in any letter case, unknown ones ignored, `null` as if absent.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let text = parsable(bytes);
        serde_json::from_str::<Option<Self>>(&text)
            .map(Option::unwrap_or_default)
            .map_err(|error| PackageError::Json { name: super::METADATA, reason: error.to_string() })
    }
}

/// JSON with what Go's parser lets pass and ours does not replaced, as Go replaces it.
pub(super) fn parsable(bytes: &[u8]) -> String {
    without_lone_surrogates(&String::from_utf8_lossy(bytes))
}

/// Go takes the escape of half a character for U+FFFD; the parser here refuses it.
fn without_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(slash) = rest.find('\\') {
        let at = text.len() - rest.len() + slash;
        let length = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => 0,
            (Some(_), _) => 6,
            // Any other escape is two characters long.
            (None, _) => 1 + rest[slash + 1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..slash]);
        if length == 0 {
            out.push('\u{fffd}');
            rest = &rest[slash + 6..];
        } else {
            out.push_str(&rest[slash..slash + length]);
            rest = &rest[slash + length..];
        }
    }
    out.push_str(rest);
    out
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = Metadata::default();
                while let Some(key) = map.next_key::<String>()? {
                    let field = match key.to_ascii_lowercase().as_str() {
                        "type" => &mut metadata.kind,
                        "path" => &mut metadata.path,
                        "label" => &mut metadata.label,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if let Some(value) = map.next_value::<Option<String>>()? {
                        *field = value;
                    }
                }
                Ok(metadata)
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// The form that OpsSC writes: type and label in this order, no path, a newline at the end.
pub(super) fn opssc(kind: &str, label: &Label) -> String {
    #[derive(Serialize)]
    struct Written<'a> {
        r#type: &'a str,
        label: &'a str,
    }
    let written = Written { r#type: kind, label: label.as_str() };
    // Strings always have a JSON form.
    format!("{}\n", serde_json::to_string(&written).unwrap_or_default())
}

/// The form that the `peer` command writes: one line, without its end, `&`, `<` and `>` escaped as Go does.
pub(super) fn peer(path: &str, kind: &str, label: &Label) -> String {
    #[derive(Serialize)]
    struct Written<'a> {
        path: &'a str,
        r#type: &'a str,
        label: &'a str,
    }
    let written = Written { path, r#type: kind, label: label.as_str() };
    // Strings always have a JSON form. What is escaped stands inside of strings only.
    let json = serde_json::to_string(&written).unwrap_or_default();
    let escapes =
        [('&', "\\u0026"), ('<', "\\u003c"), ('>', "\\u003e"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    escapes.iter().fold(json, |json, (char, escape)| json.replace(*char, escape))
}
