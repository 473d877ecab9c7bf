//! A ledger in memory, for the tests of contracts.
//!
//! It does what a peer does with a contract and no more: simulate a transaction against the committed state, record what
//! it read and wrote, then commit it unless what it read has changed. Two transactions simulated one after the other and
//! then committed collide here as they would on a channel.
//!
//! Does not check endorsements or signatures and knows one channel. The policies of single keys are kept and judge
//! nothing, and there is a collection as soon as it is written to, which everybody may read. The embedded network is the
//! place for all that.
//!
//! ```
//! # use opssc::chaincode::{asset::AssetContract, memory::Ledger};
//! # use opssc::fabric::names::MspId;
//! # use std::sync::Arc;
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let mut ledger = Ledger::default().with("asset", Arc::new(AssetContract));
//! let org1 = MspId::parse("Org1MSP").unwrap();
//! let created = ledger.submit("asset", &org1, &["CreateAsset", "a1", "blue", "5", "Tomoko", "300"]).await.unwrap();
//! assert_eq!(created.response.status, 200);
//! # });
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::async_trait;

use super::{Contract, KeyModification, KeyValue, Page, Response, Stub, StubError, composite};
use crate::fabric::names::{ChannelName, MspId, TxId};
use crate::pb::msp::SerializedIdentity;

/// When a value was written: the number of transactions committed before. `None` is the version of an absent key.
type Version = Option<u64>;

/// A key of the whole ledger: the chaincode whose state it is in, and the key there. A collection is a state of its own,
/// see [`of_collection`].
type Place = (String, String);

/// The name under which the state of a collection is kept; no chaincode is called so.
fn of_collection(chaincode: &str, collection: &str) -> String {
    format!("{chaincode}\0{collection}")
}

/// Why a transaction did not commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// A value that the transaction read has changed since.
    #[error("MVCC_READ_CONFLICT at key {key:?} of {chaincode}")]
    Mvcc {
        /// The chaincode whose state it is.
        chaincode: String,
        /// The key.
        key: String,
    },
    /// A range that the transaction read has other entries now.
    #[error("PHANTOM_READ_CONFLICT in the range from {start:?} of {chaincode}")]
    Phantom {
        /// The chaincode whose state it is.
        chaincode: String,
        /// Where the range begins.
        start: String,
    },
    /// The contract refused, so there is nothing to commit.
    #[error("the contract answered with status {status}: {message}")]
    Refused {
        /// The status.
        status: i32,
        /// The contract's words.
        message: String,
    },
}

/// How a contract is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// By a transaction that initializes it.
    Init,
    /// By any other.
    Invoke,
}

/// A chaincode event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Bytes,
}

/// A range query and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RangeRead {
    chaincode: String,
    start: String,
    end: String,
    /// False when the contract stopped before the end, as a paged query does: then only what was seen counts.
    exhausted: bool,
    found: Vec<(String, Version)>,
}

/// What a transaction read and wrote. Its reads do not see its writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ReadWriteSet {
    reads: BTreeMap<Place, Version>,
    ranges: Vec<RangeRead>,
    writes: BTreeMap<Place, Option<Bytes>>,
    policies: BTreeMap<Place, Bytes>,
    /// Whether a range of a collection was read: such a transaction writes nothing.
    private_ranges: bool,
}

/// A transaction as an endorser leaves it: answered, not committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// What the contract answered.
    pub response: Response,
    /// The event that it set.
    pub event: Option<Event>,
    set: ReadWriteSet,
    tx_id: TxId,
    timestamp: prost_types::Timestamp,
}

impl Simulated {
    /// The keys that `chaincode` would write, with `None` for a removal.
    pub fn writes(&self, chaincode: &str) -> BTreeMap<&str, Option<&Bytes>> {
        let of = self.set.writes.iter().filter(|((place, _), _)| place == chaincode);
        of.map(|((_, key), value)| (key.as_str(), value.as_ref())).collect()
    }

    /// The keys that were read one by one in the state of `chaincode`.
    pub fn reads(&self, chaincode: &str) -> Vec<&str> {
        self.set.reads.keys().filter(|(place, _)| place == chaincode).map(|(_, key)| key.as_str()).collect()
    }

    /// The ranges (start, end) that were read in the state of `chaincode`.
    pub fn ranges(&self, chaincode: &str) -> Vec<(&str, &str)> {
        let of = self.set.ranges.iter().filter(|range| range.chaincode == chaincode);
        of.map(|range| (range.start.as_str(), range.end.as_str())).collect()
    }
}

/// The committed state of one channel, and the chaincodes on it.
pub struct Ledger {
    channel: ChannelName,
    chaincodes: BTreeMap<String, Arc<dyn Contract>>,
    state: BTreeMap<Place, (Bytes, u64)>,
    policies: BTreeMap<Place, Bytes>,
    histories: BTreeMap<Place, Vec<KeyModification>>,
    committed: u64,
    simulated: u64,
    timestamp: prost_types::Timestamp,
}

impl Default for Ledger {
    /// An empty ledger of the channel `ops-channel`, in the first second of 2026.
    fn default() -> Self {
        Self {
            channel: ChannelName::parse("ops-channel").expect("it is a channel name"),
            chaincodes: BTreeMap::new(),
            state: BTreeMap::new(),
            policies: BTreeMap::new(),
            histories: BTreeMap::new(),
            committed: 0,
            simulated: 0,
            timestamp: prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 },
        }
    }
}

impl Ledger {
    /// The same ledger with `contract` on it as the chaincode `name`.
    #[must_use]
    pub fn with(mut self, name: &str, contract: Arc<dyn Contract>) -> Self {
        self.chaincodes.insert(name.to_owned(), contract);
        self
    }

    /// The time at which transactions are proposed from now on.
    pub fn set_timestamp(&mut self, timestamp: prost_types::Timestamp) {
        self.timestamp = timestamp;
    }

    /// The committed value of `key` in the state of `chaincode`.
    pub fn get(&self, chaincode: &str, key: &str) -> Option<&Bytes> {
        self.state.get(&(chaincode.to_owned(), key.to_owned())).map(|(value, _)| value)
    }

    /// The committed value of `key` in a collection of `chaincode`.
    pub fn get_private(&self, chaincode: &str, collection: &str, key: &str) -> Option<&Bytes> {
        self.get(&of_collection(chaincode, collection), key)
    }

    /// Puts a value into the state as if a transaction had.
    pub fn put(&mut self, chaincode: &str, key: &str, value: impl Into<Bytes>) {
        self.committed += 1;
        self.state.insert((chaincode.to_owned(), key.to_owned()), (value.into(), self.committed));
    }

    /// Lets `chaincode` answer `args` as proposed by a member of `org`; the ledger stays as it is.
    ///
    /// Cancel safety: the ledger is only read, so nothing is lost when the future is dropped.
    pub async fn simulate<A: AsRef<[u8]> + ?Sized>(&mut self, chaincode: &str, org: &MspId, args: &[&A]) -> Simulated {
        let creator = SerializedIdentity { mspid: org.to_string(), id_bytes: Bytes::from_static(b"certificate") };
        let args = args.iter().map(|arg| Bytes::copy_from_slice((*arg).as_ref())).collect();
        self.simulate_as(chaincode, creator.encode_to_vec().into(), args, Call::Invoke).await
    }

    /// The same with any creator (an encoded `msp.SerializedIdentity`, where all is well), and for initialization too.
    ///
    /// Cancel safety: as [`simulate`](Self::simulate).
    pub async fn simulate_as(&mut self, chaincode: &str, creator: Bytes, args: Vec<Bytes>, call: Call) -> Simulated {
        self.simulated += 1;
        let timestamp = self.timestamp;
        let mut stub = MemoryStub {
            ledger: self,
            chaincode: chaincode.to_owned(),
            tx_id: TxId::of(&self.simulated.to_be_bytes(), &creator),
            args,
            creator,
            transient: BTreeMap::new(),
            set: ReadWriteSet::default(),
            event: None,
        };
        let response = stub.run(call).await;
        Simulated { response, event: stub.event, set: stub.set, tx_id: stub.tx_id, timestamp }
    }

    /// Commits a transaction that was simulated on an earlier or the present state.
    ///
    /// # Errors
    /// [`Conflict`] where something that it read has changed since, or the contract had refused; then nothing changes.
    pub fn commit(&mut self, simulated: &Simulated) -> Result<(), Conflict> {
        if simulated.response.status >= 400 {
            let Response { status, message, .. } = simulated.response.clone();
            return Err(Conflict::Refused { status, message });
        }
        for ((chaincode, key), version) in &simulated.set.reads {
            if self.version(chaincode, key) != *version {
                return Err(Conflict::Mvcc { chaincode: chaincode.clone(), key: key.clone() });
            }
        }
        for range in &simulated.set.ranges {
            let now = self.range(&range.chaincode, &range.start, &range.end);
            let limit = if range.exhausted { usize::MAX } else { range.found.len() };
            if !now
                .take(limit)
                .map(|(key, (_, version))| (key, Some(*version)))
                .eq(range.found.iter().map(|(key, version)| (key, *version)))
            {
                return Err(Conflict::Phantom { chaincode: range.chaincode.clone(), start: range.start.clone() });
            }
        }
        self.committed += 1;
        for (place, value) in &simulated.set.writes {
            if let Some(value) = value {
                self.state.insert(place.clone(), (value.clone(), self.committed));
            } else {
                self.state.remove(place);
                self.policies.remove(place);
            }
            let (tx_id, timestamp) = (simulated.tx_id.to_string(), Some(simulated.timestamp));
            let modification = KeyModification { tx_id, value: value.clone(), timestamp };
            self.histories.entry(place.clone()).or_default().push(modification);
        }
        for (place, policy) in &simulated.set.policies {
            // What is not there gets no policy; what is there has changed with it.
            let Some((_, version)) = self.state.get_mut(place) else { continue };
            *version = self.committed;
            self.policies.insert(place.clone(), policy.clone());
        }
        Ok(())
    }

    /// Simulates and commits at once.
    ///
    /// Cancel safety: the ledger changes after the last wait, so dropping the future changes nothing.
    ///
    /// # Errors
    /// [`Conflict::Refused`] where the contract refused.
    pub async fn submit<A: AsRef<[u8]> + ?Sized>(
        &mut self,
        chaincode: &str,
        org: &MspId,
        args: &[&A],
    ) -> Result<Simulated, Conflict> {
        let simulated = self.simulate(chaincode, org, args).await;
        self.commit(&simulated)?;
        Ok(simulated)
    }

    fn version(&self, chaincode: &str, key: &str) -> Version {
        self.state.get(&(chaincode.to_owned(), key.to_owned())).map(|(_, version)| *version)
    }

    fn range<'a>(
        &'a self,
        chaincode: &str,
        start: &str,
        end: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a (Bytes, u64))> + use<'a> {
        let chaincode = chaincode.to_owned();
        let from = (chaincode.clone(), start.to_owned());
        self.state
            .range(from..)
            .take_while(move |((place, key), _)| *place == chaincode && (end.is_empty() || key.as_str() < end))
            .map(|((_, key), value)| (key, value))
    }
}

/// One transaction in one chaincode; the called chaincode gets one of its own that takes the read-write set along.
struct MemoryStub<'a> {
    ledger: &'a Ledger,
    chaincode: String,
    tx_id: TxId,
    args: Vec<Bytes>,
    creator: Bytes,
    transient: BTreeMap<String, Bytes>,
    set: ReadWriteSet,
    event: Option<Event>,
}

impl MemoryStub<'_> {
    async fn run(&mut self, call: Call) -> Response {
        match (self.ledger.chaincodes.get(&self.chaincode), call) {
            (Some(contract), Call::Init) => contract.init(self).await,
            (Some(contract), Call::Invoke) => contract.invoke(self).await,
            (None, _) => Response::failure(format!("chaincode {} not found", self.chaincode)),
        }
    }

    fn place(&self, key: &str) -> Result<Place, StubError> {
        if key.is_empty() {
            return Err(StubError::InvalidKey("it is empty".to_owned()));
        }
        Ok((self.chaincode.clone(), key.to_owned()))
    }

    fn private_place(&self, collection: &str, key: &str) -> Result<Place, StubError> {
        if collection.is_empty() {
            return Err(StubError::Refused("collection must not be an empty string".to_owned()));
        }
        let (_, key) = self.place(key)?;
        Ok((of_collection(&self.chaincode, collection), key))
    }

    fn read(&mut self, place: Place) -> Option<Bytes> {
        let (value, version) = self.ledger.state.get(&place).cloned().unzip();
        self.set.reads.insert(place, version);
        value
    }

    fn write(&mut self, place: Place, value: Option<Bytes>) -> Result<(), StubError> {
        if self.set.private_ranges {
            return Err(StubError::Refused("a transaction that queried a collection may not write".to_owned()));
        }
        // Fabric takes an empty value for a removal.
        self.set.writes.insert(place, value.filter(|value| !value.is_empty()));
        Ok(())
    }

    fn policy(&mut self, place: Place) -> Bytes {
        let policy = self.ledger.policies.get(&place).cloned().unwrap_or_default();
        self.read(place);
        policy
    }

    fn read_range(&mut self, start: &str, end: &str, limit: usize) -> Page {
        let mut rest = self.ledger.range(&self.chaincode, start, end);
        let found: Vec<_> = rest.by_ref().take(limit).collect();
        let next = rest.next().map(|(key, _)| key.clone());
        let page = Page {
            entries: found
                .iter()
                .map(|(key, (value, _))| KeyValue { key: (*key).clone(), value: value.clone() })
                .collect(),
            bookmark: next.clone().unwrap_or_default(),
        };
        self.set.ranges.push(RangeRead {
            chaincode: self.chaincode.clone(),
            start: start.to_owned(),
            end: end.to_owned(),
            exhausted: next.is_none(),
            found: found.into_iter().map(|(key, (_, version))| (key.clone(), Some(*version))).collect(),
        });
        page
    }
}

#[async_trait]
impl Stub for MemoryStub<'_> {
    fn tx_id(&self) -> &TxId {
        &self.tx_id
    }

    fn channel(&self) -> &ChannelName {
        &self.ledger.channel
    }

    fn args(&self) -> &[Bytes] {
        &self.args
    }

    fn creator(&self) -> &Bytes {
        &self.creator
    }

    fn timestamp(&self) -> prost_types::Timestamp {
        self.ledger.timestamp
    }

    fn transient(&self) -> &BTreeMap<String, Bytes> {
        &self.transient
    }

    async fn get_state(&mut self, key: &str) -> Result<Option<Bytes>, StubError> {
        let place = self.place(key)?;
        Ok(self.read(place))
    }

    async fn put_state(&mut self, key: &str, value: Bytes) -> Result<(), StubError> {
        let place = self.place(key)?;
        self.write(place, Some(value))
    }

    async fn del_state(&mut self, key: &str) -> Result<(), StubError> {
        let place = self.place(key)?;
        self.write(place, None)
    }

    async fn get_state_by_range(&mut self, start: &str, end: &str) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        Ok(self.read_range(start, end, usize::MAX).entries)
    }

    async fn get_state_by_range_paged(
        &mut self,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        let not_positive = || StubError::Refused(format!("page size {page_size} is not positive"));
        let limit = usize::try_from(page_size).ok().filter(|limit| *limit > 0).ok_or_else(not_positive)?;
        Ok(self.read_range(if bookmark.is_empty() { start } else { bookmark }, end, limit))
    }

    async fn get_state_by_partial_composite_key(
        &mut self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::range(object_type, attributes)?;
        Ok(self.read_range(&start, &end, usize::MAX).entries)
    }

    fn set_event(&mut self, name: &str, payload: Bytes) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::InvalidKey("an event's name is empty".to_owned()));
        }
        self.event = Some(Event { name: name.to_owned(), payload });
        Ok(())
    }

    async fn invoke_chaincode(
        &mut self,
        chaincode: &str,
        args: &[Bytes],
        channel: Option<&ChannelName>,
    ) -> Result<Response, StubError> {
        if let Some(other) = channel.filter(|channel| **channel != self.ledger.channel) {
            return Err(StubError::Refused(format!("there is no channel {other} here")));
        }
        let mut called = MemoryStub {
            ledger: self.ledger,
            chaincode: chaincode.to_owned(),
            tx_id: self.tx_id.clone(),
            args: args.to_vec(),
            creator: self.creator.clone(),
            transient: self.transient.clone(),
            set: std::mem::take(&mut self.set),
            // The event of a called chaincode goes nowhere.
            event: None,
        };
        let response = called.run(Call::Invoke).await;
        self.set = called.set;
        Ok(response)
    }

    async fn get_history_for_key(&mut self, key: &str) -> Result<Vec<KeyModification>, StubError> {
        let place = self.place(key)?;
        Ok(self.ledger.histories.get(&place).into_iter().flatten().rev().cloned().collect())
    }

    async fn get_state_validation_parameter(&mut self, key: &str) -> Result<Bytes, StubError> {
        let place = self.place(key)?;
        Ok(self.policy(place))
    }

    async fn set_state_validation_parameter(&mut self, key: &str, policy: Bytes) -> Result<(), StubError> {
        let place = self.place(key)?;
        self.set.policies.insert(place, policy);
        Ok(())
    }

    async fn get_private_data(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let place = self.private_place(collection, key)?;
        Ok(self.read(place))
    }

    async fn get_private_data_hash(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let place = self.private_place(collection, key)?;
        Ok(self.read(place).map(|value| Sha256::digest(value).to_vec().into()))
    }

    async fn put_private_data(&mut self, collection: &str, key: &str, value: Bytes) -> Result<(), StubError> {
        let place = self.private_place(collection, key)?;
        self.write(place, Some(value))
    }

    async fn del_private_data(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        let place = self.private_place(collection, key)?;
        self.write(place, None)
    }

    async fn purge_private_data(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.del_private_data(collection, key).await
    }

    async fn get_private_data_by_range(
        &mut self,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<Vec<KeyValue>, StubError> {
        if !self.set.writes.is_empty() || !self.set.policies.is_empty() {
            return Err(StubError::Refused("a transaction that writes may not query a collection".to_owned()));
        }
        self.set.private_ranges = true;
        let (start, end) = composite::simple_range(start, end)?;
        // Collections are not guarded against phantoms.
        let found = self.ledger.range(&of_collection(&self.chaincode, collection), start, end);
        Ok(found.map(|(key, (value, _))| KeyValue { key: key.clone(), value: value.clone() }).collect())
    }

    async fn get_private_data_validation_parameter(&mut self, collection: &str, key: &str) -> Result<Bytes, StubError> {
        let place = self.private_place(collection, key)?;
        Ok(self.policy(place))
    }

    async fn set_private_data_validation_parameter(
        &mut self,
        collection: &str,
        key: &str,
        policy: Bytes,
    ) -> Result<(), StubError> {
        let place = self.private_place(collection, key)?;
        self.set.policies.insert(place, policy);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
