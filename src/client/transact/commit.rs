//! Whether and how a transaction was committed, as an own peer says.
//!
//! A module of its own because it runs beside the ordering: a transaction may be seen committed before any orderer has
//! said that it took it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{BroadcastError, CommitStatus, SubmitError, Way, broadcast};
use crate::client::channel::Channel;
use crate::client::deliver::FilteredBlockStream;
use crate::client::events::Start;
use crate::fabric::block::ValidationCode;
use crate::fabric::identity::SignError;
use crate::fabric::names::{BlockNumber, TxId};
use crate::pb::common::Envelope;
use crate::pb::gateway::{CommitStatusResponse, SignedCommitStatusRequest};
use crate::pb::protos::FilteredBlock;
use crate::runtime::retry::Backoff;

/// How long a commit may be listened for in vain before a transaction is sent all the same.
const OPEN: Duration = Duration::from_secs(10);

/// How long a transaction may be on its way before the same bytes are handed in once more; doubles each time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for a transaction that no orderer has said to have taken: most likely it is not on its way at all.
const UNTAKEN: Duration = Duration::from_secs(1);

/// How long a Gateway service may keep silent about a transaction before another one is asked.
const SILENT: Duration = Duration::from_secs(20);

/// An open ear for a commit.
pub(super) enum Watch {
    /// It will be in one of these blocks.
    Blocks(FilteredBlockStream),
    /// Somebody listens for us.
    Gateway(SignedCommitStatusRequest),
}

impl Watch {
    pub(super) async fn new(channel: &Channel, tx_id: &TxId) -> Result<Self, SignError> {
        match channel.way() {
            Way::Direct => Ok(Self::Blocks(channel.filtered_blocks(Start::Newest))),
            Way::Gateway => {
                let request = super::gateway::commit_status_request(channel, tx_id);
                let signature = channel.client().signer().sign(&request).await?;
                Ok(Self::Gateway(SignedCommitStatusRequest { request, signature }))
            }
        }
    }

    /// Waits until a peer delivers. Without one the transaction is sent as well, and looked up afterwards.
    pub(super) async fn open(&mut self) {
        // The newest block, which was there before the transaction.
        if let Self::Blocks(blocks) = self {
            let _ = tokio::time::timeout(OPEN, blocks.next()).await;
        }
    }
}

/// Hands the transaction in and waits for its commit.
pub(super) async fn order_and_watch(
    channel: &Channel,
    mut watch: Watch,
    tx_id: &TxId,
    envelope: Envelope,
) -> Result<CommitStatus, SubmitError> {
    let begun = Instant::now();
    let end = begun + channel.client().shared.timeouts.order + channel.client().shared.timeouts.commit;
    let mut patience = PATIENCE;
    let mut first = true;
    loop {
        let ordered = tokio::select! {
            biased;
            seen = until_seen(channel, &mut watch, tx_id) => return Ok(seen),
            ordered = hand_in(channel, tx_id, &envelope) => ordered,
        };
        let wait = match ordered {
            // Only of the first try it is certain that nothing else is under way.
            Err(source) if first && !source.may_be_ordered() => {
                return Err(SubmitError::NotOrdered { tx_id: tx_id.clone(), source });
            }
            Err(error) => {
                tracing::debug!(channel = %channel.name(), %tx_id, %error, "transaction may not be ordered");
                UNTAKEN
            }
            Ok(()) => {
                let longer = patience * 2;
                std::mem::replace(&mut patience, longer)
            }
        };
        first = false;
        let slice = end.min(Instant::now() + wait);
        if let Ok(seen) = tokio::time::timeout_at(slice, until_seen(channel, &mut watch, tx_id)).await {
            return Ok(seen);
        }
        if let Some((block, code)) = lookup(channel, tx_id).await {
            return Ok(CommitStatus { tx_id: tx_id.clone(), block, code });
        }
        if Instant::now() >= end {
            return Err(SubmitError::Undecided { tx_id: tx_id.clone(), waited: begun.elapsed() });
        }
        // An orderer that loses the lead forgets what it took; and one that is not honest may be asked no more.
        channel.client().shared.orderer_turn.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(channel = %channel.name(), %tx_id, "transaction is not seen yet and handed in again");
    }
}

/// Hands an envelope in, the channel's way.
pub(super) async fn hand_in(channel: &Channel, tx_id: &TxId, envelope: &Envelope) -> Result<(), BroadcastError> {
    match channel.way() {
        Way::Direct => broadcast(channel.client(), Some(channel), envelope).await,
        Way::Gateway => super::gateway::hand_in(channel, tx_id, envelope).await,
    }
}

/// Waits for the block that holds the transaction.
async fn until_seen(channel: &Channel, watch: &mut Watch, tx_id: &TxId) -> CommitStatus {
    match watch {
        Watch::Blocks(blocks) => {
            let (block, code) = until_delivered(channel, blocks, tx_id).await;
            CommitStatus { tx_id: tx_id.clone(), block, code }
        }
        Watch::Gateway(request) => until_told(channel, request, tx_id).await,
    }
}

/// Asks one own peer's Gateway service after the other, until one tells.
pub(super) async fn until_told(channel: &Channel, request: &SignedCommitStatusRequest, tx_id: &TxId) -> CommitStatus {
    let client = channel.client();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        for peer in client.own_peers() {
            match peer.gateway_commit_status(request.clone(), SILENT).await {
                Ok(CommitStatusResponse { result, block_number }) => {
                    let code = ValidationCode::from(result);
                    return CommitStatus { tx_id: tx_id.clone(), block: block_number, code };
                }
                Err(error) => tracing::debug!(channel = %channel.name(), %tx_id, %error, "commit status is not told"),
            }
        }
        tokio::time::sleep(backoff.next().unwrap_or_default()).await;
    }
}

async fn until_delivered(
    channel: &Channel,
    blocks: &mut FilteredBlockStream,
    tx_id: &TxId,
) -> (BlockNumber, ValidationCode) {
    loop {
        match blocks.next().await {
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
