//! Chaincode in Rust: what a contract is and what it sees of the ledger.
//!
//! A [`Contract`] sees a [`Stub`] and nothing else, so the same code runs natively in the embedded network, served by
//! the shim behind real peers, and over [`memory`] in a test. It must be deterministic: every endorser runs it and must
//! reach the same bytes.
//!
//! Source: `fabric-protos/peer/chaincode_shim.proto`; Fabric's contract and shim interfaces (fabric-chaincode-go).

pub mod asset;
pub mod composite;
pub mod memory;
pub mod shim;
mod stub;

pub use stub::{Contract, KeyModification, KeyValue, Page, Response, Stub, StubError};
