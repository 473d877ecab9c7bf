//! Whether and how a transaction was committed, as an own peer says.
//!
//! A module of its own because it runs beside the ordering: a transaction may be seen committed before any orderer has
//! said that it took it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{SubmitError, broadcast};
use crate::client::channel::Channel;
use crate::client::deliver::FilteredBlockStream;
use crate::client::events::Start;
use crate::fabric::block::ValidationCode;
use crate::fabric::names::{BlockNumber, TxId};
use crate::pb::common::Envelope;
use crate::pb::protos::FilteredBlock;

/// How long a commit may be listened for in vain before a transaction is sent all the same.
const OPEN: Duration = Duration::from_secs(10);

/// How long a transaction may be on its way before the same bytes are handed in once more; doubles each time.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open ear for commits.
pub(super) struct Watch {
    blocks: FilteredBlockStream,
}

impl Watch {
    pub(super) fn new(channel: &Channel) -> Self {
        Self { blocks: channel.filtered_blocks(Start::Newest) }
    }

    /// Waits until a peer delivers. Without one the transaction is sent as well, and looked up afterwards.
    pub(super) async fn open(&mut self) {
        // The newest block, which was there before the transaction.
        let _ = tokio::time::timeout(OPEN, self.blocks.next()).await;
    }
}

/// Hands the transaction in and waits for its commit.
pub(super) async fn order_and_watch(
    channel: &Channel,
    mut watch: Watch,
    tx_id: &TxId,
    envelope: Envelope,
) -> Result<(BlockNumber, ValidationCode), SubmitError> {
    let begun = Instant::now();
    let end = begun + channel.client().shared.timeouts.order + channel.client().shared.timeouts.commit;
    let mut patience = PATIENCE;
    loop {
        let ordered = tokio::select! {
            biased;
            seen = until_seen(channel, &mut watch, tx_id) => return Ok(seen),
            ordered = broadcast(channel.client(), Some(channel), &envelope) => ordered,
        };
        match ordered {
            // Only of the first try it is certain that nothing else is under way.
            Err(source) if patience == PATIENCE && !source.may_be_ordered() => {
                return Err(SubmitError::NotOrdered { tx_id: tx_id.clone(), source });
            }
            Err(error) => tracing::debug!(channel = %channel.name(), %tx_id, %error, "transaction may not be ordered"),
            Ok(()) => {}
        }
        let slice = end.min(Instant::now() + patience);
        if let Ok(seen) = tokio::time::timeout_at(slice, until_seen(channel, &mut watch, tx_id)).await {
            return Ok(seen);
        }
        if let Some(seen) = lookup(channel, tx_id).await {
            return Ok(seen);
        }
        if Instant::now() >= end {
            return Err(SubmitError::Undecided { tx_id: tx_id.clone(), waited: begun.elapsed() });
        }
        // An orderer that loses the lead forgets what it took; and one that is not honest may be asked no more.
        channel.client().shared.orderer_turn.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(channel = %channel.name(), %tx_id, "transaction is not seen yet and handed in again");
        patience *= 2;
    }
}

/// Waits for the block that holds the transaction.
async fn until_seen(channel: &Channel, watch: &mut Watch, tx_id: &TxId) -> (BlockNumber, ValidationCode) {
    loop {
        match watch.blocks.next().await {
            Some(Ok(block)) => match find(&block, tx_id) {
                // A copy of what was sent twice: the first one counts, in an earlier block.
                Some(ValidationCode::DuplicateTxid) => {
                    return lookup(channel, tx_id).await.unwrap_or((block.number, ValidationCode::DuplicateTxid));
                }
                Some(code) => return (block.number, code),
                None => {}
            },
            // The stream may have missed it, where it had not begun yet.
            Some(Err(error)) => {
                tracing::debug!(channel = %channel.name(), %tx_id, %error, "commit is listened for in vain at the moment");
                if let Some(seen) = lookup(channel, tx_id).await {
                    return seen;
                }
            }
            // The stream has no end.
            None => std::future::pending().await,
        }
    }
}

fn find(block: &FilteredBlock, tx_id: &TxId) -> Option<ValidationCode> {
    let found = block.filtered_transactions.iter().find(|transaction| transaction.txid == tx_id.as_str())?;
    Some(ValidationCode::from(found.tx_validation_code))
}

/// Asks the ledger instead of listening.
async fn lookup(channel: &Channel, tx_id: &TxId) -> Option<(BlockNumber, ValidationCode)> {
    let code = channel.transaction(tx_id).await.ok()??;
    Some((channel.block_of(tx_id).await.ok()?, code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::protos::{FilteredTransaction, TxValidationCode};

    #[test]
    fn of_two_copies_in_a_block_the_first_counts() {
        let tx_id = TxId::parse("ab".repeat(32)).unwrap();
        let copy = |code: TxValidationCode| FilteredTransaction {
            txid: tx_id.to_string(),
            tx_validation_code: code.into(),
            ..Default::default()
        };
        let block = FilteredBlock {
            filtered_transactions: vec![
                FilteredTransaction { txid: "cd".repeat(32), tx_validation_code: 11, ..Default::default() },
                copy(TxValidationCode::Valid),
                copy(TxValidationCode::DuplicateTxid),
            ],
            ..Default::default()
        };
        assert_eq!(find(&block, &tx_id), Some(ValidationCode::Valid));
    }
}
