//! Other organizations' peers and the channel's orderers.
//!
//! A module of its own because it has two sources that must be joined: the channel's configuration says who is in the
//! channel (with TLS roots, anchor peers and orderers), a peer's discovery service who is there at the moment. Where
//! discovery fails, the anchor peers are what is known. Own peers always come from the connection profile. Layouts of
//! endorsement policies are not asked for: who must endorse is the caller's choice.
//!
//! Source: `fabric-protos/discovery/protocol.proto`, Fabric 3.1.5 `discovery/service.go`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::channel::Channel;
use super::error::{CallError, NodeName};
use super::net::{Endpoint, Tls};
use super::node::{Orderer, Peer};
use super::topology::Topology;
use crate::fabric::names::MspId;
use crate::fabric::tx::Invocation;
use crate::pb::common::Block;
use crate::pb::discovery::query::Query as Asked;
use crate::pb::discovery::query_result::Result as Answer;
use crate::pb::discovery::{self, AuthInfo, PeerMembershipQuery, PeerMembershipResult, Query, Request, SignedRequest};
use crate::pb::gossip::gossip_message::Content;
use crate::pb::gossip::{self, GossipMessage};

/// How long a view is good for.
const FRESH: Duration = Duration::from_mins(1);
/// How long one peer may take to give it.
const LIMIT: Duration = Duration::from_secs(10);

/// Who is in a channel and can be reached.
#[derive(Debug)]
pub(super) struct View {
    /// Every organization of the channel with its peers, the best first; none where none is known.
    pub(super) organizations: BTreeMap<MspId, Vec<Peer>>,
    pub(super) orderers: Vec<Orderer>,
    /// See [`Topology::lifecycle_endorsements`].
    pub(super) lifecycle_endorsements: Option<usize>,
}

/// The last view of a channel.
#[derive(Debug, Default)]
pub(super) struct Cache {
    forgotten: AtomicBool,
    view: Mutex<Option<(Instant, Arc<View>)>>,
}

impl Cache {
    /// The view misled: the next one is a new one.
    pub(super) fn forget(&self) {
        self.forgotten.store(true, Ordering::Relaxed);
    }
}

/// The view of `channel`, at most a minute old. Callers that come at the same time share one.
pub(super) async fn view(channel: &Channel) -> Result<Arc<View>, Vec<CallError>> {
    let cache = &channel.cache;
    let mut kept = cache.view.lock().await;
    let forgotten = cache.forgotten.swap(false, Ordering::Relaxed);
    if let Some((since, view)) = &*kept
        && !forgotten
        && since.elapsed() < FRESH
    {
        return Ok(Arc::clone(view));
    }
    let mut failures = Vec::new();
    for peer in channel.client().own_peers() {
        match ask(channel, peer).await {
            Ok(view) => {
                let view = Arc::new(view);
                *kept = Some((Instant::now(), Arc::clone(&view)));
                return Ok(view);
            }
            Err(error) => failures.push(error),
        }
    }
    Err(failures)
}

async fn ask(channel: &Channel, peer: &Peer) -> Result<View, CallError> {
    let query = Invocation::new("cscc", "GetConfigBlock").arg(channel.name().to_string());
    let config = async {
        let limited = tokio::time::timeout(LIMIT, channel.evaluate_on(peer, &query));
        limited.await.unwrap_or_else(|_| Err(CallError::Deadline { node: peer.node().clone(), waited: LIMIT }))
    };
    let (config, members) = tokio::join!(config, members(channel, peer));
    let topology = Block::decode(config?)
        .map_err(|error| error.to_string())
        .and_then(|block| Topology::of_block(&block))
        .map_err(|reason| CallError::Malformed { node: peer.node().clone(), reason })?;
    let members = members.unwrap_or_else(|error| {
        tracing::debug!(channel = %channel.name(), %error, "discovery failed, only anchor peers are known");
        PeerMembershipResult::default()
    });
    Ok(join(channel, topology, &members))
}

/// The peers that `peer` sees in the channel.
async fn members(channel: &Channel, peer: &Peer) -> Result<PeerMembershipResult, CallError> {
    let client = channel.client();
    let signer = client.signer();
    let hash = client
        .shared
        .client_tls
        .as_deref()
        .map_or_else(Bytes::new, |tls| Bytes::copy_from_slice(tls.certificate_hash()));
    let request = Request {
        authentication: Some(AuthInfo { client_identity: signer.creator().clone(), client_tls_cert_hash: hash }),
        queries: vec![Query {
            channel: channel.name().to_string(),
            query: Some(Asked::PeerQuery(PeerMembershipQuery { filter: None })),
        }],
    };
    let payload = Bytes::from(request.encode_to_vec());
    let signature = signer.sign(&payload).await?;
    let answer = peer.discover(SignedRequest { payload, signature }, LIMIT).await?;
    let node = || peer.node().clone();
    match answer.results.into_iter().next().and_then(|result| result.result) {
        Some(Answer::Members(members)) => Ok(members),
        Some(Answer::Error(error)) => Err(CallError::Refused { node: node(), status: 500, message: error.content }),
        _ => Err(CallError::Malformed { node: node(), reason: "no answer to the question for peers".to_owned() }),
    }
}

fn join(channel: &Channel, topology: Topology, members: &PeerMembershipResult) -> View {
    let client = channel.client();
    let endpoint = |address: &str, roots: &Bytes| {
        client.discovered_endpoint(Endpoint {
            address: address.to_owned(),
            tls: client.uses_tls().then(|| Tls { roots: roots.clone(), client: client.shared.client_tls.clone() }),
            server_name: None,
        })
    };
    let connect = |address: &str, roots: &Bytes| {
        let endpoint = endpoint(address, roots);
        let name = NodeName { name: address.to_owned(), address: endpoint.address.clone() };
        match client.shared.pool.connection(&endpoint) {
            Ok(connection) => Some((name, connection)),
            Err(error) => {
                tracing::debug!(channel = %channel.name(), %error, "a discovered node cannot be reached");
                None
            }
        }
    };
    let mut organizations = BTreeMap::new();
    for (msp_id, member) in topology.organizations {
        let mut peers = Vec::new();
        if msp_id == *client.msp_id() {
            peers.extend_from_slice(client.peers());
        } else {
            let alive = members.peers_by_org.get(msp_id.as_str());
            let mut addresses: Vec<String> = by_height(alive.map_or(&[], |alive| &alive.peers));
            let anchors =
                member.anchor_peers.into_iter().filter(|anchor| !addresses.contains(anchor)).collect::<Vec<_>>();
            addresses.extend(anchors);
            for address in addresses {
                if let Some((name, connection)) = connect(&address, &member.tls_roots) {
                    peers.push(Peer::new(name, msp_id.clone(), connection));
                }
            }
        }
        organizations.insert(msp_id, peers);
    }
    let orderers = topology
        .orderers
        .iter()
        .filter_map(|(address, roots)| connect(address, roots))
        .map(|(name, connection)| Orderer::new(name, connection))
        .collect();
    View { organizations, orderers, lifecycle_endorsements: topology.lifecycle_endorsements }
}

/// The addresses of peers, the one with the most blocks first.
fn by_height(peers: &[discovery::Peer]) -> Vec<String> {
    let mut found: Vec<(u64, String)> = peers
        .iter()
        .filter_map(|peer| {
            let address = match content(peer.membership_info.as_ref()?)? {
                Content::AliveMsg(alive) => alive.membership?.endpoint,
                _ => return None,
            };
            let height = match peer.state_info.as_ref().and_then(content) {
                Some(Content::StateInfo(state)) => state.properties.map_or(0, |properties| properties.ledger_height),
                _ => 0,
            };
            // A peer without an address for others is none of ours to ask.
            (!address.is_empty()).then_some((height, address))
        })
        .collect();
    found.sort_by(|(a_height, a), (b_height, b)| b_height.cmp(a_height).then_with(|| a.cmp(b)));
    found.into_iter().map(|(_, address)| address).collect()
}

fn content(envelope: &gossip::Envelope) -> Option<Content> {
    GossipMessage::decode(envelope.payload.clone()).ok()?.content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::gossip::{AliveMessage, Member, Properties, StateInfo};

    fn envelope(content: Content) -> gossip::Envelope {
        let message = GossipMessage { content: Some(content), ..Default::default() };
        gossip::Envelope { payload: message.encode_to_vec().into(), ..Default::default() }
    }

    fn peer(endpoint: &str, height: u64) -> discovery::Peer {
        let membership = Some(Member { endpoint: endpoint.into(), ..Default::default() });
        let properties = Some(Properties { ledger_height: height, ..Default::default() });
        discovery::Peer {
            membership_info: Some(envelope(Content::AliveMsg(AliveMessage { membership, ..Default::default() }))),
            state_info: Some(envelope(Content::StateInfo(StateInfo { properties, ..Default::default() }))),
            identity: Bytes::new(),
        }
    }

    #[test]
    fn the_tallest_peer_is_asked_first_and_rubbish_never() {
        let rubbish = discovery::Peer {
            membership_info: Some(gossip::Envelope { payload: "rubbish".into(), ..Default::default() }),
            ..Default::default()
        };
        let peers =
            [peer("low:1", 3), rubbish, peer("b:1", 9), peer("", 99), peer("a:1", 9), discovery::Peer::default()];
        assert_eq!(by_height(&peers), ["a:1", "b:1", "low:1"]);
    }
}
