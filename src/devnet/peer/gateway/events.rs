//! The events of one chaincode, block by block, as they become valid.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway/chaincodeevents.go`, `event`.

use std::convert::Infallible;
use std::sync::Arc;

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Gatekeeper;
use crate::devnet::access::Signed;
use crate::devnet::deliver::Responses;
use crate::devnet::ledger::Ledger;
use crate::fabric::block::{ChaincodeEvent, chaincode_events};
use crate::fabric::names::TxId;
use crate::pb::common::Block;
use crate::pb::gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest};
use crate::pb::orderer::seek_position::Type;
use crate::pb::protos;

/// Responses that wait for a slow client; then the stream waits too.
const BUFFERED: usize = 16;

/// Picks the events of one chaincode, after a transaction if there is one.
struct Matching {
    chaincode: String,
    /// Up to here (included) nothing is told; `None` once it has passed.
    after: Option<String>,
}

impl Matching {
    fn is_match(&mut self, event: &ChaincodeEvent) -> bool {
        if let Some(after) = &self.after {
            if event.tx_id.as_str() == after {
                self.after = None;
            }
            return false;
        }
        event.chaincode == self.chaincode
    }

    /// The events of a block; `None` for none.
    fn pick(&mut self, number: u64, block: &Block) -> Option<ChaincodeEventsResponse> {
        // What cannot be read is no valid transaction.
        let events = chaincode_events(block).unwrap_or_default();
        let events: Vec<_> = events
            .into_iter()
            .filter(|event| self.is_match(event))
            .map(|event| protos::ChaincodeEvent {
                chaincode_id: event.chaincode,
                tx_id: event.tx_id.to_string(),
                event_name: event.name,
                payload: event.payload,
            })
            .collect();
        (!events.is_empty()).then_some(ChaincodeEventsResponse { events, block_number: number })
    }
}

impl Gatekeeper {
    /// A stream of events that ends with the peer or the client only.
    pub(super) fn events(
        &self,
        signed: &SignedChaincodeEventsRequest,
    ) -> Result<Responses<ChaincodeEventsResponse>, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument("a chaincode events request is required"));
        }
        let request = ChaincodeEventsRequest::decode(signed.request.clone())
            .map_err(|error| Status::invalid_argument(format!("invalid chaincode events request: {error}")))?;
        let signature = signed.signature.clone();
        let signed = Signed { identity: request.identity.clone(), data: signed.request.clone(), signature };
        self.may_read("gateway/ChaincodeEvents", &request.channel_id, &signed)?;
        let channel = self.channel(&request.channel_id).map_err(|error| Status::not_found(error.0))?;
        let ledger = Arc::clone(channel.ledger());
        let start = start(&ledger, &request)?;
        let after = Some(request.after_transaction_id).filter(|id| !id.is_empty());
        let mut matching = Matching { chaincode: request.chaincode_id, after };
        let (responses, receiver) = mpsc::channel(BUFFERED);
        self.workers.spawn("chaincode events", async move {
            let mut height = ledger.watch();
            let mut number = start;
            loop {
                height.mark_unchanged();
                while let Some(block) = ledger.block(number) {
                    if let Some(response) = matching.pick(number, &block)
                        && responses.send(Ok(response)).await.is_err()
                    {
                        return Ok::<(), Infallible>(());
                    }
                    number += 1;
                }
                tokio::select! {
                    changed = height.changed() => if changed.is_err() { return Ok(()) },
                    () = responses.closed() => return Ok(()),
                }
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// The block to begin with: that of the transaction after which events are wanted, else as asked.
fn start(ledger: &Ledger, request: &ChaincodeEventsRequest) -> Result<u64, Status> {
    let after = TxId::parse(&*request.after_transaction_id).ok();
    if let Some(place) = after.and_then(|tx_id| ledger.place(&tx_id)) {
        return Ok(place.block);
    }
    match request.start_position.as_ref().and_then(|position| position.r#type.as_ref()) {
        None | Some(Type::NextCommit(_)) => Ok(ledger.height()),
        Some(Type::Specified(specified)) => Ok(specified.number),
        Some(Type::Newest(_)) => {
            Err(Status::invalid_argument("invalid start position type: *orderer.SeekPosition_Newest"))
        }
        Some(Type::Oldest(_)) => {
            Err(Status::invalid_argument("invalid start position type: *orderer.SeekPosition_Oldest"))
        }
    }
}
