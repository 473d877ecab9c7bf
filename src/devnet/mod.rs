//! The embedded network: peers, orderers and a small real ledger in one process, for trying and testing.
//!
//! Not for production: it keeps no history on disk, orders without consensus, and trusts its own process.

mod access;
mod blocks;
mod crypto;
mod deliver;
mod files;
mod ledger;
mod lifecycle;
mod listener;
mod orderer;
mod peer;

pub use crypto::{CryptoError, FoldersError};
pub use files::FileError;
pub use listener::ListenError;
