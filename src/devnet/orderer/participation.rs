//! One orderer: which channels it has joined, and what it knows of them.
//!
//! A module of its own because joining and leaving is a matter of each orderer, while the chains are shared: the first
//! consenter that joins with a channel's first block starts its chain, the last one that leaves ends it.
//!
//! Source: Fabric 3.1.5 `orderer/common/multichannel/registrar.go`, `orderer/common/channelparticipation/validator.go`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message as _;
use serde::Serialize;

use super::Chains;
use super::chain::{BlockSigner, Chain};
use crate::devnet::access::Access;
use crate::devnet::deliver::Feed as _;
use crate::devnet::error::DevnetError;
use crate::devnet::faults::Faults;
use crate::fabric::block::data_hash;
use crate::fabric::identity::{Certificate, Signer};
use crate::pb::common::{
    Block, ChannelHeader, ConfigEnvelope, ConfigUpdate, ConfigUpdateEnvelope, Envelope, HeaderType, Orderers, Payload,
};
use crate::pb::etcdraft;

/// Why an orderer does not do what its administrator asks. The texts are Fabric's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("channel already exists")]
    Exists,
    #[error("channel does not exist")]
    Unknown,
    #[error("system channel exists")]
    SystemChannel,
    #[error("channel is not ready, he is a follower")]
    NotReady,
    #[error("{0}")]
    Other(String),
}

/// What an orderer is to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Relation {
    Consenter,
    Follower,
    /// None, and the system channel would tell if that changed.
    #[serde(rename = "config-tracker")]
    ConfigTracker,
}

/// How far an orderer is with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Progress {
    Active,
    Inactive,
    Onboarding,
}

/// A channel as an orderer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ChannelStatus {
    pub(crate) name: String,
    pub(crate) url: String,
    #[serde(rename = "consensusRelation")]
    pub(crate) relation: Relation,
    pub(crate) status: Progress,
    pub(crate) height: u64,
}

/// Where the service's resources lie.
pub(super) const CHANNELS: &str = "/participation/v1/channels";

/// One orderer.
#[derive(Debug)]
pub(crate) struct Orderer {
    signer: BlockSigner,
    /// By this certificate the configuration knows its consenters.
    tls_certificate: Certificate,
    chains: Arc<Chains>,
    joined: Mutex<BTreeSet<String>>,
}

impl Orderer {
    /// An orderer that has joined nothing.
    pub(crate) fn new(
        name: impl Into<String>,
        signer: Arc<dyn Signer>,
        tls_certificate: Certificate,
        chains: Arc<Chains>,
    ) -> Self {
        let up = Arc::new(AtomicBool::new(false));
        let signer = BlockSigner { name: name.into(), signer, faults: Faults::default(), up };
        Self { signer, tls_certificate, chains, joined: Mutex::default() }
    }

    /// What is wrong with it on purpose.
    pub(crate) fn faults(&self) -> &Faults {
        &self.signer.faults
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self) -> bool {
        self.signer.up.load(Ordering::Relaxed)
    }

    /// Notes that it has come up, or gone down: blocks are signed by those that are up.
    pub(crate) fn set_up(&self, is_up: bool) {
        self.signer.up.store(is_up, Ordering::Relaxed);
        self.chains.stir();
    }

    /// The chain of a channel that it has joined and is a consenter of. Others it does not serve.
    pub(crate) fn chain(&self, channel: &str) -> Option<Arc<Chain>> {
        if !self.is_in(channel) {
            return None;
        }
        self.chains.get(channel).filter(|chain| self.is_consenter(&chain.access()))
    }

    /// The system channel, where there is one.
    pub(super) fn system_channel(&self) -> Option<&str> {
        self.chains.system_channel()
    }

    /// Whether it is in a channel. Orderers with a system channel are in all that there are.
    fn is_in(&self, channel: &str) -> bool {
        match self.chains.system_channel() {
            Some(_) => self.chains.get(channel).is_some(),
            None => self.joined.lock().unwrap_or_else(PoisonError::into_inner).contains(channel),
        }
    }

    /// The names of the channels that it is in, but for the system channel.
    pub(crate) fn channels(&self) -> Vec<String> {
        match self.chains.system_channel() {
            Some(system) => {
                let names = self.chains.channels().into_iter().map(|name| name.to_string());
                names.filter(|name| name != system).collect()
            }
            None => self.joined.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect(),
        }
    }

    /// What it knows of a channel that it has joined.
    pub(super) fn status(&self, channel: &str) -> Result<ChannelStatus, Refused> {
        if !self.is_in(channel) {
            return Err(Refused::Unknown);
        }
        let chain = self.chains.get(channel);
        let relation = chain.as_ref().map_or(Relation::Follower, |chain| self.relation(&chain.access()));
        Ok(Self::describe(channel, relation, chain.map_or(0, |chain| chain.blocks().height())))
    }

    fn describe(channel: &str, relation: Relation, height: u64) -> ChannelStatus {
        ChannelStatus {
            name: channel.to_owned(),
            url: format!("{CHANNELS}/{channel}"),
            relation,
            status: match (relation, height) {
                (Relation::ConfigTracker, _) => Progress::Inactive,
                (_, 0) => Progress::Onboarding,
                _ => Progress::Active,
            },
            height,
        }
    }

    fn relation(&self, access: &Access) -> Relation {
        match self.chains.system_channel() {
            _ if self.is_consenter(access) => Relation::Consenter,
            Some(_) => Relation::ConfigTracker,
            None => Relation::Follower,
        }
    }

    fn is_consenter(&self, access: &Access) -> bool {
        let own = |pem: &[u8]| Certificate::from_pem(pem).is_ok_and(|it| it.der() == self.tls_certificate.der());
        let raft = etcdraft::ConfigMetadata::decode(access.consensus().metadata.clone());
        let raft = raft.map(|metadata| metadata.consenters).unwrap_or_default();
        let bft = access.group("Orderer").and_then(|group| crate::devnet::access::value::<Orderers>(group, "Orderers"));
        let bft = bft.map(|orderers| orderers.consenter_mapping).unwrap_or_default();
        raft.iter().any(|consenter| own(&consenter.server_tls_cert))
            || bft.iter().any(|consenter| own(&consenter.server_tls_cert))
    }

    /// Begins its life with a system channel: the first of the orderers begins the channel.
    pub(crate) fn bootstrap(&self, block: Block) -> Result<(), Refused> {
        let access = Access::from_block(&block).map_err(|error| Refused::Other(error.to_string()))?;
        self.chains.open(block, access)?.add_signer(self.signer.clone());
        Ok(())
    }

    /// Joins the channel that `block` configures.
    pub(crate) fn join(&self, block: Block) -> Result<ChannelStatus, Refused> {
        if self.chains.system_channel().is_some() {
            return Err(Refused::SystemChannel);
        }
        let access = Access::from_block(&block).map_err(|error| Refused::Other(error.to_string()))?;
        let channel = access.channel().to_owned();
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.contains(&channel) {
            return Err(Refused::Exists);
        }
        let relation = self.relation(&access);
        let is_first = block.header.as_ref().is_some_and(|header| header.number == 0);
        let height = if is_first && relation == Relation::Consenter {
            let chain = self.chains.open(block, access)?;
            chain.add_signer(self.signer.clone());
            1
        } else {
            // It fetches the blocks from others before it takes part: at once, where there are others.
            if let Some(chain) = self.chains.get(&channel) {
                chain.add_signer(self.signer.clone());
            }
            0
        };
        joined.insert(channel.clone());
        let members: Vec<_> = joined.iter().cloned().collect();
        drop(joined);
        self.chains.note_members(&self.signer.name, &members)?;
        Ok(Self::describe(&channel, relation, height))
    }

    /// Takes up the channels that it was in before the network was started again.
    pub(crate) fn rejoin(&self) -> Result<(), DevnetError> {
        let known = match self.chains.system_channel() {
            Some(_) => self.chains.channels().into_iter().map(|name| name.to_string()).collect(),
            None => self.chains.members(&self.signer.name)?.unwrap_or_default(),
        };
        for channel in known {
            if let Some(chain) = self.chains.get(&channel) {
                chain.add_signer(self.signer.clone());
            }
            self.joined.lock().unwrap_or_else(PoisonError::into_inner).insert(channel);
        }
        Ok(())
    }

    /// Leaves a channel.
    pub(super) fn remove(&self, channel: &str) -> Result<(), Refused> {
        if self.chains.system_channel().is_some() {
            return Err(Refused::SystemChannel);
        }
        let was_member = self.joined.lock().unwrap_or_else(PoisonError::into_inner).remove(channel);
        if !was_member {
            return Err(Refused::Unknown);
        }
        self.chains.note_members(&self.signer.name, &self.channels())?;
        self.chains.leave(channel, &self.signer.name);
        Ok(())
    }

    /// Orders an update of a channel's configuration.
    pub(super) async fn update(&self, channel: &str, envelope: Envelope) -> Result<ChannelStatus, Refused> {
        self.status(channel)?;
        let chain = self.chain(channel).ok_or(Refused::NotReady)?;
        let header = ChannelHeader {
            r#type: HeaderType::ConfigUpdate as i32,
            channel_id: channel.to_owned(),
            ..ChannelHeader::default()
        };
        chain.broadcast(&header, envelope, self.faults().now()).await.map_err(|refusal| {
            Refused::Other(format!("failed update config of channel {channel}: {}", refusal.info))
        })?;
        self.status(channel)
    }

    /// The block that `id` (`newest`, `oldest`, `config` or a number) names.
    pub(super) fn block(&self, channel: &str, id: &str) -> Result<Arc<Block>, Refused> {
        self.status(channel)?;
        let chain = self.chain(channel).ok_or(Refused::NotReady)?;
        let newest = chain.blocks().height().saturating_sub(1);
        let number = match id {
            "oldest" => 0,
            "newest" => newest,
            "config" => chain.last_config(),
            // As with Fabric, the number before the first is the largest of all, and that one means the newest.
            number => match number.parse::<i64>().map(i64::cast_unsigned) {
                Ok(u64::MAX) => newest,
                Ok(number) => number,
                Err(error) => return Err(Refused::Other(error.to_string())),
            },
        };
        chain.blocks().get(number).ok_or_else(|| Refused::Other(format!("no such block number [{number}] in index")))
    }
}

/// Whether a name can be a channel's; the words are Fabric's.
pub(super) fn check_channel_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("channel ID illegal, cannot be empty".to_owned());
    }
    if id.len() > 249 {
        return Err("channel ID illegal, cannot be longer than 249".to_owned());
    }
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if !id.starts_with(|c: char| c.is_ascii_lowercase()) || !id.chars().all(rest) {
        return Err(format!("'{id}' contains illegal characters"));
    }
    Ok(())
}

/// Whether an orderer may join with this block.
pub(super) fn check_join_block(block: &Block) -> Result<(), String> {
    let not_config = || "block is not a config block".to_owned();
    let data = block.data.as_ref().filter(|data| data.data.len() == 1).ok_or_else(not_config)?;
    let envelope = Envelope::decode(data.data[0].clone()).map_err(|_| not_config())?;
    let payload = Payload::decode(envelope.payload).map_err(|_| not_config())?;
    let header = payload.header.and_then(|header| ChannelHeader::decode(header.channel_header).ok());
    let header = header.filter(|header| header.r#type == HeaderType::Config as i32).ok_or_else(not_config)?;
    if block.metadata.as_ref().is_none_or(|metadata| metadata.metadata.is_empty()) {
        return Err("invalid block: does not have metadata".to_owned());
    }
    if block.header.as_ref().is_none_or(|header| header.data_hash[..] != data_hash(data)) {
        return Err("invalid block: Header.DataHash is different from Hash(block.Data)".to_owned());
    }
    let config = ConfigEnvelope::decode(payload.data).map_err(|error| error.to_string())?;
    let group = config.config.and_then(|config| config.channel_group).ok_or("nil channel group")?;
    check_channel_id(&header.channel_id)
        .map_err(|error| format!("initializing configtx manager failed: bad channel ID: {error}"))?;
    if group.groups.contains_key("Consortiums") {
        return Err("invalid config: contains consortiums: system channel not supported".to_owned());
    }
    if !group.groups.contains_key("Application") {
        return Err("invalid config: must contain application config".to_owned());
    }
    Access::from_block(block).map(|_| ()).map_err(|error| error.to_string())
}

/// The channel that an update of a configuration is for.
pub(super) fn channel_of_update(envelope: &Envelope) -> Result<String, String> {
    let payload = Payload::decode(envelope.payload.clone()).map_err(|_| "bad payload")?;
    let header = payload.header.filter(|header| !header.channel_header.is_empty()).ok_or("bad header")?;
    let header = ChannelHeader::decode(header.channel_header).map_err(|_| "could not unmarshall channel header")?;
    if header.r#type != HeaderType::ConfigUpdate as i32 {
        return Err("bad type".to_owned());
    }
    if header.channel_id.is_empty() {
        return Err("empty channel id".to_owned());
    }
    let update = ConfigUpdateEnvelope::decode(payload.data)
        .and_then(|update| ConfigUpdate::decode(update.config_update))
        .map_err(|error| error.to_string())?;
    Ok(update.channel_id)
}

/// Whether `id` can name a block; the words are Fabric's.
pub(super) fn check_block_id(id: &str) -> Result<(), String> {
    if matches!(id, "newest" | "oldest" | "config") || id.parse::<i64>().is_ok() {
        return Ok(());
    }
    Err(format!("'{id}' not equal <newest|oldest|config|(number)>"))
}
