//! How far a fetch is, and how far it may go.
//!
//! A module of its own because the same numbers serve both: what comes in is counted where it comes in, the limits end
//! the fetch there, and whoever watches is told from elsewhere, a few times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use gix::progress::{Id, MessageLevel, Unit};
use gix::{Count, NestedProgress, Progress};

use super::GitError;

/// What a fetch may take. An agent fetches what other organizations propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that come in, of all repositories together.
    pub received_bytes: u64,
    /// Objects in a repository, as the server sends them.
    pub objects: u32,
    /// Bytes of the largest object.
    pub object_bytes: u64,
    /// Files, folders and links that are read out.
    pub files: usize,
    /// Folders in folders, with their submodules.
    pub depth: usize,
    /// Bytes of all files that are read out.
    pub total_bytes: u64,
    /// Submodules, and submodules in them.
    pub submodules: usize,
    /// All of it together.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            received_bytes: 512 * 1024 * 1024,
            objects: 500_000,
            object_bytes: 100 * 1024 * 1024,
            files: 100_000,
            depth: 64,
            total_bytes: 512 * 1024 * 1024,
            submodules: 32,
            time: Duration::from_mins(10),
        }
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progressed {
    /// Bytes that have come in.
    pub received_bytes: u64,
    /// Objects that have come in.
    pub objects: u64,
    /// Objects that are to come in, as far as the server has said.
    pub objects_expected: u64,
}

/// Hears how far a fetch is, a few times a second while that changes, and at its end.
pub trait GitProgress: Send + Sync {
    /// It is this far.
    fn progressed(&self, progressed: Progressed);
}

impl<F: Fn(Progressed) + Send + Sync> GitProgress for F {
    fn progressed(&self, progressed: Progressed) {
        self(progressed);
    }
}

/// Counts a fetch.
pub(super) struct Meter {
    limits: Limits,
    received: AtomicU64,
    objects: Arc<AtomicUsize>,
    expected: AtomicU64,
    /// Looked at by the git library where it works without waiting.
    pub(super) stopped: AtomicBool,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            received: AtomicU64::new(0),
            objects: Arc::default(),
            expected: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn progressed(&self) -> Progressed {
        Progressed {
            received_bytes: self.received.load(Ordering::Relaxed),
            objects: self.objects.load(Ordering::Relaxed) as u64,
            objects_expected: self.expected.load(Ordering::Relaxed),
        }
    }

    /// More has come in.
    pub(super) fn received(&self, bytes: usize) -> Result<(), GitError> {
        let before = self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        if before.saturating_add(bytes as u64) > self.limits.received_bytes {
            return Err(GitError::limit("bytes received", self.limits.received_bytes));
        }
        Ok(())
    }

    /// The server announces so many objects.
    pub(super) fn expect(&self, objects: u32) -> Result<(), GitError> {
        self.expected.fetch_add(u64::from(objects), Ordering::Relaxed);
        if objects > self.limits.objects {
            return Err(GitError::limit("objects in a repository", self.limits.objects));
        }
        Ok(())
    }
}

/// Hands the count of objects that came in to the git library, and takes nothing else from it.
pub(super) struct Counted {
    step: Arc<AtomicUsize>,
    objects: Arc<AtomicUsize>,
}

impl Counted {
    pub(super) fn new(meter: &Meter) -> Self {
        Self { step: Arc::default(), objects: Arc::clone(&meter.objects) }
    }
}

/// What the git library calls the counting of objects that came in.
const OBJECTS_INDEXED: Id = *b"IWIO";

impl Count for Counted {
    fn set(&self, step: usize) {
        self.step.store(step, Ordering::Relaxed);
    }

    fn step(&self) -> usize {
        self.step.load(Ordering::Relaxed)
    }

    fn inc_by(&self, step: usize) {
        self.step.fetch_add(step, Ordering::Relaxed);
    }

    fn counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.step)
    }
}

impl Progress for Counted {
    fn init(&mut self, _: Option<usize>, _: Option<Unit>) {}

    fn set_name(&mut self, _: String) {}

    fn name(&self) -> Option<String> {
        None
    }

    fn id(&self) -> Id {
        gix::progress::UNKNOWN
    }

    // What the server has to say is for people at a terminal.
    fn message(&self, _: MessageLevel, _: String) {}
}

impl NestedProgress for Counted {
    type SubProgress = Self;

    fn add_child(&mut self, name: impl Into<String>) -> Self {
        self.add_child_with_id(name, gix::progress::UNKNOWN)
    }

    fn add_child_with_id(&mut self, _: impl Into<String>, id: Id) -> Self {
        let step = if id == OBJECTS_INDEXED { Arc::clone(&self.objects) } else { Arc::default() };
        Self { step, objects: Arc::clone(&self.objects) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_end_it_where_they_are_passed() {
        let meter = Meter::new(Limits { received_bytes: 10, objects: 3, ..Limits::default() });
        meter.received(10).unwrap();
        assert_eq!(meter.received(1).unwrap_err().to_string(), "more than 10 bytes received, which is the limit");
        meter.expect(3).unwrap();
        meter.expect(4).unwrap_err();
        let counted =
            Counted::new(&meter).add_child("create index file").add_child_with_id("indexing", OBJECTS_INDEXED);
        counted.inc_by(2);
        counted.inc();
        assert_eq!(meter.progressed(), Progressed { received_bytes: 11, objects: 3, objects_expected: 7 });
    }
}
