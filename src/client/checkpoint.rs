//! How far the events of a chaincode are done, on disk.
//!
//! A module of its own because losing it, or moving it too early, loses events. Block and transaction are kept together:
//! a transaction alone cannot be found, and a block alone does not say how much of it is done.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::deliver::Start;
use crate::fabric::block::ChaincodeEvent;
use crate::fabric::names::{BlockNumber, TxId};
use crate::runtime::{blocking, durable};

/// Up to where everything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The block in which work goes on.
    pub block: BlockNumber,
    /// The last transaction of that block that is done; `None` when none of it is, while all blocks before are.
    pub tx_id: Option<TxId>,
}

impl Checkpoint {
    /// Everything up to this event is done.
    pub fn after(event: &ChaincodeEvent) -> Self {
        Self { block: event.block, tx_id: Some(event.tx_id.clone()) }
    }

    /// Everything up to the end of this block is done.
    pub fn after_block(block: BlockNumber) -> Self {
        Self { block: block.saturating_add(1), tx_id: None }
    }
}

/// Why a checkpoint is not known or not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file is there and cannot be read. Starting over would repeat work, so this is left to people.
    #[error("checkpoint {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("checkpoint {} is not understood: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be written; the old one is in place.
    #[error("checkpoint {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
}

/// A checkpoint that survives. One file per listener.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    current: Option<Checkpoint>,
}

/// The names that the file format of Fabric's client libraries uses.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    block_number: BlockNumber,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
}

impl CheckpointFile {
    /// Opens the checkpoint at `path`, where there may be none yet.
    ///
    /// Cancel safety: nothing is changed.
    ///
    /// # Errors
    /// [`CheckpointError::Read`] and [`CheckpointError::Content`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let file = path.clone();
        let read = blocking(move || std::fs::read(&file)).await;
        let current = match read {
            Ok(bytes) => Some(parse(&path, &bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(CheckpointError::Read { path, source }),
        };
        Ok(Self { path, current })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint; `None` when nothing was ever done.
    pub fn get(&self) -> Option<&Checkpoint> {
        self.current.as_ref()
    }

    /// Where to begin: after what is done, or at `start` when nothing is.
    pub fn start_or(&self, start: Start) -> Start {
        self.current.clone().map_or(start, Start::After)
    }

    /// Moves the checkpoint. It is on disk when this returns.
    ///
    /// Cancel safety: the file holds the old checkpoint or the new one; call it again.
    ///
    /// # Errors
    /// [`CheckpointError::Write`].
    pub async fn advance(&mut self, checkpoint: Checkpoint) -> Result<(), CheckpointError> {
        let content = Content {
            block_number: checkpoint.block,
            transaction_id: checkpoint.tx_id.as_ref().map(ToString::to_string),
        };
        let write = |source| CheckpointError::Write { path: self.path.clone(), source };
        let text = serde_json::to_vec(&content).map_err(|error| write(error.into()))?;
        durable::replace_file(&self.path, text).await.map_err(write)?;
        self.current = Some(checkpoint);
        Ok(())
    }
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let refuse = |reason: String| CheckpointError::Content { path: path.to_owned(), reason };
    let content: Content = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
    let tx_id = content.transaction_id.filter(|id| !id.is_empty()).map(TxId::parse).transpose();
    Ok(Checkpoint { block: content.block_number, tx_id: tx_id.map_err(|error| refuse(error.to_string()))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn survives_and_moves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        let mut file = CheckpointFile::open(&path).await.unwrap();
        assert_eq!(file.start_or(Start::Oldest), Start::Oldest);
        let checkpoint = Checkpoint { block: 7, tx_id: Some(TxId::parse("ab".repeat(32)).unwrap()) };
        file.advance(checkpoint.clone()).await.unwrap();
        let mut again = CheckpointFile::open(&path).await.unwrap();
        assert_eq!(again.start_or(Start::Oldest), Start::After(checkpoint));
        again.advance(Checkpoint::after_block(7)).await.unwrap();
        let last = CheckpointFile::open(&path).await.unwrap();
        assert_eq!(last.get(), Some(&Checkpoint { block: 8, tx_id: None }));
    }

    #[tokio::test]
    async fn rubbish_is_not_a_new_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        for rubbish in ["", "{}", "{\"blockNumber\":-1}", "{\"blockNumber\":1,\"transactionId\":\"x\"}"] {
            std::fs::write(&path, rubbish).unwrap();
            let opened = CheckpointFile::open(&path).await;
            assert!(matches!(opened, Err(CheckpointError::Content { .. })), "for {rubbish:?}");
        }
    }
}
