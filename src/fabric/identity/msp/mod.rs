//! The MSP of an organization: whose signatures count, and as what.
//!
//! A module of its own because verification is the counterpart of signing and the larger half: chains, revocation
//! lists, NodeOUs, principals. Expiry is not looked at, as it is not on the nodes' way of validating (they check it at
//! their doors); [`Identity::expires_at`] tells it.
//!
//! Does not hold a signing identity and knows one organization only; a channel has one `Msp` per organization.
//!
//! Source: Fabric 3.1.5 `msp`, `fabric-protos/msp/msp_config.proto`.

mod chain;
mod folder;
mod principal;
mod setup;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

pub use folder::MspFolder;
pub use principal::Role;

use super::{Certificate, Creator, IdentityError, PublicKey, pem};
use crate::fabric::names::{MspId, NameError};
use crate::pb;
use chain::{Chains, MemberChain, Revocations};

/// Which generation of rules an MSP follows; a channel's capabilities decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MspVersion {
    /// Channels with the capabilities `V1_4_3` to `V2_0`.
    V1_4_3,
    /// Channels with the capability `V3_0`: Ed25519 is allowed.
    V3_0,
}

/// Why an MSP cannot be set up, or does not take an identity for one of its own.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MspError {
    /// The configuration cannot be decoded.
    #[error("MSP configuration cannot be read: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The configuration asks for something that this library does not do, such as Idemix.
    #[error("MSP {msp_id} needs {what}, which is not supported")]
    Unsupported {
        /// The organization.
        msp_id: String,
        /// What.
        what: String,
    },
    /// The MSP ID in the configuration is none.
    #[error("MSP configuration has no usable name")]
    Name(#[from] NameError),
    /// The configuration contradicts itself.
    #[error("MSP {msp_id} cannot be set up: {reason}")]
    Setup {
        /// The organization.
        msp_id: String,
        /// What is wrong.
        reason: String,
    },
    /// A part of the configuration or an identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity says that it belongs to another organization.
    #[error("expected MSP ID {expected}, received {found}")]
    OtherOrganization {
        /// This MSP.
        expected: MspId,
        /// What the identity says.
        found: String,
    },
    /// The identity is not one that this MSP vouches for.
    #[error("identity {subject} is not valid for {msp_id}: {reason}")]
    Invalid {
        /// The organization.
        msp_id: MspId,
        /// Whose certificate.
        subject: String,
        /// Why.
        reason: String,
    },
    /// The signature is not by this identity over this message.
    #[error("signature of {subject} of {msp_id} does not fit the message")]
    Signature {
        /// The organization.
        msp_id: MspId,
        /// Whose certificate.
        subject: String,
    },
}

/// The verifying half of an organization's MSP. Cheap to clone.
#[derive(Clone)]
pub struct Msp(Arc<Inner>);

struct Inner {
    id: MspId,
    version: MspVersion,
    chains: Chains,
    revocations: Revocations,
    admins: Vec<Certificate>,
    /// Units of which every member must have one, with the authorities that may vouch for it.
    units: Vec<(String, [u8; 32])>,
    node_units: Option<principal::NodeUnits>,
    tls_roots: Vec<Bytes>,
    tls_intermediates: Vec<Bytes>,
}

impl fmt::Debug for Msp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msp({})", self.0.id)
    }
}

impl Msp {
    /// Sets up the MSP that `config` describes.
    ///
    /// # Errors
    /// [`MspError`] for what Fabric's nodes would refuse, and for Idemix.
    pub fn from_config(config: &pb::msp::MspConfig, version: MspVersion) -> Result<Self, MspError> {
        // 0 is X.509; 1 is Idemix.
        if config.r#type != 0 {
            return Err(MspError::Unsupported { msp_id: String::new(), what: format!("MSP type {}", config.r#type) });
        }
        let config = pb::msp::FabricMspConfig::decode(config.config.clone())
            .map_err(|error| MspError::Malformed { reason: error.to_string() })?;
        setup::set_up(&config, version).map(|inner| Self(Arc::new(inner)))
    }

    /// Sets up the MSP of a folder, with the rules of current channels.
    ///
    /// # Errors
    /// [`MspError`], also when the folder cannot be read.
    pub fn from_folder(msp_id: &MspId, folder: &Path) -> Result<Self, MspError> {
        Self::from_config(&MspFolder::load(msp_id, folder)?.to_config(), MspVersion::V1_4_3)
    }

    /// The organization.
    pub fn msp_id(&self) -> &MspId {
        &self.0.id
    }

    /// The rules it follows.
    pub fn version(&self) -> MspVersion {
        self.0.version
    }

    /// The roots of the organization's TLS certificates, as PEM.
    pub fn tls_roots(&self) -> &[Bytes] {
        &self.0.tls_roots
    }

    /// The intermediate authorities of the organization's TLS certificates, as PEM.
    pub fn tls_intermediates(&self) -> &[Bytes] {
        &self.0.tls_intermediates
    }

    /// The identity that `creator` is, if it is one of this organization's: well formed, with a chain to its
    /// authorities, not revoked, with the units that are demanded.
    ///
    /// # Errors
    /// [`MspError`] saying which of these it is not.
    pub fn identity(&self, creator: &[u8]) -> Result<Identity, MspError> {
        let identity = self.deserialize(creator)?;
        identity.well_formed(&Creator::decode(creator)?)?;
        identity.validate()?;
        Ok(identity)
    }

    /// The identity that `creator` says to be, whether valid or not. Principals are judged with it as Fabric's policies
    /// judge them.
    ///
    /// # Errors
    /// [`MspError`] when it is of another organization, cannot be read, or an authority's signature does not fit.
    pub fn deserialize(&self, creator: &[u8]) -> Result<Identity, MspError> {
        let raw = pb::msp::SerializedIdentity::decode(creator)
            .map_err(|error| IdentityError::Creator { reason: error.to_string() })?;
        if raw.mspid != self.0.id.as_str() {
            return Err(MspError::OtherOrganization { expected: self.0.id.clone(), found: raw.mspid });
        }
        let certificate = Certificate::from_pem(&raw.id_bytes)?;
        let invalid = |reason: String| MspError::Invalid {
            msp_id: self.0.id.clone(),
            subject: certificate.subject().to_owned(),
            reason,
        };
        let (certificate, chain) = self.0.chains.resolve(certificate.clone()).map_err(invalid)?;
        let verdict = self.0.validate(&certificate, &chain);
        let certifiers = chain.ok().map(|chain| chain::identifier(&chain[1..]));
        Ok(Identity { msp: self.clone(), certificate, certifiers, verdict })
    }
}

impl Inner {
    /// All that a member's certificate must be.
    fn validate(&self, certificate: &Certificate, chain: &MemberChain) -> Result<(), String> {
        match certificate.public_key() {
            PublicKey::Ecdsa { .. } => {}
            PublicKey::Ed25519(_) if self.version >= MspVersion::V3_0 => {}
            other => return Err(format!("keys of kind {} are not supported here", other.kind())),
        }
        let chain = chain.as_ref().map_err(Clone::clone)?;
        self.revocations.check(certificate, chain)?;
        self.check_units(certificate, chain::identifier(&chain[1..]))
    }

    fn check_units(&self, certificate: &Certificate, certifiers: [u8; 32]) -> Result<(), String> {
        let units = certificate.organizational_units();
        let known = |unit: &String| self.units.contains(&(unit.clone(), certifiers));
        if !self.units.is_empty() && !units.iter().any(known) {
            return Err(format!("none of its organizational units {units:?} is demanded"));
        }
        match &self.node_units {
            Some(node_units) => node_units.check(units, certifiers),
            None => Ok(()),
        }
    }
}

/// A member of an organization, as its MSP sees it.
#[derive(Clone)]
pub struct Identity {
    msp: Msp,
    certificate: Certificate,
    certifiers: Option<[u8; 32]>,
    verdict: Result<(), String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, {})", self.msp.0.id, self.certificate.subject())
    }
}

impl Identity {
    /// The organization.
    pub fn msp_id(&self) -> &MspId {
        &self.msp.0.id
    }

    /// The MSP that vouches for it.
    pub fn msp(&self) -> &Msp {
        &self.msp
    }

    /// The certificate, in the form that nodes compare.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// When the certificate expires, in seconds since 1970. Validity does not look at it.
    pub fn expires_at(&self) -> i64 {
        self.certificate.not_after()
    }

    /// The serialized identity, with the certificate in its one form.
    pub fn creator(&self) -> Bytes {
        let certificate_pem = self.certificate.to_pem().into();
        Creator { msp_id: self.msp.0.id.clone(), certificate_pem }.encode()
    }

    /// That the organization's authorities vouch for it.
    ///
    /// # Errors
    /// [`MspError::Invalid`] with the reason.
    pub fn validate(&self) -> Result<(), MspError> {
        self.verdict.clone().map_err(|reason| self.invalid(reason))
    }

    /// That `signature` is this identity's over `message`.
    ///
    /// # Errors
    /// [`MspError::Signature`] when it is not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), MspError> {
        if self.certificate.public_key().verify(message, signature) {
            Ok(())
        } else {
            Err(MspError::Signature { msp_id: self.msp.0.id.clone(), subject: self.certificate.subject().to_owned() })
        }
    }

    fn invalid(&self, reason: impl Into<String>) -> MspError {
        MspError::Invalid {
            msp_id: self.msp.0.id.clone(),
            subject: self.certificate.subject().to_owned(),
            reason: reason.into(),
        }
    }

    /// That the identity came in the one form in which nodes pass identities on.
    fn well_formed(&self, received: &Creator) -> Result<(), MspError> {
        let (block, rest) = pem::first(&received.certificate_pem).ok_or(IdentityError::NotPem)?;
        if !rest.is_empty() {
            return Err(self.invalid(format!("{} bytes follow its certificate", rest.len())));
        }
        if !block.label.is_empty() && block.label != "CERTIFICATE" {
            return Err(self.invalid(format!("its certificate is called {:?}", block.label)));
        }
        if !Certificate::from_der(&block.der)?.has_canonical_signature() {
            return Err(self.invalid("the signature in its certificate is not in canonical form"));
        }
        Ok(())
    }
}
