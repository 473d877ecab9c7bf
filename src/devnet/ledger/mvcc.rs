//! Whether what a transaction read still holds when it is committed.
//!
//! A module of its own because it is the rule that makes a ledger of a list of blocks: transactions of a block are
//! taken in order, and one that read what an earlier one changed is marked, not applied.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/validation`.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::rwset::ReadWriteSet;
use super::state::{Namespace, State, Version, View};
use crate::fabric::block::ValidationCode;
use crate::fabric::names::hex;
use crate::pb::kvrwset;

/// Checks a transaction of block `block` against the state, which holds what earlier transactions of the block wrote.
pub(super) fn check(state: &State, set: &ReadWriteSet, block: u64) -> ValidationCode {
    let unchanged = |namespace: &Namespace, key: &str, version: Option<&kvrwset::Version>| {
        !state.touched_by(namespace, key, block)
            && state.get(namespace, key, View::Latest).map(|entry| entry.version) == version.map(Version::from)
    };
    for in_namespace in &set.namespaces {
        let namespace = Namespace::Public(in_namespace.name.clone());
        if !in_namespace.public.reads.iter().all(|read| unchanged(&namespace, &read.key, read.version.as_ref())) {
            return ValidationCode::MvccReadConflict;
        }
        for query in &in_namespace.public.range_queries_info {
            match range_unchanged(state, &namespace, query) {
                Some(true) => {}
                Some(false) => return ValidationCode::PhantomReadConflict,
                None => return ValidationCode::BadRwset,
            }
        }
        for collection in &in_namespace.collections {
            let namespace = Namespace::Hashed(in_namespace.name.clone(), collection.name.clone());
            let reads = &collection.hashed.hashed_reads;
            if !reads.iter().all(|read| unchanged(&namespace, &hex(&read.key_hash), read.version.as_ref())) {
                return ValidationCode::MvccReadConflict;
            }
        }
    }
    ValidationCode::Valid
}

/// `None` where the query is told as Merkle hashes, which this network never makes.
fn range_unchanged(state: &State, namespace: &Namespace, query: &kvrwset::RangeQueryInfo) -> Option<bool> {
    let then = match &query.reads_info {
        Some(kvrwset::range_query_info::ReadsInfo::RawReads(reads)) => reads.kv_reads.as_slice(),
        Some(kvrwset::range_query_info::ReadsInfo::ReadsMerkleHashes(_)) => return None,
        None => &[],
    };
    // Where the end was not reached, the end key is the last one that was seen, and is to be compared with.
    let include_end = !query.itr_exhausted;
    let limit = then.len().saturating_add(1);
    let now = state.range(namespace, &query.start_key, &query.end_key, include_end, View::Latest, limit);
    let same = now.len() == then.len()
        && now.iter().zip(then).all(|((key, entry), read)| {
            *key == read.key && Some(entry.version) == read.version.as_ref().map(Version::from)
        });
    Some(same)
}

/// What a transaction wrote to one collection that this peer holds.
#[derive(Debug)]
pub(super) struct PrivateSet {
    pub(super) namespace: String,
    pub(super) collection: String,
    pub(super) set: Bytes,
}

/// Applies a valid transaction, with the private sets that this peer holds and whose hashes are those in it.
pub(super) fn apply(state: &mut State, set: &ReadWriteSet, version: Version, private: &[PrivateSet]) {
    let hash_of_nothing = Sha256::digest([]).to_vec();
    for in_namespace in &set.namespaces {
        let namespace = Namespace::Public(in_namespace.name.clone());
        for write in &in_namespace.public.writes {
            state.put(&namespace, &write.key, version, value_of(write));
        }
        for collection in &in_namespace.collections {
            let namespace = Namespace::Hashed(in_namespace.name.clone(), collection.name.clone());
            for write in &collection.hashed.hashed_writes {
                let deletes = write.is_delete || write.value_hash.is_empty() || write.value_hash == hash_of_nothing;
                let value = (!deletes).then(|| write.value_hash.clone());
                state.put(&namespace, &hex(&write.key_hash), version, value);
            }
        }
    }
    for PrivateSet { namespace, collection, set } in private {
        let Ok(set) = kvrwset::KvrwSet::decode(set.clone()) else { continue };
        let namespace = Namespace::Private(namespace.clone(), collection.clone());
        for write in &set.writes {
            state.put(&namespace, &write.key, version, value_of(write));
        }
    }
}

/// An empty value deletes, as with Fabric.
fn value_of(write: &kvrwset::KvWrite) -> Option<Bytes> {
    (!write.is_delete && !write.value.is_empty()).then(|| write.value.clone())
}
