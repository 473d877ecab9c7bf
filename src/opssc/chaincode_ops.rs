//! Wire types of `chaincode-ops`: proposals to deploy a chaincode, what became of them, and the events in between.
//!
//! The fields stand in the order in which the contract writes them: every endorser must reach the same bytes. Texts are
//! kept as they came: whoever proposes chooses them, so a name or a path is made of one only by a conversion that checks.
//!
//! Source: hyperledger-labs/fabric-opssc v0.4.0, its chaincode `chaincode-ops`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::event::{EventError, RawEvent};

/// Makes an enum of a set of words that the contracts keep as text, with room for words that come later.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_doc])* $variant,)+
            /// A word that this version does not know.
            Other(String),
        }

        impl $name {
            /// The word as it is on the ledger.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => Self::$variant,)+
                    _ => Self::Other(word),
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                Self::from(word.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                match word {
                    $name::Other(word) => word,
                    known => known.as_str().to_owned(),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use words;

words! {
    /// How far a proposal has come.
    Status {
        /// Requested; the organizations are voting.
        Proposed = "proposed",
        /// Voted for; the organizations install and approve it.
        Approved = "approved",
        /// Every organization has acknowledged; one of them commits the definition.
        Acknowledged = "acknowledged",
        /// The definition is committed.
        Committed = "committed",
        /// Voted against.
        Rejected = "rejected",
        /// Taken back by who had proposed it.
        Withdrawn = "withdrawn",
    }
}

impl Status {
    /// Whether nothing more will happen to the proposal.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Committed | Self::Rejected | Self::Withdrawn)
    }
}

words! {
    /// What an organization does about a proposal.
    Task {
        /// Votes for or against it.
        Vote = "vote",
        /// Installs and approves the chaincode, and acknowledges.
        Acknowledge = "acknowledge",
        /// Commits the definition.
        Commit = "commit",
    }
}

words! {
    /// How a task ended: a vote `agreed` or `disagreed`, the others `success` or `failure`.
    TaskStatus {
        /// The vote is for the proposal.
        Agreed = "agreed",
        /// The vote is against it.
        Disagreed = "disagreed",
        /// It is done.
        Success = "success",
        /// It could not be done; the history's data says why.
        Failure = "failure",
    }
}

words! {
    /// What a chaincode package is made of.
    PackageType {
        /// Go sources.
        Golang = "golang",
        /// Node.js sources.
        Javascript = "javascript",
        /// TypeScript sources, packaged as Node.js.
        Typescript = "typescript",
        /// Java sources.
        Java = "java",
        /// The address of a chaincode server (chaincode-as-a-service).
        Ccaas = "ccaas",
        /// An image for Fabric's Kubernetes builder.
        K8s = "k8s",
    }
}

/// Where the sources of a proposed chaincode are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChaincodePackage {
    /// Host and path of a git repository, without a scheme: `github.com/org/repo`.
    #[serde(default)]
    pub repository: String,
    /// A commit, tag or branch.
    #[serde(rename = "commitID", default)]
    pub commit_id: String,
    /// The folder inside the repository; empty for its root.
    #[serde(rename = "pathToSourceFiles", default, skip_serializing_if = "String::is_empty")]
    pub path_to_source_files: String,
    /// What to make of the sources.
    #[serde(rename = "type")]
    pub package_type: PackageType,
}

/// What is proposed to be committed on the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChaincodeDefinition {
    /// The definition's sequence on its channel, from 1.
    pub sequence: i64,
    /// Whether the chaincode must be initialized before it is invoked.
    #[serde(rename = "initRequired", default)]
    pub init_required: bool,
    /// Base64 of the endorsement policy as text.
    #[serde(rename = "validationParameter", default)]
    pub validation_parameter: String,
    /// Base64 of the private data collections as JSON; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub collections: String,
}

impl ChaincodeDefinition {
    /// The endorsement policy's text, decoded.
    ///
    /// # Errors
    /// Where the field is not base64.
    pub fn decode_validation_parameter(&self) -> Result<Vec<u8>, base64::DecodeError> {
        BASE64_STANDARD.decode(&self.validation_parameter)
    }

    /// The collections' JSON, decoded, or `None` where there is none.
    ///
    /// # Errors
    /// Where the field is not base64.
    pub fn decode_collections(&self) -> Result<Option<Vec<u8>>, base64::DecodeError> {
        if self.collections.is_empty() {
            return Ok(None);
        }
        BASE64_STANDARD.decode(&self.collections).map(Some)
    }
}

/// A proposal to deploy a chaincode, as it is on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Always `proposal`.
    #[serde(rename = "docType", default)]
    pub doc_type: String,
    /// Chosen by who proposes; unique on the ops channel.
    #[serde(rename = "ID")]
    pub id: String,
    /// The MSP ID of who proposed it.
    pub creator: String,
    /// The channel to deploy to.
    #[serde(rename = "channelID")]
    pub channel_id: String,
    /// The chaincode's name.
    #[serde(rename = "chaincodeName")]
    pub chaincode_name: String,
    /// Where the sources are.
    #[serde(rename = "chaincodePackage")]
    pub chaincode_package: ChaincodePackage,
    /// What is to be committed.
    #[serde(rename = "chaincodeDefinition")]
    pub chaincode_definition: ChaincodeDefinition,
    /// How far it has come.
    pub status: Status,
    /// When it was requested (RFC 3339).
    #[serde(default)]
    pub time: String,
}

/// What is handed in to request a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalInput {
    /// Chosen by who proposes; unique on the ops channel.
    #[serde(rename = "ID")]
    pub id: String,
    /// The channel to deploy to.
    #[serde(rename = "channelID")]
    pub channel_id: String,
    /// The chaincode's name.
    #[serde(rename = "chaincodeName")]
    pub chaincode_name: String,
    /// Where the sources are.
    #[serde(rename = "chaincodePackage")]
    pub chaincode_package: ChaincodePackage,
    /// What is to be committed.
    #[serde(rename = "chaincodeDefinition")]
    pub chaincode_definition: ChaincodeDefinition,
}

/// What one organization has done about a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Always `history`.
    #[serde(rename = "docType", default)]
    pub doc_type: String,
    /// The proposal.
    #[serde(rename = "proposalID")]
    pub proposal_id: String,
    /// What was done.
    #[serde(rename = "taskID")]
    pub task: Task,
    /// The MSP ID of who did it.
    #[serde(rename = "orgID")]
    pub org_id: String,
    /// How it ended.
    pub status: TaskStatus,
    /// Details: agents put JSON here, `{"packageID": …}` or `{"error": …}`.
    #[serde(default)]
    pub data: String,
    /// When (RFC 3339).
    #[serde(default)]
    pub time: String,
}

/// How one organization did with a task: the argument of `Vote`, `Acknowledge` and `NotifyCommitResult`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatusUpdate {
    /// The proposal.
    #[serde(rename = "proposalID")]
    pub proposal_id: String,
    /// How it ended; `None` is `agreed` for a vote and `success` for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// Details.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
}

impl TaskStatusUpdate {
    /// `status` for the proposal, without details.
    pub fn new(proposal_id: impl Into<String>, status: TaskStatus) -> Self {
        Self { proposal_id: proposal_id.into(), status: Some(status), data: String::new() }
    }

    /// The same with details.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<String>) -> Self {
        self.data = data.into();
        self
    }
}

/// Which histories to get: a field counts only while those before it are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// Those of one proposal. The original contract demands the field, empty for all.
    #[serde(rename = "proposalID", default)]
    pub proposal_id: String,
    /// Those of one task.
    #[serde(rename = "taskID", default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Those of one organization.
    #[serde(rename = "orgID", default, skip_serializing_if = "String::is_empty")]
    pub org_id: String,
}

/// Which organizations are to act on a proposal: the payload of the two deployment events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentEvent {
    /// The proposal.
    pub proposal: Proposal,
    /// The MSP IDs of who is to act.
    #[serde(rename = "operationTargets")]
    pub operation_targets: Vec<String>,
}

/// How votes are counted where it is not the majority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotingConfig {
    /// Always `votingConfig`.
    #[serde(rename = "docType", default)]
    pub doc_type: String,
    /// How many organizations may be malicious, f: 2f+1 votes decide.
    #[serde(rename = "maxMaliciousOrgs")]
    pub max_malicious_orgs: i64,
}

/// Proposals by their composite keys, as `GetAllProposals` answers.
pub type Proposals = BTreeMap<String, Proposal>;

/// Histories by their composite keys, as `GetHistories` answers.
pub type Histories = BTreeMap<String, History>;

/// What `chaincode-ops` tells its listeners; at most one per transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A proposal was requested and waits for votes.
    NewProposal(Box<Proposal>),
    /// A vote was cast which decides nothing yet.
    NewVote {
        /// The proposal.
        proposal_id: String,
    },
    /// The proposal is approved: the targets install and approve the chaincode.
    PrepareToDeploy(Box<DeploymentEvent>),
    /// All have acknowledged: the target commits the definition.
    Deploy(Box<DeploymentEvent>),
    /// The definition is committed.
    Committed {
        /// The proposal.
        proposal_id: String,
    },
    /// The proposal was voted down.
    Rejected {
        /// The proposal.
        proposal_id: String,
    },
    /// The proposal was taken back.
    Withdrawn {
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
            name::NEW_PROPOSAL => Self::NewProposal(Box::new(raw.json(|proposal: &Proposal| &proposal.id)?)),
            name::NEW_VOTE => Self::NewVote { proposal_id },
            name::PREPARE_TO_DEPLOY => Self::PrepareToDeploy(Box::new(raw.json(deployed_id)?)),
            name::DEPLOY => Self::Deploy(Box::new(raw.json(deployed_id)?)),
            name::COMMITTED => Self::Committed { proposal_id },
            name::REJECTED => Self::Rejected { proposal_id },
            name::WITHDRAWN => Self::Withdrawn { proposal_id },
            _ => return Err(raw.unknown()),
        })
    }

    /// The proposal that it is about.
    pub fn proposal_id(&self) -> &str {
        match self {
            Self::NewProposal(proposal) => &proposal.id,
            Self::PrepareToDeploy(event) | Self::Deploy(event) => &event.proposal.id,
            Self::NewVote { proposal_id }
            | Self::Committed { proposal_id }
            | Self::Rejected { proposal_id }
            | Self::Withdrawn { proposal_id } => proposal_id,
        }
    }
}

fn deployed_id(event: &DeploymentEvent) -> &str {
    &event.proposal.id
}

/// The events' names, each followed by a dot and the proposal's ID on the wire.
pub mod name {
    /// Carries the proposal.
    pub const NEW_PROPOSAL: &str = "newProposalEvent";
    /// Carries nothing.
    pub const NEW_VOTE: &str = "newVoteEvent";
    /// Carries a [`DeploymentEvent`](super::DeploymentEvent).
    pub const PREPARE_TO_DEPLOY: &str = "prepareToDeployEvent";
    /// Carries a [`DeploymentEvent`](super::DeploymentEvent).
    pub const DEPLOY: &str = "deployEvent";
    /// Carries nothing.
    pub const COMMITTED: &str = "committedEvent";
    /// Carries nothing.
    pub const REJECTED: &str = "rejectedEvent";
    /// Carries nothing.
    pub const WITHDRAWN: &str = "withdrawnEvent";
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPOSAL: &str = r#"{"docType":"proposal","ID":"p.1","creator":"Org1MSP","channelID":"mychannel","chaincodeName":"basic","chaincodePackage":{"repository":"github.com/a/b","commitID":"main","type":"ccaas"},"chaincodeDefinition":{"sequence":9223372036854775807,"initRequired":false,"validationParameter":"L0NoYW5uZWw="},"status":"proposed","time":"2026-01-01T00:00:00Z"}"#;

    #[test]
    fn a_proposal_keeps_its_bytes() {
        let proposal: Proposal = serde_json::from_str(PROPOSAL).unwrap();
        assert_eq!(proposal.chaincode_definition.sequence, i64::MAX);
        assert_eq!(proposal.chaincode_package.package_type, PackageType::Ccaas);
        assert_eq!(proposal.chaincode_definition.decode_validation_parameter().unwrap(), b"/Channel");
        assert_eq!(proposal.chaincode_definition.decode_collections(), Ok(None));
        assert_eq!(serde_json::to_string(&proposal).unwrap(), PROPOSAL);
    }

    #[test]
    fn unknown_words_survive() {
        let unknown = PROPOSAL.replace("\"proposed\"", "\"failed\"").replace("\"ccaas\"", "\"wasm\"");
        let proposal: Proposal = serde_json::from_str(&unknown).unwrap();
        assert_eq!(proposal.status, Status::Other("failed".into()));
        assert_eq!(serde_json::to_string(&proposal).unwrap(), unknown);
    }

    #[test]
    fn events_are_read_by_name() {
        let deployment = format!(r#"{{"proposal":{PROPOSAL},"operationTargets":["Org1MSP"]}}"#);
        for (name, payload, shown) in [
            ("newProposalEvent.p.1", PROPOSAL, "NewProposal p.1"),
            ("newVoteEvent.p.1", "", "NewVote p.1"),
            ("prepareToDeployEvent.p.1", &deployment, "PrepareToDeploy p.1"),
            ("deployEvent.p.1", &deployment, "Deploy p.1"),
            ("committedEvent.p", "anything", "Committed p"),
            ("rejectedEvent.p", "", "Rejected p"),
            ("withdrawnEvent.../etc", "", "Withdrawn ../etc"),
            ("deployEvent.p", &deployment, r#"error: event "deployEvent.p" carries proposal "p.1""#),
            ("deployEvent.p.1", "{}", r#"error: payload of event "deployEvent.p.1" is not what this event carries"#),
            ("deployEvent.p.1", "\u{0}", r#"error: payload of event "deployEvent.p.1" is not what this event carries"#),
            ("deployEvent.", "", r#"error: event "deployEvent." is not known"#),
            ("deployEvent", "", r#"error: event "deployEvent" is not known"#),
            ("", "", r#"error: event "" is not known"#),
            ("fooEvent.p", "", r#"error: event "fooEvent.p" is not known"#),
        ] {
            let read = match Event::parse(name, payload.as_bytes()) {
                Ok(event) => {
                    let shown = format!("{event:?}");
                    let kind = shown.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
                    format!("{kind} {}", event.proposal_id())
                }
                Err(error) => format!("error: {error}"),
            };
            assert_eq!(read, shown, "for {name}");
        }
    }

    #[test]
    fn long_names_are_cut_in_errors() {
        let error = Event::parse(&"x".repeat(1 << 20), b"").unwrap_err();
        assert!(error.to_string().len() < 300);
    }

    #[test]
    fn defaults_are_left_out_of_arguments() {
        let update = TaskStatusUpdate { proposal_id: "p".into(), status: None, data: String::new() };
        assert_eq!(serde_json::to_string(&update).unwrap(), r#"{"proposalID":"p"}"#);
        let update = TaskStatusUpdate::new("p", TaskStatus::Failure).with_data("{}");
        assert_eq!(serde_json::to_string(&update).unwrap(), r#"{"proposalID":"p","status":"failure","data":"{}"}"#);
        assert_eq!(serde_json::to_string(&HistoryQuery::default()).unwrap(), r#"{"proposalID":""}"#);
    }
}
