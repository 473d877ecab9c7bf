//! What becomes of private data with time: collections whose content lives for some blocks, and keys that are purged.
//!
//! A file of its own because both take away what earlier blocks brought, while the blocks themselves stay.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/pvtstatepurgemgmt`, `core/ledger/pvtdatapolicy`.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::state::{Metadata, Namespace, State, Version, View};
use crate::fabric::names::hex;

/// A key of a collection, told by its hash in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HashedKey {
    pub(super) namespace: String,
    pub(super) collection: String,
    pub(super) hash: String,
}

impl HashedKey {
    /// The key `key` of a collection.
    pub(super) fn of(namespace: &str, collection: &str, key: &str) -> Self {
        let (namespace, collection) = (namespace.to_owned(), collection.to_owned());
        Self { namespace, collection, hash: hex(&Sha256::digest(key)) }
    }

    fn hashed(&self) -> Namespace {
        Namespace::Hashed(self.namespace.clone(), self.collection.clone())
    }

    fn private(&self) -> Namespace {
        Namespace::Private(self.namespace.clone(), self.collection.clone())
    }
}

/// A key that is to go, unless it was written again after block `written`.
#[derive(Debug)]
struct Expiring {
    key: HashedKey,
    /// Its name, where this peer holds the collection.
    name: Option<String>,
    written: u64,
}

/// What goes with which block, and what was purged up to when.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    expiring: BTreeMap<u64, Vec<Expiring>>,
    purged: BTreeMap<HashedKey, Version>,
}

/// The block with which data of block `written` goes, where it lives for `blocks_to_live`; `None`: never.
pub(super) fn expires_with(written: u64, blocks_to_live: u64) -> Option<u64> {
    if blocks_to_live == 0 { None } else { written.checked_add(blocks_to_live)?.checked_add(1) }
}

/// What a block did to keys of collections.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Written keys, with how many blocks they live.
    pub(super) written: Vec<(HashedKey, u64)>,
    /// The names of those whose collections this peer holds.
    pub(super) names: HashMap<HashedKey, String>,
    /// Purged keys, with the transaction that did it.
    pub(super) purged: Vec<(HashedKey, Version)>,
}

impl Schedule {
    /// Whether what `version` did to a value is purged: by itself, or since.
    pub(super) fn is_purged(&self, key: &HashedKey, version: Version) -> bool {
        self.purged.get(key).is_some_and(|purged| *purged >= version)
    }
}

/// Ends block `block`: what is purged is forgotten, what has lived long enough goes, and what was written is scheduled.
pub(super) fn end_of_block(state: &mut State, schedule: &mut Schedule, block: u64, touched: Touched) {
    let Touched { written, mut names, purged } = touched;
    for (key, version) in purged {
        if let Some(name) = names.get(&key) {
            state.forget(&key.private(), name, version);
        }
        schedule.purged.insert(key, version);
    }
    let end = Version { block, transaction: u64::MAX };
    for Expiring { key, name, written } in schedule.expiring.remove(&block).unwrap_or_default() {
        expire(state, &key.hashed(), &key.hash, written, end);
        if let Some(name) = name {
            expire(state, &key.private(), &name, written, end);
        }
    }
    for (key, blocks_to_live) in written {
        let Some(with) = expires_with(block, blocks_to_live) else { continue };
        let name = names.remove(&key);
        schedule.expiring.entry(with).or_default().push(Expiring { key, name, written: block });
    }
}

/// Deletes a key that was last written by block `written`.
fn expire(state: &mut State, namespace: &Namespace, key: &str, written: u64, end: Version) {
    if state.get(namespace, key, View::Latest).is_some_and(|entry| entry.version.block == written) {
        state.put(namespace, key, end, None, Metadata::default());
        state.forget(namespace, key, end);
    }
}
