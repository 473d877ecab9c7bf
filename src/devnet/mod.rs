//! The embedded network: peers, orderers and a small real ledger in one process, for trying and testing.
//!
//! Not for production: it orders without consensus, and trusts its own process.
//!
#![doc = include_str!("differences.md")]

mod access;
mod crypto;
mod deliver;
mod deploy;
mod disturb;
mod error;
mod faults;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod genesis;
mod ledger;
mod lifecycle;
mod listener;
mod network;
mod orderer;
mod peer;
mod profile;
mod storage;

pub use crypto::{CryptoError, FoldersError};
pub use deploy::DeployError;
pub use error::DevnetError;
pub use faults::Faults;
pub use files::FileError;
pub use listener::ListenError;
pub use network::{Builder, ControlError, Devnet, NodeAddress, NodeState, Order, Organization, control};
