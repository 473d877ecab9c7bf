//! A peer of the embedded network: endorses, runs chaincodes, delivers blocks, answers discovery.
//!
//! Not here: the ledger behind it ([`ledger`](super::ledger)), the listener before it, and the blocks' way from the
//! orderers to it.
//!
//! Source: Fabric 3.1.5 `core/endorser`, `core/chaincode`, `core/scc`, `core/peer`, `discovery`.

mod acl;
mod call;
mod channel;
mod context;
mod cscc;
mod deliver;
mod discovery;
mod dissemination;
mod endorser;
mod every_key;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod gateway;
mod hosts;
mod interest;
mod launch;
mod lifecycle;
mod native;
mod packages;
mod proposal;
mod qscc;
mod resolve;
mod shim;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use prost::Message as _;

use tokio::sync::watch;
use tonic::service::{Routes, RoutesBuilder};

use self::channel::PeerChannel;
pub(crate) use self::discovery::{Member, Topology};
pub(crate) use self::hosts::Hosts;
use self::launch::Launcher;
pub(crate) use self::native::{Contracts, package as native_package};
use self::packages::Packages;
use super::error::DevnetError;
use super::faults::Faults;
use super::ledger::{Ledger, PrivateStore};
use super::listener::MAX_MESSAGE_BYTES;
use super::storage::Store;
use crate::fabric::identity::{Msp, SigningIdentity};
use crate::fabric::names::{ChannelName, MspId};
use crate::pb::common;
use crate::pb::discovery::discovery_server::DiscoveryServer;
use crate::pb::gateway::gateway_server::GatewayServer;
use crate::pb::protos::endorser_server::EndorserServer;
use crate::runtime::Workers;

/// Why a peer did not join a channel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum JoinError {
    /// The block is not the first one of a channel.
    #[error("cannot create ledger from genesis block: {0}")]
    Genesis(String),
    /// It is in the channel already.
    #[error("cannot create ledger from genesis block: ledger [{0}] already exists with state [ACTIVE]")]
    Joined(ChannelName),
}

/// A peer.
#[derive(Debug)]
pub(crate) struct Peer {
    name: String,
    msp_id: MspId,
    local_msp: Msp,
    signer: Arc<SigningIdentity>,
    private: Arc<PrivateStore>,
    channels: RwLock<BTreeMap<ChannelName, Arc<PeerChannel>>>,
    /// What the peer is in, for those who bring its blocks.
    joined: watch::Sender<Vec<ChannelName>>,
    packages: Packages,
    launcher: Launcher,
    started: std::time::SystemTime,
    store: OnceLock<Store>,
    faults: Faults,
    /// Who else is in the network, since it was first served.
    topology: RwLock<Option<Weak<dyn Topology>>>,
}

impl Peer {
    /// A peer `name` of the organization `msp_id`, in no channel.
    ///
    /// `contracts` are what `native` packages may name, `hosts` where the servers of `ccaas` packages are; streams to
    /// these live among `workers`.
    #[allow(clippy::too_many_arguments, reason = "what a peer is made of")]
    pub(crate) fn new(
        name: impl Into<String>,
        msp_id: MspId,
        local_msp: Msp,
        signer: Arc<SigningIdentity>,
        contracts: Arc<Contracts>,
        hosts: Arc<Hosts>,
        private: Arc<PrivateStore>,
        workers: Workers,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            msp_id,
            local_msp,
            signer,
            private,
            channels: RwLock::default(),
            joined: watch::Sender::new(Vec::new()),
            packages: Packages::default(),
            launcher: Launcher::new(contracts, hosts, workers),
            started: std::time::SystemTime::now(),
            store: OnceLock::new(),
            faults: Faults::default(),
            topology: RwLock::default(),
        })
    }

    /// Its name, such as `peer0.org1.example.com`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with it on purpose, its clock for one.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Its organization.
    pub(crate) fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    /// Joins the channel that begins with `genesis`.
    ///
    /// # Errors
    /// [`JoinError`].
    pub(crate) fn join(&self, genesis: common::Block) -> Result<(), JoinError> {
        let first = genesis.clone();
        let ledger = Ledger::create(genesis, Arc::clone(&self.private), self.msp_id.clone())
            .map_err(|error| JoinError::Genesis(error.to_string()))?;
        let name = ledger.channel().clone();
        let channel = PeerChannel::new(Arc::new(ledger), self.faults.clone());
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if channels.contains_key(&name) {
            return Err(JoinError::Joined(name));
        }
        if let Some(store) = self.store.get() {
            store
                .replace(&format!("channels/{name}.block"), &first.encode_to_vec())
                .map_err(|error| JoinError::Genesis(error.to_string()))?;
        }
        channels.insert(name, Arc::new(channel));
        self.joined.send_replace(channels.keys().cloned().collect());
        Ok(())
    }

    /// Takes up the packages and channels that are kept in `store`, and keeps there what comes.
    ///
    /// # Errors
    /// [`DevnetError`] when something that was kept cannot be used.
    pub(crate) fn restore(&self, store: Store) -> Result<(), DevnetError> {
        let broken = |what: String, reason: String| DevnetError::Kept { what, reason };
        for name in store.names("packages", ".tar.gz")? {
            let file = format!("packages/{name}.tar.gz");
            let Some(content) = store.read(&file)? else { continue };
            self.packages.install(content.into()).map_err(|error| broken(file, error.0))?;
        }
        for name in store.names("channels", ".block")? {
            let file = format!("channels/{name}.block");
            let Some(content) = store.read(&file)? else { continue };
            let block =
                common::Block::decode(content.as_slice()).map_err(|error| broken(file.clone(), error.to_string()))?;
            self.join(block).map_err(|error| broken(file, error.to_string()))?;
        }
        self.packages.keep(store.clone());
        // A peer is restored once, before it serves.
        let _ = self.store.set(store);
        Ok(())
    }

    /// The ledger of a channel that the peer is in.
    pub(crate) fn ledger(&self, channel: &ChannelName) -> Option<Arc<Ledger>> {
        self.channel(channel.as_str()).map(|channel| Arc::clone(channel.ledger()))
    }

    fn channel(&self, name: &str) -> Option<Arc<PeerChannel>> {
        let name = ChannelName::parse(name).ok()?;
        self.channels.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    /// Its neighbours, as long as there are any.
    fn topology(&self) -> Option<Arc<dyn Topology>> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// The channels that the peer is in.
    pub(crate) fn channels(&self) -> Vec<ChannelName> {
        self.joined.borrow().clone()
    }

    /// Tells of every channel that the peer joins.
    pub(crate) fn watch_channels(&self) -> watch::Receiver<Vec<ChannelName>> {
        self.joined.subscribe()
    }

    /// The peer's gRPC services: `Endorser`, `Deliver`, `Gateway`, `Discovery`. Streams live among `workers`, which are those of
    /// this run of the peer; `topology` knows its neighbours.
    pub(crate) fn services(self: &Arc<Self>, topology: Arc<dyn Topology>, workers: &Workers) -> Routes {
        *self.topology.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(&topology));
        let mut routes = RoutesBuilder::default();
        let endorser = EndorserServer::new(endorser::Endorsing(Arc::clone(self)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let deliver = deliver::Delivering { peer: Arc::clone(self), workers: workers.clone() };
        let deliver = every_key::EveryKey::new(deliver);
        let gateway =
            gateway::Gatekeeper { peer: Arc::clone(self), topology: Arc::clone(&topology), workers: workers.clone() };
        let gateway = GatewayServer::new(gateway)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let discovery = DiscoveryServer::new(discovery::Discovering { peer: Arc::clone(self), topology });
        routes.add_service(endorser).add_service(deliver).add_service(gateway).add_service(discovery);
        routes.routes()
    }
}
