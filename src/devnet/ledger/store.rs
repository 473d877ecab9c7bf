//! Blocks of one channel, in memory, and word of their coming.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::pb::common::Block;

/// A chain of blocks that only grows.
#[derive(Debug)]
pub(crate) struct BlockStore {
    blocks: RwLock<Vec<Arc<Block>>>,
    height: watch::Sender<u64>,
}

impl BlockStore {
    /// A chain that begins with `genesis`.
    pub(crate) fn new(genesis: Arc<Block>) -> Self {
        Self { blocks: RwLock::new(vec![genesis]), height: watch::Sender::new(1) }
    }

    /// A chain of the blocks that there are already; the first has the number 0, and there is at least one.
    pub(crate) fn of(blocks: Vec<Arc<Block>>) -> Self {
        let height = blocks.len() as u64;
        Self { blocks: RwLock::new(blocks), height: watch::Sender::new(height) }
    }

    /// How many blocks there are.
    pub(crate) fn height(&self) -> u64 {
        *self.height.borrow()
    }

    /// Tells of every change of the height.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// The block with `number`.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<Block>> {
        let index = usize::try_from(number).ok()?;
        self.blocks.read().unwrap_or_else(PoisonError::into_inner).get(index).cloned()
    }

    /// The newest block.
    pub(crate) fn last(&self) -> Arc<Block> {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(blocks.last().expect("a chain begins with its genesis block"))
    }

    /// Adds the next block; its number must be the height.
    pub(crate) fn append(&self, block: Arc<Block>) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.push(block);
        let height = blocks.len() as u64;
        drop(blocks);
        self.height.send_replace(height);
    }
}
