//! Whether the envelope of a transaction is well formed.
//!
//! A file of its own because it looks at bytes alone: who signed, and whether that suffices, is decided elsewhere. The
//! order of the checks is Fabric's, so the codes are.
//!
//! Source: Fabric 3.1.5 `core/common/validation/msgvalidation.go`,
//! `core/committer/txvalidator/v20/plugindispatcher/dispatcher.go`.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::rwset::ReadWriteSet;
use crate::fabric::block::ValidationCode;
use crate::fabric::names::TxId;
use crate::pb::common::{self, ChannelHeader, HeaderType, SignatureHeader};
use crate::pb::protos;

/// An envelope with its headers, decoded.
#[derive(Debug)]
pub(super) struct Headers {
    pub(super) channel_header: ChannelHeader,
    pub(super) creator: Bytes,
    nonce: Bytes,
    /// What the creator signed.
    pub(super) payload: Bytes,
    pub(super) signature: Bytes,
    raw: common::Header,
    /// The transaction, of the kind that the channel header tells.
    pub(super) data: Bytes,
}

fn decode<M: Message + Default>(bytes: &Bytes, otherwise: ValidationCode) -> Result<M, ValidationCode> {
    M::decode(bytes.clone()).map_err(|_| otherwise)
}

/// The channel header of an envelope, whatever is wrong with the rest of it.
pub(super) fn claimed_header(envelope: &Bytes) -> Option<ChannelHeader> {
    let envelope = common::Envelope::decode(envelope.clone()).ok()?;
    let header = common::Payload::decode(envelope.payload).ok()?.header?;
    ChannelHeader::decode(header.channel_header).ok()
}

/// The configuration in an envelope.
pub(super) fn config(envelope: &Bytes) -> Option<common::Config> {
    let envelope = common::Envelope::decode(envelope.clone()).ok()?;
    let payload = common::Payload::decode(envelope.payload).ok()?;
    common::ConfigEnvelope::decode(payload.data).ok()?.config
}

/// The ID that an envelope claims: the ledger finds it by that, even if it is invalid.
pub(super) fn claimed_tx_id(envelope: &Bytes) -> Option<TxId> {
    TxId::parse(claimed_header(envelope)?.tx_id).ok()
}

impl Headers {
    /// Reads an envelope up to its headers.
    pub(super) fn decode(envelope: &Bytes) -> Result<Self, ValidationCode> {
        let bad_header = ValidationCode::BadCommonHeader;
        let envelope: common::Envelope = decode(envelope, ValidationCode::InvalidOtherReason)?;
        let payload: common::Payload = decode(&envelope.payload, ValidationCode::BadPayload)?;
        let raw = payload.header.ok_or(bad_header)?;
        let channel_header: ChannelHeader = decode(&raw.channel_header, bad_header)?;
        let signature_header: SignatureHeader = decode(&raw.signature_header, bad_header)?;
        let known = matches!(
            HeaderType::try_from(channel_header.r#type),
            Ok(HeaderType::EndorserTransaction | HeaderType::ConfigUpdate | HeaderType::Config)
        );
        if !known
            || channel_header.epoch != 0
            || signature_header.nonce.is_empty()
            || signature_header.creator.is_empty()
        {
            return Err(bad_header);
        }
        Ok(Self {
            channel_header,
            creator: signature_header.creator,
            nonce: signature_header.nonce,
            payload: envelope.payload,
            signature: envelope.signature,
            raw,
            data: payload.data,
        })
    }

    /// What kind of transaction it is.
    pub(super) fn kind(&self) -> HeaderType {
        HeaderType::try_from(self.channel_header.r#type).unwrap_or(HeaderType::Message)
    }
}

/// The one action of a transaction, bound to what was proposed: ID and proposal hash are right.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) tx_id: TxId,
    extension: Bytes,
    action: protos::ChaincodeEndorsedAction,
    response: protos::ProposalResponsePayload,
}

impl Bound {
    /// Reads the endorsed transaction behind `headers`.
    pub(super) fn decode(headers: Headers) -> Result<Self, ValidationCode> {
        let tx_id = TxId::of(&headers.nonce, &headers.creator);
        if tx_id.as_str() != headers.channel_header.tx_id {
            return Err(ValidationCode::BadProposalTxid);
        }
        let invalid = ValidationCode::InvalidEndorserTransaction;
        let transaction: protos::Transaction = decode(&headers.data, invalid)?;
        let [action] = transaction.actions.as_slice() else { return Err(invalid) };
        let signer: SignatureHeader = decode(&action.header, invalid)?;
        if signer.nonce.is_empty() || signer.creator.is_empty() {
            return Err(invalid);
        }
        let payload: protos::ChaincodeActionPayload = decode(&action.payload, invalid)?;
        let endorsed = payload.action.ok_or(invalid)?;
        let response: protos::ProposalResponsePayload = decode(&endorsed.proposal_response_payload, invalid)?;
        let proposal_hash = Sha256::new()
            .chain_update(&headers.raw.channel_header)
            .chain_update(&action.header)
            .chain_update(&payload.chaincode_proposal_payload)
            .finalize();
        if proposal_hash[..] != response.proposal_hash[..] {
            return Err(invalid);
        }
        Ok(Self { tx_id, extension: headers.channel_header.extension, action: endorsed, response })
    }
}

/// A transaction that endorsers signed, decoded as far as the checks need it.
#[derive(Debug)]
pub(super) struct Endorsed {
    pub(super) tx_id: TxId,
    /// The chaincode that was invoked.
    pub(super) chaincode: String,
    pub(super) set: ReadWriteSet,
    /// What every endorser signed, followed by its identity.
    pub(super) response_payload: Bytes,
    pub(super) endorsements: Vec<protos::Endorsement>,
}

impl Endorsed {
    /// Reads what the action did. Header, result and event must speak of one chaincode.
    pub(super) fn decode(bound: Bound) -> Result<Self, ValidationCode> {
        let other = ValidationCode::InvalidOtherReason;
        let extension: protos::ChaincodeHeaderExtension = decode(&bound.extension, ValidationCode::BadHeaderExtension)?;
        let result: protos::ChaincodeAction = decode(&bound.response.extension, ValidationCode::BadResponsePayload)?;
        let set = ReadWriteSet::decode(&result.results).map_err(|_| ValidationCode::BadRwset)?;
        let asked = extension.chaincode_id.ok_or(other)?;
        let ran = result.chaincode_id.ok_or(other)?;
        if asked.name.is_empty() || asked.name != ran.name || ran.version.is_empty() {
            return Err(ValidationCode::InvalidChaincode);
        }
        if !result.events.is_empty() {
            let event: protos::ChaincodeEvent = decode(&result.events, other)?;
            if event.chaincode_id != asked.name {
                return Err(other);
            }
        }
        Ok(Self {
            tx_id: bound.tx_id,
            chaincode: asked.name,
            set,
            response_payload: bound.action.proposal_response_payload,
            endorsements: bound.action.endorsements,
        })
    }
}
