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
use super::context::{Answer, Modification, Refused, TransactionContext};
use super::native::{self, NativeStub};
use super::packages::{Installed, Runs};
use super::proposal::{UnpackedProposal, shown};
use super::resolve::Resolved;
use super::shim::{EXECUTE_TIMEOUT, Request};
use crate::chaincode::{KeyValue, Page};
use crate::devnet::ledger::{Results, Simulation, SimulationError, implicit_owner};
use crate::devnet::lifecycle::state;
use crate::fabric::block::Block;
use crate::fabric::identity::Creator;
use crate::fabric::names::{ChannelName, PackageId, TxId};
use crate::pb::protos::{ChaincodeInput, StaticCollectionConfig, collection_config};

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

    /// Whether the chaincode may touch a collection, by its definition and for whoever proposed the transaction.
    fn check_collection(&self, collection: &str, write: bool) -> Result<(), Refused> {
        if self.input.is_init {
            return Err(Refused::new("private data APIs are not allowed in chaincode Init()"));
        }
        let unknown = || {
            let (channel, chaincode) = (&self.channel, &self.chaincode);
            Refused(format!("collection {channel}/{chaincode}/{} could not be found", shown(collection)))
        };
        if let Some(owner) = implicit_owner(collection) {
            let channel = self.peer.channel(&self.channel).ok_or_else(unknown)?;
            let known = channel.access().organizations().iter().any(|(_, msp_id)| msp_id == owner);
            return if known { Ok(()) } else { Err(unknown()) };
        }
        let config = self.collection(collection)?.ok_or_else(unknown)?;
        let members_only = if write { config.member_only_write } else { config.member_only_read };
        let creator =
            Creator::decode(&self.proposal.signature_header.creator).map_err(|error| Refused(error.to_string()))?;
        if members_only && !crate::devnet::ledger::is_member(creator.msp_id.as_str(), &config) {
            let what = if write { "write" } else { "read" };
            return Err(Refused(format!(
                "tx creator does not have {what} access permission on privatedata in chaincodeName:{} \
                 collectionName: {collection}",
                self.chaincode
            )));
        }
        Ok(())
    }

    fn collection(&self, name: &str) -> Result<Option<StaticCollectionConfig>, Refused> {
        let definition =
            super::lifecycle::with_public(self.simulation()?, |public| state::definition(public, &self.chaincode))?;
        let configs = definition.map(|definition| definition.parameters.collections.config).unwrap_or_default();
        Ok(configs.into_iter().find_map(|config| match config.payload {
            Some(collection_config::Payload::StaticCollectionConfig(config)) if config.name == name => Some(config),
            _ => None,
        }))
    }
}

/// The parts of a chaincode's name: `chaincode:version/channel`, of which all but the first may be absent.
fn parse_name(name: &str) -> (&str, Option<&str>) {
    let (name, channel) = match name.split_once('/') {
        Some((name, channel)) => (name, Some(channel).filter(|channel| !channel.is_empty())),
        None => (name, None),
    };
    (name.split_once(':').map_or(name, |(name, _)| name), channel)
}

fn entries(found: Vec<(String, Bytes)>) -> Vec<KeyValue> {
    found.into_iter().map(|(key, value)| KeyValue { key, value }).collect()
}

#[async_trait]
impl TransactionContext for Call {
    fn get(&self, collection: &str, key: &str) -> Result<Option<Bytes>, Refused> {
        let simulation = self.simulation()?;
        if collection.is_empty() {
            return simulation.with(|simulation| simulation.get(&self.chaincode, key));
        }
        self.check_collection(collection, false)?;
        Ok(simulation.with(|simulation| simulation.private_get(&self.chaincode, collection, key))??)
    }

    fn private_hash(&self, collection: &str, key: &str) -> Result<Option<Bytes>, Refused> {
        if self.input.is_init {
            return Err(Refused::new("private data APIs are not allowed in chaincode Init()"));
        }
        self.simulation()?.with(|simulation| simulation.private_hash(&self.chaincode, collection, key))
    }

    fn put(&self, collection: &str, key: &str, value: Bytes) -> Result<(), Refused> {
        let simulation = self.simulation()?;
        if collection.is_empty() {
            return Ok(simulation.with(|simulation| simulation.put(&self.chaincode, key, value))??);
        }
        self.check_collection(collection, true)?;
        Ok(simulation.with(|simulation| simulation.private_put(&self.chaincode, collection, key, value))??)
    }

    fn delete(&self, collection: &str, key: &str) -> Result<(), Refused> {
        let simulation = self.simulation()?;
        if collection.is_empty() {
            return Ok(simulation.with(|simulation| simulation.delete(&self.chaincode, key))??);
        }
        self.check_collection(collection, true)?;
        Ok(simulation.with(|simulation| simulation.private_delete(&self.chaincode, collection, key))??)
    }

    fn range(&self, collection: &str, start: &str, end: &str, limit: usize) -> Result<Vec<KeyValue>, Refused> {
        let simulation = self.simulation()?;
        if collection.is_empty() {
            let found = simulation.with(|simulation| {
                let query = simulation.open_range(&self.chaincode, start, end);
                simulation.next_of_range(query, limit).map(|part| part.entries)
            })??;
            return Ok(entries(found));
        }
        self.check_collection(collection, false)?;
        let mut found =
            simulation.with(|simulation| simulation.private_range(&self.chaincode, collection, start, end))??;
        found.truncate(limit);
        Ok(entries(found))
    }

    fn page(&self, start: &str, end: &str, size: usize) -> Result<Page, Refused> {
        let (found, bookmark) =
            self.simulation()?.with(|simulation| simulation.page_of_range(&self.chaincode, start, end, size))??;
        Ok(Page { entries: entries(found), bookmark })
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
            Some(Simulated::new(other.ledger().simulate()))
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
