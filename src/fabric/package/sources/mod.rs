//! Chaincode sources as a packager sees them.
//!
//! A module of its own because packagers do not care where sources lie: in a git object store, in a folder, in memory.
//! Contents are read one file at a time, so a package needs no more memory than its largest file.
//!
//! Paths are relative to the root of the tree, separated by `/`, without `.`, `..`, empty or non-UTF-8 names; the root is
//! the empty path. A tree reports symlinks as what they are; following them, and refusing those that lead outside,
//! is done here, in [`resolve`], once for all trees.

mod directory;
mod inside;
mod memory;

use std::io::Read;

use bytes::{Buf as _, Bytes};

pub use directory::DirectoryTree;
pub use inside::Inside;
pub use memory::{MemoryTree, Overlay};

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A regular file, whatever its mode.
    File,
    /// A folder.
    Directory,
    /// A symbolic link with its target, as it is written.
    Symlink {
        /// Relative to the folder of the link.
        target: String,
    },
    /// Another repository at this place, which was not fetched.
    Submodule,
    /// A device, socket or pipe.
    Special,
}

/// A file, folder or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// From the root of the tree.
    pub path: String,
    /// What it is.
    pub kind: SourceKind,
    /// Bytes of a file; 0 otherwise.
    pub size: u64,
}

/// Chaincode sources.
pub trait SourceTree {
    /// What lies at `path`, a link not followed; `None` when there is nothing. The root is a directory.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be found out.
    fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError>;

    /// Everything below the directory `folder` at all depths, itself not, in any order, links not followed. Directories
    /// may be left out.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be found out.
    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, SourceError>;

    /// The contents of the file at `path`, which is a regular one.
    ///
    /// # Errors
    /// [`SourceError`], also when there is no such file.
    fn read(&self, path: &str) -> Result<Bytes, SourceError>;

    /// A reader of the file at `path`, for trees that need not hold it in memory.
    ///
    /// # Errors
    /// [`SourceError`], also when there is no such file.
    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, SourceError> {
        Ok(Box::new(self.read(path)?.reader()))
    }
}

/// Why sources cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is nothing at this path.
    #[error("{path} is not there")]
    Missing {
        /// Where.
        path: String,
    },
    /// It is something else than is needed.
    #[error("{path} is {found}, not {wanted}")]
    Kind {
        /// Where.
        path: String,
        /// What is there.
        found: &'static str,
        /// What should be.
        wanted: &'static str,
    },
    /// A link leads out of the tree, in a circle, or to nothing.
    #[error("link {path} leads {whither}")]
    Link {
        /// The link.
        path: String,
        /// To where.
        whither: &'static str,
    },
    /// A name that no package can hold.
    #[error("{path:?} is no path that a package can hold")]
    Name {
        /// The path, with its broken characters replaced.
        path: String,
    },
    /// There is more than the limit allows.
    #[error("sources are larger than {what}")]
    TooLarge {
        /// The limit.
        what: String,
    },
    /// The tree itself (disk, object store) failed.
    #[error("{path} cannot be read")]
    Read {
        /// Where.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SourceError {
    /// The tree itself failed at `path`.
    pub fn read(path: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Read { path: path.into(), source: source.into() }
    }
}

impl SourceKind {
    /// What it is, in words.
    fn shown(&self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a folder",
            Self::Symlink { .. } => "a link",
            Self::Submodule => "a submodule that was not fetched",
            Self::Special => "a special file",
        }
    }
}

/// How many links may lead to one file, as on Linux.
const LINKS: usize = 40;
/// The longest path; longer ones fit into no system.
const LONGEST_PATH: usize = 4096;

/// Checks that `path` names something below the root, or the root itself.
///
/// # Errors
/// [`SourceError::Name`].
pub fn check_path(path: &str) -> Result<(), SourceError> {
    let good = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    if path.is_empty() || (path.len() <= LONGEST_PATH && path.split('/').all(good)) {
        return Ok(());
    }
    let shown = path.chars().take(200).collect();
    Err(SourceError::Name { path: shown })
}

/// `folder` and `name`, joined.
pub(super) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", _) => name.to_owned(),
        (_, "") => folder.to_owned(),
        _ => format!("{folder}/{name}"),
    }
}

/// The folder of a path and its last name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// `path` below `folder`, if it is there; the folder itself is the empty path.
pub(super) fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// What lies at `path` when every link on the way is followed: a file or a folder, with its own path.
///
/// # Errors
/// [`SourceError::Link`] when a link leads outside of the tree, in a circle or to nothing; [`SourceError::Missing`].
pub fn resolve(tree: &dyn SourceTree, path: &str) -> Result<SourceEntry, SourceError> {
    check_path(path)?;
    let mut names: Vec<String> = path.split('/').filter(|name| !name.is_empty()).rev().map(str::to_owned).collect();
    let mut at = String::new();
    let mut links = 0;
    let link = |whither| SourceError::Link { path: path.to_owned(), whither };
    let mut found = SourceEntry { path: String::new(), kind: SourceKind::Directory, size: 0 };
    while let Some(name) = names.pop() {
        if name == ".." {
            if at.is_empty() {
                return Err(link("outside of the sources"));
            }
            at.truncate(split(&at).0.len());
            found = SourceEntry { path: at.clone(), kind: SourceKind::Directory, size: 0 };
            continue;
        }
        if found.kind != SourceKind::Directory {
            return Err(SourceError::Kind { path: at, found: found.kind.shown(), wanted: "a folder" });
        }
        let next = join(&at, &name);
        let entry = match tree.entry(&next)? {
            Some(entry) => entry,
            None if links > 0 => return Err(link("to nothing")),
            None => return Err(SourceError::Missing { path: next }),
        };
        let SourceKind::Symlink { target } = &entry.kind else {
            at = next;
            found = entry;
            continue;
        };
        links += 1;
        if links > LINKS {
            return Err(link("in a circle"));
        }
        if target.starts_with('/') {
            return Err(link("outside of the sources"));
        }
        if target.len() > LONGEST_PATH || target.contains('\0') || target.is_empty() {
            return Err(link("to nothing"));
        }
        // A link to a folder may be written with a slash or a dot at its end.
        let steps = target.split('/').filter(|name| !matches!(*name, "" | ".")).rev();
        names.extend(steps.map(str::to_owned));
    }
    match found.kind {
        SourceKind::File | SourceKind::Directory => Ok(found),
        other => Err(SourceError::Kind { path: path.to_owned(), found: other.shown(), wanted: "a file" }),
    }
}

/// The regular file at `path`, links followed.
///
/// # Errors
/// As [`resolve`], and [`SourceError::Kind`] for a folder.
pub fn resolve_file(tree: &dyn SourceTree, path: &str) -> Result<SourceEntry, SourceError> {
    let entry = resolve(tree, path)?;
    match entry.kind {
        SourceKind::File => Ok(entry),
        other => Err(SourceError::Kind { path: path.to_owned(), found: other.shown(), wanted: "a file" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> MemoryTree {
        let mut tree = MemoryTree::new();
        tree.insert("a/b/file", "1").unwrap();
        tree.insert("top", "2").unwrap();
        let links = [
            ("a/up", "../top"),
            ("a/folder", "b"),
            ("a/through", "folder/file"),
            ("a/dot", "./b/./file"),
            ("a/out", "../../top"),
            ("a/absolute", "/etc/passwd"),
            ("a/self", "self"),
            ("a/nothing", "b/none"),
            ("a/back", "folder/../../top"),
        ];
        for (path, target) in links {
            tree.link(path, target).unwrap();
        }
        tree
    }

    #[test]
    fn links_are_followed_inside_only() {
        let tree = tree();
        let check = |path: &str, expected: &str| {
            let found = resolve_file(&tree, path).map_or_else(|error| error.to_string(), |entry| entry.path);
            assert_eq!(found, expected, "for {path}");
        };
        check("a/b/file", "a/b/file");
        check("a/up", "top");
        check("a/folder/file", "a/b/file");
        check("a/through", "a/b/file");
        check("a/dot", "a/b/file");
        check("a/back", "top");
        check("a/out", "link a/out leads outside of the sources");
        check("a/absolute", "link a/absolute leads outside of the sources");
        check("a/self", "link a/self leads in a circle");
        check("a/nothing", "link a/nothing leads to nothing");
        check("a/folder", "a/folder is a folder, not a file");
        check("none", "none is not there");
        check("top/x", "top is a file, not a folder");
        check("../top", "\"../top\" is no path that a package can hold");
        check("a//b", "\"a//b\" is no path that a package can hold");
    }
}
