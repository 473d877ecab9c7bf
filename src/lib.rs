//! Operations agent and client library for Hyperledger Fabric, without external binaries.

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "shim")]
pub mod chaincode;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
#[cfg(feature = "devnet")]
pub mod devnet;
pub mod fabric;
pub mod opssc;
pub mod pb;
pub mod runtime;
