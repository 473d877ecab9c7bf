//! One channel's ledger on one peer: its blocks, its state, and which transactions it has seen.
//!
//! A module of its own because it is the part that must be right: everything else moves messages. It decides about
//! conflicts ([`mvcc`]) and nothing else; signatures and policies are checked before a block comes here.
//!
//! Invariant: a block is either wholly visible or not at all, because readers look below the height that was current
//! when they began.

pub(crate) mod mvcc;
mod simulator;
mod state;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

pub(crate) use self::mvcc::ReadWriteSet;
pub(crate) use self::simulator::{SimulationError, SimulationResults, Simulator};
use self::state::State;
pub(crate) use self::state::{Version, View};
pub(crate) use self::store::BlockStore;
use crate::pb::common::{Block, BlockMetadataIndex};
use crate::pb::protos::TxValidationCode;
use crate::pb::rwset;

/// The private sets of one organization on all channels, by channel and transaction.
///
/// In a network of processes they travel by gossip among the organization's peers; here the peers share them.
#[derive(Debug, Default)]
pub(crate) struct PrivateSets(Mutex<HashMap<(String, String), rwset::TxPvtReadWriteSet>>);

impl PrivateSets {
    /// Keeps what an endorsement wrote privately until (and after) its transaction commits.
    pub(crate) fn keep(&self, channel: &str, tx_id: &str, set: rwset::TxPvtReadWriteSet) {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.insert((channel.to_owned(), tx_id.to_owned()), set);
    }

    fn get(&self, channel: &str, tx_id: &str, namespace: &str, collection: &str) -> Option<Bytes> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let set = sets.get(&(channel.to_owned(), tx_id.to_owned()))?;
        let set = set.ns_pvt_rwset.iter().find(|set| set.namespace == namespace)?;
        let set = set.collection_pvt_rwset.iter().find(|set| set.collection_name == collection)?;
        Some(set.rwset.clone())
    }
}

/// Where a transaction lies, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransactionPlace {
    pub(crate) block: u64,
    pub(crate) index: usize,
    pub(crate) code: TxValidationCode,
}

/// A transaction of a block on its way in, as the checks of signatures and policies left it.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Empty where the envelope could not be read, and for configurations.
    pub(crate) tx_id: String,
    pub(crate) code: TxValidationCode,
    /// What it reads and writes, where it is valid so far.
    pub(crate) set: Option<ReadWriteSet>,
}

/// One channel's ledger on one peer.
#[derive(Debug)]
pub(crate) struct Ledger {
    channel: String,
    own_collection: String,
    blocks: BlockStore,
    state: RwLock<State>,
    transactions: RwLock<HashMap<String, TransactionPlace>>,
    by_hash: RwLock<HashMap<Vec<u8>, u64>>,
    private: Arc<PrivateSets>,
}

impl Ledger {
    /// The ledger of `channel` at a peer of `organization`, which begins with `genesis`.
    pub(crate) fn new(channel: &str, organization: &str, genesis: Block, private: Arc<PrivateSets>) -> Self {
        let hash = genesis.header.as_ref().map(crate::devnet::blocks::header_hash).unwrap_or_default();
        Self {
            channel: channel.to_owned(),
            own_collection: implicit_collection(organization),
            blocks: BlockStore::new(Arc::new(genesis)),
            state: RwLock::default(),
            transactions: RwLock::default(),
            by_hash: RwLock::new(HashMap::from([(hash, 0)])),
            private,
        }
    }

    /// The channel's name.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// The blocks.
    pub(crate) fn blocks(&self) -> &BlockStore {
        &self.blocks
    }

    /// Whether this peer holds the content of a collection.
    pub(crate) fn holds(&self, collection: &str) -> bool {
        self.own_collection == collection
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a transaction is, if it is in the ledger.
    pub(crate) fn transaction(&self, tx_id: &str) -> Option<TransactionPlace> {
        self.transactions.read().unwrap_or_else(PoisonError::into_inner).get(tx_id).copied()
    }

    /// The number of the block with the given header hash.
    pub(crate) fn block_by_hash(&self, hash: &[u8]) -> Option<u64> {
        self.by_hash.read().unwrap_or_else(PoisonError::into_inner).get(hash).copied()
    }

    /// Commits `block`: checks for conflicts in order, applies what is valid, notes the codes in the metadata.
    pub(crate) fn commit(&self, block: &Block, checked: Vec<Checked>) {
        let Some(header) = &block.header else { return };
        let number = header.number;
        let mut codes = Vec::with_capacity(checked.len());
        let mut places = BTreeMap::new();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (index, transaction) in checked.into_iter().enumerate() {
            let mut code = transaction.code;
            if let (TxValidationCode::Valid, Some(set)) = (code, &transaction.set) {
                code = mvcc::check(&state, set, number);
                if code == TxValidationCode::Valid {
                    let version = Version { block: number, transaction: index as u64 };
                    mvcc::apply(&mut state, set, version, |namespace, collection| {
                        self.private.get(&self.channel, &transaction.tx_id, namespace, collection)
                    });
                }
            }
            codes.push(u8::try_from(i32::from(code)).unwrap_or(u8::MAX));
            if !transaction.tx_id.is_empty() {
                places.entry(transaction.tx_id).or_insert(TransactionPlace { block: number, index, code });
            }
        }
        drop(state);
        let mut block = block.clone();
        let metadata = &mut block.metadata.get_or_insert_default().metadata;
        let filter = BlockMetadataIndex::TransactionsFilter as usize;
        if metadata.len() <= filter + 2 {
            metadata.resize(filter + 3, Bytes::new());
        }
        metadata[filter] = codes.into();
        {
            let mut transactions = self.transactions.write().unwrap_or_else(PoisonError::into_inner);
            for (tx_id, place) in places {
                transactions.entry(tx_id).or_insert(place);
            }
            let mut hashes = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
            hashes.insert(crate::devnet::blocks::header_hash(header), number);
        }
        // Last: from here on readers see the block.
        self.blocks.append(Arc::new(block));
    }
}

/// The collection that each organization has by itself.
pub(crate) fn implicit_collection(organization: &str) -> String {
    format!("_implicit_org_{organization}")
}

#[cfg(test)]
mod tests;
