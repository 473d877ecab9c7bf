//! The peer of the tests: dials, registers, sends transactions, and answers requests out of a small state of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::fabric::names::hex;
use crate::pb::common::{ChannelHeader, Header, SignatureHeader};
use crate::pb::protos::chaincode_client::ChaincodeClient;
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::{
    ChaincodeAdditionalParams, ChaincodeEvent, ChaincodeInput, ChaincodeMessage, ChaincodeProposalPayload,
    ChaincodeSpec, DelState, GetState, GetStateByRange, Proposal, PutState, QueryMetadata, QueryResponse,
    QueryResponseMetadata, QueryResultBytes, QueryStateNext, Response, SignedProposal,
};
use crate::pb::queryresult::Kv;

const CHANNEL: &str = "ops-channel";
/// How many results go into one answer, so that a few entries need several.
const BATCH: usize = 2;

pub(super) struct Peer {
    to_chaincode: mpsc::Sender<ChaincodeMessage>,
    from_chaincode: tonic::Streaming<ChaincodeMessage>,
    state: BTreeMap<String, Bytes>,
    /// What is left of a query, by its ID.
    queries: BTreeMap<String, Vec<QueryResultBytes>>,
    transactions: u32,
}

/// How a transaction ended.
pub(super) struct Done {
    pub(super) message: ChaincodeMessage,
}

impl Done {
    pub(super) fn shown(&self) -> String {
        if self.message.r#type() == Type::Error {
            return format!("ERROR {}", String::from_utf8_lossy(&self.message.payload));
        }
        let Response { status, message, payload } = Response::decode(self.message.payload.clone()).unwrap();
        format!("{status} {message}{}", String::from_utf8_lossy(&payload))
    }

    pub(super) fn chaincode_event(&self) -> Option<ChaincodeEvent> {
        self.message.chaincode_event.clone()
    }
}

/// A transaction ID that ends in `number`.
pub(super) fn tx_id(number: &str) -> String {
    format!("{number:0>64}")
}

/// A message of the peer about a transaction.
pub(super) fn answer(kind: Type, tx_id: &str, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload: payload.into(),
        txid: tx_id.to_owned(),
        channel_id: CHANNEL.to_owned(),
        ..Default::default()
    }
}

impl Peer {
    pub(super) async fn dial(uri: &str) -> Self {
        let peer = Self::unregistered(uri).await;
        peer.register().await
    }

    /// A stream on which the chaincode has not been answered yet.
    pub(super) async fn unregistered(uri: &str) -> Self {
        Self::connect(Endpoint::from_shared(uri.to_owned()).unwrap().connect().await.unwrap()).await.unwrap()
    }

    pub(super) async fn connect(connection: Channel) -> Result<Self, tonic::Status> {
        let (to_chaincode, outgoing) = mpsc::channel(64);
        let mut client = ChaincodeClient::new(connection);
        let from_chaincode = client.connect(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { to_chaincode, from_chaincode, state: BTreeMap::new(), queries: BTreeMap::new(), transactions: 0 })
    }

    /// Answers the registration as a peer of Fabric 3.1 does, with its offers.
    pub(super) async fn register(mut self) -> Self {
        assert_eq!(self.receive().await.r#type(), Type::Register);
        self.send(ChaincodeMessage { r#type: Type::Registered.into(), ..Default::default() }).await;
        let offers = ChaincodeAdditionalParams {
            use_write_batch: true,
            max_size_write_batch: 1000,
            use_get_multiple_keys: true,
            max_size_get_multiple_keys: 1000,
        };
        let payload = offers.encode_to_vec().into();
        self.send(ChaincodeMessage { r#type: Type::Ready.into(), payload, ..Default::default() }).await;
        self
    }

    pub(super) async fn send(&mut self, message: ChaincodeMessage) {
        self.to_chaincode.send(message).await.unwrap();
    }

    pub(super) async fn receive(&mut self) -> ChaincodeMessage {
        self.from_chaincode.message().await.unwrap().expect("the stream goes on")
    }

    /// Whether the chaincode has nothing more to say.
    pub(super) async fn is_over(&mut self) -> bool {
        matches!(self.from_chaincode.message().await, Ok(None) | Err(_))
    }

    pub(super) fn transaction(kind: Type, number: &str, args: &[&str]) -> ChaincodeMessage {
        let timestamp = prost_types::Timestamp { seconds: 1_767_225_600, nanos: 5 };
        let header = Header {
            channel_header: ChannelHeader { timestamp: Some(timestamp), ..Default::default() }.encode_to_vec().into(),
            signature_header: SignatureHeader { creator: "creator".into(), nonce: Bytes::new() }.encode_to_vec().into(),
        };
        let payload = ChaincodeProposalPayload {
            transient_map: BTreeMap::from([("secret".to_owned(), Bytes::new())]),
            ..Default::default()
        };
        let proposal = Proposal {
            header: header.encode_to_vec().into(),
            payload: payload.encode_to_vec().into(),
            ..Default::default()
        };
        let args = args.iter().map(|arg| Bytes::from((*arg).to_owned())).collect();
        let input = ChaincodeInput { args, ..Default::default() };
        ChaincodeMessage {
            proposal: Some(SignedProposal { proposal_bytes: proposal.encode_to_vec().into(), signature: Bytes::new() }),
            ..answer(kind, &tx_id(number), input.encode_to_vec())
        }
    }

    pub(super) async fn begin(&mut self, kind: Type, number: &str, args: &[&str]) {
        self.send(Self::transaction(kind, number, args)).await;
    }

    pub(super) async fn receive_done(&mut self) -> Done {
        let message = self.receive().await;
        assert!(matches!(message.r#type(), Type::Completed | Type::Error), "{message:?}");
        Done { message }
    }

    /// Runs a transaction to its end, answering what it asks.
    pub(super) async fn transact(&mut self, kind: Type, args: &[&str]) -> Done {
        self.transactions += 1;
        self.begin(kind, &self.transactions.to_string(), args).await;
        loop {
            let message = self.receive().await;
            if matches!(message.r#type(), Type::Completed | Type::Error) {
                return Done { message };
            }
            let kind = message.r#type();
            let reply = match self.reply(kind, message.payload) {
                Some(payload) => answer(Type::Response, &message.txid, payload),
                None => answer(Type::Error, &message.txid, format!("{} failed", kind.as_str_name()).into_bytes()),
            };
            self.send(reply).await;
        }
    }

    fn reply(&mut self, kind: Type, request: Bytes) -> Option<Vec<u8>> {
        fn read<M: Message + Default>(request: Bytes) -> M {
            M::decode(request).unwrap()
        }
        match kind {
            Type::GetState => {
                let key = read::<GetState>(request).key;
                (key != "forbidden").then(|| self.state.get(&key).map(|value| value.to_vec()).unwrap_or_default())
            }
            Type::PutState => {
                let PutState { key, value, .. } = read(request);
                self.state.insert(key, value);
                Some(Vec::new())
            }
            Type::DelState => {
                self.state.remove(&read::<DelState>(request).key);
                Some(Vec::new())
            }
            Type::GetStateByRange => Some(self.range(&read(request)).encode_to_vec()),
            Type::QueryStateNext => {
                let QueryStateNext { id } = read(request);
                let rest = self.queries.remove(&id)?;
                Some(self.batch(id, rest).encode_to_vec())
            }
            Type::InvokeChaincode => {
                let spec: ChaincodeSpec = read(request);
                let name = spec.chaincode_id?.name;
                let argument = String::from_utf8(spec.input?.args.first()?.to_vec()).ok()?;
                let payload = Bytes::from(format!("{name} got {argument}"));
                let response = Response { status: 200, message: String::new(), payload };
                let completed = answer(Type::Completed, "", response.encode_to_vec());
                (name != "absent").then(|| completed.encode_to_vec())
            }
            other => panic!("the chaincode asked for {other:?}"),
        }
    }

    fn range(&mut self, request: &GetStateByRange) -> QueryResponse {
        let paging = QueryMetadata::decode(request.metadata.clone()).unwrap();
        let start = if paging.bookmark.is_empty() { &request.start_key } else { &paging.bookmark };
        let within = self.state.range(start.clone()..);
        let mut found: Vec<QueryResultBytes> = within
            .take_while(|(key, _)| request.end_key.is_empty() || **key < request.end_key)
            .map(|(key, value)| Kv { namespace: String::new(), key: key.clone(), value: value.clone() })
            .map(|entry| QueryResultBytes { result_bytes: entry.encode_to_vec().into() })
            .collect();
        if paging.page_size == 0 {
            return self.batch(hex(&[1]), found);
        }
        let rest = found.split_off(found.len().min(usize::try_from(paging.page_size).unwrap()));
        let bookmark = rest.first().map(|next| Kv::decode(next.result_bytes.clone()).unwrap().key).unwrap_or_default();
        let fetched_records_count = i32::try_from(found.len()).unwrap();
        let metadata = QueryResponseMetadata { fetched_records_count, bookmark }.encode_to_vec().into();
        QueryResponse { results: found, metadata, ..Default::default() }
    }

    fn batch(&mut self, id: String, mut results: Vec<QueryResultBytes>) -> QueryResponse {
        let rest = results.split_off(results.len().min(BATCH));
        let has_more = !rest.is_empty();
        if has_more {
            self.queries.insert(id.clone(), rest);
        }
        QueryResponse { results, has_more, id, metadata: Bytes::new() }
    }
}
