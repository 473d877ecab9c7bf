//! A repository and its submodules, fetched one after the other into one store.
//!
//! A module of its own because a submodule's address is text in the sources: it is read like a proposal's, as a host and
//! a path, asked for permission like it, and what a server there asks for is not shown to it unless the operator says so.
//!
//! Source: `gitmodules(5)`, `git-submodule(1)` on relative addresses.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::tree::EntryKind;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::checkout::{self, Checkout, Tree};
use super::http::Line;
use super::progress::Meter;
use super::repository::{Repository, Revision, shown};
use super::session::Session;
use super::store::Store;
use super::{GitError, Shared, text};
use crate::runtime::CancellationToken;
use crate::runtime::scratch::Scratch;

/// The largest list of submodules.
const LONGEST_LIST: u64 = 1024 * 1024;

/// A fetch under way, on a thread that may block.
pub(super) struct Fetching {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Handle,
    pub(super) cancelled: CancellationToken,
    pub(super) deadline: Instant,
    pub(super) meter: Arc<Meter>,
}

impl Fetching {
    /// Fetches, and outlives a fault of the git library that bytes of a server bring out.
    pub(super) fn run_soundly(
        &self,
        repository: &Repository,
        revision: &Revision,
        path: &str,
    ) -> Result<Checkout, GitError> {
        let run = AssertUnwindSafe(|| self.run(repository.clone(), revision, path));
        std::panic::catch_unwind(run).unwrap_or_else(|_| {
            let reason = "what it sends brings out a fault of the git library".to_owned();
            Err(GitError::Server { repository: repository.to_string(), reason })
        })
    }

    fn run(&self, repository: Repository, revision: &Revision, path: &str) -> Result<Checkout, GitError> {
        let path = checkout::clean(path)?;
        let scratch = Scratch::create(&self.shared.folder).map_err(GitError::Folder)?;
        DirBuilder::new().recursive(true).create(scratch.path().join("objects/pack")).map_err(GitError::Folder)?;
        let mut session = self.session(&repository, &repository, scratch.path())?;
        let commit = session.fetch(revision)?;
        let mut leaves_out = session.leaves_out();
        let limits = self.meter.limits();
        let object_bytes = usize::try_from(limits.object_bytes).unwrap_or(usize::MAX);
        let store = Store::open(scratch.path(), object_bytes)?;
        let mut tree = Tree { root: store.tree_of(commit)?, submodules: BTreeMap::new() };
        if !tree.is_directory(&store, &path)? {
            return Err(GitError::Path { path, reason: "there is no such folder in the repository" });
        }
        leaves_out |= self.submodules(&repository, &store, &mut tree, &path, scratch.path())?;
        let store = store.leaving_out(leaves_out);
        // The limits hold before anything is read.
        tree.list(&store, limits, &path)?;
        Ok(Checkout::new(store, tree, (repository, commit, path), limits.clone(), scratch))
    }

    fn session(&self, repository: &Repository, proposed: &Repository, folder: &Path) -> Result<Session, GitError> {
        if let Some(permit) = &self.shared.permit {
            permit(repository)
                .map_err(|reason| GitError::NotPermitted { repository: repository.to_string(), reason })?;
        }
        let url = self.shared.rewrites.apply(&repository.url());
        let login = match &self.shared.credentials {
            Some(credentials) => credentials.header(repository.host(), proposed.host())?,
            None => None,
        };
        if !self.shared.has_roots {
            let reason = "this system trusts no CA certificates, and none are set".to_owned();
            return Err(GitError::Settings { reason });
        }
        tracing::debug!(%repository, %url, "fetching from git");
        let line = Line::new(
            self.shared.client.clone(),
            self.handle.clone(),
            (self.cancelled.clone(), self.deadline),
            Arc::clone(&self.meter),
            repository.to_string(),
            login,
        );
        Session::open(Arc::new(line), &url, folder)
    }

    /// Fetches the submodules below `path`, and those in them; whether a server left something out.
    fn submodules(
        &self,
        proposed: &Repository,
        store: &Store,
        tree: &mut Tree,
        path: &str,
        folder: &Path,
    ) -> Result<bool, GitError> {
        let mut leaves_out = false;
        let limits = self.meter.limits();
        // The repositories whose trees are known, with where they lie and who they are.
        let mut homes = vec![(String::new(), tree.root, proposed.clone())];
        loop {
            let missing: Vec<_> = tree.missing_submodules(store, limits, path)?;
            if missing.is_empty() {
                return Ok(leaves_out);
            }
            for (at, commit) in missing {
                if tree.submodules.len() >= limits.submodules {
                    return Err(GitError::limit("submodules", limits.submodules));
                }
                let within =
                    |home: &str| home.is_empty() || at.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'));
                let home = homes.iter().filter(|(home, ..)| within(home)).max_by_key(|(home, ..)| home.len());
                let Some((home, root, owner)) = home else { continue };
                let inner = if home.is_empty() { at.as_str() } else { &at[home.len() + 1..] };
                let refuse = |reason: String| GitError::Submodule { path: shown(&at), reason };
                let address = address(store, *root, inner)?
                    .ok_or_else(|| refuse("the repository does not say where it is".to_owned()))?;
                let repository = resolve(owner, &address).map_err(refuse)?;
                let revision = Revision::parse(&commit.to_string())?;
                let mut session = self.session(&repository, proposed, folder)?;
                let fetched = session.fetch_commit(commit, &revision).map_err(|error| match error {
                    GitError::UnknownRevision { .. } => refuse(format!("{repository} has no commit {commit}")),
                    other => other,
                })?;
                leaves_out |= session.leaves_out();
                let store = Store::open(folder, usize::try_from(limits.object_bytes).unwrap_or(usize::MAX))?;
                let root = store.tree_of(fetched)?;
                tree.submodules.insert(at.clone(), root);
                homes.push((at, root, repository));
            }
        }
    }
}

/// What the list of submodules in the tree `root` says about the one at `path`.
fn address(store: &Store, root: ObjectId, path: &str) -> Result<Option<String>, GitError> {
    let list = store.tree(root)?.into_iter().find(|entry| entry.name == ".gitmodules");
    let Some(list) = list.filter(|entry| matches!(entry.kind, EntryKind::Blob | EntryKind::BlobExecutable)) else {
        return Ok(None);
    };
    if store.size(list.id)? > LONGEST_LIST {
        return Err(GitError::limit("bytes in a list of submodules", LONGEST_LIST));
    }
    let text = store.file(list.id)?;
    let meta = gix::config::file::Metadata::from(gix::config::Source::Api);
    let config = gix::config::File::from_bytes_no_includes(&text, meta, gix::config::file::init::Options::default())
        .map_err(|error| GitError::Object { id: list.id.to_string(), reason: text::chain(&error) })?;
    let sections = config.sections_by_name("submodule").into_iter().flatten();
    let found =
        sections.into_iter().find(|section| section.value("path").is_some_and(|value| *value == *path.as_bytes()));
    Ok(found.and_then(|section| section.value("url")).map(|url| url.to_string()))
}

/// The repository at `address`, as a submodule of `owner` names it.
fn resolve(owner: &Repository, address: &str) -> Result<Repository, String> {
    let named = |text: &str| {
        Repository::parse(text).map_err(|error| match error {
            GitError::Repository { reason, .. } => reason.to_owned(),
            other => other.to_string(),
        })
    };
    if !address.starts_with("./") && !address.starts_with("../") {
        return match address.strip_prefix("https://") {
            Some(rest) => named(rest),
            None if address.starts_with("http://") => Err("only https is supported".to_owned()),
            None => named(address),
        };
    }
    let mut segments: Vec<&str> = owner.path().split('/').collect();
    let mut rest = address;
    loop {
        if let Some(tail) = rest.strip_prefix("./") {
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("../") {
            segments.pop().ok_or("its address leads out of its server")?;
            rest = tail;
        } else {
            break;
        }
    }
    segments.push(rest);
    named(&format!("{}/{}", owner.host(), segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &str) {
        let owner = Repository::parse("git.example.com/org/group/main").unwrap();
        let found = resolve(&owner, address).map_or_else(|error| format!("error: {error}"), |found| found.to_string());
        assert!(found.contains(expected), "{address}: {found}");
    }

    #[test]
    fn addresses_are_hosts_and_paths_too() {
        check("../lib.git", "git.example.com/org/group/lib");
        check("../../other/lib", "git.example.com/org/other/lib");
        check("./inner.git", "git.example.com/org/group/main/inner");
        check("https://github.com/a/b.git", "github.com/a/b");
        check("https://10.0.0.1:6443/api", "error: it must be named without a port");
        check("https://me:secret@github.com/a/b", "error: ");
        check("http://github.com/a/b", "error: only https");
        check("git@github.com:a/b.git", "error: ssh is not supported");
        check("file:///etc/passwd", "error: it must be named without a scheme");
        check("../../../../x", "error: its address leads out");
        check("../lib/../../../x", "error: its path");
        check("/etc", "error: ");
    }
}
