//! `protos.Deliver`: committed blocks, whole, filtered, or with the private data that the client may see.
//!
//! Not here: seeking, waiting and the right to read ([`devnet::deliver`](crate::devnet::deliver)).
//!
//! Source: Fabric 3.1.5 `core/peer/deliverevents.go`.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Peer;
use super::channel::Guarded;
use crate::devnet::access::Signed;
use crate::devnet::deliver::{self, Feed, Render, Responses};
use crate::fabric::block::filtered_block;
use crate::fabric::policy;
use crate::pb::common::{self, Block, Envelope, SignaturePolicyEnvelope};
use crate::pb::protos::deliver_response::Type;
use crate::pb::protos::deliver_server::Deliver;
use crate::pb::protos::{BlockAndPrivateData, DeliverResponse};
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
        match filtered_block(channel, block) {
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
