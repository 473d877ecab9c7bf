//! What a person has told the agent to leave alone: everything, a channel, a chaincode, or a chaincode on one channel.
//!
//! A module of its own because three write it (the command line, the API, an editor) and many read it. It is a small file
//! beside the journal, so it outlives restarts; with two replicas, both name the same file. The file is replaced as a
//! whole, under a lock beside it, and looked at once a second.
//!
//! Does not stop anything that has begun: a task that is held is not taken up. A file that cannot be understood holds
//! everything, since somebody wanted something held.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::text;
use crate::fabric::names::{ChaincodeName, ChannelName};
use crate::runtime::CancellationToken;
use crate::runtime::durable::replace_file_blocking;

/// The file's name in the folder of checkpoints, unless a setting names another.
pub const FILE: &str = "holds.json";

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A file with more bytes than this was not written by us.
const LIMIT: u64 = 1 << 20;

/// At most this many characters of a reason are kept.
const REASON: usize = 200;

/// What is held. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Only tasks of this channel.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "name")]
    pub channel: Option<ChannelName>,
    /// Only tasks of this chaincode, on every channel unless one is given.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "name")]
    pub chaincode: Option<ChaincodeName>,
}

impl Scope {
    /// Whether a task of this channel and chaincode is in it. A task without a chaincode, such as a channel update, is
    /// held by its channel.
    pub fn covers(&self, channel: Option<&str>, chaincode: Option<&str>) -> bool {
        self.channel.as_ref().is_none_or(|held| Some(held.as_str()) == channel)
            && self.chaincode.as_ref().is_none_or(|held| Some(held.as_str()) == chaincode)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.channel, &self.chaincode) {
            (None, None) => f.write_str("everything"),
            (Some(channel), None) => write!(f, "channel {channel}"),
            (None, Some(chaincode)) => write!(f, "chaincode {chaincode} on every channel"),
            (Some(channel), Some(chaincode)) => write!(f, "chaincode {chaincode} on channel {channel}"),
        }
    }
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Line", into = "Line")]
pub struct Hold {
    /// What is held.
    pub scope: Scope,
    /// Why, in the words of whoever paused.
    pub reason: String,
    /// Since when, in milliseconds of Unix time.
    pub since_ms: u64,
}

/// A hold as it is written: flat, so that a person can write one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "name")]
    channel: Option<ChannelName>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "name")]
    chaincode: Option<ChaincodeName>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default)]
    since_ms: u64,
}

impl From<Line> for Hold {
    fn from(line: Line) -> Self {
        let Line { channel, chaincode, reason, since_ms } = line;
        Self { scope: Scope { channel, chaincode }, reason, since_ms }
    }
}

impl From<Hold> for Line {
    fn from(hold: Hold) -> Self {
        let Hold { scope: Scope { channel, chaincode }, reason, since_ms } = hold;
        Self { channel, chaincode, reason, since_ms }
    }
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The holds, in the order of their scopes.
    pub holds: Vec<Hold>,
    /// Why the file could not be understood; everything is held then.
    pub trouble: Option<String>,
}

impl Held {
    /// Whether a task of this channel and chaincode is held.
    pub fn is_held(&self, channel: Option<&str>, chaincode: Option<&str>) -> bool {
        self.trouble.is_some() || self.holds.iter().any(|hold| hold.scope.covers(channel, chaincode))
    }

    /// Why a task is held, for people.
    pub fn reason(&self, channel: Option<&str>, chaincode: Option<&str>) -> Option<String> {
        if let Some(trouble) = &self.trouble {
            return Some(format!("everything is held: {trouble}"));
        }
        let hold = self.holds.iter().find(|hold| hold.scope.covers(channel, chaincode))?;
        let reason = text::bounded(&hold.reason, REASON);
        Some(if reason.is_empty() {
            format!("{} is paused", hold.scope)
        } else {
            format!("{} is paused: {reason}", hold.scope)
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    holds: Vec<Hold>,
}

/// The holds of one agent. Clones are the same.
#[derive(Debug, Clone)]
pub struct Holds {
    path: Arc<PathBuf>,
    held: watch::Sender<Arc<Held>>,
}

impl Holds {
    /// Reads the file at `path`, which need not exist.
    pub fn load(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let held = Arc::new(read(&path));
        Self { path: Arc::new(path), held: watch::Sender::new(held) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is held now.
    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.borrow())
    }

    /// Whether a task of this channel and chaincode is held.
    pub fn is_held(&self, channel: Option<&str>, chaincode: Option<&str>) -> bool {
        self.held.borrow().is_held(channel, chaincode)
    }

    /// What is held, and a word whenever that changes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Held>> {
        self.held.subscribe()
    }

    /// Looks at the file once a second until `stop`, so that what others write into it counts.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn watch(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look().await;
        }
    }

    /// Looks at the file now.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn look(&self) {
        let path = Arc::clone(&self.path);
        let held = crate::runtime::blocking(move || read(&path)).await;
        self.take(held);
    }

    /// Holds `scope` from now on; the file is on disk when this returns. A hold of the same scope is replaced.
    ///
    /// # Cancel safety
    /// Dropping it ends the wait; the file is written all the same.
    ///
    /// # Errors
    /// Whatever the file system says, or that the file is not understood.
    pub async fn pause(&self, scope: Scope, reason: &str) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let hold = Hold {
            scope,
            reason: text::bounded(reason, REASON),
            since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        };
        self.change(move |held| {
            let mut holds = understood(held)?;
            holds.retain(|known| known.scope != hold.scope);
            holds.push(hold);
            Ok(holds)
        })
        .await?;
        Ok(())
    }

    /// Ends the hold of exactly this scope, and says whether there was one.
    ///
    /// # Cancel safety
    /// Dropping it ends the wait; the file is written all the same.
    ///
    /// # Errors
    /// Whatever the file system says, or that the file is not understood.
    pub async fn resume(&self, scope: Scope) -> io::Result<bool> {
        let before = self
            .change(move |held| {
                let mut holds = understood(held)?;
                holds.retain(|known| known.scope != scope);
                Ok(holds)
            })
            .await?;
        Ok(before != self.held().holds.len())
    }

    /// Ends all holds, those of a file that is not understood included.
    ///
    /// # Cancel safety
    /// Dropping it ends the wait; the file is written all the same.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub async fn resume_all(&self) -> io::Result<()> {
        self.change(|_| Ok(Vec::new())).await?;
        Ok(())
    }

    /// Replaces the file's content by what `change` makes of it, and says how many holds there were before.
    async fn change(&self, change: impl FnOnce(Held) -> io::Result<Vec<Hold>> + Send + 'static) -> io::Result<usize> {
        let path = Arc::clone(&self.path);
        let (before, held) = crate::runtime::blocking(move || write(&path, change)).await?;
        self.take(held);
        Ok(before)
    }

    fn take(&self, held: Held) {
        self.held.send_if_modified(|known| {
            if **known == held {
                return false;
            }
            if let Some(trouble) = &held.trouble {
                tracing::warn!(error = %trouble, "everything is held");
            } else {
                tracing::info!(holds = held.holds.len(), "what is held has changed");
            }
            *known = Arc::new(held);
            true
        });
    }
}

fn understood(held: Held) -> io::Result<Vec<Hold>> {
    match held.trouble {
        None => Ok(held.holds),
        Some(trouble) => Err(io::Error::new(io::ErrorKind::InvalidData, trouble)),
    }
}

fn read(path: &Path) -> Held {
    let trouble = |what: String| Held { holds: Vec::new(), trouble: Some(what) };
    let shown = text::bounded(&path.display().to_string(), REASON);
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 > LIMIT => trouble(format!("{shown} is too large")),
        Ok(_) => match serde_json::from_slice::<Content>(&bytes) {
            Ok(content) => Held { holds: ordered(content.holds), trouble: None },
            Err(error) => trouble(format!("{shown} is not understood: {}", text::bounded(&error.to_string(), REASON))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Held::default(),
        Err(error) => trouble(format!("{shown} cannot be read: {error}")),
    }
}

fn ordered(mut holds: Vec<Hold>) -> Vec<Hold> {
    holds.sort_by(|one, other| one.scope.cmp(&other.scope));
    holds.dedup_by(|one, other| one.scope == other.scope);
    holds
}

fn write(path: &Path, change: impl FnOnce(Held) -> io::Result<Vec<Hold>>) -> io::Result<(usize, Held)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = File::options().create(true).truncate(false).write(true).open(lock)?;
    match lock.lock() {
        // Without locks, two writers at the same moment may lose one change: better than none at all.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        locked => locked?,
    }
    let held = read(path);
    let before = held.holds.len();
    let content = Content { holds: ordered(change(held)?) };
    let json = serde_json::to_vec_pretty(&content).map_err(io::Error::other)?;
    replace_file_blocking(path, &json)?;
    Ok((before, Held { holds: content.holds, trouble: None }))
}

/// Names as plain texts in JSON, checked when they are read.
mod name {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde's form")]
    pub(super) fn serialize<T: AsRef<str>, S: Serializer>(name: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_ref().map_or("", AsRef::as_ref))
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(channel: &str, chaincode: &str) -> Scope {
        Scope { channel: channel.parse().ok(), chaincode: chaincode.parse().ok() }
    }

    #[test]
    fn a_scope_covers_what_is_in_it() {
        let table = [
            (scope("", ""), None, None, true),
            (scope("", ""), Some("a"), Some("cc"), true),
            (scope("a", ""), Some("a"), None, true),
            (scope("a", ""), Some("a"), Some("cc"), true),
            (scope("a", ""), Some("b"), Some("cc"), false),
            (scope("a", ""), None, None, false),
            (scope("", "cc"), Some("b"), Some("cc"), true),
            (scope("", "cc"), Some("b"), None, false),
            (scope("a", "cc"), Some("a"), Some("cc"), true),
            (scope("a", "cc"), Some("b"), Some("cc"), false),
            (scope("a", "cc"), Some("a"), Some("dd"), false),
        ];
        for (scope, channel, chaincode, covered) in table {
            assert_eq!(scope.covers(channel, chaincode), covered, "{scope} of {channel:?} {chaincode:?}");
        }
    }

    #[tokio::test]
    async fn holds_outlive_the_agent_and_are_seen_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join(FILE);
        let holds = Holds::load(&path);
        assert!(!holds.is_held(Some("a"), Some("cc")));
        holds.pause(scope("a", "cc"), "looks\nodd").await.unwrap();
        holds.pause(scope("b", ""), "").await.unwrap();
        holds.pause(scope("a", "cc"), "still odd").await.unwrap();

        let other = Holds::load(&path);
        assert_eq!(*other.held(), *holds.held());
        assert_eq!(other.held().holds.len(), 2);
        assert!(other.is_held(Some("a"), Some("cc")) && other.is_held(Some("b"), None));
        assert!(!other.is_held(Some("a"), Some("dd")));
        let reason = other.held().reason(Some("a"), Some("cc"));
        assert_eq!(reason.as_deref(), Some("chaincode cc on channel a is paused: still odd"));

        assert!(other.resume(scope("b", "")).await.unwrap());
        assert!(!other.resume(scope("b", "")).await.unwrap());
        assert!(holds.is_held(Some("b"), None));
        holds.look().await;
        assert!(!holds.is_held(Some("b"), None));
        holds.resume_all().await.unwrap();
        other.look().await;
        assert!(other.held().holds.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_editor_writes_counts_and_rubbish_holds_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let holds = Holds::load(&path);
        let (workers, mut seen) = (crate::runtime::Workers::new(), holds.subscribe());
        let (watched, stop) = (holds.clone(), workers.token());
        workers.spawn_to_end::<io::Error>("holds", async move {
            watched.watch(stop).await;
            Ok(())
        });
        for (content, held, in_trouble) in [
            (r#"{"holds":[{"channel":"a"}]}"#, true, false),
            (r#"{"holds":[{"channel":"b"}]}"#, false, false),
            (r#"{"holds":[{"chanel":"b"}]}"#, true, true),
            (r#"{"holds":[{"channel":"NO CHANNEL"}]}"#, true, true),
            (r#"{"holds":[]}"#, false, false),
            ("", true, true),
        ] {
            fs::write(&path, content).unwrap();
            seen.wait_for(|now| now.is_held(Some("a"), None) == held && now.trouble.is_some() == in_trouble)
                .await
                .unwrap();
        }
        assert!(holds.pause(scope("a", ""), "").await.is_err());
        holds.resume_all().await.unwrap();
        assert!(!holds.is_held(None, None));
        workers.cancel();
        workers.finished().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn writers_at_the_same_time_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let each = (0..20).map(|number| {
            let path = path.clone();
            async move { Holds::load(path).pause(scope(&format!("c{number}"), ""), "").await }
        });
        for paused in futures_util::future::join_all(each).await {
            paused.unwrap();
        }
        assert_eq!(Holds::load(&path).held().holds.len(), 20);
    }
}
