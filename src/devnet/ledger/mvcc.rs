//! Whether what a transaction read still holds when it is committed.
//!
//! A module of its own because it is the rule that makes a ledger of a list of blocks: transactions of a block are
//! taken in order, and one that read what an earlier one changed is marked, not applied.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/validation`.

use super::merkle::Summary;
use super::rwset::ReadWriteSet;
use super::state::{Namespace, State, Version, View};
use crate::fabric::block::ValidationCode;
use crate::fabric::names::hex;
use crate::pb::kvrwset;
use crate::pb::kvrwset::range_query_info::ReadsInfo;

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

/// `None` where the summary is none that a simulation makes.
fn range_unchanged(state: &State, namespace: &Namespace, query: &kvrwset::RangeQueryInfo) -> Option<bool> {
    // Where the end was not reached, the end key is the last one that was seen, and is to be compared with.
    let include_end = !query.itr_exhausted;
    let read_now = |limit| {
        let found = state.range(namespace, &query.start_key, &query.end_key, include_end, View::Latest, limit);
        found.into_iter().map(|(key, entry)| kvrwset::KvRead { key, version: Some(entry.version.into()) })
    };
    let then = match &query.reads_info {
        Some(ReadsInfo::RawReads(reads)) => reads.kv_reads.as_slice(),
        Some(ReadsInfo::ReadsMerkleHashes(then)) => {
            let mut now = Summary::new(then.max_degree)?;
            read_now(usize::MAX).for_each(|read| now.add(read));
            // Few reads are told as they are: they are not what was summarized.
            return Some(now.finish().is_err_and(|now| now == *then));
        }
        None => &[],
    };
    Some(read_now(then.len().saturating_add(1)).eq(then.iter().cloned()))
}
