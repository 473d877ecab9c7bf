//! The cryptographic material of the embedded network, made on the spot.
//!
//! A module of its own because it must look like any other network's: per organization an enrolment authority and a
//! TLS authority, MSP folders as `cryptogen` lays them out, `NodeOUs`, so that any client of Fabric can use them.
//!
//! Knows nothing of ledgers or channels. Invariant: all ECDSA signatures in certificates have a low S, because Fabric
//! rewrites the others and then disagrees about the bytes of an identity.
//!
//! Source: Fabric 3.1.5 `internal/cryptogen`.

mod authority;
mod folders;

pub use authority::CryptoError;
pub use folders::FoldersError;
pub(crate) use folders::{NodeCrypto, NodeKind, OrganizationCrypto};
