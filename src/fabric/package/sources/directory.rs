//! Sources in a folder of this machine.
//!
//! Links are not followed here, so nothing outside of the folder is read; an absolute link into the folder itself counts
//! as one inside.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{SourceEntry, SourceError, SourceKind, SourceTree, check_path, join, split};

/// The files of a folder.
#[derive(Debug, Clone)]
pub struct DirectoryTree {
    root: PathBuf,
}

impl DirectoryTree {
    /// The tree whose root is the folder `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn describe(&self, path: String) -> Result<SourceEntry, SourceError> {
        let on_disk = self.at(&path);
        let failed = |error| SourceError::read(path.clone(), error);
        // The root may be reached by a link: that was the caller's choice.
        let metadata = if path.is_empty() { fs::metadata(&on_disk) } else { fs::symlink_metadata(&on_disk) };
        let metadata = metadata.map_err(failed)?;
        let kind = metadata.file_type();
        let kind = if kind.is_symlink() {
            SourceKind::Symlink { target: self.target(&path, &on_disk)? }
        } else if kind.is_dir() {
            SourceKind::Directory
        } else if kind.is_file() {
            SourceKind::File
        } else {
            SourceKind::Special
        };
        let size = if kind == SourceKind::File { metadata.len() } else { 0 };
        Ok(SourceEntry { path, kind, size })
    }

    fn target(&self, path: &str, on_disk: &Path) -> Result<String, SourceError> {
        let target = fs::read_link(on_disk).map_err(|error| SourceError::read(path, error))?;
        let inside = target.strip_prefix(&self.root).ok().and_then(Path::to_str);
        if let Some(inside) = inside {
            let up = "../".repeat(split(path).0.split('/').filter(|name| !name.is_empty()).count());
            return Ok(format!("{up}{}", if inside.is_empty() { "." } else { inside }));
        }
        let name = || SourceError::Name { path: target.to_string_lossy().into_owned() };
        Ok(target.to_str().ok_or_else(name)?.to_owned())
    }
}

impl SourceTree for DirectoryTree {
    fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError> {
        check_path(path)?;
        match fs::symlink_metadata(self.at(path)) {
            Ok(_) => self.describe(path.to_owned()).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(SourceError::read(path, error)),
        }
    }

    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, SourceError> {
        check_path(folder)?;
        let mut entries = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let failed = |error| SourceError::read(folder.clone(), error);
            for found in fs::read_dir(self.at(&folder)).map_err(failed)? {
                let name = found.map_err(failed)?.file_name();
                let Some(name) = name.to_str() else {
                    return Err(SourceError::Name { path: join(&folder, &name.to_string_lossy()) });
                };
                let entry = self.describe(join(&folder, name))?;
                if entry.kind == SourceKind::Directory {
                    folders.push(entry.path.clone());
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn read(&self, path: &str) -> Result<Bytes, SourceError> {
        check_path(path)?;
        fs::read(self.at(path)).map(Bytes::from).map_err(|error| SourceError::read(path, error))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, SourceError> {
        check_path(path)?;
        let file = File::open(self.at(path)).map_err(|error| SourceError::read(path, error))?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolve_file;
    use super::*;

    #[test]
    fn a_folder_is_read_without_following_links() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/file"), "12345").unwrap();
        let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        link(&folder.path().join("a/file"), "a/absolute");
        link(outside.path(), "out");
        let tree = DirectoryTree::new(folder.path());
        let mut entries = tree.entries("").unwrap();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["a", "a/absolute", "a/file", "out"]);
        assert_eq!(entries[2], SourceEntry { path: "a/file".into(), kind: SourceKind::File, size: 5 });
        assert_eq!(resolve_file(&tree, "a/absolute").unwrap().path, "a/file");
        assert!(matches!(resolve_file(&tree, "out/secret"), Err(SourceError::Link { .. })));
        assert!(matches!(tree.read("../secret"), Err(SourceError::Name { .. })));
        assert_eq!(tree.entry("b").unwrap(), None);
    }
}
