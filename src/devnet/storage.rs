//! What a network keeps on disk, so that it goes on where it was when it is started again.
//!
//! A module of its own because it is about bytes and crashes, not about ledgers. There is no state on disk: it follows
//! from the blocks and the private data, which are kept in logs that only grow and are replayed. A log whose end was
//! torn by a crash ends before the tear. Everything else is a file that is replaced as a whole.
//!
//! A peer's blocks are those of the chain: after a restart it has none of a channel that all orderers have left. What was
//! purged or has expired is gone from the state, and still in the log of private data.
//!
//! Invariant: what a log has taken survives the end of the process at any point. A loss of power may take the last
//! records with it; the network is for trying and testing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::files::{self, FileError};
use crate::runtime::durable::replace_file_blocking;

/// Before every record: its length, and the beginning of its hash.
const HEAD: usize = 8;

/// Records that are added one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

fn head(record: &[u8]) -> Option<[u8; HEAD]> {
    let length = u32::try_from(record.len()).ok()?.to_be_bytes();
    let hash = Sha256::digest(record);
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&hash[..4]);
    Some(head)
}

/// The whole records at the beginning of `content`, and how many bytes they are.
fn records(content: &Bytes) -> (Vec<Bytes>, usize) {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(known) = content.get(at..at + HEAD) {
        let length = u32::from_be_bytes([known[0], known[1], known[2], known[3]]) as usize;
        let start = at + HEAD;
        let Some(record) = start.checked_add(length).and_then(|end| content.get(start..end)) else { break };
        if head(record).is_none_or(|head| head != *known) {
            break;
        }
        records.push(content.slice_ref(record));
        at = start + length;
    }
    (records, at)
}

impl Log {
    /// Opens the log at `path`, or begins it, and returns what it holds. A torn end is cut off.
    pub(crate) fn open(path: PathBuf) -> Result<(Self, Vec<Bytes>), FileError> {
        let opened = || -> io::Result<(File, Vec<Bytes>)> {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            let content = Bytes::from(content);
            let (records, length) = records(&content);
            if length < content.len() {
                tracing::warn!(file = %path.display(), lost = content.len() - length, "log had a torn end");
                file.set_len(length as u64)?;
            }
            file.seek(SeekFrom::Start(length as u64))?;
            Ok((file, records))
        };
        if let Some(folder) = path.parent() {
            files::create_folder(folder)?;
        }
        let (file, records) = opened().map_err(|source| FileError::new(&path, source))?;
        Ok((Self { path, file: Arc::new(Mutex::new(file)) }, records))
    }

    /// Adds a record.
    ///
    /// Cancel safety: dropping the future ends the wait; the record is added.
    pub(crate) async fn append(&self, record: Vec<u8>) -> Result<(), FileError> {
        let log = self.clone();
        crate::runtime::blocking(move || log.append_blocking(&record)).await
    }

    /// Adds a record where blocking does no harm.
    pub(crate) fn append_blocking(&self, record: &[u8]) -> Result<(), FileError> {
        let written = || -> io::Result<()> {
            let head = head(record).ok_or(io::ErrorKind::FileTooLarge)?;
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let before = file.stream_position()?;
            let written = file.write_all(&[&head[..], record].concat());
            if written.is_err() {
                // What follows must not stand behind half a record.
                file.set_len(before)?;
                file.seek(SeekFrom::Start(before))?;
            }
            written
        };
        written().map_err(|source| FileError::new(&self.path, source))
    }
}

/// Where a network keeps what has happened; by default nowhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store(Option<PathBuf>);

impl Store {
    /// Keeps everything under `folder`.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self(Some(folder))
    }

    /// Keeps everything under a folder of this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self(self.path(name))
    }

    /// The place of something, unless nothing is kept.
    fn path(&self, below: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(below))
    }

    /// The log called `below` with what it holds.
    pub(crate) fn log(&self, below: &str) -> Result<Option<(Log, Vec<Bytes>)>, FileError> {
        self.path(below).map(Log::open).transpose()
    }

    /// Replaces a file as a whole.
    pub(crate) fn replace(&self, below: &str, content: &[u8]) -> Result<(), FileError> {
        let Some(path) = self.path(below) else { return Ok(()) };
        if let Some(folder) = path.parent() {
            files::create_folder(folder)?;
        }
        replace_file_blocking(&path, content).map_err(|source| FileError::new(&path, source))
    }

    /// The content of a file, if there is one.
    pub(crate) fn read(&self, below: &str) -> Result<Option<Vec<u8>>, FileError> {
        let Some(path) = self.path(below) else { return Ok(None) };
        match std::fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError::new(&path, source)),
        }
    }

    /// The names of the files in a folder that end with `suffix`, without it.
    pub(crate) fn names(&self, below: &str, suffix: &str) -> Result<Vec<String>, FileError> {
        let Some(path) = self.path(below) else { return Ok(Vec::new()) };
        if !path.is_dir() {
            return Ok(Vec::new());
        }
        let listed = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(&path)? {
                let name = entry?.file_name();
                // Half-written files begin with a dot.
                let name = name.to_str().filter(|name| !name.starts_with('.')).and_then(|it| it.strip_suffix(suffix));
                names.extend(name.map(str::to_owned));
            }
            names.sort();
            Ok(names)
        };
        listed().map_err(|source| FileError::new(&path, source))
    }

    /// Removes a file, if there is one.
    pub(crate) fn remove(&self, below: &str) -> Result<(), FileError> {
        let Some(path) = self.path(below) else { return Ok(()) };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new(&path, error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_log_goes_on_where_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("log");
        let (log, found) = Log::open(path.clone()).unwrap();
        assert!(found.is_empty());
        for record in ["one", "", "three"] {
            log.append_blocking(record.as_bytes()).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (log, found) = Log::open(path.clone()).unwrap();
            let expected = [11, 19, 32].iter().filter(|end| **end <= cut).count();
            assert_eq!(found.len(), expected, "cut at {cut}");
            log.append_blocking(b"next").unwrap();
            let (_, found) = Log::open(path.clone()).unwrap();
            assert_eq!(found.last().unwrap(), "next", "cut at {cut}");
            assert_eq!(found.len(), expected + 1);
        }
    }

    #[test]
    fn nothing_is_kept_nowhere() {
        let store = Store::default();
        store.replace("a/b", b"content").unwrap();
        assert!(store.read("a/b").unwrap().is_none() && store.log("l").unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        store.replace("a/b.x", b"content").unwrap();
        assert_eq!(store.read("a/b.x").unwrap().unwrap(), b"content");
        assert_eq!(store.names("a", ".x").unwrap(), ["b"]);
        store.remove("a/b.x").unwrap();
        store.remove("a/b.x").unwrap();
        assert!(store.names("a", ".x").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(content in proptest::collection::vec(any::<u8>(), 0..100)) {
            let content = Bytes::from(content);
            let (_, length) = records(&content);
            assert!(length <= content.len());
        }
    }
}
