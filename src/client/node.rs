//! Peers and orderers: one call to one node, with a deadline.
//!
//! A module of its own because every RPC goes through here, so that none is without deadline and size limit, and every
//! answer is judged in one place. It does not choose nodes and does not retry.
//!
//! Source: `fabric-protos/peer/peer.proto`, `events.proto`, `orderer/ab.proto`, `discovery/protocol.proto`; Fabric 3.1.5
//! `core/endorser` (an answer with a payload comes from the chaincode, one without from the peer).

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::oneshot;
use tonic::{Request, Status, Streaming};

use super::error::{CallError, NodeName};
use super::net::{Connection, MAX_MESSAGE};
use crate::fabric::names::MspId;
use crate::pb::common::{Block, Envelope, Status as FabricStatus};
use crate::pb::discovery::discovery_client::DiscoveryClient;
use crate::pb::discovery::{Response as DiscoveryResponse, SignedRequest};
use crate::pb::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use crate::pb::orderer::{self, deliver_response::Type as OrdererDelivered};
use crate::pb::protos::deliver_client::DeliverClient;
use crate::pb::protos::deliver_response::Type as Delivered;
use crate::pb::protos::endorser_client::EndorserClient;
use crate::pb::protos::{DeliverResponse, ProposalResponse, SignedProposal};

/// A peer. Clones are the same peer.
#[derive(Clone)]
pub struct Peer {
    node: Arc<Node>,
    msp_id: MspId,
}

/// An orderer. Clones are the same orderer.
#[derive(Clone)]
pub struct Orderer {
    node: Arc<Node>,
}

/// In which form blocks are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Whole.
    Blocks,
    /// Without what is in them.
    Filtered,
    /// Whole, with the private data that the caller may see.
    WithPrivateData,
}

#[derive(Debug)]
struct Node {
    name: NodeName,
    connection: Connection,
}

/// The same organization's peer at the same address.
impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.msp_id == other.msp_id && self.node.name == other.node.name
    }
}

impl Eq for Peer {}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({}, {})", self.node.name, self.msp_id)
    }
}

impl fmt::Debug for Orderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Orderer({})", self.node.name)
    }
}

/// Waits for `answer`, at most for `limit`, and remembers how the node is.
async fn within<T>(
    node: &Node,
    limit: Duration,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, CallError> {
    let answer = match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(CallError::of_status(&node.name, status, limit)),
        Err(_) => Err(CallError::Deadline { node: node.name.clone(), waited: limit }),
    };
    note(&node.connection, answer.as_ref().err());
    answer
}

/// Remembers how the node is at the other end of a connection.
pub(super) fn note(connection: &Connection, error: Option<&CallError>) {
    if error.is_some_and(CallError::is_of_its_health) {
        connection.health().failed();
    } else {
        connection.health().answered();
    }
}

/// How long an orderer that has answered may take to end the stream, which it should do at once.
const HANGUP: Duration = Duration::from_secs(1);

/// What keeps a stream of requests open, to be held beside the answers and dropped with them.
type Interest = oneshot::Sender<Infallible>;

/// One request on a stream that stays open while there is interest: a server may take the end of the requests for the
/// end of it. Without an end of its own the stream would stay open at the node when the answers are dropped, and nodes
/// serve so many and no more (2,500 of Fabric's peers).
fn single<T: Send + 'static>(request: T) -> (impl Stream<Item = T> + Send + 'static, Interest) {
    let (interest, ended) = oneshot::channel();
    let rest = stream::once(ended).filter_map(|_| std::future::ready(None));
    (stream::once(std::future::ready(request)).chain(rest), interest)
}

fn malformed(node: &NodeName, reason: &str) -> CallError {
    CallError::Malformed { node: node.clone(), reason: reason.to_owned() }
}

impl Peer {
    pub(super) fn new(name: NodeName, msp_id: MspId, connection: Connection) -> Self {
        Self { node: Arc::new(Node { name, connection }), msp_id }
    }

    /// What the connection profile calls it; of a peer that was discovered, its address.
    pub fn name(&self) -> &str {
        &self.node.name.name
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.node.name.address
    }

    /// Its organization.
    pub fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    pub(super) fn node(&self) -> &NodeName {
        &self.node.name
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.node.connection
    }

    /// Whether others should be asked first.
    pub(super) fn is_resting(&self) -> bool {
        self.node.connection.health().is_resting()
    }

    /// Has the peer run a proposal. An answer of success (200 to 399) comes back, any other is an error.
    pub(super) async fn process(
        &self,
        proposal: SignedProposal,
        limit: Duration,
    ) -> Result<ProposalResponse, CallError> {
        let node = self.node();
        let mut client = EndorserClient::new(self.node.connection.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let mut request = Request::new(proposal);
        request.set_timeout(limit);
        let answer = within(&self.node, limit, client.process_proposal(request)).await?.into_inner();
        let Some(response) = &answer.response else {
            return Err(malformed(node, "a proposal response without response"));
        };
        if (200..400).contains(&response.status) {
            return Ok(answer);
        }
        let (node, status, message) = (node.clone(), response.status, response.message.clone());
        Err(if answer.payload.is_empty() && status >= 500 {
            CallError::Refused { node, status, message }
        } else {
            CallError::Chaincode { node, status, message }
        })
    }

    /// Opens a stream of blocks in one of their forms, and waits for the first message of it. (The peer sends nothing,
    /// not even headers, before the first block.)
    pub(super) async fn deliver(
        &self,
        seek: Envelope,
        delivery: Delivery,
        limit: Duration,
    ) -> Result<(Delivered, DeliverStream), CallError> {
        let mut client = DeliverClient::new(self.node.connection.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let node = self.node();
        let (requests, interest) = single(seek);
        let open = async {
            let answers = match delivery {
                Delivery::Blocks => client.deliver(requests).await?,
                Delivery::Filtered => client.deliver_filtered(requests).await?,
                Delivery::WithPrivateData => client.deliver_with_private_data(requests).await?,
            };
            let mut answers = answers.into_inner();
            let first = answers.message().await?;
            Ok((first, answers))
        };
        let (first, answers) = within(&self.node, limit, open).await?;
        let stream = DeliverStream { node: node.clone(), delivery, answers, _interest: interest };
        Ok((stream.judge(first)?, stream))
    }

    pub(super) async fn discover(
        &self,
        request: SignedRequest,
        limit: Duration,
    ) -> Result<DiscoveryResponse, CallError> {
        let mut client = DiscoveryClient::new(self.node.connection.channel()).max_decoding_message_size(MAX_MESSAGE);
        let mut request = Request::new(request);
        request.set_timeout(limit);
        Ok(within(&self.node, limit, client.discover(request)).await?.into_inner())
    }
}

/// An open stream of blocks.
pub(super) struct DeliverStream {
    node: NodeName,
    delivery: Delivery,
    answers: Streaming<DeliverResponse>,
    _interest: Interest,
}

impl DeliverStream {
    /// The next block or filtered block. A status is an error, as is the end: nobody asked for it. Only
    /// `BAD_REQUEST` in place of a filtered block is handed on: with it a peer passes over a block that it cannot
    /// filter, and goes on.
    ///
    /// Cancel safety: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Delivered, CallError> {
        let answer = self.answers.message().await;
        self.judge(answer.map_err(|status| CallError::of_status(&self.node, status, Duration::ZERO))?)
    }

    fn judge(&self, answer: Option<DeliverResponse>) -> Result<Delivered, CallError> {
        let ended = || CallError::Transport {
            node: self.node.clone(),
            source: Box::new(Status::unavailable("the stream of blocks ended")),
        };
        match answer.ok_or_else(ended)?.r#type {
            Some(Delivered::Status(status))
                if self.delivery != Delivery::Filtered || status != FabricStatus::BadRequest as i32 =>
            {
                Err(delivery_ended(&self.node, status))
            }
            Some(delivered) => Ok(delivered),
            None => Err(malformed(&self.node, "a deliver response of unknown type")),
        }
    }
}

impl Orderer {
    pub(super) fn new(name: NodeName, connection: Connection) -> Self {
        Self { node: Arc::new(Node { name, connection }) }
    }

    /// What the connection profile calls it; of an orderer that was discovered, its address.
    pub fn name(&self) -> &str {
        &self.node.name.name
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.node.name.address
    }

    pub(super) fn node(&self) -> &NodeName {
        &self.node.name
    }

    /// Whether others should be asked first.
    pub(super) fn is_resting(&self) -> bool {
        self.node.connection.health().is_resting()
    }

    fn client(&self) -> AtomicBroadcastClient<tonic::transport::Channel> {
        AtomicBroadcastClient::new(self.node.connection.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Hands an envelope in and waits for the orderer to take it.
    pub(super) async fn broadcast(&self, envelope: Envelope, limit: Duration) -> Result<(), CallError> {
        let mut client = self.client();
        let node = self.node();
        let answer = within(&self.node, limit, async {
            let mut answers = client.broadcast(stream::once(std::future::ready(envelope))).await?.into_inner();
            let answer = answers.message().await?;
            let answer = answer.ok_or_else(|| Status::unavailable("the orderer hung up without an answer"))?;
            // A stream that is not read to its end has to be reset, which is more work for everybody.
            let _ = tokio::time::timeout(HANGUP, answers.message()).await;
            Ok(answer)
        })
        .await?;
        if answer.status == FabricStatus::Success as i32 {
            return Ok(());
        }
        let message = match (status_name(answer.status), answer.info) {
            (name, info) if info.is_empty() => name.to_owned(),
            (name, info) => format!("{name}: {info}"),
        };
        Err(CallError::Refused { node: node.clone(), status: answer.status, message })
    }

    /// Reads blocks up to where the seek request ends; all of them are kept in memory.
    pub(super) async fn fetch(&self, seek: Envelope, limit: Duration) -> Result<Vec<Block>, CallError> {
        let mut client = self.client();
        let node = self.node();
        within(&self.node, limit, async {
            let (requests, _interest) = single(seek);
            let mut answers = client.deliver(requests).await?.into_inner();
            let mut blocks = Vec::new();
            loop {
                match answers.message().await?.and_then(|answer: orderer::DeliverResponse| answer.r#type) {
                    Some(OrdererDelivered::Block(block)) => blocks.push(block),
                    Some(OrdererDelivered::Status(status)) if status == FabricStatus::Success as i32 => {
                        return Ok(Ok(blocks));
                    }
                    Some(OrdererDelivered::Status(status)) => {
                        return Ok(Err(delivery_ended(node, status)));
                    }
                    None => return Err(Status::unavailable("the orderer hung up before the last block")),
                }
            }
        })
        .await?
    }
}

/// A node has sent a status where a block was awaited.
pub(super) fn delivery_ended(node: &NodeName, status: i32) -> CallError {
    let message = format!("block delivery ended: {}", status_name(status));
    CallError::Refused { node: node.clone(), status, message }
}

/// Fabric's name of a status, as its own tools print it.
fn status_name(status: i32) -> &'static str {
    FabricStatus::try_from(status).map_or("unknown status", |status| status.as_str_name())
}
