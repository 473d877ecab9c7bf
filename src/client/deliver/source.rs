//! Where blocks come from: the organization's own peers.
//!
//! Behind a trait because what the follower does when peers fall silent is a matter of time, and is tested without
//! sockets, which do not stand still when time does.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use crate::client::channel::Channel;
use crate::client::error::{CallError, NodeName};
use crate::client::node::{DeliverStream, Delivery, Peer};
use crate::fabric::names::{BlockNumber, ChannelName};
use crate::fabric::tx::Invocation;
use crate::pb::common::{Block, HeaderType};
use crate::pb::orderer::seek_info::{SeekBehavior, SeekErrorResponse};
use crate::pb::orderer::{SeekInfo, SeekPosition, SeekSpecified, seek_position::Type as Seek};
use crate::pb::protos::deliver_response::Type as Delivered;

/// How long a peer may take to send a block that it has; whole ones may be large.
const FIRST_BLOCK: Duration = Duration::from_secs(20);
const FIRST_FILTERED_BLOCK: Duration = Duration::from_secs(5);
/// How long the answer to a question about the ledger may take.
pub(in crate::client) const ANSWER: Duration = Duration::from_secs(10);

/// Peers that deliver.
pub(super) trait Source: Send + Sync + 'static {
    type Peer: Clone + Send + Sync;
    type Open: Send;

    /// All of them; never none, always in the same order.
    fn peers(&self) -> Vec<Self::Peer>;

    /// The channel whose blocks these are.
    fn channel(&self) -> &ChannelName;

    /// Which one to begin with.
    fn first(&self) -> usize;

    fn node(&self, peer: &Self::Peer) -> NodeName;

    /// Opens a stream and waits for the first item: a block, or in place of a filtered one the status `BAD_REQUEST`,
    /// which says that the peer could not filter it, or that it does not like the request.
    fn open(
        &self,
        peer: &Self::Peer,
        delivery: Delivery,
        from: Seek,
    ) -> impl Future<Output = Result<(Delivered, Self::Open), CallError>> + Send;

    /// Waits for the next item, of the same kinds. Cancel safe.
    fn next(open: &mut Self::Open) -> impl Future<Output = Result<Delivered, CallError>> + Send;

    /// The number of blocks that the peer has.
    fn height(&self, peer: &Self::Peer) -> impl Future<Output = Result<BlockNumber, CallError>> + Send;

    /// A block that the peer has.
    fn block(&self, peer: &Self::Peer, number: BlockNumber) -> impl Future<Output = Result<Block, CallError>> + Send;
}

/// The own peers, on one channel.
pub(super) struct OwnPeers {
    channel: Channel,
}

impl OwnPeers {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel }
    }
}

impl Source for OwnPeers {
    type Peer = Peer;
    type Open = DeliverStream;

    fn peers(&self) -> Vec<Peer> {
        self.channel.client().peers().to_vec()
    }

    fn channel(&self) -> &ChannelName {
        self.channel.name()
    }

    fn first(&self) -> usize {
        self.channel.client().preferred_index()
    }

    fn node(&self, peer: &Peer) -> NodeName {
        peer.node().clone()
    }

    async fn open(&self, peer: &Peer, delivery: Delivery, from: Seek) -> Result<(Delivered, DeliverStream), CallError> {
        let info = SeekInfo {
            start: Some(SeekPosition { r#type: Some(from) }),
            stop: Some(SeekPosition { r#type: Some(Seek::Specified(SeekSpecified { number: u64::MAX })) }),
            behavior: SeekBehavior::BlockUntilReady.into(),
            error_response: SeekErrorResponse::Strict.into(),
            content_type: 0,
        };
        let data = Bytes::from(info.encode_to_vec());
        let envelope = self.channel.client().envelope(HeaderType::DeliverSeekInfo, self.channel.name(), data).await?;
        let limit = if delivery == Delivery::Filtered { FIRST_FILTERED_BLOCK } else { FIRST_BLOCK };
        let opened = peer.deliver(envelope, delivery, limit).await?;
        tracing::debug!(channel = %self.channel.name(), peer = %peer.name(), "listening for blocks");
        Ok(opened)
    }

    async fn next(open: &mut DeliverStream) -> Result<Delivered, CallError> {
        open.next().await
    }

    async fn height(&self, peer: &Peer) -> Result<BlockNumber, CallError> {
        within(peer, self.channel.height_of(peer)).await
    }

    async fn block(&self, peer: &Peer, number: BlockNumber) -> Result<Block, CallError> {
        let name = self.channel.name().to_string();
        let query = Invocation::new("qscc", "GetBlockByNumber").arg(name).arg(number.to_string());
        let block = within(peer, self.channel.evaluate_on(peer, &query)).await?;
        Block::decode(block)
            .map_err(|error| CallError::Malformed { node: peer.node().clone(), reason: error.to_string() })
    }
}

/// Waits for an answer about the ledger, not for ever.
pub(in crate::client) async fn within<T>(
    peer: &Peer,
    answer: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(CallError::Deadline { node: peer.node().clone(), waited: ANSWER }),
    }
}
