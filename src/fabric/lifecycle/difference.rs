//! In what two chaincode definitions differ, in words.
//!
//! A module of its own because peers compare bytes and say no more than no: people need to hear which field it is, what
//! stands there, and whether it means the same and is only encoded in another way.

use std::fmt;

use bytes::Bytes;
use prost::Message as _;

use super::ChaincodeDefinition;
use crate::fabric::policy::{ApplicationPolicy, dsl};
use crate::pb::protos::{CollectionConfigPackage, StaticCollectionConfig, collection_config, collection_policy_config};

/// How much of a value is shown.
const SHOWN: usize = 300;
/// How much of a value is compared for its meaning.
const COMPARED: usize = 64 << 10;

/// A field of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The chaincode's name.
    Name,
    /// The sequence.
    Sequence,
    /// The version.
    Version,
    /// The endorsement plugin.
    EndorsementPlugin,
    /// Whether an initialization is required.
    InitRequired,
    /// The validation plugin.
    ValidationPlugin,
    /// The validation parameter, which holds the endorsement policy.
    ValidationParameter,
    /// The private data collections.
    Collections,
    /// The package, which the organizations choose each for itself.
    Package,
}

/// What peers compare as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// Version, endorsement plugin, and whether an initialization is required.
    Endorsement,
    /// Validation plugin and parameter.
    Validation,
    /// The collections.
    Collections,
}

/// A field in which two definitions differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field.
    pub field: Field,
    /// What was wanted, for people.
    pub wanted: String,
    /// What was found, for people.
    pub found: String,
    /// Whether both mean the same and only their bytes differ.
    pub encoding_only: bool,
}

impl Field {
    /// What it is called in a definition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Sequence => "sequence",
            Self::Version => "version",
            Self::EndorsementPlugin => "endorsement plugin",
            Self::InitRequired => "init-required flag",
            Self::ValidationPlugin => "validation plugin",
            Self::ValidationParameter => "validation parameter",
            Self::Collections => "collections",
            Self::Package => "package",
        }
    }

    /// Whether policies lie in it, which can be encoded in more than one way.
    pub fn is_encoded(self) -> bool {
        matches!(self, Self::ValidationParameter | Self::Collections)
    }
}

impl Part {
    /// The part that a peer of Fabric 3 names so.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "EndorsementInfo" => Some(Self::Endorsement),
            "ValidationInfo" => Some(Self::Validation),
            "Collections" => Some(Self::Collections),
            _ => None,
        }
    }

    /// What is in it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endorsement => "version, endorsement plugin or init-required flag",
            Self::Validation => "validation plugin or parameter",
            Self::Collections => "collections",
        }
    }

    /// Whether policies lie in it, which can be encoded in more than one way.
    pub fn is_encoded(self) -> bool {
        matches!(self, Self::Validation | Self::Collections)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, wanted, found, encoding_only } = self;
        if *encoding_only {
            write!(f, "{field} means the same ({found}) in other bytes")
        } else {
            write!(f, "{field} is {found} instead of {wanted}")
        }
    }
}

impl Difference {
    /// A difference in something that has one encoding.
    pub(crate) fn plain(field: Field, wanted: impl fmt::Display, found: impl fmt::Display) -> Self {
        let shown = |value: &dyn fmt::Display| bounded(&value.to_string());
        Self { field, wanted: shown(&wanted), found: shown(&found), encoding_only: false }
    }
}

pub(super) fn between(wanted: &ChaincodeDefinition, found: &ChaincodeDefinition) -> Vec<Difference> {
    let (wanted, found) = (wanted.clone().with_defaults(), found.clone().with_defaults());
    let mut differences = Vec::new();
    let mut plain = |field, wanted: String, found: String| {
        if wanted != found {
            differences.push(Difference::plain(field, wanted, found));
        }
    };
    let quoted = |text: &str| format!("{text:?}");
    plain(Field::Name, wanted.name.to_string(), found.name.to_string());
    plain(Field::Sequence, wanted.sequence.to_string(), found.sequence.to_string());
    plain(Field::Version, quoted(&wanted.version), quoted(&found.version));
    plain(Field::EndorsementPlugin, quoted(&wanted.endorsement_plugin), quoted(&found.endorsement_plugin));
    plain(Field::InitRequired, wanted.init_required.to_string(), found.init_required.to_string());
    plain(Field::ValidationPlugin, quoted(&wanted.validation_plugin), quoted(&found.validation_plugin));
    if wanted.validation_parameter != found.validation_parameter {
        let meaning = |bytes: &Bytes| Meaning::of(|out| parameter(bytes, out));
        let (wanted, found) = (meaning(&wanted.validation_parameter), meaning(&found.validation_parameter));
        differences.push(wanted.against(&found, Field::ValidationParameter));
    }
    if wanted.collections != found.collections {
        let meaning = |package: &Option<_>| Meaning::of(|out| collections(package.as_ref(), out));
        let (wanted, found) = (meaning(&wanted.collections), meaning(&found.collections));
        differences.push(wanted.against(&found, Field::Collections));
    }
    differences
}

/// A text that does not grow without bounds: what stands on a ledger may be long.
struct Meaning {
    text: String,
    cut: bool,
}

impl Meaning {
    fn of(describe: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) -> Self {
        let mut meaning = Self { text: String::new(), cut: false };
        // The only error is that the text is long enough, which is kept there.
        let _ = describe(&mut meaning);
        meaning
    }

    fn against(&self, found: &Self, field: Field) -> Difference {
        let encoding_only = self.text == found.text && !self.cut && !found.cut;
        Difference { field, wanted: bounded(&self.text), found: bounded(&found.text), encoding_only }
    }
}

impl fmt::Write for Meaning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > COMPARED {
            self.cut = true;
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

fn parameter(bytes: &[u8], out: &mut dyn fmt::Write) -> fmt::Result {
    match ApplicationPolicy::decode(bytes) {
        Ok(ApplicationPolicy::ChannelReference(path)) => write!(out, "policy {path:?}"),
        Ok(ApplicationPolicy::Signature(policy)) => dsl::describe(&policy, out),
        Err(_) => {
            out.write_str("bytes ")?;
            bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
    }
}

fn collections(package: Option<&CollectionConfigPackage>, out: &mut dyn fmt::Write) -> fmt::Result {
    let Some(package) = package.filter(|package| !package.config.is_empty()) else { return out.write_str("none") };
    for (at, one) in package.config.iter().enumerate() {
        out.write_str(if at == 0 { "[" } else { "; " })?;
        match &one.payload {
            Some(collection_config::Payload::StaticCollectionConfig(collection)) => {
                collection_in_words(collection, out)?;
            }
            None => out.write_str("an empty one")?,
        }
    }
    out.write_char(']')
}

fn collection_in_words(collection: &StaticCollectionConfig, out: &mut dyn fmt::Write) -> fmt::Result {
    write!(out, "{:?} of ", collection.name)?;
    match collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref()) {
        Some(collection_policy_config::Payload::SignaturePolicy(policy)) => dsl::describe(policy, out)?,
        None => out.write_str("no policy")?,
    }
    write!(
        out,
        ", peers {} to {}, blocks to live {}, member only read {} write {}",
        collection.required_peer_count,
        collection.maximum_peer_count,
        collection.block_to_live,
        collection.member_only_read,
        collection.member_only_write,
    )?;
    // The original agent of OpsSC writes an empty message where there is no policy.
    if let Some(policy) = collection.endorsement_policy.as_ref().filter(|policy| policy.r#type.is_some()) {
        out.write_str(", endorsed by ")?;
        parameter(&policy.encode_to_vec(), out)?;
    }
    Ok(())
}

/// What stands on a ledger may be long.
fn bounded(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::names::ChaincodeName;
    use crate::fabric::policy::{collections, dsl};

    fn definition(policy: &str, collection: &str) -> ChaincodeDefinition {
        let mut definition = ChaincodeDefinition::new(ChaincodeName::parse("cc").unwrap(), "1", 1);
        definition.validation_parameter = ApplicationPolicy::Signature(dsl::parse(policy).unwrap()).encode();
        let collections = format!(r#"[{{"name":"c","policy":"{collection}"}}]"#);
        definition.collections = Some(collections::peer_cli(&collections).unwrap());
        definition
    }

    #[track_caller]
    fn check(found: &ChaincodeDefinition, expected: &[&str]) {
        let wanted = definition("OR('A.member')", "OR('A.member')");
        let shown: Vec<String> = wanted.differences(found).iter().map(ToString::to_string).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let same = definition("OR('A.member')", "OR('A.member')");
        check(&same, &[]);
        check(&ChaincodeDefinition { endorsement_plugin: "escc".into(), ..same.clone() }, &[]);
        let other = ChaincodeDefinition { version: "2".into(), init_required: true, ..same.clone() };
        check(&other, &["version is \"2\" instead of \"1\"", "init-required flag is true instead of false"]);
        let other = definition("OR('A.peer')", "OR('A.member')");
        check(&other, &["validation parameter is OutOf(1, 'A.peer') instead of OutOf(1, 'A.member')"]);
        let other = ChaincodeDefinition { validation_parameter: Bytes::from_static(b"\xff"), ..same.clone() };
        check(&other, &["validation parameter is bytes ff instead of OutOf(1, 'A.member')"]);
        let other = ChaincodeDefinition { collections: None, ..same };
        let shown =
            "[\"c\" of OutOf(1, 'A.member'), peers 0 to 1, blocks to live 0, member only read false write false]";
        check(&other, &[&format!("collections is none instead of {shown}")]);
    }

    #[test]
    fn other_bytes_of_the_same_meaning_are_told_apart() {
        let mut other = definition("OR('A.member')", "OR('A.member')");
        // The version of the policy and the principal's role, written although they are zero.
        other.validation_parameter =
            Bytes::from_static(b"\x0a\x15\x08\0\x12\x08\x12\x06\x08\x01\x12\x02\x08\0\x1a\x07\x12\x05\x0a\x01A\x10\0");
        check(&other, &["validation parameter means the same (OutOf(1, 'A.member')) in other bytes"]);
    }

    #[test]
    fn long_values_are_cut() {
        let long =
            ChaincodeDefinition { version: "x".repeat(1 << 20), ..definition("OR('A.member')", "OR('A.member')") };
        let differences = definition("OR('A.member')", "OR('A.member')").differences(&long);
        assert!(differences[0].to_string().len() < 2 * SHOWN, "{}", differences[0]);
    }
}
