//! The network as its user holds it: started, described, disturbed, stopped.
//!
//! A module of its own because it is the only public face of the embedded network beside the wire.

mod channels;
mod control;
mod describe;
mod follow;
mod made;
mod neighbours;
mod node;
mod plan;
mod start;

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

pub use self::control::{ControlError, NodeState, Order, control};
use self::node::Node;
pub use self::plan::Builder;
use super::error::DevnetError;
use super::faults::Faults;
use super::genesis::Member;
use super::orderer::Chains;
use super::peer::{Contracts, Hosts};
use crate::chaincode::Contract;
use crate::fabric::config::BatchLimits;
use crate::fabric::names::{ChaincodeName, ChannelName, MspId};
use crate::runtime::{WorkerError, Workers};

/// An organization of the network and where its files lie.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Organization {
    /// Such as `Org1`.
    pub name: String,
    /// Such as `Org1MSP`.
    pub msp_id: MspId,
    /// Such as `org1.example.com`.
    pub domain: String,
    /// The organization's verifying MSP, as others know it.
    pub msp: PathBuf,
    /// The MSP folder of its administrator.
    pub admin_msp: PathBuf,
    /// The administrator's certificate.
    pub admin_certificate: PathBuf,
    /// The administrator's key.
    pub admin_key: PathBuf,
    /// The TLS certificate that the administrator shows, to an orderer's channel participation service above all.
    pub admin_tls_certificate: PathBuf,
    /// The key of that certificate.
    pub admin_tls_key: PathBuf,
    /// The MSP folder of an ordinary user (a client).
    pub user_msp: PathBuf,
    /// The certificate of its TLS authority.
    pub tls_ca: PathBuf,
    /// Its connection profile, as YAML.
    pub connection_profile: PathBuf,
    /// Its connection profile, as JSON.
    pub connection_profile_json: PathBuf,
    /// A script with the environment in which Fabric's `peer` command acts as its administrator.
    pub environment: PathBuf,
    /// Its peers.
    pub peers: Vec<NodeAddress>,
    /// Its orderers.
    pub orderers: Vec<NodeAddress>,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeAddress {
    /// Such as `peer0.org1`.
    pub name: String,
    /// The name in its certificate, such as `peer0.org1.example.com`.
    pub fqdn: String,
    /// `127.0.0.1:port`.
    pub address: String,
    /// Where an orderer listens for its administrators (channel participation, over mutual TLS).
    pub admin: Option<String>,
}

/// A running network. Dropping it stops all its nodes.
pub struct Devnet {
    folder: PathBuf,
    ops_channel: ChannelName,
    system_channel: Option<ChannelName>,
    channels: RwLock<Vec<ChannelName>>,
    organizations: Vec<Organization>,
    nodes: Arc<[Node]>,
    chains: Arc<Chains>,
    contracts: Arc<Contracts>,
    hosts: Arc<Hosts>,
    origin: Origin,
    workers: Workers,
    /// Held while the network runs, where it is kept.
    _lock: Option<File>,
}

/// What new channels are made of.
struct Origin {
    members: Vec<Member>,
    batch: BatchLimits,
    is_kept: bool,
    /// Whether their orderers agree by BFT.
    bft: bool,
    /// The organizations whose peers join by themselves.
    unjoined: BTreeSet<MspId>,
}

impl std::fmt::Debug for Devnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devnet").field("folder", &self.folder).field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        self.workers.cancel();
    }
}

impl Devnet {
    /// Begins the description of a network that keeps its files in `folder`.
    pub fn builder(folder: impl Into<PathBuf>) -> Builder {
        Builder::new(folder.into())
    }

    /// The folder with the network's files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The channel on which operations are agreed.
    pub fn ops_channel(&self) -> &ChannelName {
        &self.ops_channel
    }

    /// The orderers' system channel, where they have one.
    pub fn system_channel(&self) -> Option<&ChannelName> {
        self.system_channel.as_ref()
    }

    /// The application channels: those that the network was made with, and those of
    /// [`create_channel`](Self::create_channel).
    pub fn channels(&self) -> Vec<ChannelName> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn describe(&self) -> Result<(), DevnetError> {
        describe::write_marker(self, &self.channels())
    }

    /// The organizations whose peers are in the channels from the start.
    pub(in crate::devnet) fn joined_organizations(&self) -> impl Iterator<Item = &Organization> {
        self.organizations.iter().filter(|organization| !self.origin.unjoined.contains(&organization.msp_id))
    }

    /// The organizations.
    pub fn organizations(&self) -> &[Organization] {
        &self.organizations
    }

    /// How many blocks the ordering service has cut on a channel; `None` where there is no such channel.
    pub fn height(&self, channel: &ChannelName) -> Option<u64> {
        use super::deliver::Feed as _;
        self.chains.get(channel.as_str()).map(|chain| chain.blocks().height())
    }

    /// Waits until the ordering service has cut so many blocks on a channel, whether or not a peer has them.
    ///
    /// Cancel safety: nothing is lost.
    pub async fn ordered(&self, channel: &ChannelName, height: u64) {
        use super::deliver::Feed as _;
        let Some(chain) = self.chains.get(channel.as_str()) else { return };
        // An error means that the chain is gone, and with it what there was to wait for.
        let _ = chain.blocks().watch().wait_for(|cut| *cut >= height).await;
    }

    /// From now on, chaincode packages that name `alias` (`host:port`) mean the server at `address`.
    pub fn host(&self, alias: impl Into<String>, address: SocketAddr) {
        self.hosts.insert(alias, address);
    }

    /// Registers a contract that packages of the type `native` may name, if there is none of that name yet.
    pub fn register(&self, name: ChaincodeName, contract: Arc<dyn Contract>) {
        if self.contracts.get(&name).is_none() {
            self.contracts.insert(name, contract);
        }
    }

    /// Waits until every running peer of `channel` has all blocks that there are now.
    ///
    /// Cancel safety: nothing is lost.
    pub async fn settled(&self, channel: &ChannelName) {
        let Some(target) = self.height(channel) else { return };
        for node in self.nodes.iter() {
            let (Some(ledger), Some(workers)) = (node.peer().and_then(|peer| peer.ledger(channel)), node.workers())
            else {
                continue;
            };
            let mut height = ledger.watch();
            tokio::select! {
                // An error means that the ledger is gone, and with it what there was to wait for.
                _ = height.wait_for(|height| *height >= target) => {}
                () = workers.cancelled() => {}
            }
        }
    }

    /// The switches of a node: what is to go wrong with it.
    ///
    /// # Errors
    /// [`DevnetError::NoNode`].
    pub fn faults(&self, name: &str) -> Result<Faults, DevnetError> {
        Ok(self.node(name)?.faults().clone())
    }

    fn node(&self, name: &str) -> Result<&Node, DevnetError> {
        self.nodes.iter().find(|node| node.is_called(name)).ok_or_else(|| DevnetError::NoNode(name.to_owned()))
    }

    /// Stops a node as if it had been killed: its port refuses, its connections and streams break. It keeps what it
    /// knows. One that is stopped already stays so.
    ///
    /// Cancel safety: the node stops in any case.
    ///
    /// # Errors
    /// [`DevnetError::NoNode`].
    pub async fn stop_node(&self, name: &str) -> Result<(), DevnetError> {
        self.node(name)?.stop().await;
        Ok(())
    }

    /// Starts a stopped node again, at its old port. One that runs is left alone.
    ///
    /// Cancel safety: dropped before its end, the node may or may not run.
    ///
    /// # Errors
    /// [`DevnetError`] when there is no such node or its port is taken.
    pub async fn start_node(&self, name: &str) -> Result<(), DevnetError> {
        self.node(name)?.start_again(&self.workers).await
    }

    /// [`stop_node`](Self::stop_node) for a peer.
    ///
    /// # Errors
    /// As there.
    pub async fn stop_peer(&self, name: &str) -> Result<(), DevnetError> {
        self.stop_node(name).await
    }

    /// [`start_node`](Self::start_node) for a peer.
    ///
    /// # Errors
    /// As there.
    pub async fn start_peer(&self, name: &str) -> Result<(), DevnetError> {
        self.start_node(name).await
    }

    /// [`stop_node`](Self::stop_node) for an orderer.
    ///
    /// # Errors
    /// As there.
    pub async fn stop_orderer(&self, name: &str) -> Result<(), DevnetError> {
        self.stop_node(name).await
    }

    /// [`start_node`](Self::start_node) for an orderer.
    ///
    /// # Errors
    /// As there.
    pub async fn start_orderer(&self, name: &str) -> Result<(), DevnetError> {
        self.start_node(name).await
    }

    /// Waits until the network has stopped, by [`shutdown`](Self::shutdown) elsewhere or by a failure.
    ///
    /// Cancel safety: nothing is lost.
    pub async fn stopped(&self) {
        self.workers.cancelled().await;
    }

    /// Stops everything and waits for its end.
    ///
    /// Cancel safety: everything stops in any case.
    ///
    /// # Errors
    /// The first worker that had failed.
    pub async fn shutdown(self) -> Result<(), WorkerError> {
        self.workers.cancel();
        for node in self.nodes.iter() {
            node.stop().await;
        }
        self.workers.finished().await
    }
}
