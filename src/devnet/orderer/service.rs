//! An orderer's gRPC service: broadcast and delivery on all channels.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, async_trait};

use super::chain::Refusal;
use super::participation::Orderer;
use crate::devnet::access::Signed;
use crate::devnet::deliver::{self, Feed, Render, Responses};
use crate::devnet::error::WIRE_FORMAT;
use crate::pb::common::{Block, ChannelHeader, Envelope, Payload, Status};
use crate::pb::orderer::atomic_broadcast_server::AtomicBroadcast;
use crate::pb::orderer::{BroadcastResponse, DeliverResponse, deliver_response};
use crate::runtime::Workers;

/// The services of one orderer.
#[derive(Debug)]
pub(crate) struct OrdererService {
    pub(crate) orderer: Arc<Orderer>,
    pub(crate) workers: Workers,
}

struct Blocks;

impl Render for Blocks {
    type Response = DeliverResponse;

    fn block(&self, _channel: &str, block: &Block, _reader: &Signed) -> DeliverResponse {
        DeliverResponse { r#type: Some(deliver_response::Type::Block(block.clone())) }
    }

    fn status(&self, status: Status) -> DeliverResponse {
        DeliverResponse { r#type: Some(deliver_response::Type::Status(status as i32)) }
    }
}

async fn broadcast(orderer: &Orderer, envelope: Envelope) -> Result<(), Refusal> {
    let bad_request = |info: String| Refusal::bad_request(info);
    let header = Payload::decode(envelope.payload.clone())
        .map_err(|_| format!("error unmarshalling Payload: {WIRE_FORMAT}"))
        .and_then(|payload| payload.header.ok_or_else(|| "header not set".to_owned()))
        .and_then(|header| {
            ChannelHeader::decode(header.channel_header)
                .map_err(|_| format!("error unmarshalling ChannelHeader: {WIRE_FORMAT}"))
        })
        .map_err(|error| bad_request(format!("could not determine channel ID: {error}")))?;
    let chain = match (orderer.chain(&header.channel_id), orderer.system_channel()) {
        (Some(chain), _) => chain,
        (None, None) => return Err(bad_request("channel does not exist".to_owned())),
        // What is for no channel is the system channel's: it may be the beginning of one.
        (None, Some(system)) => {
            let meant = if orderer.status(&header.channel_id).is_ok() { header.channel_id.as_str() } else { system };
            // It is there, but this orderer may be none of its consenters.
            let unserved =
                || Refusal::new(Status::ServiceUnavailable, format!("channel {meant} is not serviced by me"));
            orderer.chain(meant).ok_or_else(unserved)?
        }
    };
    chain.broadcast(&header, envelope, orderer.faults().now()).await
}

impl Orderer {
    /// Takes a message in, or refuses it: the answer to whoever sent it.
    pub(crate) async fn broadcast(&self, envelope: Envelope) -> BroadcastResponse {
        match broadcast(self, envelope).await {
            Ok(()) => BroadcastResponse { status: Status::Success as i32, info: String::new() },
            Err(refusal) => refusal.into(),
        }
    }
}

#[async_trait]
impl AtomicBroadcast for OrdererService {
    type BroadcastStream = Responses<BroadcastResponse>;
    type DeliverStream = Responses<DeliverResponse>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<tonic::Response<Self::BroadcastStream>, tonic::Status> {
        let mut envelopes = request.into_inner();
        let (responses, receiver) = mpsc::channel(1);
        let orderer = Arc::clone(&self.orderer);
        self.workers.spawn("broadcast", async move {
            while let Some(Ok(envelope)) = envelopes.next().await {
                let response = orderer.broadcast(envelope).await;
                let done = response.status != Status::Success as i32;
                // As Fabric: after a refusal the stream ends.
                if responses.send(Ok(response)).await.is_err() || done {
                    break;
                }
            }
            Ok::<(), Infallible>(())
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<tonic::Response<Self::DeliverStream>, tonic::Status> {
        let orderer = Arc::clone(&self.orderer);
        let lookup = move |channel: &str| orderer.chain(channel).map(|chain| chain as Arc<dyn Feed>);
        let faults = self.orderer.faults();
        Ok(tonic::Response::new(deliver::serve(&self.workers, faults, request, lookup, Blocks)))
    }
}
