//! What the discovery service of an own peer says, for those who want to know it themselves.
//!
//! A module of its own because the client finds nodes without it being asked: these are the answers in full, and their
//! failures told apart, which the service itself does not do. It denies access to strangers and says the same of
//! channels that its peer is not in.
//!
//! Source: `fabric-protos/discovery/protocol.proto`, Fabric 3.1.5 `discovery/service.go`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::channel::Channel;
use super::discovery::{self, asked, content, height_and_address, known, unfit};
use super::error::{CallError, NodeName};
use super::gateway::Client;
use super::node::Peer;
use super::turns::first_answer;
use crate::fabric::identity::Creator;
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::ChaincodeCall;
use crate::pb::discovery::query::Query as Asked;
use crate::pb::discovery::query_result::Result as Answer;
use crate::pb::discovery::{self as wire, ConfigQuery, LocalPeerQuery, PeerMembershipQuery};
use crate::pb::gossip::gossip_message::Content;
use crate::pb::protos::ChaincodeInterest;

/// Why the discovery service told nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The client is no member of the channel as the peer knows it; of questions about no channel, no administrator.
    #[error("{node} denies access to {}", about(channel.as_ref()))]
    AccessDenied {
        /// The peer.
        node: NodeName,
        /// The channel, where it is about one.
        channel: Option<ChannelName>,
    },
    /// The peer is not in the channel, or not yet.
    #[error("{node} has not joined channel {channel}")]
    NotJoined {
        /// The peer.
        node: NodeName,
        /// The channel.
        channel: ChannelName,
    },
    /// No peers are known who could endorse together: the chaincode is not committed, or not approved and installed by
    /// enough organizations whose peers are known.
    #[error("{node} knows no endorsers: {message}")]
    NoEndorsers {
        /// The peer.
        node: NodeName,
        /// Its words.
        message: String,
    },
    /// No own peer answered: what the last one said.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is no own peer to ask. A client is not built without one.
    #[error("the organization has no peers")]
    NoPeers,
}

fn about(channel: Option<&ChannelName>) -> String {
    channel.map_or_else(|| "its own knowledge".to_owned(), |channel| format!("channel {channel}"))
}

impl DiscoveryError {
    /// Whether the same question may be answered later: peers join, learn of each other, and come back.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotJoined { .. } | Self::NoEndorsers { .. } => true,
            Self::Call(error) => error.is_retryable(),
            Self::AccessDenied { .. } | Self::NoPeers => false,
        }
    }
}

/// A peer as another one knows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Member {
    /// Its organization.
    pub msp_id: MspId,
    /// Where it says that others reach it, `host:port`; empty when it does not say.
    pub address: String,
    /// Its `msp.SerializedIdentity`.
    pub identity: Bytes,
    /// How many blocks of the channel it has, as far as is known.
    pub height: Option<u64>,
    /// The chaincodes that it can run, with their versions.
    pub chaincodes: Vec<(String, String)>,
    /// The peer, where it can be reached: its organization's TLS roots are known.
    pub peer: Option<Peer>,
}

/// What a channel's configuration says about its nodes, as the service has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The TLS roots of every organization, in PEM.
    pub tls_roots: BTreeMap<MspId, Bytes>,
    /// `host:port` of the orderers of every organization that has some.
    pub orderers: BTreeMap<MspId, Vec<String>>,
}

/// Who may endorse, and how many of whom together suffice.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EndorsementPlan {
    /// Peers of one kind, under names that have no meaning beyond the plan; the best first.
    pub groups: BTreeMap<String, Vec<Peer>>,
    /// Each is enough: so many of each group.
    pub layouts: Vec<BTreeMap<String, usize>>,
}

impl Channel {
    /// The peers of the channel that an own peer knows of, itself among them; with `chaincode`, those that can run it.
    ///
    /// Cancel safety: a question has no effect.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub async fn members(&self, chaincode: Option<&str>) -> Result<Vec<Member>, DiscoveryError> {
        let filter = chaincode.map(|name| interest(&[ChaincodeCall::new(name)]));
        let (peer, answer) = ask(self.client(), Some(self), Asked::PeerQuery(PeerMembershipQuery { filter })).await?;
        let Answer::Members(found) = answer else { return Err(unfit(&peer, "peers").into()) };
        let view = discovery::view(self).await.ok();
        let reach = |msp_id: &MspId, address: &str| known(self, view.as_deref()?, msp_id, address);
        Ok(members(&found, reach))
    }

    /// The TLS roots and orderers that the channel's configuration names.
    ///
    /// Cancel safety: a question has no effect.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub async fn node_config(&self) -> Result<NodeConfig, DiscoveryError> {
        let (peer, answer) = ask(self.client(), Some(self), Asked::ConfigQuery(ConfigQuery {})).await?;
        let Answer::ConfigResult(found) = answer else { return Err(unfit(&peer, "the configuration").into()) };
        let mut config = NodeConfig::default();
        for (name, msp) in found.msps {
            let Ok(msp_id) = MspId::parse(name) else { continue };
            let roots: Vec<&[u8]> =
                msp.tls_root_certs.iter().chain(&msp.tls_intermediate_certs).map(Bytes::as_ref).collect();
            config.tls_roots.insert(msp_id, roots.join(&b'\n').into());
        }
        for (name, endpoints) in found.orderers {
            let Ok(msp_id) = MspId::parse(name) else { continue };
            let addresses = endpoints.endpoint.iter().map(|at| format!("{}:{}", at.host, at.port)).collect();
            config.orderers.insert(msp_id, addresses);
        }
        Ok(config)
    }

    /// Who must endorse what touches these chaincodes, in one transaction.
    ///
    /// Cancel safety: a question has no effect.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub async fn endorsers(&self, touched: &[ChaincodeCall]) -> Result<EndorsementPlan, DiscoveryError> {
        let found = discovery::layouts(self, interest(touched)).await;
        let failures = match found {
            Ok(found) => {
                let peers = |endorsers: Vec<discovery::Endorser>| endorsers.into_iter().map(|at| at.peer).collect();
                let groups = found.groups.into_iter().map(|(name, endorsers)| (name, peers(endorsers))).collect();
                return Ok(EndorsementPlan { groups, layouts: found.layouts });
            }
            Err(failures) => failures,
        };
        Err(explain(self.client(), Some(self), failures).await)
    }
}

impl Client {
    /// The peers that an own peer knows of, whatever channels they are in. Peers tell this to administrators only.
    ///
    /// Cancel safety: a question has no effect.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub async fn local_peers(&self) -> Result<Vec<Member>, DiscoveryError> {
        let (peer, answer) = ask(self, None, Asked::LocalPeers(LocalPeerQuery {})).await?;
        let Answer::Members(found) = answer else { return Err(unfit(&peer, "peers").into()) };
        let own = |_: &MspId, address: &str| self.peers().iter().find(|own| own.address() == address).cloned();
        Ok(members(&found, own))
    }
}

fn interest(touched: &[ChaincodeCall]) -> ChaincodeInterest {
    ChaincodeInterest { chaincodes: touched.iter().map(super::transact::call).collect() }
}

/// The first own peer's answer.
async fn ask(client: &Client, channel: Option<&Channel>, question: Asked) -> Result<(Peer, Answer), DiscoveryError> {
    let name = channel.map_or("", |channel| channel.name().as_str());
    let ask = async |peer: Peer| asked(client, name, &peer, question.clone()).await;
    match first_answer(client.own_peers(), &client.shared.timeouts, ask).await {
        Ok(answer) => Ok(answer),
        Err(failures) => Err(explain(client, channel, failures).await),
    }
}

/// What a failure means. The service has one word for strangers and for channels of which it knows nothing, so the
/// peer is asked which channels it is in.
async fn explain(client: &Client, channel: Option<&Channel>, failures: Vec<CallError>) -> DiscoveryError {
    let said = failures.iter().rposition(|error| matches!(error, CallError::Refused { .. }));
    let mut failures = failures;
    let (node, message) = match said.map(|at| failures.swap_remove(at)) {
        Some(CallError::Refused { node, message, .. }) => (node, message),
        Some(error) => return error.into(),
        None => return failures.pop().map_or(DiscoveryError::NoPeers, DiscoveryError::from),
    };
    let channel = channel.map(Channel::name);
    if message != "access denied" {
        return DiscoveryError::NoEndorsers { node, message };
    }
    if let Some(channel) = channel
        && let Some(peer) = client.peers().iter().find(|peer| *peer.node() == node)
        && let Ok(joined) = client.joined_channels(peer).await
        && !joined.contains(channel)
    {
        return DiscoveryError::NotJoined { node, channel: channel.clone() };
    }
    DiscoveryError::AccessDenied { node, channel: channel.cloned() }
}

fn members(found: &wire::PeerMembershipResult, reach: impl Fn(&MspId, &str) -> Option<Peer>) -> Vec<Member> {
    let read = |peer: &wire::Peer| {
        let msp_id = Creator::decode(&peer.identity).ok()?.msp_id;
        let (_, address) = height_and_address(peer).unwrap_or_default();
        let state = match peer.state_info.as_ref().and_then(content) {
            Some(Content::StateInfo(state)) => state.properties,
            _ => None,
        };
        let height = state.as_ref().map(|state| state.ledger_height);
        let chaincodes = state.map(|state| state.chaincodes).unwrap_or_default();
        let chaincodes = chaincodes.into_iter().map(|chaincode| (chaincode.name, chaincode.version)).collect();
        let peer_itself = reach(&msp_id, &address);
        Some(Member { msp_id, address, identity: peer.identity.clone(), height, chaincodes, peer: peer_itself })
    };
    found.peers_by_org.values().flat_map(|peers| &peers.peers).filter_map(read).collect()
}
