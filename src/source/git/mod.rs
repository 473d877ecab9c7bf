//! Chaincode sources out of git repositories, over HTTPS, without git.
//!
//! [`Git::fetch`] gets the objects of one commit into a private temporary folder and hands out a [`Checkout`], which
//! reads files straight out of them: nothing is checked out. What is fetched was named by a proposal, so all of it is
//! bounded by [`Limits`], no hook, filter or configuration of git's is looked at, and no program is started.
//!
//! Credentials are shown to the host that asks for them and appear in no address, message or log.
//!
//! Source: Git's `gitprotocol-http(5)`, `gitprotocol-v2(5)`; the object store and the protocol are gix's.

mod checkout;
mod credentials;
mod error;
mod http;
mod network;
mod progress;
mod repository;
mod session;
pub mod signature;
mod store;
mod submodules;
mod text;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior};

pub use checkout::Checkout;
pub use credentials::Credentials;
pub use error::GitError;
pub use network::Proxies;
pub use progress::{GitProgress, Limits, Progressed};
pub use repository::{Repository, Revision, Rewrites};

use crate::runtime::CancellationToken;
use crate::runtime::scratch::Scratch;
use progress::Meter;
use submodules::Fetching;

/// How often those who watch are told.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// Says which repositories may be fetched, submodules too; the error is the reason.
pub type Permit = dyn Fn(&Repository) -> Result<(), String> + Send + Sync;

/// Fetches from git servers. Clones share everything.
#[derive(Clone)]
pub struct Git {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    client: reqwest::Client,
    has_roots: bool,
    credentials: Option<Credentials>,
    rewrites: Rewrites,
    limits: Limits,
    permit: Option<Arc<Permit>>,
}

/// Settings of a [`Git`].
pub struct GitBuilder {
    folder: PathBuf,
    roots: Option<Vec<u8>>,
    proxies: Proxies,
    credentials: Option<Credentials>,
    rewrites: Rewrites,
    limits: Limits,
    permit: Option<Arc<Permit>>,
}

impl GitBuilder {
    /// Certificates in PEM that servers' certificates must come from, in place of those that the system trusts.
    #[must_use]
    pub fn roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Proxies on the way.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// What is shown to servers that ask.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Rules that send repositories elsewhere.
    #[must_use]
    pub fn rewrites(mut self, rewrites: Rewrites) -> Self {
        self.rewrites = rewrites;
        self
    }

    /// What a fetch may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Asks `permit` before each repository, submodules included.
    #[must_use]
    pub fn permit(mut self, permit: impl Fn(&Repository) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.permit = Some(Arc::new(permit));
        self
    }

    /// Checks everything, and connects to nothing.
    ///
    /// # Errors
    /// [`GitError::Settings`] names what is not usable.
    pub fn build(self) -> Result<Git, GitError> {
        let roots = network::roots(self.roots.as_deref())?;
        let client = network::client(&roots, &self.proxies)?;
        let shared = Shared {
            folder: self.folder,
            client,
            has_roots: !roots.is_empty(),
            credentials: self.credentials,
            rewrites: self.rewrites,
            limits: self.limits,
            permit: self.permit,
        };
        Ok(Git { shared: Arc::new(shared) })
    }
}

impl Git {
    /// A client that keeps what it fetches in private folders below `folder`, which is made when first needed.
    pub fn builder(folder: impl Into<PathBuf>) -> GitBuilder {
        GitBuilder {
            folder: folder.into(),
            roots: None,
            proxies: Proxies::default(),
            credentials: None,
            rewrites: Rewrites::default(),
            limits: Limits::default(),
            permit: None,
        }
    }

    /// Fetches the sources below `path` (empty: all of them) as they are at `revision`, with the submodules among them.
    ///
    /// Cancel safety: dropping the future ends the fetch soon, and removes what it has fetched. Cancelling `cancelled`
    /// does so too, with [`GitError::Cancelled`].
    ///
    /// # Errors
    /// [`GitError`] says whose fault it is, and whether it may go away by itself.
    pub async fn fetch(
        &self,
        repository: &Repository,
        revision: &Revision,
        path: &str,
        progress: &dyn GitProgress,
        cancelled: &CancellationToken,
    ) -> Result<Checkout, GitError> {
        let meter = Arc::new(Meter::new(self.shared.limits.clone()));
        let deadline = Instant::now() + self.shared.limits.time;
        let stop = Stop { meter: Arc::clone(&meter), token: cancelled.child_token() };
        let fetching = Fetching {
            shared: Arc::clone(&self.shared),
            handle: Handle::current(),
            cancelled: stop.token.clone(),
            deadline,
            meter: Arc::clone(&meter),
        };
        let (repository, revision, path) = (repository.clone(), revision.clone(), path.to_owned());
        let mut work = pin!(crate::runtime::blocking(move || fetching.run_soundly(&repository, &revision, &path)));
        let mut ticks = tokio::time::interval(TOLD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Progressed::default();
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    let now = meter.progressed();
                    if now != told {
                        progress.progressed(now);
                    }
                    return done;
                }
                () = stop.token.cancelled(), if !stop.is_stopped() => stop.stop(),
                () = tokio::time::sleep_until(deadline), if !stop.is_stopped() => stop.stop(),
                _ = ticks.tick() => {
                    let now = meter.progressed();
                    if now != told {
                        told = now;
                        progress.progressed(now);
                    }
                }
            }
        }
    }

    /// Removes what earlier processes that ended badly have left in the folder.
    ///
    /// # Errors
    /// [`GitError::Folder`]
    pub fn sweep(&self) -> Result<usize, GitError> {
        Scratch::sweep(&self.shared.folder).map_err(GitError::Folder)
    }

    /// Where the private folders are made.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }
}

/// Ends a fetch when dropped: nobody waits for it any more.
struct Stop {
    meter: Arc<Meter>,
    token: CancellationToken,
}

impl Stop {
    fn stop(&self) {
        self.meter.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.meter.stopped.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.stop();
        self.token.cancel();
    }
}
