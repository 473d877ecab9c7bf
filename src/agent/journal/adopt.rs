//! Checkpoints of earlier versions and of the original agent, to go on from.
//!
//! Ours was `<contract>.json` with a block and the last transaction in it that is done. The original's is
//! `<channel>_<contract>.json`, written by Fabric's client library for Node.js: a block, and the transactions in it that
//! it has handed out. Those need not be done, as it moves its checkpoint first, so its block is taken from its beginning.
//!
//! Source: hyperledger-labs/fabric-opssc v0.4.0 `common/src/fabric-client.ts`; fabric-network 2.2 `FileCheckpointer`.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::client::events::Checkpoint;
use crate::fabric::names::{ChaincodeName, ChannelName, TxId};

use super::JournalError;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ours {
    block_number: u64,
    #[serde(default)]
    transaction_id: Option<String>,
}

/// The library writes the number as text, and nothing at all before the first block.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Original {
    #[serde(default)]
    block_number: Option<Number>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Number(u64),
}

/// The checkpoint of one contract that is found in `folder`, and where. Blocks.
pub(super) fn checkpoint(
    folder: &Path,
    channel: &ChannelName,
    contract: &ChaincodeName,
) -> Result<Option<(PathBuf, Checkpoint)>, JournalError> {
    let path = folder.join(format!("{contract}.json"));
    if let Some(bytes) = read(&path)? {
        let checkpoint = ours(&bytes).map_err(|reason| JournalError::Adopt { path: path.clone(), reason })?;
        return Ok(Some((path, checkpoint)));
    }
    let path = folder.join(format!("{channel}_{contract}.json"));
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let checkpoint = original(&bytes).map_err(|reason| JournalError::Adopt { path: path.clone(), reason })?;
    Ok(checkpoint.map(|checkpoint| (path, checkpoint)))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, JournalError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::Adopt { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn ours(bytes: &[u8]) -> Result<Checkpoint, String> {
    let content: Ours = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let tx_id = content.transaction_id.filter(|id| !id.is_empty()).map(TxId::parse).transpose();
    Ok(Checkpoint { block: content.block_number, tx_id: tx_id.map_err(|error| error.to_string())? })
}

fn original(bytes: &[u8]) -> Result<Option<Checkpoint>, String> {
    // It makes the file before it has anything to write.
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let content: Original = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let block = match content.block_number {
        None => return Ok(None),
        Some(Number::Number(block)) => block,
        Some(Number::Text(text)) => text.parse().map_err(|_| "its blockNumber is no number".to_owned())?,
    };
    Ok(Some(Checkpoint { block, tx_id: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, content: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), content).unwrap();
        let found = checkpoint(folder.path(), &"ops-channel".parse().unwrap(), &"chaincode-ops".parse().unwrap());
        let shown = match found {
            Ok(Some((path, checkpoint))) => {
                assert!(path.ends_with(file));
                format!("{} {}", checkpoint.block, checkpoint.tx_id.map(|id| id.to_string()).unwrap_or_default())
            }
            Ok(None) => "none".to_owned(),
            Err(JournalError::Adopt { .. }) => "refused".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{file} with {content}");
    }

    #[test]
    fn both_kinds_are_taken_over() {
        let id = "ab".repeat(32);
        let (ours, theirs) = ("chaincode-ops.json", "ops-channel_chaincode-ops.json");
        check(ours, &format!("{{\"blockNumber\":7,\"transactionId\":\"{id}\"}}"), &format!("7 {id}"));
        check(ours, "{\"blockNumber\":8}", "8 ");
        check(theirs, &format!("{{\"blockNumber\":\"12\",\"transactionIds\":[\"{id}\"]}}"), "12 ");
        check(theirs, "{\"blockNumber\":12,\"transactionIds\":[]}", "12 ");
        check(theirs, "{\"transactionIds\":[]}", "none");
        check(theirs, "", "none");
        check("another.json", "{}", "none");
    }

    #[test]
    fn what_is_not_understood_is_left_to_people() {
        for content in ["{}", "[]", "\u{0}", "{\"blockNumber\":-1}", "{\"blockNumber\":1,\"transactionId\":\"x\"}"] {
            check("chaincode-ops.json", content, "refused");
        }
        for content in ["1", "{\"blockNumber\":\"x\"}", "{\"blockNumber\":-1}", "{"] {
            check("ops-channel_chaincode-ops.json", content, "refused");
        }
    }
}
