//! An orderer's gRPC service: broadcast and delivery on all channels.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, async_trait};

use super::chain::{Chain, Refusal};
use crate::devnet::deliver::{self, Feed, Render, Responses};
use crate::pb::common::{Block, ChannelHeader, Envelope, Payload, Status};
use crate::pb::orderer::atomic_broadcast_server::AtomicBroadcast;
use crate::pb::orderer::{BroadcastResponse, DeliverResponse, deliver_response};
use crate::runtime::Workers;

/// The chains of all channels, shared by all orderers.
#[derive(Debug, Default)]
pub(crate) struct Chains(RwLock<BTreeMap<String, Arc<Chain>>>);

impl Chains {
    /// The chain of a channel.
    pub(crate) fn get(&self, channel: &str) -> Option<Arc<Chain>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(channel).cloned()
    }

    /// Adds a channel.
    pub(crate) fn insert(&self, channel: &str, chain: Arc<Chain>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(channel.to_owned(), chain);
    }
}

/// One orderer.
#[derive(Debug)]
pub(crate) struct OrdererService {
    pub(crate) chains: Arc<Chains>,
    pub(crate) workers: Workers,
}

struct Blocks;

impl Render for Blocks {
    type Response = DeliverResponse;

    fn block(&self, _channel: &str, block: &Block) -> DeliverResponse {
        DeliverResponse { r#type: Some(deliver_response::Type::Block(block.clone())) }
    }

    fn status(&self, status: Status) -> DeliverResponse {
        DeliverResponse { r#type: Some(deliver_response::Type::Status(status as i32)) }
    }
}

async fn broadcast(chains: &Chains, envelope: Envelope) -> Result<(), Refusal> {
    let bad_request = |info: String| Refusal { status: Status::BadRequest, info };
    let header = Payload::decode(envelope.payload.clone())
        .map_err(|error| error.to_string())
        .and_then(|payload| payload.header.ok_or_else(|| "header not set".to_owned()))
        .and_then(|header| ChannelHeader::decode(header.channel_header).map_err(|error| error.to_string()))
        .map_err(|error| bad_request(format!("could not determine channel ID: {error}")))?;
    let chain = chains.get(&header.channel_id).ok_or_else(|| bad_request("channel does not exist".to_owned()))?;
    chain.broadcast(&header, envelope).await
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
        let chains = Arc::clone(&self.chains);
        self.workers.spawn("broadcast", async move {
            while let Some(Ok(envelope)) = envelopes.next().await {
                let response = match broadcast(&chains, envelope).await {
                    Ok(()) => BroadcastResponse { status: Status::Success as i32, info: String::new() },
                    Err(refusal) => refusal.into(),
                };
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
        let chains = Arc::clone(&self.chains);
        let lookup = move |channel: &str| chains.get(channel).map(|chain| chain as Arc<dyn Feed>);
        Ok(tonic::Response::new(deliver::serve(&self.workers, request.into_inner(), lookup, Blocks)))
    }
}
