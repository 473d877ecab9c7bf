//! One folder of a tree, as a tree of its own.
//!
//! What is compiled or built has its `package.json` at the root, and must not see what lies above it.

use std::io::Read;

use bytes::Bytes;

use super::{SourceEntry, SourceError, SourceTree};

/// The folder of a tree.
pub struct Inside<'a> {
    tree: &'a dyn SourceTree,
    folder: &'a str,
}

impl<'a> Inside<'a> {
    /// The folder at `folder` of `tree`; the empty path is all of it.
    #[must_use]
    pub fn new(tree: &'a dyn SourceTree, folder: &'a str) -> Self {
        Self { tree, folder }
    }

    fn outer(&self, path: &str) -> String {
        match (self.folder, path) {
            ("", path) => path.to_owned(),
            (folder, "") => folder.to_owned(),
            (folder, path) => format!("{folder}/{path}"),
        }
    }

    fn inner(&self, mut entry: SourceEntry) -> Option<SourceEntry> {
        if !self.folder.is_empty() {
            let rest = entry.path.strip_prefix(self.folder)?;
            entry.path = rest.strip_prefix('/').unwrap_or(rest).to_owned();
        }
        Some(entry)
    }
}

impl SourceTree for Inside<'_> {
    fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError> {
        Ok(self.tree.entry(&self.outer(path))?.and_then(|entry| self.inner(entry)))
    }

    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, SourceError> {
        let entries = self.tree.entries(&self.outer(folder))?;
        Ok(entries.into_iter().filter_map(|entry| self.inner(entry)).collect())
    }

    fn read(&self, path: &str) -> Result<Bytes, SourceError> {
        self.tree.read(&self.outer(path))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, SourceError> {
        self.tree.open(&self.outer(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::package::sources::{MemoryTree, resolve};

    #[test]
    fn nothing_above_the_folder_is_seen() {
        let mut tree = MemoryTree::new();
        tree.insert("secret", "s").unwrap();
        tree.insert("a/b/c", "1").unwrap();
        tree.insert("a/bb", "2").unwrap();
        tree.link("a/b/up", "../../secret").unwrap();
        let inside = Inside::new(&tree, "a/b");
        let mut paths: Vec<String> = inside.entries("").unwrap().into_iter().map(|entry| entry.path).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["c", "up"]);
        assert_eq!(inside.entry("").unwrap().unwrap().path, "");
        assert_eq!(inside.entry("c").unwrap().unwrap().path, "c");
        assert_eq!(inside.read("c").unwrap(), "1");
        assert!(inside.entry("../bb").map_or(true, |entry| entry.is_none()));
        assert!(resolve(&inside, "up").is_err());
        assert_eq!(Inside::new(&tree, "").read("a/bb").unwrap(), "2");
    }
}
