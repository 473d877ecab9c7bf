//! Simulation of one transaction: what it read, as of which version, and what it would write.
//!
//! Reads see the committed state as of the height at which the simulation began, and never the transaction's own
//! writes, as Fabric has it. The sets are written in Fabric's order, so endorsers agree on their bytes.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/txmgr`, `rwsetutil`; `fabric-protos/ledger/rwset`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::results::{self, Accesses, RangeQuery};
use super::state::{Namespace, State, Version, View};
use crate::fabric::names::hex;
use crate::pb::rwset;

/// Why the simulation refused; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SimulationError {
    #[error("unsuppored transaction. Paginated queries are supported only in a read-only transaction")]
    PagedAfterWrite,
    #[error("unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed")]
    WriteAfterPaged,
    #[error("unsuppored transaction. Queries on pvt data is supported only in a read-only transaction")]
    PrivateRangeAfterWrite,
    #[error("unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed")]
    WriteAfterPrivateRange,
    #[error("invalid key. The key must not be empty")]
    EmptyKey,
    #[error("query iterator {0} not found")]
    NoIterator(u64),
    #[error("private data matching public hash version is not available in collection {collection}")]
    NotAvailable { collection: String },
}

/// Some entries of a range query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RangePart {
    pub(crate) entries: Vec<(String, Bytes)>,
    pub(crate) has_more: bool,
}

/// What a simulation leads to: the encoded `rwset.TxReadWriteSet`, and the private sets where there are any.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) public: Bytes,
    pub(crate) private: Option<rwset::TxPvtReadWriteSet>,
}

/// Simulates one transaction on one channel.
#[derive(Debug)]
pub(crate) struct Simulation {
    state: Arc<RwLock<State>>,
    view: View,
    namespaces: BTreeMap<String, Accesses>,
    queries: BTreeMap<u64, RangeQuery>,
    next_query: u64,
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
            namespaces: BTreeMap::new(),
            queries: BTreeMap::new(),
            next_query: 0,
            written: false,
            paged: false,
            ranged_privately: false,
        }
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

    /// The value of a key of `namespace`.
    pub(crate) fn get(&mut self, namespace: &str, key: &str) -> Option<Bytes> {
        let found = self.state().get(&Namespace::Public(namespace.to_owned()), key, self.view);
        let version = found.as_ref().map(|entry| entry.version);
        self.accesses(namespace).reads.insert(key.to_owned(), version);
        found.map(|entry| entry.value)
    }

    /// Sets a key when the transaction commits. An empty value deletes, as with Fabric.
    pub(crate) fn put(&mut self, namespace: &str, key: &str, value: Bytes) -> Result<(), SimulationError> {
        self.before_write(key)?;
        self.accesses(namespace).writes.insert(key.to_owned(), Some(value).filter(|value| !value.is_empty()));
        Ok(())
    }

    /// Removes a key when the transaction commits.
    pub(crate) fn delete(&mut self, namespace: &str, key: &str) -> Result<(), SimulationError> {
        self.before_write(key)?;
        self.accesses(namespace).writes.insert(key.to_owned(), None);
        Ok(())
    }

    fn before_write(&mut self, key: &str) -> Result<(), SimulationError> {
        if self.ranged_privately {
            return Err(SimulationError::WriteAfterPrivateRange);
        }
        if self.paged {
            return Err(SimulationError::WriteAfterPaged);
        }
        if key.is_empty() {
            return Err(SimulationError::EmptyKey);
        }
        self.written = true;
        Ok(())
    }

    /// All entries from `start` (included) to `end` (excluded; empty: to the last).
    pub(crate) fn range(&mut self, namespace: &str, start: &str, end: &str) -> Vec<(String, Bytes)> {
        let id = self.open_range(namespace, start, end);
        self.next_of_range(id, usize::MAX).map(|part| part.entries).unwrap_or_default()
    }

    /// Begins to read the keys from `start` (included) to `end` (excluded; empty: to the last).
    pub(crate) fn open_range(&mut self, namespace: &str, start: &str, end: &str) -> u64 {
        let names = Namespace::Public(namespace.to_owned());
        let entries = self.state().range(&names, start, end, false, self.view, usize::MAX);
        let id = self.next_query;
        self.next_query += 1;
        self.queries.insert(id, RangeQuery::new(start, end, entries));
        self.accesses(namespace).queries.push(id);
        id
    }

    /// The next entries of a range query, at most `limit`. Whether there are more is part of what was read.
    pub(crate) fn next_of_range(&mut self, id: u64, limit: usize) -> Result<RangePart, SimulationError> {
        let query = self.queries.get_mut(&id).ok_or(SimulationError::NoIterator(id))?;
        let (entries, has_more) = query.next(limit);
        Ok(RangePart { entries, has_more })
    }

    /// One page of a range; only a transaction that writes nothing may ask for it. The second value is the bookmark,
    /// the key with which the next page begins, or nothing at the end.
    pub(crate) fn page_of_range(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: usize,
    ) -> Result<(Vec<(String, Bytes)>, String), SimulationError> {
        if self.written {
            return Err(SimulationError::PagedAfterWrite);
        }
        self.paged = true;
        let names = Namespace::Public(namespace.to_owned());
        let mut found = self.state().range(&names, start, end, false, self.view, page_size.saturating_add(1));
        let bookmark =
            if found.len() > page_size { found.pop().map(|(key, _)| key).unwrap_or_default() } else { String::new() };
        Ok((found.into_iter().map(|(key, entry)| (key, entry.value)).collect(), bookmark))
    }

    /// Every version of a key, the newest first. Is not part of the read set, as with Fabric.
    pub(crate) fn history(&self, namespace: &str, key: &str) -> Vec<(Version, Option<Bytes>)> {
        self.state().history(&Namespace::Public(namespace.to_owned()), key, self.view)
    }

    /// The hash of a value in a collection, which every peer knows.
    pub(crate) fn private_hash(&mut self, namespace: &str, collection: &str, key: &str) -> Option<Bytes> {
        self.hash_entry(namespace, collection, key).map(|(_, hash)| hash)
    }

    fn hash_entry(&mut self, namespace: &str, collection: &str, key: &str) -> Option<(Version, Bytes)> {
        let hashes = Namespace::Hashed(namespace.to_owned(), collection.to_owned());
        let found = self.state().get(&hashes, &hex(&Sha256::digest(key)), self.view);
        let version = found.as_ref().map(|entry| entry.version);
        let accesses = self.accesses(namespace).collections.entry(collection.to_owned()).or_default();
        accesses.reads.insert(key.to_owned(), version);
        found.map(|entry| (entry.version, entry.value))
    }

    /// The value of a key of a collection, which only its members know.
    pub(crate) fn private_get(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulationError> {
        let hashed = self.hash_entry(namespace, collection, key).map(|(version, _)| version);
        let private = Namespace::Private(namespace.to_owned(), collection.to_owned());
        let found = self.state().get(&private, key, self.view);
        if found.as_ref().map(|entry| entry.version) != hashed {
            return Err(SimulationError::NotAvailable { collection: collection.to_owned() });
        }
        Ok(found.map(|entry| entry.value))
    }

    /// All entries of a collection from `start` to `end`; only a transaction that writes nothing may ask for them.
    pub(crate) fn private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<Vec<(String, Bytes)>, SimulationError> {
        if self.written {
            return Err(SimulationError::PrivateRangeAfterWrite);
        }
        self.ranged_privately = true;
        let private = Namespace::Private(namespace.to_owned(), collection.to_owned());
        let found = self.state().range(&private, start, end, false, self.view, usize::MAX);
        Ok(found.into_iter().map(|(key, entry)| (key, entry.value)).collect())
    }

    /// Sets a key of a collection when the transaction commits.
    pub(crate) fn private_put(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), SimulationError> {
        self.private_write(namespace, collection, key, Some(value).filter(|value| !value.is_empty()))
    }

    /// Removes a key of a collection when the transaction commits.
    pub(crate) fn private_delete(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), SimulationError> {
        self.private_write(namespace, collection, key, None)
    }

    fn private_write(
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
    pub(crate) fn finish(self) -> Results {
        let (public, private) = results::sets(&self.namespaces, &self.queries);
        Results { public: public.encode_to_vec().into(), private }
    }
}
