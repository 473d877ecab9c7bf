//! Envelopes of everything that is not an endorsed transaction: seek requests, configuration updates, blocks of
//! configuration.

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;

use super::Nonce;
use crate::fabric::identity::{SignError, Signer};
use crate::fabric::names::{ChannelName, TxId};
use crate::pb::common::{self, ChannelHeader, Envelope, HeaderType, Payload, SignatureHeader};

/// The headers of a payload in the making.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    /// What the payload is, such as `DeliverSeekInfo`.
    pub header_type: HeaderType,
    /// The channel; empty for none.
    pub channel: Option<&'a ChannelName>,
    /// Who speaks.
    pub creator: &'a Bytes,
    /// Makes it unique.
    pub nonce: Nonce,
    /// When.
    pub time: Timestamp,
    /// SHA-256 of the DER of the TLS client certificate, where mutual TLS is used with deliver services.
    pub tls_cert_hash: Option<&'a [u8]>,
}

/// A payload that waits for its signature.
#[derive(Debug, Clone)]
pub struct UnsignedEnvelope {
    tx_id: TxId,
    payload: Bytes,
}

/// Puts `data` under `header`.
pub fn envelope(header: &Header<'_>, data: Bytes) -> UnsignedEnvelope {
    let tx_id = TxId::of(&header.nonce.0, header.creator);
    let channel_header = ChannelHeader {
        r#type: header.header_type.into(),
        version: 0,
        timestamp: Some(header.time),
        channel_id: header.channel.map_or_else(String::new, ToString::to_string),
        tx_id: tx_id.to_string(),
        epoch: 0,
        extension: Bytes::new(),
        tls_cert_hash: header.tls_cert_hash.map_or_else(Bytes::new, Bytes::copy_from_slice),
    };
    let signature_header = SignatureHeader { creator: header.creator.clone(), nonce: header.nonce.to_bytes() };
    let payload = Payload {
        header: Some(common::Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header.encode_to_vec().into(),
        }),
        data,
    };
    UnsignedEnvelope { tx_id, payload: payload.encode_to_vec().into() }
}

/// `payload` with a signature over it.
///
/// Cancel safety: dropping the future sends nothing and changes nothing.
///
/// # Errors
/// [`SignError`] when the signer fails.
pub async fn sign_payload(payload: Bytes, signer: &dyn Signer) -> Result<Envelope, SignError> {
    let signature = signer.sign(&payload).await?;
    Ok(Envelope { payload, signature })
}

impl UnsignedEnvelope {
    /// The transaction ID that its nonce and creator make.
    pub fn tx_id(&self) -> &TxId {
        &self.tx_id
    }

    /// What is signed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The envelope. Cancel safety and errors as of [`sign_payload`].
    ///
    /// # Errors
    /// [`SignError`] when the signer fails.
    pub async fn sign(&self, signer: &dyn Signer) -> Result<Envelope, SignError> {
        sign_payload(self.payload.clone(), signer).await
    }
}
