//! Ways for `crate::fuzzing` to how a peer judges what is ordered.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message as _;

use super::envelope::{self, Bound, Endorsed, Headers};
use super::rwset::ReadWriteSet;
use super::{Ledger, PrivateStore};
use crate::fabric::names::MspId;
use crate::pb::common::{Block, BlockData, BlockHeader};

const GENESIS: &[u8] = include_bytes!("../../../testdata/golden/blocks/00-genesis/block.pb");

fn ledger() -> &'static Ledger {
    static LEDGER: OnceLock<Ledger> = OnceLock::new();
    LEDGER.get_or_init(|| {
        let genesis = Block::decode(GENESIS).expect("a file of this repository");
        let organization = MspId::parse("Org1MSP").expect("a name that is in order");
        Ledger::create(genesis, Arc::new(PrivateStore::default()), organization).expect("a file of this repository")
    })
}

/// A transaction, a block of some, or a read-write set.
pub fn transaction(input: &[u8]) {
    let inside = Block::decode(input).ok().and_then(|block| block.data).unwrap_or_default();
    for envelope in inside.data.iter().take(8) {
        judged(envelope);
    }
    judged(input);
}

fn judged(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let _ = ReadWriteSet::decode(input);
    let _ = envelope::config(&bytes);
    let claimed = envelope::claimed_tx_id(&bytes);
    let endorsed = Headers::decode(&bytes).and_then(Bound::decode).and_then(Endorsed::decode);
    assert!(endorsed.is_err() || claimed.is_some());
    // The same on a channel, where signatures and policies are looked at.
    let block = Block {
        header: Some(BlockHeader { number: 1, ..BlockHeader::default() }),
        data: Some(BlockData { data: vec![bytes.clone(), bytes] }),
        metadata: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("threads can be had");
    assert_eq!(runtime.block_on(ledger().judge(&block)).len(), 2);
}
