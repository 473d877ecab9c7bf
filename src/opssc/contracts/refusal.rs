//! Why a contract refuses: a text for the client, grown from the inside out as Go's errors are.

use std::fmt;

use crate::chaincode::StubError;

/// The words with which a contract refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) String);

impl Refusal {
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StubError> for Refusal {
    fn from(error: StubError) -> Self {
        Self(match error {
            StubError::Refused(words) | StubError::InvalidKey(words) => words,
            other => other.to_string(),
        })
    }
}

/// Says what was being done when it failed.
pub(super) trait While<T> {
    /// `doing`, a colon, and the words so far.
    fn during(self, doing: impl fmt::Display) -> Result<T, Refusal>;
}

impl<T, E: Into<Refusal>> While<T> for Result<T, E> {
    fn during(self, doing: impl fmt::Display) -> Result<T, Refusal> {
        self.map_err(|error| Refusal(format!("{doing}: {}", error.into())))
    }
}
