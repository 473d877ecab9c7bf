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
        let text = String::from_utf8_lossy(bytes);
        serde_json::from_str::<Option<Self>>(&text)
            .map(Option::unwrap_or_default)
            .map_err(|error| PackageError::Json { name: super::METADATA, reason: error.to_string() })
    }
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
