//! What a stream consists of: blocks in one of their forms.

use bytes::Bytes;

use crate::client::node::Delivery;
use crate::fabric::block::{
    BlockError, BlockWithPrivateData, ChaincodeEvent, chaincode_events, filtered_block, filtered_block_leniently,
};
use crate::fabric::names::{BlockNumber, ChannelName};
use crate::pb::common::Block;
use crate::pb::protos::FilteredBlock;
use crate::pb::protos::deliver_response::Type as Delivered;

/// What a stream consists of.
pub(in crate::client) trait Item: Sized + Send + 'static {
    /// Which service of the peer gives it.
    const DELIVERY: Delivery;

    /// `None` when it is something else.
    fn of(delivered: Delivered) -> Option<Self>;

    fn number(&self) -> Option<BlockNumber>;

    /// The block, where there is a whole one.
    fn block(&self) -> Option<&Block>;

    /// What takes the place of `block` where a peer cannot deliver it in this form; `None` when it could have.
    fn in_place_of(_channel: &ChannelName, _block: &Block) -> Option<Delivered> {
        None
    }

    /// Whether it can be read as far as the stream promises.
    fn read(&mut self) -> Result<(), BlockError> {
        Ok(())
    }
}

fn number_of(block: &Block) -> Option<BlockNumber> {
    block.header.as_ref().map(|header| header.number)
}

impl Item for Block {
    const DELIVERY: Delivery = Delivery::Blocks;

    fn of(delivered: Delivered) -> Option<Self> {
        match delivered {
            Delivered::Block(block) => Some(block),
            _ => None,
        }
    }

    fn number(&self) -> Option<BlockNumber> {
        number_of(self)
    }

    fn block(&self) -> Option<&Block> {
        Some(self)
    }
}

impl Item for FilteredBlock {
    const DELIVERY: Delivery = Delivery::Filtered;

    fn of(delivered: Delivered) -> Option<Self> {
        match delivered {
            Delivered::FilteredBlock(block) => Some(block),
            _ => None,
        }
    }

    fn number(&self) -> Option<BlockNumber> {
        Some(self.number)
    }

    fn block(&self) -> Option<&Block> {
        None
    }

    fn in_place_of(channel: &ChannelName, block: &Block) -> Option<Delivered> {
        filtered_block(channel.as_str(), block).err()?;
        Some(Delivered::FilteredBlock(filtered_block_leniently(channel.as_str(), block)))
    }
}

impl Item for BlockWithPrivateData {
    const DELIVERY: Delivery = Delivery::WithPrivateData;

    fn of(delivered: Delivered) -> Option<Self> {
        match delivered {
            Delivered::BlockAndPrivateData(message) => Some(Self::of_message(message)),
            _ => None,
        }
    }

    fn number(&self) -> Option<BlockNumber> {
        number_of(&self.block)
    }

    fn block(&self) -> Option<&Block> {
        Some(&self.block)
    }

    fn read(&mut self) -> Result<(), BlockError> {
        self.check()
    }
}

/// A block with the events of its valid transactions.
pub(in crate::client) struct EventBlock {
    pub(in crate::client) number: BlockNumber,
    pub(in crate::client) events: Vec<ChaincodeEvent>,
    block: Block,
}

impl Item for EventBlock {
    const DELIVERY: Delivery = Delivery::Blocks;

    fn of(delivered: Delivered) -> Option<Self> {
        let block = <Block as Item>::of(delivered)?;
        Some(Self { number: number_of(&block)?, events: Vec::new(), block })
    }

    fn number(&self) -> Option<BlockNumber> {
        Some(self.number)
    }

    fn block(&self) -> Option<&Block> {
        Some(&self.block)
    }

    fn read(&mut self) -> Result<(), BlockError> {
        self.events = chaincode_events(&self.block)?;
        // A payload shares the block's memory: an event that is kept shall not keep the block.
        for event in &mut self.events {
            event.payload = Bytes::copy_from_slice(&event.payload);
        }
        Ok(())
    }
}
