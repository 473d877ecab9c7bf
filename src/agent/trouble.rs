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

/// How often a refusal by a node is looked at before it is believed: it may be behind the others.
pub(super) const LOOKS: usize = 5;

/// How often one step was refused. An outage is no refusal: a node that has just come back from one is all the more
/// likely to be behind.
#[derive(Debug, Default)]
pub(super) struct Doubts(usize);

impl Doubts {
    /// Takes note of `trouble`: whether the step has failed for good.
    pub(super) fn settles(&mut self, trouble: &Trouble) -> bool {
        match trouble {
            Trouble::Passing(_) => false,
            Trouble::Doubtful(_) => {
                self.0 += 1;
                self.0 >= LOOKS
            }
            Trouble::Definite(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that came back after an outage and was still behind had its first refusal believed.
    #[test]
    fn an_outage_makes_no_refusal_final() {
        let mut doubts = Doubts::default();
        for _ in 0..10 * LOOKS {
            assert!(!doubts.settles(&Trouble::passing("down")));
        }
        for _ in 1..LOOKS {
            assert!(!doubts.settles(&Trouble::doubtful("behind")));
        }
        assert!(doubts.settles(&Trouble::doubtful("behind")));
    }

    #[test]
    fn a_definite_refusal_is_final_at_once() {
        assert!(Doubts::default().settles(&Trouble::definite("no")));
    }
}
