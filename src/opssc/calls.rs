//! Typed calls to the two contracts.
//!
//! A module of its own because the contracts' functions take JSON in texts: who calls them should see types. Changes are
//! endorsed by a majority of the organizations, as the channel's default policy demands, and tried again at once when
//! they lose against another transaction.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{chaincode_ops, channel_ops};
use crate::client::{Channel, Committed, Endorsers, EvaluateError, Peer, SubmitError};
use crate::fabric::names::ChaincodeName;
use crate::fabric::tx::Invocation;
use crate::runtime::retry::Backoff;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpsError {
    /// The query failed.
    #[error("{function} failed")]
    Evaluate {
        /// The contract's function.
        function: &'static str,
        /// Why.
        source: EvaluateError,
    },
    /// The transaction is not known to have taken effect.
    #[error("{function} failed")]
    Submit {
        /// The contract's function.
        function: &'static str,
        /// Why.
        source: SubmitError,
    },
    /// The answer, or the argument, is not the JSON that it should be.
    #[error("{function} does not speak the JSON that is expected of it")]
    Json {
        /// The contract's function.
        function: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl OpsError {
    /// Whether the same call may succeed later, and cannot take effect twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Evaluate { source, .. } => source.is_retryable(),
            Self::Submit { source, .. } => source.is_retryable(),
            Self::Json { .. } => false,
        }
    }

    /// The status and the words of whoever refused, peer or contract.
    pub fn refusal(&self) -> Option<(i32, &str)> {
        match self {
            Self::Evaluate { source, .. } => source.refusal(),
            Self::Submit { source, .. } => source.refusal(),
            Self::Json { .. } => None,
        }
    }
}

/// One contract on one channel.
#[derive(Debug, Clone)]
struct Contract {
    channel: Channel,
    name: ChaincodeName,
}

impl Contract {
    fn invocation(&self, function: &str, args: impl IntoIterator<Item = String>) -> Invocation {
        args.into_iter()
            .fold(Invocation::new(self.name.as_str(), function), |invocation, arg| invocation.arg(arg.into_bytes()))
    }

    async fn query<T: DeserializeOwned>(
        &self,
        function: &'static str,
        args: impl IntoIterator<Item = String>,
    ) -> Result<T, OpsError> {
        let invocation = self.invocation(function, args);
        parse(function, &self.ask(function, &invocation).await?)
    }

    /// A query whose answer is a plain text.
    async fn query_text(
        &self,
        function: &'static str,
        args: impl IntoIterator<Item = String>,
    ) -> Result<String, OpsError> {
        let answer = self.ask(function, &self.invocation(function, args)).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A change that is dropped, once endorsed, where `is_due` says no.
    async fn change_if_due<F: Future<Output = bool>>(
        &self,
        function: &'static str,
        args: impl IntoIterator<Item = String>,
        is_due: impl Fn() -> F,
    ) -> Result<Option<Committed>, OpsError> {
        let invocation = self.invocation(function, args);
        self.channel
            .submit_if_due(&invocation, Endorsers::Majority, Backoff::conflicts(), is_due)
            .await
            .map_err(|source| OpsError::Submit { function, source })
    }

    async fn ask(&self, function: &'static str, invocation: &Invocation) -> Result<Bytes, OpsError> {
        self.channel.evaluate(invocation).await.map_err(|source| OpsError::Evaluate { function, source })
    }

    async fn change(
        &self,
        function: &'static str,
        args: impl IntoIterator<Item = String>,
    ) -> Result<Committed, OpsError> {
        let invocation = self.invocation(function, args);
        self.channel
            .submit_with_retry(&invocation, Endorsers::Majority, Backoff::conflicts())
            .await
            .map_err(|source| OpsError::Submit { function, source })
    }
}

fn json(function: &'static str, value: &impl Serialize) -> Result<String, OpsError> {
    serde_json::to_string(value).map_err(|source| OpsError::Json { function, source })
}

/// Calls to `chaincode-ops`.
///
/// Cancel safety of all calls: queries have no effect; a cancelled change may take effect all the same.
#[derive(Debug, Clone)]
pub struct ChaincodeOps(Contract);

impl ChaincodeOps {
    /// The contract `name` on the ops channel.
    pub fn new(channel: Channel, name: ChaincodeName) -> Self {
        Self(Contract { channel, name })
    }

    /// The ops channel.
    pub fn channel(&self) -> &Channel {
        &self.0.channel
    }

    /// Requests a proposal, which counts as a vote for it. Answers with what is stored.
    pub async fn request_proposal(
        &self,
        input: &chaincode_ops::ProposalInput,
    ) -> Result<chaincode_ops::Proposal, OpsError> {
        const FUNCTION: &str = "RequestProposal";
        let committed = self.0.change(FUNCTION, [json(FUNCTION, input)?]).await?;
        parse(FUNCTION, &committed.payload)
    }

    /// Votes for or against a proposal.
    pub async fn vote(&self, update: &chaincode_ops::TaskStatusUpdate) -> Result<Committed, OpsError> {
        self.update("Vote", update).await
    }

    /// Takes an own proposal back.
    pub async fn withdraw_proposal(&self, id: &str) -> Result<Committed, OpsError> {
        self.0.change("WithdrawProposal", [id.to_owned()]).await
    }

    /// Tells that the chaincode is installed and approved, or why it cannot be.
    pub async fn acknowledge(&self, update: &chaincode_ops::TaskStatusUpdate) -> Result<Committed, OpsError> {
        self.update("Acknowledge", update).await
    }

    /// Tells that the definition is committed, or why it cannot be.
    pub async fn notify_commit_result(&self, update: &chaincode_ops::TaskStatusUpdate) -> Result<Committed, OpsError> {
        self.update("NotifyCommitResult", update).await
    }

    /// [`acknowledge`](Self::acknowledge), as [`Channel::submit_if_due`] does it: the contract takes it any number of
    /// times.
    pub async fn acknowledge_if_due<F: Future<Output = bool>>(
        &self,
        update: &chaincode_ops::TaskStatusUpdate,
        is_due: impl Fn() -> F,
    ) -> Result<Option<Committed>, OpsError> {
        const FUNCTION: &str = "Acknowledge";
        self.0.change_if_due(FUNCTION, [json(FUNCTION, update)?], is_due).await
    }

    /// [`notify_commit_result`](Self::notify_commit_result), as [`Channel::submit_if_due`] does it: the contract takes
    /// it any number of times.
    pub async fn notify_commit_result_if_due<F: Future<Output = bool>>(
        &self,
        update: &chaincode_ops::TaskStatusUpdate,
        is_due: impl Fn() -> F,
    ) -> Result<Option<Committed>, OpsError> {
        const FUNCTION: &str = "NotifyCommitResult";
        self.0.change_if_due(FUNCTION, [json(FUNCTION, update)?], is_due).await
    }

    /// One proposal.
    pub async fn get_proposal(&self, id: &str) -> Result<chaincode_ops::Proposal, OpsError> {
        self.0.query("GetProposal", [id.to_owned()]).await
    }

    /// All proposals.
    pub async fn get_all_proposals(&self) -> Result<chaincode_ops::Proposals, OpsError> {
        self.0.query("GetAllProposals", []).await
    }

    /// What organizations have done about proposals.
    pub async fn get_histories(
        &self,
        query: &chaincode_ops::HistoryQuery,
    ) -> Result<chaincode_ops::Histories, OpsError> {
        const FUNCTION: &str = "GetHistories";
        self.0.query(FUNCTION, [json(FUNCTION, query)?]).await
    }

    /// [`get_histories`](Self::get_histories) as one peer knows them.
    pub async fn get_histories_on(
        &self,
        peer: &Peer,
        query: &chaincode_ops::HistoryQuery,
    ) -> Result<chaincode_ops::Histories, OpsError> {
        const FUNCTION: &str = "GetHistories";
        let invocation = self.0.invocation(FUNCTION, [json(FUNCTION, query)?]);
        let answer = self.channel().evaluate_on(peer, &invocation).await;
        parse(FUNCTION, &answer.map_err(|source| OpsError::Evaluate { function: FUNCTION, source: source.into() })?)
    }

    /// How votes are counted, or `None` where the majority decides.
    pub async fn get_voting_config(&self) -> Result<Option<chaincode_ops::VotingConfig>, OpsError> {
        self.0.query("GetVotingConfig", []).await
    }

    /// Lets 2f+1 votes decide, f being `number`, in place of the majority.
    pub async fn set_max_malicious_orgs_in_votes(&self, number: u32) -> Result<Committed, OpsError> {
        self.0.change("SetMaxMaliciousOrgsInVotes", [number.to_string()]).await
    }

    /// Lets the majority decide again.
    pub async fn unset_max_malicious_orgs_in_votes(&self) -> Result<Committed, OpsError> {
        self.0.change("UnsetMaxMaliciousOrgsInVotes", []).await
    }

    async fn update(
        &self,
        function: &'static str,
        update: &chaincode_ops::TaskStatusUpdate,
    ) -> Result<Committed, OpsError> {
        self.0.change(function, [json(function, update)?]).await
    }
}

/// Calls to `channel-ops`.
///
/// Cancel safety of all calls: queries have no effect; a cancelled change may take effect all the same.
#[derive(Debug, Clone)]
pub struct ChannelOps(Contract);

impl ChannelOps {
    /// The contract `name` on the ops channel.
    pub fn new(channel: Channel, name: ChaincodeName) -> Self {
        Self(Contract { channel, name })
    }

    /// The ops channel.
    pub fn channel(&self) -> &Channel {
        &self.0.channel
    }

    /// Makes a channel known, with its members.
    pub async fn create_channel(
        &self,
        id: &str,
        channel_type: &channel_ops::ChannelType,
        organizations: &[&str],
    ) -> Result<Committed, OpsError> {
        const FUNCTION: &str = "CreateChannel";
        let organizations = json(FUNCTION, &organizations)?;
        self.0.change(FUNCTION, [id.to_owned(), channel_type.to_string(), organizations]).await
    }

    /// Changes what a channel is for; `disable` takes it out of use.
    pub async fn update_channel_type(
        &self,
        id: &str,
        channel_type: &channel_ops::ChannelType,
    ) -> Result<Committed, OpsError> {
        self.0.change("UpdateChannelType", [id.to_owned(), channel_type.to_string()]).await
    }

    /// Adds a member to a channel.
    pub async fn add_organization(&self, id: &str, msp_id: &str) -> Result<Committed, OpsError> {
        self.0.change("AddOrganization", [id.to_owned(), msp_id.to_owned()]).await
    }

    /// Replaces a channel's members.
    pub async fn set_organizations(&self, id: &str, organizations: &[&str]) -> Result<Committed, OpsError> {
        const FUNCTION: &str = "SetOrganizations";
        self.0.change(FUNCTION, [id.to_owned(), json(FUNCTION, &organizations)?]).await
    }

    /// Whether a channel is known.
    pub async fn channel_exists(&self, id: &str) -> Result<bool, OpsError> {
        self.0.query("ChannelExists", [id.to_owned()]).await
    }

    /// What a channel is for.
    pub async fn get_channel_type(&self, id: &str) -> Result<channel_ops::ChannelType, OpsError> {
        self.0.query_text("GetChannelType", [id.to_owned()]).await.map(Into::into)
    }

    /// How many members a channel has.
    pub async fn count_organizations_in_channel(&self, id: &str) -> Result<usize, OpsError> {
        self.0.query("CountOrganizationsInChannel", [id.to_owned()]).await
    }

    /// A channel's members. Original contracts list them in random order.
    pub async fn get_organizations_in_channel(&self, id: &str) -> Result<Vec<String>, OpsError> {
        self.0.query("GetOrganizationsInChannel", [id.to_owned()]).await
    }

    /// The name of the channel of type `system`.
    pub async fn get_system_channel_id(&self) -> Result<String, OpsError> {
        self.0.query_text("GetSystemChannelID", []).await
    }

    /// One channel.
    pub async fn read_channel(&self, id: &str) -> Result<channel_ops::Channel, OpsError> {
        self.0.query("ReadChannel", [id.to_owned()]).await
    }

    /// All channels.
    pub async fn get_all_channels(&self) -> Result<Vec<channel_ops::Channel>, OpsError> {
        let channels: Option<_> = self.0.query("GetAllChannels", []).await?;
        Ok(channels.unwrap_or_default())
    }

    /// Requests a proposal to change a channel. Answers with its ID.
    pub async fn request_proposal(&self, input: &channel_ops::ProposalInput) -> Result<String, OpsError> {
        const FUNCTION: &str = "RequestProposal";
        let committed = self.0.change(FUNCTION, [json(FUNCTION, input)?]).await?;
        Ok(String::from_utf8_lossy(&committed.payload).into_owned())
    }

    /// Votes for a proposal with a signature (base64 of a `common.ConfigSignature`).
    pub async fn vote(&self, id: &str, signature: &str) -> Result<Committed, OpsError> {
        self.0.change("Vote", [id.to_owned(), signature.to_owned()]).await
    }

    /// Tells that a proposal's update is on its channel.
    pub async fn notify_commit_result(&self, id: &str) -> Result<Committed, OpsError> {
        self.0.change("NotifyCommitResult", [id.to_owned()]).await
    }

    /// One proposal.
    pub async fn get_proposal(&self, id: &str) -> Result<channel_ops::Proposal, OpsError> {
        self.0.query("GetProposal", [id.to_owned()]).await
    }

    /// All proposals.
    pub async fn get_all_proposals(&self) -> Result<channel_ops::Proposals, OpsError> {
        self.0.query("GetAllProposals", []).await
    }
}

/// The contracts answer with nothing at all where Go has nil.
fn parse<T: DeserializeOwned>(function: &'static str, payload: &[u8]) -> Result<T, OpsError> {
    let payload = if payload.is_empty() { b"null" } else { payload };
    serde_json::from_slice(payload).map_err(|source| OpsError::Json { function, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_nil() {
        assert_eq!(parse::<Option<Vec<channel_ops::Channel>>>("GetAllChannels", b"").unwrap(), None);
        assert_eq!(parse::<Option<chaincode_ops::VotingConfig>>("GetVotingConfig", b"").unwrap(), None);
        assert_eq!(parse::<usize>("CountOrganizationsInChannel", b"3").unwrap(), 3);
        assert!(parse::<bool>("ChannelExists", b"true").unwrap());
        let error = parse::<chaincode_ops::Proposal>("GetProposal", b"").unwrap_err();
        assert_eq!(error.to_string(), "GetProposal does not speak the JSON that is expected of it");
    }
}
