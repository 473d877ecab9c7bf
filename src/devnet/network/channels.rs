//! Channels that the network makes, when it starts and for whoever holds it.
//!
//! A module of its own because there are two ways: orderers join a first block, or, with a system channel, they are handed
//! an update, as an administrator would hand it in.
//!
//! Source: Fabric 2.5.16 `orderer/common/multichannel`, `internal/peer/channel`.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use prost::Message as _;

use super::node::Role;
use super::{Devnet, start};
use crate::devnet::deliver::Feed as _;
use crate::devnet::error::DevnetError;
use crate::devnet::files;
use crate::devnet::genesis;
use crate::devnet::orderer::Orderer;
use crate::fabric::config::sign;
use crate::fabric::identity::{Signer as _, SigningIdentity};
use crate::fabric::names::ChannelName;
use crate::fabric::tx::{self, Header};
use crate::pb::common::{Block, ConfigUpdateEnvelope, Envelope, HeaderType, Status};

impl Devnet {
    /// Makes the first block of a new channel of all organizations and writes it to the network's folder. Nobody has
    /// joined it then: that is for the organizations' administrators, at the orderers first. Orderers with a system
    /// channel do not join it.
    ///
    /// # Errors
    /// [`DevnetError::File`].
    pub fn first_block(&self, channel: &ChannelName) -> Result<PathBuf, DevnetError> {
        self.write_first(channel, &self.new_block(channel))
    }

    fn new_block(&self, channel: &ChannelName) -> Block {
        let make = if self.origin.bft { genesis::bft_block } else { genesis::block };
        make(channel, &self.origin.members, &self.origin.batch, start::nonce())
    }

    fn write_first(&self, channel: &ChannelName, block: &Block) -> Result<PathBuf, DevnetError> {
        let path = self.folder.join("channel-artifacts").join(format!("{channel}.block"));
        files::write(&path, block.encode_to_vec())?;
        Ok(path)
    }

    /// Makes a new channel of all organizations, which all orderers and peers join, but for those of
    /// [`Builder::unjoined`](super::Builder::unjoined).
    ///
    /// Cancel safety: dropped before its end, the channel may be there, and only some nodes in it.
    ///
    /// # Errors
    /// [`DevnetError`] when a node does not join, for one because there is such a channel.
    pub async fn create_channel(&self, channel: &ChannelName) -> Result<(), DevnetError> {
        let block = match self.system_channel {
            Some(_) => self.made_by_orderers(channel).await?,
            None => self.new_block(channel),
        };
        self.write_first(channel, &block)?;
        for node in self.nodes.iter() {
            let joins = match &node.role {
                Role::Orderer(..) => self.system_channel.is_none(),
                Role::Peer(peer, _) => !self.origin.unjoined.contains(peer.msp_id()),
            };
            if joins {
                node.join(block.clone())?;
            }
        }
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if !channels.contains(channel) && *channel != self.ops_channel {
            channels.push(channel.clone());
        }
        drop(channels);
        self.describe()
    }

    /// All orderers, each with its name.
    fn orderers(&self) -> impl Iterator<Item = (&str, &Arc<Orderer>)> {
        self.nodes.iter().filter_map(|node| match &node.role {
            Role::Orderer(orderer, _) => Some((node.address.name.as_str(), orderer)),
            Role::Peer(..) => None,
        })
    }

    /// Begins the orderers' system channel, if there is to be one and it is not there.
    pub(super) fn begin_system_channel(&self) -> Result<(), DevnetError> {
        let Some(channel) = &self.system_channel else { return Ok(()) };
        if self.chains.system_channel().is_some() {
            return Ok(());
        }
        let block = genesis::system_block(channel, &self.origin.members, &self.origin.batch, start::nonce());
        self.write_first(channel, &block)?;
        for (name, orderer) in self.orderers() {
            orderer.bootstrap(block.clone()).map_err(|refused| refusal(name, &refused))?;
        }
        Ok(())
    }

    /// The first block that the orderers make of an update, which the first administrator hands in.
    async fn made_by_orderers(&self, channel: &ChannelName) -> Result<Block, DevnetError> {
        let mut changed = self.chains.watch();
        let (name, orderer) = self.orderers().next().ok_or_else(|| DevnetError::NoNode("orderer0.org1".to_owned()))?;
        let envelope = self.creation(channel).await.map_err(|reason| refusal(name, &reason))?;
        let answer = orderer.broadcast(envelope).await;
        if answer.status != Status::Success as i32 {
            return Err(refusal(name, &answer.info));
        }
        loop {
            changed.mark_unchanged();
            let first = self.chains.get(channel.as_str()).and_then(|chain| chain.blocks().get(0));
            if let Some(block) = first {
                return Ok((*block).clone());
            }
            if changed.changed().await.is_err() {
                return Err(refusal(name, &"it has stopped"));
            }
        }
    }

    /// The update that makes a channel, signed and handed in by the first organization's administrator.
    async fn creation(&self, channel: &ChannelName) -> Result<Envelope, String> {
        let update = genesis::creation(channel, &self.origin.members).map_err(|error| error.to_string())?.encode();
        let organization = self.organizations.first().ok_or("there are no organizations")?;
        let admin = SigningIdentity::load_msp(organization.msp_id.clone(), &organization.admin_msp);
        let admin = admin.map_err(|error| error.to_string())?;
        let signature = sign(&update, &admin, start::nonce()).await.map_err(|error| error.to_string())?;
        let data = ConfigUpdateEnvelope { config_update: update, signatures: vec![signature] };
        let header = Header {
            header_type: HeaderType::ConfigUpdate,
            channel: Some(channel),
            creator: admin.creator(),
            nonce: start::nonce(),
            time: SystemTime::now().into(),
            tls_cert_hash: None,
        };
        let envelope = tx::envelope(&header, data.encode_to_vec().into());
        envelope.sign(&admin).await.map_err(|error| error.to_string())
    }
}

fn refusal(orderer: &str, reason: &dyn std::fmt::Display) -> DevnetError {
    DevnetError::Order { orderer: orderer.to_owned(), reason: reason.to_string() }
}
