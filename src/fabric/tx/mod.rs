//! Proposals, endorsements, envelopes: from what is called to what is ordered.
//!
//! Nonce and time are arguments, so the same input gives the same bytes. Nothing here sends anything; signing goes
//! through [`Signer`](crate::fabric::identity::Signer) and is the only thing that waits.
//!
//! Source: `fabric-protos/peer/{proposal,transaction}.proto`, Fabric 3.1.5 `protoutil`.

mod assemble;
mod envelope;
mod proposal;
mod signed;

pub use assemble::{AssembleError, UnsignedTransaction, response_payload};
pub use envelope::{Header, UnsignedEnvelope, envelope, sign_payload};
pub use proposal::{ChaincodeCall, Invocation, Nonce, Proposal, ProposalError};
pub use signed::{SignedProposal, SignedTransaction};
