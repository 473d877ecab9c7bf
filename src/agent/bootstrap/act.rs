//! Doing what is missing: joining, installing, approving.
//!
//! A module of its own because each step only needs what it names. Peers are served side by side, and what one of them
//! fails at is said and holds up nothing else. Every step looks first, so that doing it twice is doing it once; the
//! journal has it before and after.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use super::contracts::Contracts;
use super::missing::Step;
use super::text;
use super::works::{About, Work, Works};
use crate::agent::daemon::Bells;
use crate::agent::journal::TaskRecord;
use crate::agent::progress::{Step as Doing, Task};
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
    pub(super) works: Works,
}

/// Own peers that join one channel.
struct Joining {
    work: Work,
    block: OnceCell<Block>,
    /// How many peers are still to come, and what failed so far.
    rest: Mutex<(usize, Vec<String>)>,
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
    /// Does all steps. What fails is tried again after `again_in`.
    ///
    /// Cancel safety: what is under way at a node may still take effect; the next look finds it.
    pub(super) async fn act(&self, steps: &[Step], again_in: Duration) -> Acted {
        let (joined, installed, deployed) =
            tokio::join!(self.join(steps, again_in), self.install(steps, again_in), self.deploy(steps, again_in));
        let mut acted = joined.and(installed).and(deployed);
        for step in steps {
            if let Step::CatchUp { channel, chaincode, sequence, proposal } = step {
                let mut record = TaskRecord::queued(Task::CatchUp, proposal.as_str(), self.works.listeners.now_ms());
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
    async fn join(&self, steps: &[Step], again_in: Duration) -> Acted {
        let mut lacking: BTreeMap<&ChannelName, usize> = BTreeMap::new();
        let mut by_peer: BTreeMap<&str, Vec<&ChannelName>> = BTreeMap::new();
        for step in steps {
            if let Step::Join { peer, channel } = step
                && self.peer(peer).is_some()
            {
                *lacking.entry(channel).or_default() += 1;
                by_peer.entry(peer).or_default().push(channel);
            }
        }
        let mut acted = Acted::default();
        let mut joining: BTreeMap<&ChannelName, Joining> = BTreeMap::new();
        for (channel, peers) in lacking {
            match self.works.begin(About::join(channel), again_in).await {
                Ok(work) => {
                    let rest = Mutex::new((peers, Vec::new()));
                    joining.insert(channel, Joining { work, block: OnceCell::new(), rest });
                }
                Err(held) => acted.failed.push(held),
            }
        }
        let results = join_all(by_peer.into_iter().filter_map(|(name, channels)| {
            let (peer, joining) = (self.peer(name)?, &joining);
            Some(async move {
                let mut results = Vec::new();
                for channel in channels {
                    let Some(joining) = joining.get(channel) else { continue };
                    let span = tracing::info_span!("join", peer = peer.name(), %channel);
                    results.push(self.join_one(peer, channel, joining).instrument(span).await);
                }
                results
            })
        }));
        acted.and(Acted::of(results.await.concat()))
    }

    async fn join_one(&self, peer: &Peer, channel: &ChannelName, joining: &Joining) -> Result<(), String> {
        let joined = async {
            let block = joining.block.get_or_try_init(|| self.client.genesis_block(channel)).await;
            let joined = match block {
                Ok(block) => self.client.join(peer, block).await,
                Err(error) => Err(error),
            };
            match joined {
                Ok(Joined::New) => {
                    tracing::info!(peer = peer.name(), %channel, "peer joined");
                    Ok(((), String::new()))
                }
                Ok(Joined::Already) => Ok(((), "it was there already".to_owned())),
                Err(error) => Err(not_joined(peer, channel, &error)),
            }
        };
        let joined = joining.work.step(Doing::Join, Some(peer.name()), joined).await;
        let failed = {
            let mut rest = joining.rest.lock().unwrap_or_else(PoisonError::into_inner);
            rest.0 -= 1;
            rest.1.extend(joined.as_ref().err().cloned());
            (rest.0 == 0).then(|| std::mem::take(&mut rest.1))
        };
        if let Some(failed) = failed {
            joining.work.end(&failed).await;
        }
        joined
    }

    /// One package after the other, each on all peers that lack it: packages can be large.
    async fn install(&self, steps: &[Step], again_in: Duration) -> Acted {
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
            let work = match self.works.begin(About::install(id), again_in).await {
                Ok(work) => work,
                Err(held) => {
                    acted.failed.push(held);
                    continue;
                }
            };
            let copying = async {
                let package = self.copy_of(id, &peers).await?;
                let size = format!("{} bytes", package.bytes().len());
                Ok((package, size))
            };
            let found = match work.step(Doing::Copy, None, copying).await {
                Ok(package) => Acted::of(self.install_on_all(&work, peers.into_iter(), &package).await),
                Err(error) => Acted { done: 0, failed: vec![error] },
            };
            work.end(&found.failed).await;
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

    async fn install_on_all(
        &self,
        work: &Work,
        peers: impl Iterator<Item = &Peer>,
        package: &Package,
    ) -> Vec<Result<(), String>> {
        let installing = peers.map(|peer| {
            let span = tracing::info_span!("install", peer = peer.name(), package = %package.id());
            work.step(Doing::Install, Some(peer.name()), self.install_on(peer, package)).instrument(span)
        });
        join_all(installing).await
    }

    async fn install_on(&self, peer: &Peer, package: &Package) -> Result<((), String), String> {
        let id = package.id();
        match self.client.peer_lifecycle(peer).ensure_installed(package).await {
            Ok(Installation::New) => tracing::info!(peer = peer.name(), package = %id, "package installed"),
            Ok(Installation::Already) => {}
            Err(error) => return Err(format!("{id} is not on {}: {}", peer.name(), text::chain(&error))),
        }
        Ok(((), id.to_string()))
    }

    async fn deploy(&self, steps: &[Step], again_in: Duration) -> Acted {
        let definitions = steps.iter().filter_map(|step| match step {
            Step::Deploy { definition } => Some(definition),
            _ => None,
        });
        let deploying = definitions.map(|definition| {
            let span =
                tracing::info_span!("deploy contract", channel = %self.ops_channel, chaincode = %definition.name);
            self.deploy_one(definition, again_in).instrument(span)
        });
        let results = join_all(deploying).await;
        if results.iter().any(Result::is_ok) {
            self.bells.servers.notify_one();
        }
        Acted::of(results)
    }

    async fn deploy_one(&self, definition: &ChaincodeDefinition, again_in: Duration) -> Result<(), String> {
        let about = About::deploy(&self.ops_channel, &definition.name, definition.sequence);
        let work = self.works.begin(about, again_in).await?;
        match self.deploy_by(&work, definition).boxed().await {
            Ok(outcome) => {
                work.done(outcome).await;
                Ok(())
            }
            Err(error) => {
                work.end(std::slice::from_ref(&error)).await;
                Err(error)
            }
        }
    }

    /// How it ended, in a few words.
    async fn deploy_by(&self, work: &Work, definition: &ChaincodeDefinition) -> Result<String, String> {
        let (name, sequence) = (definition.name.clone(), definition.sequence);
        let packaging = async {
            let (contracts, contract) = (self.contracts.clone(), name.clone());
            let package = crate::runtime::blocking(move || contracts.package(&contract, sequence)).await;
            let package = package.map_err(|error| text::chain(&error))?;
            let id = package.id().to_string();
            Ok((package, id))
        };
        let package = work.step(Doing::Package, None, packaging).await?;
        let results = self.install_on_all(work, self.client.peers().iter(), &package).await;
        let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
        // A peer that is down gets it from the others when it is back.
        if failed.len() == self.client.peers().len() {
            return Err(failed.join("; "));
        }
        let lifecycle = self.client.channel(self.ops_channel.clone()).lifecycle();
        let approving = async {
            match lifecycle.ensure_approved(definition, Some(package.id())).await {
                Ok(Approval::Already) => Ok(((), "it was approved already".to_owned())),
                Ok(_) => {
                    tracing::info!(chaincode = %name, sequence, package = %package.id(), "contract of OpsSC deployed");
                    Ok(((), String::new()))
                }
                Err(error) => Err(not_approved(definition, &error)),
            }
        };
        work.step(Doing::Approve, None, approving.boxed()).await?;
        Ok(match failed.len() {
            0 => "done".to_owned(),
            1 => "done, but for a peer that gets it later".to_owned(),
            several => format!("done, but for {several} peers that get it later"),
        })
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
