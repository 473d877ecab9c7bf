//! A transaction's read and write sets as they stand in a block.
//!
//! A file of its own because checks of policies, of conflicts and the applying all read them, and are to read the same.
//!
//! Source: `fabric-protos/ledger/rwset`.

use bytes::Bytes;
use prost::Message as _;

use crate::pb::{kvrwset, rwset};

/// A transaction's read and write sets, decoded.
#[derive(Debug, Default)]
pub(super) struct ReadWriteSet {
    pub(super) namespaces: Vec<NamespaceSet>,
}

/// What a transaction did in one namespace.
#[derive(Debug)]
pub(super) struct NamespaceSet {
    pub(super) name: String,
    pub(super) public: kvrwset::KvrwSet,
    pub(super) collections: Vec<CollectionSet>,
}

/// What a transaction did in one collection, as hashes.
#[derive(Debug)]
pub(super) struct CollectionSet {
    pub(super) name: String,
    pub(super) hashed: kvrwset::HashedRwSet,
    pub(super) private_hash: Bytes,
}

impl NamespaceSet {
    /// Whether anything is written here, publicly or privately.
    pub(super) fn writes(&self) -> bool {
        self.writes_publicly() || self.collections.iter().any(CollectionSet::writes)
    }

    /// Whether anything is written in the open.
    pub(super) fn writes_publicly(&self) -> bool {
        !self.public.writes.is_empty() || !self.public.metadata_writes.is_empty()
    }
}

impl CollectionSet {
    /// Whether anything is written here.
    pub(super) fn writes(&self) -> bool {
        !self.hashed.hashed_writes.is_empty() || !self.hashed.metadata_writes.is_empty()
    }
}

impl ReadWriteSet {
    /// Reads the `results` of a chaincode action.
    pub(super) fn decode(results: &[u8]) -> Result<Self, prost::DecodeError> {
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
