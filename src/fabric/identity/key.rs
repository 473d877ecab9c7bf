//! Public and private keys as Fabric's nodes use them.
//!
//! A module of its own because the rules are Fabric's, not the curve's: SHA-256 whatever the curve (the one hash that
//! its nodes check members' ECDSA signatures with, unless an MSP is of the SHA-3 family), a low S on both sides, Ed25519 over the message itself, keys named by their SKI.
//!
//! Keys in memory are wiped when dropped; their `Debug` shows the kind only.
//!
//! Source: Fabric 3.1.5 `bccsp/sw` and `bccsp/utils` of fabric-lib-go.

use std::fmt;

use bytes::Bytes;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::Zeroizing;

use super::curve::Curve;
use super::{der, pem};

/// Why a text is no private key that can sign for Fabric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no PEM block.
    #[error("private key is not PEM")]
    NotPem,
    /// The key needs a password.
    #[error("private key is encrypted: decrypt it first, as `openssl pkcs8` does")]
    Encrypted,
    /// The first PEM block is something else.
    #[error("first PEM block {label:?} holds no ECDSA or Ed25519 key in PKCS#8 or SEC1 form")]
    Unsupported {
        /// What the block calls itself.
        label: String,
    },
}

/// What ECDSA signs: a hash of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SignatureHash {
    /// What every node of Fabric 2.5 and 3.1 checks, P-384 keys included.
    #[default]
    Sha256,
    /// For networks whose nodes were built to check it.
    Sha384,
}

impl SignatureHash {
    /// The hash of `message`.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
        }
    }
}

/// A private key.
#[derive(Clone)]
pub struct PrivateKey(Secret);

#[derive(Clone)]
enum Secret {
    Ecdsa { curve: Curve, scalar: Zeroizing<Vec<u8>>, point: Vec<u8> },
    Ed25519 { seed: Zeroizing<Vec<u8>>, public: Vec<u8> },
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, redacted)", self.kind())
    }
}

const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];
const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

impl PrivateKey {
    /// The key in the first PEM block of `text`: PKCS#8 or SEC1, whatever the block calls itself.
    ///
    /// # Errors
    /// [`KeyError`]: no PEM, an encrypted key, or not one of the kinds that Fabric knows.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (block, _) = pem::first(text).ok_or(KeyError::NotPem)?;
        let block_der = Zeroizing::new(block.der);
        if block.encrypted {
            return Err(KeyError::Encrypted);
        }
        let key = pkcs8(&block_der).or_else(|| sec1(&block_der, None));
        key.map(Self).ok_or(match block.label.as_str() {
            "ENCRYPTED PRIVATE KEY" => KeyError::Encrypted,
            _ => KeyError::Unsupported { label: block.label },
        })
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        match &self.0 {
            Secret::Ecdsa { curve, point, .. } => PublicKey::Ecdsa { curve: *curve, point: point.clone() },
            Secret::Ed25519 { public, .. } => PublicKey::Ed25519(public.clone()),
        }
    }

    /// Signs `message` as Fabric's nodes expect it. The same key and message give the same bytes.
    ///
    /// # Panics
    /// Never: a key that exists can sign.
    pub fn sign(&self, message: &[u8]) -> Bytes {
        self.sign_hashed(message, SignatureHash::Sha256)
    }

    /// [`sign`](Self::sign) with another hash. Ed25519 does not hash.
    ///
    /// # Panics
    /// Never: a key that exists can sign.
    pub fn sign_hashed(&self, message: &[u8], hash: SignatureHash) -> Bytes {
        match &self.0 {
            Secret::Ecdsa { curve, scalar, .. } => {
                let (r, s) =
                    curve.sign(scalar, &hash.digest(message)).expect("the scalar was checked when it was read");
                der::write_ecdsa_signature(&r, &s).into()
            }
            Secret::Ed25519 { seed, .. } => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("the seed was checked when it was read");
                Bytes::copy_from_slice(pair.sign(message).as_ref())
            }
        }
    }

    /// The kind in a word: `P-256`, `Ed25519`.
    pub fn kind(&self) -> &'static str {
        self.public_key().kind()
    }
}

fn ecdsa(curve: Curve, scalar: &[u8]) -> Option<Secret> {
    let scalar = Zeroizing::new(curve.widen(scalar)?);
    let point = curve.public_point(&scalar)?;
    Some(Secret::Ecdsa { curve, scalar, point })
}

/// `PrivateKeyInfo` of RFC 5208.
fn pkcs8(input: &[u8]) -> Option<Secret> {
    let (info, _) = der::expect(input, der::SEQUENCE)?;
    let (_version, rest) = der::expect(info, der::INTEGER)?;
    let (algorithm, rest) = der::expect(rest, der::SEQUENCE)?;
    let (key, _attributes) = der::expect(rest, der::OCTET_STRING)?;
    let (oid, parameters) = der::expect(algorithm, der::OID)?;
    match oid {
        EC_OID => {
            let curve = match der::expect(parameters, der::OID) {
                Some((oid, _)) => Some(Curve::from_oid(oid)?),
                None => None,
            };
            sec1(key, curve)
        }
        ED25519_OID if parameters.is_empty() => {
            let (seed, _) = der::expect(key, der::OCTET_STRING)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
            Some(Secret::Ed25519 { seed: Zeroizing::new(seed.to_vec()), public: pair.public_key().as_ref().to_vec() })
        }
        _ => None,
    }
}

/// `ECPrivateKey` of RFC 5915; `curve` is what an outer PKCS#8 said.
fn sec1(input: &[u8], curve: Option<Curve>) -> Option<Secret> {
    let (fields, _) = der::expect(input, der::SEQUENCE)?;
    let (version, rest) = der::expect(fields, der::INTEGER)?;
    if version != [1] {
        return None;
    }
    let (scalar, rest) = der::expect(rest, der::OCTET_STRING)?;
    let (parameters, rest) = optional(rest, 0xa0)?;
    let named = match parameters {
        Some(parameters) => Some(der::expect(parameters, der::OID)?.0),
        None => None,
    };
    // The public key is not compared with the private one, but it must be one.
    if let (Some(public), _) = optional(rest, 0xa1)? {
        der::expect(public, der::BIT_STRING).filter(|(bits, _)| matches!(bits, [0..=7, ..]))?;
    }
    let curve = match curve {
        Some(curve) => curve,
        None => Curve::from_oid(named?)?,
    };
    ecdsa(curve, scalar)
}

/// A field that may be absent, and what follows; `None` when what lies there is no DER at all.
fn optional(input: &[u8], tag: u8) -> Option<(Option<&[u8]>, &[u8])> {
    if input.is_empty() {
        return Some((None, input));
    }
    let (value, rest) = der::read(input)?;
    if value.tag == tag { Some((Some(value.contents), rest)) } else { Some((None, input)) }
}

/// A public key, as a certificate holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKey {
    /// A point on a curve, uncompressed.
    Ecdsa {
        /// The curve.
        curve: Curve,
        /// `04`, x and y.
        point: Vec<u8>,
    },
    /// An Ed25519 key of 32 bytes.
    Ed25519(Vec<u8>),
    /// An RSA key (`RSAPublicKey` in DER). Authorities may have one; members cannot sign with it.
    Rsa(Vec<u8>),
}

impl PublicKey {
    /// The key out of the algorithm's object identifier and parameters and the key bits of a certificate.
    pub(crate) fn from_parts(oid: &[u8], parameters: Option<&[u8]>, bits: &[u8]) -> Option<Self> {
        match oid {
            EC_OID => {
                let curve = Curve::from_oid(parameters?)?;
                Some(Self::Ecdsa { curve, point: curve.uncompressed(bits)? })
            }
            ED25519_OID if bits.len() == 32 => Some(Self::Ed25519(bits.to_vec())),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01] => Some(Self::Rsa(bits.to_vec())),
            _ => None,
        }
    }

    /// Whether `signature` is one that Fabric's nodes accept for `message`: for ECDSA strict DER, SHA-256, an S not
    /// above half the order; for Ed25519 over the message itself.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ecdsa { curve, point } => {
                let Some((r, s)) = der::ecdsa_signature(signature) else { return false };
                curve.widen(s).is_some_and(|wide| curve.low_s(s) == Some(wide))
                    && curve.verify_sha256(point, message, r, s)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
            // Fabric knows no RSA signatures of members.
            Self::Rsa(_) => false,
        }
    }

    /// The key's identifier: the SHA-256 of the uncompressed point or of the Ed25519 key. Cryptogen and Fabric CA name
    /// key files after it.
    pub fn ski(&self) -> [u8; 32] {
        match self {
            Self::Ecdsa { point, .. } => Sha256::digest(point).into(),
            Self::Ed25519(key) | Self::Rsa(key) => Sha256::digest(key).into(),
        }
    }

    /// The kind in a word: `P-256`, `Ed25519`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ecdsa { curve: Curve::P224, .. } => "P-224",
            Self::Ecdsa { curve: Curve::P256, .. } => "P-256",
            Self::Ecdsa { curve: Curve::P384, .. } => "P-384",
            Self::Ecdsa { curve: Curve::P521, .. } => "P-521",
            Self::Ed25519(_) => "Ed25519",
            Self::Rsa(_) => "RSA",
        }
    }
}

/// The key identifier of the certificate in `pem`, as the keystore names its files.
///
/// # Errors
/// [`IdentityError`](super::IdentityError) when it is no certificate.
pub fn ski(pem: &[u8]) -> Result<[u8; 32], super::IdentityError> {
    Ok(super::Certificate::from_pem(pem)?.public_key().ski())
}
