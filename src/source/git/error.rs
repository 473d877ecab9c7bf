//! Why sources are not fetched.
//!
//! A module of its own because these texts go into acknowledgements on the ledger: they are bounded, and they hold no
//! address with an account in it.

use std::io;

/// Why sources are not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The operator's settings are not usable.
    #[error("git settings are not usable: {reason}")]
    Settings {
        /// What is wrong.
        reason: String,
    },
    /// The name of the repository is none that can be fetched.
    #[error("repository {repository:?} cannot be fetched: {reason}")]
    Repository {
        /// The name.
        repository: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name of the revision is none.
    #[error("revision {revision:?} is not valid: {reason}")]
    Revision {
        /// The name.
        revision: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operator does not let this repository be fetched.
    #[error("repository {repository} must not be fetched: {reason}")]
    NotPermitted {
        /// The repository, or a submodule's.
        repository: String,
        /// The rule.
        reason: String,
    },
    /// The server could not be reached, has no time, or the connection broke. Later it may go well.
    #[error("the server of {repository} cannot be reached: {reason}")]
    Unreachable {
        /// The repository.
        repository: String,
        /// What happened.
        reason: String,
    },
    /// The server does not let us in.
    #[error("access to {repository} is denied: {reason}")]
    Denied {
        /// The repository.
        repository: String,
        /// Whether credentials are missing or wrong.
        reason: &'static str,
    },
    /// There is no such repository, or none that is shown to us.
    #[error("repository {repository} is not found")]
    NotFound {
        /// The repository.
        repository: String,
    },
    /// The server answers with something else than sources.
    #[error("the server of {repository} refuses: {reason}")]
    Server {
        /// The repository.
        repository: String,
        /// What it said, or what was wrong with it.
        reason: String,
    },
    /// No branch, tag or commit is called so.
    #[error("there is no branch, tag or commit {revision}")]
    UnknownRevision {
        /// The name.
        revision: String,
    },
    /// Several are called so.
    #[error("{revision} is ambiguous: {reason}")]
    Ambiguous {
        /// The name.
        revision: String,
        /// Which several, and what to do.
        reason: &'static str,
    },
    /// There is no such folder in the repository.
    #[error("path {path:?} cannot be used: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An object is missing or broken, or holds what no object should.
    #[error("git object {id} is not usable: {reason}")]
    Object {
        /// The object's hash.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A submodule cannot be fetched.
    #[error("submodule {path:?} cannot be fetched: {reason}")]
    Submodule {
        /// Where it lies.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is more than the operator's limits allow.
    #[error("more than {limit} {what}, which is the limit")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// It took longer than the operator's limits allow.
    #[error("the fetch took longer than its limit")]
    TooSlow,
    /// Somebody ended it.
    #[error("the fetch was cancelled")]
    Cancelled,
    /// The temporary folder failed.
    #[error("the temporary folder for git cannot be used")]
    Folder(#[source] io::Error),
}

impl GitError {
    pub(super) fn limit(what: &'static str, limit: impl TryInto<u64>) -> Self {
        Self::Limit { what, limit: limit.try_into().unwrap_or(u64::MAX) }
    }

    /// Whether the same fetch may go well later, without anybody doing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TooSlow)
    }
}
