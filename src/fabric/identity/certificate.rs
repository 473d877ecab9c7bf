//! X.509 certificates, as far as an MSP looks at them.
//!
//! A module of its own because two things need them that know nothing of each other: the signer (its own certificate)
//! and the MSP (everybody's).
//!
//! Parsed once into owned fields; the DER stays beside them as it was received. [`Certificate::with_low_s`] gives the
//! form in which every Fabric node compares and passes on certificates.
//!
//! Source: Fabric 3.1.5 `msp/cert.go`, RFC 5280.

use std::fmt;

use bytes::Bytes;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use super::key::PublicKey;
use super::{Curve, IdentityError, der, pem};

/// A certificate.
#[derive(Clone)]
pub struct Certificate {
    der: Bytes,
    subject: String,
    pub(crate) subject_raw: Vec<u8>,
    pub(crate) issuer_raw: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    not_before: i64,
    not_after: i64,
    not_after_text: String,
    organizational_units: Vec<String>,
    public_key: PublicKey,
    pub(crate) authority: Authority,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    /// Something that must not be ignored and is not understood.
    pub(crate) unknown_critical: bool,
    /// The purposes it is limited to; `None` without such a limit.
    pub(crate) purposes: Option<Purposes>,
    pub(crate) signature: CertificateSignature,
    dns_names: Vec<String>,
}

/// What the certificate allows its subject as an authority.
#[derive(Clone, Default)]
#[allow(clippy::struct_excessive_bools)] // Four independent marks of X.509.
pub(crate) struct Authority {
    /// Whether there are basic constraints at all.
    pub(crate) constrained: bool,
    pub(crate) is_ca: bool,
    pub(crate) path_length: Option<u32>,
    /// A key usage is given, and signing certificates is not part of it.
    pub(crate) barred: bool,
    /// It limits the names that it may vouch for.
    pub(crate) limits_names: bool,
}

/// Extended key usages, as far as Fabric's nodes look at them.
#[derive(Clone, Copy)]
pub(crate) struct Purposes {
    pub(crate) any: bool,
    pub(crate) server: bool,
}

/// Who signed what in a certificate or a revocation list.
#[derive(Clone)]
pub(crate) struct CertificateSignature {
    /// The signed part, as it was received.
    pub(crate) signed: Vec<u8>,
    /// The algorithm's object identifier.
    pub(crate) algorithm: Vec<u8>,
    /// The signature's bits.
    pub(crate) bits: Vec<u8>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Certificate {
    /// The certificate in the first PEM block of `text`.
    ///
    /// # Errors
    /// [`IdentityError::NotPem`] or [`IdentityError::Certificate`].
    pub fn from_pem(text: &[u8]) -> Result<Self, IdentityError> {
        let (block, _) = pem::first(text).ok_or(IdentityError::NotPem)?;
        Self::from_der(&block.der)
    }

    /// The certificate whose DER is `input`.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] with what is wrong.
    pub fn from_der(input: &[u8]) -> Result<Self, IdentityError> {
        let wrong = |reason: String| IdentityError::Certificate { reason };
        let (rest, parsed) = X509Certificate::from_der(input).map_err(|error| wrong(error.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong(format!("{} bytes after the certificate", rest.len())));
        }
        let info = parsed.public_key();
        let parameters = info.algorithm.parameters.as_ref().filter(|any| any.tag().0 == u32::from(der::OID));
        let public_key = PublicKey::from_parts(
            info.algorithm.algorithm.as_bytes(),
            parameters.map(|any| any.data),
            &info.subject_public_key.data,
        )
        .ok_or_else(|| wrong("its public key is of an unknown kind".to_owned()))?;
        let organizational_units = parsed
            .subject()
            .iter_organizational_unit()
            .filter_map(|unit| unit.as_str().ok().map(str::to_owned))
            .collect();
        let mut certificate = Self {
            der: Bytes::copy_from_slice(input),
            subject: parsed.subject().to_string(),
            subject_raw: parsed.subject().as_raw().to_vec(),
            issuer_raw: parsed.issuer().as_raw().to_vec(),
            serial: parsed.raw_serial().to_vec(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            not_after_text: parsed.validity().not_after.to_string(),
            organizational_units,
            public_key,
            authority: Authority::default(),
            subject_key_id: None,
            unknown_critical: false,
            purposes: None,
            signature: CertificateSignature {
                signed: parsed.tbs_certificate.as_ref().to_vec(),
                algorithm: parsed.signature_algorithm.algorithm.as_bytes().to_vec(),
                bits: parsed.signature_value.data.to_vec(),
            },
            dns_names: Vec::new(),
        };
        for extension in parsed.extensions() {
            certificate.take_extension(extension.parsed_extension(), extension.critical);
        }
        Ok(certificate)
    }

    fn take_extension(&mut self, extension: &ParsedExtension<'_>, critical: bool) {
        match extension {
            ParsedExtension::BasicConstraints(constraints) => {
                self.authority.constrained = true;
                self.authority.is_ca = constraints.ca;
                self.authority.path_length = constraints.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => {
                self.authority.barred = usage.flags != 0 && !usage.key_cert_sign();
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.purposes = Some(Purposes { any: usage.any, server: usage.server_auth });
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::SubjectAlternativeName(names) => {
                self.dns_names.extend(names.general_names.iter().filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                }));
            }
            ParsedExtension::NameConstraints(_) => self.authority.limits_names = true,
            ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::AuthorityInfoAccess(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::InhibitAnyPolicy(_) => {}
            _ => self.unknown_critical |= critical,
        }
    }

    /// The certificate with the low S of its ECDSA signature. Authorities may sign with either; Fabric's nodes rewrite
    /// to the low one before they compare certificates or show them to others.
    #[must_use]
    pub fn with_low_s(self) -> Self {
        let rewritten = self.low_s_der().and_then(|der| Self::from_der(&der).ok());
        rewritten.unwrap_or(self)
    }

    /// Whether an ECDSA signature on it is encoded in the one form that its numbers have.
    pub(crate) fn has_canonical_signature(&self) -> bool {
        !self.signature.is_ecdsa()
            || der::ecdsa_signature(&self.signature.bits)
                .is_some_and(|(r, s)| der::write_ecdsa_signature(r, s) == self.signature.bits)
    }

    /// The DER with a low S; `None` when there is nothing to change.
    fn low_s_der(&self) -> Option<Vec<u8>> {
        if !self.signature.is_ecdsa() {
            return None;
        }
        let (r, s) = der::ecdsa_signature(&self.signature.bits)?;
        // The issuer's curve shows in the length: the odds that both numbers are a width shorter are one in 2^64.
        let curve = Curve::of_signature(r, s)?;
        let signature = der::write_ecdsa_signature(r, &curve.low_s(s)?);
        if signature == self.signature.bits {
            return None;
        }
        let (certificate, _) = der::expect(&self.der, der::SEQUENCE)?;
        let (signed, rest) = der::read(certificate)?;
        let (algorithm, _) = der::read(rest)?;
        let bits = der::write(der::BIT_STRING, &[&[0], signature.as_slice()].concat());
        Some(der::write(der::SEQUENCE, &[signed.whole, algorithm.whole, &bits].concat()))
    }

    /// The DER.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// As a PEM block: 64 columns, LF.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// The subject, for reading.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Valid from, in seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Valid up to and including, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The last moment of its validity, for reading.
    pub fn expiry(&self) -> &str {
        &self.not_after_text
    }

    /// The OUs of the subject, in order.
    pub fn organizational_units(&self) -> &[String] {
        &self.organizational_units
    }

    /// The DNS names that the certificate is for.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The subject's key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

const ECDSA_WITH_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

impl CertificateSignature {
    /// The digest that an ECDSA algorithm names, other than the usual SHA-256; `None` for other algorithms, and for
    /// SHA-1, which nobody accepts.
    fn ecdsa_digest(&self) -> Option<Vec<u8>> {
        use sha2::{Digest as _, Sha384, Sha512};
        match self.algorithm.as_slice() {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03] => Some(Sha384::digest(&self.signed).to_vec()),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04] => Some(Sha512::digest(&self.signed).to_vec()),
            _ => None,
        }
    }

    pub(crate) fn is_ecdsa(&self) -> bool {
        self.algorithm.starts_with(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04])
    }

    /// Whether `key` made the signature.
    pub(crate) fn is_by(&self, key: &PublicKey) -> bool {
        use ring::signature as rs;
        match key {
            PublicKey::Ecdsa { curve, point } => {
                let Some((r, s)) = der::ecdsa_signature(&self.bits) else { return false };
                if self.algorithm == ECDSA_WITH_SHA256 {
                    return curve.verify_sha256(point, &self.signed, r, s);
                }
                self.ecdsa_digest().is_some_and(|digest| curve.verify_digest(point, &digest, r, s))
            }
            PublicKey::Ed25519(_) => self.algorithm == [0x2b, 0x65, 0x70] && key.verify(&self.signed, &self.bits),
            PublicKey::Rsa(bits) => {
                let algorithm = match self.algorithm.as_slice() {
                    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b] => &rs::RSA_PKCS1_2048_8192_SHA256,
                    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c] => &rs::RSA_PKCS1_2048_8192_SHA384,
                    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d] => &rs::RSA_PKCS1_2048_8192_SHA512,
                    _ => return false,
                };
                rs::UnparsedPublicKey::new(algorithm, bits).verify(&self.signed, &self.bits).is_ok()
            }
        }
    }
}
