//! The chaincode events of a block, found without taking all of it apart.
//!
//! Only transactions that the peer found valid speak: the events of others never happened.

use bytes::Bytes;
use prost::Message;

use super::{BlockError, ValidationCode, validation};
use crate::fabric::names::{BlockNumber, TxId};
use crate::pb::common::{self, ChannelHeader, Envelope, HeaderType, Payload};
use crate::pb::protos::{self, filtered_transaction::Data};

/// What a chaincode announced with a transaction that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodeEvent {
    /// The block of the transaction.
    pub block: BlockNumber,
    /// The transaction's place in its block; of events that a Gateway service tells, which gives no places, the event's
    /// place among those of the block.
    pub tx_index: usize,
    /// The transaction.
    pub tx_id: TxId,
    /// The chaincode that speaks.
    pub chaincode: String,
    /// What the chaincode calls the event.
    pub name: String,
    /// What it says.
    pub payload: Bytes,
}

fn decode<M: Message + Default>(what: &'static str, bytes: &Bytes) -> Result<M, BlockError> {
    M::decode(bytes.clone()).map_err(|error| BlockError::malformed(what, &error))
}

/// The events of the valid transactions of `block`, in order.
///
/// # Errors
/// [`BlockError`] when the block, or a transaction that the peer found valid, cannot be read.
pub fn chaincode_events(block: &common::Block) -> Result<Vec<ChaincodeEvent>, BlockError> {
    let number = block.header.as_ref().ok_or(BlockError::Missing { number: 0, what: "header" })?.number;
    let data = block.data.as_ref().ok_or(BlockError::Missing { number, what: "data" })?;
    let mut events = Vec::new();
    for (index, envelope) in data.data.iter().enumerate() {
        if validation(block, index) != ValidationCode::Valid {
            continue;
        }
        let envelope: Envelope = decode("envelope", envelope)?;
        let payload: Payload = decode("payload", &envelope.payload)?;
        let header = payload.header.ok_or(BlockError::Missing { number, what: "header of a payload" })?;
        let header: ChannelHeader = decode("channel header", &header.channel_header)?;
        if header.r#type != HeaderType::EndorserTransaction as i32 {
            continue;
        }
        let Ok(tx_id) = TxId::parse(header.tx_id) else {
            return Err(BlockError::Missing { number, what: "ID of a valid transaction" });
        };
        let transaction: protos::Transaction = decode("transaction", &payload.data)?;
        for action in &transaction.actions {
            if let Some(event) = event(action)? {
                events.push(ChaincodeEvent {
                    block: number,
                    tx_index: index,
                    tx_id: tx_id.clone(),
                    chaincode: event.chaincode_id,
                    name: event.event_name,
                    payload: event.payload,
                });
            }
        }
    }
    Ok(events)
}

fn event(action: &protos::TransactionAction) -> Result<Option<protos::ChaincodeEvent>, BlockError> {
    let payload: protos::ChaincodeActionPayload = decode("action", &action.payload)?;
    let Some(endorsed) = payload.action else { return Ok(None) };
    let response: protos::ProposalResponsePayload = decode("response", &endorsed.proposal_response_payload)?;
    let result: protos::ChaincodeAction = decode("chaincode action", &response.extension)?;
    if result.events.is_empty() {
        return Ok(None);
    }
    let event: protos::ChaincodeEvent = decode("event", &result.events)?;
    Ok(Some(event).filter(|event| !event.event_name.is_empty()))
}

/// The same from a filtered block, whose events have no payload.
///
/// # Errors
/// [`BlockError`] when a valid transaction has no ID.
pub fn filtered_events(block: &protos::FilteredBlock) -> Result<Vec<ChaincodeEvent>, BlockError> {
    let number = block.number;
    let mut events = Vec::new();
    for (index, transaction) in block.filtered_transactions.iter().enumerate() {
        let Some(Data::TransactionActions(actions)) = &transaction.data else { continue };
        if !ValidationCode::from(transaction.tx_validation_code).is_valid() {
            continue;
        }
        for event in actions.chaincode_actions.iter().filter_map(|action| action.chaincode_event.as_ref()) {
            let tx_id = TxId::parse(transaction.txid.clone())
                .map_err(|_| BlockError::Missing { number, what: "ID of a valid transaction" })?;
            events.push(ChaincodeEvent {
                block: number,
                tx_index: index,
                tx_id,
                chaincode: event.chaincode_id.clone(),
                name: event.event_name.clone(),
                payload: event.payload.clone(),
            });
        }
    }
    Ok(events)
}
