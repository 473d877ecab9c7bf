//! Ways for `crate::fuzzing` to what peers are sent.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use prost::Message as _;

use super::proposal::UnpackedProposal;
use crate::pb::protos::SignedProposal;

/// A signed proposal.
pub fn signed_proposal(input: &[u8]) {
    let Ok(signed) = SignedProposal::decode(input) else { return };
    let Ok(unpacked) = UnpackedProposal::unpack(signed) else { return };
    if unpacked.validate().is_ok() {
        assert_eq!(unpacked.tx_id().len(), 64);
    }
}
