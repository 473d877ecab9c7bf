//! Delivery of blocks: what the orderer's and the peer's Deliver services have in common.
//!
//! A module of its own because both understand the same seek request and differ in what they check and send.
//!
//! Invariant: nobody gets a block that the policy of the moment does not grant, in the middle of a stream either.
//!
//! Source: Fabric 3.1.5 `common/deliver/deliver.go`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::access::Signed;
use super::faults::Faults;
use super::ledger::BlockStore;
use super::listener::Connection;
use crate::pb::common::{Block, ChannelHeader, Envelope, HeaderType, Payload, SignatureHeader, Status};
use crate::pb::orderer::seek_info::{SeekBehavior, SeekContentType};
use crate::pb::orderer::{SeekInfo, seek_position};
use crate::runtime::{CancellationToken, Workers};

/// How far the clocks of client and node may be apart.
const TIME_WINDOW: Duration = Duration::from_mins(15);
/// Blocks that wait for a slow client; then the stream waits too.
const BUFFERED: usize = 16;

/// A channel whose blocks can be delivered.
pub(crate) trait Feed: Send + Sync + 'static {
    /// The blocks.
    fn blocks(&self) -> &BlockStore;

    /// Whether whoever signed may read now.
    fn may_read(&self, signed: &Signed) -> bool;

    /// Is cancelled when the channel is given up here.
    fn ended(&self) -> CancellationToken {
        CancellationToken::new()
    }
}

/// How a service shows blocks and statuses.
pub(crate) trait Render: Send + Sync + 'static {
    /// What the service sends.
    type Response: Send + 'static;

    /// A block, as far as `reader` may see it.
    fn block(&self, channel: &str, block: &Block, reader: &Signed) -> Self::Response;

    /// How it ended.
    fn status(&self, status: Status) -> Self::Response;
}

/// A stream of responses.
pub(crate) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send + 'static>>;

/// Answers the seek requests of one stream, one after the other. `faults` are those of the node.
pub(crate) fn serve<R, L>(
    workers: &Workers,
    faults: &Faults,
    request: tonic::Request<Streaming<Envelope>>,
    lookup: L,
    render: R,
) -> Responses<R::Response>
where
    R: Render,
    L: Fn(&str) -> Option<Arc<dyn Feed>> + Send + Sync + 'static,
{
    let (responses, receiver) = mpsc::channel(BUFFERED);
    let faults = faults.clone();
    let connection = request.extensions().get::<Connection>().cloned();
    let mut requests = request.into_inner();
    workers.spawn("deliver", async move {
        while let Some(Ok(envelope)) = requests.next().await {
            let status = deliver(&envelope, connection.as_ref(), &faults, &lookup, &render, &responses).await;
            let Some(status) = status else { break };
            if responses.send(Ok(render.status(status))).await.is_err() || status != Status::Success {
                break;
            }
        }
        Ok::<(), Infallible>(())
    });
    Box::pin(ReceiverStream::new(receiver))
}

struct Request {
    channel: String,
    seek: prost::bytes::Bytes,
    signed: Signed,
}

fn parse(envelope: &Envelope, connection: Option<&Connection>, now: SystemTime) -> Option<Request> {
    let payload = Payload::decode(envelope.payload.clone()).ok()?;
    let header = payload.header?;
    let channel = ChannelHeader::decode(header.channel_header).ok()?;
    let signature = SignatureHeader::decode(header.signature_header).ok()?;
    let sent = channel.timestamp.as_ref().and_then(|time| SystemTime::try_from(*time).ok())?;
    let apart = now.duration_since(sent).or_else(|_| sent.duration_since(now)).ok()?;
    let is_bound = connection.is_none_or(|connection| connection.is_bound(&channel.tls_cert_hash));
    (apart <= TIME_WINDOW && is_bound).then(|| Request {
        channel: channel.channel_id,
        seek: payload.data,
        signed: Signed {
            identity: signature.creator,
            data: envelope.payload.clone(),
            signature: envelope.signature.clone(),
        },
    })
}

/// Delivers what one request asks for. `None` when the client has gone.
async fn deliver<R: Render>(
    envelope: &Envelope,
    connection: Option<&Connection>,
    faults: &Faults,
    lookup: &(impl Fn(&str) -> Option<Arc<dyn Feed>> + Send + Sync),
    render: &R,
    responses: &mpsc::Sender<Result<R::Response, tonic::Status>>,
) -> Option<Status> {
    let Some(request) = parse(envelope, connection, faults.now()) else { return Some(Status::BadRequest) };
    let Some(feed) = lookup(&request.channel) else { return Some(Status::NotFound) };
    let Ok(seek) = SeekInfo::decode(request.seek) else { return Some(Status::BadRequest) };
    if !feed.may_read(&request.signed) {
        return Some(Status::Forbidden);
    }
    let height = feed.blocks().height();
    let (start, stop) = match range(&seek, height) {
        Ok(range) => range,
        Err(status) => return Some(status),
    };
    let mut watch = feed.blocks().watch();
    let ended = feed.ended();
    let mut number = start;
    loop {
        let block = loop {
            // Look at the height before the block, or a block that comes in between is waited for in vain.
            watch.mark_unchanged();
            if let Some(block) = feed.blocks().get(number) {
                break block;
            }
            if seek.behavior() == SeekBehavior::FailIfNotReady {
                return Some(Status::NotFound);
            }
            if *watch.borrow_and_update() > number {
                continue;
            }
            tokio::select! {
                changed = watch.changed() => changed.ok()?,
                () = responses.closed() => return None,
                () = ended.cancelled() => return Some(Status::ServiceUnavailable),
            }
        };
        if !feed.may_read(&request.signed) {
            return Some(Status::Forbidden);
        }
        let response = match seek.content_type() {
            SeekContentType::HeaderWithSig if !is_config(&block) => {
                let header = Block { header: block.header.clone(), data: None, metadata: block.metadata.clone() };
                render.block(&request.channel, &header, &request.signed)
            }
            _ => render.block(&request.channel, &block, &request.signed),
        };
        responses.send(Ok(response)).await.ok()?;
        if number == stop {
            return Some(Status::Success);
        }
        number += 1;
    }
}

/// The first and the last block that a request asks for, or the status where it cannot be answered.
fn range(seek: &SeekInfo, height: u64) -> Result<(u64, u64), Status> {
    use seek_position::Type;

    let newest = height.saturating_sub(1);
    let (Some(start_position), Some(stop_position)) = (&seek.start, &seek.stop) else {
        return Err(Status::BadRequest);
    };
    let start = match &start_position.r#type {
        Some(Type::Oldest(_)) => 0,
        Some(Type::Newest(_)) => newest,
        // Only the very next block is waited for.
        Some(Type::Specified(specified)) if specified.number > height => return Err(Status::NotFound),
        Some(Type::Specified(specified)) => specified.number,
        Some(Type::NextCommit(_)) => height,
        None => return Err(Status::NotFound),
    };
    let stop = match &stop_position.r#type {
        Some(Type::Oldest(_)) => start,
        Some(Type::Newest(_)) if start_position == stop_position => start,
        Some(Type::Newest(_)) => newest,
        Some(Type::Specified(specified)) if specified.number < start => return Err(Status::BadRequest),
        Some(Type::Specified(specified)) => specified.number,
        // Fabric leaves the end at its zero value here.
        Some(Type::NextCommit(_)) | None => 0,
    };
    Ok((start, stop))
}

fn is_config(block: &Block) -> bool {
    let header = || {
        let envelope = Envelope::decode(block.data.as_ref()?.data.first()?.clone()).ok()?;
        let payload = Payload::decode(envelope.payload).ok()?;
        ChannelHeader::decode(payload.header?.channel_header).ok()
    };
    header().is_some_and(|header| header.r#type == HeaderType::Config as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::orderer::{SeekNewest, SeekNextCommit, SeekOldest, SeekPosition, SeekSpecified};

    fn position(text: &str) -> Option<SeekPosition> {
        use seek_position::Type;
        let r#type = match text {
            "none" => return None,
            "oldest" => Type::Oldest(SeekOldest {}),
            "newest" => Type::Newest(SeekNewest {}),
            "next" => Type::NextCommit(SeekNextCommit {}),
            number => Type::Specified(SeekSpecified { number: number.parse().unwrap() }),
        };
        Some(SeekPosition { r#type: Some(r#type) })
    }

    #[test]
    fn ranges_of_seek_requests() {
        for (start, stop, expected) in [
            ("oldest", "newest", Ok((0, 4))),
            ("newest", "newest", Ok((4, 4))),
            ("oldest", "oldest", Ok((0, 0))),
            ("2", "3", Ok((2, 3))),
            ("3", "2", Err(Status::BadRequest)),
            ("next", "9", Ok((5, 9))),
            ("5", "18446744073709551615", Ok((5, u64::MAX))),
            ("6", "18446744073709551615", Err(Status::NotFound)),
            ("none", "newest", Err(Status::BadRequest)),
            ("oldest", "none", Err(Status::BadRequest)),
        ] {
            let seek = SeekInfo { start: position(start), stop: position(stop), ..SeekInfo::default() };
            assert_eq!(range(&seek, 5), expected, "from {start} to {stop}");
        }
    }
}
