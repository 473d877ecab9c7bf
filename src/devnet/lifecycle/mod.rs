//! What `_lifecycle` keeps in the state, and the rules over it.
//!
//! A module of its own because two sides use it: the system chaincode, which approves and commits, and the ledger,
//! which must know a chaincode's policy to check its transactions.

pub(crate) mod rules;
pub(crate) mod state;
