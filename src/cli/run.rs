//! `opssc-agent run`: the daemon, until SIGTERM or SIGINT.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;

use super::failure::Exit;
use super::logging;
use super::settings::SettingFlags;
use super::signals::{Hangup, Signals};
use super::spans::Spans;
use crate::agent::Agent;
use crate::runtime::CancellationToken;

pub(super) fn run(flags: &SettingFlags, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let settings = flags.settings(environment)?;
    // One thread: the agent waits for others nearly all the time, and a second thread costs memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let spans = {
        let _entered = runtime.enter();
        Spans::open(&settings)?
    };
    logging::start_with(settings.log_level, settings.log_format, spans.as_ref());
    let ended = runtime.block_on(async {
        let agent = Agent::open(settings).await?;
        let stop = CancellationToken::new();
        let (mut signals, mut hangup, bells) = (Signals::new()?, Hangup::new()?, agent.bells());
        let running = agent.run(stop.clone());
        tokio::pin!(running);
        loop {
            tokio::select! {
                result = &mut running => {
                    result?;
                    return Ok(Exit::Done);
                }
                name = signals.next() => {
                    tracing::info!(signal = name, "told to stop");
                    stop.cancel();
                }
                () = hangup.next() => {
                    tracing::info!(signal = "SIGHUP", "looking whether there is something to do");
                    bells.ring_all();
                }
            }
        }
    });
    if let Some(spans) = spans {
        runtime.block_on(spans.end());
    }
    // What still blocks, on a disk or in a build, was given its time before.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}
