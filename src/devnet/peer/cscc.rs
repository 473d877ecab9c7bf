//! The system chaincode `cscc`: join channels, and ask for their configurations.
//!
//! Source: Fabric 3.1.5 `core/scc/cscc/configure.go`.

use bytes::Bytes;
use prost::Message as _;

use super::call::Call;
use super::proposal::shown;
use super::resolve::{failure, success};
use crate::devnet::error::WIRE_FORMAT;
use crate::pb::common::{Block, ChannelHeader, ConfigEnvelope, Envelope, HeaderType, Payload};
use crate::pb::protos::{ChannelInfo, ChannelQueryResponse, JoinBySnapshotStatus, Response};

/// Answers a call of `cscc`.
pub(super) fn invoke(call: &Call) -> Response {
    let args = &call.input.args;
    let wrong_number = || failure(format!("Incorrect number of arguments, {}", args.len()));
    let Some(function) = args.first() else { return wrong_number() };
    let function = String::from_utf8_lossy(function);
    if !matches!(&*function, "GetChannels" | "JoinBySnapshotStatus") && args.len() < 2 {
        return wrong_number();
    }
    let original = &call.proposal.chaincode;
    if original != "cscc" {
        let original = shown(original);
        return failure(format!(
            "Rejecting invoke of CSCC from another chaincode, original invocation for '{original}'"
        ));
    }
    let argument = args.get(1).cloned().unwrap_or_default();
    let channel = shown(&String::from_utf8_lossy(&argument));
    let check = |channel: &str| call.peer.check_acl(&format!("cscc/{function}"), channel, &call.proposal);
    match &*function {
        "JoinChain" => join(call, argument),
        "JoinChainBySnapshot" => {
            if argument.is_empty() {
                return failure("Cannot join the channel, no snapshot directory provided");
            }
            match check("") {
                Err(error) => failure(format!("access denied for [JoinChainBySnapshot]: [{error}]")),
                Ok(()) => failure("this network makes no snapshots of ledgers and joins none"),
            }
        }
        "JoinBySnapshotStatus" => match check("") {
            Err(error) => failure(format!("access denied for [JoinBySnapshotStatus]: {error}")),
            Ok(()) => success(JoinBySnapshotStatus::default().encode_to_vec()),
        },
        "GetConfigBlock" => {
            if let Err(error) = check(&channel) {
                return failure(format!("access denied for [GetConfigBlock][{channel}]: {error}"));
            }
            match call.peer.channel(&channel) {
                Some(known) => success(known.ledger().config_block().encode_to_vec()),
                None => failure(format!("Unknown channel ID, {channel}")),
            }
        }
        "GetChannelConfig" => {
            if channel.is_empty() {
                return failure("empty channel name provided");
            }
            if let Err(error) = check(&channel) {
                return failure(format!("access denied for [GetChannelConfig][{channel}]: {error}"));
            }
            match call.peer.channel(&channel) {
                Some(known) => success(known.access().config().encode_to_vec()),
                None => failure(format!("unknown channel ID, {channel}")),
            }
        }
        "GetChannels" => {
            if let Err(error) = check("") {
                return failure(format!("access denied for [GetChannels]: {error}"));
            }
            let channels = call.peer.channels().into_iter().map(|name| ChannelInfo { channel_id: name.to_string() });
            success(ChannelQueryResponse { channels: channels.collect() }.encode_to_vec())
        }
        other => failure(format!("Requested function {} not found.", shown(other))),
    }
}

/// Joins the channel that begins with a block.
fn join(call: &Call, block: Bytes) -> Response {
    let Ok(block) = Block::decode(block) else {
        return failure(format!("Failed to reconstruct the genesis block, error unmarshalling Block: {WIRE_FORMAT}"));
    };
    let channel = match channel_of(&block) {
        Ok(channel) => shown(&channel),
        Err(reason) => {
            return failure(format!(
                "\"JoinChain\" request failed to extract channel id from the block due to [{reason}]"
            ));
        }
    };
    if let Err(reason) = check_config_block(&block) {
        return failure(format!(
            "\"JoinChain\" for channelID = {channel} failed because of validation of configuration block, because of \
             {reason}"
        ));
    }
    if let Err(error) = call.peer.check_acl("cscc/JoinChain", "", &call.proposal) {
        return failure(format!("access denied for [JoinChain][{channel}]: [{error}]"));
    }
    match call.peer.join(block) {
        Ok(()) => success(""),
        Err(error) => failure(error.to_string()),
    }
}

/// The payload of a block's first envelope.
fn first_payload(block: &Block) -> Result<Payload, String> {
    let envelope = block.data.as_ref().and_then(|data| data.data.first());
    let envelope = envelope.ok_or("failed to retrieve channel id - block is empty")?;
    let envelope =
        Envelope::decode(envelope.clone()).map_err(|error| format!("error unmarshaling Envelope: {error}"))?;
    Payload::decode(envelope.payload).map_err(|error| format!("error unmarshaling Payload: {error}"))
}

fn channel_of(block: &Block) -> Result<String, String> {
    let header = first_payload(block)?.header.ok_or("failed to retrieve channel id - payload header is empty")?;
    let header = ChannelHeader::decode(header.channel_header);
    Ok(header.map_err(|error| format!("error unmarshaling ChannelHeader: {error}"))?.channel_id)
}

/// That a block holds a channel's configuration, with a part for applications.
fn check_config_block(block: &Block) -> Result<(), String> {
    let payload = first_payload(block)?;
    let header = ChannelHeader::decode(payload.header.unwrap_or_default().channel_header).unwrap_or_default();
    if header.r#type != HeaderType::Config as i32 {
        let kind = HeaderType::try_from(header.r#type).map_or("", |kind| kind.as_str_name());
        return Err(format!("Bad configuration envelope: invalid type {kind}, expected CONFIG"));
    }
    let envelope = ConfigEnvelope::decode(payload.data)
        .map_err(|error| format!("Bad configuration envelope: error unmarshaling message for type CONFIG: {error}"))?;
    let config = envelope.config.ok_or("Nil config envelope Config")?;
    let group = config.channel_group.ok_or("Nil channel group")?;
    if group.groups.is_empty() {
        return Err("No channel configuration groups are available".to_owned());
    }
    if !group.groups.contains_key("Application") {
        return Err("Invalid configuration block, missing Application configuration group".to_owned());
    }
    Ok(())
}
