//! What Fabric's data is: identities, policies, transactions, blocks, packages, configurations.
//!
//! Pure: reads no clock, no randomness and no environment, and opens no connection, so every byte it makes can be
//! compared with a golden file. Nonces and times are arguments.

pub mod block;
pub mod config;
pub mod identity;
pub mod lifecycle;
pub mod names;
pub mod package;
pub mod policy;
pub mod tx;
