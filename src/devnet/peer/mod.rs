//! A peer of the embedded network: endorses, runs chaincodes, delivers blocks, answers discovery.
//!
//! Not here: the ledger behind it ([`ledger`](super::ledger)), the listener before it, and the blocks' way from the
//! orderers to it.
//!
//! Source: Fabric 3.1.5 `core/endorser`, `core/chaincode`, `core/scc`, `core/peer`, `discovery`.

mod context;
mod hosts;
mod native;
mod proposal;
mod shim;

pub(crate) use hosts::Hosts;
pub(crate) use native::{Contracts, package as native_package};
