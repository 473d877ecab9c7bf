//! What a contract sees of the ledger when a peer runs it: each call is a message to the peer and its answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tonic::async_trait;

use super::session::message;
use crate::chaincode::{KeyModification, KeyValue, Page, Response, Stub, StubError, composite};
use crate::fabric::names::{ChannelName, TxId};
use crate::pb::common::{ChannelHeader, Header, SignatureHeader};
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::{
    ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeProposalPayload, ChaincodeSpec, DelState, GetHistoryForKey,
    GetState, GetStateByRange, GetStateMetadata, MetaDataKeys, Proposal, PutState, PutStateMetadata, QueryMetadata,
    QueryResponse, QueryResponseMetadata, QueryStateNext, StateMetadata, StateMetadataResult,
};
use crate::pb::queryresult::Kv;

/// A transaction as the peer hands it over: the arguments, and what the proposal says about who and when.
pub(super) struct Transaction {
    tx_id: TxId,
    channel: ChannelName,
    args: Vec<Bytes>,
    creator: Bytes,
    timestamp: prost_types::Timestamp,
    transient: BTreeMap<String, Bytes>,
}

impl Transaction {
    /// Takes a transaction out of its message, or says why it is none.
    pub(super) fn decode(message: &ChaincodeMessage) -> Result<Self, String> {
        let input: ChaincodeInput = decode(&message.payload, "chaincode input")?;
        let signed = message.proposal.as_ref().ok_or("the transaction has no proposal")?;
        let proposal: Proposal = decode(&signed.proposal_bytes, "proposal")?;
        let header: Header = decode(&proposal.header, "proposal header")?;
        let channel_header: ChannelHeader = decode(&header.channel_header, "channel header")?;
        let signature_header: SignatureHeader = decode(&header.signature_header, "signature header")?;
        let payload: ChaincodeProposalPayload = decode(&proposal.payload, "proposal payload")?;
        Ok(Self {
            tx_id: TxId::parse(&message.txid).map_err(|error| error.to_string())?,
            channel: ChannelName::parse(&message.channel_id).map_err(|error| error.to_string())?,
            args: input.args,
            creator: signature_header.creator,
            timestamp: channel_header.timestamp.unwrap_or_default(),
            transient: payload.transient_map,
        })
    }
}

fn decode<M: Message + Default>(bytes: &Bytes, what: &str) -> Result<M, String> {
    M::decode(bytes.clone()).map_err(|error| format!("{what} cannot be decoded: {error}"))
}

/// The stub of one transaction.
pub(super) struct PeerStub {
    transaction: Transaction,
    key: (String, String),
    outgoing: mpsc::Sender<ChaincodeMessage>,
    inbox: mpsc::Receiver<ChaincodeMessage>,
    /// A call was dropped before its answer came: that answer must not be taken for the next call's.
    unanswered: bool,
    event: Option<(String, Bytes)>,
}

impl PeerStub {
    pub(super) fn new(
        transaction: Transaction,
        key: (String, String),
        outgoing: mpsc::Sender<ChaincodeMessage>,
        inbox: mpsc::Receiver<ChaincodeMessage>,
    ) -> Self {
        Self { transaction, key, outgoing, inbox, unanswered: false, event: None }
    }

    pub(super) fn into_event(self) -> Option<(String, Bytes)> {
        self.event
    }

    /// Sends a request and takes the peer's answer to it.
    async fn ask(&mut self, kind: Type, request: &impl Message) -> Result<Bytes, StubError> {
        if self.unanswered {
            self.inbox.recv().await.ok_or(StubError::Disconnected)?;
            self.unanswered = false;
        }
        let request = message(kind, Bytes::from(request.encode_to_vec()), &self.key);
        // Room first: a call that is dropped while it waits for room has asked nothing.
        let room = self.outgoing.reserve().await.map_err(|_| StubError::Disconnected)?;
        self.unanswered = true;
        room.send(request);
        let answer = self.inbox.recv().await.ok_or(StubError::Disconnected)?;
        self.unanswered = false;
        match Type::try_from(answer.r#type) {
            Ok(Type::Response) => Ok(answer.payload),
            _ => Err(StubError::Refused(String::from_utf8_lossy(&answer.payload).into_owned())),
        }
    }

    async fn query(&mut self, start: &str, end: &str, paging: Option<QueryMetadata>) -> Result<Page, StubError> {
        let request = GetStateByRange {
            start_key: start.to_owned(),
            end_key: end.to_owned(),
            metadata: paging.map(|paging| paging.encode_to_vec().into()).unwrap_or_default(),
            ..Default::default()
        };
        self.entries(&request).await
    }

    async fn entries(&mut self, request: &GetStateByRange) -> Result<Page, StubError> {
        let (results, metadata) = self.results(Type::GetStateByRange, request).await?;
        let metadata: QueryResponseMetadata = read(&metadata)?;
        let entry = |result: Bytes| {
            let Kv { key, value, .. } = read(&result)?;
            Ok(KeyValue { key, value })
        };
        Ok(Page {
            entries: results.into_iter().map(entry).collect::<Result<_, StubError>>()?,
            bookmark: metadata.bookmark,
        })
    }

    /// All results of a query, encoded, and what the peer says beside the first of them.
    async fn results(&mut self, kind: Type, request: &impl Message) -> Result<(Vec<Bytes>, Bytes), StubError> {
        let mut answer: QueryResponse = read(&self.ask(kind, request).await?)?;
        let metadata = std::mem::take(&mut answer.metadata);
        let mut results = Vec::new();
        loop {
            results.extend(answer.results.into_iter().map(|result| result.result_bytes));
            // The peer closes the query itself once it is exhausted.
            if !answer.has_more {
                return Ok((results, metadata));
            }
            answer = read(&self.ask(Type::QueryStateNext, &QueryStateNext { id: answer.id }).await?)?;
        }
    }

    /// The policy of a key alone; an empty `collection` is the public state.
    async fn policy(&mut self, collection: String, key: &str) -> Result<Bytes, StubError> {
        let request = GetStateMetadata { key: not_empty(key)?, collection };
        let metadata: StateMetadataResult = read(&self.ask(Type::GetStateMetadata, &request).await?)?;
        let name = MetaDataKeys::ValidationParameter.as_str_name();
        Ok(metadata
            .entries
            .into_iter()
            .find(|entry| entry.metakey == name)
            .map(|entry| entry.value)
            .unwrap_or_default())
    }

    async fn set_policy(&mut self, collection: String, key: &str, policy: Bytes) -> Result<(), StubError> {
        let metakey = MetaDataKeys::ValidationParameter.as_str_name().to_owned();
        let metadata = Some(StateMetadata { metakey, value: policy });
        let request = PutStateMetadata { key: not_empty(key)?, collection, metadata };
        self.ask(Type::PutStateMetadata, &request).await.map(drop)
    }
}

fn read<M: Message + Default>(bytes: &Bytes) -> Result<M, StubError> {
    M::decode(bytes.clone()).map_err(|error| StubError::Refused(format!("its answer cannot be decoded: {error}")))
}

fn named(collection: &str) -> Result<String, StubError> {
    if collection.is_empty() {
        return Err(StubError::InvalidKey("collection must not be an empty string".to_owned()));
    }
    Ok(collection.to_owned())
}

fn not_empty(key: &str) -> Result<String, StubError> {
    if key.is_empty() {
        return Err(StubError::InvalidKey("it is empty".to_owned()));
    }
    Ok(key.to_owned())
}

#[async_trait]
impl Stub for PeerStub {
    fn tx_id(&self) -> &TxId {
        &self.transaction.tx_id
    }

    fn channel(&self) -> &ChannelName {
        &self.transaction.channel
    }

    fn args(&self) -> &[Bytes] {
        &self.transaction.args
    }

    fn creator(&self) -> &Bytes {
        &self.transaction.creator
    }

    fn timestamp(&self) -> prost_types::Timestamp {
        self.transaction.timestamp
    }

    fn transient(&self) -> &BTreeMap<String, Bytes> {
        &self.transaction.transient
    }

    async fn get_state(&mut self, key: &str) -> Result<Option<Bytes>, StubError> {
        let request = GetState { key: not_empty(key)?, ..Default::default() };
        let value = self.ask(Type::GetState, &request).await?;
        Ok((!value.is_empty()).then_some(value))
    }

    async fn put_state(&mut self, key: &str, value: Bytes) -> Result<(), StubError> {
        let request = PutState { key: not_empty(key)?, value, ..Default::default() };
        self.ask(Type::PutState, &request).await.map(drop)
    }

    async fn del_state(&mut self, key: &str) -> Result<(), StubError> {
        let request = DelState { key: not_empty(key)?, ..Default::default() };
        self.ask(Type::DelState, &request).await.map(drop)
    }

    async fn get_state_by_range(&mut self, start: &str, end: &str) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        Ok(self.query(start, end, None).await?.entries)
    }

    async fn get_state_by_range_paged(
        &mut self,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        if page_size < 1 {
            return Err(StubError::Refused(format!("page size {page_size} is not positive")));
        }
        self.query(start, end, Some(QueryMetadata { page_size, bookmark: bookmark.to_owned() })).await
    }

    async fn get_state_by_partial_composite_key(
        &mut self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::range(object_type, attributes)?;
        Ok(self.query(&start, &end, None).await?.entries)
    }

    fn set_event(&mut self, name: &str, payload: Bytes) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::InvalidKey("an event's name is empty".to_owned()));
        }
        self.event = Some((name.to_owned(), payload));
        Ok(())
    }

    async fn invoke_chaincode(
        &mut self,
        chaincode: &str,
        args: &[Bytes],
        channel: Option<&ChannelName>,
    ) -> Result<Response, StubError> {
        let name = match channel {
            Some(channel) => format!("{chaincode}/{channel}"),
            None => chaincode.to_owned(),
        };
        let request = ChaincodeSpec {
            chaincode_id: Some(ChaincodeId { name, ..Default::default() }),
            input: Some(ChaincodeInput { args: args.to_vec(), ..Default::default() }),
            ..Default::default()
        };
        let answer = match self.ask(Type::InvokeChaincode, &request).await {
            // The call failed, not the ledger: the contract decides what that means.
            Err(StubError::Refused(reason)) => return Ok(Response::failure(reason)),
            answer => answer?,
        };
        let answer: ChaincodeMessage = read(&answer)?;
        if answer.r#type != i32::from(Type::Completed) {
            return Ok(Response::failure(String::from_utf8_lossy(&answer.payload)));
        }
        let crate::pb::protos::Response { status, message, payload } = read(&answer.payload)?;
        Ok(Response { status, message, payload })
    }

    async fn get_history_for_key(&mut self, key: &str) -> Result<Vec<KeyModification>, StubError> {
        let request = GetHistoryForKey { key: not_empty(key)? };
        let found = self.results(Type::GetHistoryForKey, &request).await?.0;
        let modification = |result: Bytes| {
            let found: crate::pb::queryresult::KeyModification = read(&result)?;
            let value = (!found.is_delete).then_some(found.value);
            Ok(KeyModification { tx_id: found.tx_id, value, timestamp: found.timestamp })
        };
        found.into_iter().map(modification).collect()
    }

    async fn get_state_validation_parameter(&mut self, key: &str) -> Result<Bytes, StubError> {
        self.policy(String::new(), key).await
    }

    async fn set_state_validation_parameter(&mut self, key: &str, policy: Bytes) -> Result<(), StubError> {
        self.set_policy(String::new(), key, policy).await
    }

    async fn get_private_data(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let request = GetState { key: not_empty(key)?, collection: named(collection)? };
        let value = self.ask(Type::GetState, &request).await?;
        Ok((!value.is_empty()).then_some(value))
    }

    async fn get_private_data_hash(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let request = GetState { key: not_empty(key)?, collection: named(collection)? };
        let hash = self.ask(Type::GetPrivateDataHash, &request).await?;
        Ok((!hash.is_empty()).then_some(hash))
    }

    async fn put_private_data(&mut self, collection: &str, key: &str, value: Bytes) -> Result<(), StubError> {
        let request = PutState { key: not_empty(key)?, value, collection: named(collection)? };
        self.ask(Type::PutState, &request).await.map(drop)
    }

    async fn del_private_data(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        let request = DelState { key: not_empty(key)?, collection: named(collection)? };
        self.ask(Type::DelState, &request).await.map(drop)
    }

    async fn purge_private_data(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        let request = DelState { key: not_empty(key)?, collection: named(collection)? };
        self.ask(Type::PurgePrivateData, &request).await.map(drop)
    }

    async fn get_private_data_by_range(
        &mut self,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        let request = GetStateByRange {
            start_key: start.to_owned(),
            end_key: end.to_owned(),
            collection: named(collection)?,
            ..Default::default()
        };
        Ok(self.entries(&request).await?.entries)
    }

    async fn get_private_data_validation_parameter(&mut self, collection: &str, key: &str) -> Result<Bytes, StubError> {
        self.policy(named(collection)?, key).await
    }

    async fn set_private_data_validation_parameter(
        &mut self,
        collection: &str,
        key: &str,
        policy: Bytes,
    ) -> Result<(), StubError> {
        self.set_policy(named(collection)?, key, policy).await
    }
}
