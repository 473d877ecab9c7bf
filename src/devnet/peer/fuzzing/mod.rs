//! Ways for `crate::fuzzing` to what peers are sent.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

mod calls;

use prost::Message as _;

pub use self::calls::{shim_of_chaincode, system_call};
use super::discovery::principals;
use super::proposal::UnpackedProposal;
use crate::fabric::policy::dsl;
use crate::pb::common::SignaturePolicyEnvelope;
use crate::pb::protos::SignedProposal;

/// A signed proposal.
pub fn signed_proposal(input: &[u8]) {
    let Ok(signed) = SignedProposal::decode(input) else { return };
    let Ok(unpacked) = UnpackedProposal::unpack(signed) else { return };
    if unpacked.validate().is_ok() {
        assert_eq!(unpacked.tx_id().len(), 64);
    }
}

/// A policy of which an endorsement plan is made.
pub fn endorsement_plan(input: &[u8]) {
    let written = std::str::from_utf8(input).ok().and_then(|text| dsl::parse(text).ok());
    for policy in [written, SignaturePolicyEnvelope::decode(input).ok()].into_iter().flatten() {
        let Some(found) = principals::combinations(&policy) else { continue };
        assert!(found.len() <= 1000 && found.iter().all(|combination| !combination.is_empty()));
    }
}
