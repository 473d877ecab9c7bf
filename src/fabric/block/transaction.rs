//! One transaction of a block, taken apart.

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;

use super::ValidationCode;
use crate::fabric::identity::Creator;
use crate::fabric::names::TxId;
use crate::pb::common::{self, ChannelHeader, ConfigEnvelope, Envelope, HeaderType, Payload, SignatureHeader};
use crate::pb::protos;
use crate::pb::rwset::TxReadWriteSet;

/// A transaction as it lies in a block.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its place in the block, from 0.
    pub index: usize,
    /// Its ID; `None` where there is none (configurations of an orderer) or what is written there is no ID.
    pub tx_id: Option<TxId>,
    /// The channel that it names.
    pub channel: String,
    /// When its client says that it was made.
    pub timestamp: Option<Timestamp>,
    /// The client's serialized identity, as received.
    pub creator: Bytes,
    /// The peers' verdict.
    pub validation: ValidationCode,
    /// What it does.
    pub kind: Kind,
    /// The number of its header type, whether known or not.
    pub header_type: i32,
}

/// What a transaction does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Kind {
    /// Writes what chaincode computed. In practice there is exactly one action.
    Endorsed(Vec<Action>),
    /// Sets the channel's configuration.
    Config(Box<ConfigEnvelope>),
    /// Something that this library does not look into.
    Other,
    /// Rubbish, which the peers mark invalid.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

/// What endorsers said about one call.
#[derive(Debug, Clone)]
pub struct Action {
    /// The chaincode that the client called.
    pub chaincode: String,
    /// What it was called with.
    pub args: Vec<Bytes>,
    /// The chaincode and version that answered.
    pub chaincode_id: protos::ChaincodeId,
    /// What the chaincode answered.
    pub response: protos::Response,
    /// The chaincode's event, if it set one.
    pub event: Option<protos::ChaincodeEvent>,
    /// The read-write set, encoded as endorsed.
    pub results: Bytes,
    /// The hash of the proposal that was endorsed.
    pub proposal_hash: Bytes,
    /// What the endorsers signed (together with their identity).
    pub response_payload: Bytes,
    /// Who endorsed.
    pub endorsements: Vec<protos::Endorsement>,
}

impl Action {
    /// The read-write set per namespace.
    ///
    /// # Errors
    /// The decoder's error when the set is broken.
    pub fn read_write_set(&self) -> Result<TxReadWriteSet, prost::DecodeError> {
        TxReadWriteSet::decode(self.results.clone())
    }
}

/// A decoding step that names what could not be read.
fn decode<M: Message + Default>(what: &str, bytes: &Bytes) -> Result<M, String> {
    M::decode(bytes.clone()).map_err(|error| format!("{what}: {error}"))
}

impl Transaction {
    /// Takes a single transaction apart, such as `qscc` gives it.
    pub fn of_envelope(envelope: &Envelope, validation: ValidationCode) -> Self {
        Self::decode(0, &envelope.encode_to_vec().into(), validation)
    }

    /// What the chaincode returned to the client, if it is a call.
    pub fn result(&self) -> Option<Bytes> {
        match &self.kind {
            Kind::Endorsed(actions) => Some(actions.first()?.response.payload.clone()),
            _ => None,
        }
    }

    /// Takes `envelope` apart as far as it can be.
    pub(super) fn decode(index: usize, envelope: &Bytes, validation: ValidationCode) -> Self {
        let mut transaction = Self {
            index,
            tx_id: None,
            channel: String::new(),
            timestamp: None,
            creator: Bytes::new(),
            validation,
            kind: Kind::Other,
            header_type: 0,
        };
        if let Err(reason) = transaction.fill(envelope) {
            transaction.kind = Kind::Unreadable { reason };
        }
        transaction
    }

    fn fill(&mut self, envelope: &Bytes) -> Result<(), String> {
        let envelope: Envelope = decode("envelope", envelope)?;
        let payload: Payload = decode("payload", &envelope.payload)?;
        let header = payload.header.ok_or("payload: no header")?;
        let channel_header: ChannelHeader = decode("channel header", &header.channel_header)?;
        self.tx_id = TxId::parse(channel_header.tx_id).ok();
        self.channel = channel_header.channel_id;
        self.timestamp = channel_header.timestamp;
        self.header_type = channel_header.r#type;
        let signature_header: SignatureHeader = decode("signature header", &header.signature_header)?;
        self.creator = signature_header.creator;
        self.kind = match HeaderType::try_from(self.header_type) {
            Ok(HeaderType::EndorserTransaction) => {
                let transaction: protos::Transaction = decode("transaction", &payload.data)?;
                let actions: Result<_, String> = transaction.actions.iter().map(action).collect();
                Kind::Endorsed(actions?)
            }
            Ok(HeaderType::Config) => Kind::Config(Box::new(decode("configuration", &payload.data)?)),
            _ => Kind::Other,
        };
        Ok(())
    }

    /// The client's organization, where its identity can be read.
    pub fn creator(&self) -> Option<Creator> {
        Creator::decode(&self.creator).ok()
    }

    /// The calls that were endorsed; none for other kinds.
    pub fn actions(&self) -> &[Action] {
        match &self.kind {
            Kind::Endorsed(actions) => actions,
            _ => &[],
        }
    }

    /// The configuration that it sets.
    pub fn config(&self) -> Option<&common::Config> {
        match &self.kind {
            Kind::Config(envelope) => envelope.config.as_ref(),
            _ => None,
        }
    }
}

fn action(action: &protos::TransactionAction) -> Result<Action, String> {
    let payload: protos::ChaincodeActionPayload = decode("action", &action.payload)?;
    let endorsed = payload.action.ok_or("action: no endorsed action")?;
    let proposal: protos::ChaincodeProposalPayload = decode("proposal", &payload.chaincode_proposal_payload)?;
    let invocation: protos::ChaincodeInvocationSpec = decode("invocation", &proposal.input)?;
    let spec = invocation.chaincode_spec.unwrap_or_default();
    let response: protos::ProposalResponsePayload = decode("response", &endorsed.proposal_response_payload)?;
    let result: protos::ChaincodeAction = decode("chaincode action", &response.extension)?;
    let event = if result.events.is_empty() { None } else { Some(decode("event", &result.events)?) };
    Ok(Action {
        chaincode: spec.chaincode_id.unwrap_or_default().name,
        args: spec.input.unwrap_or_default().args,
        chaincode_id: result.chaincode_id.unwrap_or_default(),
        response: result.response.unwrap_or_default(),
        event,
        results: result.results,
        proposal_hash: response.proposal_hash,
        response_payload: endorsed.proposal_response_payload,
        endorsements: endorsed.endorsements,
    })
}
