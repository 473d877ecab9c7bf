//! Identities: who signs, and whose signatures count.

mod signer;

pub use signer::{SignError, SignFuture, Signer};
