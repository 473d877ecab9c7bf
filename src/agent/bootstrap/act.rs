//! Doing what is missing: joining, installing, approving.
//!
//! A module of its own because each step only needs what it names. Peers are served side by side, and what one of them
//! fails at is said and holds up nothing else. Every step looks first, so that doing it twice is doing it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use super::contracts::Contracts;
use super::missing::Step;
use super::text;
use crate::agent::account::{Deed, Hook, Moment};
use crate::agent::daemon::Bells;
use crate::agent::journal::{TaskRecord, now_ms};
use crate::agent::progress::Task;
use crate::client::channels::{ChannelError, Joined};
use crate::client::lifecycle::{Approval, Installation, LifecycleError};
use crate::client::{Client, Peer};
use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::{ChannelName, PackageId};
use crate::fabric::package::Package;
use crate::pb::common::Block;

/// Takes up the task of catching up with a committed proposal, unless it is under way already.
pub(in crate::agent) type CatchUp = Arc<dyn Fn(TaskRecord) + Send + Sync>;

/// Who does it.
pub(super) struct Actor {
    pub(super) client: Client,
    pub(super) ops_channel: ChannelName,
    pub(super) contracts: Contracts,
    pub(super) catch_up: CatchUp,
    pub(super) bells: Arc<Bells>,
    pub(super) hook: Arc<dyn Hook>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Acted {
    /// How many steps were done.
    pub(super) done: usize,
    /// What failed, and what others have under way now, in words.
    pub(super) failed: Vec<String>,
}

impl Acted {
    fn of(results: impl IntoIterator<Item = Result<(), String>>) -> Self {
        let mut acted = Self::default();
        for result in results {
            match result {
                Ok(()) => acted.done += 1,
                Err(error) => acted.failed.push(error),
            }
        }
        acted
    }

    fn and(mut self, other: Self) -> Self {
        self.done += other.done;
        self.failed.extend(other.failed);
        self
    }
}

impl Actor {
    /// Does all steps.
    ///
    /// Cancel safety: what is under way at a node may still take effect; the next look finds it.
    pub(super) async fn act(&self, steps: &[Step]) -> Acted {
        let (joined, installed, deployed) = tokio::join!(self.join(steps), self.install(steps), self.deploy(steps));
        let mut acted = joined.and(installed).and(deployed);
        for step in steps {
            if let Step::CatchUp { channel, chaincode, sequence, proposal } = step {
                let mut record = TaskRecord::queued(Task::CatchUp, proposal.as_str(), now_ms());
                record.channel = Some(channel.to_string());
                record.chaincode = Some(chaincode.to_string());
                record.sequence = Some(*sequence);
                (self.catch_up)(record);
                acted.failed.push(format!("{chaincode} sequence {sequence} on {channel} is being caught up with"));
            }
        }
        acted
    }

    /// Own peers side by side, each in one channel after the other: a peer makes one ledger at a time.
    async fn join(&self, steps: &[Step]) -> Acted {
        let mut blocks: BTreeMap<&ChannelName, OnceCell<Block>> = BTreeMap::new();
        let mut by_peer: BTreeMap<&str, Vec<&ChannelName>> = BTreeMap::new();
        for step in steps {
            if let Step::Join { peer, channel } = step {
                blocks.entry(channel).or_default();
                by_peer.entry(peer).or_default().push(channel);
            }
        }
        let results = join_all(by_peer.into_iter().filter_map(|(name, channels)| {
            let (peer, blocks) = (self.peer(name)?, &blocks);
            Some(async move {
                let mut results = Vec::new();
                for channel in channels {
                    let span = tracing::info_span!("join", peer = peer.name(), %channel);
                    results.push(self.join_one(peer, channel, &blocks[channel]).instrument(span).await);
                }
                results
            })
        }));
        Acted::of(results.await.concat())
    }

    async fn join_one(&self, peer: &Peer, channel: &ChannelName, block: &OnceCell<Block>) -> Result<(), String> {
        let joined = async {
            let block = block.get_or_try_init(|| self.client.genesis_block(channel)).await?;
            self.hook.at_deed(Moment::Before, Deed::Join);
            let joined = self.client.join(peer, block).await?;
            self.hook.at_deed(Moment::After, Deed::Join);
            Ok(joined)
        };
        match joined.await {
            Ok(Joined::New) => tracing::info!(peer = peer.name(), %channel, "peer joined"),
            Ok(Joined::Already) => {}
            Err(error) => return Err(not_joined(peer, channel, &error)),
        }
        Ok(())
    }

    /// One package after the other, each on all peers that lack it: packages can be large.
    async fn install(&self, steps: &[Step]) -> Acted {
        let mut lacking: BTreeMap<&PackageId, Vec<&Peer>> = BTreeMap::new();
        for step in steps {
            if let Step::Install { peer, package } = step
                && let Some(peer) = self.peer(peer)
            {
                lacking.entry(package).or_default().push(peer);
            }
        }
        let mut acted = Acted::default();
        for (id, peers) in lacking {
            let found = match self.copy_of(id, &peers).await {
                Ok(package) => Acted::of(self.install_on_all(peers.into_iter(), &package).await),
                Err(error) => Acted { done: 0, failed: vec![error] },
            };
            acted = acted.and(found);
        }
        acted
    }

    /// The package from an own peer that has it.
    async fn copy_of(&self, id: &PackageId, lacking: &[&Peer]) -> Result<Package, String> {
        let mut reason = String::new();
        for peer in self.client.peers().iter().filter(|peer| !lacking.contains(peer)) {
            match self.client.peer_lifecycle(peer).installed_package(id).await {
                Ok(bytes) => {
                    return Package::read(bytes)
                        .map_err(|error| format!("{id} on {} cannot be read: {}", peer.name(), text::chain(&error)));
                }
                Err(error) => reason = format!(": {}", text::chain(&error)),
            }
        }
        Err(format!("no own peer gives {id} for the others{reason}"))
    }

    async fn install_on_all(&self, peers: impl Iterator<Item = &Peer>, package: &Package) -> Vec<Result<(), String>> {
        let installing = peers.map(|peer| {
            let span = tracing::info_span!("install", peer = peer.name(), package = %package.id());
            self.install_on(peer, package).instrument(span)
        });
        join_all(installing).await
    }

    async fn install_on(&self, peer: &Peer, package: &Package) -> Result<(), String> {
        let id = package.id();
        self.hook.at_deed(Moment::Before, Deed::Install);
        let installed = self.client.peer_lifecycle(peer).ensure_installed(package).await;
        if installed.is_ok() {
            self.hook.at_deed(Moment::After, Deed::Install);
        }
        match installed {
            Ok(Installation::New) => tracing::info!(peer = peer.name(), package = %id, "package installed"),
            Ok(Installation::Already) => {}
            Err(error) => return Err(format!("{id} is not on {}: {}", peer.name(), text::chain(&error))),
        }
        Ok(())
    }

    async fn deploy(&self, steps: &[Step]) -> Acted {
        let definitions = steps.iter().filter_map(|step| match step {
            Step::Deploy { definition } => Some(definition),
            _ => None,
        });
        let deploying = definitions.map(|definition| {
            let span =
                tracing::info_span!("deploy contract", channel = %self.ops_channel, chaincode = %definition.name);
            self.deploy_one(definition).instrument(span)
        });
        let results = join_all(deploying).await;
        if results.iter().any(Result::is_ok) {
            self.bells.servers.notify_one();
        }
        Acted::of(results)
    }

    async fn deploy_one(&self, definition: &ChaincodeDefinition) -> Result<(), String> {
        let (name, sequence) = (definition.name.clone(), definition.sequence);
        let (contracts, contract) = (self.contracts.clone(), name.clone());
        let package = crate::runtime::blocking(move || contracts.package(&contract, sequence)).await;
        let package = package.map_err(|error| text::chain(&error))?;
        let results = self.install_on_all(self.client.peers().iter(), &package).await;
        let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
        // A peer that is down gets it from the others when it is back.
        if failed.len() == self.client.peers().len() {
            return Err(failed.join("; "));
        }
        let lifecycle = self.client.channel(self.ops_channel.clone()).lifecycle();
        self.hook.at_deed(Moment::Before, Deed::Approve);
        let approved = lifecycle.ensure_approved(definition, Some(package.id())).await;
        if approved.is_ok() {
            self.hook.at_deed(Moment::After, Deed::Approve);
        }
        match approved {
            Ok(Approval::Already) => {}
            Ok(_) => {
                tracing::info!(chaincode = %name, sequence, package = %package.id(), "contract of OpsSC deployed");
            }
            Err(error) => return Err(not_approved(definition, &error)),
        }
        Ok(())
    }

    fn peer(&self, name: &str) -> Option<&Peer> {
        self.client.peers().iter().find(|peer| peer.name() == name)
    }
}

fn not_joined(peer: &Peer, channel: &ChannelName, error: &ChannelError) -> String {
    format!("{} is not in {channel}: {}", peer.name(), text::chain(error))
}

fn not_approved(definition: &ChaincodeDefinition, error: &LifecycleError) -> String {
    format!("contract {} sequence {} is not approved: {}", definition.name, definition.sequence, text::chain(error))
}
