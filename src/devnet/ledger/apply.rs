//! What a valid transaction changes.
//!
//! A file of its own because value and metadata of a key are written apart and kept together: what a transaction does
//! not say of a key is taken from what was there.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/validation/{tx_ops,batch_preparer}.go`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::commit_hash::Changed;
use super::results::Write;
use super::rwset::ReadWriteSet;
use super::state::{Metadata, Namespace, State, Version, Versioned, View};
use crate::fabric::names::hex;
use crate::pb::kvrwset::{self, KvMetadataEntry};

/// What a transaction wrote to one collection that this peer holds.
#[derive(Debug)]
pub(super) struct PrivateSet {
    pub(super) namespace: String,
    pub(super) collection: String,
    pub(super) set: Bytes,
}

/// What a transaction does to a key; what is absent stays.
#[derive(Debug, Default)]
struct Change {
    value: Option<Write>,
    metadata: Option<Metadata>,
}

/// A key of a collection, by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PrivateKey {
    pub(super) namespace: String,
    pub(super) collection: String,
    pub(super) key: String,
}

impl PrivateKey {
    fn private(&self) -> Namespace {
        Namespace::Private(self.namespace.clone(), self.collection.clone())
    }

    fn hashed(&self) -> Namespace {
        Namespace::Hashed(self.namespace.clone(), self.collection.clone())
    }

    fn hash(&self) -> String {
        hex(&Sha256::digest(&self.key))
    }
}

/// What the transactions of a block did.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// The keys that were written or deleted, where every peer knows of it.
    pub(super) changed: Changed,
    /// The keys of collections whose metadata were set, for [`follow_hashes`].
    guarded: Vec<PrivateKey>,
}

/// Applies a valid transaction, with the private sets that this peer holds and whose hashes are those in it.
pub(super) fn apply(
    state: &mut State,
    set: &ReadWriteSet,
    version: Version,
    private: &[PrivateSet],
    applied: &mut Applied,
) {
    for in_namespace in &set.namespaces {
        let public = &in_namespace.public;
        let writes = public.writes.iter().map(|write| (write.key.clone(), value_of(write)));
        let metadata = public.metadata_writes.iter().map(|write| (write.key.clone(), metadata_of(&write.entries)));
        let namespace = Namespace::Public(in_namespace.name.clone());
        change(state, &namespace, version, writes, metadata, &mut applied.changed);
        for collection in &in_namespace.collections {
            let namespace = Namespace::Hashed(in_namespace.name.clone(), collection.name.clone());
            let hashed = &collection.hashed;
            let writes = hashed.hashed_writes.iter().map(|write| (hex(&write.key_hash), hash_of(write)));
            let metadata =
                hashed.metadata_writes.iter().map(|write| (hex(&write.key_hash), metadata_of(&write.entries)));
            change(state, &namespace, version, writes, metadata, &mut applied.changed);
        }
    }
    for PrivateSet { namespace, collection, set } in private {
        let Ok(set) = kvrwset::KvrwSet::decode(set.clone()) else { continue };
        let names = Namespace::Private(namespace.clone(), collection.clone());
        for write in &set.writes {
            state.put(&names, &write.key, version, value_of(write), Metadata::default());
        }
        applied.guarded.extend(set.metadata_writes.into_iter().map(|write| PrivateKey {
            namespace: namespace.clone(),
            collection: collection.clone(),
            key: write.key,
        }));
    }
}

fn change(
    state: &mut State,
    namespace: &Namespace,
    version: Version,
    writes: impl Iterator<Item = (String, Option<Bytes>)>,
    metadata: impl Iterator<Item = (String, Metadata)>,
    changed: &mut Changed,
) {
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for (key, value) in writes {
        changes.entry(key).or_default().value = Some(value);
    }
    for (key, metadata) in metadata {
        changes.entry(key).or_default().metadata = Some(metadata);
    }
    for (key, change) in changes {
        // A key that is not there gets no metadata.
        if change.value.is_none() && latest(state, namespace, &key, version.block).is_none() {
            continue;
        }
        changed.insert((namespace.clone(), key.clone()));
        match (change.value, change.metadata) {
            (Some(None), _) => state.put(namespace, &key, version, None, Metadata::default()),
            (Some(value), Some(metadata)) => state.put(namespace, &key, version, value, metadata),
            (Some(value), None) => {
                let metadata = latest(state, namespace, &key, version.block).map(|known| known.metadata);
                state.put(namespace, &key, version, value, metadata.unwrap_or_default());
            }
            (None, Some(metadata)) => {
                if let Some(known) = latest(state, namespace, &key, version.block) {
                    state.put_metadata(namespace, &key, version, known.value, metadata);
                }
            }
            (None, None) => {}
        }
    }
}

/// What was there. Of a key that an earlier transaction of the block deleted, Fabric takes what was before the block.
fn latest(state: &State, namespace: &Namespace, key: &str, block: u64) -> Option<Versioned> {
    state.get(namespace, key, View::Latest).or_else(|| state.get(namespace, key, View::Below(block)))
}

/// Lets values of collections follow the versions of their hashes where only metadata were written: the two are
/// compared before a value is read.
pub(super) fn follow_hashes(state: &mut State, block: u64, applied: Applied) {
    for key in applied.guarded {
        if !state.touched_by(&key.hashed(), &key.hash(), block) {
            continue;
        }
        let Some(hash) = state.get(&key.hashed(), &key.hash(), View::Latest) else { continue };
        let Some(value) = state.get(&key.private(), &key.key, View::Latest) else { continue };
        if value.version != hash.version && Sha256::digest(&value.value)[..] == hash.value[..] {
            state.put(&key.private(), &key.key, hash.version, Some(value.value), Metadata::default());
        }
    }
}

/// An empty value deletes, as with Fabric.
fn value_of(write: &kvrwset::KvWrite) -> Option<Bytes> {
    (!write.is_delete && !write.value.is_empty()).then(|| write.value.clone())
}

/// The hash of a value; that of nothing deletes.
fn hash_of(write: &kvrwset::KvWriteHash) -> Option<Bytes> {
    let hash = &write.value_hash;
    let deletes = write.is_delete || hash.is_empty() || hash[..] == Sha256::digest([])[..];
    (!deletes).then(|| hash.clone())
}

fn metadata_of(entries: &[KvMetadataEntry]) -> Metadata {
    Metadata::new(entries.iter().map(|entry| (entry.name.clone(), entry.value.clone())))
}
