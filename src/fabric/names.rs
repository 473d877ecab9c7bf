//! The names by which Fabric's things are called, as types of their own.
//!
//! A module of its own because every other room speaks of channels, organizations and transactions, and two strings
//! swapped would compile. Each `parse` checks what Fabric checks, so a name that exists is a name that can be used in
//! a path, a URL or a request.
//!
//! Source: Fabric 3.1.5 `common/configtx` (channel names), `core/chaincode/persistence` (labels and package IDs),
//! `protoutil` (transaction IDs).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Why a text is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {shown:?} is not valid: {rule}")]
pub struct NameError {
    kind: &'static str,
    shown: String,
    rule: &'static str,
}

impl NameError {
    fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        // A hostile name may be megabytes long; an error is for reading.
        let shown = if text.chars().count() > 80 {
            text.chars().take(80).chain("…".chars()).collect()
        } else {
            text.to_owned()
        };
        Self { kind, shown, rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` when it follows the rule of this kind of name.
            ///
            /// # Errors
            /// [`NameError`] with the rule that `text` breaks.
            pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(NameError::new($kind, &text, $rule)) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
    };
}

name!(
    /// A channel of Fabric: lower-case letters, digits, dots and dashes, a letter first, at most 249 characters.
    ChannelName,
    "channel name",
    "it must match [a-z][a-z0-9.-]* and have at most 249 characters",
    |text| {
        text.len() <= 249
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-')
    }
);

name!(
    /// An organization as its MSP calls it, such as `Org1MSP`.
    MspId,
    "MSP ID",
    "it must be 1 to 255 printable characters without blanks and slashes",
    |text| {
        (1..=255).contains(&text.len()) && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '/')
    }
);

name!(
    /// A chaincode's name on a channel, such as `basic`.
    ChaincodeName,
    "chaincode name",
    "it must match [A-Za-z0-9_]+([-_][A-Za-z0-9_]+)* and have at most 255 characters",
    |text| {
        text.len() <= 255
            && text.split('-').all(|part| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            })
    }
);

name!(
    /// A chaincode package's label, such as `basic_1.0`.
    Label,
    "package label",
    "it must match [A-Za-z0-9][A-Za-z0-9_.+-]*",
    |text| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c))
    }
);

name!(
    /// An installed package: its label, a colon, and the SHA-256 of its bytes in hex.
    PackageId,
    "package ID",
    "it must be a label, a colon and 64 lower-case hex digits",
    |text| {
        text.split_once(':').is_some_and(|(label, hash)| {
            Label::parse(label).is_ok()
                && hash.len() == 64
                && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    }
);

impl PackageId {
    /// The ID that a peer gives to `package`, the bytes of the package file.
    pub fn of(label: &Label, package: &[u8]) -> Self {
        Self(format!("{label}:{}", hex(&Sha256::digest(package))))
    }

    /// The label, which is what precedes the colon.
    pub fn label(&self) -> &str {
        self.0.split_once(':').map_or("", |(label, _)| label)
    }
}

name!(
    /// A transaction's ID: 64 lower-case hex digits.
    TxId,
    "transaction ID",
    "it must be 64 lower-case hex digits",
    |text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl TxId {
    /// The ID of the transaction that `creator` (a serialized identity) proposes with `nonce`.
    pub fn of(nonce: &[u8], creator: &[u8]) -> Self {
        Self(hex(&Sha256::new().chain_update(nonce).chain_update(creator).finalize()))
    }
}

/// A block's position in its channel, from 0.
pub type BlockNumber = u64;

/// Bytes as lower-case hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_are_fabrics() {
        for (name, valid) in [
            ("ops-channel", true),
            ("a.b", true),
            ("Ops", false),
            ("1a", false),
            ("", false),
            ("../etc", false),
            ("a/b", false),
        ] {
            assert_eq!(ChannelName::parse(name).is_ok(), valid, "for {name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_in_errors() {
        let error = ChannelName::parse("A".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().len() < 300, "{} bytes", error.to_string().len());
    }
}
