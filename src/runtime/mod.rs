//! What runs: workers under one cancellation tree, retry schedules, durable replacement of files, names to addresses.
//!
//! The only room that spawns tasks and replaces files, so that everything that runs can be stopped and everything that
//! is written survives a crash.

pub(crate) mod dns;
pub mod durable;
pub mod retry;
#[cfg(feature = "git")]
pub(crate) mod roots;
pub mod scratch;
mod stack;
mod workers;

pub use stack::{StackError, on_stack};
pub use tokio_util::sync::CancellationToken;
pub use workers::{WorkerError, Workers};

/// Runs `work`, which may block, beside the asynchronous workers. A panic in it goes on in the caller.
///
/// Cancel safety: dropping the future ends the wait; `work` runs to its end.
///
/// # Panics
/// When `work` does.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels blocking work; then nobody polls this future again.
            Err(_) => std::future::pending().await,
        },
    }
}
