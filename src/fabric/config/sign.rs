//! Signatures over updates, and the envelope that carries both.
//!
//! A signature covers its own header and the exact bytes of the update: an update that is encoded anew loses every
//! signature. So updates are bytes here and are never taken apart and put together again.
//!
//! Nonces and times are arguments.
//!
//! Source: Fabric 3.1.5 `protoutil`, `common/configtx`; fabric-opssc's configtx CLI for the artifacts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use serde::Deserialize;

use super::edit::EditError;
use super::edit::profile::parse;
use super::tree::{ConfigUpdate, TreeError};
use crate::fabric::identity::{Certificate, Creator, IdentityError, PrivateKey, SignError, Signer};
use crate::fabric::names::MspId;
use crate::fabric::tx::Nonce;
use crate::pb::common::{
    ChannelHeader, ConfigSignature, ConfigUpdateEnvelope, Envelope, Header, HeaderType, Payload, SignatureHeader,
};

/// A signature over an update in the making.
#[derive(Debug, Clone)]
pub struct UnsignedConfigSignature {
    header: Bytes,
    payload: Bytes,
}

impl UnsignedConfigSignature {
    /// Of `creator` over the update that these bytes are.
    pub fn new(update: &[u8], creator: &Bytes, nonce: Nonce) -> Self {
        let header = SignatureHeader { creator: creator.clone(), nonce: nonce.to_bytes() };
        let header: Bytes = header.encode_to_vec().into();
        let payload = [&header[..], update].concat().into();
        Self { header, payload }
    }

    /// What is signed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The signature with its header.
    #[must_use]
    pub fn signed_with(self, signature: impl Into<Bytes>) -> ConfigSignature {
        ConfigSignature { signature_header: self.header, signature: signature.into() }
    }
}

/// Signs the update that these bytes are.
///
/// Cancel safety: dropping the future changes nothing.
///
/// # Errors
/// [`SignError`] when the signer fails.
pub async fn sign(update: &[u8], signer: &dyn Signer, nonce: Nonce) -> Result<ConfigSignature, SignError> {
    let unsigned = UnsignedConfigSignature::new(update, signer.creator(), nonce);
    let signature = signer.sign(unsigned.payload()).await?;
    Ok(unsigned.signed_with(signature))
}

/// A certificate and a key as they lie there, for signing an update apart from everything else.
#[derive(Debug)]
pub struct ConfigSigner {
    certificate: Certificate,
    key: PrivateKey,
    creator: Bytes,
}

impl ConfigSigner {
    /// Joins a certificate and a key. Whether they belong together is [for the caller](Self::key_fits) to ask.
    ///
    /// # Errors
    /// [`IdentityError`] when one cannot be read.
    pub fn from_pem(msp_id: MspId, certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let certificate = Certificate::from_pem(certificate)?;
        let key = PrivateKey::from_pem(key)?;
        let creator = Creator { msp_id, certificate_pem: certificate.to_pem().into() }.encode();
        Ok(Self { certificate, key, creator })
    }

    /// Whether signatures of the key can be judged by the certificate.
    pub fn key_fits(&self) -> bool {
        self.key.public_key() == *self.certificate.public_key()
    }

    /// Whether every version of Fabric takes the key: Ed25519 needs the capability `V3_0`.
    pub fn is_ecdsa(&self) -> bool {
        self.key.kind() != "Ed25519"
    }

    /// Signs the update that these bytes are.
    pub fn sign(&self, update: &[u8], nonce: Nonce) -> ConfigSignature {
        let unsigned = UnsignedConfigSignature::new(update, &self.creator, nonce);
        let signature = self.key.sign(unsigned.payload());
        unsigned.signed_with(signature)
    }
}

/// An update with the signatures over it, as a proposal carries both.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifacts {
    /// The exact bytes of the update.
    pub update: Bytes,
    /// Signatures by MSP ID.
    pub signatures: BTreeMap<String, ConfigSignature>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArtifactsProfile {
    #[serde(rename = "configUpdate")]
    update: Option<String>,
    signatures: Option<BTreeMap<String, String>>,
}

impl Artifacts {
    /// Reads `{configUpdate, signatures: {MSP ID: …}}` with bytes in base64, from YAML or JSON.
    ///
    /// # Errors
    /// [`EditError::Profile`] when a part is missing or is none.
    pub fn parse(text: &str) -> Result<Self, EditError> {
        let profile: ArtifactsProfile = parse(text)?;
        let update = profile.update.filter(|update| !update.is_empty());
        let update = decode("configUpdate", &update.ok_or_else(|| EditError::profile("configUpdate is empty"))?)?;
        let signature = |(msp_id, text): (String, String)| {
            let bytes = decode(&format!("the signature of {msp_id}"), &text)?;
            let signature = ConfigSignature::decode(bytes)
                .map_err(|error| EditError::profile(format!("the signature of {msp_id}: {error}")))?;
            Ok((msp_id, signature))
        };
        let signatures = profile.signatures.unwrap_or_default().into_iter().map(signature);
        Ok(Self { update, signatures: signatures.collect::<Result<_, EditError>>()? })
    }

    /// The `common.ConfigUpdateEnvelope`.
    pub fn to_message(&self) -> ConfigUpdateEnvelope {
        ConfigUpdateEnvelope {
            config_update: self.update.clone(),
            signatures: self.signatures.values().cloned().collect(),
        }
    }

    /// An envelope that nobody has signed as a whole, for the channel that the update names.
    ///
    /// # Errors
    /// [`TreeError`] when the update cannot be read.
    pub fn to_envelope(&self, time: Timestamp) -> Result<Envelope, TreeError> {
        let channel = ConfigUpdate::decode(&self.update)?.channel_id;
        Ok(unsigned_envelope(channel, &self.to_message(), time))
    }
}

/// An update without signatures in an envelope that nobody has signed: what is handed on to be signed.
pub fn update_envelope(update: &ConfigUpdate, time: Timestamp) -> Envelope {
    let message = ConfigUpdateEnvelope { config_update: update.encode(), signatures: Vec::new() };
    unsigned_envelope(update.channel_id.clone(), &message, time)
}

fn unsigned_envelope(channel_id: String, message: &ConfigUpdateEnvelope, time: Timestamp) -> Envelope {
    let channel_header = ChannelHeader {
        r#type: HeaderType::ConfigUpdate as i32,
        channel_id,
        timestamp: Some(time),
        ..ChannelHeader::default()
    };
    let header = Header { channel_header: channel_header.encode_to_vec().into(), signature_header: Bytes::new() };
    let payload = Payload { header: Some(header), data: message.encode_to_vec().into() };
    Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() }
}

/// Base64, in lines or in one.
fn decode(what: &str, text: &str) -> Result<Bytes, EditError> {
    let letters: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let bytes = STANDARD.decode(letters);
    bytes.map(Bytes::from).map_err(|error| EditError::profile(format!("{what} is not base64: {error}")))
}
