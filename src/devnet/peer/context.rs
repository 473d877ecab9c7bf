//! What one called chaincode sees of its transaction.
//!
//! A module of its own because two things stand on it that know nothing of each other: the contracts that run in this
//! process ([`native`](super::native)) and those behind a stream ([`shim`](super::shim)). What implements it knows the
//! ledger.
//!
//! Nothing here waits but the call of another chaincode: the state is in memory.

use std::collections::VecDeque;

use bytes::Bytes;
use tonic::async_trait;

use crate::chaincode::KeyValue;
use crate::pb::protos::{ChaincodeEvent, ChaincodeInput, Response};

/// Why a peer does not do what was asked; the text is for whoever asked, in Fabric's words where clients know them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

impl Refused {
    /// A refusal with `text`.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same with what was being done before it, as Fabric nests its errors.
    pub(crate) fn context(self, doing: impl std::fmt::Display) -> Self {
        Self(format!("{doing}: {}", self.0))
    }
}

/// How a chaincode answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// Status, message and payload.
    pub(crate) response: Response,
    /// The event it set.
    pub(crate) event: Option<ChaincodeEvent>,
}

/// A value of a key at some time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Modification {
    /// The transaction that wrote it.
    pub(crate) tx_id: String,
    /// The value, or nothing where the key was deleted.
    pub(crate) value: Option<Bytes>,
    /// When the transaction was proposed.
    pub(crate) timestamp: Option<prost_types::Timestamp>,
}

/// A query in progress.
#[derive(Debug)]
pub(crate) enum Cursor {
    /// One that the simulation knows by this number.
    Simulated(u64),
    /// What was found at once.
    Found(VecDeque<KeyValue>),
}

/// What one called chaincode sees of its transaction. An empty `collection` is the public state.
#[async_trait]
pub(crate) trait TransactionContext: Send + Sync + 'static {
    /// Whose state it is: the chaincode's name.
    fn namespace(&self) -> &str;

    /// The value of a key.
    fn get(&self, collection: &str, key: &str) -> Result<Option<Bytes>, Refused>;

    /// The values of several keys.
    fn get_multiple(&self, collection: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, Refused>;

    /// The hash of a value of a collection.
    fn private_hash(&self, collection: &str, key: &str) -> Result<Option<Bytes>, Refused>;

    /// The metadata of a key, by name.
    fn metadata(&self, collection: &str, key: &str) -> Result<Vec<(String, Bytes)>, Refused>;

    /// Writes a key when the transaction commits.
    fn put(&self, collection: &str, key: &str, value: Bytes) -> Result<(), Refused>;

    /// Replaces the metadata of a key by this one entry when the transaction commits.
    fn put_metadata(&self, collection: &str, key: &str, name: String, value: Bytes) -> Result<(), Refused>;

    /// Deletes a key when the transaction commits.
    fn delete(&self, collection: &str, key: &str) -> Result<(), Refused>;

    /// Deletes a key of a collection when the transaction commits, with all that it ever held.
    fn purge(&self, collection: &str, key: &str) -> Result<(), Refused>;

    /// Begins to read the entries from `start` (included) to `end` (excluded; empty: to the last).
    fn open_range(&self, collection: &str, start: &str, end: &str) -> Result<Cursor, Refused>;

    /// Begins to read one page of `size` entries of a range of the public state.
    fn open_page(&self, start: &str, end: &str, size: usize) -> Result<Cursor, Refused>;

    /// The next entry of a query. To be told that there is none is part of what was read.
    fn next(&self, cursor: &mut Cursor) -> Result<Option<KeyValue>, Refused>;

    /// The key with which the next page begins; empty at the end.
    fn bookmark(&self, cursor: &Cursor) -> Result<String, Refused>;

    /// Begins a query in a language of the state's database, which this one has not: says why not.
    fn rich_query(&self, collection: &str, paged: bool) -> Refused;

    /// The values that a key had, the newest first.
    fn history(&self, key: &str) -> Result<Vec<Modification>, Refused>;

    /// Calls another chaincode, named as `chaincode` or `chaincode/channel`.
    async fn invoke(&self, chaincode: &str, input: ChaincodeInput) -> Result<Answer, Refused>;
}
