//! Files that are replaced as a whole: after a crash at any point there is the old content or the new one.
//!
//! A module of its own because a checkpoint that is half written loses events. The new content goes to a temporary file
//! in the same folder, is synced, takes the name of the old one, and the folder is synced.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Replaces the file at `path`, or makes it, so that `bytes` are on disk when this returns.
///
/// Cancel safety: dropping the future ends the wait; the replacement runs to its end.
///
/// # Errors
/// Whatever the file system says; the old content is then in place.
pub async fn replace_file(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
    let (path, bytes) = (path.into(), bytes.into());
    super::blocking(move || replace_file_blocking(&path, &bytes)).await
}

/// [`replace_file`] where blocking does no harm.
///
/// # Errors
/// Whatever the file system says; the old content is then in place.
pub fn replace_file_blocking(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Two writers of one file, in this process or another, must not share a temporary file.
    static UNIQUE: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}.new", std::process::id(), UNIQUE.fetch_add(1, Ordering::Relaxed)));
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = folder.join(temporary);

    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        // The first error tells more than a failure to clean up.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

/// Gives the file at `path` another name beside it, with `ending` after its own, in place of one that was set aside
/// before. Blocks. Tells the new name.
///
/// # Errors
/// Whatever the file system says; the file then has its old name.
pub fn set_aside_blocking(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".");
    aside.push(ending);
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.json");
        replace_file(&path, "one").await.unwrap();
        replace_file(&path, "two").await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        // A folder cannot be replaced by a file: the rename fails after the temporary file was written.
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "kept").unwrap();
        assert!(replace_file_blocking(&path, b"new").is_err());
        assert_eq!(fs::read_to_string(path.join("inside")).unwrap(), "kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
