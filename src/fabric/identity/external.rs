//! An identity whose key is elsewhere and signs when asked: an HSM, a signing service, another process.
//!
//! A module of its own because such a signer is given digests and not messages, and need not know Fabric's rules: what
//! it makes is brought into the form that Fabric's nodes take, and checked against the certificate before it is used.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::{Certificate, Creator, PublicKey, SignError, SignFuture, SignatureHash, Signer, der};
use crate::fabric::names::MspId;

/// What a key elsewhere is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignRequest {
    /// An ECDSA signature over this digest, which is not to be hashed again: in DER, or as `r` and `s` of full width one
    /// after the other, as PKCS#11 has it. Whether `s` is low does not matter.
    Digest(Bytes),
    /// An Ed25519 signature over this message.
    Message(Bytes),
}

type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>, Box<dyn Error + Send + Sync>>> + Send>>;

/// Signs by asking somebody else.
///
/// ```
/// use opssc::fabric::identity::{Certificate, ExternalSigner, SignRequest};
/// use opssc::fabric::names::MspId;
///
/// fn signer(msp_id: MspId, certificate: Certificate) -> ExternalSigner {
///     ExternalSigner::new(msp_id, certificate, |request: SignRequest| async move {
///         // Hand the digest to the HSM here.
///         Err(format!("no HSM for {request:?}").into())
///     })
/// }
/// ```
pub struct ExternalSigner {
    msp_id: MspId,
    certificate: Certificate,
    creator: Bytes,
    hash: SignatureHash,
    ask: Box<dyn Fn(SignRequest) -> Answer + Send + Sync>,
}

impl fmt::Debug for ExternalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalSigner")
            .field("msp_id", &self.msp_id)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl ExternalSigner {
    /// The member whose certificate this is, and who signs for it.
    pub fn new<F, A>(msp_id: MspId, certificate: Certificate, ask: F) -> Self
    where
        F: Fn(SignRequest) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Vec<u8>, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let certificate = certificate.with_low_s();
        let creator = Creator { msp_id: msp_id.clone(), certificate_pem: certificate.to_pem().into() }.encode();
        let ask = Box::new(move |request| Box::pin(ask(request)) as Answer);
        Self { msp_id, certificate, creator, hash: SignatureHash::default(), ask }
    }

    /// Another hash than SHA-256.
    #[must_use]
    pub fn with_hash(self, hash: SignatureHash) -> Self {
        Self { hash, ..self }
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    async fn signature(&self, message: &[u8]) -> Result<Bytes, SignError> {
        let key = self.certificate.public_key();
        match key {
            PublicKey::Ecdsa { curve, point } => {
                let digest = Bytes::from(self.hash.digest(message));
                let made = (self.ask)(SignRequest::Digest(digest.clone())).await.map_err(SignError::Refused)?;
                let width = curve.field_bytes();
                let (r, s) = match der::ecdsa_signature(&made) {
                    Some(numbers) => numbers,
                    None if made.len() == 2 * width => made.split_at(width),
                    None => return Err(SignError::Wrong),
                };
                let s = curve.low_s(s).ok_or(SignError::Wrong)?;
                if !curve.verify_digest(point, &digest, r, &s) {
                    return Err(SignError::Wrong);
                }
                Ok(der::write_ecdsa_signature(r, &s).into())
            }
            PublicKey::Ed25519(_) => {
                let request = SignRequest::Message(Bytes::copy_from_slice(message));
                let made = (self.ask)(request).await.map_err(SignError::Refused)?;
                if key.verify(message, &made) { Ok(made.into()) } else { Err(SignError::Wrong) }
            }
            PublicKey::Rsa(_) => Err(SignError::Refused("members cannot sign with RSA keys".into())),
        }
    }
}

impl Signer for ExternalSigner {
    fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    fn creator(&self) -> &Bytes {
        &self.creator
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a> {
        Box::pin(self.signature(message))
    }
}
