//! `protos.Deliver` with every key of its maps written out.
//!
//! A module of its own because the generated encoder leaves out a map's key when it is zero, as it may, while Fabric's
//! writes it, and decoders of older client libraries (`fabric-network` 2.2) take each entry to begin with its key: to
//! them the private data of a block's first transaction would be missing. The messages are the same in all else.
//!
//! Source: `fabric-protos/peer/events.proto`.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use super::deliver::Delivering;
use crate::devnet::deliver::Responses;
use crate::devnet::listener::MAX_MESSAGE_BYTES;
use crate::pb::common::{Block, Envelope};
use crate::pb::protos::deliver_response::Type;
use crate::pb::protos::deliver_server::{Deliver as _, DeliverServer};
use crate::pb::protos::{BlockAndPrivateData, DeliverResponse, FilteredBlock};
use crate::pb::rwset::TxPvtReadWriteSet;

/// The method whose answers hold a map.
const WITH_PRIVATE_DATA: &str = "/protos.Deliver/DeliverWithPrivateData";

/// `protos.DeliverResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Delivered {
    #[prost(oneof = "Told", tags = "1, 2, 3, 4")]
    told: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Told {
    #[prost(int32, tag = "1")]
    Status(i32),
    #[prost(message, tag = "2")]
    Block(Block),
    #[prost(message, tag = "3")]
    Filtered(FilteredBlock),
    #[prost(message, tag = "4")]
    WithPrivateData(WithPrivateData),
}

/// `protos.BlockAndPrivateData`.
#[derive(Clone, PartialEq, prost::Message)]
struct WithPrivateData {
    #[prost(message, optional, tag = "1")]
    block: Option<Block>,
    #[prost(message, repeated, tag = "2")]
    private_data: Vec<Entry>,
}

/// An entry of the map. Being optional, the key is written whatever it is.
#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(uint64, optional, tag = "1")]
    transaction: Option<u64>,
    #[prost(message, optional, tag = "2")]
    written: Option<TxPvtReadWriteSet>,
}

impl From<BlockAndPrivateData> for WithPrivateData {
    fn from(BlockAndPrivateData { block, private_data_map }: BlockAndPrivateData) -> Self {
        let entry = |(transaction, written)| Entry { transaction: Some(transaction), written: Some(written) };
        Self { block, private_data: private_data_map.into_iter().map(entry).collect() }
    }
}

impl From<DeliverResponse> for Delivered {
    fn from(response: DeliverResponse) -> Self {
        let told = response.r#type.map(|told| match told {
            Type::Status(status) => Told::Status(status),
            Type::Block(block) => Told::Block(block),
            Type::FilteredBlock(block) => Told::Filtered(block),
            Type::BlockAndPrivateData(block) => Told::WithPrivateData(block.into()),
        });
        Self { told }
    }
}

/// The service of a peer.
#[derive(Clone)]
pub(super) struct EveryKey {
    delivering: Arc<Delivering>,
    generated: DeliverServer<Delivering>,
}

impl EveryKey {
    pub(super) fn new(delivering: Delivering) -> Self {
        let delivering = Arc::new(delivering);
        let generated = DeliverServer::from_arc(Arc::clone(&delivering))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { delivering, generated }
    }
}

impl NamedService for EveryKey {
    const NAME: &'static str = <DeliverServer<Delivering> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for EveryKey {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != WITH_PRIVATE_DATA {
            return Box::pin(self.generated.call(request));
        }
        let method = Method(Arc::clone(&self.delivering));
        Box::pin(async move {
            let mut grpc = Grpc::new(tonic_prost::ProstCodec::<Delivered, Envelope>::default())
                .apply_max_message_size_config(Some(MAX_MESSAGE_BYTES), Some(MAX_MESSAGE_BYTES));
            Ok(grpc.streaming(method, request).await)
        })
    }
}

struct Method(Arc<Delivering>);

impl StreamingService<Envelope> for Method {
    type Response = Delivered;
    type ResponseStream = Responses<Delivered>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Envelope>>) -> Self::Future {
        let delivering = Arc::clone(&self.0);
        Box::pin(async move {
            let answers = delivering.deliver_with_private_data(request).await?.into_inner();
            let answers = answers.map(|answer| answer.map(Delivered::from));
            Ok(Response::new(Box::pin(answers) as Responses<Delivered>))
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_first_transaction_has_its_number() {
        let private_data_map = [(0, TxPvtReadWriteSet::default()), (7, TxPvtReadWriteSet::default())].into();
        let with_data = BlockAndPrivateData { block: Some(Block::default()), private_data_map };
        let response = DeliverResponse { r#type: Some(Type::BlockAndPrivateData(with_data)) };
        let bytes = Delivered::from(response.clone()).encode_to_vec();
        // Length, then key and value, neither left out.
        assert!(bytes.ends_with(&[0x12, 4, 0x08, 0, 0x12, 0, 0x12, 4, 0x08, 7, 0x12, 0]), "{bytes:?}");
        assert_eq!(DeliverResponse::decode(&bytes[..]), Ok(response));
        let status = DeliverResponse { r#type: Some(Type::Status(404)) };
        assert_eq!(Delivered::from(status.clone()).encode_to_vec(), status.encode_to_vec());
    }
}
