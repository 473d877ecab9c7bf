//! A block with the private data that belongs to its transactions.
//!
//! A module of its own because private data is not in the block: the peer puts it beside it, for those collections that
//! the asking organization may see and as far as the peer has it. What ties the two together are the hashes of keys and
//! values in the block.
//!
//! Source: `fabric-protos/peer/events.proto`, Fabric 3.1.5 `core/peer/deliverevents.go`, `core/ledger/kvledger`.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::{Block, BlockError};
use crate::pb::common;
use crate::pb::kvrwset::{HashedRwSet, KvWrite, KvrwSet};
use crate::pb::protos::BlockAndPrivateData;
use crate::pb::rwset::TxPvtReadWriteSet;

/// A block with the private data that goes with it.
#[derive(Debug, Clone)]
pub struct BlockWithPrivateData {
    /// The block as it was received.
    pub block: common::Block,
    sets: BTreeMap<u64, TxPvtReadWriteSet>,
}

/// One value that a transaction wrote into a private data collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateWrite {
    /// The transaction's place in its block.
    pub tx_index: u64,
    /// The chaincode.
    pub chaincode: String,
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// What was written; `None` when the key was deleted.
    pub value: Option<Bytes>,
}

impl BlockWithPrivateData {
    pub(crate) fn of_message(message: BlockAndPrivateData) -> Self {
        Self { block: message.block.unwrap_or_default(), sets: message.private_data_map }
    }

    /// The private data, in order of transactions.
    ///
    /// # Errors
    /// [`BlockError::Malformed`] when it cannot be read.
    pub fn writes(&self) -> Result<Vec<PrivateWrite>, BlockError> {
        let mut all = Vec::new();
        for (&tx_index, set) in &self.sets {
            for namespace in &set.ns_pvt_rwset {
                for collection in &namespace.collection_pvt_rwset {
                    let set: KvrwSet = decode("private data", &collection.rwset)?;
                    all.extend(set.writes.into_iter().map(|KvWrite { key, is_delete, value }| PrivateWrite {
                        tx_index,
                        chaincode: namespace.namespace.clone(),
                        collection: collection.collection_name.clone(),
                        key,
                        value: (!is_delete).then_some(value),
                    }));
                }
            }
        }
        Ok(all)
    }

    /// That every private write is one whose hashes are in the block. (Some may be missing: what was purged, or what the
    /// peer has not got.)
    ///
    /// # Errors
    /// [`BlockError`] when something cannot be read, [`BlockError::PrivateData`] when something is not in the block.
    pub(crate) fn check(&self) -> Result<(), BlockError> {
        if self.sets.is_empty() {
            return Ok(());
        }
        let block = Block::new(self.block.clone())?;
        let mut hashes: HashMap<(u64, String, String, Bytes), Option<Bytes>> = HashMap::new();
        for transaction in block.transactions() {
            let index = transaction.index as u64;
            if !self.sets.contains_key(&index) {
                continue;
            }
            for action in transaction.actions() {
                let set = action.read_write_set().map_err(|error| BlockError::malformed("read-write set", &error))?;
                for namespace in set.ns_rwset {
                    for collection in namespace.collection_hashed_rwset {
                        let hashed: HashedRwSet = decode("hashed writes", &collection.hashed_rwset)?;
                        for write in hashed.hashed_writes {
                            let (chaincode, name) = (namespace.namespace.clone(), collection.collection_name.clone());
                            let value = (!write.is_delete && !write.is_purge).then_some(write.value_hash);
                            hashes.insert((index, chaincode, name, write.key_hash), value);
                        }
                    }
                }
            }
        }
        let hash = |bytes: &[u8]| Bytes::copy_from_slice(&Sha256::digest(bytes));
        for write in self.writes()? {
            let place = (write.tx_index, write.chaincode, write.collection, hash(write.key.as_bytes()));
            if hashes.get(&place) != Some(&write.value.as_deref().map(hash)) {
                return Err(BlockError::PrivateData { number: block.number() });
            }
        }
        Ok(())
    }
}

fn decode<M: Message + Default>(what: &'static str, bytes: &Bytes) -> Result<M, BlockError> {
    M::decode(bytes.clone()).map_err(|error| BlockError::malformed(what, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::rwset::{CollectionPvtReadWriteSet, NsPvtReadWriteSet};

    /// The block of a real peer in which private data was written, with `value` beside it.
    fn block(collection: &str, key: &str, value: &str) -> BlockWithPrivateData {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/blocks/22-private/block.pb");
        let block = common::Block::decode(&std::fs::read(path).unwrap()[..]).unwrap();
        let write = KvWrite { key: key.into(), is_delete: false, value: Bytes::copy_from_slice(value.as_bytes()) };
        let set = KvrwSet { writes: vec![write], ..Default::default() }.encode_to_vec().into();
        let collection = CollectionPvtReadWriteSet { collection_name: collection.into(), rwset: set };
        let namespace = NsPvtReadWriteSet { namespace: "golden".into(), collection_pvt_rwset: vec![collection] };
        let set = TxPvtReadWriteSet { data_model: 0, ns_pvt_rwset: vec![namespace] };
        let message = BlockAndPrivateData { block: Some(block), private_data_map: [(0, set)].into() };
        BlockWithPrivateData::of_message(message)
    }

    #[test]
    fn private_data_is_held_against_the_hashes_in_the_block() {
        let good = block("c1", "p1", "secret");
        good.check().unwrap();
        let write = &good.writes().unwrap()[0];
        assert_eq!((write.collection.as_str(), write.key.as_str()), ("c1", "p1"));
        assert_eq!(write.value.as_deref(), Some(&b"secret"[..]));
        for (collection, key, value) in [("c1", "p1", "other"), ("c1", "p2", "secret"), ("c2", "p1", "secret")] {
            let error = block(collection, key, value).check().unwrap_err();
            assert_eq!(error, BlockError::PrivateData { number: 22 }, "{collection} {key} {value}");
        }
        let mut elsewhere = block("c1", "p1", "secret");
        let set = elsewhere.sets.remove(&0).unwrap();
        elsewhere.sets.insert(9, set);
        assert!(elsewhere.check().is_err(), "a transaction that the block does not have");
    }
}
