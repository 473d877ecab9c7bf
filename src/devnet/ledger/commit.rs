//! A block on its way into the ledger.
//!
//! A file of its own because the order of the steps is the point: the chain, then each transaction by itself against
//! the state of the block before, then all in their order against what the earlier ones of the block changed, then the
//! state, then the block, then word of it.
//!
//! Source: Fabric 3.1.5 `core/committer/txvalidator/v20/validator.go`, `core/ledger/kvledger/kv_ledger.go`.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::envelope::{self, Endorsed, Headers};
use super::state::Version;
use super::{Ledger, LedgerError, TransactionPlace, implicit_owner, mvcc};
use crate::fabric::block::{ValidationCode, data_hash, header_hash};
use crate::fabric::names::TxId;
use crate::pb::common::{self, BlockMetadataIndex, HeaderType};

/// A transaction after the checks that look at it alone.
#[derive(Debug)]
struct Checked {
    tx_id: Option<TxId>,
    outcome: Result<Valid, ValidationCode>,
}

/// What a transaction that is valid so far does.
#[derive(Debug)]
enum Valid {
    Endorsed(Endorsed),
    Config,
}

impl Ledger {
    /// Takes the next block: checks it, notes the validation codes in its metadata, applies what is valid.
    ///
    /// Cancel safety: dropped before its end, the block is not taken.
    ///
    /// # Errors
    /// [`LedgerError`] when the block is not the next of this chain; nothing has changed then.
    pub(crate) async fn commit(&self, block: common::Block) -> Result<(), LedgerError> {
        let _one_at_a_time = self.committing.lock().await;
        let number = self.check_chain(&block)?;
        let data = block.data.as_ref().map(|data| data.data.clone()).unwrap_or_default();
        let mut checked = Vec::with_capacity(data.len());
        for envelope in &data {
            checked.push(self.check(envelope));
            // Signatures take their time, and others want to run.
            tokio::task::yield_now().await;
        }
        self.mark_duplicates(&mut checked);
        self.apply(block, number, checked);
        Ok(())
    }

    /// The block's number, if it is the next one.
    fn check_chain(&self, block: &common::Block) -> Result<u64, LedgerError> {
        let header = block.header.as_ref().ok_or(LedgerError::Missing("header"))?;
        let expected = self.height();
        if header.number != expected {
            return Err(LedgerError::NotNext { expected, got: header.number });
        }
        let last = self.blocks.last();
        if last.header.as_ref().is_none_or(|last| header.previous_hash[..] != header_hash(last)) {
            return Err(LedgerError::PreviousHash(header.number));
        }
        check_data_hash(block)?;
        Ok(header.number)
    }

    fn check(&self, envelope: &Bytes) -> Checked {
        Checked { tx_id: envelope::claimed_tx_id(envelope), outcome: self.check_alone(envelope) }
    }

    fn check_alone(&self, envelope: &Bytes) -> Result<Valid, ValidationCode> {
        let headers = Headers::decode(envelope)?;
        match headers.kind() {
            HeaderType::EndorserTransaction => {
                let endorsed = Endorsed::decode(&headers)?;
                Ok(Valid::Endorsed(endorsed))
            }
            HeaderType::Config => Ok(Valid::Config),
            _ => Err(ValidationCode::UnsupportedTxPayload),
        }
    }

    /// Whether this peer may hold the content of a collection.
    fn holds(&self, collection: &str) -> bool {
        implicit_owner(collection) == Some(self.own_org.as_str())
    }

    /// Of several transactions with one ID the first counts, be it of an earlier block or of this one.
    fn mark_duplicates(&self, checked: &mut [Checked]) {
        let index = self.index();
        let mut in_block = HashSet::new();
        for transaction in checked {
            let Some(tx_id) = &transaction.tx_id else { continue };
            if !matches!(transaction.outcome, Ok(Valid::Endorsed(_))) {
                continue;
            }
            if index.transactions.contains_key(tx_id) || !in_block.insert(tx_id.clone()) {
                transaction.outcome = Err(ValidationCode::DuplicateTxid);
            }
        }
    }

    fn apply(&self, block: common::Block, number: u64, checked: Vec<Checked>) {
        let mut codes = Vec::with_capacity(checked.len());
        let mut places = Vec::with_capacity(checked.len());
        let mut configured = false;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (index, transaction) in checked.into_iter().enumerate() {
            let code = match &transaction.outcome {
                Ok(Valid::Endorsed(endorsed)) => {
                    let code = mvcc::check(&state, &endorsed.set, number);
                    if code.is_valid() {
                        let version = Version { block: number, transaction: index as u64 };
                        mvcc::apply(&mut state, &endorsed.set, version, |namespace, collection| {
                            let tx_id = transaction.tx_id.as_ref().filter(|_| self.holds(&collection.name))?;
                            self.private.get(tx_id, &namespace.name, &collection.name, &collection.private_hash)
                        });
                    }
                    code
                }
                Ok(Valid::Config) => {
                    configured = true;
                    ValidationCode::Valid
                }
                Err(code) => *code,
            };
            codes.push(code);
            if let Some(tx_id) = transaction.tx_id {
                places.push((tx_id, TransactionPlace { block: number, index, code }));
            }
        }
        drop(state);
        let block = with_codes(block, &codes);
        {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            for (tx_id, place) in places {
                index.transactions.entry(tx_id).or_insert(place);
            }
            if let Some(header) = &block.header {
                index.blocks.insert(header_hash(header), number);
            }
            if configured {
                index.last_config = number;
            }
        }
        // Last: from here on readers see the block.
        self.blocks.append(Arc::new(block));
    }
}

/// Whether the data are those that the header names.
pub(super) fn check_data_hash(block: &common::Block) -> Result<(), LedgerError> {
    let header = block.header.as_ref().ok_or(LedgerError::Missing("header"))?;
    let data = block.data.as_ref().ok_or(LedgerError::Missing("data"))?;
    if header.data_hash[..] == data_hash(data) { Ok(()) } else { Err(LedgerError::DataHash(header.number)) }
}

/// The block with `codes` in its metadata, one byte for each transaction.
pub(super) fn with_codes(mut block: common::Block, codes: &[ValidationCode]) -> common::Block {
    let metadata = &mut block.metadata.get_or_insert_default().metadata;
    let all = BlockMetadataIndex::CommitHash as usize + 1;
    if metadata.len() < all {
        metadata.resize(all, Bytes::new());
    }
    metadata[BlockMetadataIndex::TransactionsFilter as usize] =
        codes.iter().map(|code| code.number()).collect::<Vec<_>>().into();
    block
}
