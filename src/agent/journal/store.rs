//! The file itself: two tables of a redb database.
//!
//! A module of its own so that nothing else knows the library. Each [`write`](Store::write) is one transaction that is on
//! disk when it returns. The file is checked as a whole when it is opened, which is cheap at its size, so that no damage
//! is met later. Blocks: callers see to where it runs.

use std::path::Path;

use redb::{
    Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition,
};
use serde::{Deserialize, Serialize};

use crate::client::events::Checkpoint;
use crate::fabric::names::TxId;
use crate::runtime::on_stack;

use super::record::TaskRecord;

/// From task and proposal to the record as JSON.
const TASKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tasks");
/// From channel and contract to the checkpoint as JSON.
const CHECKPOINTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("checkpoints");

/// The default of the library is a gigabyte; what is here is small and kept in memory anyway.
const CACHE: usize = 256 * 1024;
/// Opening checks what may be damaged.
const STACK: usize = 2 << 20;

/// Why the file cannot be used.
pub(super) enum Failure {
    /// Another process has it.
    Taken,
    /// It is not what this program wrote.
    Corrupt(String),
    /// The file system, or the disk.
    Unusable(String),
}

/// What the file holds.
#[derive(Default)]
pub(super) struct Content {
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) checkpoints: Vec<(String, Checkpoint)>,
}

/// What is to be written in one go.
pub(super) struct Write<'a> {
    pub(super) tasks: Vec<&'a TaskRecord>,
    pub(super) checkpoints: Vec<(&'a str, &'a Checkpoint)>,
    pub(super) removed: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Position {
    block: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tx_id: Option<String>,
}

/// The open file. While it is open, no other process opens it.
pub(super) struct Store {
    database: Database,
}

/// The key of a task.
pub(super) fn key(record: &TaskRecord) -> String {
    format!("{}\u{0}{}", record.task.as_str(), record.proposal)
}

impl Store {
    /// Opens the file, or makes it, and reads all of it.
    pub(super) fn open(path: &Path) -> Result<(Self, Content), Failure> {
        let opened = on_stack(STACK, || {
            let database = Database::builder()
                .set_cache_size(CACHE)
                .set_check_integrity_on_open(true)
                .create(path)
                .map_err(of_open)?;
            let content = read(&database)?;
            Ok((Self { database }, content))
        });
        // The library promises an error; should it panic on damage nevertheless, that is one, too.
        opened.unwrap_or_else(|error| Err(Failure::Corrupt(error.to_string())))
    }

    /// Writes all or nothing; on disk when it returns.
    pub(super) fn write(&mut self, write: &Write<'_>) -> Result<(), Failure> {
        let unusable = |error: redb::Error| Failure::Unusable(error.to_string());
        let mut transaction = self.database.begin_write().map_err(|error| unusable(error.into()))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| unusable(error.into()))?;
        {
            let mut tasks = transaction.open_table(TASKS).map_err(|error| unusable(error.into()))?;
            for key in &write.removed {
                tasks.remove(key.as_str()).map_err(|error| unusable(error.into()))?;
            }
            for record in &write.tasks {
                let bytes = serde_json::to_vec(record).map_err(|error| Failure::Unusable(error.to_string()))?;
                tasks.insert(key(record).as_str(), bytes.as_slice()).map_err(|error| unusable(error.into()))?;
            }
            let mut checkpoints = transaction.open_table(CHECKPOINTS).map_err(|error| unusable(error.into()))?;
            for (name, checkpoint) in &write.checkpoints {
                let tx_id = checkpoint.tx_id.as_ref().map(ToString::to_string);
                let position = Position { block: checkpoint.block, tx_id };
                let bytes = serde_json::to_vec(&position).map_err(|error| Failure::Unusable(error.to_string()))?;
                checkpoints.insert(*name, bytes.as_slice()).map_err(|error| unusable(error.into()))?;
            }
        }
        transaction.commit().map_err(|error| unusable(error.into()))
    }
}

fn of_open(error: DatabaseError) -> Failure {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Failure::Taken,
        DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => Failure::Corrupt(error.to_string()),
        DatabaseError::Storage(error) => of_storage(&error),
        other => Failure::Unusable(other.to_string()),
    }
}

fn of_storage(error: &StorageError) -> Failure {
    match error {
        StorageError::Corrupted(reason) => Failure::Corrupt(reason.clone()),
        // A file that is cut short, or begins with something else.
        StorageError::Io(io)
            if matches!(io.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            Failure::Corrupt(io.to_string())
        }
        other => Failure::Unusable(other.to_string()),
    }
}

fn read(database: &Database) -> Result<Content, Failure> {
    let mut content = Content::default();
    let corrupt = |error: redb::Error| match error {
        redb::Error::Io(error) => Failure::Unusable(error.to_string()),
        other => Failure::Corrupt(other.to_string()),
    };
    let transaction = database.begin_read().map_err(|error| corrupt(error.into()))?;
    match transaction.open_table(TASKS) {
        Ok(table) => {
            for entry in table.iter().map_err(|error| corrupt(error.into()))? {
                let (_, value) = entry.map_err(|error| corrupt(error.into()))?;
                match serde_json::from_slice(value.value()) {
                    Ok(record) => content.tasks.push(record),
                    // A later version may have written it; the ledger still knows what is due.
                    Err(error) => tracing::warn!(%error, "an entry of the journal is not understood and left out"),
                }
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(corrupt(error.into())),
    }
    match transaction.open_table(CHECKPOINTS) {
        Ok(table) => {
            for entry in table.iter().map_err(|error| corrupt(error.into()))? {
                let (name, value) = entry.map_err(|error| corrupt(error.into()))?;
                let position: Position =
                    serde_json::from_slice(value.value()).map_err(|error| Failure::Corrupt(error.to_string()))?;
                let tx_id = position.tx_id.map(TxId::parse).transpose();
                let tx_id = tx_id.map_err(|error| Failure::Corrupt(error.to_string()))?;
                content.checkpoints.push((name.value().to_owned(), Checkpoint { block: position.block, tx_id }));
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(corrupt(error.into())),
    }
    Ok(content)
}
