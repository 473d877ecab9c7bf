//! One stream of one peer: registration, then transactions side by side.
//!
//! All transactions of a stream run in one worker, each as a future of its own: they wait for the peer far longer than
//! they compute. A contract that computes for long holds up the other transactions of the same peer, and no other peer.
//!
//! Invariant: a transaction has at most one request under way, so an answer is told apart by channel and transaction ID
//! alone. When the stream ends, its transactions end with it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{Instrument as _, debug, info, info_span, warn};

use super::stub::{PeerStub, Transaction};
use crate::chaincode::{Contract, Response};
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::{ChaincodeAdditionalParams, ChaincodeEvent, ChaincodeId, ChaincodeMessage};
use crate::runtime::Workers;

/// How many of our messages may wait for the peer to read them. A transaction whose message does not fit waits.
const OUTGOING: usize = 64;
/// How long transactions may go on once the server is told to end.
const LAST_TRANSACTIONS: Duration = Duration::from_secs(5);

/// How far registration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// We have sent REGISTER.
    Created,
    /// The peer knows us.
    Established,
    /// Transactions may come.
    Ready,
}

/// A transaction's name on its stream: channel and transaction ID.
type Key = (String, String);

/// What is kept for one stream.
pub(super) struct Session {
    contract: Arc<dyn Contract>,
    outgoing: mpsc::Sender<ChaincodeMessage>,
    state: State,
    /// Where a running transaction takes the peer's answers.
    answers: HashMap<Key, mpsc::Sender<ChaincodeMessage>>,
    running: FuturesUnordered<BoxFuture<'static, Key>>,
}

/// Why a session ends before its peer ends it.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the peer sent {kind} while the session was {state:?}")]
    OutOfTurn { kind: &'static str, state: State },
    #[error("the peer reads no more")]
    Deaf,
}

impl Session {
    /// Starts a session over `incoming`; what it has to say comes out of the returned stream.
    pub(super) fn start(
        workers: &Workers,
        contract: Arc<dyn Contract>,
        chaincode_id: &str,
        peer: &str,
        incoming: impl Stream<Item = Result<ChaincodeMessage, Status>> + Send + Unpin + 'static,
    ) -> ReceiverStream<ChaincodeMessage> {
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let mut session = Self {
            contract,
            outgoing,
            state: State::Created,
            answers: HashMap::new(),
            running: FuturesUnordered::new(),
        };
        let chaincode_id = ChaincodeId { name: chaincode_id.to_owned(), ..Default::default() };
        let register = message(Type::Register, Bytes::from(chaincode_id.encode_to_vec()), &Key::default());
        let token = workers.token();
        let span = info_span!("peer session", peer);
        let work = async move {
            let ended = match session.send(register).await {
                Ok(()) => session.run(incoming, token.cancelled()).await,
                Err(ended) => Err(ended),
            };
            match ended {
                Ok(()) => info!("session with a peer ended"),
                Err(error) => warn!(%error, "session with a peer broken off"),
            }
            Ok::<(), Infallible>(())
        };
        workers.spawn_to_end("chaincode session", work.instrument(span));
        ReceiverStream::new(messages)
    }

    async fn run(
        &mut self,
        mut incoming: impl Stream<Item = Result<ChaincodeMessage, Status>> + Unpin,
        cancelled: impl Future<Output = ()>,
    ) -> Result<(), Ended> {
        let mut cancelled = std::pin::pin!(cancelled);
        let mut deadline: Option<Instant> = None;
        while deadline.is_none() || !self.running.is_empty() {
            tokio::select! {
                received = incoming.next() => match received {
                    Some(Ok(message)) => self.take(message, deadline.is_some()).await?,
                    Some(Err(status)) => {
                        debug!(%status, "stream of a peer failed");
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                Some(key) = self.running.next() => {
                    self.answers.remove(&key);
                }
                () = &mut cancelled, if deadline.is_none() => deadline = Some(Instant::now() + LAST_TRANSACTIONS),
                () = until(deadline), if deadline.is_some() => return Ok(()),
            }
        }
        Ok(())
    }

    async fn take(&mut self, received: ChaincodeMessage, ending: bool) -> Result<(), Ended> {
        let kind = Type::try_from(received.r#type).unwrap_or(Type::Undefined);
        match (self.state, kind) {
            (_, Type::Keepalive) => self.send(received).await,
            (State::Created, Type::Registered) => {
                self.state = State::Established;
                Ok(())
            }
            (State::Established, Type::Ready) => {
                // Offers of a newer peer, which need no answer: see the module's documentation.
                let offers = ChaincodeAdditionalParams::decode(received.payload).unwrap_or_default();
                info!(?offers, "registered with a peer");
                self.state = State::Ready;
                Ok(())
            }
            (State::Ready, Type::Response | Type::Error) => {
                let key = (received.channel_id.clone(), received.txid.clone());
                if self.answers.get(&key).is_none_or(|answers| answers.try_send(received).is_err()) {
                    debug!(channel = key.0, tx_id = key.1, "answer of a peer that nobody waits for");
                }
                Ok(())
            }
            (State::Ready, Type::Init | Type::Transaction) => self.begin(received, kind, ending).await,
            (state, kind) => {
                let ended = Ended::OutOfTurn { kind: kind.as_str_name(), state };
                let key = (String::new(), received.txid);
                self.send(message(Type::Error, Bytes::from(ended.to_string()), &key)).await?;
                Err(ended)
            }
        }
    }

    /// Starts a transaction, or refuses it.
    async fn begin(&mut self, received: ChaincodeMessage, kind: Type, ending: bool) -> Result<(), Ended> {
        let key = (received.channel_id.clone(), received.txid.clone());
        let refusal = if ending {
            Err("the chaincode server is about to end".to_owned())
        } else if self.answers.contains_key(&key) {
            Err("this transaction is under way already".to_owned())
        } else {
            Transaction::decode(&received)
        };
        let transaction = match refusal {
            Ok(transaction) => transaction,
            Err(reason) => {
                warn!(channel = key.0, tx_id = key.1, reason, "transaction refused");
                return self.send(message(Type::Error, Bytes::from(reason), &key)).await;
            }
        };
        let (answers, inbox) = mpsc::channel(1);
        self.answers.insert(key.clone(), answers);
        let span = info_span!("transaction", channel = key.0, tx_id = key.1);
        let contract = Arc::clone(&self.contract);
        let outgoing = self.outgoing.clone();
        let work = async move {
            let stub = PeerStub::new(transaction, key.clone(), outgoing.clone(), inbox);
            let done = execute(contract, stub, kind, &key).await;
            // A peer that is gone has given the transaction up.
            let _ = outgoing.send(done).await;
            key
        };
        self.running.push(work.instrument(span).boxed());
        Ok(())
    }

    async fn send(&mut self, message: ChaincodeMessage) -> Result<(), Ended> {
        self.outgoing.send(message).await.map_err(|_| Ended::Deaf)
    }
}

/// Runs the contract; whatever it does, there is a message that ends the transaction on the peer.
async fn execute(contract: Arc<dyn Contract>, mut stub: PeerStub, kind: Type, key: &Key) -> ChaincodeMessage {
    let response = AssertUnwindSafe(async {
        match kind {
            Type::Init => contract.init(&mut stub).await,
            _ => contract.invoke(&mut stub).await,
        }
    })
    .catch_unwind()
    .await;
    let Ok(Response { status, message: words, payload }) = response else {
        warn!("contract panicked");
        return message(Type::Error, Bytes::from_static(b"the contract panicked"), key);
    };
    if kind == Type::Init && status >= 400 {
        return message(Type::Error, Bytes::from(words), key);
    }
    let response = crate::pb::protos::Response { status, message: words, payload };
    let mut completed = message(Type::Completed, Bytes::from(response.encode_to_vec()), key);
    completed.chaincode_event =
        stub.into_event().map(|(event_name, payload)| ChaincodeEvent { event_name, payload, ..Default::default() });
    completed
}

/// Waits for `deadline`, where there is one.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A message about a transaction.
pub(super) fn message(kind: Type, payload: Bytes, (channel, tx_id): &Key) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        txid: tx_id.clone(),
        channel_id: channel.clone(),
        ..Default::default()
    }
}
