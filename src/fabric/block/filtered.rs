//! A block without what chaincodes read, wrote and told: what peers deliver as filtered.
//!
//! Peers refuse to filter a block in which one transaction cannot be taken apart, and anybody who may write can have
//! such a transaction ordered. So there are two ways: as peers do it, and as far as it goes.
//!
//! Source: `fabric-protos/peer/events.proto`; Fabric 3.1.5 `core/peer/deliverevents.go`.

use bytes::Bytes;
use prost::Message;

use super::{BlockError, validation};
use crate::pb::common::{self, ChannelHeader, Envelope, HeaderType, Payload};
use crate::pb::protos::filtered_transaction::Data;
use crate::pb::protos::{
    self, FilteredBlock, FilteredChaincodeAction, FilteredTransaction, FilteredTransactionActions, Transaction,
};

fn decode<M: Message + Default>(what: &'static str, bytes: &Bytes) -> Result<M, BlockError> {
    M::decode(bytes.clone()).map_err(|error| BlockError::malformed(what, &error))
}

/// What peers deliver of `block`, which belongs to `channel`: transactions that have no envelope or header are left out,
/// events have no payload.
///
/// # Errors
/// [`BlockError::Malformed`] when a transaction cannot be taken apart: peers then deliver nothing of the block.
pub fn filtered_block(channel: &str, block: &common::Block) -> Result<FilteredBlock, BlockError> {
    let (filtered, flaw) = taken_apart(channel, block);
    flaw.map_or(Ok(filtered), Err)
}

/// The same of any block: of a transaction that cannot be taken apart there are ID, type and code alone, where they can
/// be read, and nothing of it where not.
pub fn filtered_block_leniently(channel: &str, block: &common::Block) -> FilteredBlock {
    taken_apart(channel, block).0
}

/// What can be read, and the first thing that cannot.
fn taken_apart(channel: &str, block: &common::Block) -> (FilteredBlock, Option<BlockError>) {
    let mut filtered = FilteredBlock {
        channel_id: channel.to_owned(),
        number: block.header.as_ref().map_or(0, |header| header.number),
        filtered_transactions: Vec::new(),
    };
    let mut first_flaw = None;
    let envelopes = block.data.as_ref().map(|data| data.data.as_slice()).unwrap_or_default();
    for (index, envelope) in envelopes.iter().enumerate() {
        // Of this alone peers do not take offence.
        let Ok(envelope) = Envelope::decode(envelope.clone()) else { continue };
        let mut transaction = None;
        if let Err(flaw) = fill(&mut transaction, block, index, &envelope.payload) {
            first_flaw.get_or_insert(flaw);
        }
        filtered.filtered_transactions.extend(transaction);
    }
    (filtered, first_flaw)
}

/// Leaves in `transaction` what could be read, also when it fails.
fn fill(
    transaction: &mut Option<FilteredTransaction>,
    block: &common::Block,
    index: usize,
    payload: &Bytes,
) -> Result<(), BlockError> {
    let payload: Payload = decode("payload", payload)?;
    let Some(header) = payload.header else { return Ok(()) };
    let header: ChannelHeader = decode("channel header", &header.channel_header)?;
    let transaction = transaction.insert(FilteredTransaction {
        txid: header.tx_id,
        r#type: header.r#type,
        tx_validation_code: validation(block, index).number().into(),
        data: None,
    });
    if header.r#type == i32::from(HeaderType::EndorserTransaction) {
        let chaincode_actions = actions(&decode("transaction", &payload.data)?)?;
        transaction.data = Some(Data::TransactionActions(FilteredTransactionActions { chaincode_actions }));
    }
    Ok(())
}

fn actions(transaction: &Transaction) -> Result<Vec<FilteredChaincodeAction>, BlockError> {
    let mut filtered = Vec::new();
    for action in &transaction.actions {
        let payload: protos::ChaincodeActionPayload = decode("action", &action.payload)?;
        let Some(action) = payload.action else { continue };
        let payload: protos::ProposalResponsePayload = decode("response", &action.proposal_response_payload)?;
        let action: protos::ChaincodeAction = decode("chaincode action", &payload.extension)?;
        let event: protos::ChaincodeEvent = decode("event", &action.events)?;
        if !event.chaincode_id.is_empty() {
            let event = protos::ChaincodeEvent { payload: Bytes::new(), ..event };
            filtered.push(FilteredChaincodeAction { chaincode_event: Some(event) });
        }
    }
    Ok(filtered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pb::common::{BlockData, BlockHeader, BlockMetadata, Header};
    use crate::pb::protos::TxValidationCode;

    const UNREADABLE: &[u8] = b"\xff\xff";

    fn envelope(r#type: HeaderType, tx_id: &str, data: &[u8]) -> Bytes {
        let header = ChannelHeader { r#type: r#type.into(), tx_id: tx_id.to_owned(), ..Default::default() };
        let header = Header { channel_header: header.encode_to_vec().into(), signature_header: Bytes::new() };
        let payload = Payload { header: Some(header), data: Bytes::copy_from_slice(data) };
        Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() }.encode_to_vec().into()
    }

    fn block(data: Vec<Bytes>) -> common::Block {
        let codes = vec![TxValidationCode::BadPayload as u8; data.len()];
        let metadata = vec![Bytes::new(), Bytes::new(), codes.into()];
        common::Block {
            header: Some(BlockHeader { number: 7, ..Default::default() }),
            data: Some(BlockData { data }),
            metadata: Some(BlockMetadata { metadata }),
        }
    }

    /// IDs and codes of what is left, and whether there are actions.
    fn shown(block: &FilteredBlock) -> Vec<(&str, i32, bool)> {
        let shown = |transaction: &'_ FilteredTransaction| (transaction.tx_validation_code, transaction.data.is_some());
        let ids = block.filtered_transactions.iter().map(|transaction| transaction.txid.as_str());
        ids.zip(block.filtered_transactions.iter().map(shown)).map(|(id, (code, data))| (id, code, data)).collect()
    }

    #[test]
    fn rubbish_in_a_block_hides_only_itself() {
        let good = envelope(HeaderType::EndorserTransaction, "good", b"");
        let no_header = Envelope { payload: Bytes::new(), signature: Bytes::from_static(b"s") }.encode_to_vec();
        let config = envelope(HeaderType::Config, "config", UNREADABLE);
        let rather_good = block(vec![Bytes::from_static(UNREADABLE), no_header.into(), config, good.clone()]);
        let filtered = filtered_block("trade", &rather_good).unwrap();
        let code = TxValidationCode::BadPayload as i32;
        assert_eq!(shown(&filtered), [("config", code, false), ("good", code, true)]);
        assert_eq!((filtered.number, filtered.channel_id.as_str()), (7, "trade"));
        assert_eq!(filtered_block_leniently("trade", &rather_good), filtered);

        let no_payload = Envelope { payload: Bytes::from_static(UNREADABLE), signature: Bytes::new() }.encode_to_vec();
        for (rubbish, left) in [
            (envelope(HeaderType::EndorserTransaction, "bad", UNREADABLE), vec![("bad", code, false)]),
            (no_payload.into(), vec![]),
        ] {
            let bad = block(vec![rubbish, good.clone()]);
            assert!(filtered_block("trade", &bad).is_err());
            let expected = [left, vec![("good", code, true)]].concat();
            assert_eq!(shown(&filtered_block_leniently("trade", &bad)), expected);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let wrapped = envelope(HeaderType::EndorserTransaction, "", &noise);
            let block = block(vec![Bytes::from(noise), wrapped]);
            let lenient = filtered_block_leniently("", &block);
            prop_assert!(filtered_block("", &block).map_or(true, |strict| strict == lenient));
        }
    }
}
