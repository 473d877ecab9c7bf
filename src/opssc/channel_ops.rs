//! Wire types of `channel-ops`: which channels exist, who is in them, and proposals to change their configuration.
//!
//! The fields stand in the order in which the contract writes them: every endorser must reach the same bytes.
//!
//! Source: hyperledger-labs/fabric-opssc v0.4.0, its chaincode `channel-ops`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::chaincode_ops::words;
use super::event::{EventError, RawEvent};

words! {
    /// What a channel is for.
    ChannelType {
        /// The orderers' own channel of Fabric before 3.0. Its organizations vote on new channels.
        System = "system",
        /// The channel of the OpsSC contracts.
        Ops = "ops",
        /// Any other.
        Application = "application",
        /// No longer in use: no chaincode is proposed for it.
        Disable = "disable",
    }
}

words! {
    /// How far a channel update proposal has come.
    Status {
        /// Requested; the organizations sign and vote.
        Proposed = "proposed",
        /// Voted for; the last voter submits the update.
        Approved = "approved",
        /// The update is on its channel.
        Committed = "committed",
    }
}

words! {
    /// What a channel update proposal is for.
    Action {
        /// Changes a channel.
        Update = "update",
        /// Makes a channel (Fabric before 3.0).
        Create = "create",
    }
}

/// A channel as `channel-ops` knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Always `channel`.
    #[serde(rename = "docType", default)]
    pub doc_type: String,
    /// The channel's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it is for.
    #[serde(rename = "channelType")]
    pub channel_type: ChannelType,
    /// The MSP IDs of its members, each with an empty text; `None` where none were ever given.
    #[serde(default)]
    pub organizations: Option<BTreeMap<String, String>>,
}

impl Channel {
    /// Whether the organization is a member.
    pub fn has(&self, msp_id: &str) -> bool {
        self.organizations.as_ref().is_some_and(|members| members.contains_key(msp_id))
    }
}

/// What a channel update proposal has gathered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Base64 of a `common.ConfigUpdate`.
    #[serde(rename = "configUpdate")]
    pub config_update: String,
    /// MSP ID to base64 of a `common.ConfigSignature`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signatures: BTreeMap<String, String>,
}

/// A proposal to change a channel's configuration, as it is on the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Always `proposal`.
    #[serde(rename = "docType", default)]
    pub doc_type: String,
    /// Chosen by who proposes; unique among these proposals.
    #[serde(rename = "ID")]
    pub id: String,
    /// The channel to change or make.
    #[serde(rename = "channelID")]
    pub channel_id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The MSP ID of who proposed it.
    pub creator: String,
    /// What it is for.
    pub action: Action,
    /// How far it has come.
    pub status: Status,
    /// The profile from which the update was computed.
    #[serde(rename = "opsProfile", default)]
    pub ops_profile: serde_json::Value,
    /// The update and its signatures.
    pub artifacts: Artifacts,
}

/// What is handed in to request a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProposalInput {
    /// Chosen by who proposes; unique among these proposals.
    #[serde(rename = "ID")]
    pub id: String,
    /// The channel to change or make. It must be the one that the update names.
    #[serde(rename = "channelID")]
    pub channel_id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is for; `None` is `update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The profile from which the update was computed.
    #[serde(rename = "opsProfile", default)]
    pub ops_profile: serde_json::Value,
    /// Base64 of a `common.ConfigUpdate`.
    #[serde(rename = "configUpdate")]
    pub config_update: String,
    /// Base64 of the proposer's `common.ConfigSignature`.
    pub signature: String,
}

/// Which organization is to submit an update: the payload of [`Event::ReadyToUpdateConfig`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEvent {
    /// The proposal.
    #[serde(rename = "proposalID")]
    pub proposal_id: String,
    /// The MSP IDs of who is to act.
    #[serde(rename = "operationTargets")]
    pub operation_targets: Vec<String>,
}

/// Proposals by their IDs, as `GetAllProposals` answers.
pub type Proposals = BTreeMap<String, Proposal>;

/// What `channel-ops` tells its listeners; at most one per transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A proposal was requested and waits for votes.
    NewProposal {
        /// The proposal.
        proposal_id: String,
    },
    /// A vote was cast which decides nothing yet.
    NewVote {
        /// The proposal.
        proposal_id: String,
    },
    /// The proposal is approved: the target submits the update.
    ReadyToUpdateConfig(UpdateEvent),
    /// The update is on its channel, and the list of its members was taken over.
    UpdateConfig {
        /// The proposal.
        proposal_id: String,
    },
}

impl Event {
    /// Reads a chaincode event, given its name (`<event>.<proposalID>`) and its payload.
    ///
    /// # Errors
    /// [`EventError`] where it is none that this contract emits.
    pub fn parse(name: &str, payload: &[u8]) -> Result<Self, EventError> {
        let raw = RawEvent::split(name, payload)?;
        let proposal_id = raw.proposal_id.to_owned();
        Ok(match raw.kind {
            name::NEW_PROPOSAL => Self::NewProposal { proposal_id },
            name::NEW_VOTE => Self::NewVote { proposal_id },
            name::READY_TO_UPDATE_CONFIG => {
                Self::ReadyToUpdateConfig(raw.json(|event: &UpdateEvent| &event.proposal_id)?)
            }
            name::UPDATE_CONFIG => Self::UpdateConfig { proposal_id },
            _ => return Err(raw.unknown()),
        })
    }

    /// The proposal that it is about.
    pub fn proposal_id(&self) -> &str {
        match self {
            Self::ReadyToUpdateConfig(event) => &event.proposal_id,
            Self::NewProposal { proposal_id } | Self::NewVote { proposal_id } | Self::UpdateConfig { proposal_id } => {
                proposal_id
            }
        }
    }
}

/// The events' names, each followed by a dot and the proposal's ID on the wire.
pub mod name {
    /// Carries the proposal's ID.
    pub const NEW_PROPOSAL: &str = "newProposalEvent";
    /// Carries the proposal's ID.
    pub const NEW_VOTE: &str = "newVoteEvent";
    /// Carries an [`UpdateEvent`](super::UpdateEvent).
    pub const READY_TO_UPDATE_CONFIG: &str = "readyToUpdateConfigEvent";
    /// Carries the proposal's ID.
    pub const UPDATE_CONFIG: &str = "updateConfigEvent";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_keeps_its_bytes() {
        for text in [
            r#"{"docType":"channel","ID":"ops-channel","channelType":"ops","organizations":{"Org1MSP":"","Org2MSP":""}}"#,
            r#"{"docType":"channel","ID":"mychannel","channelType":"application","organizations":null}"#,
        ] {
            let channel: Channel = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&channel).unwrap(), text);
        }
    }

    #[test]
    fn a_proposal_keeps_its_bytes() {
        let text = r#"{"docType":"proposal","ID":"p","channelID":"c","creator":"Org1MSP","action":"update","status":"approved","opsProfile":null,"artifacts":{"configUpdate":"","signatures":{"Org1MSP":""}}}"#;
        let proposal: Proposal = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&proposal).unwrap(), text);
    }

    #[test]
    fn events_are_read_by_name() {
        let ready = br#"{"proposalID":"p","operationTargets":["Org1MSP"]}"#;
        let event = Event::parse("readyToUpdateConfigEvent.p", ready).unwrap();
        assert!(matches!(&event, Event::ReadyToUpdateConfig(update) if update.operation_targets == ["Org1MSP"]));
        assert!(matches!(Event::parse("readyToUpdateConfigEvent.q", ready), Err(EventError::OtherProposal { .. })));
        assert!(matches!(Event::parse("updateConfigEvent.a.b", b"a.b"), Ok(event) if event.proposal_id() == "a.b"));
        assert!(matches!(Event::parse("networkUpdateEvent.p", b""), Err(EventError::Unknown { .. })));
    }
}
