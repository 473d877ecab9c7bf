//! What people see of the demonstration: a line for each thing that somebody did.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::output;
use crate::agent::progress::{Happening, Progress, Reporter};
use crate::agent::text;
use crate::fabric::names::MspId;

/// Lines on standard error, each with the time since the start.
pub(super) struct Screen {
    begun: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now() }
    }

    /// A new part begins.
    pub(super) fn headline(&self, text: &str) {
        output::say(&format!("{}  {text}", self.time()));
    }

    /// Somebody did something.
    pub(super) fn line(&self, who: &MspId, what: &str, node: &str, detail: &str) {
        let line = format!("{}    {who:<8}  {what:<26}  {node:<24}  {}", self.time(), text::bounded(detail, 100));
        output::say(line.trim_end());
    }

    /// Somebody does something; the time is told when it is done.
    pub(super) fn timed(self: &Arc<Self>, who: &MspId, what: &'static str, detail: &'static str) -> Timed {
        Timed { screen: Arc::clone(self), who: who.clone(), what, detail, begun: Instant::now() }
    }

    fn time(&self) -> String {
        format!("{:>6.2} s", self.begun.elapsed().as_secs_f64())
    }
}

/// Something under way.
pub(super) struct Timed {
    screen: Arc<Screen>,
    who: MspId,
    what: &'static str,
    detail: &'static str,
    begun: Instant,
}

impl Timed {
    pub(super) fn done(self) {
        let took = took(self.begun.elapsed());
        let detail = if self.detail.is_empty() { took } else { format!("{took}, {}", self.detail) };
        self.screen.line(&self.who, self.what, "", &detail);
    }
}

impl Reporter for Screen {
    fn report(&self, progress: &Progress) {
        let who = &progress.organization;
        let node = progress.peer.as_deref().unwrap_or_default();
        match &progress.happening {
            Happening::EventReceived { event } => self.line(who, "hears", "", event),
            Happening::Finished { step, elapsed, detail } => {
                let detail = if detail.is_empty() { took(*elapsed) } else { format!("{}, {detail}", took(*elapsed)) };
                self.line(who, step.as_str(), node, &detail);
            }
            Happening::Waiting { step, again_in, error } => {
                self.line(who, &format!("{step}: waits"), node, &format!("{}: {error}", took(*again_in)));
            }
            Happening::Refused { step, error } => self.line(who, &format!("{step}: refused"), node, error),
            Happening::PackagesDiffer { packages } => self.line(who, "warns: packages differ", "", packages),
            Happening::Advanced { step, detail } => self.line(who, step.as_str(), node, detail),
            Happening::EventSeen { .. }
            | Happening::Resumed
            | Happening::Started(_)
            | Happening::Fetched { .. }
            | Happening::Ended { .. } => {}
        }
    }
}

fn took(elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(1) {
        format!("{} ms", elapsed.as_millis())
    } else {
        format!("{:.2} s", elapsed.as_secs_f64())
    }
}
