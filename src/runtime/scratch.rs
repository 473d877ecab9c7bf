//! Private temporary folders that do not outlive their process for long.
//!
//! A module of its own because what is fetched or built may be secret and large: nobody else may read it, it goes when
//! its owner goes, and what a crash left behind goes when the next folder is made. Several processes may share one base
//! folder: each folder holds a lock for as long as its owner lives, and only folders without an owner are swept away.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What every such folder is called, before its own part.
const PREFIX: &str = "opssc-";
/// Held locked by the owner, in the folder itself.
const OWNER: &str = ".owner";
/// Held locked in the base folder while folders are made or swept.
const TURNSTILE: &str = ".opssc-scratch";
/// Whether others may write to a folder, and whether they may only remove what is theirs.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// A private temporary folder; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Locked while this lives.
    _owner: File,
}

impl Scratch {
    /// Makes a folder in `base`, which is made too where it is missing, after sweeping away what nobody owns any more.
    ///
    /// # Errors
    /// Whatever the file system says; [`io::ErrorKind::PermissionDenied`] when others could replace the folder.
    pub fn create(base: &Path) -> io::Result<Self> {
        let turnstile = enter(base)?;
        sweep_entered(base);
        let path = loop {
            let unique = RandomState::new().build_hasher().finish();
            let path = base.join(format!("{PREFIX}{}-{unique:016x}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let owned = lock_owner(&path).and_then(|owner| guarded(base, &path).map(|()| owner));
        drop(turnstile);
        match owned {
            Ok(owner) => Ok(Self { path, _owner: owner }),
            Err(error) => {
                // The first error tells more than a failure to clean up.
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    /// Removes the folders in `base` that nobody owns any more, and tells how many those were.
    ///
    /// # Errors
    /// `base` cannot be read or locked. That it is not there is no error.
    pub fn sweep(base: &Path) -> io::Result<usize> {
        if !base.try_exists()? {
            return Ok(0);
        }
        let _turnstile = enter(base)?;
        Ok(sweep_entered(base))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "a temporary folder is left to the next sweep");
        }
    }
}

/// Waits for the turn of this process in `base`.
fn enter(base: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(base)?;
    let turnstile = File::options().create(true).append(true).open(base.join(TURNSTILE))?;
    turnstile.lock()?;
    Ok(turnstile)
}

fn lock_owner(path: &Path) -> io::Result<File> {
    let owner = File::create_new(path.join(OWNER))?;
    owner.lock()?;
    Ok(owner)
}

/// Refuses a base folder in which somebody else could put another folder in the place of ours.
fn guarded(base: &Path, path: &Path) -> io::Result<()> {
    let (base, ours) = (fs::metadata(base)?, fs::metadata(path)?);
    let kept = base.mode() & OTHERS_WRITE == 0 || base.mode() & STICKY != 0;
    if kept && (base.uid() == ours.uid() || base.uid() == 0) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "other users could replace temporary files in this folder"))
}

fn sweep_entered(base: &Path) -> usize {
    let Ok(entries) = fs::read_dir(base) else { return 0 };
    let mut swept = 0;
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // A link is none of ours, and must not lead anywhere.
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let abandoned = match File::open(path.join(OWNER)) {
            Ok(owner) => match owner.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
            },
            // Its owner died between making the folder and locking it: nobody else is at that now.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if abandoned && fs::remove_dir_all(&path).is_ok() {
            swept += 1;
            tracing::info!(folder = %path.display(), "removed a temporary folder that an earlier process left behind");
        }
    }
    swept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folders(base: &Path) -> usize {
        fs::read_dir(base).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
    }

    #[test]
    fn is_private_and_goes_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().join("deep/er");
        let scratch = Scratch::create(&base).unwrap();
        assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(scratch.path().join("inside")).unwrap();
        fs::write(scratch.path().join("inside/file"), "secret").unwrap();
        drop(scratch);
        assert_eq!(folders(&base), 0);
    }

    #[test]
    fn what_a_crash_left_is_swept_and_what_lives_is_not() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let living = Scratch::create(base).unwrap();
        // As a killed process leaves it: the lock is gone with the process, the files are not.
        let left = base.join("opssc-1-0000000000000001");
        fs::create_dir_all(left.join("objects/pack")).unwrap();
        fs::write(left.join(OWNER), "").unwrap();
        let unlocked = base.join("opssc-1-0000000000000002");
        fs::create_dir(&unlocked).unwrap();
        let elsewhere = base.join("precious");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, base.join("opssc-link")).unwrap();

        assert_eq!(Scratch::sweep(base).unwrap(), 2);
        assert!(living.path().is_dir() && elsewhere.is_dir() && !left.exists() && !unlocked.exists());
        assert_eq!(Scratch::sweep(base).unwrap(), 0);
        assert_eq!(Scratch::sweep(&base.join("missing")).unwrap(), 0);
    }

    #[test]
    fn a_folder_that_anybody_may_change_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        fs::set_permissions(base, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(Scratch::create(base).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(folders(base), 0);
        fs::set_permissions(base, fs::Permissions::from_mode(0o1777)).unwrap();
        Scratch::create(base).unwrap();
    }
}
