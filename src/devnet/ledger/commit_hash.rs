//! The hash over all that blocks changed, by which peers of a channel can be compared.
//!
//! A file of its own because it is about bytes: what a block changed, in an order on which all peers agree, chained to
//! the hash of the block before. It stands in each block's metadata.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/kv_ledger.go`, `core/ledger/kvledger/txmgmt/txmgr/update_batch_bytes.go`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::state::{Namespace, State, Version};

/// The keys that a block wrote or deleted, where every peer knows of it.
pub(super) type Changed = BTreeSet<(Namespace, String)>;

/// One change. The names are told where they differ from those of the change before.
#[derive(Clone, PartialEq, prost::Message)]
struct Change {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    collection: String,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    #[prost(bool, tag = "4")]
    is_delete: bool,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    version: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Changes {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<Change>,
}

/// The hash of a block with the validation `codes`, whose transactions changed `changed` in `state`.
pub(super) fn of(state: &State, changed: &Changed, codes: &[u8], before: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut length = Vec::new();
    prost::encoding::encode_varint(codes.len() as u64, &mut length);
    hash.update(length);
    hash.update(codes);
    hash.update(changes(state, changed).encode_to_vec());
    hash.update(before);
    hash.finalize().into()
}

/// The keys of one place as their bytes, and as the state has them.
type Keys<'a> = Vec<(Bytes, &'a Namespace, &'a str)>;

fn changes(state: &State, changed: &Changed) -> Changes {
    // By namespace, the public keys before those of the collections.
    let mut sorted: BTreeMap<&str, BTreeMap<&str, Keys<'_>>> = BTreeMap::new();
    for (place, key) in changed {
        let (namespace, collection, raw) = match place {
            Namespace::Public(namespace) => (namespace, "", Bytes::copy_from_slice(key.as_bytes())),
            // Kept in hexadecimal, which sorts alike.
            Namespace::Hashed(namespace, collection) => (namespace, collection.as_str(), unhex(key)),
            Namespace::Private(..) => continue,
        };
        sorted.entry(namespace).or_default().entry(collection).or_default().push((raw, place, key));
    }
    let mut changes = Vec::new();
    for (namespace, collections) in sorted {
        let first = changes.len();
        for (collection, keys) in collections {
            let first = changes.len();
            for (raw, place, key) in keys {
                let Some((version, value)) = state.last(place, key) else { continue };
                changes.push(Change {
                    key: raw,
                    is_delete: value.is_none(),
                    value: value.unwrap_or_default(),
                    version: encoded(version),
                    ..Change::default()
                });
            }
            if let Some(change) = changes.get_mut(first) {
                collection.clone_into(&mut change.collection);
            }
        }
        if let Some(change) = changes.get_mut(first) {
            namespace.clone_into(&mut change.namespace);
        }
    }
    Changes { changes }
}

fn encoded(version: Version) -> Bytes {
    let mut bytes = Vec::new();
    for number in [version.block, version.transaction] {
        let number = number.to_be_bytes();
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        bytes.push(u8::try_from(number.len() - zeros).unwrap_or(u8::MAX));
        bytes.extend(&number[zeros..]);
    }
    bytes.into()
}

fn unhex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}
