//! The configuration of a channel: organizations, policies, orderers.
//!
//! Decoded once into what members need to know; the message stays beside it as it was received, because updates are
//! computed and signed over it. An organization whose MSP this library cannot judge (Idemix) does not hide the others:
//! it is there, with the reason.
//!
//! Source: `fabric-protos/common/configtx.proto`, `common/configuration.proto`, `peer/configuration.proto`,
//! `orderer/configuration.proto`; Fabric 3.1.5 `common/channelconfig`.

pub mod edit;
pub mod genesis;
mod hazards;
pub mod json;
mod organization;
mod policies;
pub mod show;
mod sign;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod update;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

pub use hazards::{Hazard, hazards};
pub use organization::{Address, Organization};
pub use policies::{PolicySet, Share};
pub use sign::{Artifacts, ConfigSigner, UnsignedConfigSignature, sign, update_envelope};
pub use values::{BatchLimits, Consensus, Consenter, go_duration};

use crate::fabric::block::{Block, BlockError};
use crate::fabric::identity::{Creator, Identity, MspError, MspVersion};
use crate::fabric::names::{ChannelName, MspId, NameError};
use crate::fabric::policy::PolicyError;
use crate::pb::common::{self, Config, ConfigGroup};
use crate::pb::{orderer, protos};

/// Why something is no configuration of a channel.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The block cannot be read.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The block sets no configuration.
    #[error("block {number} holds no configuration")]
    NoConfig {
        /// Which block.
        number: u64,
    },
    /// The channel's name is none.
    #[error("configuration is of no channel")]
    Channel(#[from] NameError),
    /// A block that the channel's orderers did not make.
    #[error("block {number} is not by the orderers of the channel")]
    Forged {
        /// Which block.
        number: u64,
        /// What its signatures lack.
        source: PolicyError,
    },
    /// A part that every configuration has is absent.
    #[error("configuration has no {what}")]
    Missing {
        /// Which part.
        what: String,
    },
    /// An update that does not make a configuration.
    #[error("update makes no configuration: {reason}")]
    Update {
        /// Why not.
        reason: String,
    },
    /// A value cannot be decoded.
    #[error("value {path} of the configuration cannot be read: {reason}")]
    Value {
        /// Its path.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// A channel's configuration.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    channel: ChannelName,
    config: Config,
    application: BTreeMap<MspId, Organization>,
    orderers: BTreeMap<MspId, Organization>,
    orderer_addresses: Vec<String>,
    batch: BatchLimits,
    consensus: Consensus,
    consenters: BTreeMap<u32, Consenter>,
    channel_capabilities: BTreeSet<String>,
    orderer_capabilities: BTreeSet<String>,
    application_capabilities: BTreeSet<String>,
    acls: BTreeMap<String, String>,
    policies: PolicySet,
}

impl ChannelConfig {
    /// Reads the configuration that `block` sets.
    ///
    /// # Errors
    /// [`ConfigError`] when it sets none or it cannot be read.
    pub fn from_block(block: &common::Block) -> Result<Self, ConfigError> {
        let block = Block::new(block.clone())?;
        let found = block.transactions().iter().find_map(|transaction| Some((transaction, transaction.config()?)));
        let (transaction, config) = found.ok_or(ConfigError::NoConfig { number: block.number() })?;
        Self::from_config(ChannelName::parse(transaction.channel.clone())?, config.clone())
    }

    /// Reads `config`, which is that of `channel`.
    ///
    /// # Errors
    /// [`ConfigError`] when a part that is always there is absent or cannot be read.
    pub fn from_config(channel: ChannelName, config: Config) -> Result<Self, ConfigError> {
        let root = Group::root(&config)?;
        let channel_capabilities = root.capabilities()?;
        let version = if channel_capabilities.contains("V3_0") { MspVersion::V3_0 } else { MspVersion::V1_4_3 };
        let orderer = root.child("Orderer").ok_or_else(|| ConfigError::Missing { what: "orderer group".to_owned() })?;
        let application = root.child("Application");
        let read = |group: Option<&Group<'_>>| match group {
            Some(group) => organization::read_all(group, version),
            None => Ok(BTreeMap::new()),
        };
        let application_values = application.as_ref();
        let addresses: Option<common::OrdererAddresses> = root.value("OrdererAddresses")?;
        let acls: Option<protos::AcLs> = match application_values {
            Some(group) => group.value("ACLs")?,
            None => None,
        };
        let acls = acls.unwrap_or_default().acls;
        Ok(Self {
            channel,
            application: read(application_values)?,
            orderers: read(Some(&orderer))?,
            orderer_addresses: addresses.unwrap_or_default().addresses,
            batch: BatchLimits::read(&orderer)?,
            consensus: Consensus::read(&orderer)?,
            consenters: Consenter::read_all(&orderer)?,
            orderer_capabilities: orderer.capabilities()?,
            application_capabilities: match application_values {
                Some(group) => group.capabilities()?,
                None => BTreeSet::new(),
            },
            channel_capabilities,
            acls: acls.into_iter().map(|(name, resource)| (name, resource.policy_ref)).collect(),
            policies: PolicySet::read(root.group),
            config,
        })
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// How often the configuration has been changed.
    pub fn sequence(&self) -> u64 {
        self.config.sequence
    }

    /// The configuration as it was received.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The organizations that transact on the channel.
    pub fn application(&self) -> &BTreeMap<MspId, Organization> {
        &self.application
    }

    /// The organizations that order its blocks.
    pub fn orderers(&self) -> &BTreeMap<MspId, Organization> {
        &self.orderers
    }

    /// An organization of either kind.
    pub fn organization(&self, msp_id: &MspId) -> Option<&Organization> {
        self.application.get(msp_id).or_else(|| self.orderers.get(msp_id))
    }

    /// Where the orderers are, host and port: those of the organizations, else those that the channel lists as a whole.
    pub fn orderer_addresses(&self) -> Vec<&str> {
        let own: Vec<&str> = self.orderers.values().flat_map(Organization::endpoints).map(String::as_str).collect();
        if own.is_empty() { self.orderer_addresses.iter().map(String::as_str).collect() } else { own }
    }

    /// How blocks are cut.
    pub fn batch(&self) -> &BatchLimits {
        &self.batch
    }

    /// How orderers agree.
    pub fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// The orderers that sign blocks by number, where they agree by BFT; none elsewhere.
    pub fn consenters(&self) -> &BTreeMap<u32, Consenter> {
        &self.consenters
    }

    /// What all nodes must be able to do, such as `V2_0`.
    pub fn channel_capabilities(&self) -> &BTreeSet<String> {
        &self.channel_capabilities
    }

    /// What orderers must be able to do.
    pub fn orderer_capabilities(&self) -> &BTreeSet<String> {
        &self.orderer_capabilities
    }

    /// What peers must be able to do.
    pub fn application_capabilities(&self) -> &BTreeSet<String> {
        &self.application_capabilities
    }

    /// The policies that guard the peers' resources, where they differ from the peers' defaults.
    pub fn acls(&self) -> &BTreeMap<String, String> {
        &self.acls
    }

    /// The policies.
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// The identity that `creator` is, if it is a valid member of one of the organizations.
    ///
    /// # Errors
    /// [`MspError`] when its organization is not on the channel or does not vouch for it.
    pub fn identity(&self, creator: &[u8]) -> Result<Identity, MspError> {
        self.msp_of(creator)?.identity(creator)
    }

    fn msp_of(&self, creator: &[u8]) -> Result<&crate::fabric::identity::Msp, MspError> {
        let msp_id = Creator::decode(creator)?.msp_id;
        let organization = self.organization(&msp_id);
        organization
            .ok_or_else(|| MspError::Setup {
                msp_id: msp_id.to_string(),
                reason: "it is not on the channel".to_owned(),
            })?
            .msp()
    }

    /// Those of `signed` that are members with a good signature, each once: what policies are judged with.
    pub fn signers<'a>(&self, signed: impl IntoIterator<Item = SignedData<'a>>) -> Vec<Identity> {
        let mut signers: Vec<Identity> = Vec::new();
        for item in signed {
            let Ok(identity) = self.msp_of(item.creator).and_then(|msp| msp.deserialize(item.creator)) else {
                continue;
            };
            let known = signers
                .iter()
                .any(|known| known.msp_id() == identity.msp_id() && known.certificate() == identity.certificate());
            if !known && identity.verify(item.data, item.signature).is_ok() {
                signers.push(identity);
            }
        }
        signers
    }
}

impl ChannelConfig {
    /// That the channel's orderers made `block`: its data is what the header says, and the signatures satisfy the
    /// policy for blocks. Those of BFT orderers name a consenter by its number. A first block has no signatures.
    ///
    /// # Errors
    /// [`ConfigError::Block`] for a block that contradicts itself, [`ConfigError::Forged`] when signatures lack.
    pub fn check_block(&self, block: &Block) -> Result<(), ConfigError> {
        block.check_data()?;
        let signatures = crate::fabric::block::signatures(block.raw())?;
        let signers = self.signers(signatures.iter().filter_map(|item| {
            let creator = match item.consenter {
                // Whoever is no consenter has not signed.
                Some(number) => self.consenters.get(&number)?.creator(),
                None => &item.creator,
            };
            Some(SignedData { creator, data: &item.signed, signature: &item.signature })
        }));
        self.policies
            .evaluate("/Channel/Orderer/BlockValidation", &signers)
            .map_err(|source| ConfigError::Forged { number: block.number(), source })
    }
}

/// What someone signed.
#[derive(Debug, Clone, Copy)]
pub struct SignedData<'a> {
    /// The serialized identity.
    pub creator: &'a [u8],
    /// What was signed.
    pub data: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// A group of the tree with its path.
#[derive(Clone)]
pub(crate) struct Group<'a> {
    path: String,
    group: &'a ConfigGroup,
}

impl<'a> Group<'a> {
    fn root(config: &'a Config) -> Result<Self, ConfigError> {
        let group = config.channel_group.as_ref();
        let group = group.ok_or_else(|| ConfigError::Missing { what: "channel group".to_owned() })?;
        Ok(Self { path: "/Channel".to_owned(), group })
    }

    fn child(&self, name: &str) -> Option<Self> {
        self.group.groups.get(name).map(|group| Self { path: format!("{}/{name}", self.path), group })
    }

    fn children(&self) -> impl Iterator<Item = (&'a str, Self)> {
        let path = self.path.clone();
        self.group
            .groups
            .iter()
            .map(move |(name, group)| (name.as_str(), Self { path: format!("{path}/{name}"), group }))
    }

    fn bytes(&self, name: &str) -> Option<&'a Bytes> {
        self.group.values.get(name).map(|value| &value.value)
    }

    fn value<M: Message + Default>(&self, name: &str) -> Result<Option<M>, ConfigError> {
        self.bytes(name)
            .map(|bytes| M::decode(bytes.clone()).map_err(|error| self.broken(name, &error.to_string())))
            .transpose()
    }

    fn broken(&self, name: &str, reason: &str) -> ConfigError {
        ConfigError::Value { path: format!("{}/{name}", self.path), reason: reason.to_owned() }
    }

    fn required<M: Message + Default>(&self, name: &str) -> Result<M, ConfigError> {
        self.value(name)?.ok_or_else(|| ConfigError::Missing { what: format!("value {}/{name}", self.path) })
    }

    fn capabilities(&self) -> Result<BTreeSet<String>, ConfigError> {
        let capabilities: Option<common::Capabilities> = self.value("Capabilities")?;
        Ok(capabilities.unwrap_or_default().capabilities.into_keys().collect())
    }
}

/// The maintenance state of the consensus type.
pub(crate) fn in_maintenance(kind: &orderer::ConsensusType) -> bool {
    kind.state == orderer::consensus_type::State::Maintenance as i32
}
