//! Private data collections, from the JSON in which they are written.
//!
//! Two dialects: the peer CLI's, and OpsSC's, which takes the peer CLI's keys beside its own (those of the message) and
//! policies in JSON shapes too.
//!
//! Source: Fabric 3.1.5 `internal/peer/chaincode/common.go`, fabric-opssc `common/src/lib/collection_config_lib.ts`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::opssc::{Dialect, signature_policy};
use super::{ApplicationPolicy, PolicyError, dsl};
use crate::pb::common::SignaturePolicyEnvelope;
use crate::pb::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};

fn wrong(reason: impl fmt::Display) -> PolicyError {
    PolicyError::Malformed { reason: format!("collections: {reason}") }
}

/// Reads the file that the peer CLI takes as `--collections-config`. As there: keys in any letter case, unknown ones
/// ignored, a maximum of one peer unless another is given, and no check of what only peers check.
///
/// # Errors
/// [`PolicyError`] where the peer CLI refuses it.
pub fn peer_cli(text: &str) -> Result<CollectionConfigPackage, PolicyError> {
    let items: Option<Vec<Option<Entries>>> = serde_json::from_str(text).map_err(wrong)?;
    let items = items.unwrap_or_default().into_iter();
    let config = items.map(|item| cli_collection(&item.unwrap_or_default())).collect::<Result<_, _>>()?;
    Ok(CollectionConfigPackage { config })
}

/// The entries of an object in the order in which they were written.
#[derive(Default)]
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

fn text(key: &str, value: &Value) -> Result<String, PolicyError> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(format!("{key:?} is no text")))
}

fn count(key: &str, value: &Value) -> Result<i32, PolicyError> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| wrong(format!("{key:?} is no number that fits")))
}

fn blocks(key: &str, value: &Value) -> Result<u64, PolicyError> {
    value.as_u64().ok_or_else(|| wrong(format!("{key:?} is no number that fits")))
}

fn flag(key: &str, value: &Value) -> Result<bool, PolicyError> {
    value.as_bool().ok_or_else(|| wrong(format!("{key:?} is neither true nor false")))
}

fn members(policy: SignaturePolicyEnvelope) -> CollectionPolicyConfig {
    CollectionPolicyConfig { payload: Some(collection_policy_config::Payload::SignaturePolicy(policy)) }
}

fn packed(collection: StaticCollectionConfig) -> CollectionConfig {
    CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(collection)) }
}

fn cli_collection(entries: &Entries) -> Result<CollectionConfig, PolicyError> {
    let mut collection = StaticCollectionConfig { maximum_peer_count: 1, ..Default::default() };
    let mut policy = String::new();
    let mut endorsement = None;
    for (key, value) in &entries.0 {
        let key = key.to_lowercase();
        if value.is_null() {
            match key.as_str() {
                "requiredpeercount" => collection.required_peer_count = 0,
                "maxpeercount" => collection.maximum_peer_count = 1,
                "endorsementpolicy" => endorsement = None,
                _ => {}
            }
            continue;
        }
        match key.as_str() {
            "name" => collection.name = text(&key, value)?,
            "policy" => policy = text(&key, value)?,
            "requiredpeercount" => collection.required_peer_count = count(&key, value)?,
            "maxpeercount" => collection.maximum_peer_count = count(&key, value)?,
            "blocktolive" => collection.block_to_live = blocks(&key, value)?,
            "memberonlyread" => collection.member_only_read = flag(&key, value)?,
            "memberonlywrite" => collection.member_only_write = flag(&key, value)?,
            "endorsementpolicy" => endorsement = Some(cli_endorsement(value)?),
            _ => {}
        }
    }
    collection.member_orgs_policy = Some(members(dsl::parse(&policy)?));
    if let Some((signature, reference)) = endorsement {
        collection.endorsement_policy =
            ApplicationPolicy::parse_flags(&signature, &reference)?.map(|policy| policy.to_message());
    }
    Ok(packed(collection))
}

/// Signature policy and reference of an endorsement policy.
fn cli_endorsement(value: &Value) -> Result<(String, String), PolicyError> {
    let object = value.as_object().ok_or_else(|| wrong("an endorsement policy is no object"))?;
    let mut found = (String::new(), String::new());
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        match key.to_lowercase().as_str() {
            "signaturepolicy" => found.0 = text(key, value)?,
            "channelconfigpolicy" => found.1 = text(key, value)?,
            _ => {}
        }
    }
    Ok(found)
}

/// Reads the collections of an OpsSC proposal, after base64. `None` for `null` and for nothing at all.
///
/// # Errors
/// [`PolicyError`] where OpsSC's agents refuse it.
pub fn opssc(text: &str) -> Result<Option<CollectionConfigPackage>, PolicyError> {
    opssc_items(text, OpsscNames::All)
}

/// Which names of a collection's values are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpsscNames {
    /// Those of the message and those of the peer CLI.
    All,
    /// Those that the original agent knows.
    Original,
}

pub(super) fn opssc_items(text: &str, names: OpsscNames) -> Result<Option<CollectionConfigPackage>, PolicyError> {
    if text.is_empty() {
        return Ok(None);
    }
    let items = match serde_json::from_str(text).map_err(wrong)? {
        Value::Null => return Ok(None),
        Value::Array(items) if !items.is_empty() => items,
        Value::Array(_) => return Err(wrong("the list is empty")),
        _ => return Err(wrong("they are no list")),
    };
    let config = items.iter().map(|item| opssc_collection(item, names)).collect::<Result<_, _>>()?;
    Ok(Some(CollectionConfigPackage { config }))
}

/// The first of the keys that has a value.
fn given<'a>(object: &'a Map<String, Value>, keys: &[&'a str]) -> Option<(&'a str, &'a Value)> {
    keys.iter().find_map(|key| object.get(*key).filter(|value| !value.is_null()).map(|value| (*key, value)))
}

fn read<T: Default>(
    object: &Map<String, Value>,
    keys: &[&str],
    convert: impl Fn(&str, &Value) -> Result<T, PolicyError>,
) -> Result<T, PolicyError> {
    given(object, keys).map_or_else(|| Ok(T::default()), |(key, value)| convert(key, value))
}

fn opssc_collection(value: &Value, names: OpsscNames) -> Result<CollectionConfig, PolicyError> {
    let object = value.as_object().ok_or_else(|| wrong("a collection is no object"))?;
    let name = read(object, &["name"], text)?;
    let (_, policy) = given(object, &["member_orgs_policy", "policy"])
        .ok_or_else(|| wrong(format!("collection {name:?} has no policy")))?;
    // The last name of each list is the peer CLI's.
    let known = |all: &'static [&'static str]| match names {
        OpsscNames::All => all,
        OpsscNames::Original => &all[..all.len() - 1],
    };
    let dialect = names.dialect();
    Ok(packed(StaticCollectionConfig {
        member_orgs_policy: Some(members(signature_policy(policy, dialect)?)),
        required_peer_count: read(object, known(&["required_peer_count", "requiredPeerCount"]), count)?,
        maximum_peer_count: read(object, &["maxPeerCount", "max_peer_count", "maximum_peer_count"], count)?,
        block_to_live: read(object, known(&["block_to_live", "blockToLive"]), blocks)?,
        member_only_read: read(object, known(&["member_only_read", "memberOnlyRead"]), flag)?,
        member_only_write: read(object, known(&["member_only_write", "memberOnlyWrite"]), flag)?,
        endorsement_policy: given(object, known(&["endorsement_policy", "endorsementPolicy"]))
            .map(|(_, value)| opssc_endorsement(value, names))
            .transpose()?
            .flatten()
            .map(|policy| policy.to_message()),
        name,
    }))
}

fn opssc_endorsement(value: &Value, names: OpsscNames) -> Result<Option<ApplicationPolicy>, PolicyError> {
    let object = value.as_object().ok_or_else(|| wrong("an endorsement policy is no object"))?;
    let (signature, reference): (&[&str], &[&str]) = match names {
        OpsscNames::All => {
            (&["signature_policy", "signaturePolicy"], &["channel_config_policy_reference", "channelConfigPolicy"])
        }
        OpsscNames::Original => (&["signature_policy"], &["channel_config_policy_reference"]),
    };
    match (given(object, signature), given(object, reference)) {
        (None, None) => Ok(None),
        (Some((_, policy)), None) => {
            signature_policy(policy, names.dialect()).map(|policy| Some(ApplicationPolicy::Signature(policy)))
        }
        (None, Some((key, path))) => text(key, path).map(|path| Some(ApplicationPolicy::ChannelReference(path))),
        (Some(_), Some(_)) => Err(PolicyError::Both),
    }
}

impl OpsscNames {
    fn dialect(self) -> Dialect {
        match self {
            Self::All => Dialect::Fabric,
            Self::Original => Dialect::Original,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn opssc_takes_both_namings() {
        let snake = r#"[{"name":"c","member_orgs_policy":"OR('A.member')","required_peer_count":1,"maximum_peer_count":2,
            "block_to_live":3,"member_only_read":true,"member_only_write":true,
            "endorsement_policy":{"channel_config_policy_reference":"/Channel/Application/Writers"}}]"#;
        let camel = r#"[{"name":"c","policy":"OR('A.member')","requiredPeerCount":1,"maxPeerCount":2,
            "blockToLive":3,"memberOnlyRead":true,"memberOnlyWrite":true,
            "endorsementPolicy":{"channelConfigPolicy":"/Channel/Application/Writers"}}]"#;
        assert_eq!(opssc(snake).unwrap(), opssc(camel).unwrap());
        assert_eq!(opssc(camel).unwrap().unwrap(), peer_cli(camel).unwrap());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}:,\"a-zA-Z_0-9.' ()-]{0,80}|\\PC{0,40}") {
            let _ = peer_cli(&text);
            let _ = opssc(&text);
        }
    }
}
