//! The client: an identity, the nodes that it knows, and what all its calls have in common.
//!
//! Named after Fabric's gateway, whose place it takes on the client's side. It holds connections and caches and no
//! state of the application; dropping the last clone closes everything.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost_types::Timestamp;
use ring::rand::SecureRandom as _;

use super::channel::Channel;
use super::credentials::{Credentials, Renewed};
use super::discovery::Cache;
use super::error::{CallError, NodeName};
use super::lifecycle::PeerLifecycle;
use super::net::{Endpoint, NetError, Pool};
use super::node::{Orderer, Peer};
use super::profile::{ConnectionProfile, Node};
use super::transact::Way;
use crate::fabric::identity::{SignError, Signer};
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::{Header, Invocation, Nonce, Proposal, envelope};
use crate::pb::common::{Envelope, HeaderType};
use crate::pb::protos::{ProposalResponse, SignedProposal};

/// Why no client can be made of a connection profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The profile does not know the signer's organization.
    #[error("connection profile has no organization with MSP ID {msp_id}")]
    Organization {
        /// The signer's MSP ID.
        msp_id: MspId,
    },
    /// The organization has no peers in the profile.
    #[error("organization {msp_id} has no peers in the connection profile")]
    NoPeers {
        /// The organization.
        msp_id: MspId,
    },
    /// A certificate has expired: nodes refuse whoever shows it. Enroll anew.
    #[error("{what} of {subject} expired on {not_after}")]
    Expired {
        /// Which certificate: of the identity or of the TLS client.
        what: &'static str,
        /// Whose it is.
        subject: String,
        /// Its last moment.
        not_after: String,
    },
    /// A node cannot be reached as described.
    #[error("{name} cannot be reached as described")]
    Node {
        /// The profile's name for it.
        name: String,
        /// What is wrong.
        source: NetError,
    },
}

/// How long calls may take.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// A query or an endorsement by one peer.
    pub endorse: Duration,
    /// How long one peer may keep silent before another of its organization is asked as well.
    pub silence: Duration,
    /// Handing a transaction to one orderer.
    pub broadcast: Duration,
    /// Finding an orderer that takes a transaction, however many are asked how often.
    pub order: Duration,
    /// From then until the transaction is seen committed.
    pub commit: Duration,
    /// The installation of a package, during which the peer builds it.
    pub install: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            endorse: Duration::from_secs(30),
            silence: Duration::from_secs(5),
            broadcast: Duration::from_secs(15),
            order: Duration::from_mins(1),
            commit: Duration::from_mins(2),
            // The peer itself gives up after 300 s unless told otherwise.
            install: Duration::from_mins(10),
        }
    }
}

/// Makes a [`Client`].
#[derive(Debug)]
pub struct ClientBuilder {
    signer: Arc<dyn Signer>,
    profile: ConnectionProfile,
    discover_as_localhost: bool,
    timeouts: Timeouts,
    way: Way,
}

impl ClientBuilder {
    /// Reaches nodes that were discovered, and so are known by the names they have inside their network, at this
    /// machine's ports. Nodes of the connection profile are reached as it says.
    #[must_use]
    pub fn discover_as_localhost(self, yes: bool) -> Self {
        Self { discover_as_localhost: yes, ..self }
    }

    /// Other limits than the usual ones.
    #[must_use]
    pub fn timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// How proposals and transactions go their way, unless a [`Channel`] is told otherwise.
    #[must_use]
    pub fn way(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// The client. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn build(self) -> Result<Client, ClientError> {
        let msp_id = self.signer.msp_id().clone();
        let organization = self
            .profile
            .organization_of(&msp_id)
            .ok_or_else(|| ClientError::Organization { msp_id: msp_id.clone() })?;
        let pool = Pool::new();
        let connect = |node: &Node| {
            let name = NodeName { name: node.name.clone(), address: node.endpoint.address.clone() };
            match pool.connection(&node.endpoint) {
                Ok(connection) => Ok((name, connection)),
                Err(source) => Err(ClientError::Node { name: node.name.clone(), source }),
            }
        };
        let mut peers = Vec::new();
        for node in self.profile.peers_of(organization) {
            let (name, connection) = connect(node)?;
            peers.push(Peer::new(name, msp_id.clone(), connection));
        }
        if peers.is_empty() {
            return Err(ClientError::NoPeers { msp_id });
        }
        let mut orderers = Vec::new();
        for node in self.profile.orderers() {
            let (name, connection) = connect(node)?;
            orderers.push(Orderer::new(name, connection));
        }
        let uses_tls = self.profile.peers_of(organization).any(|node| node.endpoint.tls.is_some());
        let credentials = Credentials::new(self.signer, self.profile.client_tls().cloned());
        credentials.check()?;
        Ok(Client {
            shared: Arc::new(Shared {
                msp_id,
                credentials: RwLock::new(Arc::new(credentials)),
                profile: Mutex::new(self.profile),
                peers,
                orderers,
                preferred: AtomicUsize::new(0),
                orderer_turn: AtomicUsize::new(0),
                pool,
                uses_tls,
                discover_as_localhost: self.discover_as_localhost,
                timeouts: self.timeouts,
                way: self.way,
                discovered: Mutex::default(),
            }),
        })
    }
}

/// A member of an organization who talks to a network. Clones are the same client.
///
/// ```no_run
/// # async fn f(signer: std::sync::Arc<dyn opssc::fabric::identity::Signer>) -> Result<(), Box<dyn std::error::Error>> {
/// use opssc::client::{Client, Endorsers, profile::ConnectionProfile};
/// use opssc::fabric::{names::ChannelName, tx::Invocation};
///
/// let profile = ConnectionProfile::load("connection-org1.yaml".as_ref())?;
/// let channel = Client::builder(signer, profile).build()?.channel(ChannelName::parse("mychannel")?);
/// let asset = Invocation::new("basic", "CreateAsset").arg("a1").arg("blue");
/// let committed = channel.submit(&asset, Endorsers::Majority).await?;
/// println!("in block {}", committed.block);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    msp_id: MspId,
    credentials: RwLock<Arc<Credentials>>,
    /// By which the nodes are known now.
    profile: Mutex<ConnectionProfile>,
    pub(super) peers: Vec<Peer>,
    pub(super) orderers: Vec<Orderer>,
    /// The own peer that answered last: all calls go to it while it does, so that what was written there is read there.
    preferred: AtomicUsize,
    pub(super) orderer_turn: AtomicUsize,
    pub(super) pool: Pool,
    uses_tls: bool,
    pub(super) discover_as_localhost: bool,
    pub(super) timeouts: Timeouts,
    pub(super) way: Way,
    pub(super) discovered: Mutex<HashMap<ChannelName, Arc<Cache>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("signer", &self.signer())
            .field("peers", &self.shared.peers)
            .field("orderers", &self.shared.orderers)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts to make a client that acts as `signer` on the nodes of `profile`.
    pub fn builder(signer: Arc<dyn Signer>, profile: ConnectionProfile) -> ClientBuilder {
        ClientBuilder {
            signer,
            profile,
            discover_as_localhost: false,
            timeouts: Timeouts::default(),
            way: Way::default(),
        }
    }

    /// The organization it acts for.
    pub fn msp_id(&self) -> &MspId {
        &self.shared.msp_id
    }

    /// Who signs.
    pub fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.credentials().signer)
    }

    /// What is shown to nodes now. Take it once for one message: it may be renewed at any time.
    pub(super) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.shared.credentials.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over credentials and TLS roots that were renewed, for this client and all its clones. Nothing is dropped:
    /// what is under way ends as it began. Nodes are known by their names; where others are named, or at other
    /// addresses, a new client is needed.
    ///
    /// # Errors
    /// [`ClientError`]: what is new cannot be used, and everything stays as it was.
    pub fn renew(&self, signer: Arc<dyn Signer>, profile: ConnectionProfile) -> Result<Renewed, ClientError> {
        let credentials = Credentials::new(signer, profile.client_tls().cloned());
        let other = || ClientError::Organization { msp_id: credentials.signer.msp_id().clone() };
        if credentials.signer.msp_id() != self.msp_id() {
            return Err(other());
        }
        credentials.check()?;
        let mut known = self.shared.profile.lock().unwrap_or_else(PoisonError::into_inner);
        let organization = profile.organization_of(self.msp_id()).ok_or_else(other)?;
        let former = known.organization_of(self.msp_id()).ok_or_else(other)?;
        let nodes: Vec<&Node> = profile.peers_of(organization).chain(profile.orderers()).collect();
        let before: Vec<&Node> = known.peers_of(former).chain(known.orderers()).collect();
        let mut renewed = Renewed {
            credentials: !credentials.is_same(&self.credentials()),
            needs_new_client: nodes.len() != before.len(),
            ..Renewed::default()
        };
        for old in before {
            match nodes.iter().find(|node| node.name == old.name) {
                Some(new) if new.endpoint == old.endpoint => {}
                Some(new) if new.endpoint.address == old.endpoint.address => {
                    let failed = |source| ClientError::Node { name: new.name.clone(), source };
                    self.shared.pool.renew(&old.endpoint, &new.endpoint).map_err(failed)?;
                    renewed.connections += 1;
                }
                Some(_) | None => renewed.needs_new_client = true,
            }
        }
        if renewed == (Renewed { needs_new_client: renewed.needs_new_client, ..Renewed::default() }) {
            return Ok(renewed);
        }
        *self.shared.credentials.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(credentials);
        // Nodes that were discovered are known with the former certificates.
        for cache in self.shared.discovered.lock().unwrap_or_else(PoisonError::into_inner).values() {
            cache.drop_view();
        }
        *known = profile;
        Ok(renewed)
    }

    /// The certificate that nodes are shown where they ask for one.
    pub fn client_tls(&self) -> Option<Arc<super::net::ClientTls>> {
        self.credentials().client_tls.clone()
    }

    /// The organization's own peers, in the profile's order. There is at least one.
    pub fn peers(&self) -> &[Peer] {
        &self.shared.peers
    }

    /// The orderers of the profile, in its order. There may be none: channels know theirs.
    pub fn orderers(&self) -> &[Orderer] {
        &self.shared.orderers
    }

    /// A channel of the network. It is not asked whether it exists.
    pub fn channel(&self, name: ChannelName) -> Channel {
        let cache = {
            let mut caches = self.shared.discovered.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(caches.entry(name.clone()).or_default())
        };
        Channel::new(self.clone(), name, cache)
    }

    /// The packages on one of the organization's peers.
    pub fn peer_lifecycle(&self, peer: &Peer) -> PeerLifecycle {
        PeerLifecycle::new(self.clone(), peer.clone())
    }

    /// The own peers, the one that answered last first, and those that failed of late last.
    pub(super) fn own_peers(&self) -> Vec<Peer> {
        let peers = &self.shared.peers;
        let first = self.shared.preferred.load(Ordering::Relaxed) % peers.len();
        let mut peers: Vec<Peer> = peers[first..].iter().chain(&peers[..first]).cloned().collect();
        peers.sort_by_key(Peer::is_resting);
        peers
    }

    /// The place of the own peer that answered last.
    pub(super) fn preferred_index(&self) -> usize {
        self.shared.preferred.load(Ordering::Relaxed)
    }

    /// Remembers that `peer` answered.
    pub(super) fn prefer(&self, peer: &Peer) {
        if let Some(at) = self.shared.peers.iter().position(|own| own.node() == peer.node()) {
            self.shared.preferred.store(at, Ordering::Relaxed);
        }
    }

    /// A peer of any organization by its endpoint, such as for [`Endorsers::Peers`](super::Endorsers::Peers). Nothing is
    /// dialled yet.
    ///
    /// # Errors
    /// [`NetError`] when no connection could ever be made as described.
    pub fn peer(&self, msp_id: MspId, endpoint: &Endpoint) -> Result<Peer, NetError> {
        let connection = self.shared.pool.connection(endpoint)?;
        let name = NodeName { name: endpoint.address.clone(), address: endpoint.address.clone() };
        Ok(Peer::new(name, msp_id, connection))
    }

    /// A proposal with a nonce and the time of now.
    pub(super) fn draft(
        &self,
        channel: Option<&ChannelName>,
        invocation: &Invocation,
        header_type: HeaderType,
    ) -> Result<Proposal, SignError> {
        Self::draft_as(&self.credentials(), channel, invocation, header_type)
    }

    fn draft_as(
        credentials: &Credentials,
        channel: Option<&ChannelName>,
        invocation: &Invocation,
        header_type: HeaderType,
    ) -> Result<Proposal, SignError> {
        credentials.check_lifetime()?;
        Ok(Proposal::new(channel, invocation, credentials.signer.creator(), nonce()?, now(), header_type))
    }

    /// A signed proposal with a nonce and the time of now.
    pub(super) async fn propose(
        &self,
        channel: Option<&ChannelName>,
        invocation: &Invocation,
        header_type: HeaderType,
    ) -> Result<(Proposal, SignedProposal), SignError> {
        self.propose_as(&self.credentials(), channel, invocation, header_type).await
    }

    pub(super) async fn propose_as(
        &self,
        credentials: &Credentials,
        channel: Option<&ChannelName>,
        invocation: &Invocation,
        header_type: HeaderType,
    ) -> Result<(Proposal, SignedProposal), SignError> {
        let proposal = Self::draft_as(credentials, channel, invocation, header_type)?;
        let to_send = proposal.sign(&*credentials.signer).await?;
        Ok((proposal, to_send))
    }

    /// Has one peer run `invocation` and gives its answer.
    pub(super) async fn call(
        &self,
        peer: &Peer,
        channel: Option<&ChannelName>,
        invocation: &Invocation,
        header_type: HeaderType,
        limit: Duration,
    ) -> Result<ProposalResponse, CallError> {
        let (_, signed) = self.propose(channel, invocation, header_type).await?;
        peer.process(signed, limit).await
    }

    /// Has one peer run a query and gives its result.
    pub(super) async fn query(
        &self,
        peer: &Peer,
        channel: Option<&ChannelName>,
        invocation: &Invocation,
    ) -> Result<Bytes, CallError> {
        let limit = self.shared.timeouts.endorse;
        let answer = self.call(peer, channel, invocation, HeaderType::EndorserTransaction, limit).await?;
        Ok(answer.response.unwrap_or_default().payload)
    }

    /// A signed envelope around `data`, bound to the client's TLS certificate where there is one.
    pub(super) async fn envelope(
        &self,
        header_type: HeaderType,
        channel: &ChannelName,
        data: Bytes,
    ) -> Result<Envelope, SignError> {
        let credentials = self.credentials();
        credentials.check_lifetime()?;
        let signer = &*credentials.signer;
        let header = Header {
            header_type,
            channel: Some(channel),
            creator: signer.creator(),
            nonce: nonce()?,
            time: now(),
            tls_cert_hash: credentials.client_tls.as_deref().map(|tls| tls.certificate_hash().as_slice()),
        };
        envelope(&header, data).sign(signer).await
    }

    /// Whether the network speaks TLS: discovery tells addresses without saying how to speak to them.
    pub(super) fn uses_tls(&self) -> bool {
        self.shared.uses_tls
    }

    /// The endpoint of a node that was discovered.
    pub(super) fn discovered_endpoint(&self, endpoint: Endpoint) -> Endpoint {
        if self.shared.discover_as_localhost { endpoint.as_localhost() } else { endpoint }
    }
}

pub(super) fn nonce() -> Result<Nonce, SignError> {
    let mut bytes = [0; 24];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| SignError::Refused("the system gives no random numbers".into()))?;
    Ok(Nonce(bytes))
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Fewer than a thousand million always fit.
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}
