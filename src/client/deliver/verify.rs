//! Whether a block is the channel's.
//!
//! Always: the data has the hash in the header, and the header names the hash of the header before. When asked: the
//! orderers' signatures satisfy `BlockValidation` of the configuration that was in force, which is followed from block
//! to block. The header chain is what makes the signatures worth something: every header vouches for all before it.
//!
//! Source: Fabric 3.1.5 `internal/pkg/peer/blocksprovider`, `protoutil/blockutils.go`.

use std::sync::Arc;

use bytes::Bytes;

use super::Flaw;
use super::source::Source;
use super::span::Trust;
use crate::fabric::block::{Block as Decoded, BlockError, data_hash, header_hash, last_config};
use crate::fabric::config::ChannelConfig;
use crate::fabric::names::BlockNumber;
use crate::pb::common::Block;

/// Why a block is not handed on.
#[derive(Debug)]
pub(super) enum Doubt {
    /// It is not the channel's.
    Forged(Flaw),
    /// What it is to be judged by is not known.
    Unknown(String),
}

/// What is known of the chain so far.
pub(super) struct Verifier {
    trust: Trust,
    /// The configuration by which the next block is judged, once it is known.
    config: Option<Arc<ChannelConfig>>,
    /// The last block.
    last: Option<Link>,
}

impl Verifier {
    pub(super) fn new(trust: Trust) -> Self {
        let config = match &trust {
            Trust::Orderers(Some(config)) => Some(Arc::clone(config)),
            _ => None,
        };
        Self { trust, config, last: None }
    }

    /// Judges the next block. Once it is found good, those after it are judged by it; a bad one changes nothing.
    pub(super) async fn judge<S: Source>(&mut self, source: &S, peer: &S::Peer, block: &Block) -> Result<(), Doubt> {
        let link = Link::of(block).map_err(|error| Doubt::Forged(error.into()))?;
        if let Some(last) = &self.last
            && last.number.checked_add(1) == Some(link.number)
            && *link.previous != last.hash
        {
            return Err(Doubt::Forged(Flaw::Chain));
        }
        if matches!(self.trust, Trust::Orderers(_)) {
            self.config = Some(self.signed(source, peer, block).await?);
        }
        self.last = Some(link);
        Ok(())
    }

    /// Whether the block before this one is known.
    pub(super) fn knows_before(&self, number: BlockNumber) -> bool {
        self.last.as_ref().is_some_and(|last| last.number.checked_add(1) == Some(number))
    }

    /// Takes a block that was asked for only because it comes before the first wanted one.
    pub(super) fn before(&mut self, block: &Block) {
        // Of what was seen already more is known.
        if self.last.is_none() {
            self.last = Link::of(block).ok();
        }
    }

    /// That the orderers signed the block; the configuration by which the next one is judged.
    async fn signed<S: Source>(&self, source: &S, peer: &S::Peer, block: &Block) -> Result<Arc<ChannelConfig>, Doubt> {
        let forged = |flaw: Flaw| Doubt::Forged(flaw);
        let block = Decoded::new(block.clone()).map_err(|error| forged(error.into()))?;
        let sets = |block: &Decoded| {
            ChannelConfig::from_block(block.raw()).map(Arc::new).map_err(|error| forged(error.into()))
        };
        // Nobody signs the first block: it is the one that is known, or believed for being the first.
        let Some(before) = block.number().checked_sub(1) else {
            let first = sets(&block)?;
            return match &self.config {
                Some(known) if known.config() != first.config() => Err(forged(Flaw::Genesis)),
                _ => Ok(first),
            };
        };
        let config = match &self.config {
            Some(config) => Arc::clone(config),
            None => self.learn(source, peer, before).await?,
        };
        config.check_block(&block).map_err(|error| forged(error.into()))?;
        if block.is_config() { sets(&block) } else { Ok(config) }
    }

    /// The configuration in force after block `number`, as an own peer has it.
    async fn learn<S: Source>(
        &self,
        source: &S,
        peer: &S::Peer,
        number: BlockNumber,
    ) -> Result<Arc<ChannelConfig>, Doubt> {
        let unknown = |error: &dyn std::fmt::Display| Doubt::Unknown(error.to_string());
        let last = match &self.last {
            Some(last) if last.number == number => last.config,
            _ => None,
        };
        let index = if let Some(index) = last {
            index
        } else {
            let block = source.block(peer, number).await.map_err(|error| unknown(&error))?;
            last_config(&block).map_err(|error| unknown(&error))?
        };
        let block = source.block(peer, index).await.map_err(|error| unknown(&error))?;
        ChannelConfig::from_block(&block).map(Arc::new).map_err(|error| unknown(&error))
    }
}

/// What a block is to the next one.
struct Link {
    number: BlockNumber,
    hash: [u8; 32],
    previous: Bytes,
    /// The configuration block in force, as the block says itself.
    config: Option<BlockNumber>,
}

impl Link {
    /// Of a block whose data has the hash in its header.
    fn of(block: &Block) -> Result<Self, BlockError> {
        let header = block.header.as_ref().ok_or(BlockError::Missing { number: 0, what: "header" })?;
        let number = header.number;
        let data = block.data.as_ref().ok_or(BlockError::Missing { number, what: "data" })?;
        if data_hash(data) != *header.data_hash {
            return Err(BlockError::DataHash { number });
        }
        let config = last_config(block).ok().filter(|index| *index <= number);
        Ok(Self { number, hash: header_hash(header), previous: header.previous_hash.clone(), config })
    }
}
