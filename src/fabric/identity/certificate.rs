//! X.509 certificates, as far as an MSP looks at them.
//!
//! A module of its own because two things need them that know nothing of each other: the signer (its own certificate)
//! and the MSP (everybody's).
//!
//! Parsed once into owned fields; the DER stays beside them as it was received, except that an ECDSA signature with a
//! high S is rewritten with the low one, as every Fabric node does before it compares certificates.
//!
//! Source: Fabric 3.1.5 `msp/cert.go`, RFC 5280.

use std::fmt;

use bytes::Bytes;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use super::key::PublicKey;
use super::{IdentityError, der, pem};

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
    organizational_units: Vec<String>,
    public_key: PublicKey,
    pub(crate) is_ca: bool,
    pub(crate) basic_constraints: bool,
    pub(crate) path_length: Option<u32>,
    pub(crate) may_sign_certificates: bool,
    pub(crate) may_sign_revocations: bool,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    pub(crate) unknown_critical: bool,
    pub(crate) signature: CertificateSignature,
    dns_names: Vec<String>,
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

    /// The certificate whose DER is `input`, with a low S.
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
            organizational_units,
            public_key,
            is_ca: false,
            basic_constraints: false,
            path_length: None,
            may_sign_certificates: false,
            may_sign_revocations: false,
            subject_key_id: None,
            authority_key_id: None,
            unknown_critical: false,
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
                self.basic_constraints = true;
                self.is_ca = constraints.ca;
                self.path_length = constraints.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => {
                self.may_sign_certificates = usage.key_cert_sign();
                self.may_sign_revocations = usage.crl_sign();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.dns_names.extend(names.general_names.iter().filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                }));
            }
            ParsedExtension::ExtendedKeyUsage(_) | ParsedExtension::NameConstraints(_) => {}
            _ => self.unknown_critical |= critical,
        }
    }

    /// The DER, with a low S in its signature.
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
