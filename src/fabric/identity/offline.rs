//! An identity whose key is elsewhere, out of reach.
//!
//! A module of its own because it is a [`Signer`] that does not sign: it is for clients that go by stages, where each
//! signature is brought in from outside.

use bytes::Bytes;

use super::{Certificate, Creator, SignError, SignFuture, Signer};
use crate::fabric::names::MspId;

/// A member of an organization by the certificate alone.
#[derive(Debug, Clone)]
pub struct OfflineIdentity {
    msp_id: MspId,
    certificate: Certificate,
    creator: Bytes,
}

impl OfflineIdentity {
    /// The member whose certificate this is.
    pub fn new(msp_id: MspId, certificate: Certificate) -> Self {
        let certificate = certificate.with_low_s();
        let creator = Creator { msp_id: msp_id.clone(), certificate_pem: certificate.to_pem().into() }.encode();
        Self { msp_id, certificate, creator }
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl Signer for OfflineIdentity {
    fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    fn creator(&self) -> &Bytes {
        &self.creator
    }

    fn sign<'a>(&'a self, _: &'a [u8]) -> SignFuture<'a> {
        Box::pin(async { Err(SignError::Offline) })
    }
}
