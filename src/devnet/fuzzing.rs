//! Ways for `crate::fuzzing` to what the embedded network's nodes are sent.

pub use super::ledger::fuzzing::transaction;
pub use super::orderer::fuzzing::{admin_form, config_update};
pub use super::peer::fuzzing::{endorsement_plan, shim_of_chaincode, signed_proposal, system_call};
