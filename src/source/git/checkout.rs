//! The sources of a commit, read out of its objects when they are wanted.
//!
//! A module of its own because this is what is left of a fetch: an object store in a private folder that goes when the
//! last reader goes. Nothing is checked out, so no name in a tree can become a path on disk.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use gix::ObjectId;
use gix::objs::tree::EntryKind;

use super::GitError;
use super::progress::Limits;
use super::repository::{Repository, shown};
use super::signature::{SignatureError, Signer, SigningKeys};
use super::store::{Store, TreeEntry};
use crate::fabric::package::sources::{SourceEntry, SourceError, SourceKind, SourceTree};
use crate::runtime::scratch::Scratch;

/// The longest target of a link, as on Linux.
const LONGEST_TARGET: u64 = 4096;

/// The sources of a commit. Its temporary folder goes with it.
pub struct Checkout {
    store: Store,
    tree: Tree,
    repository: Repository,
    commit: ObjectId,
    path: String,
    limits: Limits,
    // Last, so that the files are closed when it goes.
    _scratch: Scratch,
}

impl fmt::Debug for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkout({} {} {:?})", self.repository, self.commit, self.path)
    }
}

impl Checkout {
    pub(super) fn new(
        store: Store,
        tree: Tree,
        (repository, commit, path): (Repository, ObjectId, String),
        limits: Limits,
        scratch: Scratch,
    ) -> Self {
        Self { store, tree, repository, commit, path, limits, _scratch: scratch }
    }

    /// The hash of the commit, in full.
    pub fn commit(&self) -> String {
        self.commit.to_string()
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Who signed the commit, of those whom the operator trusts.
    ///
    /// # Errors
    /// [`SignatureError`] when nobody of them did.
    pub fn signer(&self, keys: &SigningKeys) -> Result<Signer, SignatureError> {
        let commit = self.store.commit(self.commit);
        let commit = commit.map_err(|error| SignatureError::Unreadable { reason: error.to_string() })?;
        keys.signer(&commit)
    }

    /// The folder that was asked for, as a path of the tree: without `.`, and without a slash at either end.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl SourceTree for Checkout {
    fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError> {
        let found = self.tree.find(&self.store, path).map_err(|error| unreadable(path, error))?;
        found
            .map(|found| Tree::shown(&self.store, path.to_owned(), &found))
            .transpose()
            .map_err(|error| unreadable(path, error))
    }

    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, SourceError> {
        self.tree.list(&self.store, &self.limits, folder).map_err(|error| unreadable(folder, error))
    }

    fn read(&self, path: &str) -> Result<Bytes, SourceError> {
        let found = self.tree.find(&self.store, path).map_err(|error| unreadable(path, error))?;
        let found = found.ok_or_else(|| SourceError::Missing { path: shown(path) })?;
        let file = matches!(found.kind, EntryKind::Blob | EntryKind::BlobExecutable);
        if !file {
            return Err(SourceError::Kind { path: shown(path), found: "no file", wanted: "a file" });
        }
        self.store.file(found.id).map(Bytes::from).map_err(|error| unreadable(path, error))
    }
}

fn unreadable(path: &str, error: GitError) -> SourceError {
    match error {
        GitError::Limit { what, limit } => SourceError::TooLarge { what: format!("{limit} {what}") },
        other => SourceError::read(shown(path), other),
    }
}

/// The tree of a commit, with the trees of its submodules in their places.
pub(super) struct Tree {
    pub(super) root: ObjectId,
    /// By path, from the root.
    pub(super) submodules: BTreeMap<String, ObjectId>,
}

/// What a walk meets.
struct Walk<'a> {
    tree: &'a Tree,
    store: &'a Store,
    limits: &'a Limits,
    met: usize,
}

impl Tree {
    /// What lies at `path`. A submodule that was fetched is a folder.
    fn find(&self, store: &Store, path: &str) -> Result<Option<TreeEntry>, GitError> {
        let mut current = TreeEntry { name: String::new(), kind: EntryKind::Tree, id: self.root };
        if path.is_empty() {
            return Ok(Some(current));
        }
        let mut at = String::new();
        for name in path.split('/') {
            if current.kind != EntryKind::Tree {
                return Ok(None);
            }
            let Some(found) = store.tree(current.id)?.into_iter().find(|entry| entry.name == name) else {
                return Ok(None);
            };
            join(&mut at, name);
            current = self.entered(&at, found);
        }
        Ok(Some(current))
    }

    /// `entry` at `path`, a fetched submodule turned into a folder.
    fn entered(&self, path: &str, entry: TreeEntry) -> TreeEntry {
        match self.submodules.get(path) {
            Some(&id) if entry.kind == EntryKind::Commit => TreeEntry { kind: EntryKind::Tree, id, ..entry },
            _ => entry,
        }
    }

    /// Whether there is a folder at `path`, or a submodule.
    pub(super) fn is_directory(&self, store: &Store, path: &str) -> Result<bool, GitError> {
        let mut at = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            join(&mut at, name);
            match self.find(store, &at)?.map(|found| found.kind) {
                // It goes on in there, as far as is known yet.
                Some(EntryKind::Commit) => return Ok(true),
                Some(EntryKind::Tree) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The submodules at, above or below `path` that are not there yet, with their commits.
    pub(super) fn missing_submodules(
        &self,
        store: &Store,
        limits: &Limits,
        path: &str,
    ) -> Result<Vec<(String, ObjectId)>, GitError> {
        // One on the way to the path comes first: the path goes on in it.
        let mut at = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            join(&mut at, name);
            match self.find(store, &at)? {
                Some(found) if found.kind == EntryKind::Commit => return Ok(vec![(at, found.id)]),
                Some(_) => {}
                None => return Ok(Vec::new()),
            }
        }
        let mut missing = Vec::new();
        self.walk(store, limits, path, &mut |path, entry| {
            if entry.kind == EntryKind::Commit {
                missing.push((path, entry.id));
            }
            Ok(())
        })?;
        Ok(missing)
    }

    /// Everything below `folder`, within the limits.
    pub(super) fn list(&self, store: &Store, limits: &Limits, folder: &str) -> Result<Vec<SourceEntry>, GitError> {
        let (mut entries, mut total) = (Vec::new(), 0_u64);
        self.walk(store, limits, folder, &mut |path, entry| {
            let shown = Self::shown(store, path, entry)?;
            if shown.size > limits.object_bytes {
                return Err(GitError::limit("bytes in one object", limits.object_bytes));
            }
            total = total.saturating_add(shown.size);
            if total > limits.total_bytes {
                return Err(GitError::limit("bytes in all files", limits.total_bytes));
            }
            entries.push(shown);
            Ok(())
        })?;
        Ok(entries)
    }

    fn walk(
        &self,
        store: &Store,
        limits: &Limits,
        folder: &str,
        meet: &mut dyn FnMut(String, &TreeEntry) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let Some(start) = self.find(store, folder)?.filter(|found| found.kind == EntryKind::Tree) else {
            return Err(GitError::Path { path: shown(folder), reason: "there is no such folder in the repository" });
        };
        let mut walk = Walk { tree: self, store, limits, met: 0 };
        let depth = folder.split('/').filter(|name| !name.is_empty()).count();
        walk.descend(folder, start.id, depth, meet)
    }

    fn shown(store: &Store, path: String, entry: &TreeEntry) -> Result<SourceEntry, GitError> {
        let (kind, size) = match entry.kind {
            EntryKind::Tree => (SourceKind::Directory, 0),
            EntryKind::Blob | EntryKind::BlobExecutable => (SourceKind::File, store.size(entry.id)?),
            EntryKind::Commit => (SourceKind::Submodule, 0),
            EntryKind::Link => {
                let broken = |reason: &str| GitError::Object { id: entry.id.to_string(), reason: reason.to_owned() };
                if store.size(entry.id)? > LONGEST_TARGET {
                    return Err(broken("it is too long for the target of a link"));
                }
                let target = String::from_utf8(store.file(entry.id)?);
                let target = target.map_err(|_| broken("it is no target of a link"))?;
                (SourceKind::Symlink { target }, 0)
            }
        };
        Ok(SourceEntry { path, kind, size })
    }
}

impl Walk<'_> {
    fn descend(
        &mut self,
        folder: &str,
        id: ObjectId,
        depth: usize,
        meet: &mut dyn FnMut(String, &TreeEntry) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        // A tree cannot hold itself, its hash would have to be in it; a chain of folders can still be long.
        if depth > self.limits.depth {
            return Err(GitError::limit("folders in folders", self.limits.depth));
        }
        for entry in self.store.tree(id)? {
            self.met += 1;
            if self.met > self.limits.files {
                return Err(GitError::limit("files and folders", self.limits.files));
            }
            let mut path = folder.to_owned();
            join(&mut path, &entry.name);
            let entry = self.tree.entered(&path, entry);
            meet(path.clone(), &entry)?;
            if entry.kind == EntryKind::Tree {
                self.descend(&path, entry.id, depth + 1, meet)?;
            }
        }
        Ok(())
    }
}

fn join(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(name);
}

/// A path as a proposal writes it, as one of a tree.
pub(super) fn clean(path: &str) -> Result<String, GitError> {
    let refuse = |reason| GitError::Path { path: shown(path), reason };
    if path.contains(['\0', '\\']) || path.len() > 4096 {
        return Err(refuse("it is no path in a repository"));
    }
    let names: Vec<_> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") {
        return Err(refuse("it leads out of the repository"));
    }
    Ok(names.join("/"))
}
