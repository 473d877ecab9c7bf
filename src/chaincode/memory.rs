//! A ledger in memory, for the tests of contracts.
//!
//! It does what a peer does with a contract and no more: simulate a transaction against the committed state, record what
//! it read and wrote, then commit it unless what it read has changed. Two transactions simulated one after the other and
//! then committed collide here as they would on a channel.
//!
//! Does not check endorsements or signatures and knows one channel. The embedded network is the place for those.
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
use tonic::async_trait;

use super::{Contract, KeyValue, Page, Response, Stub, StubError, composite};
use crate::fabric::names::{ChannelName, MspId, TxId};
use crate::pb::msp::SerializedIdentity;

/// When a value was written: the number of transactions committed before. `None` is the version of an absent key.
type Version = Option<u64>;

/// A key of the whole ledger: the chaincode whose state it is in, and the key there.
type Place = (String, String);

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
}

/// A transaction as an endorser leaves it: answered, not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// What the contract answered.
    pub response: Response,
    /// The event that it set.
    pub event: Option<Event>,
    set: ReadWriteSet,
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
        Simulated { response, event: stub.event, set: stub.set }
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
            match value {
                Some(value) => self.state.insert(place.clone(), (value.clone(), self.committed)),
                None => self.state.remove(place),
            };
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
        self.set.reads.insert(place, self.ledger.version(&self.chaincode, key));
        Ok(self.ledger.get(&self.chaincode, key).cloned())
    }

    async fn put_state(&mut self, key: &str, value: Bytes) -> Result<(), StubError> {
        let place = self.place(key)?;
        // Fabric takes an empty value for a removal.
        self.set.writes.insert(place, (!value.is_empty()).then_some(value));
        Ok(())
    }

    async fn del_state(&mut self, key: &str) -> Result<(), StubError> {
        let place = self.place(key)?;
        self.set.writes.insert(place, None);
        Ok(())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts its second argument at its first, after it has looked at the key, at the whole range, and called itself.
    struct Scribe;

    #[async_trait]
    impl Contract for Scribe {
        async fn invoke(&self, stub: &mut dyn Stub) -> Response {
            let args: Vec<String> = stub.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
            let done = async {
                match args[0].as_str() {
                    "put" => {
                        stub.get_state(&args[1]).await?;
                        stub.put_state(&args[1], Bytes::from(args[2].clone())).await?;
                    }
                    "count" => {
                        let found = stub.get_state_by_range("", "").await?.len();
                        stub.put_state("count", Bytes::from(found.to_string())).await?;
                    }
                    "page" => {
                        let page = stub.get_state_by_range_paged("", "", 2, &args[1]).await?;
                        return Ok(page.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>().join(",")
                            + "|"
                            + &page.bookmark);
                    }
                    _ => {
                        let rest: Vec<Bytes> = stub.args()[1..].to_vec();
                        stub.set_event("mine", Bytes::new())?;
                        return Ok(stub.invoke_chaincode("other", &rest, None).await?.message);
                    }
                }
                Ok::<_, StubError>(String::new())
            }
            .await;
            match done {
                Ok(payload) => Response::success(payload),
                Err(error) => Response::failure(error.to_string()),
            }
        }
    }

    fn ledger() -> (Ledger, MspId) {
        let ledger = Ledger::default().with("one", Arc::new(Scribe)).with("other", Arc::new(Scribe));
        (ledger, MspId::parse("Org1MSP").unwrap())
    }

    #[tokio::test]
    async fn a_changed_value_is_a_conflict() {
        let (mut ledger, org) = ledger();
        let first = ledger.simulate("one", &org, &["put", "a", "1"]).await;
        let second = ledger.simulate("one", &org, &["put", "a", "2"]).await;
        assert_eq!(ledger.commit(&first), Ok(()));
        assert_eq!(ledger.commit(&second), Err(Conflict::Mvcc { chaincode: "one".into(), key: "a".into() }));
        assert_eq!(ledger.get("one", "a"), Some(&Bytes::from("1")));
    }

    #[tokio::test]
    async fn a_new_entry_is_a_phantom() {
        let (mut ledger, org) = ledger();
        let count = ledger.simulate("one", &org, &["count"]).await;
        ledger.put("other", "b", "elsewhere");
        assert_eq!(ledger.commit(&count), Ok(()));
        let count = ledger.simulate("one", &org, &["count"]).await;
        ledger.put("one", "b", "here");
        assert_eq!(ledger.commit(&count), Err(Conflict::Phantom { chaincode: "one".into(), start: "\u{1}".into() }));
    }

    #[tokio::test]
    async fn pages_follow_each_other() {
        let (mut ledger, org) = ledger();
        for key in ["a", "b", "c", "\0composite\0"] {
            ledger.put("one", key, "x");
        }
        let first = ledger.simulate("one", &org, &["page", ""]).await;
        assert_eq!(first.response.payload, "a,b|c");
        let last = ledger.simulate("one", &org, &["page", "c"]).await;
        assert_eq!(last.response.payload, "c|");
    }

    #[tokio::test]
    async fn a_called_chaincode_writes_into_its_own_state_and_emits_nothing() {
        let (mut ledger, org) = ledger();
        let done = ledger.submit("one", &org, &["call", "call", "put", "k", "v"]).await.unwrap();
        assert_eq!(ledger.get("other", "k"), Some(&Bytes::from("v")));
        assert_eq!(ledger.get("one", "k"), None);
        assert_eq!(done.event, Some(Event { name: "mine".into(), payload: Bytes::new() }));
        assert_eq!(done.writes("other").len(), 1);
        let refused = ledger.submit("absent", &org, &["put", "k", "v"]).await;
        assert!(matches!(refused, Err(Conflict::Refused { status: 500, .. })));
    }
}
