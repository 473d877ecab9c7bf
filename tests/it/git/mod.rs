//! Chaincode sources from a git server on loopback.

mod fetching;
pub(crate) mod repositories;
pub(crate) mod server;
