//! One channel's ledger on one peer: its blocks, its state, and which transactions it has seen.
//!
//! A module of its own because it is the part that must be right: everything else moves messages. A block from the
//! orderer is checked against the chain, its transactions one by one against signatures, policies and conflicts, and
//! what is valid becomes state.
//!
//! Does not fetch blocks and does not run chaincode: both are given to it.
//!
//! Invariant: a block is either wholly visible or not at all, because readers look below the height that was current
//! when they began.
//!
//! Source: Fabric 3.1.5 `core/committer`, `core/ledger/kvledger`.

mod apply;
mod commit;
mod commit_hash;
mod definitions;
mod endorsement;
mod envelope;
mod error;
mod expiry;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod merkle;
mod mvcc;
mod private;
mod private_data;
mod results;
mod rules;
mod rwset;
mod simulation;
mod state;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;

pub(crate) use self::endorsement::VALIDATION_PARAMETER;
pub(crate) use self::error::LedgerError;
pub(crate) use self::private::{PrivateStore, implicit_collection, implicit_owner};
use self::rules::Rules;
pub(crate) use self::simulation::{Results, Simulation, SimulationError};
pub(crate) use self::state::{Metadata, Version};
use self::state::{State, View};
pub(crate) use self::store::BlockStore;
use crate::devnet::access::Access;
use crate::devnet::lifecycle::state::Definition;
use crate::fabric::block::{ValidationCode, header_hash};
use crate::fabric::config::ChannelConfig;
use crate::fabric::names::{ChannelName, MspId, TxId};
use crate::pb::{common, protos};

/// Where a transaction lies, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransactionPlace {
    pub(crate) block: u64,
    pub(crate) index: usize,
    pub(crate) code: ValidationCode,
}

/// What is found by something else than a block's number.
#[derive(Debug, Default)]
struct Index {
    transactions: HashMap<TxId, TransactionPlace>,
    blocks: HashMap<[u8; 32], u64>,
}

/// The configuration that is in force, and the block that brought it.
#[derive(Debug, Clone)]
struct Current {
    rules: Arc<Rules>,
    block: Arc<common::Block>,
}

/// One channel's ledger on one peer.
#[derive(Debug)]
pub(crate) struct Ledger {
    channel: ChannelName,
    own_org: MspId,
    blocks: BlockStore,
    state: Arc<RwLock<State>>,
    index: RwLock<Index>,
    private: Arc<PrivateStore>,
    schedule: Mutex<expiry::Schedule>,
    current: RwLock<Current>,
    /// Held while a block is committed: one at a time, in order.
    committing: tokio::sync::Mutex<()>,
}

impl Ledger {
    /// A ledger of a peer of `own_org` that begins with `genesis`.
    ///
    /// # Errors
    /// [`LedgerError`] when `genesis` is not a block with a channel's first configuration.
    pub(crate) fn create(
        genesis: common::Block,
        private: Arc<PrivateStore>,
        own_org: MspId,
    ) -> Result<Self, LedgerError> {
        let header = genesis.header.as_ref().ok_or(LedgerError::Missing("header"))?;
        if header.number != 0 {
            return Err(LedgerError::NotNext { expected: 0, got: header.number });
        }
        let hash = header_hash(header);
        commit::check_data_hash(&genesis)?;
        let config = ChannelConfig::from_block(&genesis)?;
        let channel = config.channel().clone();
        let genesis = Arc::new(commit::with_codes(genesis, &[ValidationCode::Valid]));
        Ok(Self {
            channel,
            own_org,
            blocks: BlockStore::new(Arc::clone(&genesis)),
            state: Arc::default(),
            index: RwLock::new(Index { blocks: HashMap::from([(hash, 0)]), ..Index::default() }),
            private,
            schedule: Mutex::default(),
            current: RwLock::new(Current { rules: Arc::new(Rules::new(config)), block: genesis }),
            committing: tokio::sync::Mutex::default(),
        })
    }

    /// The channel's name.
    pub(crate) fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The blocks, for those who follow them.
    pub(crate) fn blocks(&self) -> &BlockStore {
        &self.blocks
    }

    /// How many blocks there are.
    pub(crate) fn height(&self) -> u64 {
        self.blocks.height()
    }

    /// Tells of every change of the height, which comes after the block is visible.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.blocks.watch()
    }

    /// The block with `number`; its metadata hold the validation codes.
    pub(crate) fn block(&self, number: u64) -> Option<Arc<common::Block>> {
        self.blocks.get(number)
    }

    /// The block whose header has the given hash.
    pub(crate) fn block_by_hash(&self, hash: &[u8]) -> Option<Arc<common::Block>> {
        let number = *self.index().blocks.get(hash)?;
        self.block(number)
    }

    /// The block that holds a transaction.
    pub(crate) fn block_by_tx_id(&self, tx_id: &TxId) -> Option<Arc<common::Block>> {
        self.block(self.place(tx_id)?.block)
    }

    /// What the configuration that is in force allows to whom.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(self.current().rules.access())
    }

    /// The block with the configuration that is in force.
    pub(crate) fn config_block(&self) -> Arc<common::Block> {
        self.current().block
    }

    /// Where a transaction is, if it is in the ledger.
    pub(crate) fn place(&self, tx_id: &TxId) -> Option<TransactionPlace> {
        self.index().transactions.get(tx_id).copied()
    }

    /// Whether a transaction is in the ledger, valid or not.
    pub(crate) fn has_tx(&self, tx_id: &TxId) -> bool {
        self.place(tx_id).is_some()
    }

    /// A transaction with what became of it.
    pub(crate) fn transaction(&self, tx_id: &TxId) -> Option<protos::ProcessedTransaction> {
        let place = self.place(tx_id)?;
        let block = self.block(place.block)?;
        let envelope: &Bytes = block.data.as_ref()?.data.get(place.index)?;
        Some(protos::ProcessedTransaction {
            transaction_envelope: Some(common::Envelope::decode(envelope.clone()).ok()?),
            validation_code: place.code.number().into(),
        })
    }

    /// Height and newest hashes.
    pub(crate) fn info(&self) -> common::BlockchainInfo {
        let last = self.blocks.last();
        let header = last.header.clone().unwrap_or_default();
        common::BlockchainInfo {
            height: header.number.saturating_add(1),
            current_block_hash: header_hash(&header).to_vec().into(),
            previous_block_hash: header.previous_hash,
            ..common::BlockchainInfo::default()
        }
    }

    /// A simulation on the state as it is now.
    pub(crate) fn simulate(&self) -> Simulation {
        Simulation::new(Arc::clone(&self.state), self.height())
    }

    /// The committed definition of a chaincode.
    pub(crate) fn definition(&self, chaincode: &str) -> Option<Definition> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        definitions::definition(&state, View::Below(self.height()), chaincode)
    }

    /// Whether anything was ever written in a chaincode's name, openly or privately.
    pub(crate) fn knows(&self, chaincode: &str) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).has_any(chaincode)
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
