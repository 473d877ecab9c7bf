//! What the agent is doing, step by step, for whoever wants to watch.
//!
//! A module of its own so that the work does not know who watches: the log always, the demonstration's screen and
//! others as [`Reporter`]s. A report is a statement, not a question: it cannot fail and must not block.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fabric::names::MspId;

use super::task::Kind;
use super::text;

/// What the agent is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Task {
    /// Preparing a chaincode for its deployment.
    PrepareToDeploy,
    /// Committing a chaincode definition.
    Deploy,
    /// Handing in a channel update.
    UpdateChannel,
    /// Preparing a chaincode that was committed before the organization came.
    CatchUp,
    /// Having own peers join a channel. Named by the channel.
    JoinChannel,
    /// Putting a contract of OpsSC on the own peers as it is committed. Named by the package's label.
    DeployContract,
    /// Giving own peers a package that others of the organization have. Named by the package's ID.
    InstallPackage,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 7] = [
        Self::PrepareToDeploy,
        Self::Deploy,
        Self::UpdateChannel,
        Self::CatchUp,
        Self::JoinChannel,
        Self::DeployContract,
        Self::InstallPackage,
    ];

    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrepareToDeploy => Kind::PrepareToDeploy.as_str(),
            Self::Deploy => Kind::Deploy.as_str(),
            Self::UpdateChannel => "updateChannel",
            Self::CatchUp => Kind::CatchUp.as_str(),
            Self::JoinChannel => "joinChannel",
            Self::DeployContract => "deployContract",
            Self::InstallPackage => "installPackage",
        }
    }

    /// Whether bootstrap does it, which is about no proposal: it finds by looking what there is to do, and needs no turn.
    pub fn is_of_bootstrap(self) -> bool {
        matches!(self, Self::JoinChannel | Self::DeployContract | Self::InstallPackage)
    }
}

impl From<Kind> for Task {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::PrepareToDeploy => Self::PrepareToDeploy,
            Kind::Deploy => Self::Deploy,
            Kind::CatchUp => Self::CatchUp,
        }
    }
}

impl From<Task> for &'static str {
    fn from(task: Task) -> Self {
        task.as_str()
    }
}

impl TryFrom<String> for Task {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|task| task.as_str() == name);
        known.ok_or_else(|| format!("no task is called {}", text::bounded(&name, 40)))
    }
}

/// One step of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Step {
    /// Compare the proposal with what is committed, and with what this organization deploys.
    Validate,
    /// Get the sources out of their repository.
    Fetch,
    /// Make JavaScript of TypeScript.
    Build,
    /// Make the package.
    Package,
    /// Install the package on a peer.
    Install,
    /// Approve the definition.
    Approve,
    /// Tell the ledger how the preparation ended.
    Acknowledge,
    /// Ask whether every organization has approved.
    CheckReadiness,
    /// Commit the definition.
    Commit,
    /// Hand in the update of a channel and see it in force.
    UpdateChannel,
    /// Have a channel made and join it.
    CreateChannel,
    /// Tell the ledger how the commit ended.
    Notify,
    /// Have a peer join a channel.
    Join,
    /// Get a package from an own peer that has it.
    Copy,
}

impl Step {
    /// All steps: those of proposals in the order in which they are taken, then those of bootstrap.
    pub const ALL: [Self; 14] = [
        Self::Validate,
        Self::Fetch,
        Self::Build,
        Self::Package,
        Self::Install,
        Self::Approve,
        Self::Acknowledge,
        Self::CheckReadiness,
        Self::Commit,
        Self::UpdateChannel,
        Self::CreateChannel,
        Self::Notify,
        Self::Join,
        Self::Copy,
    ];

    /// The step in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "Validate proposal",
            Self::Fetch => "Fetch sources",
            Self::Build => "Build chaincode",
            Self::Package => "Package chaincode",
            Self::Install => "Install chaincode",
            Self::Approve => "Approve definition",
            Self::Acknowledge => "Acknowledge",
            Self::CheckReadiness => "Check commit readiness",
            Self::Commit => "Commit definition",
            Self::UpdateChannel => "Update channel",
            Self::CreateChannel => "Create channel",
            Self::Notify => "Notify commit result",
            Self::Join => "Join channel",
            Self::Copy => "Copy package",
        }
    }
}

impl From<Step> for &'static str {
    fn from(step: Step) -> Self {
        step.as_str()
    }
}

impl TryFrom<String> for Step {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|step| step.as_str() == name);
        known.ok_or_else(|| format!("no step is called {}", text::bounded(&name, 40)))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As it should.
    Done,
    /// With a failure that was told to the ledger.
    Failed,
    /// There was nothing to do.
    Skipped,
}

impl Verdict {
    /// The verdict in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// An event asks for the task.
    EventReceived {
        /// The event's name.
        event: String,
    },
    /// An event came that asks this organization for no task of its own.
    EventSeen {
        /// The event's name.
        event: String,
    },
    /// The task is taken up again without an event, after a start.
    Resumed,
    /// A step begins.
    Started(Step),
    /// A step that takes long is under way.
    Advanced {
        /// The step.
        step: Step,
        /// How far it is, in a few words.
        detail: String,
    },
    /// Sources were fetched.
    Fetched {
        /// How many objects came from the repository's server.
        objects: u64,
        /// How many bytes they took on the way.
        bytes: u64,
    },
    /// Organizations acknowledged different packages of the same sources. Nothing is stopped by it.
    PackagesDiffer {
        /// Which package by whom.
        packages: String,
    },
    /// A step is done.
    Finished {
        /// The step.
        step: Step,
        /// How long it took.
        elapsed: Duration,
        /// What came out, in a few words; may be empty.
        detail: String,
    },
    /// A step failed for a reason that may pass; it is tried again.
    Waiting {
        /// The step.
        step: Step,
        /// When it is tried again.
        again_in: Duration,
        /// Why it failed.
        error: String,
    },
    /// A step was refused for good.
    Refused {
        /// The step.
        step: Step,
        /// Why.
        error: String,
    },
    /// The task ended.
    Ended {
        /// How.
        verdict: Verdict,
        /// In a few words.
        outcome: String,
        /// How long the whole task took.
        elapsed: Duration,
    },
}

/// One statement about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The organization whose agent speaks.
    pub organization: MspId,
    /// The proposal, or what a task of bootstrap is named by; fit to be shown.
    pub proposal: String,
    /// The task.
    pub task: Task,
    /// The peer, where a step concerns one alone.
    pub peer: Option<String>,
    /// What happened.
    pub happening: Happening,
}

impl Progress {
    /// Writes the statement to the log.
    pub(super) fn log(&self) {
        let peer = self.peer.as_deref();
        match &self.happening {
            Happening::EventReceived { event } => tracing::info!(event, "event received"),
            Happening::EventSeen { event } => tracing::debug!(event, "event seen"),
            Happening::Resumed => tracing::info!("taking up an unfinished task"),
            Happening::Started(step) => tracing::debug!(%step, peer, "step started"),
            Happening::Advanced { step, detail } => tracing::info!(%step, detail, "step is under way"),
            Happening::Fetched { objects, bytes } => tracing::debug!(objects, bytes, "sources fetched"),
            Happening::PackagesDiffer { packages } => {
                tracing::warn!(packages, "organizations acknowledged different packages of the same sources");
            }
            Happening::Finished { step, elapsed, detail } => {
                tracing::info!(%step, peer, ?elapsed, detail, "step finished");
            }
            Happening::Waiting { step, again_in, error } => {
                tracing::warn!(%step, peer, ?again_in, error, "step failed and will be tried again");
            }
            Happening::Refused { step, error } => tracing::error!(%step, peer, error, "step was refused"),
            Happening::Ended { outcome, elapsed, .. } => tracing::info!(outcome, ?elapsed, "task ended"),
        }
    }
}

/// Somebody who watches.
pub trait Reporter: Send + Sync {
    /// Takes note. Must not block.
    fn report(&self, progress: &Progress);
}

/// Nobody watches.
impl Reporter for () {
    fn report(&self, _: &Progress) {}
}

/// Several watch.
impl Reporter for Vec<Arc<dyn Reporter>> {
    fn report(&self, progress: &Progress) {
        for reporter in self {
            reporter.report(progress);
        }
    }
}
