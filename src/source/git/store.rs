//! Objects on disk, read with limits.
//!
//! A module of its own because an object may be missing, of the wrong kind or too large, and a tree may hold names that
//! no tree should: whoever reads gets an error or something sound.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gix::ObjectId;
use gix::objs::{Find as _, FindHeader as _, Kind, TreeRefIter};

use super::repository::shown;
use super::{GitError, text};

/// Tags that point at tags.
const LONGEST_TAG_CHAIN: usize = 8;

/// An object store.
pub(super) struct Store {
    objects: Mutex<gix::odb::Handle>,
    limit: usize,
    leaves_out: bool,
}

/// What a tree holds under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeEntry {
    pub(super) name: String,
    pub(super) kind: gix::objs::tree::EntryKind,
    pub(super) id: ObjectId,
}

impl Store {
    /// Opens the store in `folder`; no object of more than `limit` bytes is read out of it.
    pub(super) fn open(folder: &Path, limit: usize) -> Result<Self, GitError> {
        let options = gix::odb::store::init::Options {
            alloc_limit_bytes: Some(limit),
            use_multi_pack_index: false,
            current_dir: Some(folder.to_owned()),
            ..Default::default()
        };
        let objects = gix::odb::at_opts(folder.join("objects"), gix::hash::Kind::Sha1, None, options)
            .map_err(GitError::Folder)?;
        Ok(Self { objects: Mutex::new(objects), limit, leaves_out: false })
    }

    /// A file that is missing is then one that was left out, as it is too large.
    pub(super) fn leaving_out(self, leaves_out: bool) -> Self {
        Self { leaves_out, ..self }
    }

    fn objects(&self) -> MutexGuard<'_, gix::odb::Handle> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is such an object.
    pub(super) fn has(&self, id: ObjectId) -> bool {
        matches!(self.objects().try_header(&id), Ok(Some(_)))
    }

    /// An object and its kind.
    fn find(&self, id: ObjectId) -> Result<(Kind, Vec<u8>), GitError> {
        let mut buffer = Vec::new();
        let kind = match self.objects().try_find(&id, &mut buffer) {
            Ok(Some(found)) => found.kind,
            Ok(None) => return Err(GitError::Object { id: id.to_string(), reason: "it is missing".to_owned() }),
            Err(error) => return Err(GitError::Object { id: id.to_string(), reason: text::chain(&error) }),
        };
        Ok((kind, buffer))
    }

    fn find_kind(&self, id: ObjectId, wanted: Kind) -> Result<Vec<u8>, GitError> {
        match self.find(id)? {
            (kind, data) if kind == wanted => Ok(data),
            (kind, _) => {
                Err(GitError::Object { id: id.to_string(), reason: format!("it is a {kind}, not a {wanted}") })
            }
        }
    }

    /// The size of the file `id`.
    pub(super) fn size(&self, id: ObjectId) -> Result<u64, GitError> {
        match self.objects().try_header(&id) {
            Ok(Some(header)) if header.kind == Kind::Blob => Ok(header.size),
            Ok(Some(_)) => Err(GitError::Object { id: id.to_string(), reason: "it is no file".to_owned() }),
            // The server was asked to leave out what is larger, and to send everything else.
            Ok(None) if self.leaves_out => Err(GitError::limit("bytes in one object", self.limit)),
            Ok(None) => Err(GitError::Object { id: id.to_string(), reason: "it is missing".to_owned() }),
            Err(error) => Err(GitError::Object { id: id.to_string(), reason: text::chain(&error) }),
        }
    }

    /// The contents of the file `id`.
    pub(super) fn file(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        self.find_kind(id, Kind::Blob)
    }

    /// The commit `id`, as it was signed.
    pub(super) fn commit(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        self.find_kind(id, Kind::Commit)
    }

    /// The commit that `id` is, or that the tag `id` is for.
    pub(super) fn commit_of(&self, id: ObjectId) -> Result<ObjectId, GitError> {
        let mut current = id;
        for _ in 0..LONGEST_TAG_CHAIN {
            let (kind, data) = self.find(current)?;
            match kind {
                Kind::Commit => return Ok(current),
                Kind::Tag => {
                    let broken =
                        |error: gix::Error| GitError::Object { id: current.to_string(), reason: text::chain(&error) };
                    current =
                        gix::objs::TagRefIter::from_bytes(&data, gix::hash::Kind::Sha1).target_id().map_err(broken)?;
                }
                Kind::Tree | Kind::Blob => break,
            }
        }
        Err(GitError::Object { id: id.to_string(), reason: "it is neither a commit nor a tag of one".to_owned() })
    }

    /// The tree of the commit `id`.
    pub(super) fn tree_of(&self, id: ObjectId) -> Result<ObjectId, GitError> {
        let data = self.commit(id)?;
        gix::objs::CommitRefIter::from_bytes(&data, gix::hash::Kind::Sha1)
            .tree_id()
            .map_err(|error| GitError::Object { id: id.to_string(), reason: text::chain(&error) })
    }

    /// What the tree `id` holds.
    pub(super) fn tree(&self, id: ObjectId) -> Result<Vec<TreeEntry>, GitError> {
        let data = self.find_kind(id, Kind::Tree)?;
        let broken = |reason: String| GitError::Object { id: id.to_string(), reason };
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        for entry in TreeRefIter::from_bytes(&data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| broken(text::chain(&error)))?;
            let name = std::str::from_utf8(entry.filename).ok().filter(|name| is_sound(name));
            let Some(name) = name else {
                return Err(broken(format!("it holds a file named {:?}", shown(&entry.filename.to_string()))));
            };
            if !names.insert(name.to_owned()) {
                return Err(broken(format!("it holds {:?} twice", shown(name))));
            }
            entries.push(TreeEntry { name: name.to_owned(), kind: entry.mode.kind(), id: entry.oid.to_owned() });
        }
        Ok(entries)
    }

    /// All commits whose hash starts so.
    pub(super) fn commits_with(&self, prefix: gix::hash::Prefix) -> Result<Vec<ObjectId>, GitError> {
        let mut candidates = HashSet::new();
        let objects = self.objects();
        objects
            .lookup_prefix(prefix, Some(&mut candidates))
            .map_err(|error| GitError::Object { id: prefix.to_string(), reason: text::chain(&error) })?;
        let is_commit =
            |id: &ObjectId| matches!(objects.try_header(id), Ok(Some(header)) if header.kind == Kind::Commit);
        Ok(candidates.into_iter().filter(is_commit).collect())
    }
}

/// Whether `name` is one that a file can have and that leads nowhere else.
fn is_sound(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) && !name.eq_ignore_ascii_case(".git")
}
