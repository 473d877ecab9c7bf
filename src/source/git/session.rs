//! One conversation with a git server: what it has, and the objects of one commit out of it.
//!
//! A module of its own because here a revision becomes a commit. Where the server lets us, a commit comes alone, without
//! its history. Where it does not (it refuses commits that no branch or tag points at, cannot leave history out, or a
//! hash is abbreviated, which the protocol knows nothing of), its branches and tags are fetched and searched.
//!
//! No repository is opened: there is an object store and nothing else, so there is no configuration, no hook and no
//! filter that could be run.
//!
//! Source: Git's `gitprotocol-v2(5)`, `gitprotocol-pack(5)`, `gitrevisions(7)`.

use std::collections::BTreeSet;
use std::io::{BufRead, Cursor, Read};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;
use gix::bstr::BString;
use gix::protocol::fetch::{Arguments, Context, Negotiate, Options, Response, Shallow, Tags, negotiate};
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::transport::client::blocking_io::Transport as _;
use gix::protocol::transport::client::blocking_io::http::Transport;
use gix::protocol::transport::{Protocol, Service};
use gix::protocol::{Handshake, LsRefsCommand};

use super::http::{Exchanges, Line};
use super::progress::Counted;
use super::repository::Revision;
use super::store::Store;
use super::{GitError, text};

/// How this program calls itself to git servers.
fn agent() -> (&'static str, Option<String>) {
    ("agent", Some(gix::protocol::agent(concat!("opssc-agent-", env!("CARGO_PKG_VERSION")))))
}

/// A branch or tag of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Advertised {
    name: String,
    /// A commit, or an annotated tag.
    id: ObjectId,
    /// What the tag is for.
    commit: ObjectId,
}

/// A conversation under way.
pub(super) struct Session {
    line: Arc<Line>,
    transport: Transport<Exchanges>,
    handshake: Handshake,
    /// What the server told at once, in the first version of the protocol.
    refs: Vec<Advertised>,
    folder: PathBuf,
    limit: usize,
    packs: usize,
    /// Whether the server is asked to leave out files that are too large anyway.
    leaves_out: bool,
}

/// What is asked for, of what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Commits without their history, where the server can do so.
    Alone,
    /// All history.
    History,
    /// All history, but of it only commits.
    Commits,
}

impl Session {
    /// Greets the server at `url`. Objects will go to the store in `folder`.
    pub(super) fn open(line: Arc<Line>, url: &str, folder: &Path) -> Result<Self, GitError> {
        let address = gix::url::parse(url)
            .map_err(|error| GitError::Settings { reason: format!("not an address: {}", text::chain(&error)) })?;
        let exchanges = Exchanges::new(Arc::clone(&line));
        let mut transport = Transport::new_http(exchanges, address, Protocol::V2, false);
        let (handshake, refs) = greet(&line, &mut transport)?;
        let limit = usize::try_from(line.meter.limits().object_bytes).unwrap_or(usize::MAX);
        let folder = folder.to_owned();
        let mut session = Self { line, transport, handshake, refs, folder, limit, packs: 0, leaves_out: false };
        session.leaves_out = session.can("filter");
        Ok(session)
    }

    /// Whether fetching knows `feature`.
    fn can(&self, feature: &str) -> bool {
        let capabilities = &self.handshake.capabilities;
        match self.handshake.server_protocol_version {
            Protocol::V2 => capabilities.capability("fetch").and_then(|fetch| fetch.supports(feature)).unwrap_or(false),
            Protocol::V0 | Protocol::V1 => capabilities.contains(feature),
        }
    }

    /// Whether the server may have left out files that are too large.
    pub(super) fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// Fetches the commit that `revision` is, and tells which that is.
    pub(super) fn fetch(&mut self, revision: &Revision) -> Result<ObjectId, GitError> {
        if let Some(commit) = revision.full_hash() {
            return self.fetch_commit(commit, revision);
        }
        let advertised = self.advertised(Some(revision))?;
        if let Some(found) = named(&advertised, revision)? {
            self.fetch_objects(&[found.id], Extent::Alone)?;
            return self.store()?.commit_of(found.id);
        }
        match revision.abbreviated_hash() {
            Some(prefix) => self.fetch_abbreviated(prefix, revision),
            None => Err(GitError::UnknownRevision { revision: revision.to_string() }),
        }
    }

    /// Fetches `commit`, which need not be the end of any branch.
    pub(super) fn fetch_commit(&mut self, commit: ObjectId, revision: &Revision) -> Result<ObjectId, GitError> {
        match self.fetch_objects(&[commit], Extent::Alone) {
            Ok(()) => {
                let store = self.store()?;
                if store.has(commit) {
                    return store.commit_of(commit);
                }
            }
            // The server refuses, in whichever words: it may still have the commit.
            Err(GitError::Server { reason, .. }) => {
                tracing::debug!(%reason, "the server does not hand out this commit alone, its branches are searched");
            }
            Err(error) => return Err(error),
        }
        self.fetch_everything()?;
        let store = self.store()?;
        if store.has(commit) {
            store.commit_of(commit)
        } else {
            Err(GitError::UnknownRevision { revision: revision.to_string() })
        }
    }

    fn fetch_abbreviated(&mut self, prefix: gix::hash::Prefix, revision: &Revision) -> Result<ObjectId, GitError> {
        let advertised = self.advertised(None)?;
        let unknown = || GitError::UnknownRevision { revision: revision.to_string() };
        let wants: BTreeSet<_> = advertised.iter().map(|found| found.id).collect();
        if wants.is_empty() {
            return Err(unknown());
        }
        let wants: Vec<_> = wants.into_iter().collect();
        // Only commits first, where the server can leave the rest out. Branches alone do not do: another commit with the
        // same start may lie in their history.
        let commits_only = self.can("filter");
        self.fetch_objects(&wants, if commits_only { Extent::Commits } else { Extent::History })?;
        let mut found = self.store()?.commits_with(prefix)?;
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(unknown()),
            (Some(commit), true) if commits_only => self.fetch_commit(commit, revision),
            (Some(commit), true) => Ok(commit),
            (Some(_), false) => Err(GitError::Ambiguous {
                revision: revision.to_string(),
                reason: "several commits start so, give more of its hash",
            }),
        }
    }

    fn fetch_everything(&mut self) -> Result<(), GitError> {
        let wants: BTreeSet<_> = self.advertised(None)?.iter().map(|found| found.id).collect();
        let wants: Vec<_> = wants.into_iter().collect();
        if wants.is_empty() { Ok(()) } else { self.fetch_objects(&wants, Extent::History) }
    }

    fn store(&self) -> Result<Store, GitError> {
        Store::open(&self.folder, self.limit)
    }

    /// The branches and tags that may be `revision`, or all of them.
    fn advertised(&mut self, revision: Option<&Revision>) -> Result<Vec<Advertised>, GitError> {
        let advertised = match self.handshake.server_protocol_version {
            Protocol::V2 => {
                let mut prefixes = RefPrefixes::new();
                prefixes.extend(match revision {
                    Some(revision) => places(revision.as_str()).map(|name| BString::from(name.into_bytes())).to_vec(),
                    None => vec!["refs/heads/".into(), "refs/tags/".into()],
                });
                let refs = LsRefsCommand::new(Some(prefixes), &self.handshake.capabilities, agent())
                    .invoke_blocking(&mut self.transport, &mut gix::progress::Discard, false)
                    .map_err(|error| said(&self.line, &error))?;
                let advertised = refs.iter().filter_map(|found| {
                    let (name, id, peeled) = found.unpack();
                    let id = id?.to_owned();
                    let commit = peeled.map_or(id, ToOwned::to_owned);
                    Some(Advertised { name: std::str::from_utf8(name).ok()?.to_owned(), id, commit })
                });
                advertised.collect()
            }
            Protocol::V0 | Protocol::V1 => self.refs.clone(),
        };
        let wanted =
            |name: &str| revision.is_some() || name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
        Ok(advertised.into_iter().filter(|found| wanted(&found.name)).collect())
    }

    /// Fetches `wants` into the store.
    fn fetch_objects(&mut self, wants: &[ObjectId], extent: Extent) -> Result<(), GitError> {
        let filter = match extent {
            Extent::Commits => Some("tree:0".to_owned()),
            Extent::Alone | Extent::History if self.leaves_out => {
                // Files of so many bytes or more.
                Some(format!("blob:limit={}", self.line.meter.limits().object_bytes.saturating_add(1)))
            }
            Extent::Alone | Extent::History => None,
        };
        let depth = (extent == Extent::Alone && self.can("shallow")).then_some(NonZeroU32::MIN);
        match self.fetch_filtered(wants, depth, filter.as_deref()) {
            Err(GitError::Server { reason, .. }) if filter.is_some() && extent != Extent::Commits => {
                tracing::debug!(%reason, "the server leaves nothing out, it is asked for everything");
                self.leaves_out = false;
                self.fetch_filtered(wants, depth, None)
            }
            fetched => fetched,
        }
    }

    /// Fetches `depth` commits of history or all of it, and all objects or those that `filter` leaves.
    fn fetch_filtered(
        &mut self,
        wants: &[ObjectId],
        depth: Option<NonZeroU32>,
        filter: Option<&str>,
    ) -> Result<(), GitError> {
        // What was cut off once must not be cut off in the next fetch too.
        self.packs += 1;
        let shallow_file = self.folder.join(format!("shallow-{}", self.packs));
        let shallow = depth.map_or(Shallow::NoChange, Shallow::DepthAtRemote);
        let line = Arc::clone(&self.line);
        let (packs, limit) = (self.folder.join("objects/pack"), self.limit);
        let received = gix::protocol::fetch(
            &mut Wants { wants, filter },
            |reader, progress, stopped| {
                line.receives.store(true, Ordering::Relaxed);
                let written = write_pack(reader, progress, stopped, &line, &packs, limit);
                line.receives.store(false, Ordering::Relaxed);
                written.map(|()| true)
            },
            Counted::new(&self.line.meter),
            &self.line.meter.stopped,
            Context {
                handshake: &mut self.handshake,
                transport: &mut self.transport,
                user_agent: agent(),
                trace_packetlines: false,
            },
            Options { shallow_file, shallow: &shallow, tags: Tags::None, reject_shallow_remote: false },
        );
        match received {
            Ok(_) => Ok(()),
            Err(error) => Err(match (said(&self.line, &error), of_the_disk(&error)) {
                (GitError::Server { reason, .. }, Some(kind)) => GitError::Folder(std::io::Error::new(kind, reason)),
                (GitError::Server { .. }, None) if is_too_large(&error) => {
                    GitError::limit("bytes in one object", self.line.meter.limits().object_bytes)
                }
                (other, _) => other,
            }),
        }
    }
}

/// Greets a server: what it can do, and what it has, where it tells that at once.
///
/// The git library could do all of it, but ends the program where a server tells of a link to a branch that it does not
/// have.
fn greet(line: &Arc<Line>, transport: &mut Transport<Exchanges>) -> Result<(Handshake, Vec<Advertised>), GitError> {
    let answer = transport.handshake(Service::UploadPack, &[]).map_err(|error| said(line, &error))?;
    let refuse = |reason: &str| GitError::Server { repository: line.repository.clone(), reason: reason.to_owned() };
    let format = answer.capabilities.capability("object-format");
    if format.and_then(|format| format.value().map(|value| *value != *b"sha1")).unwrap_or(false) {
        return Err(refuse("repositories with SHA-256 hashes are not supported"));
    }
    let mut advertised = Vec::new();
    if let Some(mut refs) = answer.refs {
        while let Some(packet) = refs.readline() {
            let packet = packet.map_err(|error| said(line, &error))?.map_err(|error| said(line, &error))?;
            let Some(text) = packet.as_bstr() else { break };
            advertise(&mut advertised, text).ok_or_else(|| refuse("its list of branches cannot be read"))?;
        }
    }
    let handshake = Handshake {
        server_protocol_version: answer.actual_protocol,
        capabilities: answer.capabilities,
        refs: None,
        v1_shallow_updates: None,
    };
    Ok((handshake, advertised))
}

/// Takes a line of the list of branches and tags: `HASH NAME`, or `HASH NAME^{}` for what the tag before it is for.
fn advertise(advertised: &mut Vec<Advertised>, line: &[u8]) -> Option<()> {
    let text = line.trim_ascii_end();
    let (hash, name) = text.split_at(text.iter().position(|byte| *byte == b' ')?);
    let Ok(name) = std::str::from_utf8(&name[1..]) else { return Some(()) };
    // Where the server's own history ends, and what an empty repository says.
    if hash == b"shallow" || name == "capabilities^{}" {
        return Some(());
    }
    let id = ObjectId::from_hex(hash).ok().filter(|id| id.kind() == gix::hash::Kind::Sha1)?;
    match name.strip_suffix("^{}") {
        Some(tag) => advertised.last_mut().filter(|last| last.name == tag)?.commit = id,
        None => advertised.push(Advertised { name: name.to_owned(), id, commit: id }),
    }
    Some(())
}

/// What the failure of the git library was about.
fn said(line: &Line, error: &(dyn std::error::Error + 'static)) -> GitError {
    if let Some(failure) = line.failure() {
        return failure;
    }
    if line.cancelled.is_cancelled() {
        return GitError::Cancelled;
    }
    if tokio::time::Instant::now() >= line.deadline {
        return GitError::TooSlow;
    }
    GitError::Server { repository: line.repository.clone(), reason: text::chain(error) }
}

/// Whether what was received could not be written here, which is not the server's fault.
fn of_the_disk(error: &(dyn std::error::Error + 'static)) -> Option<std::io::ErrorKind> {
    use std::io::ErrorKind as Kind;
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind)
        .find(|kind| {
            matches!(
                kind,
                Kind::StorageFull
                    | Kind::QuotaExceeded
                    | Kind::FileTooLarge
                    | Kind::ReadOnlyFilesystem
                    | Kind::PermissionDenied
                    | Kind::NotFound
                    | Kind::NotADirectory
            )
        })
}

/// Whether an object was larger than is allowed.
fn is_too_large(error: &gix::Error) -> bool {
    error.classify().any(|found| matches!(found.class(), gix::error::Class::ResourceExhaustion(_)))
}

/// Where a name may be found, the first of which counts where there are several.
fn places(name: &str) -> [String; 3] {
    [name.to_owned(), format!("refs/tags/{name}"), format!("refs/heads/{name}")]
}

/// The one that `revision` names, if there is one.
fn named<'a>(advertised: &'a [Advertised], revision: &Revision) -> Result<Option<&'a Advertised>, GitError> {
    let [exact, tag, branch] =
        places(revision.as_str()).map(|place| advertised.iter().find(|found| found.name == place));
    // `HEAD` and full names only: nothing else lies outside `refs/`.
    if let Some(exact) = exact.filter(|found| found.name == "HEAD" || found.name.starts_with("refs/")) {
        return Ok(Some(exact));
    }
    match (tag, branch) {
        (Some(tag), Some(branch)) if tag.commit != branch.commit => Err(GitError::Ambiguous {
            revision: revision.to_string(),
            reason: "there is a branch and a tag of that name, write refs/heads/… or refs/tags/…",
        }),
        (tag, branch) => Ok(tag.or(branch)),
    }
}

/// Writes what the server sends into the store, with an index; each object's hash is computed in doing so.
fn write_pack(
    reader: &mut dyn BufRead,
    progress: &mut dyn gix::DynNestedProgress,
    stopped: &AtomicBool,
    line: &Line,
    packs: &Path,
    limit: usize,
) -> gix::Result<()> {
    // The start of a pack says how many objects follow: room is made for them before they come.
    let mut start = [0; 12];
    reader.read_exact(&mut start).map_err(gix::Error::from_error)?;
    let [.., a, b, c, d] = start;
    if start.starts_with(b"PACK") {
        line.meter
            .expect(u32::from_be_bytes([a, b, c, d]))
            .map_err(|error| gix::Error::from_error(line.failed(error)))?;
    }
    let options = gix::odb::pack::bundle::write::Options {
        alloc_limit_bytes: Some(limit.max(SMALLEST_LIMIT)),
        ..Default::default()
    };
    gix::odb::pack::Bundle::write_to_directory(
        &mut Cursor::new(start).chain(reader),
        Some(packs),
        progress,
        stopped,
        None::<gix::odb::Handle>,
        gix::hash::Kind::Sha1,
        options,
    )?;
    Ok(())
}

/// What the index of a pack with the most objects may need, however small objects must be.
const SMALLEST_LIMIT: usize = 64 * 1024 * 1024;

/// Asks for objects and owns none: there is nothing to negotiate.
struct Wants<'a> {
    wants: &'a [ObjectId],
    filter: Option<&'a str>,
}

impl Negotiate for Wants<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _: &[bool]) -> bool {
        for want in self.wants {
            arguments.want(want);
        }
        if let Some(filter) = self.filter.filter(|_| arguments.can_use_filter()) {
            arguments.filter(filter);
        }
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _: &mut negotiate::one_round::State,
        _: &mut Arguments,
        _: Option<&Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        let round = negotiate::Round {
            haves_sent: 0,
            in_vain: 0,
            haves_to_send: 0,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_branches_are_read_or_refused() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let read = |lines: &[String]| {
            let mut advertised = Vec::new();
            lines.iter().try_for_each(|line| advertise(&mut advertised, line.as_bytes())).map(|()| advertised)
        };
        let lines = [
            format!("{one} HEAD\n"),
            format!("{one} refs/tags/v1"),
            format!("{two} refs/tags/v1^{{}}"),
            format!("shallow {one}"),
            format!("{} capabilities^{{}}", "0".repeat(40)),
        ];
        let found = read(&lines).unwrap();
        let shown: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.commit.to_string())).collect();
        assert_eq!(shown, [("HEAD", one.clone()), ("refs/tags/v1", two.clone())]);
        for line in ["", "x", "zz HEAD", one.as_str(), &format!("{one} a^{{}}"), &format!("{one}{two} a")] {
            assert!(read(&[format!("{one} b"), line.to_owned()]).is_none(), "{line:?}");
        }
    }

    #[test]
    fn names_are_looked_up_in_order() {
        let at = |name: &str, digit: &str| {
            let id = ObjectId::from_hex(digit.repeat(40).as_bytes()).unwrap();
            Advertised { name: name.to_owned(), id, commit: id }
        };
        let advertised =
            [at("refs/heads/a", "1"), at("refs/tags/b", "2"), at("refs/heads/b", "3"), at("refs/heads/c", "4")];
        let advertised = [&advertised[..], &[at("refs/tags/c", "4"), at("refs/heads/HEAD", "5")]].concat();
        let find = |name: &str| {
            let found = named(&advertised, &Revision::parse(name).unwrap());
            found.map_or_else(
                |error| error.to_string(),
                |found| found.map_or("none", |found| found.name.as_str()).to_owned(),
            )
        };
        assert_eq!(find("a"), "refs/heads/a");
        assert_eq!(find("refs/heads/b"), "refs/heads/b");
        assert!(find("b").contains("a branch and a tag"));
        assert_eq!(find("c"), "refs/tags/c");
        assert_eq!(find("d"), "none");
    }
}
