//! Certificate authorities and the certificates that they issue.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::DecodePrivateKey as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The library that writes certificates refused.
    #[error("certificate of {name} could not be made")]
    Certificate {
        /// Whose certificate.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// The key that was just made could not be read back.
    #[error("private key of {name} could not be made")]
    Key {
        /// Whose key.
        name: String,
        /// Why.
        source: p256::pkcs8::Error,
    },
}

/// How long certificates are valid: ten years, as those of `cryptogen`.
const VALIDITY: Duration = Duration::from_hours(3650 * 24);

/// A private key with its certificate, as PEM.
pub(crate) struct KeyAndCertificate {
    pub(crate) key_pem: String,
    pub(crate) certificate_pem: String,
}

/// Who a certificate is for.
pub(crate) struct Subject<'a> {
    pub(crate) common_name: &'a str,
    /// The organizational unit that makes it an admin, client, peer or orderer.
    pub(crate) unit: Option<&'a str>,
    /// Names that a TLS certificate is valid for, beside the common name.
    pub(crate) hosts: &'a [&'a str],
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Signing,
    Tls,
}

/// A P-256 key whose signatures have a low S.
struct LowS {
    pair: KeyPair,
    key: p256::ecdsa::SigningKey,
}

impl LowS {
    fn generate(name: &str) -> Result<Self, CryptoError> {
        let pair = KeyPair::generate().map_err(|source| CryptoError::Certificate { name: name.to_owned(), source })?;
        let key = p256::ecdsa::SigningKey::from_pkcs8_der(pair.serialized_der())
            .map_err(|source| CryptoError::Key { name: name.to_owned(), source })?;
        Ok(Self { pair, key })
    }
}

impl PublicKeyData for LowS {
    fn der_bytes(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.pair.algorithm()
    }
}

impl SigningKey for LowS {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: p256::ecdsa::Signature = self.key.sign(message);
        Ok(signature.normalize_s().to_der().as_bytes().to_vec())
    }
}

/// A certificate authority with a certificate that it signed itself.
pub(crate) struct Authority {
    issuer: Issuer<'static, LowS>,
    own: KeyAndCertificate,
    organization: String,
}

impl Authority {
    /// A new authority of `organization`, called `name`.
    pub(crate) fn generate(name: &str, organization: &str) -> Result<Self, CryptoError> {
        let key = LowS::generate(name)?;
        let mut params = params(name, organization, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate =
            params.self_signed(&key).map_err(|source| CryptoError::Certificate { name: name.to_owned(), source })?;
        let own = KeyAndCertificate { key_pem: key.pair.serialize_pem(), certificate_pem: certificate.pem() };
        Ok(Self { issuer: Issuer::new(params, key), own, organization: organization.to_owned() })
    }

    /// The authority's own key and certificate.
    pub(crate) fn own(&self) -> &KeyAndCertificate {
        &self.own
    }

    /// A new key for `subject` with a certificate of this authority.
    pub(crate) fn issue(&self, subject: &Subject<'_>, usage: Usage) -> Result<KeyAndCertificate, CryptoError> {
        let name = subject.common_name;
        let failed = |source| CryptoError::Certificate { name: name.to_owned(), source };
        let key = LowS::generate(name)?;
        let mut params = params(name, &self.organization, subject.unit);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        match usage {
            Usage::Signing => params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            Usage::Tls => {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
                for host in std::iter::once(&name).chain(subject.hosts) {
                    params.subject_alt_names.push(match host.parse::<Ipv4Addr>() {
                        Ok(address) => SanType::IpAddress(IpAddr::V4(address)),
                        Err(_) => SanType::DnsName((*host).try_into().map_err(failed)?),
                    });
                }
            }
        }
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(KeyAndCertificate { key_pem: key.pair.serialize_pem(), certificate_pem: certificate.pem() })
    }
}

fn params(common_name: &str, organization: &str, unit: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::OrganizationName, organization);
    if let Some(unit) = unit {
        name.push(DnType::OrganizationalUnitName, unit);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    // Clocks of other machines may be a little behind.
    let start = SystemTime::now() - Duration::from_mins(5);
    params.not_before = start.into();
    params.not_after = (start + VALIDITY).into();
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_have_low_s_and_names() {
        let authority = Authority::generate("ca.org1.example.com", "org1.example.com").unwrap();
        let subject = Subject {
            common_name: "peer0.org1.example.com",
            unit: Some("peer"),
            hosts: &["peer0", "localhost", "127.0.0.1"],
        };
        for _ in 0..8 {
            let issued = authority.issue(&subject, Usage::Tls).unwrap();
            let (_, pem) = x509_parser::pem::parse_x509_pem(issued.certificate_pem.as_bytes()).unwrap();
            let certificate = pem.parse_x509().unwrap();
            let signature = p256::ecdsa::Signature::from_der(&certificate.signature_value.data).unwrap();
            assert_eq!(signature, signature.normalize_s(), "S must be low");
            let names = certificate.subject_alternative_name().unwrap().unwrap();
            assert_eq!(names.value.general_names.len(), 4);
            let unit = certificate.subject().iter_organizational_unit().next().unwrap();
            assert_eq!(unit.as_str().unwrap(), "peer");
        }
    }
}
