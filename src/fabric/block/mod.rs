//! Blocks as they were committed: hashes, transactions, validation codes, events.
//!
//! What was received stays beside the decoded view and is never encoded again. A block may hold transactions that are
//! rubbish (orderers look at little, and peers mark them invalid), so an unreadable transaction is a finding, not a
//! failure of the block.
//!
//! Source: `fabric-protos/common/common.proto`, `peer/transaction.proto`, Fabric 3.1.5 `protoutil/blockutils.go`.

mod code;
mod events;
mod filtered;
mod hash;
mod metadata;
mod private;
mod transaction;

use bytes::Bytes;
use prost::Message as _;

pub use code::ValidationCode;
pub use events::{ChaincodeEvent, chaincode_events, filtered_events};
pub use filtered::{filtered_block, filtered_block_leniently};
pub use hash::{data_hash, header_der, header_hash};
pub use metadata::{BlockSignature, commit_hash, last_config, signatures};
pub use private::{BlockWithPrivateData, PrivateWrite};
pub use transaction::{Action, Kind, Transaction};

use crate::fabric::names::BlockNumber;
use crate::pb::common;

/// Why bytes are no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The protobuf encoding is broken.
    #[error("{what} cannot be decoded: {reason}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A part is absent that every block has.
    #[error("block {number} has no {what}")]
    Missing {
        /// The block, as far as it is known.
        number: BlockNumber,
        /// Which part.
        what: &'static str,
    },
    /// Private data came with the block whose hashes are not in it.
    #[error("private data beside block {number} is not what the block has the hashes of")]
    PrivateData {
        /// The block.
        number: BlockNumber,
    },
    /// The transactions are not those that the header was made for.
    #[error("data of block {number} does not have the hash in its header")]
    DataHash {
        /// The block.
        number: BlockNumber,
    },
}

impl BlockError {
    pub(crate) fn malformed(what: &'static str, error: &prost::DecodeError) -> Self {
        Self::Malformed { what, reason: error.to_string() }
    }
}

/// A block: what was received, with its transactions decoded.
#[derive(Debug, Clone)]
pub struct Block {
    raw: common::Block,
    number: BlockNumber,
    transactions: Vec<Transaction>,
}

impl Block {
    /// Reads an encoded `common.Block`.
    ///
    /// # Errors
    /// [`BlockError`] when it is none or lacks its header or data.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, BlockError> {
        let raw = common::Block::decode(bytes.into()).map_err(|error| BlockError::malformed("block", &error))?;
        Self::new(raw)
    }

    /// The view of `raw`.
    ///
    /// # Errors
    /// [`BlockError::Missing`] without header or data.
    pub fn new(raw: common::Block) -> Result<Self, BlockError> {
        let number = raw.header.as_ref().ok_or(BlockError::Missing { number: 0, what: "header" })?.number;
        let data = raw.data.as_ref().ok_or(BlockError::Missing { number, what: "data" })?;
        let transactions = data
            .data
            .iter()
            .enumerate()
            .map(|(index, envelope)| Transaction::decode(index, envelope, validation(&raw, index)))
            .collect();
        Ok(Self { raw, number, transactions })
    }

    /// Its place in the channel.
    pub fn number(&self) -> BlockNumber {
        self.number
    }

    /// What was received.
    pub fn raw(&self) -> &common::Block {
        &self.raw
    }

    /// What was received, given away.
    pub fn into_raw(self) -> common::Block {
        self.raw
    }

    /// The transactions in order.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// The SHA-256 of the header, which the next block names as its predecessor.
    pub fn hash(&self) -> [u8; 32] {
        self.raw.header.as_ref().map_or([0; 32], header_hash)
    }

    /// Whether this block changes the channel's configuration.
    pub fn is_config(&self) -> bool {
        self.transactions.iter().any(|transaction| matches!(transaction.kind, Kind::Config(_)))
    }

    /// That the data has the hash that the header holds. (Who made the header is another question.)
    ///
    /// # Errors
    /// [`BlockError::DataHash`] when it has not.
    pub fn check_data(&self) -> Result<(), BlockError> {
        let items = self.raw.data.as_ref().map(data_hash);
        let named = self.raw.header.as_ref().map(|header| header.data_hash.as_ref());
        match (items, named) {
            (Some(computed), Some(named)) if computed == *named => Ok(()),
            _ => Err(BlockError::DataHash { number: self.number }),
        }
    }
}

/// The code that the peer gave to transaction `index`; blocks from orderers have none.
pub(crate) fn validation(block: &common::Block, index: usize) -> ValidationCode {
    block
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.metadata.get(common::BlockMetadataIndex::TransactionsFilter as usize))
        .and_then(|codes| codes.get(index))
        .map_or(ValidationCode::NotValidated, |code| ValidationCode::from(*code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::common::{BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, Payload};
    use proptest::prelude::*;

    /// A block of one transaction whose parts are `noise`, down to a chosen depth.
    fn noisy(noise: &[u8], depth: u8) -> common::Block {
        let noise = Bytes::copy_from_slice(noise);
        let channel_header = ChannelHeader { r#type: 3, ..Default::default() }.encode_to_vec();
        let header = Header { channel_header: channel_header.into(), signature_header: Bytes::new() };
        let payload = match depth {
            0 => noise.clone(),
            _ => Payload { header: Some(header), data: noise.clone() }.encode_to_vec().into(),
        };
        let envelope = Envelope { payload, signature: Bytes::new() }.encode_to_vec();
        common::Block {
            header: Some(BlockHeader { number: 1, ..Default::default() }),
            data: Some(BlockData { data: vec![if depth == 2 { noise.clone() } else { envelope.into() }] }),
            metadata: Some(BlockMetadata { metadata: vec![noise.clone(), noise, Bytes::from_static(&[0])] }),
        }
    }

    #[test]
    fn rubbish_in_a_block_is_a_finding_of_its_transaction() {
        let block = Block::new(noisy(b"\xff", 0)).unwrap();
        assert!(matches!(block.transactions()[0].kind, Kind::Unreadable { .. }));
        assert!(chaincode_events(block.raw()).is_err(), "a valid transaction must be readable");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..80), depth in 0_u8..3) {
            let _ = Block::decode(noise.clone());
            let block = noisy(&noise, depth);
            let _ = (signatures(&block), last_config(&block), commit_hash(&block), chaincode_events(&block));
            for transaction in Block::new(block).unwrap().transactions() {
                let _ = transaction.creator();
                for action in transaction.actions() {
                    let _ = action.read_write_set();
                }
            }
        }
    }
}
