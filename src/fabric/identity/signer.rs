//! Signing as a trait, so that the key may live elsewhere: in a file, an HSM, a remote service.
//!
//! A module of its own because everything that is sent depends on it and on nothing else of an identity.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::fabric::names::MspId;

/// A signature in the making.
pub type SignFuture<'a> = Pin<Box<dyn Future<Output = Result<Bytes, SignError>> + Send + 'a>>;

/// Signs in the name of one member of one organization.
///
/// Implement it for keys that do not lie in a file. [`creator`](Signer::creator) must be the `msp.SerializedIdentity`
/// that belongs to the key, with the certificate as a freshly written PEM block.
pub trait Signer: Debug + Send + Sync {
    /// The organization of the signer.
    fn msp_id(&self) -> &MspId;

    /// The encoded `msp.SerializedIdentity`: what goes into every header as `creator`.
    fn creator(&self) -> &Bytes;

    /// Signs the whole `message` (not its digest): for ECDSA over SHA-256 with a low S, in DER; for Ed25519 over the
    /// message itself. For keys that are given digests there is [`ExternalSigner`](super::ExternalSigner).
    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signer could not be reached or refused; what it said.
    #[error("signer refused to sign")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The signature that was made is none of the certificate's key.
    #[error("signer made a signature that is not of its certificate's key")]
    Wrong,
    /// The certificate has expired: nodes refuse what it signs. Enroll anew.
    #[error("certificate of {subject} expired on {not_after}")]
    Expired {
        /// Whose certificate it is.
        subject: String,
        /// Its last moment.
        not_after: String,
    },
    /// The identity has no key here. Sign by stages (`Channel::propose`), or choose endorsers that need not be looked up.
    #[error("identity has no key at hand")]
    Offline,
}

impl SignError {
    /// Whether the same may be signed later: certificates are renewed, signers come back, clocks are put right.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Offline)
    }
}
