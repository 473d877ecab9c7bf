//! The ordering service: one orderer per organization, all in front of the same chains.
//!
//! A module of its own because it knows nothing of chaincode, state or endorsement: it checks who writes, cuts blocks
//! and signs them.

mod admin;
mod chain;
mod chains;
mod cutter;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod multipart;
mod participation;
mod service;
mod signatures;
mod system;
mod update;

pub(crate) use admin::answer as answer_admin;
pub(crate) use chain::Chain;
pub(crate) use chains::Chains;
pub(crate) use participation::Orderer;
pub(crate) use service::OrdererService;

#[cfg(test)]
mod tests;
