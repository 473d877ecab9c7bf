//! The two contracts of the operations channel: their wire types, their events, typed calls to them, and themselves.
//!
//! Organizations may run the original OpsSC (Go contracts, TypeScript agent) next to ours on one channel, so names, JSON
//! keys and their order are held to the letter.

pub mod calls;
pub mod chaincode_ops;
pub mod channel_ops;
#[cfg(feature = "opssc-contracts")]
pub mod contracts;
mod event;

pub use event::EventError;
