//! `protos.Deliver`: committed blocks, whole, filtered, or with the private data that the client may see.
//!
//! Not here: seeking, waiting and the right to read ([`devnet::deliver`](crate::devnet::deliver)).
//!
//! Source: Fabric 3.1.5 `core/peer/deliverevents.go`.

use std::sync::Arc;

use prost::Message as _;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Peer;
use super::channel::Guarded;
use crate::devnet::access::Signed;
use crate::devnet::deliver::{self, Feed, Render, Responses};
use crate::fabric::policy;
use crate::pb::common::{
    self, Block, BlockMetadataIndex, ChannelHeader, Envelope, HeaderType, Payload, SignaturePolicyEnvelope,
};
use crate::pb::protos::deliver_response::Type;
use crate::pb::protos::deliver_server::Deliver;
use crate::pb::protos::{
    self, BlockAndPrivateData, ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, DeliverResponse, FilteredBlock,
    FilteredChaincodeAction, FilteredTransaction, FilteredTransactionActions, ProposalResponsePayload, Transaction,
    TxValidationCode, filtered_transaction,
};
use crate::runtime::Workers;

/// The resource that whole blocks are.
const BLOCK: &str = "event/Block";

/// The service of a peer.
#[derive(Debug)]
pub(super) struct Delivering {
    pub(super) peer: Arc<Peer>,
    pub(super) workers: Workers,
}

/// Blocks as they are.
struct Whole;
/// Blocks without what chaincodes read, wrote and told.
struct Filtered;

fn status(status: common::Status) -> DeliverResponse {
    DeliverResponse { r#type: Some(Type::Status(status.into())) }
}

impl Render for Whole {
    type Response = DeliverResponse;

    fn block(&self, _: &str, block: &Block, _: &Signed) -> DeliverResponse {
        DeliverResponse { r#type: Some(Type::Block(block.clone())) }
    }

    fn status(&self, ended: common::Status) -> DeliverResponse {
        status(ended)
    }
}

impl Render for Filtered {
    type Response = DeliverResponse;

    fn block(&self, channel: &str, block: &Block, _: &Signed) -> DeliverResponse {
        match filtered(channel, block) {
            Ok(block) => DeliverResponse { r#type: Some(Type::FilteredBlock(block)) },
            Err(error) => {
                tracing::warn!(%channel, %error, "block cannot be filtered");
                status(common::Status::BadRequest)
            }
        }
    }

    fn status(&self, ended: common::Status) -> DeliverResponse {
        status(ended)
    }
}

/// Blocks with what is private in them, for those who may read the collections.
struct WithPrivateData(Arc<Peer>);

impl Render for WithPrivateData {
    type Response = DeliverResponse;

    fn block(&self, channel: &str, block: &Block, reader: &Signed) -> DeliverResponse {
        let number = block.header.as_ref().map_or(0, |header| header.number);
        let private_data = self.0.channel(channel).map(|channel| {
            let reader = channel.access().verify(reader).ok();
            let may_read = |policy: &SignaturePolicyEnvelope| {
                reader.as_ref().is_some_and(|reader| policy::evaluate(policy, std::slice::from_ref(reader)))
            };
            channel.ledger().private_data(number, may_read)
        });
        let with_data =
            BlockAndPrivateData { block: Some(block.clone()), private_data_map: private_data.unwrap_or_default() };
        DeliverResponse { r#type: Some(Type::BlockAndPrivateData(with_data)) }
    }

    fn status(&self, ended: common::Status) -> DeliverResponse {
        status(ended)
    }
}

impl Delivering {
    fn serve(
        &self,
        envelopes: Request<Streaming<Envelope>>,
        resource: &'static str,
        render: impl Render<Response = DeliverResponse>,
    ) -> Responses<DeliverResponse> {
        let peer = Arc::clone(&self.peer);
        let lookup = move |channel: &str| {
            let channel = peer.channel(channel)?;
            Some(Arc::new(Guarded { channel, resource }) as Arc<dyn Feed>)
        };
        deliver::serve(&self.workers, self.peer.faults(), envelopes, lookup, render)
    }
}

#[async_trait]
impl Deliver for Delivering {
    type DeliverStream = Responses<DeliverResponse>;
    type DeliverFilteredStream = Responses<DeliverResponse>;
    type DeliverWithPrivateDataStream = Responses<DeliverResponse>;

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        Ok(Response::new(self.serve(request, BLOCK, Whole)))
    }

    async fn deliver_filtered(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::DeliverFilteredStream>, Status> {
        Ok(Response::new(self.serve(request, "event/FilteredBlock", Filtered)))
    }

    async fn deliver_with_private_data(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::DeliverWithPrivateDataStream>, Status> {
        Ok(Response::new(self.serve(request, BLOCK, WithPrivateData(Arc::clone(&self.peer)))))
    }
}

/// A block without what chaincodes read, wrote and told.
pub(super) fn filtered(channel: &str, block: &Block) -> Result<FilteredBlock, prost::DecodeError> {
    let metadata = block.metadata.as_ref().map(|metadata| metadata.metadata.as_slice()).unwrap_or_default();
    let codes = metadata.get(BlockMetadataIndex::TransactionsFilter as usize).cloned().unwrap_or_default();
    let mut filtered = FilteredBlock {
        channel_id: channel.to_owned(),
        number: block.header.as_ref().map_or(0, |header| header.number),
        filtered_transactions: Vec::new(),
    };
    let envelopes = block.data.as_ref().map(|data| data.data.as_slice()).unwrap_or_default();
    for (index, envelope) in envelopes.iter().enumerate() {
        // An envelope that cannot be read is left out; what is broken further inside breaks the whole, as with Fabric.
        let Ok(envelope) = Envelope::decode(envelope.clone()) else { continue };
        let payload = Payload::decode(envelope.payload)?;
        let Some(header) = payload.header else { continue };
        let header = ChannelHeader::decode(header.channel_header)?;
        let code = codes.get(index).map_or(i32::from(TxValidationCode::InvalidOtherReason), |code| i32::from(*code));
        let data = if header.r#type == i32::from(HeaderType::EndorserTransaction) {
            let chaincode_actions = actions(&Transaction::decode(payload.data)?)?;
            let actions = FilteredTransactionActions { chaincode_actions };
            Some(filtered_transaction::Data::TransactionActions(actions))
        } else {
            None
        };
        let r#type = header.r#type;
        let transaction = FilteredTransaction { txid: header.tx_id, r#type, tx_validation_code: code, data };
        filtered.filtered_transactions.push(transaction);
    }
    Ok(filtered)
}

fn actions(transaction: &Transaction) -> Result<Vec<FilteredChaincodeAction>, prost::DecodeError> {
    let mut filtered = Vec::new();
    for action in &transaction.actions {
        let Some(action) = ChaincodeActionPayload::decode(action.payload.clone())?.action else { continue };
        let payload = ProposalResponsePayload::decode(action.proposal_response_payload)?;
        let action = ChaincodeAction::decode(payload.extension)?;
        let event = protos::ChaincodeEvent::decode(action.events)?;
        if !event.chaincode_id.is_empty() {
            let event = ChaincodeEvent { payload: bytes::Bytes::new(), ..event };
            filtered.push(FilteredChaincodeAction { chaincode_event: Some(event) });
        }
    }
    Ok(filtered)
}
