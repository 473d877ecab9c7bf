//! From endorsements to a transaction.

use bytes::Bytes;
use prost::Message as _;

use super::{Proposal, ProposalError, SignedTransaction, sign_payload};
use crate::fabric::identity::{Creator, SignError, Signer};
use crate::fabric::names::TxId;
use crate::pb::common::{ChannelHeader, Envelope, Header, Payload};
use crate::pb::protos::{self, ChaincodeActionPayload, ChaincodeEndorsedAction, ProposalResponse, TransactionAction};

/// Why endorsements do not make a transaction.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// There are none.
    #[error("no endorsements for transaction {tx_id}")]
    Empty {
        /// The transaction.
        tx_id: TxId,
    },
    /// An endorser refused the proposal.
    #[error("{endorser} refused transaction {tx_id}: status {status}, {message}")]
    Refused {
        /// The transaction.
        tx_id: TxId,
        /// The organization of the endorser, or its place in the list.
        endorser: String,
        /// The chaincode's or peer's status.
        status: i32,
        /// What it said.
        message: String,
    },
    /// An answer without an endorsement.
    #[error("{endorser} answered transaction {tx_id} without an endorsement")]
    Unendorsed {
        /// The transaction.
        tx_id: TxId,
        /// The place in the list.
        endorser: String,
    },
    /// Endorsers came to different results, so no transaction can hold both. Endorse again: one may lag behind.
    #[error("endorsers of transaction {tx_id} disagree: {} differ from {first}", differing.join(", "))]
    Mismatch {
        /// The transaction.
        tx_id: TxId,
        /// The endorser that answered first.
        first: String,
        /// Those that answered otherwise.
        differing: Vec<String>,
    },
}

/// A transaction that waits for its client's signature.
#[derive(Debug, Clone)]
pub struct UnsignedTransaction {
    tx_id: TxId,
    payload: Bytes,
}

/// What an endorser signs (followed by its identity): the hash of the proposal and what the chaincode did.
pub fn response_payload(proposal_hash: &[u8], action: &protos::ChaincodeAction) -> Bytes {
    protos::ProposalResponsePayload {
        proposal_hash: Bytes::copy_from_slice(proposal_hash),
        extension: action.encode_to_vec().into(),
    }
    .encode_to_vec()
    .into()
}

impl Proposal {
    /// Takes a transaction that somebody else made of this proposal, such as a peer's Gateway service, when it is that:
    /// the same headers, the same call, endorsements of this proposal and no other. Gives the chaincode's result too.
    ///
    /// # Errors
    /// What is different, in words.
    pub fn adopt(&self, payload: &Bytes) -> Result<(UnsignedTransaction, Bytes), ProposalError> {
        fn part<M: prost::Message + Default>(what: &str, bytes: &Bytes) -> Result<M, ProposalError> {
            M::decode(bytes.clone()).map_err(|error| ProposalError { reason: format!("{what}: {error}") })
        }
        let wrong = |reason: &str| ProposalError { reason: reason.to_owned() };
        let decoded: Payload = part("payload", payload)?;
        let header = decoded.header.ok_or_else(|| wrong("no header"))?;
        if header.channel_header != self.channel_header || header.signature_header != self.signature_header {
            return Err(wrong("the headers are not those of the proposal"));
        }
        let transaction: protos::Transaction = part("transaction", &decoded.data)?;
        let [action] = &transaction.actions[..] else { return Err(wrong("not exactly one action")) };
        let action: ChaincodeActionPayload = part("action", &action.payload)?;
        if action.chaincode_proposal_payload != self.payload_for_tx {
            return Err(wrong("the call is not that of the proposal"));
        }
        let endorsed = action.action.ok_or_else(|| wrong("no endorsed action"))?;
        if endorsed.endorsements.is_empty() {
            return Err(wrong("no endorsements"));
        }
        let response: protos::ProposalResponsePayload = part("response", &endorsed.proposal_response_payload)?;
        if response.proposal_hash != self.hash()[..] {
            return Err(wrong("the endorsements are of another proposal"));
        }
        let result: protos::ChaincodeAction = part("chaincode action", &response.extension)?;
        let result = result.response.unwrap_or_default().payload;
        Ok((UnsignedTransaction { tx_id: self.tx_id.clone(), payload: payload.clone() }, result))
    }

    /// Joins the endorsers' answers to a transaction.
    ///
    /// All must have the same payload and a status of success (200 to 399). A second endorsement by the same identity
    /// is dropped; the order is kept.
    ///
    /// # Errors
    /// [`AssembleError`], naming the endorsers by their organization.
    pub fn assemble(&self, responses: &[ProposalResponse]) -> Result<UnsignedTransaction, AssembleError> {
        let tx_id = || self.tx_id.clone();
        let first = responses.first().ok_or_else(|| AssembleError::Empty { tx_id: tx_id() })?;
        for (at, response) in responses.iter().enumerate() {
            let (status, message) =
                response.response.as_ref().map_or((0, ""), |response| (response.status, response.message.as_str()));
            if !(200..400).contains(&status) {
                return Err(AssembleError::Refused {
                    tx_id: tx_id(),
                    endorser: endorser_name(at, response),
                    status,
                    message: message.to_owned(),
                });
            }
        }
        let differing: Vec<String> = responses
            .iter()
            .enumerate()
            .filter(|(_, response)| response.payload != first.payload)
            .map(|(at, response)| endorser_name(at, response))
            .collect();
        if !differing.is_empty() {
            return Err(AssembleError::Mismatch { tx_id: tx_id(), first: endorser_name(0, first), differing });
        }
        let mut endorsements: Vec<protos::Endorsement> = Vec::with_capacity(responses.len());
        for (at, response) in responses.iter().enumerate() {
            let endorsement = response
                .endorsement
                .clone()
                .ok_or_else(|| AssembleError::Unendorsed { tx_id: tx_id(), endorser: endorser_name(at, response) })?;
            if !endorsements.iter().any(|seen| seen.endorser == endorsement.endorser) {
                endorsements.push(endorsement);
            }
        }
        let action = ChaincodeActionPayload {
            chaincode_proposal_payload: self.payload_for_tx.clone(),
            action: Some(ChaincodeEndorsedAction { proposal_response_payload: first.payload.clone(), endorsements }),
        };
        let transaction = protos::Transaction {
            actions: vec![TransactionAction {
                header: self.signature_header.clone(),
                payload: action.encode_to_vec().into(),
            }],
        };
        let payload = Payload {
            header: Some(Header {
                channel_header: self.channel_header.clone(),
                signature_header: self.signature_header.clone(),
            }),
            data: transaction.encode_to_vec().into(),
        };
        Ok(UnsignedTransaction { tx_id: tx_id(), payload: payload.encode_to_vec().into() })
    }
}

/// The endorser's organization, or its place in the list when it did not say.
fn endorser_name(at: usize, response: &ProposalResponse) -> String {
    response
        .endorsement
        .as_ref()
        .and_then(|endorsement| Creator::decode(&endorsement.endorser).ok())
        .map_or_else(|| format!("endorser {}", at + 1), |creator| creator.msp_id.to_string())
}

impl UnsignedTransaction {
    /// Reads what [`payload`](Self::payload) gave, perhaps in another process.
    ///
    /// # Errors
    /// [`ProposalError`] when the bytes are no payload of a transaction.
    pub fn decode(payload: impl Into<Bytes>) -> Result<Self, ProposalError> {
        let payload = payload.into();
        let wrong = |reason: String| ProposalError { reason };
        let header = Payload::decode(payload.clone())
            .map_err(|error| wrong(error.to_string()))?
            .header
            .ok_or_else(|| wrong("a payload without header".to_owned()))?;
        let header = ChannelHeader::decode(header.channel_header).map_err(|error| wrong(error.to_string()))?;
        let tx_id = TxId::parse(header.tx_id).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { tx_id, payload })
    }

    /// SHA-256 of [`payload`](Self::payload): what an ECDSA signer elsewhere is given. (Ed25519 takes the payload.)
    pub fn digest(&self) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(&self.payload).into()
    }

    /// The transaction with a signature that was made elsewhere over [`payload`](Self::payload). It is not checked here.
    #[must_use]
    pub fn signed_with(self, signature: impl Into<Bytes>) -> SignedTransaction {
        SignedTransaction { transaction: self, signature: signature.into() }
    }

    /// The transaction's ID.
    pub fn tx_id(&self) -> &TxId {
        &self.tx_id
    }

    /// What is signed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The envelope for the orderers.
    ///
    /// Cancel safety: dropping the future sends nothing and changes nothing.
    ///
    /// # Errors
    /// [`SignError`] when the signer fails.
    pub async fn sign(&self, signer: &dyn Signer) -> Result<Envelope, SignError> {
        sign_payload(self.payload.clone(), signer).await
    }
}
