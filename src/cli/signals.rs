//! The two signals that tell a program to stop, and the one that tells it to look again.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the system, for which they end the process.
    pub(super) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one of them, and tells its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP.
pub(super) struct Hangup(Signal);

impl Hangup {
    /// Takes the signal over from the system, for which it ends the process.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::hangup()).context("cannot listen to signals")?))
    }

    /// Waits for it.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}
