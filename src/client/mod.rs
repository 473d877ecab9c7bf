//! Talking to a Fabric network: connections, proposals, transactions, blocks, events, chaincode lifecycle.

pub mod net;
pub mod profile;
