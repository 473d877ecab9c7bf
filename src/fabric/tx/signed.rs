//! Proposals and transactions whose signature was made elsewhere.
//!
//! Types of their own so that what is unsigned cannot be sent, and what is signed carries what it belongs to through
//! the next stage.

use bytes::Bytes;

use super::{Proposal, UnsignedTransaction};
use crate::fabric::names::TxId;
use crate::pb::common::Envelope;
use crate::pb::protos;

/// A proposal with its signature: made by [`Proposal::signed_with`].
#[derive(Debug, Clone)]
pub struct SignedProposal {
    pub(super) proposal: Proposal,
    pub(super) signature: Bytes,
}

impl SignedProposal {
    /// What was signed.
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// The message that peers take.
    pub fn message(&self) -> protos::SignedProposal {
        protos::SignedProposal { proposal_bytes: self.proposal.bytes().clone(), signature: self.signature.clone() }
    }
}

/// A transaction with its signature: made by [`UnsignedTransaction::signed_with`].
#[derive(Debug, Clone)]
pub struct SignedTransaction {
    pub(super) transaction: UnsignedTransaction,
    pub(super) signature: Bytes,
}

impl SignedTransaction {
    /// The transaction's ID.
    pub fn tx_id(&self) -> &TxId {
        self.transaction.tx_id()
    }

    /// The message that orderers take.
    pub fn envelope(&self) -> Envelope {
        Envelope { payload: self.transaction.payload().clone(), signature: self.signature.clone() }
    }
}
