//! Chaincode sources from a git server on loopback.

mod accounts;
mod fetching;
mod hostile;
pub(crate) mod repositories;
pub(crate) mod server;
mod submodules;
mod ways;
