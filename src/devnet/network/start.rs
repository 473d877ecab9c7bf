//! From a plan to a running network: ports, certificates, files, channels, nodes, in this order.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ring::rand::SecureRandom as _;

use super::describe::{self, Kept};
use super::made::{self, Made, MadeOrganization};
use super::neighbours::Neighbours;
use super::node::{Admin, Node, Role};
use super::{Builder, Devnet, Organization, Origin};
use crate::devnet::error::DevnetError;
use crate::devnet::files::{self, FileError};
use crate::devnet::genesis::Member;
use crate::devnet::ledger::PrivateStore;
use crate::devnet::listener::{self, Acceptor, Clients};
use crate::devnet::orderer::{Chains, Orderer};
use crate::devnet::peer::{Contracts, Hosts, Peer};
use crate::devnet::storage::Store;
use crate::fabric::config::BatchLimits;
use crate::fabric::identity::{Certificate, Msp, MspVersion, SigningIdentity};
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::Nonce;
use crate::runtime::Workers;

/// By this file a folder is known to be ours.
pub(super) const MARKER: &str = "network.json";
/// What is made anew, unless it is kept.
const OWN_FOLDERS: [&str; 6] = ["channel-artifacts", "cli", "crypto", "env", LEDGER, "profiles"];
/// Where a network that is kept has its blocks, private data and packages.
const LEDGER: &str = "ledger";

/// A builder's wishes and what was kept, made one.
pub(super) struct Plan {
    pub(super) builder: Builder,
    pub(super) kept: Option<Kept>,
    organizations: u16,
    pub(super) peers: u16,
    pub(super) orderers: u16,
    bft: bool,
    ops_channel: ChannelName,
    channels: Vec<ChannelName>,
    system_channel: Option<ChannelName>,
}

impl Plan {
    fn new(builder: Builder, kept: Option<Kept>) -> Result<Self, DevnetError> {
        let of_kept = kept.as_ref().map(|kept| (kept.organizations(), kept.peers()));
        let (organizations, peers) =
            of_kept.unwrap_or((builder.organizations.unwrap_or(2), builder.peers.unwrap_or(1)));
        if builder.organizations.is_some_and(|asked| asked != organizations)
            || builder.peers.is_some_and(|asked| asked != peers)
        {
            return Err(DevnetError::Plan(format!(
                "its folder keeps a network of {organizations} organizations with {peers} peers each"
            )));
        }
        let system_channel = kept.as_ref().map_or_else(|| builder.system_channel.clone(), Kept::system_channel);
        if builder.system_channel.is_some() && builder.system_channel != system_channel {
            return Err(DevnetError::Plan("its folder keeps a network without such a system channel".to_owned()));
        }
        let bft = kept.as_ref().map_or(builder.bft, Kept::is_bft);
        if builder.bft && !bft {
            return Err(DevnetError::Plan("its folder keeps a network whose orderers agree otherwise".to_owned()));
        }
        let orderers = kept.as_ref().map_or_else(|| builder.orderers_of(organizations), Kept::orderers);
        builder.check(organizations, peers)?;
        let ops_channel = kept.as_ref().and_then(Kept::ops_channel).unwrap_or_else(|| builder.ops_channel.clone());
        let mut channels: Vec<_> = kept.iter().flat_map(Kept::channels).collect();
        for channel in &builder.channels {
            if !channels.contains(channel) && *channel != ops_channel {
                channels.push(channel.clone());
            }
        }
        Ok(Self { builder, kept, organizations, peers, orderers, bft, ops_channel, channels, system_channel })
    }

    fn batch(&self) -> BatchLimits {
        BatchLimits {
            max_messages: self.builder.max_message_count,
            absolute_max_bytes: 99 << 20,
            preferred_max_bytes: 512 << 10,
            timeout: self.builder.batch_timeout,
        }
    }
}

pub(super) async fn start(builder: Builder) -> Result<Devnet, DevnetError> {
    let folder = std::path::absolute(&builder.folder).unwrap_or_else(|_| builder.folder.clone());
    files::create_folder(&folder)?;
    // Before anything is read or cleared away: two networks would spoil each other's logs.
    let lock = if builder.keep { Some(lock(&folder)?) } else { None };
    let kept = if builder.keep && !builder.anew { Kept::read(&folder) } else { None };
    let plan = Plan::new(builder, kept)?;
    if plan.kept.is_none() {
        prepare_folder(&folder)?;
    }
    let store = if plan.builder.keep {
        // Private data are in there.
        files::create_secret_folder(&folder.join(LEDGER))?;
        Store::at(folder.join(LEDGER))
    } else {
        Store::default()
    };
    let mut made = Vec::new();
    for index in 0..plan.organizations {
        made.push(made::organization(&plan, &folder, index).await?);
    }
    let mutual_tls = plan.builder.mutual_tls;
    describe::write_profiles(&folder, &made, mutual_tls)?;
    let client_roots = mutual_tls.then(|| made.iter().map(|made| made.tls_ca_pem.as_str()).collect());

    let workers = Workers::new();
    // Until all is well, whatever runs already ends with this function.
    let guard = workers.token().drop_guard();
    let chains = Arc::new(Chains::new(store.clone(), workers.clone()));
    chains.restore()?;
    let contracts = Arc::new(Contracts::default());
    for (name, contract) in &plan.builder.contracts {
        contracts.insert(name.clone(), Arc::clone(contract));
    }
    let commons = Commons {
        private: Arc::new(PrivateStore::kept(&store)?),
        store,
        chains: Arc::clone(&chains),
        contracts: Arc::clone(&contracts),
        hosts: Arc::default(),
        neighbours: Arc::default(),
        client_roots,
    };
    let (members, rest) = split(made);
    let is_unjoined = |at: usize| u16::try_from(at).is_ok_and(|at| plan.builder.unjoined.contains(&at));
    let unjoined = members.iter().enumerate().filter(|(at, _)| is_unjoined(*at));
    let unjoined = unjoined.map(|(_, member)| member.msp_id.clone()).collect();
    let (nodes, organizations) = nodes(rest, &members, &commons, &workers)?;
    let network = Devnet {
        folder,
        ops_channel: plan.ops_channel.clone(),
        system_channel: plan.system_channel.clone(),
        channels: RwLock::default(),
        organizations,
        nodes: nodes.into(),
        chains,
        contracts,
        hosts: commons.hosts,
        origin: Origin { members, batch: plan.batch(), is_kept: plan.builder.keep, bft: plan.bft, unjoined },
        workers,
        _lock: lock,
    };
    network.begin_system_channel()?;
    for channel in std::iter::once(&plan.ops_channel).chain(&plan.channels) {
        if network.chains.get(channel.as_str()).is_none() {
            network.create_channel(channel).await?;
        }
    }
    *network.channels.write().unwrap_or_else(PoisonError::into_inner) = plan.channels;
    network.describe()?;
    if plan.kept.is_some() {
        // Peers replay what they had.
        for channel in network.chains.channels() {
            network.settled(&channel).await;
        }
    }
    guard.disarm();
    Ok(network)
}

/// Starts all nodes, with what each of them had before.
fn nodes(
    rest: Vec<Rest>,
    members: &[Member],
    commons: &Commons,
    workers: &Workers,
) -> Result<(Vec<Node>, Vec<Organization>), DevnetError> {
    let (mut nodes, mut organizations) = (Vec::new(), Vec::new());
    for (organization, member) in rest.into_iter().zip(members) {
        for made in organization.orderers {
            let orderer = orderer(&made, &member.msp_id, commons)?;
            commons.neighbours.add_orderer(Arc::clone(&orderer), made.address.address.clone());
            orderer.rejoin()?;
            let admin = Admin {
                port: made.admin_port.unwrap_or_default(),
                tls: tls(&made, Clients::Proven(&organization.tls_ca_pem), "http/1.1")?,
            };
            nodes.push(node(made, Role::Orderer(orderer, admin), commons, workers)?);
        }
        for made in organization.peers {
            let peer = peer(&made, member, commons, workers)?;
            peer.restore(commons.store.below(&format!("peers/{}", made.address.fqdn)))?;
            commons.neighbours.add(Arc::clone(&peer), made.address.address.clone());
            nodes.push(node(made, Role::Peer(peer, Arc::clone(&commons.neighbours)), commons, workers)?);
        }
        organizations.push(organization.organization);
    }
    Ok((nodes, organizations))
}

/// What all nodes share.
struct Commons {
    store: Store,
    chains: Arc<Chains>,
    contracts: Arc<Contracts>,
    hosts: Arc<Hosts>,
    private: Arc<PrivateStore>,
    neighbours: Arc<Neighbours>,
    /// Whose certificates clients must show, where they must show one.
    client_roots: Option<String>,
}

fn peer(made: &Made, member: &Member, commons: &Commons, workers: &Workers) -> Result<Arc<Peer>, DevnetError> {
    let msp = Msp::from_config(&member.msp.to_config(), MspVersion::V1_4_3)
        .map_err(|source| DevnetError::Msp { organization: member.msp_id.as_str().to_owned(), source })?;
    Ok(Peer::new(
        made.address.fqdn.clone(),
        member.msp_id.clone(),
        msp,
        signer(&member.msp_id, made)?,
        Arc::clone(&commons.contracts),
        Arc::clone(&commons.hosts),
        Arc::clone(&commons.private),
        workers.child(),
    ))
}

/// Separates what goes into the channels' configuration from the rest.
fn split(made: Vec<MadeOrganization>) -> (Vec<Member>, Vec<Rest>) {
    made.into_iter()
        .map(|made| {
            let MadeOrganization { organization, member, peers, orderers, tls_ca_pem } = made;
            (member, Rest { organization, orderers, peers, tls_ca_pem })
        })
        .unzip()
}

struct Rest {
    organization: Organization,
    orderers: Vec<Made>,
    peers: Vec<Made>,
    tls_ca_pem: String,
}

/// Starts one node on the listener that waits for it.
fn node(made: Made, role: Role, commons: &Commons, workers: &Workers) -> Result<Node, DevnetError> {
    let clients = commons.client_roots.as_deref().map_or(Clients::Asked, Clients::Proven);
    let tls = tls(&made, clients, "h2")?;
    let chains = Arc::clone(&commons.chains);
    let node = Node { address: made.address, port: made.port, tls, role, chains, running: Mutex::default() };
    node.start(made.listeners, workers);
    Ok(node)
}

fn tls(made: &Made, clients: Clients<'_>, protocol: &str) -> Result<Acceptor, DevnetError> {
    listener::tls_acceptor(&made.crypto.tls_certificate_pem, made.crypto.tls_key.pem(), clients, protocol)
        .map_err(|source| DevnetError::Listen { node: made.address.name.clone(), source })
}

fn orderer(made: &Made, msp_id: &MspId, commons: &Commons) -> Result<Arc<Orderer>, DevnetError> {
    let tls_certificate = Certificate::from_pem(made.crypto.tls_certificate_pem.as_bytes())
        .map_err(|source| DevnetError::Identity { node: made.address.name.clone(), source })?;
    let chains = Arc::clone(&commons.chains);
    Ok(Arc::new(Orderer::new(made.address.fqdn.clone(), signer(msp_id, made)?, tls_certificate, chains)))
}

fn signer(msp_id: &MspId, node: &Made) -> Result<Arc<SigningIdentity>, DevnetError> {
    let identity = SigningIdentity::from_pem(
        msp_id.clone(),
        node.crypto.certificate_pem.as_bytes(),
        node.crypto.key.pem().as_bytes(),
    )
    .map_err(|source| DevnetError::Identity { node: node.address.name.clone(), source })?;
    Ok(Arc::new(identity))
}

pub(super) fn nonce() -> Nonce {
    let mut bytes = [0; 24];
    // Only the kernel could fail here; a nonce of zeros would do for a first block, which nobody else makes.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    Nonce(bytes)
}

/// Makes sure that no other process runs a network that is kept in `folder`, for as long as the file is open.
fn lock(folder: &Path) -> Result<File, DevnetError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| FileError::new(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DevnetError::Busy(folder.display().to_string())),
        Err(TryLockError::Error(source)) => Err(FileError::new(&path, source).into()),
    }
}

/// Clears what an earlier network left, and nothing else.
fn prepare_folder(folder: &Path) -> Result<(), DevnetError> {
    files::create_folder(folder)?;
    let ours = folder.join(MARKER).is_file();
    for name in OWN_FOLDERS {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        if !ours {
            return Err(DevnetError::ForeignFolder(folder.display().to_string()));
        }
        files::remove_folder(&path)?;
    }
    // At once, so that a start that fails half-way can be tried again.
    files::write(&folder.join(MARKER), "{}\n")?;
    Ok(())
}
