//! The record in a file on storage that the replicas share.
//!
//! A module of its own because locks of the system are not relied upon: shared storage often has none, or keeps those
//! of a machine that is gone. The file is replaced as a whole; a claim is read back before it counts.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::election::Record;
use crate::runtime::durable::replace_file;

/// More than this was not written by us.
const LIMIT: u64 = 64 << 10;

/// The lease, as it is written.
#[derive(Serialize, Deserialize)]
struct Content {
    holder: String,
    /// Counts the writes of one holder.
    writes: u64,
    lease_ms: u64,
}

/// A lock file.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    writes: u64,
}

impl LockFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, writes: 0 }
    }

    /// The record; what is no record counts as one of somebody unknown.
    pub(super) async fn read(&self) -> io::Result<Option<Record>> {
        let path = self.path.clone();
        crate::runtime::blocking(move || read(&path)).await
    }

    /// Replaces the record.
    pub(super) async fn write(&mut self, holder: &str, lease: Duration) -> io::Result<Record> {
        self.writes += 1;
        let content = Content {
            holder: holder.to_owned(),
            writes: self.writes,
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
        };
        let json = serde_json::to_vec(&content).map_err(io::Error::other)?;
        let record = record(&json);
        replace_file(&self.path, json).await?;
        Ok(record)
    }
}

fn read(path: &Path) -> io::Result<Option<Record>> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(record(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn record(bytes: &[u8]) -> Record {
    let stamp = String::from_utf8_lossy(bytes).into_owned();
    match serde_json::from_slice::<Content>(bytes) {
        Ok(content) => Record { holder: content.holder, stamp, lease: Some(Duration::from_millis(content.lease_ms)) },
        Err(_) => Record { holder: "unknown".to_owned(), stamp, lease: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_rubbish_belongs_to_somebody() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = LockFile::new(folder.path().join("leader"));
        assert_eq!(file.read().await.unwrap(), None);
        let first = file.write("a", Duration::from_secs(5)).await.unwrap();
        assert_eq!(file.read().await.unwrap().as_ref(), Some(&first));
        let second = file.write("a", Duration::from_secs(5)).await.unwrap();
        assert!(second.stamp != first.stamp && second.lease == Some(Duration::from_secs(5)));
        std::fs::write(&file.path, b"\xff{").unwrap();
        let rubbish = file.read().await.unwrap().unwrap();
        assert_eq!((rubbish.holder.as_str(), rubbish.lease), ("unknown", None));
        assert!(LockFile::new(folder.path().to_owned()).read().await.is_err());
    }
}
