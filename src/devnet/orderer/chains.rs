//! The chains of all channels, which the orderers share.
//!
//! A module of its own because here it is decided when a chain begins and ends, and where its blocks are kept.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use prost::Message as _;
use tokio::sync::watch;

use super::chain::{BlockSigner, Chain};
use super::participation::Refused;
use super::system::{first_block, is_system};
use crate::devnet::access::Access;
use crate::devnet::deliver::Feed as _;
use crate::devnet::error::DevnetError;
use crate::devnet::ledger::BlockStore;
use crate::devnet::storage::{Log, Store};
use crate::fabric::block::{header_hash, last_config};
use crate::fabric::names::ChannelName;
use crate::pb::common::{Block, Envelope};
use crate::runtime::Workers;

/// The chains of all channels.
#[derive(Debug)]
pub(crate) struct Chains {
    by_channel: RwLock<BTreeMap<String, Arc<Chain>>>,
    /// The name of the system channel, where there is one: from the beginning, or never.
    system: OnceLock<String>,
    changed: watch::Sender<()>,
    store: Store,
    workers: Workers,
}

fn log_of(channel: &str) -> String {
    format!("channels/{channel}.blocks")
}

fn members_of(orderer: &str) -> String {
    format!("orderers/{orderer}.json")
}

impl Chains {
    /// No chains yet; they will live among `workers` and be kept in `store`.
    pub(crate) fn new(store: Store, workers: Workers) -> Self {
        let system = OnceLock::new();
        Self { by_channel: RwLock::default(), system, changed: watch::Sender::new(()), store, workers }
    }

    /// The system channel, where there is one: then channels are made on it and nowhere else.
    pub(crate) fn system_channel(&self) -> Option<&str> {
        self.system.get().map(String::as_str)
    }

    /// Where the channels go that are made on this one: nowhere, unless it is the system channel.
    fn of_system(self: &Arc<Self>, access: &Access) -> Option<Weak<Self>> {
        let is_system =
            is_system(access) && self.system.get_or_init(|| access.channel().to_owned()) == access.channel();
        is_system.then(|| Arc::downgrade(self))
    }

    /// The chain of a channel.
    pub(crate) fn get(&self, channel: &str) -> Option<Arc<Chain>> {
        self.by_channel.read().unwrap_or_else(PoisonError::into_inner).get(channel).cloned()
    }

    /// The channels that have a chain.
    pub(crate) fn channels(&self) -> Vec<ChannelName> {
        let chains = self.by_channel.read().unwrap_or_else(PoisonError::into_inner);
        chains.keys().filter_map(|name| ChannelName::parse(name.as_str()).ok()).collect()
    }

    /// Has all chains look again who can sign blocks.
    pub(super) fn stir(&self) {
        for chain in self.by_channel.read().unwrap_or_else(PoisonError::into_inner).values() {
            chain.stir();
        }
    }

    /// Tells of every chain that begins or ends.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The chain that begins with `block`: the one that there is, or a new one.
    pub(super) fn open(self: &Arc<Self>, block: Block, access: Access) -> Result<Arc<Chain>, Refused> {
        let channel = access.channel().to_owned();
        let mut chains = self.by_channel.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(chain) = chains.get(&channel) {
            let known = chain.blocks().get(0);
            let same = known.as_ref().and_then(|known| known.header.as_ref()).map(header_hash)
                == block.header.as_ref().map(header_hash);
            return if same {
                Ok(Arc::clone(chain))
            } else {
                Err(Refused::Other("other orderers have begun the channel with another block".to_owned()))
            };
        }
        let log = self.store.log(&log_of(&channel)).map_err(|error| Refused::Other(error.to_string()))?;
        let log = match log {
            Some((log, _)) => {
                log.append_blocking(&block.encode_to_vec()).map_err(|error| Refused::Other(error.to_string()))?;
                Some(log)
            }
            None => None,
        };
        let system = self.of_system(&access);
        let chain = Chain::start(&channel, BlockStore::new(Arc::new(block)), access, log, system, &self.workers);
        chains.insert(channel, Arc::clone(&chain));
        drop(chains);
        self.changed.send_replace(());
        Ok(chain)
    }

    /// Begins the channel that was made on the system channel, by this envelope. The orderers of the system channel, which
    /// are its `signers`, order it too. One that there is already, as two may have asked for it, stays as it is.
    pub(super) fn make(self: &Arc<Self>, first: &Envelope, signers: Vec<BlockSigner>) -> Result<(), Refused> {
        let block = first_block(first);
        let access = Access::from_block(&block).map_err(|error| Refused::Other(error.to_string()))?;
        if self.get(access.channel()).is_some() {
            return Ok(());
        }
        let chain = self.open(block, access)?;
        for signer in signers {
            chain.add_signer(signer);
        }
        Ok(())
    }

    /// The orderer `name` has left a channel. Without orderers there is no chain.
    pub(super) fn leave(&self, channel: &str, name: &str) {
        let mut chains = self.by_channel.write().unwrap_or_else(PoisonError::into_inner);
        let Some(chain) = chains.get(channel) else { return };
        if chain.remove_signer(name) {
            return;
        }
        chain.end();
        chains.remove(channel);
        drop(chains);
        if let Err(error) = self.store.remove(&log_of(channel)) {
            tracing::warn!(%channel, error = %error, "blocks of a removed channel were left on disk");
        }
        self.changed.send_replace(());
    }

    /// Keeps which channels the orderer `name` is in.
    pub(super) fn note_members(&self, name: &str, channels: &[String]) -> Result<(), Refused> {
        let text = serde_json::to_vec(channels).unwrap_or_default();
        self.store.replace(&members_of(name), &text).map_err(|error| Refused::Other(error.to_string()))
    }

    /// The channels that the orderer `name` was in; `None` where that was not kept.
    pub(crate) fn members(&self, name: &str) -> Result<Option<Vec<String>>, DevnetError> {
        let Some(text) = self.store.read(&members_of(name))? else { return Ok(None) };
        let broken = |error: serde_json::Error| DevnetError::Kept { what: members_of(name), reason: error.to_string() };
        serde_json::from_slice(&text).map(Some).map_err(broken)
    }

    /// Takes up the chains that were kept.
    pub(crate) fn restore(self: &Arc<Self>) -> Result<(), DevnetError> {
        for channel in self.store.names("channels", ".blocks")? {
            let Some((log, records)) = self.store.log(&log_of(&channel))? else { continue };
            if let Some(chain) = self.take_up(&channel, log, records)? {
                self.by_channel.write().unwrap_or_else(PoisonError::into_inner).insert(channel, chain);
            }
        }
        self.changed.send_replace(());
        Ok(())
    }

    fn take_up(
        self: &Arc<Self>,
        channel: &str,
        log: Log,
        records: Vec<bytes::Bytes>,
    ) -> Result<Option<Arc<Chain>>, DevnetError> {
        let broken = |reason: String| DevnetError::Kept { what: log_of(channel), reason };
        let blocks: Result<Vec<_>, _> = records.into_iter().map(|record| Block::decode(record).map(Arc::new)).collect();
        let blocks = blocks.map_err(|error| broken(error.to_string()))?;
        // A crash may have come between the file and its first block.
        let Some(newest) = blocks.last() else { return Ok(None) };
        // Blocks of our own making say it, and a first block is its own.
        let config = last_config(newest).unwrap_or(0);
        let config = usize::try_from(config).ok().and_then(|number| blocks.get(number));
        let config = config.ok_or_else(|| broken("configuration is not there".to_owned()))?;
        let name = ChannelName::parse(channel).map_err(|error| broken(error.to_string()))?;
        let access = Access::from_block(config).map_err(|source| DevnetError::Channel { channel: name, source })?;
        let system = self.of_system(&access);
        Ok(Some(Chain::start(channel, BlockStore::of(blocks), access, Some(log), system, &self.workers)))
    }
}
