//! The two traits between a contract and the ledger that it runs on.

use std::collections::BTreeMap;

use bytes::Bytes;
use tonic::async_trait;

use crate::fabric::names::{ChannelName, TxId};

/// What a contract answers: a status (200 is success, 400 and above refuse endorsement), a message, a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 for success, 500 for failure.
    pub status: i32,
    /// Why it failed; empty on success.
    pub message: String,
    /// The result.
    pub payload: Bytes,
}

impl Response {
    /// Success with `payload`.
    pub fn success(payload: impl Into<Bytes>) -> Self {
        Self { status: 200, message: String::new(), payload: payload.into() }
    }

    /// Failure with `message`.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { status: 500, message: message.into(), payload: Bytes::new() }
    }
}

/// A chaincode: code that every endorser runs on its own copy of the state.
#[async_trait]
pub trait Contract: Send + Sync + 'static {
    /// Called by a transaction that is marked as initialization. Most contracts need none and refuse nothing.
    async fn init(&self, stub: &mut dyn Stub) -> Response {
        self.invoke(stub).await
    }

    /// Called by every other transaction. The first argument names the function.
    async fn invoke(&self, stub: &mut dyn Stub) -> Response;
}

/// Why the ledger did not answer a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The peer refused the request; its words.
    #[error("peer refused: {0}")]
    Refused(String),
    /// A composite key's part holds U+0000 or U+10FFFF, which separate its parts, or the key is empty.
    #[error("not a valid key: {0}")]
    InvalidKey(String),
    /// The ledger that the contract runs on has no such thing.
    #[error("{0} are not supported by this ledger")]
    Unsupported(&'static str),
    /// The connection to the peer is gone, and with it the transaction.
    #[error("connection to the peer was lost")]
    Disconnected,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key (for a composite key in its encoded form: see [`composite`](super::composite)).
    pub key: String,
    /// Its value.
    pub value: Bytes,
}

/// Some results of a paged query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The results, in the order of their keys.
    pub entries: Vec<KeyValue>,
    /// Where the next page begins; empty at the end.
    pub bookmark: String,
}

/// A value that a key had.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyModification {
    /// The transaction that wrote it, as its ID is written.
    pub tx_id: String,
    /// The value, or nothing where the key was deleted.
    pub value: Option<Bytes>,
    /// When that transaction was proposed.
    pub timestamp: Option<prost_types::Timestamp>,
}

const COLLECTIONS: StubError = StubError::Unsupported("collections");
const POLICIES: StubError = StubError::Unsupported("policies of single keys");
const HISTORIES: StubError = StubError::Unsupported("histories of keys");

/// What a contract sees of the ledger, for one transaction.
///
/// Reads see the committed state, not the transaction's own writes, as Fabric has it. The asynchronous calls may cost a
/// round trip to the peer.
#[async_trait]
pub trait Stub: Send {
    /// The transaction.
    fn tx_id(&self) -> &TxId;

    /// The channel that the transaction is on.
    fn channel(&self) -> &ChannelName;

    /// The arguments, the function's name first.
    fn args(&self) -> &[Bytes];

    /// The encoded `msp.SerializedIdentity` of who proposed the transaction.
    fn creator(&self) -> &Bytes;

    /// When the transaction was proposed, by the proposer's clock: the same for all endorsers.
    fn timestamp(&self) -> prost_types::Timestamp;

    /// Data that goes to the endorsers and not to the ledger.
    fn transient(&self) -> &BTreeMap<String, Bytes>;

    /// The value of `key`, or `None` where there is none.
    async fn get_state(&mut self, key: &str) -> Result<Option<Bytes>, StubError>;

    /// Sets `key` to `value` when the transaction commits.
    async fn put_state(&mut self, key: &str, value: Bytes) -> Result<(), StubError>;

    /// Removes `key` when the transaction commits.
    async fn del_state(&mut self, key: &str) -> Result<(), StubError>;

    /// All entries from `start` (included) to `end` (excluded), in the order of their keys; empty texts are the two
    /// ends of the simple keys. Composite keys are never among them. The read set guards it against phantoms.
    async fn get_state_by_range(&mut self, start: &str, end: &str) -> Result<Vec<KeyValue>, StubError>;

    /// At most `page_size` entries of a range, from `bookmark` on (empty: from the start).
    async fn get_state_by_range_paged(
        &mut self,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<Page, StubError>;

    /// All entries whose composite key begins with `object_type` and `attributes`.
    async fn get_state_by_partial_composite_key(
        &mut self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Vec<KeyValue>, StubError>;

    /// Sets the transaction's one event; the last call counts. The name must not be empty.
    fn set_event(&mut self, name: &str, payload: Bytes) -> Result<(), StubError>;

    /// Calls another chaincode in the same transaction. On the same channel (`None`, or its name) its writes become part
    /// of this transaction; on another channel it only reads.
    async fn invoke_chaincode(
        &mut self,
        chaincode: &str,
        args: &[Bytes],
        channel: Option<&ChannelName>,
    ) -> Result<Response, StubError>;

    /// The values that `key` had, the newest first. They are no part of what was read: transactions may change the key
    /// before this one commits.
    async fn get_history_for_key(&mut self, _key: &str) -> Result<Vec<KeyModification>, StubError> {
        Err(HISTORIES)
    }

    /// The policy of `key` alone: an encoded `common.SignaturePolicyEnvelope`, empty where it has none.
    async fn get_state_validation_parameter(&mut self, _key: &str) -> Result<Bytes, StubError> {
        Err(POLICIES)
    }

    /// Sets the policy of `key` alone, which from then on decides who must endorse its changes; empty: none. A key that
    /// is not there when the transaction commits gets none.
    async fn set_state_validation_parameter(&mut self, _key: &str, _policy: Bytes) -> Result<(), StubError> {
        Err(POLICIES)
    }

    /// The value of a key of a collection, or `None` where there is none. Peers that hold the collection know it only.
    async fn get_private_data(&mut self, _collection: &str, _key: &str) -> Result<Option<Bytes>, StubError> {
        Err(COLLECTIONS)
    }

    /// The hash of a value of a collection, which every peer of the channel knows.
    async fn get_private_data_hash(&mut self, _collection: &str, _key: &str) -> Result<Option<Bytes>, StubError> {
        Err(COLLECTIONS)
    }

    /// Sets a key of a collection when the transaction commits. What is secret should come by [`Stub::transient`]: the
    /// arguments are in the ledger.
    async fn put_private_data(&mut self, _collection: &str, _key: &str, _value: Bytes) -> Result<(), StubError> {
        Err(COLLECTIONS)
    }

    /// Removes a key of a collection when the transaction commits.
    async fn del_private_data(&mut self, _collection: &str, _key: &str) -> Result<(), StubError> {
        Err(COLLECTIONS)
    }

    /// Removes a key of a collection when the transaction commits, with all that peers know of what it held. Takes the
    /// application capability `V2_5`.
    async fn purge_private_data(&mut self, _collection: &str, _key: &str) -> Result<(), StubError> {
        Err(COLLECTIONS)
    }

    /// All entries of a collection from `start` (included) to `end` (excluded), as
    /// [`get_state_by_range`](Stub::get_state_by_range) has it. Only a transaction that writes nothing may ask.
    async fn get_private_data_by_range(
        &mut self,
        _collection: &str,
        _start: &str,
        _end: &str,
    ) -> Result<Vec<KeyValue>, StubError> {
        Err(COLLECTIONS)
    }

    /// As [`get_state_validation_parameter`](Stub::get_state_validation_parameter), of a key of a collection.
    async fn get_private_data_validation_parameter(
        &mut self,
        _collection: &str,
        _key: &str,
    ) -> Result<Bytes, StubError> {
        Err(COLLECTIONS)
    }

    /// As [`set_state_validation_parameter`](Stub::set_state_validation_parameter), of a key of a collection.
    async fn set_private_data_validation_parameter(
        &mut self,
        _collection: &str,
        _key: &str,
        _policy: Bytes,
    ) -> Result<(), StubError> {
        Err(COLLECTIONS)
    }
}
