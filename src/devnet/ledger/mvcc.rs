//! Whether what a transaction read still holds when it is committed.
//!
//! A module of its own because it is the rule that makes a ledger of a list of blocks: transactions of a block are
//! taken in order, and one that read what an earlier one changed is marked, not applied.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/validation`.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::state::{Namespace, State, Version, View};
use crate::fabric::names::hex;
use crate::pb::protos::TxValidationCode;
use crate::pb::{kvrwset, rwset};

/// A transaction's read and write sets, decoded.
#[derive(Debug, Default)]
pub(crate) struct ReadWriteSet {
    pub(crate) namespaces: Vec<NamespaceSet>,
}

/// What a transaction did in one namespace.
#[derive(Debug)]
pub(crate) struct NamespaceSet {
    pub(crate) name: String,
    pub(crate) public: kvrwset::KvrwSet,
    pub(crate) collections: Vec<CollectionSet>,
}

/// What a transaction did in one collection, as hashes.
#[derive(Debug)]
pub(crate) struct CollectionSet {
    pub(crate) name: String,
    pub(crate) hashed: kvrwset::HashedRwSet,
    pub(crate) private_hash: Bytes,
}

impl NamespaceSet {
    /// Whether anything is written here, publicly or privately.
    pub(crate) fn writes(&self) -> bool {
        self.writes_publicly() || self.collections.iter().any(CollectionSet::writes)
    }

    /// Whether anything is written in the open.
    pub(crate) fn writes_publicly(&self) -> bool {
        !self.public.writes.is_empty() || !self.public.metadata_writes.is_empty()
    }
}

impl CollectionSet {
    /// Whether anything is written here.
    pub(crate) fn writes(&self) -> bool {
        !self.hashed.hashed_writes.is_empty() || !self.hashed.metadata_writes.is_empty()
    }
}

impl ReadWriteSet {
    /// Reads the `results` of a chaincode action.
    pub(crate) fn decode(results: &[u8]) -> Result<Self, prost::DecodeError> {
        let set = rwset::TxReadWriteSet::decode(results)?;
        let namespaces = set
            .ns_rwset
            .into_iter()
            .map(|set| {
                let collections = set
                    .collection_hashed_rwset
                    .into_iter()
                    .map(|set| {
                        Ok(CollectionSet {
                            name: set.collection_name,
                            hashed: kvrwset::HashedRwSet::decode(set.hashed_rwset)?,
                            private_hash: set.pvt_rwset_hash,
                        })
                    })
                    .collect::<Result<_, prost::DecodeError>>()?;
                Ok(NamespaceSet { name: set.namespace, public: kvrwset::KvrwSet::decode(set.rwset)?, collections })
            })
            .collect::<Result<_, prost::DecodeError>>()?;
        Ok(Self { namespaces })
    }
}

/// Checks a transaction of block `block` against the state, which holds what earlier transactions of the block wrote.
pub(crate) fn check(state: &State, set: &ReadWriteSet, block: u64) -> TxValidationCode {
    let unchanged = |namespace: &Namespace, key: &str, version: Option<&kvrwset::Version>| {
        !state.touched_by(namespace, key, block)
            && state.get(namespace, key, View::Latest).map(|entry| entry.version) == version.map(Version::from)
    };
    for in_namespace in &set.namespaces {
        let namespace = Namespace::Public(in_namespace.name.clone());
        if !in_namespace.public.reads.iter().all(|read| unchanged(&namespace, &read.key, read.version.as_ref())) {
            return TxValidationCode::MvccReadConflict;
        }
        for query in &in_namespace.public.range_queries_info {
            match range_unchanged(state, &namespace, query) {
                Some(true) => {}
                Some(false) => return TxValidationCode::PhantomReadConflict,
                None => return TxValidationCode::BadRwset,
            }
        }
        for collection in &in_namespace.collections {
            let namespace = Namespace::Hashed(in_namespace.name.clone(), collection.name.clone());
            let reads = &collection.hashed.hashed_reads;
            if !reads.iter().all(|read| unchanged(&namespace, &hex(&read.key_hash), read.version.as_ref())) {
                return TxValidationCode::MvccReadConflict;
            }
        }
    }
    TxValidationCode::Valid
}

/// `None` where the query is told as Merkle hashes, which this network never makes.
fn range_unchanged(state: &State, namespace: &Namespace, query: &kvrwset::RangeQueryInfo) -> Option<bool> {
    let then = match &query.reads_info {
        Some(kvrwset::range_query_info::ReadsInfo::RawReads(reads)) => reads.kv_reads.as_slice(),
        Some(kvrwset::range_query_info::ReadsInfo::ReadsMerkleHashes(_)) => return None,
        None => &[],
    };
    if !query.itr_exhausted && then.is_empty() {
        // Nothing was read of it, so nothing can have changed.
        return Some(true);
    }
    let now = state.range(
        namespace,
        &query.start_key,
        &query.end_key,
        !query.itr_exhausted,
        View::Latest,
        then.len().saturating_add(1),
    );
    let same = now.len() == then.len()
        && now.iter().zip(then).all(|((key, entry), read)| {
            *key == read.key && Some(entry.version) == read.version.as_ref().map(Version::from)
        });
    Some(same)
}

/// Applies a valid transaction. `private` yields the private sets that this peer holds, by namespace and collection.
pub(crate) fn apply(
    state: &mut State,
    set: &ReadWriteSet,
    version: Version,
    private: impl Fn(&str, &str) -> Option<Bytes>,
) {
    for in_namespace in &set.namespaces {
        let namespace = Namespace::Public(in_namespace.name.clone());
        for write in &in_namespace.public.writes {
            state.put(&namespace, &write.key, version, (!write.is_delete).then(|| write.value.clone()));
        }
        for collection in &in_namespace.collections {
            let names = (in_namespace.name.clone(), collection.name.clone());
            let namespace = Namespace::Hashed(names.0.clone(), names.1.clone());
            for write in &collection.hashed.hashed_writes {
                let value = (!write.is_delete).then(|| write.value_hash.clone());
                state.put(&namespace, &hex(&write.key_hash), version, value);
            }
            if !collection.writes() {
                continue;
            }
            let Some(bytes) = private(&names.0, &names.1) else { continue };
            // What does not match the hashes that all peers agreed on is not taken over.
            if Sha256::digest(&bytes)[..] != collection.private_hash[..] {
                continue;
            }
            let Ok(own) = kvrwset::KvrwSet::decode(bytes) else { continue };
            let namespace = Namespace::Private(names.0, names.1);
            for write in own.writes {
                state.put(&namespace, &write.key, version, (!write.is_delete).then_some(write.value));
            }
        }
    }
}
