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

use super::merkle::{DEGREE, Summary};
use super::state::{Metadata, Version, Versioned};
use crate::pb::kvrwset::range_query_info::ReadsInfo;
use crate::pb::{kvrwset, rwset};

/// What is written to a key; `None` deletes it.
pub(super) type Write = Option<Bytes>;

/// What a transaction did in one namespace.
#[derive(Debug, Default)]
pub(super) struct Accesses {
    pub(super) reads: BTreeMap<String, Option<Version>>,
    pub(super) writes: BTreeMap<String, Write>,
    pub(super) metadata: BTreeMap<String, Metadata>,
    pub(super) queries: Vec<u64>,
    pub(super) collections: BTreeMap<String, CollectionAccesses>,
}

/// What a transaction did in one collection.
#[derive(Debug, Default)]
pub(super) struct CollectionAccesses {
    pub(super) reads: BTreeMap<String, Option<Version>>,
    pub(super) writes: BTreeMap<String, PrivateWrite>,
    pub(super) metadata: BTreeMap<String, Metadata>,
}

/// What is written to a key of a collection.
#[derive(Debug)]
pub(super) enum PrivateWrite {
    Value(Bytes),
    Delete,
    /// As a deletion, and what the key once held is forgotten.
    Purge,
}

impl PrivateWrite {
    fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Value(value) => Some(value),
            Self::Delete | Self::Purge => None,
        }
    }
}

/// A range query in progress.
#[derive(Debug)]
pub(super) struct RangeQuery {
    start: String,
    end: String,
    entries: Vec<(String, Versioned)>,
    /// How many of them were given.
    given: usize,
    /// How many may be given, where that is limited.
    limit: usize,
    /// Whether the caller was told that there is no more.
    exhausted: bool,
}

impl RangeQuery {
    pub(super) fn new(start: &str, end: &str, entries: Vec<(String, Versioned)>, limit: usize) -> Self {
        let (start, end) = (start.to_owned(), end.to_owned());
        Self { start, end, entries, given: 0, limit, exhausted: false }
    }

    /// The next entry. To be told that there is none is part of what was read.
    pub(super) fn next(&mut self) -> Option<(String, Bytes)> {
        let entry = self.entries.get(self.given).filter(|_| self.given < self.limit);
        self.exhausted |= entry.is_none();
        let (key, entry) = entry?;
        self.given += 1;
        Some((key.clone(), entry.value.clone()))
    }

    /// The key that comes next, which does not count as read; empty at the end.
    pub(super) fn bookmark(&self) -> String {
        self.entries.get(self.given).map(|(key, _)| key.clone()).unwrap_or_default()
    }

    fn to_wire(&self) -> kvrwset::RangeQueryInfo {
        let given = &self.entries[..self.given];
        let end_key = match given.last() {
            _ if self.exhausted => self.end.clone(),
            Some((key, _)) => key.clone(),
            // Nothing was asked of it.
            None => String::new(),
        };
        let mut summary = Summary::new(DEGREE).expect("this degree makes a tree");
        for (key, entry) in given {
            summary.add(read(key, Some(entry.version)));
        }
        let reads_info = match summary.finish() {
            Ok(kv_reads) if kv_reads.is_empty() => None,
            Ok(kv_reads) => Some(ReadsInfo::RawReads(kvrwset::QueryReads { kv_reads })),
            Err(summary) => Some(ReadsInfo::ReadsMerkleHashes(summary)),
        };
        kvrwset::RangeQueryInfo { start_key: self.start.clone(), end_key, itr_exhausted: self.exhausted, reads_info }
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
            .filter_map(|id| Some(queries.get(id)?.to_wire()))
            .filter(|query| told.insert((query.start_key.clone(), query.end_key.clone(), query.itr_exhausted)))
            .collect(),
        writes: accesses.writes.iter().map(|(key, value)| write(key, value.as_ref())).collect(),
        metadata_writes: accesses
            .metadata
            .iter()
            .map(|(key, metadata)| kvrwset::KvMetadataWrite { key: key.clone(), entries: entries(metadata) })
            .collect(),
    }
}

fn entries(metadata: &Metadata) -> Vec<kvrwset::KvMetadataEntry> {
    let entry =
        |(name, value): (&String, &Bytes)| kvrwset::KvMetadataEntry { name: name.clone(), value: value.clone() };
    metadata.entries().map(entry).collect()
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
            .map(|(key, write)| kvrwset::KvWriteHash {
                key_hash: hash(key.as_bytes()),
                is_delete: write.value().is_none(),
                value_hash: write.value().map(|value| hash(value)).unwrap_or_default(),
                is_purge: matches!(write, PrivateWrite::Purge),
            })
            .collect(),
        metadata_writes: accesses
            .metadata
            .iter()
            .map(|(key, metadata)| kvrwset::KvMetadataWriteHash {
                key_hash: hash(key.as_bytes()),
                entries: entries(metadata),
            })
            .collect(),
    };
    let writes = !accesses.writes.is_empty() || !accesses.metadata.is_empty();
    let private = writes.then(|| rwset::CollectionPvtReadWriteSet {
        collection_name: collection.to_owned(),
        rwset: kvrwset::KvrwSet {
            writes: accesses.writes.iter().map(|(key, change)| write(key, change.value())).collect(),
            // The metadata themselves are in the open, beside the key's hash.
            metadata_writes: accesses
                .metadata
                .keys()
                .map(|key| kvrwset::KvMetadataWrite { key: key.clone(), entries: Vec::new() })
                .collect(),
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
