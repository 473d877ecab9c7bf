//! `discovery.Discovery`: who is on a channel, where the orderers are, who may endorse.
//!
//! Peers are described in the messages that gossip would carry, because that is what
//! clients parse; each peer signs for itself, as if it had sent them.
//!
//! Source: Fabric 3.1.5 `discovery/service.go`, `discovery/support`, `gossip/gossip/channel`.

mod layouts;
pub(super) mod principals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status, async_trait};

pub(super) use self::layouts::{Candidate, Layouts, candidates, layouts, unknown_chaincode};
use super::Peer;
use super::channel::{PeerChannel, WRITERS};
use super::context::Refused;
use super::proposal::shown;
use crate::devnet::access::{Access, Signed, msp_config, value};
use crate::devnet::lifecycle::state::LIFECYCLE;
use crate::fabric::identity::{Creator, Role, Signer as _};
use crate::pb::common::{self, ConfigGroup, OrdererAddresses};
use crate::pb::discovery::discovery_server::Discovery;
use crate::pb::discovery::query::Query as Kind;
use crate::pb::discovery::query_result::Result as Found;
use crate::pb::discovery::{
    self, ChaincodeQuery, ChaincodeQueryResult, ConfigResult, EndorsementDescriptor, Endpoint, Endpoints, Layout,
    PeerMembershipResult, Peers, QueryResult, SignedRequest,
};
use crate::pb::gossip::gossip_message::{Content, Tag};
use crate::pb::gossip::{AliveMessage, Chaincode, Envelope, GossipMessage, Member as GossipMember, PeerTime};
use crate::pb::gossip::{Properties, StateInfo};
use crate::pb::orderer::BroadcastResponse;
use crate::pb::protos::{ChaincodeCall, ChaincodeInterest};

/// A peer that can be reached.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// The peer.
    pub(crate) peer: Arc<Peer>,
    /// Where, as `host:port`.
    pub(crate) endpoint: String,
}

/// Who is in the network.
#[async_trait]
pub(crate) trait Topology: Send + Sync + 'static {
    /// All peers that are up, of all organizations.
    fn members(&self) -> Vec<Member>;

    /// Hands `envelope` to the orderer at `address`, and brings its answer.
    async fn broadcast(&self, address: &str, envelope: common::Envelope) -> Result<BroadcastResponse, Status>;
}

/// The service of a peer.
pub(super) struct Discovering {
    pub(super) peer: Arc<Peer>,
    pub(super) topology: Arc<dyn Topology>,
}

#[async_trait]
impl Discovery for Discovering {
    async fn discover(&self, request: Request<SignedRequest>) -> Result<tonic::Response<discovery::Response>, Status> {
        let SignedRequest { payload, signature } = request.into_inner();
        let request = discovery::Request::decode(payload.clone())
            .map_err(|error| Status::unknown(format!("failed parsing request: {error}")))?;
        let Some(authentication) = request.authentication else {
            return Err(Status::unknown("access denied, no authentication info in request"));
        };
        if authentication.client_identity.is_empty() {
            return Err(Status::unknown("access denied, client identity wasn't supplied"));
        }
        // The hash of the TLS certificate in there is looked at by nobody, in Fabric neither.
        let signed = Signed { identity: authentication.client_identity, data: payload, signature };
        let results = request.queries.iter().map(|query| {
            let found =
                self.answer(query, &signed).unwrap_or_else(|error| Found::Error(discovery::Error { content: error.0 }));
            QueryResult { result: Some(found) }
        });
        Ok(tonic::Response::new(discovery::Response { results: results.collect() }))
    }
}

impl Discovering {
    fn answer(&self, query: &discovery::Query, signed: &Signed) -> Result<Found, Refused> {
        let denied = || Refused::new("access denied");
        let unknown = || Refused::new("unknown or missing request type");
        if query.channel.is_empty() {
            self.check_admin(signed).ok_or_else(denied)?;
            return match &query.query {
                Some(Kind::LocalPeers(_)) => Ok(members(&self.topology.members())),
                _ => Err(unknown()),
            };
        }
        let channel = self.peer.channel(&query.channel).ok_or_else(denied)?;
        let access = channel.access();
        access.evaluate(WRITERS, std::slice::from_ref(signed)).map_err(|_| denied())?;
        match &query.query {
            Some(Kind::PeerQuery(query)) => self.membership(&channel, query.filter.as_ref()),
            Some(Kind::ConfigQuery(_)) => config(&access)
                .map(Found::ConfigResult)
                .ok_or_else(|| Refused(format!("failed fetching config for channel {}", query.channel))),
            Some(Kind::CcQuery(query)) => self.descriptors(&channel, query),
            Some(Kind::LocalPeers(_)) | None => Err(unknown()),
        }
    }

    fn check_admin(&self, signed: &Signed) -> Option<()> {
        let identity = self.peer.local_msp.identity(&signed.identity).ok()?;
        identity.verify(&signed.data, &signed.signature).ok()?;
        identity.has_role(Role::Admin).then_some(())
    }

    /// The peers of the channel's organizations that are in the channel, with the chaincodes that are asked for.
    fn membership(&self, channel: &PeerChannel, filter: Option<&ChaincodeInterest>) -> Result<Found, Refused> {
        let mut candidates = layouts::candidates(channel, &*self.topology);
        if let Some(filter) = filter.filter(|filter| !filter.chaincodes.is_empty()) {
            candidates = layouts::authorized(channel, candidates, filter)?;
        }
        let mut peers_by_org: BTreeMap<String, Peers> = BTreeMap::new();
        for candidate in &candidates {
            let peers = peers_by_org.entry(candidate.member.peer.msp_id.to_string()).or_default();
            peers.peers.push(described(channel, candidate));
        }
        Ok(Found::Members(PeerMembershipResult { peers_by_org }))
    }

    /// Who may endorse each of what is asked for.
    fn descriptors(&self, channel: &PeerChannel, query: &ChaincodeQuery) -> Result<Found, Refused> {
        check(query)?;
        let candidates = layouts::candidates(channel, &*self.topology);
        let mut content = Vec::new();
        for interest in &query.interests {
            let found = layouts::layouts(channel, candidates.clone(), interest).map_err(|error| {
                tracing::debug!(channel = %channel.ledger().channel(), %error, "no endorsers for an interest");
                Refused(format!("failed constructing descriptor for {}", interest_text(interest)))
            })?;
            let peers = |peers: Vec<Candidate>| Peers {
                peers: peers.iter().map(|candidate| described(channel, candidate)).collect(),
            };
            content.push(EndorsementDescriptor {
                chaincode: found.chaincode,
                endorsers_by_groups: found.groups.into_iter().map(|(name, group)| (name, peers(group))).collect(),
                layouts: found
                    .alternatives
                    .into_iter()
                    .map(|quantities_by_group| Layout { quantities_by_group })
                    .collect(),
            });
        }
        Ok(Found::CcQueryRes(ChaincodeQueryResult { content }))
    }
}

fn check(query: &ChaincodeQuery) -> Result<(), Refused> {
    if query.interests.is_empty() {
        return Err(Refused::new("chaincode query must have at least one chaincode interest"));
    }
    for interest in &query.interests {
        if interest.chaincodes.is_empty() {
            return Err(Refused::new("chaincode interest must contain at least one chaincode"));
        }
        if interest.chaincodes.iter().any(|call| call.name.is_empty()) {
            return Err(Refused::new("chaincode name in interest cannot be empty"));
        }
    }
    Ok(())
}

/// An interest as Fabric writes it into messages.
fn interest_text(interest: &ChaincodeInterest) -> String {
    let call = |call: &ChaincodeCall| {
        let mut fields = vec![format!("name:\"{}\"", shown(&call.name))];
        fields.extend(call.collection_names.iter().map(|name| format!("collection_names:\"{}\"", shown(name))));
        fields.extend(call.no_private_reads.then(|| "no_private_reads:true".to_owned()));
        fields.extend(call.no_public_writes.then(|| "no_public_writes:true".to_owned()));
        fields.extend(call.disregard_namespace_policy.then(|| "disregard_namespace_policy:true".to_owned()));
        format!("chaincodes:{{{}}}", fields.join(" "))
    };
    interest.chaincodes.iter().map(call).collect::<Vec<_>>().join(" ")
}

/// A peer of a channel, as gossip would tell of it.
fn described(channel: &PeerChannel, candidate: &Candidate) -> discovery::Peer {
    let peer = &candidate.member.peer;
    discovery::Peer {
        state_info: Some(peer.state_info(channel, candidate.height, candidate.chaincodes.clone())),
        membership_info: Some(peer.alive(&candidate.member.endpoint)),
        identity: peer.signer.creator().clone(),
    }
}

/// Peers as they are known outside of channels.
fn members(found: &[Member]) -> Found {
    let mut peers_by_org: BTreeMap<String, Peers> = BTreeMap::new();
    for member in found {
        let peer = &member.peer;
        peers_by_org.entry(peer.msp_id.to_string()).or_default().peers.push(discovery::Peer {
            state_info: None,
            membership_info: Some(peer.alive(&member.endpoint)),
            identity: peer.signer.creator().clone(),
        });
    }
    Found::Members(PeerMembershipResult { peers_by_org })
}

impl Peer {
    /// Under which gossip knows the peer.
    fn pki_id(&self) -> Bytes {
        let certificate = Creator::decode(self.signer.creator()).map(|it| it.certificate_pem).unwrap_or_default();
        Sha256::new().chain_update(self.msp_id.as_str()).chain_update(certificate).finalize().to_vec().into()
    }

    fn peer_time(&self) -> PeerTime {
        let nanoseconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            u64::try_from(since).unwrap_or(u64::MAX)
        };
        PeerTime { inc_num: nanoseconds(self.started), seq_num: nanoseconds(SystemTime::now()) }
    }

    fn gossip(&self, channel: Bytes, tag: Tag, content: Content) -> Envelope {
        let message = GossipMessage { nonce: 0, channel, tag: tag.into(), content: Some(content) };
        let payload = Bytes::from(message.encode_to_vec());
        let signature = self.signer.sign_now(&payload);
        Envelope { payload, signature, secret_envelope: None }
    }

    /// "I am here."
    fn alive(&self, endpoint: &str) -> Envelope {
        let membership = GossipMember { endpoint: endpoint.to_owned(), metadata: Bytes::new(), pki_id: self.pki_id() };
        let alive = AliveMessage {
            membership: Some(membership),
            timestamp: Some(self.peer_time()),
            identity: self.signer.creator().clone(),
        };
        self.gossip(Bytes::new(), Tag::Empty, Content::AliveMsg(alive))
    }

    /// "I am this far on the channel, and run these chaincodes."
    fn state_info(&self, channel: &PeerChannel, ledger_height: u64, chaincodes: Vec<Chaincode>) -> Envelope {
        let pki_id = self.pki_id();
        let name = channel.ledger().channel().as_str();
        let channel_mac = Sha256::new().chain_update(&pki_id).chain_update(name).finalize().to_vec().into();
        let properties = Properties { ledger_height, left_channel: false, chaincodes };
        let timestamp = Some(self.peer_time());
        let info = StateInfo { timestamp, pki_id, channel_mac, properties: Some(properties) };
        self.gossip(Bytes::new(), Tag::ChanOrOrg, Content::StateInfo(info))
    }

    /// What the peer runs on a channel: what is approved and installed, and `_lifecycle`. Gossip tells the number of a
    /// definition as its version.
    fn chaincodes(&self, channel: &PeerChannel) -> Vec<Chaincode> {
        let chaincode =
            |(name, sequence): (String, i64)| Chaincode { name, version: sequence.to_string(), metadata: Bytes::new() };
        // Peers tell of it with the first word of any definition, and not before.
        let own = channel.ledger().knows(LIFECYCLE).then(|| (LIFECYCLE.to_owned(), 1));
        self.runnable(channel.ledger()).into_iter().chain(own).map(chaincode).collect()
    }
}

/// The organizations' MSPs and the orderers' addresses.
pub(super) fn config(access: &Access) -> Option<ConfigResult> {
    let (orderer, application) = (access.group("Orderer")?, access.group("Application")?);
    let mut result = ConfigResult::default();
    for group in orderer.groups.values().chain(application.groups.values()) {
        let (_, msp) = msp_config(group)?;
        result.msps.entry(msp.name.clone()).or_insert(msp);
    }
    let by_org = |group: &ConfigGroup| {
        let addresses = value::<OrdererAddresses>(group, "Endpoints").unwrap_or_default().addresses;
        Some((msp_config(group)?.1.name, addresses))
    };
    let mut addresses = orderer.groups.values().map(by_org).collect::<Option<BTreeMap<_, _>>>()?;
    if addresses.values().all(Vec::is_empty) {
        // Channels of older capabilities name the orderers once for all.
        let channel = access.config().channel_group.as_ref()?;
        let all = value::<OrdererAddresses>(channel, "OrdererAddresses").unwrap_or_default().addresses;
        for of_org in addresses.values_mut() {
            of_org.clone_from(&all);
        }
    }
    let endpoint = |address: &String| {
        let (host, port) = address.rsplit_once(':')?;
        Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
    };
    result.orderers = addresses
        .into_iter()
        .map(|(id, addresses)| (id, Endpoints { endpoint: addresses.iter().filter_map(endpoint).collect() }))
        .collect();
    Some(result)
}
