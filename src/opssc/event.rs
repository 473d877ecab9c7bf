//! What the events of both contracts have in common: names of the form `<event>.<proposalID>`, and why one is unreadable.

use serde::de::DeserializeOwned;

/// Why a chaincode event is none that the contract emits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The name is not `<event>.<proposalID>` with an event that is known. A newer contract may emit such.
    #[error("event {name:?} is not known")]
    Unknown {
        /// The name, cut when it is long.
        name: String,
    },
    /// The payload is not the JSON that the event carries.
    #[error("payload of event {name:?} is not what this event carries")]
    Payload {
        /// The name, cut when it is long.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The payload speaks of another proposal than the name.
    #[error("event {name:?} carries proposal {carried:?}")]
    OtherProposal {
        /// The name, cut when it is long.
        name: String,
        /// The proposal that the payload names, cut when it is long.
        carried: String,
    },
}

/// A name taken apart, with the payload beside it.
pub(super) struct RawEvent<'a> {
    name: &'a str,
    pub(super) kind: &'a str,
    pub(super) proposal_id: &'a str,
    payload: &'a [u8],
}

impl<'a> RawEvent<'a> {
    pub(super) fn split(name: &'a str, payload: &'a [u8]) -> Result<Self, EventError> {
        match name.split_once('.') {
            Some((kind, proposal_id)) if !proposal_id.is_empty() => Ok(Self { name, kind, proposal_id, payload }),
            _ => Err(EventError::Unknown { name: shown(name) }),
        }
    }

    pub(super) fn unknown(&self) -> EventError {
        EventError::Unknown { name: shown(self.name) }
    }

    /// The payload as JSON; `id_of` says which proposal it speaks of.
    pub(super) fn json<T: DeserializeOwned>(&self, id_of: fn(&T) -> &str) -> Result<T, EventError> {
        let carried: T = serde_json::from_slice(self.payload)
            .map_err(|source| EventError::Payload { name: shown(self.name), source })?;
        self.same_proposal(id_of(&carried))?;
        Ok(carried)
    }

    fn same_proposal(&self, carried: &str) -> Result<(), EventError> {
        if carried == self.proposal_id {
            return Ok(());
        }
        Err(EventError::OtherProposal { name: shown(self.name), carried: shown(carried) })
    }
}

/// An error is for reading: whoever proposes chooses the length of a proposal's ID.
fn shown(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
