//! Workers: spawned futures under one cancellation tree.
//!
//! A module of its own because a future that is spawned and forgotten can neither be stopped nor missed. Here every
//! one has a name, the first failure stops its whole tree, and whoever waits for the tree hears of it.

use std::any::Any;
use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A worker that ended in failure and so stopped its tree.
#[derive(Debug, thiserror::Error)]
#[error("worker {name} failed")]
pub struct WorkerError {
    /// The worker's name.
    pub name: String,
    /// What it ended with; a panic as its message.
    pub source: Box<dyn Error + Send + Sync>,
}

/// A tree of workers. Clones are the same tree.
#[derive(Debug, Clone)]
pub struct Workers {
    token: CancellationToken,
    tracker: TaskTracker,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Cancelled on a failure: the root of the tree, so that no branch lives on half.
    root: CancellationToken,
    failure: Mutex<Option<WorkerError>>,
}

impl Default for Workers {
    fn default() -> Self {
        Self::new()
    }
}

impl Workers {
    /// An empty tree.
    pub fn new() -> Self {
        let token = CancellationToken::new();
        Self {
            tracker: TaskTracker::new(),
            shared: Arc::new(Shared { root: token.clone(), failure: Mutex::default() }),
            token,
        }
    }

    /// A branch: cancelled with this tree, while cancelling it leaves the rest alone. A failure in it is a failure of
    /// the whole tree; [`finished`](Self::finished) of the branch waits for the branch's workers only.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), tracker: TaskTracker::new(), shared: Arc::clone(&self.shared) }
    }

    /// Starts `work` under `name`. It ends by itself, or at the next point where it waits once the tree is cancelled;
    /// work that must finish something first watches [`token`](Self::token) in a worker of
    /// [`spawn_to_end`](Self::spawn_to_end).
    pub fn spawn<E>(&self, name: impl Into<String>, work: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let token = self.token.clone();
        self.spawn_to_end(name, async move {
            match token.run_until_cancelled(work).await {
                Some(Err(error)) => Err(error.into()),
                Some(Ok(())) | None => Ok::<(), Box<dyn Error + Send + Sync>>(()),
            }
        });
    }

    /// Starts `work` that a cancellation does not drop: it watches [`token`](Self::token) and ends in good order.
    pub fn spawn_to_end<E>(&self, name: impl Into<String>, work: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let name = name.into();
        let shared = Arc::clone(&self.shared);
        self.tracker.spawn(async move {
            let source = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.into(),
                Err(panic) => panic_message(panic.as_ref()).into(),
            };
            let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if failure.is_none() {
                *failure = Some(WorkerError { name, source });
            }
            drop(failure);
            shared.root.cancel();
        });
    }

    /// The token of this tree, to be watched or handed on.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Tells every worker of this tree to end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Waits until this tree is cancelled, by [`cancel`](Self::cancel) or by a failure.
    ///
    /// Cancel safety: nothing is lost.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Waits until no worker of this tree runs (branches wait for theirs), and tells the first failure of the tree.
    ///
    /// Cancel safety: nothing is lost; the failure is handed out once.
    ///
    /// # Errors
    /// The first worker that failed.
    pub async fn finished(&self) -> Result<(), WorkerError> {
        self.tracker.close();
        self.tracker.wait().await;
        match self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    format!("panicked: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[tokio::test]
    async fn the_first_failure_stops_all_and_is_told() {
        let workers = Workers::new();
        let branch = workers.child();
        workers.spawn("waits", std::future::pending::<Result<(), io::Error>>());
        branch.spawn("waits in a branch", std::future::pending::<Result<(), io::Error>>());
        branch.spawn("fails", async { Err(io::Error::other("disk full")) });
        let error = workers.finished().await.unwrap_err();
        assert_eq!((error.name.as_str(), error.source.to_string().as_str()), ("fails", "disk full"));
        branch.finished().await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_a_name() {
        let workers = Workers::new();
        workers.spawn::<io::Error>("careless", async { panic!("at the disco") });
        let error = workers.finished().await.unwrap_err();
        assert_eq!(format!("{error}: {}", error.source), "worker careless failed: panicked: at the disco");
    }

    #[tokio::test]
    async fn a_branch_ends_alone() {
        let workers = Workers::new();
        let branch = workers.child();
        branch.spawn("waits", std::future::pending::<Result<(), io::Error>>());
        branch.cancel();
        branch.finished().await.unwrap();
        assert!(!workers.token().is_cancelled());
    }

    #[tokio::test]
    async fn work_may_end_in_good_order() {
        let workers = Workers::new();
        let (token, (say, heard)) = (workers.token(), tokio::sync::oneshot::channel());
        workers.spawn_to_end::<io::Error>("orderly", async move {
            token.cancelled().await;
            let _ = say.send("closed");
            Ok(())
        });
        workers.cancel();
        workers.finished().await.unwrap();
        assert_eq!(heard.await.unwrap(), "closed");
    }
}
