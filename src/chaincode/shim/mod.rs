//! Chaincode as a service: the server that real peers dial to run a [`Contract`](super::Contract).
//!
//! The peer opens a stream (`protos.Chaincode/Connect`) on the address in the package's `connection.json`. We register
//! with the package ID, the peer answers, and from then on it sends transactions; what a contract reads and writes goes
//! back over the same stream. Any number of peers may be connected, each with any number of transactions at once, told
//! apart by channel and transaction ID.
//!
//! A contract that panics fails its transaction and nothing else; where the program is built to abort on a panic (the
//! `dist` profile), it takes the server with it, so contracts do not panic.
//!
//! A peer of Fabric 3.1 offers to take writes in batches and to answer several keys at once. These are offers: one
//! request for each key, as every peer understands it, stays valid, and that is what we send.
//!
//! Source: `fabric-protos/peer/chaincode_shim.proto`; Fabric 3.1.5 `core/chaincode/handler.go` (the other end).

mod config;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod server;
mod session;
mod stub;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError, Tls};
pub use server::{Server, ServerError};
