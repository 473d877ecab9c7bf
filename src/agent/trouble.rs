//! What a failed piece of work means for its task.
//!
//! A module of its own because this judgement decides between two harms: a failure that would have passed and is
//! reported leaves a proposal stuck for good, and a refusal that is tried for ever is never told to anybody. It judges by
//! type and status code, never by text.

use std::error::Error;

use super::text;

/// Why a piece of work did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Somebody could not be reached or was busy: it is tried again for as long as it takes.
    Passing(String),
    /// A node refused. It may be behind the others, so it is asked a few times more before it is believed.
    Doubtful(String),
    /// It cannot be done, whoever is asked.
    Definite(String),
}

impl Trouble {
    /// What happened, fit to be shown and reported.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Passing(reason) | Self::Doubtful(reason) | Self::Definite(reason) => reason,
        }
    }

    /// A definite refusal by our own judgement.
    pub(super) fn definite(reason: impl AsRef<str>) -> Self {
        Self::Definite(text::bounded(reason.as_ref(), text::ERROR_LIMIT))
    }

    /// What others may have been too slow for.
    pub(super) fn doubtful(reason: impl AsRef<str>) -> Self {
        Self::Doubtful(text::bounded(reason.as_ref(), text::ERROR_LIMIT))
    }

    /// What is not so yet.
    pub(super) fn passing(reason: impl AsRef<str>) -> Self {
        Self::Passing(text::bounded(reason.as_ref(), text::ERROR_LIMIT))
    }

    /// An error of the client library, which knows whether another try may help.
    pub(super) fn of(error: &(dyn Error + 'static), retryable: bool) -> Self {
        let reason = text::chain(error);
        if retryable { Self::Passing(reason) } else { Self::Doubtful(reason) }
    }
}
