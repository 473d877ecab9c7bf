//! Simulation of one transaction: what it read, as of which version, and what it would write.
//!
//! Reads see the committed state as of the height at which the simulation began, and never the transaction's own
//! writes, as Fabric has it. The sets are written in Fabric's order, so endorsers agree on their bytes.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/txmgr`, `rwsetutil`; `fabric-protos/ledger/rwset`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::results::{self, Accesses, CollectionAccesses, PrivateWrite, RangeQuery};
use super::state::{Metadata, Namespace, State, Version, View};
use crate::fabric::names::hex;
use crate::pb::rwset;

/// Why the simulation refused; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SimulationError {
    /// The words (and their spelling) are Fabric's.
    #[error("txid [{tx_id}]: unsuppored transaction. {why}")]
    Unsupported { tx_id: String, why: &'static str },
    #[error("query iterator {0} not found")]
    NoIterator(u64),
    #[error(
        "private data matching public hash version is not available. Public hash version = {}, Private data version = {}",
        shown(*hash),
        shown(*data)
    )]
    NotAvailable { hash: Option<Version>, data: Option<Version> },
}

fn shown(version: Option<Version>) -> String {
    version.map_or_else(
        || "<nil>".to_owned(),
        |version| format!("{{BlockNum: {}, TxNum: {}}}", version.block, version.transaction),
    )
}

/// What a simulation leads to: the encoded `rwset.TxReadWriteSet`, and the private sets where there are any.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) public: Bytes,
    pub(crate) private: Option<rwset::TxPvtReadWriteSet>,
    /// The metadata that written keys have: by namespace, then by collection (empty: none), then by key.
    pub(crate) written: Written,
    /// The collections of which values were read.
    pub(crate) private_reads: BTreeSet<(String, String)>,
}

/// The metadata of keys that are written: by namespace, then by collection (empty: none), then by key.
pub(crate) type Written = BTreeMap<String, BTreeMap<String, BTreeMap<String, Metadata>>>;

/// Simulates one transaction on one channel.
#[derive(Debug)]
pub(crate) struct Simulation {
    state: Arc<RwLock<State>>,
    view: View,
    tx_id: String,
    namespaces: BTreeMap<String, Accesses>,
    queries: BTreeMap<u64, RangeQuery>,
    next_query: u64,
    written_keys: Written,
    private_reads: BTreeSet<(String, String)>,
    written: bool,
    paged: bool,
    ranged_privately: bool,
}

impl Simulation {
    /// A simulation on the state as of `height`.
    pub(super) fn new(state: Arc<RwLock<State>>, height: u64) -> Self {
        Self {
            state,
            view: View::Below(height),
            tx_id: String::new(),
            namespaces: BTreeMap::new(),
            queries: BTreeMap::new(),
            next_query: 0,
            written_keys: Written::new(),
            private_reads: BTreeSet::new(),
            written: false,
            paged: false,
            ranged_privately: false,
        }
    }

    /// The same of a transaction, whose ID refusals bear.
    #[must_use]
    pub(crate) fn of(mut self, tx_id: impl Into<String>) -> Self {
        self.tx_id = tx_id.into();
        self
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn accesses(&mut self, namespace: &str) -> &mut Accesses {
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.to_owned(), Accesses::default());
        }
        self.namespaces.get_mut(namespace).expect("was just inserted")
    }

    fn collection(&mut self, namespace: &str, collection: &str) -> &mut CollectionAccesses {
        self.accesses(namespace).collections.entry(collection.to_owned()).or_default()
    }

    fn read(&mut self, namespace: &str, key: &str) -> Option<(Bytes, Metadata)> {
        let found = self.state().get(&Namespace::Public(namespace.to_owned()), key, self.view);
        let version = found.as_ref().map(|entry| entry.version);
        self.accesses(namespace).reads.insert(key.to_owned(), version);
        found.map(|entry| (entry.value, entry.metadata))
    }

    /// The value of a key of `namespace`.
    pub(crate) fn get(&mut self, namespace: &str, key: &str) -> Option<Bytes> {
        self.read(namespace, key).map(|(value, _)| value)
    }

    /// The metadata of a key of `namespace`, which is read with it.
    pub(crate) fn metadata(&mut self, namespace: &str, key: &str) -> Metadata {
        self.read(namespace, key).map(|(_, metadata)| metadata).unwrap_or_default()
    }

    /// Sets a key when the transaction commits. An empty value deletes, as with Fabric.
    pub(crate) fn put(&mut self, namespace: &str, key: &str, value: Bytes) -> Result<(), SimulationError> {
        self.write(namespace, key, Some(value).filter(|value| !value.is_empty()))
    }

    /// Removes a key when the transaction commits.
    pub(crate) fn delete(&mut self, namespace: &str, key: &str) -> Result<(), SimulationError> {
        self.write(namespace, key, None)
    }

    fn write(&mut self, namespace: &str, key: &str, value: Option<Bytes>) -> Result<(), SimulationError> {
        self.before_write()?;
        self.accesses(namespace).writes.insert(key.to_owned(), value);
        self.note_written(namespace, "", key);
        Ok(())
    }

    /// Replaces the metadata of a key when the transaction commits.
    pub(crate) fn put_metadata(
        &mut self,
        namespace: &str,
        key: &str,
        metadata: Metadata,
    ) -> Result<(), SimulationError> {
        self.before_write()?;
        self.accesses(namespace).metadata.insert(key.to_owned(), metadata);
        self.note_written(namespace, "", key);
        Ok(())
    }

    /// Notes which policy of its own a written key has. It is not part of what was read.
    fn note_written(&mut self, namespace: &str, collection: &str, key: &str) {
        let found = if collection.is_empty() {
            self.state().get(&Namespace::Public(namespace.to_owned()), key, self.view)
        } else {
            let hashes = Namespace::Hashed(namespace.to_owned(), collection.to_owned());
            self.state().get(&hashes, &hex(&Sha256::digest(key)), self.view)
        };
        let metadata = found.map(|entry| entry.metadata).unwrap_or_default();
        let in_namespace = self.written_keys.entry(namespace.to_owned()).or_default();
        in_namespace.entry(collection.to_owned()).or_default().insert(key.to_owned(), metadata);
    }

    fn unsupported(&self, why: &'static str) -> SimulationError {
        SimulationError::Unsupported { tx_id: self.tx_id.clone(), why }
    }

    fn before_write(&mut self) -> Result<(), SimulationError> {
        if self.ranged_privately {
            return Err(
                self.unsupported("Transaction has already performed queries on pvt data. Writes are not allowed")
            );
        }
        if self.paged {
            return Err(self.unsupported("Transaction has already performed a paginated query. Writes are not allowed"));
        }
        self.written = true;
        Ok(())
    }

    /// All entries from `start` (included) to `end` (excluded; empty: to the last).
    pub(crate) fn range(&mut self, namespace: &str, start: &str, end: &str) -> Vec<(String, Bytes)> {
        let id = self.open_range(namespace, start, end);
        std::iter::from_fn(|| self.next_of_range(id).ok().flatten()).collect()
    }

    /// Begins to read the keys from `start` (included) to `end` (excluded; empty: to the last).
    pub(crate) fn open_range(&mut self, namespace: &str, start: &str, end: &str) -> u64 {
        self.open(namespace, start, end, usize::MAX)
    }

    /// The same for one page of `size`; only a transaction that writes nothing may ask for it.
    pub(crate) fn open_page(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        size: usize,
    ) -> Result<u64, SimulationError> {
        self.check_page()?;
        Ok(self.open(namespace, start, end, size))
    }

    /// Notes that a page is read, after which nothing may be written.
    pub(crate) fn check_page(&mut self) -> Result<(), SimulationError> {
        if self.written {
            return Err(self.unsupported("Paginated queries are supported only in a read-only transaction"));
        }
        self.paged = true;
        Ok(())
    }

    fn open(&mut self, namespace: &str, start: &str, end: &str, limit: usize) -> u64 {
        let names = Namespace::Public(namespace.to_owned());
        // One more than is given: it is the next page's first.
        let entries = self.state().range(&names, start, end, false, self.view, limit.saturating_add(1));
        let id = self.next_query;
        self.next_query += 1;
        self.queries.insert(id, RangeQuery::new(start, end, entries, limit));
        self.accesses(namespace).queries.push(id);
        id
    }

    /// The next entry of a range query. That there is none is part of what was read.
    pub(crate) fn next_of_range(&mut self, id: u64) -> Result<Option<(String, Bytes)>, SimulationError> {
        self.queries.get_mut(&id).map(RangeQuery::next).ok_or(SimulationError::NoIterator(id))
    }

    /// The key with which the next page begins; empty at the end.
    pub(crate) fn bookmark(&self, id: u64) -> String {
        self.queries.get(&id).map(RangeQuery::bookmark).unwrap_or_default()
    }

    /// Every version of a key, the newest first. Is not part of the read set, as with Fabric.
    pub(crate) fn history(&self, namespace: &str, key: &str) -> Vec<(Version, Option<Bytes>)> {
        self.state().history(&Namespace::Public(namespace.to_owned()), key, self.view)
    }

    /// The hash of a value in a collection, which every peer knows.
    pub(crate) fn private_hash(&mut self, namespace: &str, collection: &str, key: &str) -> Option<Bytes> {
        self.read_hash(namespace, collection, key).map(|(hash, _)| hash)
    }

    /// The metadata of a key of a collection, which every peer knows.
    pub(crate) fn private_metadata(&mut self, namespace: &str, collection: &str, key: &str) -> Metadata {
        self.read_hash(namespace, collection, key).map(|(_, metadata)| metadata).unwrap_or_default()
    }

    fn read_hash(&mut self, namespace: &str, collection: &str, key: &str) -> Option<(Bytes, Metadata)> {
        let hashes = Namespace::Hashed(namespace.to_owned(), collection.to_owned());
        let found = self.state().get(&hashes, &hex(&Sha256::digest(key)), self.view);
        let version = found.as_ref().map(|entry| entry.version);
        self.collection(namespace, collection).reads.insert(key.to_owned(), version);
        found.map(|entry| (entry.value, entry.metadata))
    }

    /// The value of a key of a collection, which only its members know.
    pub(crate) fn private_get(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulationError> {
        let (hashes, private) = (
            Namespace::Hashed(namespace.to_owned(), collection.to_owned()),
            Namespace::Private(namespace.to_owned(), collection.to_owned()),
        );
        let (hash, found) = {
            let state = self.state();
            (state.get(&hashes, &hex(&Sha256::digest(key)), self.view), state.get(&private, key, self.view))
        };
        let (hash, data) = (hash.map(|entry| entry.version), found.as_ref().map(|entry| entry.version));
        if hash != data {
            return Err(SimulationError::NotAvailable { hash, data });
        }
        self.collection(namespace, collection).reads.insert(key.to_owned(), data);
        self.private_reads.insert((namespace.to_owned(), collection.to_owned()));
        Ok(found.map(|entry| entry.value))
    }

    /// The value of a key of a collection as this peer has it, even if it lacks a newer one: what Fabric answers where
    /// several keys are asked for at once.
    pub(crate) fn private_get_as_is(&mut self, namespace: &str, collection: &str, key: &str) -> Option<Bytes> {
        let private = Namespace::Private(namespace.to_owned(), collection.to_owned());
        let found = self.state().get(&private, key, self.view);
        let version = found.as_ref().map(|entry| entry.version);
        self.collection(namespace, collection).reads.insert(key.to_owned(), version);
        self.private_reads.insert((namespace.to_owned(), collection.to_owned()));
        found.map(|entry| entry.value)
    }

    /// All entries of a collection from `start` to `end`; only a transaction that writes nothing may ask for them.
    pub(crate) fn private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<Vec<(String, Bytes)>, SimulationError> {
        self.check_private_range()?;
        let private = Namespace::Private(namespace.to_owned(), collection.to_owned());
        let found = self.state().range(&private, start, end, false, self.view, usize::MAX);
        Ok(found.into_iter().map(|(key, entry)| (key, entry.value)).collect())
    }

    /// Notes that a collection is queried, after which nothing may be written.
    pub(crate) fn check_private_range(&mut self) -> Result<(), SimulationError> {
        if self.written {
            return Err(self.unsupported("Queries on pvt data is supported only in a read-only transaction"));
        }
        self.ranged_privately = true;
        Ok(())
    }

    /// Sets a key of a collection when the transaction commits. An empty value deletes.
    pub(crate) fn private_put(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), SimulationError> {
        let write = if value.is_empty() { PrivateWrite::Delete } else { PrivateWrite::Value(value) };
        self.private_write(namespace, collection, key, write)
    }

    /// Removes a key of a collection when the transaction commits.
    pub(crate) fn private_delete(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), SimulationError> {
        self.private_write(namespace, collection, key, PrivateWrite::Delete)
    }

    /// Removes a key of a collection when the transaction commits, and all that is known of what it held.
    pub(crate) fn private_purge(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), SimulationError> {
        self.private_write(namespace, collection, key, PrivateWrite::Purge)
    }

    fn private_write(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        write: PrivateWrite,
    ) -> Result<(), SimulationError> {
        self.before_write()?;
        self.collection(namespace, collection).writes.insert(key.to_owned(), write);
        self.note_written(namespace, collection, key);
        Ok(())
    }

    /// Replaces the metadata of a key of a collection when the transaction commits.
    pub(crate) fn put_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: Metadata,
    ) -> Result<(), SimulationError> {
        self.before_write()?;
        self.collection(namespace, collection).metadata.insert(key.to_owned(), metadata);
        self.note_written(namespace, collection, key);
        Ok(())
    }

    /// The read and write sets of everything that happened.
    pub(crate) fn finish(self) -> Results {
        let (public, private) = results::sets(&self.namespaces, &self.queries);
        Results {
            public: public.encode_to_vec().into(),
            private,
            written: self.written_keys,
            private_reads: self.private_reads,
        }
    }
}
