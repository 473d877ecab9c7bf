//! Sources in memory: made rather than found.
//!
//! What a compiler gives is laid over the sources that it read, so a packager sees both as one tree.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{SourceEntry, SourceError, SourceKind, SourceTree, below, check_path, split};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File(Bytes),
    Link(String),
}

/// Files by path, in memory. Folders are there where files are below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryTree {
    nodes: BTreeMap<String, Node>,
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file, in place of what was at `path`.
    ///
    /// # Errors
    /// [`SourceError::Name`] for a path that no tree has, [`SourceError::Kind`] when a file lies where a folder is needed
    /// or the other way round.
    pub fn insert(&mut self, path: impl Into<String>, contents: impl Into<Bytes>) -> Result<(), SourceError> {
        self.put(path.into(), Node::File(contents.into()))
    }

    /// Puts a symbolic link, in place of what was at `path`.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn link(&mut self, path: impl Into<String>, target: impl Into<String>) -> Result<(), SourceError> {
        self.put(path.into(), Node::Link(target.into()))
    }

    fn put(&mut self, path: String, node: Node) -> Result<(), SourceError> {
        check_path(&path)?;
        if path.is_empty() || self.is_folder(&path) {
            return Err(SourceError::Kind { path, found: "a folder", wanted: "a file" });
        }
        let mut parent = split(&path).0;
        while !parent.is_empty() {
            if self.nodes.contains_key(parent) {
                return Err(SourceError::Kind { path: parent.to_owned(), found: "a file", wanted: "a folder" });
            }
            parent = split(parent).0;
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// The paths of all files and links, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// How many files and links there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes below a folder, the folder itself not.
    fn within<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a String, &'a Node)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let nodes = self.nodes.range(prefix.clone()..);
        nodes.take_while(move |(path, _)| path.starts_with(&prefix))
    }

    fn is_folder(&self, path: &str) -> bool {
        path.is_empty() || self.within(path).next().is_some()
    }
}

fn entry(path: &str, node: &Node) -> SourceEntry {
    let (kind, size) = match node {
        Node::File(contents) => (SourceKind::File, contents.len() as u64),
        Node::Link(target) => (SourceKind::Symlink { target: target.clone() }, 0),
    };
    SourceEntry { path: path.to_owned(), kind, size }
}

impl SourceTree for MemoryTree {
    fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError> {
        if let Some(node) = self.nodes.get(path) {
            return Ok(Some(entry(path, node)));
        }
        let folder = || SourceEntry { path: path.to_owned(), kind: SourceKind::Directory, size: 0 };
        Ok(self.is_folder(path).then(folder))
    }

    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, SourceError> {
        Ok(self.within(folder).map(|(path, node)| entry(path, node)).collect())
    }

    fn read(&self, path: &str) -> Result<Bytes, SourceError> {
        match self.nodes.get(path) {
            Some(Node::File(contents)) => Ok(contents.clone()),
            Some(Node::Link(_)) => Err(SourceError::Kind { path: path.to_owned(), found: "a link", wanted: "a file" }),
            None => Err(SourceError::Missing { path: path.to_owned() }),
        }
    }
}

/// One tree over another: what the upper one has, hides what the lower one has at the same path.
pub struct Overlay<'a> {
    lower: &'a dyn SourceTree,
    upper: MemoryTree,
}

impl<'a> Overlay<'a> {
    /// Lays `upper` over `lower`.
    pub fn new(lower: &'a dyn SourceTree, upper: MemoryTree) -> Self {
        Self { lower, upper }
    }
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("upper", &self.upper.len()).finish_non_exhaustive()
    }
}

impl Overlay<'_> {
    /// Whether the upper tree leaves nothing to see of the lower one at `path`.
    fn hides(&self, path: &str) -> bool {
        // A file above hides the folder below it with all it holds; a folder above hides a file or link.
        let mut parent = path;
        while !parent.is_empty() {
            if self.upper.nodes.contains_key(parent) {
                return true;
            }
            parent = split(parent).0;
        }
        false
    }
}

impl SourceTree for Overlay<'_> {
    fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError> {
        match self.upper.entry(path)? {
            Some(entry) => Ok(Some(entry)),
            None if self.hides(path) => Ok(None),
            None => self.lower.entry(path),
        }
    }

    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, SourceError> {
        let mut entries = self.upper.entries(folder)?;
        let lower = self.lower.entries(folder)?;
        entries.extend(lower.into_iter().filter(|entry| {
            let folder = entry.kind == SourceKind::Directory;
            below(&entry.path, "").is_some()
                && !self.hides(&entry.path)
                && (folder || !self.upper.is_folder(&entry.path))
        }));
        Ok(entries)
    }

    fn read(&self, path: &str) -> Result<Bytes, SourceError> {
        if self.hides(path) { self.upper.read(path) } else { self.lower.read(path) }
    }

    fn open(&self, path: &str) -> Result<Box<dyn std::io::Read + '_>, SourceError> {
        if self.hides(path) { self.upper.open(path) } else { self.lower.open(path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tree: &dyn SourceTree, folder: &str) -> Vec<String> {
        let mut paths: Vec<String> = tree.entries(folder).unwrap().into_iter().map(|entry| entry.path).collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_file_is_no_folder() {
        let mut tree = MemoryTree::new();
        tree.insert("a/b", "1").unwrap();
        assert!(matches!(tree.insert("a", "2"), Err(SourceError::Kind { .. })));
        assert!(matches!(tree.insert("a/b/c", "2"), Err(SourceError::Kind { .. })));
        assert!(matches!(tree.insert("", "2"), Err(SourceError::Kind { .. })));
        assert!(matches!(tree.insert("a/../b", "2"), Err(SourceError::Name { .. })));
        tree.insert("a/b", "2").unwrap();
        tree.insert("ab", "3").unwrap();
        assert_eq!(shown(&tree, "a"), ["a/b"]);
        assert_eq!(shown(&tree, ""), ["a/b", "ab"]);
        assert_eq!(tree.entry("a").unwrap().unwrap().kind, SourceKind::Directory);
        assert_eq!(tree.entry("c").unwrap(), None);
    }

    #[test]
    fn the_upper_tree_hides_the_lower() {
        let mut lower = MemoryTree::new();
        for path in ["a/kept", "a/replaced", "b/gone", "c"] {
            lower.insert(path, "lower").unwrap();
        }
        let mut upper = MemoryTree::new();
        for path in ["a/replaced", "a/new", "b", "c/now/a/folder"] {
            upper.insert(path, "upper").unwrap();
        }
        let tree = Overlay::new(&lower, upper);
        assert_eq!(shown(&tree, ""), ["a/kept", "a/new", "a/replaced", "b", "c/now/a/folder"]);
        assert_eq!(tree.read("a/kept").unwrap(), "lower");
        assert_eq!(tree.read("a/replaced").unwrap(), "upper");
        assert_eq!(tree.entry("b/gone").unwrap(), None);
        assert_eq!(tree.entry("c").unwrap().unwrap().kind, SourceKind::Directory);
    }
}
