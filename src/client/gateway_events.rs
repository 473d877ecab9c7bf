//! Chaincode events from a peer's Gateway service, as a stream that survives its peers.
//!
//! A module of its own because the service sends nothing but blocks with events of the chaincode, not even a sign of
//! life: what spares traffic makes a stream that stands still look like a chaincode that keeps silent. Therefore a
//! stream that was quiet while the ledger grew is opened anew, at another own peer if there is one. And as a peer that
//! does not know the transaction after which events are to begin withholds all events, it is asked for it first.
//!
//! The events are the peer's word: there are no blocks to check. Whoever wants that listens to
//! [`events`](super::events).
//!
//! Source: `fabric-protos/gateway/gateway.proto`, Fabric 3.1.5 `internal/pkg/gateway/chaincodeevents.go`.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::channel::Channel;
use super::deliver::{ANSWER, FIRST_WAIT, LONGEST_WAIT, QUIET, Start, StreamError, within};
use super::error::CallError;
use super::node::{Peer, note};
use super::peer_gateway::failed;
use crate::fabric::block::ChaincodeEvent;
use crate::fabric::names::{BlockNumber, ChaincodeName, TxId};
use crate::pb::gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest};
use crate::pb::orderer::{SeekPosition, SeekSpecified, seek_position::Type as Seek};
use crate::runtime::retry::Backoff;

/// How long it may be quiet at most before the peer is asked how it is: twice as long each time the ledger grew without
/// events.
const LONGEST_QUIET: Duration = Duration::from_mins(10);

/// The events of one chaincode as a Gateway service tells them, without end. Dropping it hangs up.
///
/// An event comes again after a restart from the same checkpoint, never twice from one stream.
///
/// Cancel safety: waiting for the next item may be cancelled, nothing is lost.
pub struct GatewayEventStream {
    stream: Pin<Box<dyn Stream<Item = Result<ChaincodeEvent, StreamError>> + Send>>,
}

impl GatewayEventStream {
    pub(super) fn new(channel: Channel, chaincode: ChaincodeName, start: Start) -> Self {
        let listener = Listener::new(channel, chaincode, start);
        let stream = stream::unfold(listener, |mut listener| async move {
            let event = listener.next().await;
            Some((event, listener))
        });
        Self { stream: Box::pin(stream) }
    }
}

impl Stream for GatewayEventStream {
    type Item = Result<ChaincodeEvent, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for GatewayEventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayEventStream").finish_non_exhaustive()
    }
}

type Answers = Streaming<ChaincodeEventsResponse>;
/// The next answer, with the stream that brings those after it. The service sends no headers before the first answer, so
/// that one opens the stream.
type Heard = Pin<Box<dyn Future<Output = Result<(ChaincodeEventsResponse, Answers), Status>> + Send>>;

/// An open stream.
struct Open {
    peer: Peer,
    heard: Heard,
    /// The number of blocks that the peer had when it was opened, if it tells.
    height: Option<BlockNumber>,
}

/// Why a peer is not listened to.
enum Trouble {
    Failed(CallError),
    /// It does not know the transaction after which events are to begin.
    Unknown,
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self::Failed(error)
    }
}

struct Listener {
    channel: Channel,
    chaincode: ChaincodeName,
    /// The next block, once it is known.
    next: Option<BlockNumber>,
    /// What of it is done.
    done: Option<TxId>,
    open: Option<Open>,
    ready: VecDeque<ChaincodeEvent>,
    /// The own peer whose turn is next.
    turn: usize,
    /// What peers said since one was heard.
    failures: Vec<CallError>,
    /// How many of them do not know the transaction.
    unknown: usize,
    quiet: Duration,
    backoff: Backoff,
    wait: Option<Duration>,
}

impl Listener {
    fn new(channel: Channel, chaincode: ChaincodeName, start: Start) -> Self {
        let (next, done) = match start {
            Start::Oldest => (Some(0), None),
            Start::Newest => (None, None),
            Start::Number(number) => (Some(number), None),
            Start::After(checkpoint) => (Some(checkpoint.block), checkpoint.tx_id),
        };
        Self {
            turn: channel.client().preferred_index(),
            channel,
            chaincode,
            next,
            done,
            open: None,
            ready: VecDeque::new(),
            failures: Vec::new(),
            unknown: 0,
            quiet: QUIET,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            wait: None,
        }
    }

    /// The next event. Must be driven to its end, or dropped together with the listener.
    async fn next(&mut self) -> Result<ChaincodeEvent, StreamError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(wait) = self.wait.take() {
                tokio::time::sleep(wait).await;
            }
            let trouble = match self.hear().await {
                Ok(()) => continue,
                Err(trouble) => trouble,
            };
            self.turn += 1;
            match trouble {
                Trouble::Failed(error) => {
                    tracing::debug!(channel = %self.channel.name(), %error, "events interrupted");
                    self.failures.push(error);
                }
                Trouble::Unknown => self.unknown += 1,
            }
            if self.failures.len() + self.unknown >= self.channel.client().peers().len() {
                self.wait = self.backoff.next();
                let unknown = std::mem::take(&mut self.unknown);
                let failures = std::mem::take(&mut self.failures);
                // Peers that failed may know more than those that answered.
                return Err(match &self.done {
                    Some(tx_id) if unknown > 0 && failures.is_empty() => {
                        StreamError::UnknownCheckpoint { tx_id: tx_id.clone() }
                    }
                    _ => StreamError::Interrupted { failures },
                });
            }
        }
    }

    /// Waits for events, or for a reason to listen elsewhere.
    async fn hear(&mut self) -> Result<(), Trouble> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let answer = loop {
            if let Ok(answer) = timeout(self.quiet, &mut open.heard).await {
                break answer;
            }
            tokio::select! {
                biased;
                answer = &mut open.heard => break answer,
                height = height_of(&self.channel, &open.peer) => {
                    let height = height?;
                    self.well();
                    if open.height.is_some_and(|before| height.is_some_and(|height| height > before)) {
                        // Perhaps without events, perhaps not: to ask anew costs little.
                        self.turn += 1;
                        self.quiet = (self.quiet * 2).min(LONGEST_QUIET);
                        return Ok(());
                    }
                }
            }
        };
        let failed = |status| failed(open.peer.node(), status, ANSWER);
        let answer = answer.map_err(failed);
        note(open.peer.connection(), answer.as_ref().err());
        let (answer, answers) = answer?;
        self.take(answer, &open.peer)?;
        self.well();
        self.quiet = QUIET;
        self.open = Some(Open { heard: next_of(answers), ..open });
        Ok(())
    }

    /// A peer was heard.
    fn well(&mut self) {
        self.failures.clear();
        self.unknown = 0;
        self.backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    }

    async fn connect(&mut self) -> Result<Open, Trouble> {
        let client = self.channel.client().clone();
        let peer = client.peers()[self.turn % client.peers().len()].clone();
        let height = height_of(&self.channel, &peer).await?;
        // Whoever may not ask for the newest block begins with the one that comes next, as the service takes no position.
        self.next = self.next.or(height.map(|height| height.saturating_sub(1)));
        let at = |number| SeekPosition { r#type: Some(Seek::Specified(SeekSpecified { number })) };
        if let Some(tx_id) = &self.done
            && !within(&peer, self.channel.has_transaction(&peer, tx_id)).await?
        {
            return Err(Trouble::Unknown);
        }
        let request = ChaincodeEventsRequest {
            channel_id: self.channel.name().to_string(),
            chaincode_id: self.chaincode.to_string(),
            identity: client.signer().creator().clone(),
            start_position: self.next.map(at),
            after_transaction_id: self.done.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = client.signer().sign(&request).await.map_err(CallError::from)?;
        let signed = SignedChaincodeEventsRequest { request, signature };
        let mut gateway = peer.gateway();
        let heard = Box::pin(async move {
            let answers = gateway.chaincode_events(signed).await?.into_inner();
            next_of(answers).await
        });
        tracing::debug!(channel = %self.channel.name(), peer = %peer.name(), next = ?self.next, "listening for events");
        Ok(Open { peer, heard, height })
    }

    /// Takes what a peer told, if it can be what was asked for.
    fn take(&mut self, answer: ChaincodeEventsResponse, peer: &Peer) -> Result<(), CallError> {
        let malformed = |reason: String| CallError::Malformed { node: peer.node().clone(), reason };
        let block = answer.block_number;
        if let Some(next) = self.next.filter(|next| block < *next) {
            return Err(malformed(format!("events of block {block}, which comes before block {next}")));
        }
        let after = block.checked_add(1).ok_or_else(|| malformed(format!("block number {block}")))?;
        let mut events = VecDeque::with_capacity(answer.events.len());
        for (tx_index, event) in answer.events.into_iter().enumerate() {
            if event.chaincode_id != self.chaincode.as_str() {
                return Err(malformed("events of another chaincode".to_owned()));
            }
            let tx_id = TxId::parse(event.tx_id).map_err(|error| malformed(error.to_string()))?;
            let (chaincode, name, payload) = (event.chaincode_id, event.event_name, event.payload);
            events.push_back(ChaincodeEvent { block, tx_index, tx_id, chaincode, name, payload });
        }
        self.ready = events;
        (self.next, self.done) = (Some(after), None);
        Ok(())
    }
}

fn next_of(mut answers: Answers) -> Heard {
    Box::pin(async move {
        let answer = answers.message().await?;
        Ok((answer.ok_or_else(|| Status::unavailable("the stream of events ended"))?, answers))
    })
}

/// The number of blocks that a peer has; `None` when it does not tell this client.
async fn height_of(channel: &Channel, peer: &Peer) -> Result<Option<BlockNumber>, CallError> {
    match within(peer, channel.height_of(peer)).await {
        Ok(height) => Ok(Some(height)),
        Err(CallError::Refused { .. } | CallError::Chaincode { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
