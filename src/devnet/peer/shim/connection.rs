//! The stream to one chaincode server: registration, transactions side by side, its end.
//!
//! A module of its own because it is where messages find their transaction. What a message asks for is answered in
//! [`handler`](super::handler).
//!
//! Invariant: whoever executes hears of the chaincode's answer, of the timeout or of the end of the stream, whichever
//! comes first; nothing of the transaction stays behind.
//!
//! Source: Fabric 3.1.5 `core/chaincode/handler.go` (`ProcessStream`, `Execute`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::handler;
use super::queries::Queries;
use crate::client::net::MAX_MESSAGE;
use crate::devnet::peer::context::{Answer, Refused, TransactionContext};
use crate::pb::protos::chaincode_client::ChaincodeClient;
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::{ChaincodeId, ChaincodeInput, ChaincodeMessage, Response, SignedProposal};
use crate::runtime::{CancellationToken, Workers};

/// How long a chaincode may take for a transaction (`chaincode.executetimeout`).
pub(crate) const EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages on their way out. Then whoever sends waits: the other side is slow, or reads no more.
const OUTBOX: usize = 256;

/// A registered chaincode behind a stream. Clones of the `Arc` are the same stream.
#[derive(Debug)]
pub(crate) struct ChaincodeStream {
    package_id: String,
    outbox: mpsc::Sender<ChaincodeMessage>,
    transactions: Mutex<HashMap<Key, Pending>>,
    ended: CancellationToken,
}

/// Channel and transaction.
type Key = (String, String);

struct Pending {
    context: Arc<dyn TransactionContext>,
    queries: Arc<Mutex<Queries>>,
    /// Whether the chaincode waits for the answer to a request: it may not send another one meanwhile.
    busy: bool,
    done: oneshot::Sender<ChaincodeMessage>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("busy", &self.busy).finish_non_exhaustive()
    }
}

/// What a transaction asks of a chaincode.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) channel: String,
    pub(crate) tx_id: String,
    pub(crate) input: ChaincodeInput,
    pub(crate) proposal: SignedProposal,
    pub(crate) is_init: bool,
}

impl ChaincodeStream {
    /// A stream that sends through `outbox`; whoever makes it hands in what comes.
    pub(super) fn new(package_id: &str, outbox: mpsc::Sender<ChaincodeMessage>, workers: &Workers) -> Arc<Self> {
        let package_id = package_id.to_owned();
        Arc::new(Self { package_id, outbox, transactions: Mutex::default(), ended: workers.token().child_token() })
    }

    /// Opens the stream over `channel` and waits until the chaincode has registered as `package_id`.
    ///
    /// Cancel safety: dropping the future ends the stream.
    pub(crate) async fn open(channel: Channel, package_id: &str, workers: &Workers) -> Result<Arc<Self>, Refused> {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let mut client =
            ChaincodeClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
        let connected = client.connect(ReceiverStream::new(messages)).await;
        let mut incoming = connected.map_err(|status| Refused(describe(&status)))?.into_inner();
        let first = incoming.message().await.map_err(|status| Refused(describe(&status)))?;
        let first = first.ok_or_else(|| Refused::new("chaincode closed the stream before it registered"))?;
        if first.r#type() != Type::Register {
            let kind = first.r#type().as_str_name();
            return Err(Refused(format!(
                "[] Fabric side handler cannot handle message ({kind}) while in created state"
            )));
        }
        let registered = ChaincodeId::decode(first.payload).map(|id| id.name).unwrap_or_default();
        if registered.is_empty() {
            return Err(Refused::new("error in handling register chaincode, chaincodeID name is empty"));
        }
        if registered != package_id {
            return Err(Refused(format!("chaincode registered as {registered} instead of {package_id}")));
        }
        let registered = ChaincodeMessage { r#type: Type::Registered.into(), ..ChaincodeMessage::default() };
        let ready = ChaincodeMessage {
            r#type: Type::Ready.into(),
            payload: handler::additional_params().encode_to_vec().into(),
            ..ChaincodeMessage::default()
        };
        for message in [registered, ready] {
            outbox.send(message).await.map_err(|_| terminated())?;
        }
        let stream = Self::new(package_id, outbox, workers);
        let (inside, reading) = (workers.clone(), Arc::clone(&stream));
        workers.spawn_to_end("chaincode stream", async move {
            let token = reading.ended.clone();
            token.run_until_cancelled(reading.read(incoming, &inside)).await;
            reading.end();
            Ok::<(), Infallible>(())
        });
        Ok(stream)
    }

    /// Whether the stream has ended.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Ends the stream; whoever executes on it is told.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        self.transactions().clear();
    }

    fn transactions(&self) -> MutexGuard<'_, HashMap<Key, Pending>> {
        self.transactions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the chaincode run `request` with what it sees of the ledger.
    ///
    /// Cancel safety: dropping the future forgets the transaction; the chaincode's further requests are refused.
    pub(crate) async fn execute(
        &self,
        request: Request,
        context: Arc<dyn TransactionContext>,
    ) -> Result<Answer, Refused> {
        let key = (request.channel.clone(), request.tx_id.clone());
        let (done, answer) = oneshot::channel();
        match self.transactions().entry(key.clone()) {
            Entry::Occupied(_) => {
                return Err(Refused(format!("error sending: txid: {}({}) exists", request.tx_id, request.channel)));
            }
            Entry::Vacant(entry) => {
                entry.insert(Pending { context, queries: Arc::default(), busy: false, done });
            }
        }
        let _forget = Forget { stream: self, key };
        let message = ChaincodeMessage {
            r#type: if request.is_init { Type::Init.into() } else { Type::Transaction.into() },
            payload: request.input.encode_to_vec().into(),
            txid: request.tx_id,
            channel_id: request.channel,
            proposal: Some(request.proposal),
            ..ChaincodeMessage::default()
        };
        let run = async {
            self.outbox.send(message).await.map_err(|_| terminated())?;
            answer.await.map_err(|_| terminated())
        };
        let answer = tokio::select! {
            // An answer that came just before the end of the stream counts.
            biased;
            answer = tokio::time::timeout(EXECUTE_TIMEOUT, run) => answer
                .map_err(|_| Refused::new("error sending: timeout expired while executing transaction"))??,
            () = self.ended.cancelled() => return Err(terminated()),
        };
        completed(answer)
    }

    async fn read(self: &Arc<Self>, mut incoming: Streaming<ChaincodeMessage>, workers: &Workers) {
        loop {
            match incoming.next().await {
                Some(Ok(message)) => {
                    if let Err(error) = self.take(message, workers).await {
                        tracing::warn!(chaincode = %self.package_id, %error, "chaincode stream is given up");
                        return;
                    }
                }
                Some(Err(status)) => {
                    tracing::debug!(chaincode = %self.package_id, error = %describe(&status), "chaincode stream broke");
                    return;
                }
                None => return,
            }
        }
    }

    /// Does what a message of the chaincode asks for. An error is the end of the stream.
    pub(super) async fn take(self: &Arc<Self>, message: ChaincodeMessage, workers: &Workers) -> Result<(), Refused> {
        let kind = message.r#type();
        if kind == Type::Keepalive {
            return Ok(());
        }
        let key = (message.channel_id.clone(), message.txid.clone());
        if matches!(kind, Type::Completed | Type::Error) {
            // Late answers, after a timeout, find nobody.
            if let Some(pending) = self.transactions().remove(&key) {
                let _ = pending.done.send(message);
            }
            return Ok(());
        }
        if !handler::is_request(kind) {
            let name = kind.as_str_name();
            return Err(Refused(format!("Fabric side handler cannot handle message ({name}) while in ready state")));
        }
        let found = match self.transactions().get_mut(&key) {
            Some(pending) if pending.busy => {
                tracing::warn!(chaincode = %self.package_id, tx_id = %key.1, "another request is pending, one dropped");
                return Ok(());
            }
            Some(pending) => {
                pending.busy = true;
                Some((Arc::clone(&pending.context), Arc::clone(&pending.queries)))
            }
            None => None,
        };
        let Some((context, queries)) = found else {
            let refused = handler::failed(kind, &message.txid, Refused::new("no ledger context"));
            return self.outbox.send(handler::reply(&message, Err(refused))).await.map_err(|_| terminated());
        };
        if kind != Type::InvokeChaincode {
            let reply = handler::answer(kind, &message, &context, &queries).await;
            self.free(&key);
            return self.outbox.send(reply).await.map_err(|_| terminated());
        }
        // The called chaincode may be behind this very stream, so nobody waits for it here.
        let stream = Arc::clone(self);
        workers.spawn("chaincode calls chaincode", async move {
            let reply = handler::answer(kind, &message, &context, &queries).await;
            stream.free(&key);
            // A stream that has ended has told everybody.
            let _ = stream.outbox.send(reply).await;
            Ok::<(), Infallible>(())
        });
        Ok(())
    }

    fn free(&self, key: &Key) {
        if let Some(pending) = self.transactions().get_mut(key) {
            pending.busy = false;
        }
    }
}

/// Takes a transaction out of the stream's memory when whoever executes it is through or gone.
struct Forget<'a> {
    stream: &'a ChaincodeStream,
    key: Key,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.stream.transactions().remove(&self.key);
    }
}

fn terminated() -> Refused {
    Refused::new("error sending: chaincode stream terminated")
}

/// What the chaincode's last message of a transaction says.
fn completed(message: ChaincodeMessage) -> Result<Answer, Refused> {
    if message.r#type() == Type::Error {
        let said = String::from_utf8_lossy(&message.payload);
        return Err(Refused(format!("transaction returned with failure: {said}")));
    }
    let response = Response::decode(message.payload)
        .map_err(|error| Refused(format!("failed to unmarshal response for transaction {}: {error}", message.txid)))?;
    Ok(Answer { response, event: message.chaincode_event })
}

fn describe(status: &tonic::Status) -> String {
    format!("{}: {}", status.code(), status.message())
}
