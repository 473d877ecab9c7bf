//! The identity in whose name this program signs, from files.
//!
//! Keeps key and certificate together with the creator bytes, which are made once. Not here: keys that live elsewhere
//! (implement [`Signer`]) and verification ([`Msp`](super::Msp)).
//!
//! Source: `fabric-protos/msp/identities.proto`, Fabric 3.1.5 `msp/identities.go`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use zeroize::Zeroizing;

use super::{Certificate, IdentityError, PrivateKey, SignFuture, SignatureHash, Signer};
use crate::fabric::names::MspId;
use crate::pb;

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub struct SigningIdentity {
    msp_id: MspId,
    certificate: Certificate,
    key: PrivateKey,
    hash: SignatureHash,
    creator: Bytes,
}

impl SigningIdentity {
    /// Joins the first certificate and the first key of two PEM texts.
    ///
    /// # Errors
    /// [`IdentityError`], also when the key is not the certificate's.
    pub fn from_pem(msp_id: MspId, certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let certificate = Certificate::from_pem(certificate_pem)?;
        let key = PrivateKey::from_pem(key_pem)?;
        Self::new(msp_id, certificate, key)
    }

    pub(super) fn new(msp_id: MspId, certificate: Certificate, key: PrivateKey) -> Result<Self, IdentityError> {
        let certificate = certificate.with_low_s();
        if key.public_key() != *certificate.public_key() {
            return Err(IdentityError::KeyOfAnother { subject: certificate.subject().to_owned() });
        }
        let creator = Creator { msp_id: msp_id.clone(), certificate_pem: certificate.to_pem().into() }.encode();
        Ok(Self { msp_id, certificate, key, hash: SignatureHash::default(), creator })
    }

    /// Reads certificate and key, each from a file or from a folder that holds exactly one file.
    ///
    /// # Errors
    /// [`IdentityError`] with the path that could not be used.
    pub fn load(msp_id: MspId, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let certificate = Certificate::from_pem(&read(&only_file(certificate)?)?)?;
        let key = PrivateKey::from_pem(&Zeroizing::new(read(&only_file(key)?)?))?;
        Self::new(msp_id, certificate, key)
    }

    /// Reads a local MSP folder: the first certificate in `signcerts`, and whichever key in `keystore` belongs to it.
    ///
    /// # Errors
    /// [`IdentityError`], also when no key belongs to the certificate, or the folder's authorities did not sign it.
    pub fn load_msp(msp_id: MspId, folder: &Path) -> Result<Self, IdentityError> {
        let mut certificates = files(&folder.join("signcerts"))?.into_iter();
        let certificate = loop {
            let path = certificates.next().ok_or_else(|| IdentityError::Nothing { path: folder.join("signcerts") })?;
            let text = read(&path)?;
            if super::pem::first(&text).is_some() {
                break Certificate::from_pem(&text)?;
            }
        };
        let unvouched =
            |error: super::MspError| IdentityError::Folder { path: folder.to_owned(), reason: error.to_string() };
        let authorities = super::MspFolder::load(&msp_id, folder).map_err(unvouched)?;
        authorities.check_issuer(&certificate).map_err(unvouched)?;
        let keystore = folder.join("keystore");
        for path in files(&keystore)? {
            // Keys of others, and files that are none, may lie here too.
            if let Ok(key) = PrivateKey::from_pem(&Zeroizing::new(read(&path)?))
                && key.public_key() == *certificate.public_key()
            {
                return Self::new(msp_id, certificate, key);
            }
        }
        Err(IdentityError::NoKey { subject: certificate.subject().to_owned(), path: keystore })
    }

    /// Signs with another hash than SHA-256.
    #[must_use]
    pub fn with_hash(self, hash: SignatureHash) -> Self {
        Self { hash, ..self }
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs without waiting, which the key in memory allows.
    pub fn sign_now(&self, message: &[u8]) -> Bytes {
        self.key.sign_hashed(message, self.hash)
    }
}

impl Signer for SigningIdentity {
    fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    fn creator(&self) -> &Bytes {
        &self.creator
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a> {
        Box::pin(async move { Ok(self.sign_now(message)) })
    }
}

/// Who made something: what stands in every `creator` and `endorser` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creator {
    /// The organization.
    pub msp_id: MspId,
    /// The certificate as PEM, as it was received.
    pub certificate_pem: Bytes,
}

impl Creator {
    /// Reads a `msp.SerializedIdentity`. The certificate is not looked at.
    ///
    /// # Errors
    /// [`IdentityError::Creator`] when the bytes are none or the MSP ID cannot be one.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let wrong = |reason: String| IdentityError::Creator { reason };
        let identity = pb::msp::SerializedIdentity::decode(bytes).map_err(|error| wrong(error.to_string()))?;
        let msp_id = MspId::parse(identity.mspid).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { msp_id, certificate_pem: identity.id_bytes })
    }

    /// The `msp.SerializedIdentity`.
    pub fn encode(&self) -> Bytes {
        pb::msp::SerializedIdentity { mspid: self.msp_id.as_str().to_owned(), id_bytes: self.certificate_pem.clone() }
            .encode_to_vec()
            .into()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source: source.into() })
}

/// The regular files of a folder (links followed), in byte order of their names.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, IdentityError> {
    let failed = |source: std::io::Error| IdentityError::Read { path: folder.to_owned(), source: source.into() };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `path` itself, or the one file in it. Kubernetes keeps hidden links beside what it mounts; they do not count.
fn only_file(path: &Path) -> Result<PathBuf, IdentityError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut found = files(path)?;
    found.retain(|path| !hidden(path));
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(IdentityError::Nothing { path: path.to_owned() }),
        count => Err(IdentityError::Ambiguous { path: path.to_owned(), count }),
    }
}
