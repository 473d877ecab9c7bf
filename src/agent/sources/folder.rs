//! Sources written into a folder, for a build command.
//!
//! Nothing can be written outside of it: paths are checked again, files are only ever made anew, and links, of which only
//! those inside are kept, come last, so that nothing is written through one.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::fabric::package::sources::{SourceError, SourceKind, SourceTree, resolve};

/// Writes `tree` into `folder`, which is made.
///
/// # Errors
/// [`SourceError`] for what cannot be read, or not be written.
pub(super) fn write(tree: &dyn SourceTree, folder: &Path) -> Result<(), SourceError> {
    make(folder).map_err(|error| SourceError::read("", error))?;
    let mut links = Vec::new();
    for entry in tree.entries("")? {
        let to = below(folder, &entry.path)?;
        let failed = |error: io::Error| SourceError::read(entry.path.clone(), error);
        match entry.kind {
            SourceKind::Directory => make(&to).map_err(failed)?,
            SourceKind::File => {
                if let Some(parent) = to.parent() {
                    make(parent).map_err(failed)?;
                }
                // Whatever a script runs of these may be run: nothing says which files those are.
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&to).map_err(failed)?;
                io::copy(&mut tree.open(&entry.path)?, &mut file).map_err(failed)?;
            }
            SourceKind::Symlink { target } => links.push((entry.path, to, target)),
            // What was not fetched is not there.
            _ => {}
        }
    }
    for (path, to, target) in links {
        if resolve(tree, &path).is_err() {
            continue;
        }
        if let Some(parent) = to.parent() {
            make(parent).map_err(|error| SourceError::read(path.clone(), error))?;
        }
        symlink(&target, &to).map_err(|error| SourceError::read(path, error))?;
    }
    Ok(())
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn below(folder: &Path, path: &str) -> Result<PathBuf, SourceError> {
    let plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    if path.split('/').all(plain) {
        return Ok(folder.join(path));
    }
    Err(SourceError::Name { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::fabric::package::sources::{MemoryTree, SourceEntry};

    #[test]
    fn sources_are_written_with_the_links_that_stay_inside() {
        let mut tree = MemoryTree::new();
        tree.insert("package.json", "{}").unwrap();
        tree.insert("src/a/index.ts", "1").unwrap();
        tree.link("src/link", "a/index.ts").unwrap();
        tree.link("folder", "src").unwrap();
        tree.link("out", "/etc/passwd").unwrap();
        tree.link("up", "../x").unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("sources");
        write(&tree, &folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("src/link")).unwrap(), "1");
        assert_eq!(fs::read_to_string(folder.join("folder/a/index.ts")).unwrap(), "1");
        assert!(fs::symlink_metadata(folder.join("out")).is_err() && fs::symlink_metadata(folder.join("up")).is_err());
    }

    /// A tree that lies.
    struct Hostile(&'static [(&'static str, SourceKind)]);

    impl SourceTree for Hostile {
        fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError> {
            let found = self.0.iter().find(|(known, _)| *known == path);
            Ok(found.map(|(path, kind)| SourceEntry { path: (*path).to_owned(), kind: kind.clone(), size: 1 }))
        }

        fn entries(&self, _: &str) -> Result<Vec<SourceEntry>, SourceError> {
            let all = self.0.iter();
            Ok(all.map(|(path, kind)| SourceEntry { path: (*path).to_owned(), kind: kind.clone(), size: 1 }).collect())
        }

        fn read(&self, _: &str) -> Result<Bytes, SourceError> {
            Ok(Bytes::from_static(b"x"))
        }
    }

    /// Two files of one name.
    const TWICE: &[(&str, SourceKind)] = &[("a/file", SourceKind::File), ("a/file", SourceKind::File)];

    #[test]
    fn no_tree_escapes() {
        for path in ["../escaped", "/etc/escaped", "a/../../escaped", "a//b", ""] {
            let place = tempfile::tempdir().unwrap();
            let entry = Box::leak(Box::new([(path, SourceKind::File)]));
            assert!(write(&Hostile(entry), &place.path().join("sources")).is_err(), "{path:?}");
            assert!(!place.path().join("escaped").exists());
        }
        let place = tempfile::tempdir().unwrap();
        assert!(write(&Hostile(TWICE), &place.path().join("sources")).is_err());
    }
}
