//! The stream against a scripted chaincode, over loopback.

use std::collections::BTreeMap;

use super::*;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Response, Status, Streaming, async_trait};

use crate::chaincode::KeyValue;
use crate::client::net::{Endpoint, Pool};
use crate::devnet::peer::context::{Answer, Cursor, Modification, Refused, TransactionContext};
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::chaincode_server::{Chaincode, ChaincodeServer};
use crate::pb::protos::{self, ChaincodeInput, ChaincodeMessage, SignedProposal};
use crate::runtime::Workers;

const ID: &str = "asset_1:0123";

/// One end of a stream, as a script of the chaincode sees it.
struct Script {
    incoming: Streaming<ChaincodeMessage>,
    outgoing: mpsc::Sender<Result<ChaincodeMessage, Status>>,
}

impl Script {
    async fn send(&self, kind: Type, payload: impl Into<Bytes>, tx_id: &str) {
        let message = ChaincodeMessage {
            r#type: kind.into(),
            payload: payload.into(),
            txid: tx_id.to_owned(),
            channel_id: "ops".to_owned(),
            ..ChaincodeMessage::default()
        };
        let _ = self.outgoing.send(Ok(message)).await;
    }

    async fn receive(&mut self) -> ChaincodeMessage {
        self.incoming.message().await.ok().flatten().unwrap_or_default()
    }

    async fn ask(&mut self, kind: Type, request: &impl prost::Message, tx_id: &str) -> (Type, Bytes) {
        self.send(kind, request.encode_to_vec(), tx_id).await;
        let answer = self.receive().await;
        (answer.r#type(), answer.payload)
    }

    async fn register(&mut self, name: &str) {
        let id = protos::ChaincodeId { name: name.to_owned(), ..protos::ChaincodeId::default() };
        self.send(Type::Register, id.encode_to_vec(), "").await;
        if name == ID {
            assert_eq!(self.receive().await.r#type(), Type::Registered);
            assert_eq!(self.receive().await.r#type(), Type::Ready);
        }
    }

    async fn complete(&self, tx_id: &str, payload: &str) {
        let response = protos::Response { status: 200, message: String::new(), payload: payload.to_owned().into() };
        self.send(Type::Completed, response.encode_to_vec(), tx_id).await;
    }
}

type Play = fn(Script) -> BoxFuture<'static, ()>;

struct Scripted {
    play: Play,
    workers: Workers,
}

#[async_trait]
impl Chaincode for Scripted {
    type ConnectStream = ReceiverStream<Result<ChaincodeMessage, Status>>;

    async fn connect(
        &self,
        request: tonic::Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outgoing, messages) = mpsc::channel(16);
        let script = Script { incoming: request.into_inner(), outgoing };
        let play = self.play;
        self.workers.spawn("script", async move {
            play(script).await;
            Ok::<(), Status>(())
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// A state of a few keys, which calls nobody.
#[derive(Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl TransactionContext for Memory {
    fn get(&self, _: &str, key: &str) -> Result<Option<Bytes>, Refused> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    fn private_hash(&self, _: &str, _: &str) -> Result<Option<Bytes>, Refused> {
        Ok(None)
    }

    fn put(&self, _: &str, key: &str, value: Bytes) -> Result<(), Refused> {
        if key.is_empty() {
            return Err(Refused::new("empty key"));
        }
        self.0.lock().unwrap().insert(key.to_owned(), value);
        Ok(())
    }

    fn delete(&self, _: &str, key: &str) -> Result<(), Refused> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }

    fn namespace(&self) -> &'static str {
        "asset"
    }

    fn get_multiple(&self, _: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, Refused> {
        Ok(keys.iter().map(|key| self.0.lock().unwrap().get(key).cloned()).collect())
    }

    fn metadata(&self, _: &str, key: &str) -> Result<Vec<(String, Bytes)>, Refused> {
        Ok(vec![("of".to_owned(), key.to_owned().into())])
    }

    fn put_metadata(&self, _: &str, key: &str, name: String, value: Bytes) -> Result<(), Refused> {
        self.put("", &format!("{key}.{name}"), value)
    }

    fn purge(&self, collection: &str, key: &str) -> Result<(), Refused> {
        self.delete(collection, key)
    }

    fn open_range(&self, _: &str, start: &str, end: &str) -> Result<Cursor, Refused> {
        let state = self.0.lock().unwrap();
        let found = state.range(start.to_owned()..).take_while(|(key, _)| end.is_empty() || key.as_str() < end);
        let found = found.map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() });
        Ok(Cursor::Found(found.collect()))
    }

    fn open_page(&self, start: &str, end: &str, _: usize) -> Result<Cursor, Refused> {
        self.open_range("", start, end)
    }

    fn next(&self, cursor: &mut Cursor) -> Result<Option<KeyValue>, Refused> {
        let Cursor::Found(found) = cursor else { return Err(Refused::new("not opened here")) };
        Ok(found.pop_front())
    }

    fn bookmark(&self, cursor: &Cursor) -> Result<String, Refused> {
        let Cursor::Found(found) = cursor else { return Err(Refused::new("not opened here")) };
        Ok(found.front().map(|entry| entry.key.clone()).unwrap_or_default())
    }

    fn rich_query(&self, _: &str, paged: bool) -> Refused {
        Refused(format!("no query, paged: {paged}"))
    }

    fn history(&self, _: &str) -> Result<Vec<Modification>, Refused> {
        Ok(Vec::new())
    }

    async fn invoke(&self, chaincode: &str, input: ChaincodeInput) -> Result<Answer, Refused> {
        // Yields, as a real call does.
        tokio::task::yield_now().await;
        let payload = Bytes::from(format!("{chaincode} got {} args", input.args.len()));
        Ok(Answer { response: protos::Response { status: 200, message: String::new(), payload }, event: None })
    }
}

/// Serves `play`, and opens the stream to it.
async fn open(play: Play) -> (Result<Arc<ChaincodeStream>, Refused>, Workers) {
    let workers = Workers::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = ChaincodeServer::new(Scripted { play, workers: workers.clone() });
    let server =
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    workers.spawn("server", server);
    let endpoint = Endpoint { address: address.to_string(), tls: None, server_name: None };
    let channel = Pool::new().connection(&endpoint).unwrap().channel();
    (ChaincodeStream::open(channel, ID, &workers).await, workers)
}

fn request(tx_id: &str) -> Request {
    Request {
        channel: "ops".to_owned(),
        tx_id: tx_id.to_owned(),
        input: ChaincodeInput { args: vec!["f".into()], ..ChaincodeInput::default() },
        proposal: SignedProposal::default(),
        is_init: false,
    }
}

fn payload(answer: Result<Answer, Refused>) -> String {
    match answer {
        Ok(answer) => String::from_utf8(answer.response.payload.to_vec()).unwrap(),
        Err(error) => format!("error: {error}"),
    }
}

#[tokio::test]
async fn a_transaction_reads_and_writes() {
    let (stream, _workers) = open(|mut script| {
        Box::pin(async move {
            script.register(ID).await;
            assert_eq!(script.receive().await.r#type(), Type::Transaction);
            let put = protos::PutState { key: "k".into(), value: "v".into(), collection: String::new() };
            assert_eq!(script.ask(Type::PutState, &put, "t").await.0, Type::Response);
            let get = protos::GetState { key: "k".into(), collection: String::new() };
            assert_eq!(script.ask(Type::GetState, &get, "t").await, (Type::Response, "v".into()));
            let bad = protos::PutState::default();
            let (kind, said) = script.ask(Type::PutState, &bad, "t").await;
            assert_eq!((kind, &said[..]), (Type::Error, &b"PUT_STATE failed: transaction ID: t: empty key"[..]));
            script.send(Type::GetState, &b"\xff\xff"[..], "t").await;
            assert_eq!(script.receive().await.r#type(), Type::Error, "rubbish gets an answer");
            let (kind, said) = script.ask(Type::GetState, &get, "another").await;
            let expected = "GET_STATE failed: transaction ID: another: no ledger context";
            assert_eq!((kind, said), (Type::Error, expected.into()));
            let spec = protos::ChaincodeSpec {
                chaincode_id: Some(protos::ChaincodeId { name: "other/chan".into(), ..Default::default() }),
                input: Some(ChaincodeInput { args: vec!["a".into(), "b".into()], ..Default::default() }),
                ..Default::default()
            };
            let (kind, inside) = script.ask(Type::InvokeChaincode, &spec, "t").await;
            assert_eq!(kind, Type::Response);
            let inside = ChaincodeMessage::decode(inside).unwrap();
            let called = protos::Response::decode(inside.payload.clone()).unwrap();
            assert_eq!((inside.r#type(), called.payload), (Type::Completed, "other/chan got 2 args".into()));
            script.send(Type::Keepalive, "", "").await;
            script.complete("t", "done").await;
        })
    })
    .await;
    let (stream, memory) = (stream.unwrap(), Arc::new(Memory::default()));
    assert_eq!(payload(stream.execute(request("t"), memory.clone()).await), "done");
    assert_eq!(memory.0.lock().unwrap()["k"], "v");
}

#[tokio::test]
async fn ranges_come_in_batches_and_pages() {
    let (stream, _workers) = open(|mut script| {
        Box::pin(async move {
            script.register(ID).await;
            script.receive().await;
            let mut range = protos::GetStateByRange::default();
            let first = script.ask(Type::GetStateByRange, &range, "t").await.1;
            let first = protos::QueryResponse::decode(first).unwrap();
            assert_eq!((first.results.len(), first.has_more), (100, true));
            let next = protos::QueryStateNext { id: first.id.clone() };
            let second = script.ask(Type::QueryStateNext, &next, "t").await.1;
            let second = protos::QueryResponse::decode(second).unwrap();
            assert_eq!((second.results.len(), second.has_more), (50, false));
            let (kind, _) = script.ask(Type::QueryStateNext, &next, "t").await;
            assert_eq!(kind, Type::Error, "it is at its end");
            let close = protos::QueryStateClose { id: first.id };
            assert_eq!(script.ask(Type::QueryStateClose, &close, "t").await.0, Type::Response);

            let metadata = protos::QueryMetadata { page_size: 149, bookmark: "k001".into() };
            range.metadata = metadata.encode_to_vec().into();
            let page = script.ask(Type::GetStateByRange, &range, "t").await.1;
            let page = protos::QueryResponse::decode(page).unwrap();
            let said = protos::QueryResponseMetadata::decode(page.metadata).unwrap();
            assert_eq!((page.results.len(), page.has_more), (149, false));
            assert_eq!((said.fetched_records_count, said.bookmark.as_str()), (149, ""));
            script.complete("t", "done").await;
        })
    })
    .await;
    let memory = Memory::default();
    for number in 0..150 {
        memory.put("", &format!("k{number:03}"), Bytes::new()).unwrap();
    }
    assert_eq!(payload(stream.unwrap().execute(request("t"), Arc::new(memory)).await), "done");
}

#[tokio::test]
async fn transactions_run_side_by_side() {
    let (stream, _workers) = open(|mut script| {
        Box::pin(async move {
            script.register(ID).await;
            let (one, two) = (script.receive().await.txid, script.receive().await.txid);
            // The later one is answered first.
            script.complete(&two, &format!("to {two}")).await;
            script.complete(&one, &format!("to {one}")).await;
            // Ends when the other side does.
            script.receive().await;
        })
    })
    .await;
    let stream = stream.unwrap();
    let memory = Arc::new(Memory::default());
    let again = async {
        tokio::task::yield_now().await;
        stream.execute(request("a"), memory.clone()).await
    };
    let (a, b, again) =
        tokio::join!(stream.execute(request("a"), memory.clone()), stream.execute(request("b"), memory.clone()), again);
    assert_eq!((payload(a), payload(b)), ("to a".to_owned(), "to b".to_owned()));
    assert_eq!(payload(again), "error: error sending: txid: a(ops) exists");
}

#[tokio::test]
async fn the_end_of_the_stream_ends_its_transactions() {
    let (stream, _workers) = open(|mut script| {
        Box::pin(async move {
            script.register(ID).await;
            script.receive().await;
        })
    })
    .await;
    let stream = stream.unwrap();
    let ended = stream.execute(request("t"), Arc::new(Memory::default())).await;
    assert_eq!(payload(ended), "error: error sending: chaincode stream terminated");
    assert!(stream.is_ended());
    let later = stream.execute(request("u"), Arc::new(Memory::default())).await;
    assert_eq!(payload(later), "error: error sending: chaincode stream terminated");
}

#[tokio::test]
async fn a_chaincode_that_does_not_answer_times_out() {
    let (stream, _workers) = open(|mut script| {
        Box::pin(async move {
            script.register(ID).await;
            script.receive().await;
            script.receive().await;
        })
    })
    .await;
    let stream = stream.unwrap();
    tokio::time::pause();
    let late = stream.execute(request("t"), Arc::new(Memory::default())).await;
    assert_eq!(payload(late), "error: error sending: timeout expired while executing transaction");
}

#[tokio::test]
async fn who_registers_wrongly_is_refused() {
    let check = async |play: Play, expected: &str| {
        let refused = open(play).await.0.unwrap_err().to_string();
        assert_eq!(refused, expected);
    };
    check(
        |mut script| Box::pin(async move { script.register("other:1").await }),
        "chaincode registered as other:1 instead of asset_1:0123",
    )
    .await;
    check(
        |mut script| Box::pin(async move { script.register("").await }),
        "error in handling register chaincode, chaincodeID name is empty",
    )
    .await;
    check(
        |script| Box::pin(async move { script.send(Type::GetState, "", "t").await }),
        "[] Fabric side handler cannot handle message (GET_STATE) while in created state",
    )
    .await;
    check(|_| Box::pin(async {}), "chaincode closed the stream before it registered").await;
}
