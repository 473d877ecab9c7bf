//! The ordering service: one orderer per organization, all in front of the same chains.
//!
//! A module of its own because it knows nothing of chaincode, state or endorsement: it checks who writes, cuts blocks
//! and signs them.

mod chain;
mod cutter;
mod service;
mod update;

pub(crate) use chain::Chain;
pub(crate) use service::{Chains, OrdererService};
