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
use prost::Message as _;

use super::apply::{self, Applied, PrivateSet};
use super::commit_hash::{self, Changed};
use super::endorsement::{Committed, Judge};
use super::envelope::{self, Bound, Endorsed, Headers};
use super::expiry::{self, HashedKey, Touched};
use super::private::{is_member, static_collection};
use super::rules::Rules;
use super::state::{Metadata, Namespace, State, Version, View};
use super::{Current, Ledger, LedgerError, TransactionPlace, definitions, implicit_owner, mvcc};
use crate::devnet::lifecycle::state::Definition;
use crate::fabric::block::{ValidationCode, data_hash, header_hash};
use crate::fabric::config::ChannelConfig;
use crate::fabric::names::{TxId, hex};
use crate::pb::common::{self, BlockMetadataIndex, HeaderType};
use crate::pb::kvrwset;

/// A transaction after the checks that look at it alone.
#[derive(Debug)]
pub(super) struct Checked {
    tx_id: Option<TxId>,
    outcome: Result<Valid, ValidationCode>,
}

/// What a transaction that is valid so far does.
#[derive(Debug)]
enum Valid {
    Endorsed(Endorsed),
    Config(Arc<Rules>),
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
        let checked = self.judge(&block).await;
        self.apply(block, number, checked);
        Ok(())
    }

    /// Judges every transaction by itself, then which of them come twice.
    pub(super) async fn judge(&self, block: &common::Block) -> Vec<Checked> {
        let rules = self.current().rules;
        let mut judge = Judge::new(&rules, self);
        let mut checked = Vec::new();
        for envelope in block.data.iter().flat_map(|data| &data.data) {
            checked.push(self.check(envelope, &rules, &mut judge));
            // Signatures take their time, and others want to run.
            tokio::task::yield_now().await;
        }
        mark_duplicates(&mut checked);
        checked
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

    fn check(&self, envelope: &Bytes, rules: &Rules, judge: &mut Judge<'_, Self>) -> Checked {
        Checked { tx_id: envelope::claimed_tx_id(envelope), outcome: self.check_alone(envelope, rules, judge) }
    }

    fn check_alone(
        &self,
        envelope: &Bytes,
        rules: &Rules,
        judge: &mut Judge<'_, Self>,
    ) -> Result<Valid, ValidationCode> {
        let headers = Headers::decode(envelope)?;
        if headers.channel_header.channel_id != self.channel.as_str() {
            return Err(ValidationCode::TargetChainNotFound);
        }
        let creator = rules.identity(&headers.creator).ok_or(ValidationCode::BadCreatorSignature)?;
        if creator.verify(&headers.payload, &headers.signature).is_err() {
            return Err(ValidationCode::BadCreatorSignature);
        }
        match headers.kind() {
            HeaderType::EndorserTransaction => {
                let bound = Bound::decode(headers)?;
                if self.has_tx(&bound.tx_id) {
                    return Err(ValidationCode::DuplicateTxid);
                }
                let endorsed = Endorsed::decode(bound)?;
                judge.check(&endorsed)?;
                Ok(Valid::Endorsed(endorsed))
            }
            HeaderType::Config => {
                let invalid = ValidationCode::InvalidConfigTransaction;
                let config = envelope::config(envelope).ok_or(invalid)?;
                if rules.config().sequence().checked_add(1) != Some(config.sequence) {
                    return Err(invalid);
                }
                let config = ChannelConfig::from_config(self.channel.clone(), config).map_err(|_| invalid)?;
                Ok(Valid::Config(Arc::new(Rules::new(config))))
            }
            _ => Err(ValidationCode::UnsupportedTxPayload),
        }
    }

    /// The hash over all that blocks changed, up to block `number`.
    fn next_commit_hash(&self, state: &State, number: u64, changed: &Changed, codes: &[ValidationCode]) -> Bytes {
        let before = number.checked_sub(1).and_then(|before| self.block(before));
        let before = before.and_then(|block| {
            let metadata = block.metadata.as_ref()?.metadata.get(BlockMetadataIndex::CommitHash as usize)?.clone();
            Some(common::Metadata::decode(metadata).ok()?.value)
        });
        let codes: Vec<_> = codes.iter().map(|code| code.number()).collect();
        commit_hash::of(state, changed, &codes, &before.unwrap_or_default()).to_vec().into()
    }

    /// What this peer may hold of a transaction's private sets, and has been told.
    fn private_sets(&self, state: &State, number: u64, endorsed: &Endorsed) -> Vec<PrivateSet> {
        let mut sets = Vec::new();
        for in_namespace in &endorsed.set.namespaces {
            for collection in in_namespace.collections.iter().filter(|collection| collection.writes()) {
                let (namespace, name) = (&in_namespace.name, &collection.name);
                if !self.holds(namespace, name, state, number) {
                    continue;
                }
                if let Some(set) = self.private.get(&endorsed.tx_id, namespace, name, &collection.private_hash) {
                    sets.push(PrivateSet { namespace: namespace.clone(), collection: name.clone(), set });
                }
            }
        }
        sets
    }

    /// Whether this peer may hold the content of a collection.
    pub(super) fn holds(&self, namespace: &str, collection: &str, state: &State, number: u64) -> bool {
        if let Some(owner) = implicit_owner(collection) {
            return owner == self.own_org.as_str();
        }
        definitions::definition(state, View::Below(number), namespace).is_some_and(|definition| {
            static_collection(&definition.parameters.collections, collection)
                .is_some_and(|collection| is_member(self.own_org.as_str(), collection))
        })
    }

    /// Judges the transactions against each other, applies the valid ones, keeps the block and tells of it.
    pub(super) fn apply(&self, block: common::Block, number: u64, checked: Vec<Checked>) {
        let mut codes = Vec::with_capacity(checked.len());
        let mut places = Vec::with_capacity(checked.len());
        let mut configured = None;
        let (mut touched, mut applied) = (Touched::default(), Applied::default());
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (index, transaction) in checked.into_iter().enumerate() {
            let code = match &transaction.outcome {
                Ok(Valid::Endorsed(endorsed)) => {
                    let code = mvcc::check(&state, &endorsed.set, number);
                    if code.is_valid() {
                        let version = Version { block: number, transaction: index as u64 };
                        let private = self.private_sets(&state, number, endorsed);
                        apply::apply(&mut state, &endorsed.set, version, &private, &mut applied);
                        note_touched(&mut touched, &state, endorsed, version, &private);
                    }
                    code
                }
                Ok(Valid::Config(rules)) => {
                    configured = Some(Arc::clone(rules));
                    ValidationCode::Valid
                }
                Err(code) => *code,
            };
            codes.push(code);
            if let Some(tx_id) = transaction.tx_id {
                places.push((tx_id, TransactionPlace { block: number, index, code }));
            }
        }
        let commit_hash = self.next_commit_hash(&state, number, &applied.changed, &codes);
        apply::follow_hashes(&mut state, number, applied);
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        expiry::end_of_block(&mut state, &mut schedule, number, touched);
        drop(schedule);
        drop(state);
        let mut block = with_codes(block, &codes);
        note_commit_hash(&mut block, commit_hash);
        {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            for (tx_id, place) in places {
                index.transactions.entry(tx_id).or_insert(place);
            }
            if let Some(header) = &block.header {
                index.blocks.insert(header_hash(header), number);
            }
        }
        let block = Arc::new(block);
        if let Some(rules) = configured {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            *current = Current { rules, block: Arc::clone(&block) };
        }
        // Last: from here on readers see the block.
        self.blocks.append(block);
    }
}

impl Committed for Ledger {
    fn definition(&self, chaincode: &str) -> Option<Definition> {
        Self::definition(self, chaincode)
    }

    fn metadata(&self, namespace: &str, collection: &str, key: &str) -> Metadata {
        let namespace = match collection {
            "" => Namespace::Public(namespace.to_owned()),
            collection => Namespace::Hashed(namespace.to_owned(), collection.to_owned()),
        };
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.get(&namespace, key, View::Below(self.height())).map(|entry| entry.metadata).unwrap_or_default()
    }
}

/// Notes which keys of collections a valid transaction wrote, for the end of the block.
fn note_touched(touched: &mut Touched, state: &State, endorsed: &Endorsed, version: Version, private: &[PrivateSet]) {
    for in_namespace in endorsed.set.namespaces.iter().filter(|set| !set.collections.is_empty()) {
        let definition = definitions::definition(state, View::Below(version.block), &in_namespace.name);
        for collection in &in_namespace.collections {
            let config = definition
                .as_ref()
                .and_then(|definition| static_collection(&definition.parameters.collections, &collection.name));
            let blocks_to_live = config.map_or(0, |config| config.block_to_live);
            let key = |hash: &[u8]| HashedKey {
                namespace: in_namespace.name.clone(),
                collection: collection.name.clone(),
                hash: hex(hash),
            };
            let (writes, metadata) = (&collection.hashed.hashed_writes, &collection.hashed.metadata_writes);
            touched
                .purged
                .extend(writes.iter().filter(|write| write.is_purge).map(|write| (key(&write.key_hash), version)));
            if blocks_to_live > 0 {
                let hashes = writes.iter().map(|write| &write.key_hash);
                let hashes = hashes.chain(metadata.iter().map(|write| &write.key_hash));
                touched.written.extend(hashes.map(|hash| (key(hash), blocks_to_live)));
            }
        }
    }
    for set in private {
        let Ok(keys) = kvrwset::KvrwSet::decode(set.set.clone()) else { continue };
        let names = keys.writes.into_iter().map(|write| write.key);
        for name in names.chain(keys.metadata_writes.into_iter().map(|write| write.key)) {
            touched.names.insert(HashedKey::of(&set.namespace, &set.collection, &name), name);
        }
    }
}

/// Of several transactions with one ID the first in the block counts.
fn mark_duplicates(checked: &mut [Checked]) {
    let mut seen = HashSet::new();
    for transaction in checked {
        if let Ok(Valid::Endorsed(endorsed)) = &transaction.outcome
            && !seen.insert(endorsed.tx_id.clone())
        {
            transaction.outcome = Err(ValidationCode::DuplicateTxid);
        }
    }
}

/// Whether the data are those that the header names.
pub(super) fn check_data_hash(block: &common::Block) -> Result<(), LedgerError> {
    let header = block.header.as_ref().ok_or(LedgerError::Missing("header"))?;
    let data = block.data.as_ref().ok_or(LedgerError::Missing("data"))?;
    if header.data_hash[..] == data_hash(data) { Ok(()) } else { Err(LedgerError::DataHash(header.number)) }
}

fn note_commit_hash(block: &mut common::Block, hash: Bytes) {
    let metadata = block.metadata.as_mut().and_then(|it| it.metadata.get_mut(BlockMetadataIndex::CommitHash as usize));
    if let Some(metadata) = metadata {
        *metadata = common::Metadata { value: hash, signatures: Vec::new() }.encode_to_vec().into();
    }
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
