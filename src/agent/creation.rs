//! Making the channel that was voted for.
//!
//! Two ways, and the network is asked which it is: orderers with a system channel (Fabric before 3.0) make a channel from
//! an update that is handed in; all others join it by its first block, which every organization makes from the voted
//! update by itself, byte for byte the same.
//!
//! Does not tell the ledger.

use futures_util::future::join_all;
use prost::Message as _;
use tracing::Instrument as _;

use crate::client::channels::{ChannelError, Joined};
use crate::client::participation::{BlockId, OrdererAdmin};
use crate::client::{CallError, Client, Updated};
use crate::fabric::block::header_hash;
use crate::fabric::config::{ChannelConfig, genesis};
use crate::fabric::names::ChannelName;
use crate::opssc::calls::ChannelOps;
use crate::pb::common::Block;

use super::channel_ops::{Part, update_trouble};
use super::channel_plan::ChannelPlan;
use super::text;
use super::trouble::Trouble;

/// What it takes to make a channel.
pub(super) struct Creation<'a> {
    pub(super) client: &'a Client,
    pub(super) ledger: &'a ChannelOps,
    /// The own orderers, where the organization has some.
    pub(super) orderers: &'a [OrdererAdmin],
}

impl Creation<'_> {
    /// Does this organization's part, and says what it was. It ends when an orderer serves the channel and the own peers
    /// are in it, as far as they belong there.
    pub(super) async fn make(&self, plan: &ChannelPlan, part: Part) -> Result<String, Trouble> {
        if let Some(system) = self.system_channel().await? {
            if part == Part::Member {
                return Ok(format!("another organization has it made by way of {system}"));
            }
            let made =
                self.client.submit_channel_creation(&plan.update).await.map_err(|error| update_trouble(&error))?;
            let first = self.first_block(&plan.channel).await?;
            let joined = self.join_peers(&first).await?;
            return Ok(match made {
                Updated::New { .. } => format!("{} is made by way of {system}{joined}", plan.channel),
                Updated::Already { .. } => format!("{} had been made{joined}", plan.channel),
            });
        }
        let first = genesis::block_of_creation(&plan.update.config_update).map_err(|error| {
            Trouble::definite(format!("no channel can be made from the update: {}", text::chain(&error)))
        })?;
        let orderers = self.join_orderers(&plan.channel, &first).await?;
        let served = self.first_block(&plan.channel).await?;
        if hash(&served) != hash(&first) {
            let channel = &plan.channel;
            return Err(Trouble::definite(format!(
                "there is another channel {channel}, which was not made from this update"
            )));
        }
        let peers = self.join_peers(&served).await?;
        Ok(format!("{} is served{orderers}{peers}", plan.channel))
    }

    /// The channel of the orderers, where there is one.
    async fn system_channel(&self) -> Result<Option<ChannelName>, Trouble> {
        let known = match self.ledger.get_system_channel_id().await {
            Ok(name) => name,
            Err(error) if error.refusal().is_some() => return Ok(None),
            Err(error) => return Err(Trouble::passing(text::chain(&error))),
        };
        // It may be on the books without being there: the contract needs one to know who votes on new channels.
        let Ok(name) = ChannelName::parse(known) else { return Ok(None) };
        match self.client.fetch_block(&name, BlockId::Newest).await {
            Ok(_) => Ok(Some(name)),
            Err(ChannelError::Fetch { failures }) if failures.iter().any(|failure| has_status(failure, 403)) => {
                Ok(Some(name))
            }
            Err(ChannelError::Fetch { failures }) if failures.iter().any(|failure| has_status(failure, 404)) => {
                Ok(None)
            }
            Err(error) => Err(Trouble::of(&error, error.is_retryable())),
        }
    }

    /// The first block of the channel as an orderer has it. That none has it yet passes: others are joining theirs.
    async fn first_block(&self, channel: &ChannelName) -> Result<Block, Trouble> {
        self.client.genesis_block(channel).await.map_err(|error| Trouble::of(&error, error.is_retryable()))
    }

    /// Has the own orderers join, as far as they belong to the channel. What was done, to be added to other words.
    async fn join_orderers(&self, channel: &ChannelName, first: &Block) -> Result<String, Trouble> {
        let config = ChannelConfig::from_block(first).map_err(|error| Trouble::definite(text::chain(&error)))?;
        if !config.orderers().contains_key(self.client.msp_id()) {
            return Ok(String::new());
        }
        if self.orderers.is_empty() {
            return Ok("; own orderers have to be joined by hand, as ORDERER_ADMIN_ENDPOINTS names none".to_owned());
        }
        let block = bytes::Bytes::from(first.encode_to_vec());
        let joining = self.orderers.iter().map(|orderer| {
            let span = tracing::info_span!("orderer", orderer = %orderer.node());
            orderer.ensure_joined(channel, block.clone()).instrument(span)
        });
        let mut new = 0;
        for joined in join_all(joining).await {
            let (joined, _) = joined.map_err(|error| Trouble::of(&error, error.is_retryable()))?;
            new += usize::from(joined == Joined::New);
        }
        Ok(format!("; {new} of {} own orderers joined just now", self.orderers.len()))
    }

    /// Has the own peers join, if the organization is a member. What was done, to be added to other words.
    async fn join_peers(&self, first: &Block) -> Result<String, Trouble> {
        let config = ChannelConfig::from_block(first).map_err(|error| Trouble::definite(text::chain(&error)))?;
        if !config.application().contains_key(self.client.msp_id()) {
            return Ok(String::new());
        }
        let peers = self.client.peers();
        let mut new = 0;
        let joining = peers.iter().map(|peer| {
            let span = tracing::info_span!("peer", peer = peer.name());
            self.client.join(peer, first).instrument(span)
        });
        for joined in join_all(joining).await {
            let joined = joined.map_err(|error| Trouble::of(&error, error.is_retryable()))?;
            new += usize::from(joined == Joined::New);
        }
        Ok(format!("; {new} of {} own peers joined just now", peers.len()))
    }
}

fn hash(block: &Block) -> Option<[u8; 32]> {
    block.header.as_ref().map(header_hash)
}

fn has_status(failure: &CallError, wanted: i32) -> bool {
    matches!(failure, CallError::Refused { status, .. } if *status == wanted)
}
