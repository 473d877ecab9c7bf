//! The elliptic curves of Fabric's certificates, behind one enum.
//!
//! A module of its own so that the four curve crates and `ring` are named in one place. What counts as a good signature
//! is decided in [`key`](super::key); here are the numbers only.

use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use sha2::{Digest as _, Sha256};

/// A curve of FIPS 186-4 that Fabric's nodes understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Curve {
    /// secp224r1.
    P224,
    /// secp256r1, what almost everyone uses.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

/// Runs `$body` with `$curve` standing for the curve's crate.
macro_rules! with_curve {
    ($self:expr, $curve:ident => $body:block) => {
        match $self {
            Curve::P224 => {
                use p224 as $curve;
                $body
            }
            Curve::P256 => {
                use p256 as $curve;
                $body
            }
            Curve::P384 => {
                use p384 as $curve;
                $body
            }
            Curve::P521 => {
                use p521 as $curve;
                $body
            }
        }
    };
}

impl Curve {
    /// The curve that a DER object identifier (contents only) names.
    pub(crate) fn from_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            [0x2b, 0x81, 0x04, 0x00, 0x21] => Some(Self::P224),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Some(Self::P256),
            [0x2b, 0x81, 0x04, 0x00, 0x22] => Some(Self::P384),
            [0x2b, 0x81, 0x04, 0x00, 0x23] => Some(Self::P521),
            _ => None,
        }
    }

    /// The curve whose numbers are as long as `r` and `s` are.
    pub(crate) fn of_signature(r: &[u8], s: &[u8]) -> Option<Self> {
        let length = r.len().max(s.len());
        [Self::P224, Self::P256, Self::P384, Self::P521].into_iter().find(|curve| length <= curve.field_bytes())
    }

    /// Bytes of a coordinate and of a scalar.
    pub(crate) fn field_bytes(self) -> usize {
        match self {
            Self::P224 => 28,
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// `digits` with leading zeros up to the width of the field; `None` when there are too many of them.
    pub(crate) fn widen(self, digits: &[u8]) -> Option<Vec<u8>> {
        let digits = &digits[digits.iter().take_while(|byte| **byte == 0).count()..];
        let missing = self.field_bytes().checked_sub(digits.len())?;
        Some([vec![0; missing], digits.to_vec()].concat())
    }

    /// The uncompressed public point of `scalar`; `None` when the scalar is zero or not below the order.
    pub(crate) fn public_point(self, scalar: &[u8]) -> Option<Vec<u8>> {
        with_curve!(self, curve => {
            let key = curve::SecretKey::from_slice(scalar).ok()?;
            Some(key.public_key().to_sec1_point(false).as_bytes().to_vec())
        })
    }

    /// `point`, which may be compressed, as an uncompressed point; `None` when it does not lie on the curve.
    pub(crate) fn uncompressed(self, point: &[u8]) -> Option<Vec<u8>> {
        with_curve!(self, curve => {
            let key = curve::PublicKey::from_sec1_bytes(point).ok()?;
            Some(key.to_sec1_point(false).as_bytes().to_vec())
        })
    }

    /// `r` and `s` over `digest`, the same for the same input (RFC 6979), `s` in the lower half.
    pub(crate) fn sign(self, scalar: &[u8], digest: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        with_curve!(self, curve => {
            let key = curve::ecdsa::SigningKey::from_slice(scalar).ok()?;
            let signature: curve::ecdsa::Signature = key.sign_prehash(digest).ok()?;
            let (r, s) = signature.normalize_s().split_bytes();
            Some((r.to_vec(), s.to_vec()))
        })
    }

    /// Whether `r` and `s` are a signature by `point` over the SHA-256 of `message`.
    pub(crate) fn verify_sha256(self, point: &[u8], message: &[u8], r: &[u8], s: &[u8]) -> bool {
        if self != Self::P256 {
            return self.verify_digest(point, &Sha256::digest(message), r, s);
        }
        // Nearly every signature is of this kind, and ring is five times as fast as the generic code.
        let (Some(r), Some(s)) = (self.widen(r), self.widen(s)) else { return false };
        ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point)
            .verify(message, &[r, s].concat())
            .is_ok()
    }

    /// Whether `r` and `s` are a signature by `point` over `digest`.
    pub(crate) fn verify_digest(self, point: &[u8], digest: &[u8], r: &[u8], s: &[u8]) -> bool {
        let (Some(r), Some(s)) = (self.widen(r), self.widen(s)) else { return false };
        with_curve!(self, curve => {
            let Ok(key) = curve::ecdsa::VerifyingKey::from_sec1_bytes(point) else { return false };
            let Ok(signature) = curve::ecdsa::Signature::from_slice(&[r, s].concat()) else { return false };
            key.verify_prehash(digest, &signature).is_ok()
        })
    }

    /// The smaller of `s` and the order less `s`, at full width; `None` when it is no scalar.
    pub(crate) fn low_s(self, s: &[u8]) -> Option<Vec<u8>> {
        let s = self.widen(s)?;
        with_curve!(self, curve => {
            // Only `s` is of interest here, so it stands for `r` as well.
            let signature = curve::ecdsa::Signature::from_slice(&[s.clone(), s].concat()).ok()?;
            Some(signature.normalize_s().split_bytes().1.to_vec())
        })
    }
}
