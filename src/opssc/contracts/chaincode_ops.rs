//! `chaincode-ops`: proposals to deploy a chaincode, the votes on them, and what became of them.
//!
//! A vote and an acknowledgement read all of their kind, so two of them in one block collide and one is handed in again.
//! Writing the own key alone would avoid that, but the read set is part of what endorsers sign: beside the original
//! contract, ours has to read what it reads.

use bytes::Bytes;
use tonic::async_trait;

use super::call::{Call, Parameter};
use super::channel_ops::{done, stored};
use super::channel_proposals::{creator_msp_id, emit};
use super::json::encode;
use super::refusal::{Refusal, While as _};
use super::repository;
use super::shape::{Kind, Object, Shape};
use super::time::rfc3339;
use crate::chaincode::{Contract, Response, Stub, composite};
use crate::fabric::names::ChaincodeName;
use crate::opssc::chaincode_ops::{
    ChaincodeDefinition, ChaincodePackage, DeploymentEvent, Histories, History, Proposal, Proposals, Status, Task,
    TaskStatus, VotingConfig, name,
};

/// What the objects of the state are called, which is also how their keys begin.
const PROPOSAL: &str = "proposal";
const HISTORY: &str = "history";
const VOTING_CONFIG: &str = "votingConfig";

static PACKAGE: Shape = Shape {
    go_type: "core.ChaincodePackage",
    fields: &[
        ("repository", Kind::Text, true),
        ("commitID", Kind::Text, true),
        ("pathToSourceFiles", Kind::Text, false),
        ("type", Kind::Text, true),
    ],
};
static DEFINITION: Shape = Shape {
    go_type: "core.ChaincodeDefinition",
    fields: &[
        ("sequence", Kind::Integer, true),
        ("initRequired", Kind::Boolean, true),
        ("validationParameter", Kind::Text, true),
        ("collections", Kind::Text, false),
    ],
};
static INPUT: Shape = Shape {
    go_type: "core.ChaincodeUpdateProposalInput",
    fields: &[
        ("ID", Kind::Text, true),
        ("channelID", Kind::Text, true),
        ("chaincodeName", Kind::Text, true),
        ("chaincodePackage", Kind::Object(&PACKAGE), true),
        ("chaincodeDefinition", Kind::Object(&DEFINITION), true),
    ],
};
static UPDATE: Shape = Shape {
    go_type: "core.TaskStatusUpdateRequest",
    fields: &[("proposalID", Kind::Text, true), ("status", Kind::Text, false), ("data", Kind::Text, false)],
};
static QUERY: Shape = Shape {
    go_type: "core.HistoryQueryParams",
    fields: &[("proposalID", Kind::Text, true), ("taskID", Kind::Text, false), ("orgID", Kind::Text, false)],
};

/// The contract `chaincode-ops`.
#[derive(Debug, Clone)]
pub struct ChaincodeOps {
    channel_ops: ChaincodeName,
}

impl Default for ChaincodeOps {
    /// The contract beside a `channel-ops` of that name.
    fn default() -> Self {
        Self::new(ChaincodeName::parse("channel-ops").expect("it is a chaincode name"))
    }
}

impl ChaincodeOps {
    /// The contract beside the contract `channel_ops` on the same channel, which knows the organizations.
    pub fn new(channel_ops: ChaincodeName) -> Self {
        Self { channel_ops }
    }

    async fn answer(&self, stub: &mut dyn Stub) -> Result<Bytes, Refusal> {
        let call = Call::read(stub.args())?;
        match call.function() {
            "RequestProposal" => {
                let [input] = call.parameters()?;
                let proposal = self.request_proposal(stub, &input.object(&INPUT)?).await?;
                Ok(encode(&proposal).into())
            }
            "Vote" => {
                let [update] = call.parameters()?;
                self.vote(stub, &update.object(&UPDATE)?).await.map(done)
            }
            "WithdrawProposal" => {
                let [proposal_id] = call.parameters()?;
                withdraw(stub, proposal_id).await.map(done)
            }
            "Acknowledge" => {
                let [update] = call.parameters()?;
                self.acknowledge(stub, &update.object(&UPDATE)?).await.map(done)
            }
            "NotifyCommitResult" => {
                let [update] = call.parameters()?;
                notify_commit_result(stub, &update.object(&UPDATE)?).await.map(done)
            }
            "GetProposal" => {
                let [proposal_id] = call.parameters()?;
                let proposal_id = proposal_id.key().during("error happened creating composite key for proposal")?;
                Ok(encode(&get_proposal(stub, &proposal_id).await?).into())
            }
            "GetAllProposals" => Ok(encode(&all_proposals(stub).await?).into()),
            "GetHistories" => {
                let [query] = call.parameters()?;
                Ok(encode(&histories(stub, &query.object(&QUERY)?).await?).into())
            }
            "SetMaxMaliciousOrgsInVotes" => {
                let [number] = call.parameters()?;
                set_voting_config(stub, number.integer()?).await.map(done)
            }
            "UnsetMaxMaliciousOrgsInVotes" => stub
                .del_state(VOTING_CONFIG)
                .await
                .during("error happened delete the voting config from the ledger")
                .map(done),
            // The original answers with nothing at all where there is none.
            "GetVotingConfig" => {
                Ok(voting_config(stub).await?.map(|config| encode(&config).into()).unwrap_or_default())
            }
            _ => Err(call.unknown()),
        }
    }

    async fn request_proposal(&self, stub: &mut dyn Stub, input: &Object) -> Result<Proposal, Refusal> {
        let mut proposal = read_input(input)?;
        proposal.creator = creator_msp_id(stub).during("failed to get MSP ID")?;
        proposal.time = rfc3339(stub.timestamp());
        self.check_channel_type(stub, &proposal.channel_id).await?;
        // Whatever else keeps it from being read will keep it from being written.
        if get_proposal(stub, &proposal.id).await.is_ok() {
            return Err(Refusal::new("proposalID already in use"));
        }
        put_proposal(stub, &proposal).await.during("failed to put the proposal")?;
        let own = put_history(stub, &proposal.id, Task::Vote, TaskStatus::Agreed, String::new())
            .await
            .during("failed to put the history that the org votes for")?;
        let passed = self.votes_suffice(stub, &own, &proposal.channel_id).await.during("failed to do meetCriteria")?;
        if passed {
            self.approve(stub, &proposal).await.during("failed to update the status")?;
        } else {
            emit(stub, name::NEW_PROPOSAL, &proposal.id, encode(&proposal))?;
        }
        // As it was requested, even where it is approved by now.
        Ok(proposal)
    }

    async fn vote(&self, stub: &mut dyn Stub, update: &Object) -> Result<(), Refusal> {
        let (proposal_id, vote) = read_update(update, TaskStatus::Agreed)?;
        if !matches!(vote, TaskStatus::Agreed | TaskStatus::Disagreed) {
            return Err(Refusal::new("task status for vote should be agreed or disagreed"));
        }
        let proposal = get_proposal(stub, &proposal_id).await.during("failed to get the proposal")?;
        if proposal.status != Status::Proposed {
            return Err(Refusal::new("the voting is already closed"));
        }
        let against = vote == TaskStatus::Disagreed;
        let own = put_history(stub, &proposal_id, Task::Vote, vote, update.text("data"))
            .await
            .during("failed to put the history")?;
        let decided = self.votes_suffice(stub, &own, &proposal.channel_id).await.during("failed to do meetCriteria")?;
        match (decided, against) {
            (true, false) => self.approve(stub, &proposal).await.during("failed to update the status"),
            (true, true) => {
                end(stub, proposal, Status::Rejected, name::REJECTED).await.during("failed to update the status")
            }
            (false, _) => emit(stub, name::NEW_VOTE, &proposal.id, Bytes::new()),
        }
    }

    async fn acknowledge(&self, stub: &mut dyn Stub, update: &Object) -> Result<(), Refusal> {
        let (proposal_id, status) = read_update(update, TaskStatus::Success)?;
        if !matches!(status, TaskStatus::Success | TaskStatus::Failure) {
            return Err(Refusal::new("task status for acknowledge should be success or failure"));
        }
        let mut proposal = get_proposal(stub, &proposal_id).await.during("failed to get the proposal")?;
        if proposal.status != Status::Approved {
            return Ok(());
        }
        let own = overwrite_history(stub, &proposal_id, Task::Acknowledge, status, update.text("data"))
            .await
            .during("failed to put the history")?;
        // Read for a failure too: endorsers must have read the same.
        let by_all = async {
            let same = with_same_status(stub, &own).await?;
            let members = self.count_members(stub, &proposal.channel_id).await?;
            Ok::<_, Refusal>(same >= members)
        };
        let by_all = by_all.await.during("failed to do meetCriteria")?;
        if own.status == TaskStatus::Success && by_all {
            proposal.status = Status::Acknowledged;
            put_proposal(stub, &proposal).await.during("failed to update the status")?;
            let target = creator_msp_id(stub).during("failed to update the status: failed to get MSP ID")?;
            let event = DeploymentEvent { proposal, operation_targets: vec![target] };
            emit(stub, name::DEPLOY, &event.proposal.id, encode(&event)).during("failed to update the status")?;
        }
        Ok(())
    }

    /// Lets the members prepare: the organizations that `channel-ops` knows of on the channel.
    async fn approve(&self, stub: &mut dyn Stub, proposal: &Proposal) -> Result<(), Refusal> {
        let proposal = Proposal { status: Status::Approved, ..proposal.clone() };
        put_proposal(stub, &proposal).await?;
        let answer = self.ask_channel_ops(stub, "GetOrganizationsInChannel", &proposal.channel_id).await?;
        if answer.status != 200 {
            return Err(Refusal(format!("error happened querying {}:{}", self.channel_ops, answer.message)));
        }
        let operation_targets = stored(&answer.payload)?;
        let event = DeploymentEvent { proposal, operation_targets };
        emit(stub, name::PREPARE_TO_DEPLOY, &event.proposal.id, encode(&event))
    }

    async fn check_channel_type(&self, stub: &mut dyn Stub, channel_id: &str) -> Result<(), Refusal> {
        let answer = self.ask_channel_ops(stub, "GetChannelType", channel_id).await?;
        let reason = if answer.status != 200 {
            format!("failed to call get channel type (code: {}, message: {})", answer.status, answer.message)
        } else if [&b"system"[..], b"disable"].contains(&&answer.payload[..]) {
            "<nil>".to_owned()
        } else {
            return Ok(());
        };
        Err(Refusal(format!(
            "proposal is not accepted by the channel. The proposal should be made to the 'application' or 'ops' \
             channel: {reason}"
        )))
    }

    /// Whether with the vote `own` those of its kind decide: a majority for the proposal, or so many against it that
    /// there can be none.
    async fn votes_suffice(&self, stub: &mut dyn Stub, own: &History, channel_id: &str) -> Result<bool, Refusal> {
        let same = with_same_status(stub, own).await?;
        let members = self.count_members(stub, channel_id).await?;
        let majority = match voting_config(stub).await? {
            Some(config) => config.max_malicious_orgs.wrapping_mul(2).wrapping_add(1),
            None => members / 2 + 1,
        };
        let needed = match own.status {
            TaskStatus::Disagreed => members.wrapping_sub(majority.wrapping_sub(1)),
            _ => majority,
        };
        Ok(same >= needed)
    }

    async fn count_members(&self, stub: &mut dyn Stub, channel_id: &str) -> Result<i64, Refusal> {
        let answer = self.ask_channel_ops(stub, "CountOrganizationsInChannel", channel_id).await?;
        if answer.status != 200 {
            let Response { status, message, .. } = answer;
            return Err(Refusal(format!(
                "failed to call count organization in channel (code: {status}, message: {message})"
            )));
        }
        let count = std::str::from_utf8(&answer.payload).ok().and_then(|text| text.parse().ok());
        count.ok_or_else(|| Refusal::new("failed to call count organization in channel: it is no number"))
    }

    async fn ask_channel_ops(
        &self,
        stub: &mut dyn Stub,
        function: &'static str,
        channel_id: &str,
    ) -> Result<Response, Refusal> {
        let args = [Bytes::from_static(function.as_bytes()), Bytes::from(channel_id.to_owned())];
        Ok(stub.invoke_chaincode(self.channel_ops.as_str(), &args, None).await?)
    }
}

#[async_trait]
impl Contract for ChaincodeOps {
    async fn init(&self, stub: &mut dyn Stub) -> Response {
        if stub.args().first().is_none_or(Bytes::is_empty) {
            return Response::success("Default initiator successful.");
        }
        self.invoke(stub).await
    }

    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        match self.answer(stub).await {
            Ok(payload) => Response::success(payload),
            Err(Refusal(words)) => Response::failure(words),
        }
    }
}

/// The proposal that an input asks for; its creator and time are still to come.
fn read_input(input: &Object) -> Result<Proposal, Refusal> {
    let package = input.object("chaincodePackage", &PACKAGE);
    let definition = input.object("chaincodeDefinition", &DEFINITION);
    let proposal = Proposal {
        doc_type: PROPOSAL.to_owned(),
        id: input.text("ID"),
        creator: String::new(),
        channel_id: input.text("channelID"),
        chaincode_name: input.text("chaincodeName"),
        chaincode_package: ChaincodePackage {
            repository: package.text("repository"),
            commit_id: package.text("commitID"),
            path_to_source_files: package.text("pathToSourceFiles"),
            package_type: package.text("type").into(),
        },
        chaincode_definition: ChaincodeDefinition {
            sequence: definition.integer("sequence"),
            init_required: definition.boolean("initRequired"),
            validation_parameter: definition.text("validationParameter"),
            collections: definition.text("collections"),
        },
        status: Status::Proposed,
        time: String::new(),
    };
    let required = |value: &str, what: &str| match value {
        "" => Err(Refusal(format!("the required parameter {what} is empty"))),
        _ => Ok(()),
    };
    required(&proposal.id, "proposal 'ID'")?;
    required(&proposal.channel_id, "'ChannelID'")?;
    required(&proposal.chaincode_name, "'ChaincodeName'")?;
    if proposal.chaincode_definition.sequence < 1 {
        return Err(Refusal::new("the parameter 'ChaincodeDefinition.Sequence' should be >= 1"));
    }
    required(&proposal.chaincode_definition.validation_parameter, "'ChaincodeDefinition.ValidationParameter'")?;
    if !repository::is_accepted(&proposal.chaincode_package.repository) {
        return Err(Refusal::new(
            "the parameter 'ChaincodePackage.Repository' should be repository path (e.g., \
             github.com/project_name/repository_name)",
        ));
    }
    required(proposal.chaincode_package.package_type.as_str(), "'ChaincodePackage.Type'")?;
    required(&proposal.chaincode_package.commit_id, "'ChaincodePackage.CommitID'")?;
    Ok(proposal)
}

/// The proposal and the status that an update names.
fn read_update(update: &Object, default: TaskStatus) -> Result<(String, TaskStatus), Refusal> {
    let status = match update.text("status") {
        none if none.is_empty() => default,
        given => given.into(),
    };
    match update.text("proposalID") {
        none if none.is_empty() => Err(Refusal::new("the required parameter 'ProposalID' is empty")),
        proposal_id => Ok((proposal_id, status)),
    }
}

async fn withdraw(stub: &mut dyn Stub, proposal_id: Parameter<'_>) -> Result<(), Refusal> {
    if proposal_id.text().is_empty() {
        return Err(Refusal::new("the required parameter 'proposalID' is empty"));
    }
    let not_found = |_| Refusal::new("proposal not found");
    let proposal_id = proposal_id.key().map_err(not_found)?;
    let proposal = get_proposal(stub, &proposal_id).await.map_err(not_found)?;
    if proposal.status != Status::Proposed {
        return Err(Refusal::new("the voting is already closed"));
    }
    if proposal.creator != creator_msp_id(stub).during("failed to get MSP ID")? {
        return Err(Refusal(format!("only the proposer ({}) can withdraw the proposal", proposal.creator)));
    }
    end(stub, proposal, Status::Withdrawn, name::WITHDRAWN).await.during("failed to update the status")
}

async fn notify_commit_result(stub: &mut dyn Stub, update: &Object) -> Result<(), Refusal> {
    let (proposal_id, status) = read_update(update, TaskStatus::Success)?;
    if !matches!(status, TaskStatus::Success | TaskStatus::Failure) {
        return Err(Refusal::new("task status for commit should be success or failure"));
    }
    let proposal = get_proposal(stub, &proposal_id).await.during("failed to get the proposal")?;
    let own = overwrite_history(stub, &proposal_id, Task::Commit, status, update.text("data"))
        .await
        .during("failed to put the history")?;
    if own.status != TaskStatus::Success || proposal.status != Status::Acknowledged {
        return Ok(());
    }
    end(stub, proposal, Status::Committed, name::COMMITTED).await.during("failed to update the status")
}

/// Writes the proposal's last status and tells everyone.
async fn end(stub: &mut dyn Stub, proposal: Proposal, status: Status, event: &str) -> Result<(), Refusal> {
    let proposal = Proposal { status, ..proposal };
    put_proposal(stub, &proposal).await?;
    emit(stub, event, &proposal.id, Bytes::new())
}

async fn all_proposals(stub: &mut dyn Stub) -> Result<Proposals, Refusal> {
    let entries = stub
        .get_state_by_partial_composite_key(PROPOSAL, &[])
        .await
        .during("error happened reading keys from ledger")?;
    let proposals = entries.into_iter().map(|entry| Ok((entry.key, stored(&entry.value)?)));
    proposals.collect::<Result<_, Refusal>>().during(UNREADABLE_PROPOSAL)
}

async fn histories(stub: &mut dyn Stub, query: &Object) -> Result<Histories, Refusal> {
    let wanted = ["proposalID", "taskID", "orgID"].map(|field| query.text(field));
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).take_while(|part| !part.is_empty()).collect();
    let entries = stub
        .get_state_by_partial_composite_key(HISTORY, &wanted)
        .await
        .during("error happened reading keys from ledger")?;
    let histories = entries.into_iter().map(|entry| Ok((entry.key, stored(&entry.value)?)));
    histories
        .collect::<Result<_, Refusal>>()
        .during("error happened unmarshalling a history JSON representation to struct")
}

async fn set_voting_config(stub: &mut dyn Stub, max_malicious_orgs: i64) -> Result<(), Refusal> {
    if max_malicious_orgs < 0 {
        return Err(Refusal::new("number of max malicious orgs in votes should be greater than 0"));
    }
    let config = VotingConfig { doc_type: VOTING_CONFIG.to_owned(), max_malicious_orgs };
    stub.put_state(VOTING_CONFIG, encode(&config).into())
        .await
        .during("error happened persisting the voting config on the ledger")
}

async fn voting_config(stub: &mut dyn Stub) -> Result<Option<VotingConfig>, Refusal> {
    let value = stub.get_state(VOTING_CONFIG).await.during("error happened reading voting config")?;
    value
        .map(|value| stored(&value))
        .transpose()
        .during("error happened unmarshalling a voting config JSON representation to struct")
}

const UNREADABLE_PROPOSAL: &str = "error happened unmarshalling a proposal JSON representation to struct";
const PROPOSAL_KEY: &str = "error happened creating composite key for proposal";

async fn get_proposal(stub: &mut dyn Stub, proposal_id: &str) -> Result<Proposal, Refusal> {
    let key = composite::key(PROPOSAL, &[proposal_id]).during(PROPOSAL_KEY)?;
    let value =
        stub.get_state(&key).await.during(format_args!("error happened reading proposal with id ({proposal_id})"))?;
    stored(&value.ok_or_else(|| Refusal::new("proposal not found"))?).during(UNREADABLE_PROPOSAL)
}

async fn put_proposal(stub: &mut dyn Stub, proposal: &Proposal) -> Result<(), Refusal> {
    let key = composite::key(PROPOSAL, &[&proposal.id]).during(PROPOSAL_KEY)?;
    stub.put_state(&key, encode(proposal).into())
        .await
        .during("error happened persisting the new proposal on the ledger")
}

/// How many organizations have done the task of `own` with the same status, its own among them.
///
/// The organization's earlier history counts once: reads do not see what the transaction has written.
async fn with_same_status(stub: &mut dyn Stub, own: &History) -> Result<i64, Refusal> {
    let entries = stub
        .get_state_by_partial_composite_key(HISTORY, &[&own.proposal_id, own.task.as_str()])
        .await
        .during("error happened reading keys from ledger")?;
    let mut organizations = std::collections::BTreeSet::from([own.org_id.clone()]);
    for entry in entries {
        let history: History = stored(&entry.value)?;
        if history.status == own.status {
            organizations.insert(history.org_id);
        }
    }
    Ok(i64::try_from(organizations.len()).unwrap_or(i64::MAX))
}

/// Writes down what the organization did, unless it has before.
async fn put_history(
    stub: &mut dyn Stub,
    proposal_id: &str,
    task: Task,
    status: TaskStatus,
    data: String,
) -> Result<History, Refusal> {
    let (key, history) = new_history(stub, proposal_id, task, status, data)?;
    if stub.get_state(&key).await.during("failed to read from world state")?.is_some() {
        return Err(Refusal(format!("the state is already exists: {}", history.org_id)));
    }
    store_history(stub, &key, history).await
}

/// Writes down what the organization did, in place of what it did before.
async fn overwrite_history(
    stub: &mut dyn Stub,
    proposal_id: &str,
    task: Task,
    status: TaskStatus,
    data: String,
) -> Result<History, Refusal> {
    let (key, history) = new_history(stub, proposal_id, task, status, data)?;
    store_history(stub, &key, history).await
}

fn new_history(
    stub: &dyn Stub,
    proposal_id: &str,
    task: Task,
    status: TaskStatus,
    data: String,
) -> Result<(String, History), Refusal> {
    let org_id = creator_msp_id(stub).during("failed to get MSP ID")?;
    let key = composite::key(HISTORY, &[proposal_id, task.as_str(), &org_id])
        .during("error happened creating composite key for history")?;
    let history = History {
        doc_type: HISTORY.to_owned(),
        proposal_id: proposal_id.to_owned(),
        task,
        org_id,
        status,
        data,
        time: rfc3339(stub.timestamp()),
    };
    Ok((key, history))
}

async fn store_history(stub: &mut dyn Stub, key: &str, history: History) -> Result<History, Refusal> {
    stub.put_state(key, encode(&history).into()).await.during("error happened marshalling the history")?;
    Ok(history)
}
