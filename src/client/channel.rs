//! A channel as its member sees it: queries, transactions, blocks, events.
//!
//! The face of the room: the work is done in the modules beside it. System chaincodes answer questions about the
//! channel itself.
//!
//! Source: Fabric 3.1.5 `core/scc/{qscc,cscc}`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::deliver::{BlockStream, FilteredBlockStream, PrivateBlockStream, Span, Start};
use super::discovery::Cache;
use super::error::CallError;
use super::events::EventStream;
use super::gateway::Client;
use super::gateway_events::GatewayEventStream;
use super::lifecycle::OrgLifecycle;
use super::node::Peer;
use super::participation::BlockId;
use super::transact::{self, Committed, Endorsers, Retry, SubmitError, Way};
use super::turns::first_answer;
use crate::fabric::block::{Transaction, ValidationCode};
use crate::fabric::config::ChannelConfig;
use crate::fabric::names::{BlockNumber, ChaincodeName, ChannelName, TxId};
use crate::fabric::tx::Invocation;
use crate::pb::common::{Block, BlockchainInfo, HeaderType};
use crate::pb::protos::ProcessedTransaction;

/// Why a query brought no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// No own peer gave a result. This is what the one said that knew best: the chaincode's refusal if it ran, else
    /// the last peer's failure.
    #[error(transparent)]
    Failed(#[from] CallError),
    /// There is no own peer to ask. A client is not built without one.
    #[error("the organization has no peers")]
    NoPeers,
    /// The result is not what the system chaincode should give.
    #[error("result of {function} is not understood: {reason}")]
    Malformed {
        /// The function of the system chaincode.
        function: &'static str,
        /// What is wrong with its result.
        reason: String,
    },
}

impl EvaluateError {
    /// Of all peers' failures the one that tells most: a peer that answered knows more than one that was not reached,
    /// and the chaincode most, which spoke last.
    pub(super) fn best_of(mut failures: Vec<CallError>) -> Self {
        let best = failures.iter().rposition(|error| error.refusal().is_some()).unwrap_or(0);
        if failures.is_empty() { Self::NoPeers } else { Self::Failed(failures.swap_remove(best)) }
    }

    /// Whether the same query may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_retryable())
    }

    /// The status and the words of whoever refused, peer or chaincode.
    pub fn refusal(&self) -> Option<(i32, &str)> {
        match self {
            Self::Failed(error) => error.refusal(),
            Self::NoPeers | Self::Malformed { .. } => None,
        }
    }
}

/// A channel. Clones are the same channel.
#[derive(Clone)]
pub struct Channel {
    client: Client,
    name: ChannelName,
    way: Way,
    pub(super) cache: Arc<Cache>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.name).finish()
    }
}

impl Channel {
    pub(super) fn new(client: Client, name: ChannelName, cache: Arc<Cache>) -> Self {
        let way = client.shared.way;
        Self { client, name, way, cache }
    }

    /// The channel's name.
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Whose view of the channel this is.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How proposals and transactions go their way from here.
    pub fn way(&self) -> Way {
        self.way
    }

    /// The same channel by another way than the client's.
    #[must_use]
    pub fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// Runs `invocation` on an own peer and gives its result; nothing is written. A peer that does not answer is
    /// passed over. By the [`Gateway`](Way::Gateway) it may run on the peer of another organization, where no own one
    /// has the chaincode and there are no transient values.
    ///
    /// Cancel safety: a query has no effect, whether it is waited for or not.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn evaluate(&self, invocation: &Invocation) -> Result<Bytes, EvaluateError> {
        match self.way {
            Way::Direct => self.ask(invocation).await,
            Way::Gateway => {
                let header_type = HeaderType::EndorserTransaction;
                let (proposal, signed) =
                    self.client.propose(Some(&self.name), invocation, header_type).await.map_err(CallError::from)?;
                transact::evaluate_by_gateway(self, &proposal, &signed).await
            }
        }
    }

    /// Runs `invocation` on an own peer, straight.
    pub(super) async fn ask(&self, invocation: &Invocation) -> Result<Bytes, EvaluateError> {
        let peers = self.client.own_peers();
        let ask = async |peer: Peer| self.evaluate_on(&peer, invocation).await;
        match first_answer(peers, &self.client.shared.timeouts, ask).await {
            Ok((peer, result)) => {
                self.client.prefer(&peer);
                Ok(result)
            }
            Err(failures) => Err(EvaluateError::best_of(failures)),
        }
    }

    /// Runs `invocation` on this peer and gives its result; nothing is written.
    ///
    /// Cancel safety: as of [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn evaluate_on(&self, peer: &Peer, invocation: &Invocation) -> Result<Bytes, CallError> {
        self.client.query(peer, Some(&self.name), invocation).await
    }

    /// Has `invocation` endorsed, ordered and committed, and waits until an own peer has committed it as valid.
    ///
    /// Cancel safety: a cancellation ends the wait. Before the transaction reached an orderer nothing happens,
    /// afterwards it is committed all the same.
    ///
    /// # Errors
    /// [`SubmitError`], which tells whether the transaction may still take effect.
    pub async fn submit(&self, invocation: &Invocation, endorsers: Endorsers) -> Result<Committed, SubmitError> {
        transact::submit(self, invocation, &endorsers).await
    }

    /// [`submit`](Self::submit), as a new transaction as often as `retry` says: a [`Retry`], or a schedule such as
    /// [`Backoff::conflicts`](crate::runtime::retry::Backoff::conflicts), for which what lost against another
    /// transaction is tried again. A transaction that is undecided is looked up instead.
    ///
    /// Cancel safety: as of [`submit`](Self::submit).
    ///
    /// # Errors
    /// [`SubmitError`] of the last try.
    pub async fn submit_with_retry(
        &self,
        invocation: &Invocation,
        endorsers: Endorsers,
        retry: impl Into<Retry>,
    ) -> Result<Committed, SubmitError> {
        transact::submit_with_retry(self, invocation, &endorsers, retry.into()).await
    }

    /// [`submit_with_retry`](Self::submit_with_retry), unless it turns out not to be due: `is_due` is asked when the
    /// endorsers have answered, for each transaction that is made, and where it says no, nothing is ordered.
    ///
    /// For what must take effect once although the chaincode would take it twice. Who asks before endorsement alone can
    /// be late: an earlier transaction of the same content, whose fate was unknown, may be committed between question
    /// and endorsement. One that is committed after the endorsement makes this one invalid, as long as both read what
    /// the other writes; so `is_due` has to ask a peer that endorsed.
    ///
    /// Cancel safety: as of [`submit`](Self::submit).
    ///
    /// # Errors
    /// [`SubmitError`] of the last try.
    pub async fn submit_if_due<F: Future<Output = bool>>(
        &self,
        invocation: &Invocation,
        endorsers: Endorsers,
        retry: impl Into<Retry>,
        is_due: impl Fn() -> F,
    ) -> Result<Option<Committed>, SubmitError> {
        transact::submit_if_due(self, invocation, &endorsers, retry.into(), is_due).await
    }

    /// The number of blocks that an own peer has.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn height(&self) -> Result<BlockNumber, EvaluateError> {
        let info = self.ask(&self.qscc("GetChainInfo")).await?;
        Ok(decode::<BlockchainInfo>("GetChainInfo", &info)?.height)
    }

    /// The number of blocks that this peer has.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn height_of(&self, peer: &Peer) -> Result<BlockNumber, CallError> {
        let info = self.evaluate_on(peer, &self.qscc("GetChainInfo")).await?;
        match BlockchainInfo::decode(info) {
            Ok(info) => Ok(info.height),
            Err(error) => Err(CallError::Malformed { node: peer.node().clone(), reason: error.to_string() }),
        }
    }

    /// What became of a transaction, as an own peer committed it; `None` when it is on no block of the peer.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn transaction(&self, tx_id: &TxId) -> Result<Option<ValidationCode>, EvaluateError> {
        Ok(self.processed(tx_id).await?.map(|transaction| transaction.validation))
    }

    /// A transaction with the verdict on it.
    pub(super) async fn processed(&self, tx_id: &TxId) -> Result<Option<Transaction>, EvaluateError> {
        let query = self.qscc("GetTransactionByID").arg(tx_id.to_string());
        match self.ask(&query).await {
            Ok(found) => {
                let found = decode::<ProcessedTransaction>("GetTransactionByID", &found)?;
                let code = ValidationCode::from(found.validation_code);
                Ok(Some(Transaction::of_envelope(&found.transaction_envelope.unwrap_or_default(), code)))
            }
            Err(error) if is_absent(error.refusal(), tx_id) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether this peer has a transaction on a block. One that refuses to tell is taken to have it.
    pub(super) async fn has_transaction(&self, peer: &Peer, tx_id: &TxId) -> Result<bool, CallError> {
        let query = self.qscc("GetTransactionByID").arg(tx_id.to_string());
        match self.evaluate_on(peer, &query).await {
            Ok(_) => Ok(true),
            Err(error) if error.refusal().is_some() => Ok(!is_absent(error.refusal(), tx_id)),
            Err(error) => Err(error),
        }
    }

    /// The number of the block that holds a transaction.
    pub(super) async fn block_of(&self, tx_id: &TxId) -> Result<BlockNumber, EvaluateError> {
        let block = self.ask(&self.qscc("GetBlockByTxID").arg(tx_id.to_string())).await?;
        let header = decode::<Block>("GetBlockByTxID", &block)?.header;
        header.map(|header| header.number).ok_or_else(|| EvaluateError::Malformed {
            function: "GetBlockByTxID",
            reason: "a block without header".to_owned(),
        })
    }

    /// A block by its number, as an own peer has it.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn block(&self, number: BlockNumber) -> Result<Block, EvaluateError> {
        let query = self.qscc("GetBlockByNumber").arg(number.to_string());
        decode("GetBlockByNumber", &self.ask(&query).await?)
    }

    /// A block, as an own peer has it.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn fetch(&self, block: BlockId) -> Result<Block, EvaluateError> {
        match block {
            BlockId::Oldest => self.block(0).await,
            BlockId::Number(number) => self.block(number).await,
            BlockId::Config => self.config_block().await,
            // A height of nothing is one of a peer that is only just joining: it says so itself.
            BlockId::Newest => self.block(self.height().await?.saturating_sub(1)).await,
        }
    }

    /// The newest configuration block that an own peer has.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn config_block(&self) -> Result<Block, EvaluateError> {
        let query = Invocation::new("cscc", "GetConfigBlock").arg(self.name.to_string());
        decode("GetConfigBlock", &self.ask(&query).await?)
    }

    /// The channel's configuration as an own peer has it.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn config(&self) -> Result<ChannelConfig, EvaluateError> {
        let block = self.config_block().await?;
        ChannelConfig::from_block(&block)
            .map_err(|error| EvaluateError::Malformed { function: "GetConfigBlock", reason: error.to_string() })
    }

    /// Blocks: from a [`Start`](super::events::Start) on without end, or what a [`Span`] asks for. That they make a chain
    /// is checked; that the orderers signed them when asked.
    pub fn blocks(&self, span: impl Into<Span>) -> BlockStream {
        BlockStream::new(self.clone(), span.into())
    }

    /// Blocks without what is in them: transactions' IDs and validation codes.
    pub fn filtered_blocks(&self, span: impl Into<Span>) -> FilteredBlockStream {
        FilteredBlockStream::new(self.clone(), span.into())
    }

    /// Blocks with the private data that the own organization may see and the peer has. That it belongs to the block is
    /// checked. Only own peers give it, and only to those who may read the channel.
    pub fn blocks_with_private_data(&self, span: impl Into<Span>) -> PrivateBlockStream {
        PrivateBlockStream::new(self.clone(), span.into())
    }

    /// The events of one chaincode's valid transactions, out of blocks.
    pub fn chaincode_events(&self, chaincode: &ChaincodeName, span: impl Into<Span>) -> EventStream {
        EventStream::new(self.clone(), chaincode.clone(), span.into())
    }

    /// The events of one chaincode's valid transactions as the Gateway service of an own peer tells them: less is sent
    /// than with [`chaincode_events`](Self::chaincode_events), and nothing of it can be checked.
    pub fn gateway_events(&self, chaincode: &ChaincodeName, start: Start) -> GatewayEventStream {
        GatewayEventStream::new(self.clone(), chaincode.clone(), start)
    }

    /// The chaincode definitions of the channel.
    pub fn lifecycle(&self) -> OrgLifecycle {
        OrgLifecycle::new(self.clone())
    }

    fn qscc(&self, function: &str) -> Invocation {
        Invocation::new("qscc", function).arg(self.name.to_string())
    }
}

fn decode<M: prost::Message + Default>(function: &'static str, bytes: &Bytes) -> Result<M, EvaluateError> {
    M::decode(bytes.clone()).map_err(|error| EvaluateError::Malformed { function, reason: error.to_string() })
}

/// qscc knows no status for "not here": it tells with the words of the ledger.
fn is_absent(refusal: Option<(i32, &str)>, tx_id: &TxId) -> bool {
    refusal.is_some_and(|(_, message)| message.contains(tx_id.as_str()) && message.contains("no such transaction"))
}
