//! One call of a chaincode within a transaction: where it leads, and what the chaincode sees of the ledger.
//!
//! A call of another chaincode is a call again. On the same channel both share the simulation; on another channel the
//! called one reads that channel's state, and what it writes is lost, as Fabric has it.
//!
//! Source: Fabric 3.1.5 `core/chaincode/{chaincode_support,handler}.go`.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tonic::async_trait;

use super::Peer;
use super::context::{Answer, Cursor, Modification, Refused, TransactionContext};
use super::native::{self, NativeStub};
use super::packages::{Installed, Runs};
use super::proposal::{UnpackedProposal, shown};
use super::resolve::Resolved;
use super::shim::{EXECUTE_TIMEOUT, Request};
use crate::chaincode::KeyValue;
use crate::devnet::ledger::{Metadata, Results, Simulation, SimulationError, implicit_owner};
use crate::devnet::lifecycle::state;
use crate::fabric::block::Block;
use crate::fabric::names::{ChannelName, PackageId, TxId};
use crate::fabric::policy;
use crate::pb::protos::{ChaincodeInput, StaticCollectionConfig, collection_config, collection_policy_config};

/// The key under which a chaincode that must be initialized notes the version that was.
const INITIALIZED: &str = "\0\u{10FFFF}initialized";

/// A simulation that several chaincodes of one transaction share, until it is finished.
#[derive(Debug, Clone)]
pub(super) struct Simulated(Arc<Mutex<Option<Simulation>>>);

impl Simulated {
    /// `simulation`, to be shared.
    pub(super) fn new(simulation: Simulation) -> Self {
        Self(Arc::new(Mutex::new(Some(simulation))))
    }

    /// Does something with the simulation. Must not call itself.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Simulation) -> T) -> Result<T, Refused> {
        let mut simulation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        simulation.as_mut().map(work).ok_or_else(|| Refused::new("no ledger context"))
    }

    /// Ends it: whoever comes late, such as a chaincode after its time was up, is refused.
    pub(super) fn finish(&self) -> Option<Results> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(Simulation::finish)
    }
}

impl From<SimulationError> for Refused {
    fn from(error: SimulationError) -> Self {
        Self(error.to_string())
    }
}

/// One call of a chaincode.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) peer: Arc<Peer>,
    /// What all of it began with.
    pub(super) proposal: Arc<UnpackedProposal>,
    /// Empty for none.
    pub(super) channel: String,
    pub(super) chaincode: String,
    pub(super) input: ChaincodeInput,
    /// Absent where there is no channel, and for the system chaincodes that need none.
    pub(super) simulation: Option<Simulated>,
    /// The packages whose contracts wait for this call, with their channels.
    pub(super) running: Vec<(String, PackageId)>,
}

impl Call {
    /// Runs the chaincode.
    ///
    /// Cancel safety: dropping the future forgets the call; what the simulation noted stays in it.
    pub(super) async fn run(self) -> Result<Answer, Refused> {
        let resolved =
            self.peer.resolve(&self.channel, &self.chaincode, self.simulation.as_ref()).map_err(|error| {
                error.context(format_args!(
                    "invalid invocation: [channel {}] failed to get chaincode container info for {}",
                    self.channel,
                    shown(&self.chaincode)
                ))
            })?;
        match resolved {
            Resolved::System(chaincode) => Ok(Answer { response: chaincode.invoke(&self), event: None }),
            Resolved::Chaincode { version, init_required, installed } => {
                self.check_init(&version, init_required).map_err(|error| error.context("invalid invocation"))?;
                self.execute(&installed).await
            }
        }
    }

    /// Holds that a chaincode that must be initialized is so exactly once per version, before anything else.
    fn check_init(&self, version: &str, init_required: bool) -> Result<(), Refused> {
        let name = &self.chaincode;
        let simulation = self.simulation()?;
        let mut needed = false;
        if init_required {
            let initialized = simulation.with(|simulation| simulation.get(name, INITIALIZED))?;
            needed = initialized.as_deref() != Some(version.as_bytes());
        }
        match (self.input.is_init, init_required, needed) {
            (true, false, _) => {
                Err(Refused(format!("chaincode '{name}' does not require initialization but called as init")))
            }
            (true, true, false) => {
                Err(Refused(format!("chaincode '{name}' is already initialized but called as init")))
            }
            (true, true, true) => {
                let version = Bytes::from(version.to_owned());
                Ok(simulation.with(|simulation| simulation.put(name, INITIALIZED, version))??)
            }
            (false, _, true) => Err(Refused(format!(
                "chaincode '{name}' has not been initialized for this version, must call as init first"
            ))),
            (false, _, false) => Ok(()),
        }
    }

    fn simulation(&self) -> Result<&Simulated, Refused> {
        self.simulation.as_ref().ok_or_else(|| Refused::new("no ledger context"))
    }

    async fn execute(mut self, installed: &Installed) -> Result<Answer, Refused> {
        let id = installed.package.id().clone();
        let (tx_id, channel) = (self.proposal.tx_id().to_owned(), self.channel.clone());
        let place = (channel.clone(), id.clone());
        if self.running.contains(&place) {
            // One stream has one place for a transaction.
            return Err(Refused(format!("error sending: txid: {tx_id}({channel}) exists")));
        }
        self.running.push(place);
        let launching = |error: Refused| error.context(format_args!("could not launch chaincode {id}"));
        let proposal = Arc::clone(&self.proposal);
        let (input, is_init) = (self.input.clone(), self.input.is_init);
        let peer = Arc::clone(&self.peer);
        match &installed.runs {
            Runs::Service(connection) => {
                let stream = peer.launcher.stream(&id, connection).await.map_err(launching)?;
                let request = Request { channel, tx_id, input, proposal: proposal.signed.clone(), is_init };
                stream.execute(request, Arc::new(self)).await
            }
            Runs::Sources(kind) => Err(launching(Refused(format!(
                "this network does not build chaincode of type '{}', only deployments of it can be tried",
                super::proposal::shown(kind)
            )))),
            Runs::Native(name) => {
                let contract = peer.launcher.contract(name).map_err(launching)?;
                let stub = NativeStub {
                    tx_id: TxId::parse(tx_id).map_err(|error| Refused(error.to_string()))?,
                    channel: ChannelName::parse(channel).map_err(|error| Refused(error.to_string()))?,
                    args: input.args,
                    creator: proposal.signature_header.creator.clone(),
                    timestamp: proposal.channel_header.timestamp.unwrap_or_default(),
                    transient: proposal.transient.clone(),
                    context: Arc::new(self),
                    event: None,
                };
                tokio::time::timeout(EXECUTE_TIMEOUT, native::run(&*contract, stub, is_init))
                    .await
                    .map_err(|_| Refused::new("error sending: timeout expired while executing transaction"))?
            }
        }
    }

    /// The definition of a collection, which becomes part of what was read.
    fn collection(&self, name: &str) -> Result<Option<Collection>, Refused> {
        let definition =
            super::lifecycle::with_public(self.simulation()?, |public| state::definition(public, &self.chaincode))?;
        if let Some(owner) = implicit_owner(name) {
            return Ok(Some(Collection::Implicit { owner: owner.to_owned() }));
        }
        let configs = definition.map(|definition| definition.parameters.collections.config).unwrap_or_default();
        Ok(configs.into_iter().find_map(|config| match config.payload {
            Some(collection_config::Payload::StaticCollectionConfig(config)) if config.name == name => {
                Some(Collection::Static(Box::new(config)))
            }
            _ => None,
        }))
    }

    /// Holds that collections are not used while a chaincode is initialized.
    fn check_no_init(&self) -> Result<(), Refused> {
        if self.input.is_init {
            return Err(Refused::new("private data APIs are not allowed in chaincode Init()"));
        }
        Ok(())
    }

    /// Whether the chaincode may touch a collection, by its definition and for whoever proposed the transaction.
    fn check_collection(&self, name: &str, write: bool) -> Result<(), Refused> {
        self.check_no_init()?;
        let unknown = || {
            let (channel, chaincode) = (&self.channel, &self.chaincode);
            Refused(format!("collection {channel}/{chaincode}/{} could not be found", shown(name)))
        };
        let collection = self.collection(name)?.ok_or_else(unknown)?;
        if let Collection::Static(config) = &collection {
            let members_only = if write { config.member_only_write } else { config.member_only_read };
            if members_only && !self.proposer_is_member(config) {
                let what = if write { "write" } else { "read" };
                return Err(Refused(format!(
                    "tx creator does not have {what} access permission on privatedata in chaincodeName:{} \
                     collectionName: {name}",
                    self.chaincode
                )));
            }
        }
        self.check_known(name, Some(&collection))
    }

    /// Holds that the ledger knows a collection: a chaincode's own, or that of an organization of the channel.
    fn check_known(&self, name: &str, collection: Option<&Collection>) -> Result<(), Refused> {
        let known = match collection {
            Some(Collection::Static(_)) => true,
            Some(Collection::Implicit { owner }) => self
                .peer
                .channel(&self.channel)
                .is_some_and(|channel| channel.access().organizations().iter().any(|(_, msp_id)| msp_id == owner)),
            None => false,
        };
        if known {
            return Ok(());
        }
        let name = shown(name);
        Err(Refused(format!(
            "collection [{name}] not defined in the collection config for chaincode [{}]",
            self.chaincode
        )))
    }

    fn proposer_is_member(&self, collection: &StaticCollectionConfig) -> bool {
        let Some(collection_policy_config::Payload::SignaturePolicy(policy)) =
            collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref())
        else {
            return false;
        };
        let Some(channel) = self.peer.channel(&self.channel) else { return false };
        let proposer = channel.access().verify(&self.proposal.signed_data());
        proposer.is_ok_and(|proposer| policy::evaluate(policy, &[proposer]))
    }

    /// Holds that the channel's configuration has one of the capabilities.
    fn check_capability(&self, capabilities: &[&str], missing: &str) -> Result<(), Refused> {
        let channel = self
            .peer
            .channel(&self.channel)
            .ok_or_else(|| Refused(format!("application config does not exist for {}", shown(&self.channel))))?;
        let access = channel.access();
        let known = access.application_capabilities();
        if capabilities.iter().any(|capability| known.contains(*capability)) {
            Ok(())
        } else {
            Err(Refused::new(missing))
        }
    }

    fn check_metadata(&self, collection: &str, write: bool) -> Result<(), Refused> {
        self.check_capability(
            &["V1_3", "V1_4_2", "V2_0", "V2_5"],
            "key level endorsement is not enabled, channel application capability of V1_3 or later is required",
        )?;
        if collection.is_empty() { Ok(()) } else { self.check_collection(collection, write) }
    }

    fn on<T>(&self, work: impl FnOnce(&mut Simulation) -> Result<T, SimulationError>) -> Result<T, Refused> {
        Ok(self.simulation()?.with(work)??)
    }
}

/// A collection as a chaincode may use it.
#[derive(Debug)]
enum Collection {
    Static(Box<StaticCollectionConfig>),
    /// That which an organization has by itself.
    Implicit {
        owner: String,
    },
}

/// The parts of a chaincode's name: `chaincode:version/channel`, of which all but the first may be absent.
fn parse_name(name: &str) -> (&str, Option<&str>) {
    let (name, channel) = match name.split_once('/') {
        Some((name, channel)) => (name, Some(channel).filter(|channel| !channel.is_empty())),
        None => (name, None),
    };
    (name.split_once(':').map_or(name, |(name, _)| name), channel)
}

#[async_trait]
impl TransactionContext for Call {
    fn namespace(&self) -> &str {
        &self.chaincode
    }

    fn get(&self, collection: &str, key: &str) -> Result<Option<Bytes>, Refused> {
        if collection.is_empty() {
            return self.on(|simulation| Ok(simulation.get(&self.chaincode, key)));
        }
        self.check_collection(collection, false)?;
        self.on(|simulation| simulation.private_get(&self.chaincode, collection, key))
    }

    fn get_multiple(&self, collection: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, Refused> {
        if !collection.is_empty() {
            self.check_collection(collection, false)?;
        }
        let name = &self.chaincode;
        self.on(|simulation| {
            let get = |key: &String| match collection {
                "" => simulation.get(name, key),
                collection => simulation.private_get_as_is(name, collection, key),
            };
            Ok(keys.iter().map(get).collect())
        })
    }

    fn private_hash(&self, collection: &str, key: &str) -> Result<Option<Bytes>, Refused> {
        self.check_no_init()?;
        self.check_known(collection, self.collection(collection)?.as_ref())?;
        self.on(|simulation| Ok(simulation.private_hash(&self.chaincode, collection, key)))
    }

    fn metadata(&self, collection: &str, key: &str) -> Result<Vec<(String, Bytes)>, Refused> {
        self.check_metadata(collection, false)?;
        let metadata = self.on(|simulation| {
            Ok(match collection {
                "" => simulation.metadata(&self.chaincode, key),
                collection => simulation.private_metadata(&self.chaincode, collection, key),
            })
        })?;
        Ok(metadata.entries().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn put(&self, collection: &str, key: &str, value: Bytes) -> Result<(), Refused> {
        if collection.is_empty() {
            return self.on(|simulation| simulation.put(&self.chaincode, key, value));
        }
        self.check_collection(collection, true)?;
        self.on(|simulation| simulation.private_put(&self.chaincode, collection, key, value))
    }

    fn put_metadata(&self, collection: &str, key: &str, name: String, value: Bytes) -> Result<(), Refused> {
        self.check_metadata(collection, true)?;
        let metadata = Metadata::new([(name, value)]);
        self.on(|simulation| match collection {
            "" => simulation.put_metadata(&self.chaincode, key, metadata),
            collection => simulation.put_private_metadata(&self.chaincode, collection, key, metadata),
        })
    }

    fn delete(&self, collection: &str, key: &str) -> Result<(), Refused> {
        if collection.is_empty() {
            return self.on(|simulation| simulation.delete(&self.chaincode, key));
        }
        self.check_collection(collection, true)?;
        self.on(|simulation| simulation.private_delete(&self.chaincode, collection, key))
    }

    fn purge(&self, collection: &str, key: &str) -> Result<(), Refused> {
        self.check_capability(
            &["V2_5"],
            "purge private data is not enabled, channel application capability of V2_5 or later is required",
        )?;
        if collection.is_empty() {
            return Err(Refused::new("only applicable for private data"));
        }
        self.check_collection(collection, true)?;
        self.on(|simulation| simulation.private_purge(&self.chaincode, collection, key))
    }

    fn open_range(&self, collection: &str, start: &str, end: &str) -> Result<Cursor, Refused> {
        if collection.is_empty() {
            return self.on(|simulation| Ok(Cursor::Simulated(simulation.open_range(&self.chaincode, start, end))));
        }
        self.check_collection(collection, false)?;
        let found = self.on(|simulation| simulation.private_range(&self.chaincode, collection, start, end))?;
        Ok(Cursor::Found(found.into_iter().map(|(key, value)| KeyValue { key, value }).collect()))
    }

    fn open_page(&self, start: &str, end: &str, size: usize) -> Result<Cursor, Refused> {
        self.on(|simulation| Ok(Cursor::Simulated(simulation.open_page(&self.chaincode, start, end, size)?)))
    }

    fn next(&self, cursor: &mut Cursor) -> Result<Option<KeyValue>, Refused> {
        match cursor {
            Cursor::Found(found) => Ok(found.pop_front()),
            Cursor::Simulated(id) => {
                let next = self.on(|simulation| simulation.next_of_range(*id))?;
                Ok(next.map(|(key, value)| KeyValue { key, value }))
            }
        }
    }

    fn bookmark(&self, cursor: &Cursor) -> Result<String, Refused> {
        match cursor {
            Cursor::Found(found) => Ok(found.front().map(|entry| entry.key.clone()).unwrap_or_default()),
            Cursor::Simulated(id) => self.on(|simulation| Ok(simulation.bookmark(*id))),
        }
    }

    fn rich_query(&self, collection: &str, paged: bool) -> Refused {
        let checked = match collection {
            "" if paged => self.on(Simulation::check_page),
            "" => Ok(()),
            collection => {
                self.check_collection(collection, false).and_then(|()| self.on(Simulation::check_private_range))
            }
        };
        // Fabric's words where the state is kept in LevelDB.
        let unsupported = if paged && collection.is_empty() { "ExecuteQueryWithMetadata" } else { "ExecuteQuery" };
        checked.err().unwrap_or_else(|| Refused(format!("{unsupported} not supported for leveldb")))
    }

    fn history(&self, key: &str) -> Result<Vec<Modification>, Refused> {
        let channel = self.peer.channel(&self.channel).ok_or_else(|| Refused::new("no ledger context"))?;
        let versions = self.simulation()?.with(|simulation| simulation.history(&self.chaincode, key))?;
        let modification = |(version, value): (crate::devnet::ledger::Version, Option<Bytes>)| {
            let block = channel.ledger().block(version.block)?;
            let block = Block::new(common_block(&block)).ok()?;
            let index = usize::try_from(version.transaction).ok()?;
            let transaction = block.transactions().get(index)?;
            let tx_id = transaction.tx_id.as_ref().map(ToString::to_string).unwrap_or_default();
            Some(Modification { tx_id, value, timestamp: transaction.timestamp })
        };
        Ok(versions.into_iter().filter_map(modification).collect())
    }

    async fn invoke(&self, chaincode: &str, input: ChaincodeInput) -> Result<Answer, Refused> {
        let (name, channel) = parse_name(chaincode);
        let channel = channel.unwrap_or(&self.channel);
        if !super::resolve::is_system(name) {
            self.peer.check_acl("peer/ChaincodeToChaincode", channel, &self.proposal)?;
        }
        let simulation = if channel == self.channel {
            self.simulation.clone()
        } else {
            let other = self.peer.channel(channel);
            let other =
                other.ok_or_else(|| Refused(format!("failed to find ledger for channel: {}", shown(channel))))?;
            Some(Simulated::new(other.ledger().simulate().of(self.proposal.tx_id())))
        };
        let call = Self {
            peer: Arc::clone(&self.peer),
            proposal: Arc::clone(&self.proposal),
            channel: channel.to_owned(),
            chaincode: name.to_owned(),
            // A called chaincode is never initialized.
            input: ChaincodeInput { is_init: false, ..input },
            simulation,
            running: self.running.clone(),
        };
        call.run().await.map_err(|error| error.context("execute failed"))
    }
}

fn common_block(block: &Arc<crate::pb::common::Block>) -> crate::pb::common::Block {
    crate::pb::common::Block::clone(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_versions_and_channels() {
        for (text, name, channel) in [
            ("basic", "basic", None),
            ("basic/ops", "basic", Some("ops")),
            ("basic:1.0/ops", "basic", Some("ops")),
            ("basic:1.0", "basic", None),
            ("basic/", "basic", None),
            ("", "", None),
        ] {
            assert_eq!(parse_name(text), (name, channel), "for {text:?}");
        }
    }
}
