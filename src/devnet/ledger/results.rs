//! What a simulation noted, written as Fabric's read and write sets.
//!
//! A file of its own because it is about bytes: all endorsers of a transaction must make the same ones. Keys and
//! namespaces come in the order of their names, range queries in the order in which they were opened.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/rwsetutil/rwset_builder.go`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::state::{Version, Versioned};
use crate::pb::{kvrwset, rwset};

/// What is written to a key; `None` deletes it.
pub(super) type Write = Option<Bytes>;

/// What a transaction did in one namespace.
#[derive(Debug, Default)]
pub(super) struct Accesses {
    pub(super) reads: BTreeMap<String, Option<Version>>,
    pub(super) writes: BTreeMap<String, Write>,
    pub(super) queries: Vec<u64>,
    pub(super) collections: BTreeMap<String, CollectionAccesses>,
}

/// What a transaction did in one collection.
#[derive(Debug, Default)]
pub(super) struct CollectionAccesses {
    pub(super) reads: BTreeMap<String, Option<Version>>,
    pub(super) writes: BTreeMap<String, Write>,
}

/// A range query in progress.
#[derive(Debug)]
pub(super) struct RangeQuery {
    start: String,
    end: String,
    entries: Vec<(String, Versioned)>,
    given: usize,
    /// How many entries the caller knows of: those that it was given, and one more if it was told that there is one.
    seen: usize,
    asked: bool,
    exhausted: bool,
}

impl RangeQuery {
    pub(super) fn new(start: &str, end: &str, entries: Vec<(String, Versioned)>) -> Self {
        Self {
            start: start.to_owned(),
            end: end.to_owned(),
            entries,
            given: 0,
            seen: 0,
            asked: false,
            exhausted: false,
        }
    }

    /// The next entries, at most `limit`, and whether there are more.
    pub(super) fn next(&mut self, limit: usize) -> (Vec<(String, Bytes)>, bool) {
        let end = self.given.saturating_add(limit).min(self.entries.len());
        let part = &self.entries[self.given..end];
        let entries = part.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect();
        self.given = end;
        self.asked = true;
        self.exhausted = end == self.entries.len();
        self.seen = end + usize::from(!self.exhausted);
        (entries, !self.exhausted)
    }

    /// `None` where nothing was asked of it.
    fn to_wire(&self) -> Option<kvrwset::RangeQueryInfo> {
        if !self.asked {
            return None;
        }
        let seen = &self.entries[..self.seen];
        let end_key = match seen.last() {
            Some((key, _)) if !self.exhausted => key.clone(),
            _ => self.end.clone(),
        };
        let kv_reads: Vec<_> = seen.iter().map(|(key, entry)| read(key, Some(entry.version))).collect();
        Some(kvrwset::RangeQueryInfo {
            start_key: self.start.clone(),
            end_key,
            itr_exhausted: self.exhausted,
            reads_info: (!kv_reads.is_empty())
                .then(|| kvrwset::range_query_info::ReadsInfo::RawReads(kvrwset::QueryReads { kv_reads })),
        })
    }
}

/// The public sets, and the private ones where there are any.
pub(super) fn sets(
    namespaces: &BTreeMap<String, Accesses>,
    queries: &BTreeMap<u64, RangeQuery>,
) -> (rwset::TxReadWriteSet, Option<rwset::TxPvtReadWriteSet>) {
    let mut public = rwset::TxReadWriteSet::default();
    let mut private = rwset::TxPvtReadWriteSet::default();
    for (name, accesses) in namespaces {
        let mut hashed_sets = Vec::new();
        let mut private_sets = Vec::new();
        for (collection, accesses) in &accesses.collections {
            let (hashed, own) = collection_sets(collection, accesses);
            hashed_sets.push(hashed);
            private_sets.extend(own);
        }
        public.ns_rwset.push(rwset::NsReadWriteSet {
            namespace: name.clone(),
            rwset: public_set(accesses, queries).encode_to_vec().into(),
            collection_hashed_rwset: hashed_sets,
        });
        if !private_sets.is_empty() {
            private
                .ns_pvt_rwset
                .push(rwset::NsPvtReadWriteSet { namespace: name.clone(), collection_pvt_rwset: private_sets });
        }
    }
    (public, (!private.ns_pvt_rwset.is_empty()).then_some(private))
}

fn public_set(accesses: &Accesses, queries: &BTreeMap<u64, RangeQuery>) -> kvrwset::KvrwSet {
    // The same query asked twice on one state says the same twice.
    let mut told = BTreeSet::new();
    kvrwset::KvrwSet {
        reads: accesses.reads.iter().map(|(key, version)| read(key, *version)).collect(),
        range_queries_info: accesses
            .queries
            .iter()
            .filter_map(|id| queries.get(id)?.to_wire())
            .filter(|query| told.insert((query.start_key.clone(), query.end_key.clone(), query.itr_exhausted)))
            .collect(),
        writes: accesses.writes.iter().map(|(key, value)| write(key, value.as_ref())).collect(),
        metadata_writes: Vec::new(),
    }
}

fn read(key: &str, version: Option<Version>) -> kvrwset::KvRead {
    kvrwset::KvRead { key: key.to_owned(), version: version.map(Into::into) }
}

fn write(key: &str, value: Option<&Bytes>) -> kvrwset::KvWrite {
    kvrwset::KvWrite { key: key.to_owned(), is_delete: value.is_none(), value: value.cloned().unwrap_or_default() }
}

fn hash(bytes: &[u8]) -> Bytes {
    Sha256::digest(bytes).to_vec().into()
}

fn collection_sets(
    collection: &str,
    accesses: &CollectionAccesses,
) -> (rwset::CollectionHashedReadWriteSet, Option<rwset::CollectionPvtReadWriteSet>) {
    let hashed = kvrwset::HashedRwSet {
        hashed_reads: accesses
            .reads
            .iter()
            .map(|(key, version)| kvrwset::KvReadHash {
                key_hash: hash(key.as_bytes()),
                version: version.map(Into::into),
            })
            .collect(),
        hashed_writes: accesses
            .writes
            .iter()
            .map(|(key, value)| kvrwset::KvWriteHash {
                key_hash: hash(key.as_bytes()),
                is_delete: value.is_none(),
                value_hash: value.as_ref().map(|value| hash(value)).unwrap_or_default(),
                is_purge: false,
            })
            .collect(),
        metadata_writes: Vec::new(),
    };
    let private = (!accesses.writes.is_empty()).then(|| rwset::CollectionPvtReadWriteSet {
        collection_name: collection.to_owned(),
        rwset: kvrwset::KvrwSet {
            writes: accesses.writes.iter().map(|(key, value)| write(key, value.as_ref())).collect(),
            ..kvrwset::KvrwSet::default()
        }
        .encode_to_vec()
        .into(),
    });
    let hashed = rwset::CollectionHashedReadWriteSet {
        collection_name: collection.to_owned(),
        hashed_rwset: hashed.encode_to_vec().into(),
        pvt_rwset_hash: private.as_ref().map(|set| hash(&set.rwset)).unwrap_or_default(),
    };
    (hashed, private)
}
