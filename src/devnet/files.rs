//! Writing the network's folders, with errors that name the file.

use std::io;
use std::path::{Path, PathBuf};

/// A file or folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be read or written", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }
}

/// Creates `folder` and those above it.
pub(crate) fn create_folder(folder: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(folder).map_err(|source| FileError { path: folder.to_owned(), source })
}

/// Creates `folder`, which only its owner may enter, in one that is there.
pub(crate) fn create_secret_folder(folder: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt as _;

    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(FileError::new(folder, error)),
        _ => Ok(()),
    }
}

/// Writes a file that everybody may read, and the folders above it.
pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    std::fs::write(path, text).map_err(|source| FileError { path: path.to_owned(), source })
}

/// Writes a file that only its owner may read, and the folders above it.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), FileError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| FileError { path: path.to_owned(), source })
}

/// Reads a text.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError::new(path, source))
}

/// Removes `folder` and all that is in it.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), FileError> {
    std::fs::remove_dir_all(folder).map_err(|source| FileError { path: folder.to_owned(), source })
}
