//! Other organizations' peers and the channel's orderers.
//!
//! A module of its own because it has two sources that must be joined: the channel's configuration says who is in the
//! channel (with TLS roots, anchor peers and orderers), a peer's discovery service who is there at the moment. Where
//! discovery fails, the anchor peers are what is known. Own peers always come from the connection profile. Who must
//! endorse is asked for each transaction that leaves it to the network.
//!
//! Source: `fabric-protos/discovery/protocol.proto`, Fabric 3.1.5 `discovery/service.go`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::channel::Channel;
use super::error::{CallError, NodeName};
use super::gateway::Client;
use super::net::{Endpoint, Tls};
use super::node::{Orderer, Peer};
use super::topology::{Consensus, Topology};
use super::turns::first_answer;
use crate::fabric::identity::Creator;
use crate::fabric::names::MspId;
use crate::fabric::tx::Invocation;
use crate::pb::common::Block;
use crate::pb::discovery::query::Query as Asked;
use crate::pb::discovery::query_result::Result as Answer;
use crate::pb::discovery::{
    self, AuthInfo, ChaincodeQuery, EndorsementDescriptor, PeerMembershipQuery, PeerMembershipResult, Query, Request,
    SignedRequest,
};
use crate::pb::gossip::gossip_message::Content;
use crate::pb::gossip::{self, GossipMessage};
use crate::pb::protos::ChaincodeInterest;

/// How long a view is good for.
const FRESH: Duration = Duration::from_mins(1);
/// How long one peer may take to give it.
const LIMIT: Duration = Duration::from_secs(10);
/// More peers than an organization, and more groups than a plan, has in practice: what is beyond is not looked at, or a
/// single answer could make connections until the memory is full.
const MOST: usize = 500;

/// Who is in a channel and can be reached.
#[derive(Debug)]
pub(super) struct View {
    /// Every organization of the channel with its peers, the best first; none where none is known.
    pub(super) organizations: BTreeMap<MspId, Vec<Peer>>,
    /// The organizations' TLS roots, in PEM.
    pub(super) tls_roots: BTreeMap<MspId, Bytes>,
    pub(super) orderers: Vec<Orderer>,
    pub(super) consensus: Consensus,
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

    /// What it knows cannot be used any more. Whoever is working on a new view at this moment keeps it a minute at most.
    pub(super) fn drop_view(&self) {
        self.forget();
        if let Ok(mut view) = self.view.try_lock() {
            *view = None;
        }
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
    let client = channel.client();
    let ask = async |peer: Peer| boxed(channel, &peer).await;
    let (_, view) = first_answer(client.own_peers(), &client.shared.timeouts, ask).await?;
    let view = Arc::new(view);
    *kept = Some((Instant::now(), Arc::clone(&view)));
    Ok(view)
}

/// The last view of `channel`, however old; a new one where there is none. For what changes once in years.
pub(super) async fn last_view(channel: &Channel) -> Result<Arc<View>, Vec<CallError>> {
    let last = channel.cache.view.lock().await.as_ref().map(|(_, view)| Arc::clone(view));
    match last {
        Some(view) => Ok(view),
        None => view(channel).await,
    }
}

/// Boxed because much is built around it: so the compiler can see through the types of those futures.
fn boxed<'a>(
    channel: &'a Channel,
    peer: &'a Peer,
) -> Pin<Box<dyn Future<Output = Result<View, CallError>> + Send + 'a>> {
    Box::pin(ask(channel, peer))
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
    let question = Asked::PeerQuery(PeerMembershipQuery { filter: None });
    match asked(channel.client(), channel.name().as_str(), peer, question).await? {
        Answer::Members(members) => Ok(members),
        _ => Err(unfit(peer, "peers")),
    }
}

pub(super) fn unfit(peer: &Peer, question: &str) -> CallError {
    CallError::Malformed { node: peer.node().clone(), reason: format!("no answer to the question for {question}") }
}

/// Asks the discovery service of `peer` one question, of a channel or of none.
pub(super) async fn asked(client: &Client, channel: &str, peer: &Peer, question: Asked) -> Result<Answer, CallError> {
    let credentials = client.credentials();
    let signer = &credentials.signer;
    let hash =
        credentials.client_tls.as_deref().map_or_else(Bytes::new, |tls| Bytes::copy_from_slice(tls.certificate_hash()));
    let request = Request {
        authentication: Some(AuthInfo { client_identity: signer.creator().clone(), client_tls_cert_hash: hash }),
        queries: vec![Query { channel: channel.to_owned(), query: Some(question) }],
    };
    let payload = Bytes::from(request.encode_to_vec());
    let signature = signer.sign(&payload).await?;
    let answer = peer.discover(SignedRequest { payload, signature }, LIMIT).await?;
    let node = || peer.node().clone();
    match answer.results.into_iter().next().and_then(|result| result.result) {
        Some(Answer::Error(error)) => Err(CallError::Refused { node: node(), status: 500, message: error.content }),
        Some(answer) => Ok(answer),
        None => Err(unfit(peer, "anything")),
    }
}

/// Who may endorse, and how many of whom together suffice.
#[derive(Debug)]
pub(super) struct Layouts {
    /// By the service's name of the group; the best endorsers first.
    pub(super) groups: BTreeMap<String, Vec<Endorser>>,
    /// Each is enough: so many of each group.
    pub(super) layouts: Vec<BTreeMap<String, usize>>,
}

/// A peer that may endorse.
#[derive(Debug, Clone)]
pub(super) struct Endorser {
    pub(super) peer: Peer,
    /// Its `msp.SerializedIdentity`, as it endorses with.
    pub(super) identity: Bytes,
}

/// Who must endorse what touches `interest`, as an own peer's discovery service says.
pub(super) async fn layouts(channel: &Channel, interest: ChaincodeInterest) -> Result<Layouts, Vec<CallError>> {
    let view = view(channel).await?;
    let query = ChaincodeQuery { interests: vec![interest] };
    let client = channel.client();
    let ask =
        async |peer: Peer| match asked(client, channel.name().as_str(), &peer, Asked::CcQuery(query.clone())).await? {
            Answer::CcQueryRes(answer) => answer.content.into_iter().next().ok_or_else(|| unfit(&peer, "endorsers")),
            _ => Err(unfit(&peer, "endorsers")),
        };
    let (_, descriptor) = first_answer(client.own_peers(), &client.shared.timeouts, ask).await?;
    Ok(readable(channel, &view, &descriptor))
}

/// What can be used of a descriptor: who cannot be reached is left out, and layouts that need them.
fn readable(channel: &Channel, view: &View, descriptor: &EndorsementDescriptor) -> Layouts {
    let mut groups = BTreeMap::new();
    for (name, peers) in descriptor.endorsers_by_groups.iter().take(MOST) {
        let mut found: Vec<(u64, Endorser)> = peers
            .peers
            .iter()
            .take(MOST)
            .filter_map(|peer| {
                let (height, address) = height_and_address(peer)?;
                let msp_id = Creator::decode(&peer.identity).ok()?.msp_id;
                let reached = known(channel, view, &msp_id, &address)?;
                Some((height, Endorser { peer: reached, identity: peer.identity.clone() }))
            })
            .collect();
        found.sort_by(|(a_height, a), (b_height, b)| {
            b_height.cmp(a_height).then_with(|| a.peer.address().cmp(b.peer.address()))
        });
        groups.insert(name.clone(), found.into_iter().map(|(_, endorser)| endorser).collect::<Vec<_>>());
    }
    let enough = |layout: &BTreeMap<String, usize>| {
        // An empty one would mean that nobody must endorse.
        layout.values().any(|quantity| *quantity > 0)
            && layout.iter().all(|(group, quantity)| groups.get(group).is_some_and(|peers| peers.len() >= *quantity))
    };
    let layouts = descriptor
        .layouts
        .iter()
        .map(|layout| {
            let quantity = |quantity: u32| usize::try_from(quantity).unwrap_or(usize::MAX);
            layout.quantities_by_group.iter().map(|(group, count)| (group.clone(), quantity(*count))).collect()
        })
        .filter(enough)
        .collect();
    Layouts { groups, layouts }
}

/// The peer of `msp_id` that others know by `address`: an own one as the profile describes it.
pub(super) fn known(channel: &Channel, view: &View, msp_id: &MspId, address: &str) -> Option<Peer> {
    let client = channel.client();
    let roots = view.tls_roots.get(msp_id)?;
    let endpoint = discovered(client, address, roots);
    let of_profile = |peer: &&Peer| peer.address() == address || peer.address() == endpoint.address;
    if msp_id == client.msp_id()
        && let Some(own) = client.peers().iter().find(of_profile)
    {
        return Some(own.clone());
    }
    let name = NodeName { name: address.to_owned(), address: endpoint.address.clone() };
    match client.shared.pool.connection(&endpoint) {
        Ok(connection) => Some(Peer::new(name, msp_id.clone(), connection)),
        Err(error) => {
            tracing::debug!(channel = %channel.name(), %error, "a discovered node cannot be reached");
            None
        }
    }
}

/// How to reach a node that is known by its address and its organization's TLS roots.
fn discovered(client: &Client, address: &str, roots: &Bytes) -> Endpoint {
    client.discovered_endpoint(Endpoint {
        address: address.to_owned(),
        tls: client.uses_tls().then(|| Tls { roots: roots.clone(), client: client.credentials().client_tls.clone() }),
        server_name: None,
    })
}

fn join(channel: &Channel, topology: Topology, members: &PeerMembershipResult) -> View {
    let client = channel.client();
    let tls_roots =
        topology.organizations.iter().map(|(msp_id, member)| (msp_id.clone(), member.tls_roots.clone())).collect();
    let connect = |address: &str, roots: &Bytes| {
        let endpoint = discovered(client, address, roots);
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
    View {
        organizations,
        tls_roots,
        orderers,
        consensus: topology.consensus,
        lifecycle_endorsements: topology.lifecycle_endorsements,
    }
}

/// How many layouts can be used of what a discovery service answers, for `crate::fuzzing`.
#[cfg(any(test, fuzzing))]
pub(super) fn understood(
    channel: &Channel,
    topology: Topology,
    members: &PeerMembershipResult,
    plan: &EndorsementDescriptor,
) -> usize {
    let view = join(channel, topology, members);
    readable(channel, &view, plan).layouts.len()
}

/// The addresses of peers, the one with the most blocks first.
pub(super) fn by_height(peers: &[discovery::Peer]) -> Vec<String> {
    let mut found: Vec<(u64, String)> = peers.iter().take(MOST).filter_map(height_and_address).collect();
    found.sort_by(|(a_height, a), (b_height, b)| b_height.cmp(a_height).then_with(|| a.cmp(b)));
    found.into_iter().map(|(_, address)| address).collect()
}

pub(super) fn height_and_address(peer: &discovery::Peer) -> Option<(u64, String)> {
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
}

pub(super) fn content(envelope: &gossip::Envelope) -> Option<Content> {
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
        assert_eq!(by_height(&vec![peer("a:1", 9); 2 * MOST]).len(), MOST);
    }
}
