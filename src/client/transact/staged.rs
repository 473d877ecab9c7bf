//! A transaction stage by stage, for keys that are elsewhere.
//!
//! Each stage gives bytes that are to be signed, and the next takes them with the signature: proposal, transaction, and
//! the question what became of it. Nothing in between signs anything, provided that the endorsers are
//! [`Own`](super::Endorsers::Own) or [`Peers`](super::Endorsers::Peers), or the way is the
//! [`Gateway`](super::Way::Gateway)'s and the endorsers are not found in the channel's configuration (as for
//! [`AllOrgs`](super::Endorsers::AllOrgs)): other choices ask the network, in the client's name.
//!
//! The client then acts as an [`OfflineIdentity`](crate::fabric::identity::OfflineIdentity).

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::commit::{hand_in, until_told};
use super::{CommitStatus, Endorsed, Endorsers, SubmitError, Way, gateway};
use crate::client::channel::{Channel, EvaluateError};
use crate::client::error::CallError;
use crate::client::node::Peer;
use crate::client::turns::first_answer;
use crate::fabric::block::ValidationCode;
use crate::fabric::identity::SignError;
use crate::fabric::names::TxId;
use crate::fabric::tx::{Invocation, Proposal, SignedProposal, SignedTransaction};
use crate::pb::common::{Block, BlockMetadataIndex, HeaderType};
use crate::pb::gateway::SignedCommitStatusRequest;
use crate::runtime::retry::Backoff;

/// The question what became of a transaction, to be signed.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    tx_id: TxId,
    question: Question,
}

#[derive(Debug, Clone)]
enum Question {
    /// To a Gateway service.
    Gateway(Bytes),
    /// To the ledger, again and again with the same bytes.
    Ledger(Box<Proposal>),
}

impl CommitRequest {
    /// The transaction that is asked for.
    pub fn tx_id(&self) -> &TxId {
        &self.tx_id
    }

    /// What is to be signed.
    pub fn bytes(&self) -> &Bytes {
        match &self.question {
            Question::Gateway(bytes) => bytes,
            Question::Ledger(proposal) => proposal.bytes(),
        }
    }

    /// SHA-256 of [`bytes`](Self::bytes): what an ECDSA signer elsewhere is given. (Ed25519 takes the bytes.)
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.bytes()).into()
    }

    /// The question with a signature that was made elsewhere over [`bytes`](Self::bytes). It is not checked here.
    #[must_use]
    pub fn signed_with(self, signature: impl Into<Bytes>) -> SignedCommitRequest {
        let signature = signature.into();
        let question = match self.question {
            Question::Gateway(request) => Asked::Gateway(SignedCommitStatusRequest { request, signature }),
            Question::Ledger(proposal) => Asked::Ledger(Box::new(proposal.signed_with(signature))),
        };
        SignedCommitRequest { tx_id: self.tx_id, question }
    }
}

/// The question what became of a transaction, signed: made by [`CommitRequest::signed_with`].
#[derive(Debug, Clone)]
pub struct SignedCommitRequest {
    tx_id: TxId,
    question: Asked,
}

#[derive(Debug, Clone)]
enum Asked {
    Gateway(SignedCommitStatusRequest),
    Ledger(Box<SignedProposal>),
}

impl Channel {
    /// A proposal of `invocation` with a nonce and the time of now, to be signed. Peers take it for 15 minutes.
    ///
    /// # Errors
    /// [`SignError`] when the system gives no random numbers.
    pub fn propose(&self, invocation: &Invocation) -> Result<Proposal, SignError> {
        self.client().draft(Some(self.name()), invocation, HeaderType::EndorserTransaction)
    }

    /// Runs a signed proposal as a query: [`evaluate`](Self::evaluate) by stages.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub async fn evaluate_signed(&self, signed: &SignedProposal) -> Result<Bytes, EvaluateError> {
        let message = signed.message();
        if self.way() == Way::Gateway {
            return gateway::evaluate(self, signed.proposal(), &message).await;
        }
        let timeouts = &self.client().shared.timeouts;
        let ask = async |peer: Peer| peer.process(message.clone(), timeouts.endorse).await;
        match first_answer(self.client().own_peers(), timeouts, ask).await {
            Ok((peer, answer)) => {
                self.client().prefer(&peer);
                Ok(answer.response.unwrap_or_default().payload)
            }
            Err(failures) => Err(EvaluateError::best_of(failures)),
        }
    }

    /// Proposes `invocation` and has it endorsed, and goes no further: the first half of [`submit`](Self::submit).
    ///
    /// Cancel safety: nothing is written.
    ///
    /// # Errors
    /// [`SubmitError`], of the variants of which nothing was ordered.
    pub async fn endorse(&self, invocation: &Invocation, endorsers: Endorsers) -> Result<Endorsed, SubmitError> {
        let (proposal, signed) =
            self.client().propose(Some(self.name()), invocation, HeaderType::EndorserTransaction).await?;
        super::endorse(self, &proposal, &signed, &endorsers).await
    }

    /// Has a signed proposal endorsed. What it makes is to be signed next.
    ///
    /// Cancel safety: nothing is written.
    ///
    /// # Errors
    /// [`SubmitError`], of the variants of which nothing was ordered.
    pub async fn endorse_signed(&self, signed: &SignedProposal, endorsers: Endorsers) -> Result<Endorsed, SubmitError> {
        super::endorse(self, signed.proposal(), &signed.message(), &endorsers).await
    }

    /// Hands a signed transaction to the orderers and does not wait for its commit. Handing in the same transaction
    /// twice is harmless: one of the copies takes effect.
    ///
    /// Cancel safety: the transaction may be ordered all the same.
    ///
    /// # Errors
    /// [`SubmitError::NotOrdered`]; or [`SubmitError::Undecided`] when an orderer may have taken it.
    pub async fn order_signed(&self, transaction: &SignedTransaction) -> Result<(), SubmitError> {
        let begun = Instant::now();
        let tx_id = transaction.tx_id().clone();
        match hand_in(self, &tx_id, &transaction.envelope()).await {
            Ok(()) => Ok(()),
            Err(error) if error.may_be_ordered() => Err(SubmitError::Undecided { tx_id, waited: begun.elapsed() }),
            Err(source) => Err(SubmitError::NotOrdered { tx_id, source }),
        }
    }

    /// The question what became of a transaction, to be signed.
    ///
    /// # Errors
    /// [`SignError`] when the system gives no random numbers.
    pub fn commit_request(&self, tx_id: &TxId) -> Result<CommitRequest, SignError> {
        let question = match self.way() {
            Way::Gateway => Question::Gateway(gateway::commit_status_request(self, tx_id)),
            Way::Direct => {
                let query = Invocation::new("qscc", "GetBlockByTxID").arg(self.name().to_string());
                Question::Ledger(Box::new(self.propose(&query.arg(tx_id.to_string()))?))
            }
        };
        Ok(CommitRequest { tx_id: tx_id.clone(), question })
    }

    /// Waits until an own peer has committed the transaction, which may have been long ago.
    ///
    /// Cancel safety: only the wait ends.
    ///
    /// # Errors
    /// [`SubmitError::Undecided`] when it was not seen in time.
    pub async fn commit_status_signed(&self, request: &SignedCommitRequest) -> Result<CommitStatus, SubmitError> {
        let begun = Instant::now();
        let told = async {
            match &request.question {
                Asked::Gateway(question) => until_told(self, question, &request.tx_id).await,
                Asked::Ledger(question) => self.until_found(question, &request.tx_id).await,
            }
        };
        let limit = self.client().shared.timeouts.commit;
        tokio::time::timeout(limit, told)
            .await
            .map_err(|_| SubmitError::Undecided { tx_id: request.tx_id.clone(), waited: begun.elapsed() })
    }

    /// [`commit_status_signed`](Self::commit_status_signed) with the client's own signature.
    ///
    /// Cancel safety and errors as there.
    ///
    /// # Errors
    /// [`SubmitError::Undecided`] when it was not seen in time; [`SubmitError::Sign`].
    pub async fn commit_status(&self, tx_id: &TxId) -> Result<CommitStatus, SubmitError> {
        let request = self.commit_request(tx_id)?;
        let signature = self.client().signer().sign(request.bytes()).await?;
        self.commit_status_signed(&request.signed_with(signature)).await
    }

    /// Asks the ledgers of own peers until one has the transaction.
    async fn until_found(&self, question: &SignedProposal, tx_id: &TxId) -> CommitStatus {
        let limit = self.client().shared.timeouts.endorse;
        let message = question.message();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            for peer in self.client().own_peers() {
                let found = match peer.process(message.clone(), limit).await {
                    Ok(answer) => status_in(&answer.response.unwrap_or_default().payload, tx_id)
                        .map_err(|reason| CallError::Malformed { node: peer.node().clone(), reason }),
                    Err(error) => Err(error),
                };
                match found {
                    Ok(status) => return status,
                    Err(error) => tracing::debug!(channel = %self.name(), %tx_id, %error, "transaction is not found"),
                }
            }
            tokio::time::sleep(backoff.next().unwrap_or_default()).await;
        }
    }
}

/// What a block says of one of its transactions.
fn status_in(block: &Bytes, tx_id: &TxId) -> Result<CommitStatus, String> {
    use crate::pb::common::{ChannelHeader, Envelope, Payload};
    let block = Block::decode(block.clone()).map_err(|error| error.to_string())?;
    let id_of = |envelope: &Bytes| {
        let envelope = Envelope::decode(envelope.clone()).ok()?;
        let header = Payload::decode(envelope.payload).ok()?.header?;
        Some(ChannelHeader::decode(header.channel_header).ok()?.tx_id)
    };
    let number = block.header.as_ref().ok_or("a block without header")?.number;
    let envelopes = block.data.as_ref().map_or(&[][..], |data| &data.data);
    // Of two copies the first counts.
    let place = envelopes
        .iter()
        .position(|envelope| id_of(envelope).as_deref() == Some(tx_id.as_str()))
        .ok_or("a block without the transaction")?;
    let code = block
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.metadata.get(BlockMetadataIndex::TransactionsFilter as usize))
        .and_then(|codes| codes.get(place))
        .ok_or("a block without verdict on the transaction")?;
    Ok(CommitStatus { tx_id: tx_id.clone(), block: number, code: ValidationCode::from(i32::from(*code)) })
}
