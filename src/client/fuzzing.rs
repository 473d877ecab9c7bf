//! Ways for `crate::fuzzing` to what this room reads and does not offer to others.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use super::error::NodeName;
pub use super::participation::fuzzing::participation;
pub(crate) use super::participation::fuzzing::updated_channel;
use super::{checkpoint as kept, discovery as found, peer_gateway};
use crate::fabric::names::ChannelName;
use crate::fabric::tx::{Invocation, Nonce, Proposal};
use crate::pb::common::{Block, HeaderType};
use crate::pb::discovery::Response;
use crate::pb::discovery::query_result::Result as Answer;

/// A proposal that is in order.
pub(crate) fn proposal() -> Proposal {
    let channel = ChannelName::parse("goldenchannel").expect("a name that is in order");
    let invocation = Invocation::new("basic", "Read").arg("a1");
    let creator = Bytes::from_static(b"creator");
    let time = prost_types::Timestamp::default();
    Proposal::new(Some(&channel), &invocation, &creator, Nonce([7; 24]), time, HeaderType::EndorserTransaction)
}

/// Where the nodes of a channel are.
pub(crate) fn topology(block: &Block) -> Option<usize> {
    super::topology::Topology::of_block(block).ok().map(|topology| topology.orderers.len())
}

/// What a peer's discovery service answers.
pub fn discovery(input: &[u8]) {
    let Ok(response) = Response::decode(input) else { return };
    for result in response.results.into_iter().filter_map(|result| result.result) {
        let peers = match result {
            Answer::Members(members) => members.peers_by_org.into_values().collect(),
            Answer::CcQueryRes(plans) => {
                plans.content.into_iter().flat_map(|plan| plan.endorsers_by_groups.into_values()).collect()
            }
            _ => Vec::new(),
        };
        for peers in peers {
            let addresses = found::by_height(&peers.peers);
            assert!(addresses.len() <= peers.peers.len());
            assert!(addresses.iter().all(|address| !address.is_empty()));
        }
    }
}

/// What a peer's Gateway service says about a failure, in the details of a status.
pub fn gateway_error(input: &[u8]) {
    let node = NodeName { name: "peer0".into(), address: "localhost:7051".into() };
    for code in [Code::Aborted, Code::Unavailable, Code::ResourceExhausted] {
        let message = String::from_utf8_lossy(input);
        let status = Status::with_details(code, message, Bytes::copy_from_slice(input));
        let error = peer_gateway::failed(&node, status, Duration::ZERO);
        let _ = (error.refusal(), error.is_retryable(), error.is_certain(), error.to_string());
    }
}

/// A checkpoint file.
pub fn checkpoint(input: &[u8]) {
    if let Ok(checkpoint) = kept::parse(Path::new("checkpoint"), input) {
        assert!(checkpoint.tx_id.is_none_or(|tx_id| tx_id.as_str().len() == 64));
    }
}
