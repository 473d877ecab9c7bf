//! The other half of `channel-ops`: proposals to change a channel's configuration, their signatures and their end.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost::Message;

use super::Mode;
use super::call::{Call, Parameter};
use super::channel_ops::{
    ChannelOps, channel_exists, count_organizations, create_channel, done, set_organizations, stored, system_channel_id,
};
use super::json::encode;
use super::refusal::{Refusal, While as _};
use super::shape::{Kind, Object, Shape};
use crate::chaincode::{Stub, composite};
use crate::opssc::channel_ops::{Action, Artifacts, Proposal, Proposals, Status, UpdateEvent, name};
use crate::pb::common::{ConfigGroup, ConfigSignature, ConfigUpdate};
use crate::pb::msp::SerializedIdentity;

/// What a proposal is called as an object, and the first part of its key.
const PROPOSAL: &str = "proposal";

/// Base64 as Go reads it: padded, with spare bits of any value. Line ends in between are skipped before.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

static INPUT: Shape = Shape {
    go_type: "chaincode.ProposalInput",
    fields: &[
        ("ID", Kind::Text, true),
        ("channelID", Kind::Text, true),
        ("description", Kind::Text, false),
        ("action", Kind::Text, false),
        ("opsProfile", Kind::Anything, true),
        ("configUpdate", Kind::Text, true),
        ("signature", Kind::Text, true),
    ],
};

impl ChannelOps {
    pub(super) async fn answer_about_proposals(self, stub: &mut dyn Stub, call: &Call) -> Result<Bytes, Refusal> {
        match call.function() {
            "RequestProposal" => {
                let [input] = call.parameters()?;
                request_proposal(stub, &input.object(&INPUT)?).await.map(Bytes::from)
            }
            "Vote" => {
                let [proposal_id, signature] = call.parameters()?;
                vote(stub, proposal_id, signature.text()).await.map(done)
            }
            "NotifyCommitResult" => {
                let [proposal_id] = call.parameters()?;
                self.notify_commit_result(stub, proposal_id).await.map(done)
            }
            "GetProposal" => {
                let [proposal_id] = call.parameters()?;
                let proposal = get_proposal(stub, &key_of(proposal_id)?).await?;
                Ok(encode(&proposal).into())
            }
            "GetAllProposals" => {
                let entries = stub
                    .get_state_by_partial_composite_key(PROPOSAL, &[])
                    .await
                    .during("error happened reading keys from ledger")?;
                let mut proposals = Proposals::new();
                for entry in entries {
                    let proposal: Proposal = unmarshalled(&entry.value)?;
                    proposals.insert(proposal.id.clone(), proposal);
                }
                Ok(encode(&proposals).into())
            }
            _ => Err(call.unknown()),
        }
    }

    async fn notify_commit_result(self, stub: &mut dyn Stub, proposal_id: Parameter<'_>) -> Result<(), Refusal> {
        let mut proposal = known_proposal(stub, proposal_id).await?;
        if proposal.status != Status::Approved {
            return Err(Refusal::new("proposal is not yet approved or already committed"));
        }
        proposal.status = Status::Committed;
        put_proposal(stub, &proposal).await.during("failed to put proposal")?;
        let update = config_update(&proposal.artifacts.config_update)?;
        let (read_set, write_set) = (update.read_set.unwrap_or_default(), update.write_set.unwrap_or_default());
        let mut named = false;
        for membership in memberships(&read_set, &write_set) {
            named = true;
            let exists =
                channel_exists(stub, &proposal.channel_id).await.during("error happend querying ChannelExists")?;
            if !exists {
                create_channel(stub, &proposal.channel_id, "", membership.members)
                    .await
                    .during("error happend creating channel info")?;
            } else if membership.changed || self.mode == Mode::Original {
                set_organizations(stub, &proposal.channel_id, membership.members)
                    .await
                    .during("error happend updating channel info")?;
            }
        }
        if named {
            emit(stub, name::UPDATE_CONFIG, &proposal.id, proposal.id.clone())?;
        }
        Ok(())
    }
}

/// What an update says about the members of its channel.
struct Membership {
    members: Vec<String>,
    /// Whether it adds or removes any, and so names them all. An update that changes something inside the group names
    /// those alone that it passes through.
    changed: bool,
}

/// The members that the write set names: in the Application group, or in the first consortium, or in both.
fn memberships(read_set: &ConfigGroup, write_set: &ConfigGroup) -> Vec<Membership> {
    let of = |before: Option<&ConfigGroup>, after: &ConfigGroup| Membership {
        members: after.groups.keys().cloned().collect(),
        changed: before.is_none_or(|before| before.version < after.version),
    };
    let application = write_set.groups.get("Application").map(|after| of(read_set.groups.get("Application"), after));
    let consortium = write_set.groups.get("Consortiums").and_then(|consortiums| {
        let (name, after) = consortiums.groups.first_key_value()?;
        let before = read_set.groups.get("Consortiums").and_then(|consortiums| consortiums.groups.get(name));
        Some(of(before, after))
    });
    application.into_iter().chain(consortium).collect()
}

async fn request_proposal(stub: &mut dyn Stub, input: &Object) -> Result<String, Refusal> {
    let action = match input.text("action") {
        none if none.is_empty() => Action::Update,
        given => given.into(),
    };
    if matches!(action, Action::Other(_)) {
        return Err(Refusal::new("incorrect operation type - expecting update or create"));
    }
    let (id, channel_id, update) = (input.text("ID"), input.text("channelID"), input.text("configUpdate"));
    if config_update(&update)?.channel_id != channel_id {
        return Err(Refusal::new("channel ID is inconsistent with the ID in the artifacts"));
    }
    let signature = input.text("signature");
    check_signature(&signature)?;
    // Whatever else keeps it from being read will keep it from being written.
    if get_proposal(stub, &id).await.is_ok() {
        return Err(Refusal::new("proposalID already in use"));
    }
    let creator = creator_msp_id(stub).during("failed to get MSP ID")?;
    let proposal = Proposal {
        doc_type: PROPOSAL.to_owned(),
        id,
        channel_id,
        description: input.text("description"),
        creator: creator.clone(),
        action,
        status: Status::Proposed,
        ops_profile: input.anything("opsProfile"),
        artifacts: Artifacts { config_update: update, signatures: BTreeMap::from([(creator, signature)]) },
    };
    put_proposal(stub, &proposal).await.during("failed to put the proposal")?;
    emit(stub, name::NEW_PROPOSAL, &proposal.id, proposal.id.clone())?;
    Ok(proposal.id)
}

async fn vote(stub: &mut dyn Stub, proposal_id: Parameter<'_>, signature: String) -> Result<(), Refusal> {
    check_signature(&signature)?;
    let voter = creator_msp_id(stub).during("failed to get MSP ID")?;
    let mut proposal = known_proposal(stub, proposal_id).await?;
    proposal.artifacts.signatures.insert(voter.clone(), signature);
    let mut event = (name::NEW_VOTE, Bytes::from(proposal.id.clone()));
    if proposal.status == Status::Proposed
        && has_passed(stub, &proposal).await.during("fail to check whether the votes passed")?
    {
        proposal.status = Status::Approved;
        let ready = UpdateEvent { proposal_id: proposal.id.clone(), operation_targets: vec![voter] };
        event = (name::READY_TO_UPDATE_CONFIG, encode(&ready).into());
    }
    emit(stub, event.0, &proposal.id, event.1)?;
    put_proposal(stub, &proposal).await.during("failed to put the proposal")
}

/// Whether more than half of those who may vote have: the channel's members, or the system channel's for a new one.
async fn has_passed(stub: &mut dyn Stub, proposal: &Proposal) -> Result<bool, Refusal> {
    let voters = if proposal.action == Action::Create {
        system_channel_id(stub).await.during("error happend getting the system channel ID")?
    } else {
        proposal.channel_id.clone()
    };
    let voters = count_organizations(stub, &voters)
        .await
        .during("error happened checking to meet criteria: fail to get the num of organizations")?;
    Ok(proposal.artifacts.signatures.len() > voters / 2)
}

fn config_update(base64: &str) -> Result<ConfigUpdate, Refusal> {
    decode(base64, "configUpdate", "common.ConfigUpdate")
}

fn check_signature(base64: &str) -> Result<(), Refusal> {
    decode::<ConfigSignature>(base64, "signature", "common.ConfigSignature").map(drop)
}

fn decode<M: Message + Default>(base64: &str, field: &str, message: &str) -> Result<M, Refusal> {
    let text = base64.replace(['\r', '\n'], "");
    let bytes = BASE64
        .decode(text)
        .map_err(|error| Refusal(format!("error happened decoding the {field} base64 string: {error}")))?;
    M::decode(Bytes::from(bytes)).map_err(|error| Refusal(format!("error happened decoding {message}: {error}")))
}

/// Who proposed the transaction.
pub(super) fn creator_msp_id(stub: &dyn Stub) -> Result<String, Refusal> {
    let identity = SerializedIdentity::decode(stub.creator().clone())
        .map_err(|error| Refusal(format!("error happened unmarshalling the creator: {error}")))?;
    Ok(identity.mspid)
}

/// Sets the event `<event>.<proposalID>`.
pub(super) fn emit(
    stub: &mut dyn Stub,
    event: &str,
    proposal_id: &str,
    payload: impl Into<Bytes>,
) -> Result<(), Refusal> {
    stub.set_event(&format!("{event}.{proposal_id}"), payload.into()).during("error happened emitting event")
}

fn key_of(proposal_id: Parameter<'_>) -> Result<String, Refusal> {
    proposal_id.key().during("error happend creating composite key for proposal")
}

async fn known_proposal(stub: &mut dyn Stub, proposal_id: Parameter<'_>) -> Result<Proposal, Refusal> {
    let proposal = match key_of(proposal_id) {
        Ok(proposal_id) => get_proposal(stub, &proposal_id).await,
        Err(refusal) => Err(refusal),
    };
    proposal.during("failed to get proposal")
}

async fn get_proposal(stub: &mut dyn Stub, proposal_id: &str) -> Result<Proposal, Refusal> {
    let key = composite::key(PROPOSAL, &[proposal_id]).during("error happend creating composite key for proposal")?;
    let value =
        stub.get_state(&key).await.during(format_args!("error happened reading proposal with id ({proposal_id})"))?;
    unmarshalled(&value.ok_or_else(|| Refusal::new("proposal not found"))?)
}

async fn put_proposal(stub: &mut dyn Stub, proposal: &Proposal) -> Result<(), Refusal> {
    let key = composite::key(PROPOSAL, &[&proposal.id]).during("error happend creating composite key for proposal")?;
    stub.put_state(&key, encode(proposal).into())
        .await
        .during("error happened persisting the new proposal on the ledger")
}

fn unmarshalled(value: &[u8]) -> Result<Proposal, Refusal> {
    stored(value).during("error happened unmarshalling a proposal JSON representation to struct")
}
