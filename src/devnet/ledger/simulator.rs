//! Simulation of one transaction: what it read, as of which version, and what it would write.
//!
//! Reads see the committed state as of the height at which the simulation began, and never the transaction's own
//! writes, as Fabric has it.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/txmgr`, `rwsetutil`; `fabric-protos/ledger/rwset`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::Ledger;
use super::state::{Namespace, Version, Versioned, View};
use crate::fabric::names::hex;
use crate::pb::{kvrwset, rwset};

/// Why the simulator refused; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SimulationError {
    #[error("txid [{tx_id}]: unsuppored transaction. Paginated queries are supported only in a read-only transaction")]
    PagedAfterWrite { tx_id: String },
    #[error(
        "txid [{tx_id}]: unsuppored transaction. Transaction has already performed a paginated query. \
         Writes are not allowed"
    )]
    WriteAfterPaged { tx_id: String },
    #[error("invalid key. The key must not be empty")]
    EmptyKey,
    #[error("query iterator {0} not found")]
    NoIterator(u64),
    #[error("private data of collection {collection} is not held by this peer")]
    NotAMember { collection: String },
}

#[derive(Debug, Default)]
struct Accesses {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, Option<Bytes>>,
    queries: Vec<u64>,
    collections: BTreeMap<String, CollectionAccesses>,
}

#[derive(Debug, Default)]
struct CollectionAccesses {
    reads: BTreeMap<Vec<u8>, Option<Version>>,
    writes: BTreeMap<String, Option<Bytes>>,
}

/// A range query in progress.
#[derive(Debug)]
struct RangeQuery {
    start: String,
    end: String,
    entries: Vec<(String, Versioned)>,
    given: usize,
    /// Whether the last entry of the range was given, and the end thus seen.
    exhausted: bool,
}

/// Some entries of a range query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RangePart {
    pub(crate) entries: Vec<(String, Bytes)>,
    pub(crate) has_more: bool,
}

/// What a simulation leads to: the public set, and the private one where there is any.
#[derive(Debug)]
pub(crate) struct SimulationResults {
    pub(crate) public: Bytes,
    pub(crate) private: Option<rwset::TxPvtReadWriteSet>,
}

/// Simulates one transaction on one channel.
#[derive(Debug)]
pub(crate) struct Simulator {
    ledger: Arc<Ledger>,
    tx_id: String,
    view: View,
    namespaces: BTreeMap<String, Accesses>,
    queries: BTreeMap<u64, RangeQuery>,
    next_query: u64,
    written: bool,
    paged: bool,
}

impl Simulator {
    /// Begins a simulation on the state as it is now.
    pub(crate) fn new(ledger: Arc<Ledger>, tx_id: &str) -> Self {
        let view = View::Below(ledger.blocks().height());
        Self {
            ledger,
            tx_id: tx_id.to_owned(),
            view,
            namespaces: BTreeMap::new(),
            queries: BTreeMap::new(),
            next_query: 0,
            written: false,
            paged: false,
        }
    }

    /// The ledger that it reads.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn accesses(&mut self, namespace: &str) -> &mut Accesses {
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.to_owned(), Accesses::default());
        }
        self.namespaces.get_mut(namespace).expect("was just inserted")
    }

    /// The value of a key of `namespace`.
    pub(crate) fn get(&mut self, namespace: &str, key: &str) -> Option<Bytes> {
        let found = self.ledger.state().get(&Namespace::Public(namespace.to_owned()), key, self.view);
        let version = found.as_ref().map(|entry| entry.version);
        self.accesses(namespace).reads.entry(key.to_owned()).or_insert(version);
        found.map(|entry| entry.value)
    }

    /// Writes or deletes a key when the transaction commits.
    pub(crate) fn put(&mut self, namespace: &str, key: &str, value: Option<Bytes>) -> Result<(), SimulationError> {
        self.before_write(key)?;
        self.accesses(namespace).writes.insert(key.to_owned(), value);
        Ok(())
    }

    fn before_write(&mut self, key: &str) -> Result<(), SimulationError> {
        if self.paged {
            return Err(SimulationError::WriteAfterPaged { tx_id: self.tx_id.clone() });
        }
        if key.is_empty() {
            return Err(SimulationError::EmptyKey);
        }
        self.written = true;
        Ok(())
    }

    /// Begins to read the keys from `start` (included) to `end` (excluded; empty: to the last).
    pub(crate) fn open_range(&mut self, namespace: &str, start: &str, end: &str) -> u64 {
        let entries = self.ledger.state().range(
            &Namespace::Public(namespace.to_owned()),
            start,
            end,
            false,
            self.view,
            usize::MAX,
        );
        let id = self.next_query;
        self.next_query += 1;
        let query = RangeQuery { start: start.to_owned(), end: end.to_owned(), entries, given: 0, exhausted: false };
        self.queries.insert(id, query);
        self.accesses(namespace).queries.push(id);
        id
    }

    /// The next entries of a range query, at most `limit`.
    pub(crate) fn next_of_range(&mut self, id: u64, limit: usize) -> Result<RangePart, SimulationError> {
        let query = self.queries.get_mut(&id).ok_or(SimulationError::NoIterator(id))?;
        let end = query.given.saturating_add(limit).min(query.entries.len());
        let entries =
            query.entries[query.given..end].iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect();
        query.given = end;
        let has_more = end < query.entries.len();
        query.exhausted = !has_more;
        Ok(RangePart { entries, has_more })
    }

    /// One page of a range; only a transaction that writes nothing may ask for it. The second value is the bookmark.
    pub(crate) fn page_of_range(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: usize,
    ) -> Result<(Vec<(String, Bytes)>, String), SimulationError> {
        if self.written {
            return Err(SimulationError::PagedAfterWrite { tx_id: self.tx_id.clone() });
        }
        self.paged = true;
        let mut found = self.ledger.state().range(
            &Namespace::Public(namespace.to_owned()),
            start,
            end,
            false,
            self.view,
            page_size.saturating_add(1),
        );
        let bookmark =
            if found.len() > page_size { found.pop().map(|(key, _)| key).unwrap_or_default() } else { String::new() };
        Ok((found.into_iter().map(|(key, entry)| (key, entry.value)).collect(), bookmark))
    }

    /// Every version of a key, the newest first. Is not part of the read set, as with Fabric.
    pub(crate) fn history(&self, namespace: &str, key: &str) -> Vec<(Version, Option<Bytes>)> {
        self.ledger.state().history(&Namespace::Public(namespace.to_owned()), key, self.view)
    }

    /// The hash of a value in a collection, which every peer knows.
    pub(crate) fn get_private_hash(&mut self, namespace: &str, collection: &str, key: &str) -> Option<Bytes> {
        let key_hash = Sha256::digest(key).to_vec();
        let hashes = Namespace::Hashed(namespace.to_owned(), collection.to_owned());
        let found = self.ledger.state().get(&hashes, &hex(&key_hash), self.view);
        let version = found.as_ref().map(|entry| entry.version);
        let accesses = self.accesses(namespace).collections.entry(collection.to_owned()).or_default();
        accesses.reads.entry(key_hash).or_insert(version);
        found.map(|entry| entry.value)
    }

    /// The value of a key of a collection, which only its members know.
    pub(crate) fn get_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulationError> {
        if !self.ledger.holds(collection) {
            return Err(SimulationError::NotAMember { collection: collection.to_owned() });
        }
        self.get_private_hash(namespace, collection, key);
        let private = Namespace::Private(namespace.to_owned(), collection.to_owned());
        let found = self.ledger.state().get(&private, key, self.view);
        Ok(found.map(|entry| entry.value))
    }

    /// Writes or deletes a key of a collection when the transaction commits.
    pub(crate) fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Option<Bytes>,
    ) -> Result<(), SimulationError> {
        self.before_write(key)?;
        let accesses = self.accesses(namespace).collections.entry(collection.to_owned()).or_default();
        accesses.writes.insert(key.to_owned(), value);
        Ok(())
    }

    /// The read and write sets of everything that happened.
    pub(crate) fn results(&self) -> SimulationResults {
        let mut public = rwset::TxReadWriteSet::default();
        let mut private = rwset::TxPvtReadWriteSet::default();
        for (name, accesses) in &self.namespaces {
            let set = self.public_set(accesses);
            let mut hashed_sets = Vec::new();
            let mut private_sets = Vec::new();
            for (collection, accesses) in &accesses.collections {
                let (hashed, own) = collection_sets(collection, accesses);
                hashed_sets.push(hashed);
                private_sets.extend(own);
            }
            public.ns_rwset.push(rwset::NsReadWriteSet {
                namespace: name.clone(),
                rwset: set.encode_to_vec().into(),
                collection_hashed_rwset: hashed_sets,
            });
            if !private_sets.is_empty() {
                private
                    .ns_pvt_rwset
                    .push(rwset::NsPvtReadWriteSet { namespace: name.clone(), collection_pvt_rwset: private_sets });
            }
        }
        SimulationResults {
            public: public.encode_to_vec().into(),
            private: (!private.ns_pvt_rwset.is_empty()).then_some(private),
        }
    }

    fn public_set(&self, accesses: &Accesses) -> kvrwset::KvrwSet {
        kvrwset::KvrwSet {
            reads: accesses.reads.iter().map(|(key, version)| read(key, *version)).collect(),
            range_queries_info: accesses
                .queries
                .iter()
                .filter_map(|id| self.queries.get(id))
                .map(RangeQuery::to_wire)
                .collect(),
            writes: accesses.writes.iter().map(|(key, value)| write(key, value.as_ref())).collect(),
            metadata_writes: Vec::new(),
        }
    }
}

impl RangeQuery {
    fn to_wire(&self) -> kvrwset::RangeQueryInfo {
        let seen = &self.entries[..self.given];
        let end_key = match seen.last() {
            Some((key, _)) if !self.exhausted => key.clone(),
            _ => self.end.clone(),
        };
        kvrwset::RangeQueryInfo {
            start_key: self.start.clone(),
            end_key,
            itr_exhausted: self.exhausted,
            reads_info: Some(kvrwset::range_query_info::ReadsInfo::RawReads(kvrwset::QueryReads {
                kv_reads: seen.iter().map(|(key, entry)| read(key, Some(entry.version))).collect(),
            })),
        }
    }
}

fn read(key: &str, version: Option<Version>) -> kvrwset::KvRead {
    kvrwset::KvRead { key: key.to_owned(), version: version.map(Into::into) }
}

fn write(key: &str, value: Option<&Bytes>) -> kvrwset::KvWrite {
    kvrwset::KvWrite { key: key.to_owned(), is_delete: value.is_none(), value: value.cloned().unwrap_or_default() }
}

fn collection_sets(
    collection: &str,
    accesses: &CollectionAccesses,
) -> (rwset::CollectionHashedReadWriteSet, Option<rwset::CollectionPvtReadWriteSet>) {
    let hashed = kvrwset::HashedRwSet {
        hashed_reads: accesses
            .reads
            .iter()
            .map(|(key_hash, version)| kvrwset::KvReadHash {
                key_hash: key_hash.clone().into(),
                version: version.map(Into::into),
            })
            .collect(),
        hashed_writes: accesses
            .writes
            .iter()
            .map(|(key, value)| {
                let hash = |bytes: &[u8]| Bytes::from(Sha256::digest(bytes).to_vec());
                (hash(key.as_bytes()), value.as_ref().map(|value| hash(value)))
            })
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .map(|(key_hash, value_hash)| kvrwset::KvWriteHash {
                key_hash,
                is_delete: value_hash.is_none(),
                value_hash: value_hash.unwrap_or_default(),
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
    let hash = private.as_ref().map(|set| Sha256::digest(&set.rwset).to_vec().into()).unwrap_or_default();
    let hashed = rwset::CollectionHashedReadWriteSet {
        collection_name: collection.to_owned(),
        hashed_rwset: hashed.encode_to_vec().into(),
        pvt_rwset_hash: hash,
    };
    (hashed, private)
}
