//! The system chaincode `cscc`: join channels, and ask for their configurations.
//!
//! Source: Fabric 3.1.5 `core/scc/cscc/configure.go`.

use prost::Message as _;

use super::call::Call;
use super::proposal::shown;
use super::resolve::{failure, success};
use crate::pb::common::Block;
use crate::pb::protos::{ChannelInfo, ChannelQueryResponse, Response};

/// Answers a call of `cscc`.
pub(super) fn invoke(call: &Call) -> Response {
    let args = &call.input.args;
    let wrong_number = || failure(format!("Incorrect number of arguments, {}", args.len()));
    let Some(function) = args.first() else { return wrong_number() };
    let function = String::from_utf8_lossy(function);
    if function != "GetChannels" && args.len() < 2 {
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
        "JoinChain" => {
            let block = match Block::decode(argument) {
                Ok(block) => block,
                Err(error) => return failure(format!("Failed to reconstruct the genesis block, {error}")),
            };
            if let Err(error) = check("") {
                return failure(format!("access denied for [JoinChain]: [{error}]"));
            }
            match call.peer.join(block) {
                Ok(()) => success(""),
                Err(error) => failure(error.to_string()),
            }
        }
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
