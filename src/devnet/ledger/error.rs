//! Why a block was not taken.

use crate::fabric::config::ConfigError;
use crate::fabric::names::BlockNumber;

/// Why a ledger was not made, or a block not taken. A block is taken whole or not at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LedgerError {
    /// It lacks its header or its data.
    #[error("block has no {0}")]
    Missing(&'static str),
    /// Not the block that comes next; one that is there already came twice, one further on came too early.
    #[error("block {got} does not follow: block {expected} is next")]
    NotNext { expected: BlockNumber, got: BlockNumber },
    /// Not of this chain.
    #[error("block {0} does not name the hash of the block before it")]
    PreviousHash(BlockNumber),
    /// Its data was changed.
    #[error("data of block {0} does not have the hash in its header")]
    DataHash(BlockNumber),
    /// The first block's configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
