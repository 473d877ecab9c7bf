//! Ways for `crate::fuzzing` to what this room reads and does not offer to others.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use super::channel::Channel;
use super::error::NodeName;
use super::gateway::Client;
pub use super::participation::fuzzing::participation;
pub(crate) use super::participation::fuzzing::updated_channel;
use super::profile::ConnectionProfile;
use super::topology::Topology;
use super::{checkpoint as kept, discovery as found, peer_gateway};
use crate::fabric::identity::SigningIdentity;
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::{Invocation, Nonce, Proposal};
use crate::pb::common::{Block, HeaderType};
use crate::pb::discovery::query_result::Result as Answer;
use crate::pb::discovery::{PeerMembershipResult, Response};

const CERTIFICATE: &[u8] = include_bytes!("../../testdata/golden/transactions/invoke/cert.pem");
const KEY: &[u8] = include_bytes!("../../testdata/golden/transactions/invoke/key.pem");
const GENESIS: &[u8] = include_bytes!("../../testdata/golden/blocks/00-genesis/block.pb");

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
    Topology::of_block(block).ok().map(|topology| topology.orderers.len())
}

/// A channel of a client that is connected to nothing.
fn channel() -> &'static Channel {
    static CHANNEL: OnceLock<Channel> = OnceLock::new();
    CHANNEL.get_or_init(|| {
        let organization = MspId::parse("OrgXMSP").expect("a name that is in order");
        let identity = SigningIdentity::from_pem(organization, CERTIFICATE, KEY).expect("files of this repository");
        let profile = "organizations: {X: {mspid: OrgXMSP, peers: [p]}}\npeers: {p: {url: 'grpc://localhost:1'}}";
        let profile = ConnectionProfile::parse(profile).expect("a profile that is in order");
        let client = Client::builder(Arc::new(identity), profile).build().expect("a client that dials nobody");
        client.channel(ChannelName::parse("goldenchannel").expect("a name that is in order"))
    })
}

/// What a peer's discovery service answers.
pub fn discovery(input: &[u8]) {
    let Ok(response) = Response::decode(input) else { return };
    let (mut members, mut plans) = (PeerMembershipResult::default(), Vec::new());
    for result in response.results.into_iter().filter_map(|result| result.result) {
        match result {
            Answer::Members(found) => members = found,
            Answer::CcQueryRes(found) => plans.extend(found.content),
            _ => {}
        }
    }
    let in_plans = plans.iter().flat_map(|plan| plan.endorsers_by_groups.values());
    for peers in members.peers_by_org.values().chain(in_plans) {
        let addresses = found::by_height(&peers.peers);
        assert!(addresses.len() <= peers.peers.len());
        assert!(addresses.iter().all(|address| !address.is_empty()));
    }
    let genesis = Block::decode(GENESIS).expect("a file of this repository");
    for plan in plans.iter().take(4) {
        let topology = Topology::of_block(&genesis).expect("a file of this repository");
        assert!(found::understood(channel(), topology, &members, plan) <= plan.layouts.len());
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
