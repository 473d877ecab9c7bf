//! Chains from a certificate to a root, and the lists of what was revoked.
//!
//! As Go's `crypto/x509` does it at the moment one second after the certificate begins to be valid, which is how
//! Fabric's nodes leave expiry out. Certificates are judged by name, signature, basic constraints, key usage and extended
//! key usage; an authority that limits names is refused, because the names of members are not looked at here.

use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, ParsedExtension};

use crate::fabric::identity::certificate::CertificateSignature;
use crate::fabric::identity::{Certificate, IdentityError, pem};

/// The authorities of an organization.
#[derive(Default)]
pub(super) struct Chains {
    pub(super) roots: Vec<Certificate>,
    pub(super) intermediates: Vec<Certificate>,
    /// Authorities that have authorities below them: they may not vouch for members.
    inner: Vec<Certificate>,
}

/// A member's certificate and the authorities above it, or why there is no such chain.
pub(super) type MemberChain = Result<Vec<Certificate>, String>;

const NO_MEMBER: &str = "an authority's certificate is no member's";
const NO_CHAIN: &str = "it has no chain to an authority";

/// No chain of Fabric is as long; a bound against authorities that certify each other.
const LONGEST: usize = 16;
/// So many signatures are verified for one certificate, as Go has it: among authorities that certify each other there
/// are more ways than anybody can go.
const MOST_CHECKS: usize = 100;

impl Chains {
    pub(super) fn new(roots: Vec<Certificate>, intermediates: Vec<Certificate>) -> Self {
        let mut chains = Self::default();
        for root in roots {
            add_once(&mut chains.roots, root);
        }
        for intermediate in intermediates {
            add_once(&mut chains.intermediates, intermediate);
        }
        chains
    }

    /// Notes which authorities stand above others.
    pub(super) fn find_inner(&mut self) -> Result<(), String> {
        let mut inner = Vec::new();
        for intermediate in &self.intermediates {
            for above in self.unique(intermediate)?.into_iter().skip(1) {
                add_once(&mut inner, above);
            }
        }
        self.inner = inner;
        Ok(())
    }

    /// The form in which nodes compare `certificate`; an error when an ECDSA signature on it is not by an authority.
    pub(super) fn sanitize(&self, certificate: Certificate) -> Result<Certificate, String> {
        if !certificate.signature.is_ecdsa() {
            return Ok(certificate);
        }
        let own_root = certificate.authority.is_ca && signed_by(&certificate, &certificate);
        if !own_root {
            let chain = self.unique(&certificate)?;
            if chain.len() < 2 {
                return Err(NO_CHAIN.to_owned());
            }
        }
        Ok(certificate.with_low_s())
    }

    /// The chain of a member's certificate, itself first.
    pub(super) fn of_member(&self, certificate: &Certificate) -> MemberChain {
        if certificate.authority.is_ca {
            return Err(NO_MEMBER.to_owned());
        }
        self.unique(certificate).and_then(|chain| self.below_a_leaf(chain))
    }

    /// Both at once, with each signature verified once: the form in which nodes compare `certificate`, and its chain if
    /// it is a member's.
    pub(super) fn resolve(&self, certificate: Certificate) -> Result<(Certificate, MemberChain), String> {
        if certificate.authority.is_ca {
            return Ok((self.sanitize(certificate)?, Err(NO_MEMBER.to_owned())));
        }
        let chain = self.unique(&certificate);
        if !certificate.signature.is_ecdsa() {
            return Ok((certificate, chain.and_then(|chain| self.below_a_leaf(chain))));
        }
        let mut chain = chain?;
        if chain.len() < 2 {
            return Err(NO_CHAIN.to_owned());
        }
        let certificate = certificate.with_low_s();
        chain[0] = certificate.clone();
        Ok((certificate, self.below_a_leaf(chain)))
    }

    /// That the authority at the end of which a member stands has no authorities below it.
    fn below_a_leaf(&self, chain: Vec<Certificate>) -> MemberChain {
        match chain.get(1) {
            None => Err("its chain holds no authority".to_owned()),
            Some(parent) if self.inner.contains(parent) => {
                Err("its authority has authorities below it and may not vouch for members".to_owned())
            }
            Some(_) => Ok(chain),
        }
    }

    /// What the chain above a member is called in principals.
    pub(super) fn certifiers(&self, certificate: &Certificate) -> Option<[u8; 32]> {
        self.of_member(certificate).ok().map(|chain| identifier(&chain[1..]))
    }

    /// What an authority and the chain above it are called, where a unit is bound to it.
    pub(super) fn certifiers_of_authority(&self, authority: &Certificate) -> Result<[u8; 32], String> {
        if self.roots.contains(authority) {
            return Ok(identifier(std::slice::from_ref(authority)));
        }
        if !self.intermediates.contains(authority) {
            return Err("the authority of a unit is not one of the organization's".to_owned());
        }
        let chain = self.unique(authority)?;
        if self.inner.contains(&chain[0]) {
            return Err("the authority of a unit has authorities below it".to_owned());
        }
        Ok(identifier(&chain))
    }

    /// The one chain of `certificate` to a root; more or fewer than one is an error.
    pub(super) fn unique(&self, certificate: &Certificate) -> Result<Vec<Certificate>, String> {
        let now = certificate.not_before() + 1;
        if now > certificate.not_after() {
            return Err("it is never valid".to_owned());
        }
        if certificate.unknown_critical {
            return Err("it has a critical extension that is not known".to_owned());
        }
        let mut found = Vec::new();
        if self.roots.contains(certificate) {
            found.push(vec![certificate.clone()]);
        } else {
            self.extend(&mut vec![certificate.clone()], now, &mut found, &mut 0);
        }
        found.retain(|chain| {
            chain.iter().all(|link| link.purposes.is_none_or(|purposes| purposes.any || purposes.server))
        });
        match found.len() {
            0 => Err("it is signed by no authority of the organization".to_owned()),
            1 => Ok(found.remove(0)),
            several => Err(format!("{several} chains lead to it, only one may")),
        }
    }

    /// Adds every way from the end of `chain` to a root, as long as `checks` does not reach its limit.
    fn extend(&self, chain: &mut Vec<Certificate>, now: i64, found: &mut Vec<Vec<Certificate>>, checks: &mut usize) {
        // More than one is an error already; no need to search on.
        if chain.len() >= LONGEST || found.len() > 1 {
            return;
        }
        let end = chain[chain.len() - 1].clone();
        let candidates = self.roots.iter().map(|root| (root, true));
        let candidates = candidates.chain(self.intermediates.iter().map(|intermediate| (intermediate, false)));
        for (parent, is_root) in candidates {
            if parent.subject_raw != end.issuer_raw || chain.contains(parent) {
                continue;
            }
            if *checks >= MOST_CHECKS {
                return;
            }
            *checks += 1;
            let fits = (parent.not_before()..=parent.not_after()).contains(&now)
                && !parent.unknown_critical
                && !parent.authority.limits_names
                && (is_root || (parent.authority.constrained && parent.authority.is_ca))
                && parent.authority.path_length.is_none_or(|most| chain.len() - 1 <= most as usize)
                && signed_by(&end, parent);
            if !fits {
                continue;
            }
            chain.push(parent.clone());
            if is_root {
                found.push(chain.clone());
            } else {
                self.extend(chain, now, found, checks);
            }
            chain.pop();
        }
    }
}

/// Whether `parent` may sign certificates and signed `certificate`.
fn signed_by(certificate: &Certificate, parent: &Certificate) -> bool {
    (!parent.authority.constrained || parent.authority.is_ca)
        && !parent.authority.barred
        && certificate.signature.is_by(parent.public_key())
}

fn add_once(certificates: &mut Vec<Certificate>, certificate: Certificate) {
    if !certificates.contains(&certificate) {
        certificates.push(certificate);
    }
}

/// The SHA-256 over the certificates of a chain.
pub(super) fn identifier(chain: &[Certificate]) -> [u8; 32] {
    chain.iter().fold(Sha256::new(), |hash, link| hash.chain_update(link.der())).finalize().into()
}

/// The revocation lists of an organization.
#[derive(Default)]
pub(super) struct Revocations(Vec<Revocation>);

struct Revocation {
    /// Whose list it says to be.
    authority_key_id: Option<Vec<u8>>,
    serials: Vec<Vec<u8>>,
    signature: CertificateSignature,
}

impl Revocations {
    /// Reads lists in PEM or DER.
    pub(super) fn read(lists: &[bytes::Bytes]) -> Result<Self, IdentityError> {
        lists.iter().map(|list| Revocation::read(list)).collect::<Result<_, _>>().map(Self)
    }

    /// That no authority above `certificate` has revoked it.
    pub(super) fn check(&self, certificate: &Certificate, chain: &[Certificate]) -> Result<(), String> {
        let Some(issuer) = chain.get(1) else { return Ok(()) };
        let Some(issuer_key) = &issuer.subject_key_id else {
            return Err("its authority has no subject key identifier".to_owned());
        };
        for list in &self.0 {
            let Some(list_key) = &list.authority_key_id else {
                return Err("a revocation list does not say whose it is".to_owned());
            };
            if list_key == issuer_key
                && list.serials.iter().any(|serial| without_zeros(serial) == without_zeros(&certificate.serial))
                && list.signature.is_by(issuer.public_key())
            {
                return Err("it has been revoked".to_owned());
            }
        }
        Ok(())
    }
}

/// The number in its shortest form.
fn without_zeros(serial: &[u8]) -> &[u8] {
    &serial[serial.iter().take_while(|byte| **byte == 0).count()..]
}

impl Revocation {
    fn read(list: &[u8]) -> Result<Self, IdentityError> {
        let wrong = |reason: String| IdentityError::Certificate { reason: format!("revocation list: {reason}") };
        let block = pem::first(list).filter(|(block, _)| block.label == "X509 CRL").map(|(block, _)| block.der);
        let der = block.as_deref().unwrap_or(list);
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|error| wrong(error.to_string()))?;
        let authority_key_id = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                Some(id.key_identifier.as_ref().map(|id| id.0.to_vec()).unwrap_or_default())
            }
            _ => None,
        });
        let signature = CertificateSignature {
            signed: parsed.tbs_cert_list.as_ref().to_vec(),
            algorithm: parsed.signature_algorithm.algorithm.as_bytes().to_vec(),
            bits: parsed.signature_value.data.to_vec(),
        };
        if signature.is_ecdsa() && crate::fabric::identity::der::ecdsa_signature(&signature.bits).is_none() {
            return Err(wrong("its signature cannot be read".to_owned()));
        }
        let serials = parsed.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect();
        Ok(Self { authority_key_id, serials, signature })
    }
}
