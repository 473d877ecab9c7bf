//! From a plan to a running network: ports, certificates, files, channels, nodes, in this order.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ring::rand::SecureRandom as _;

use super::describe;
use super::neighbours::Neighbours;
use super::node::{Admin, Listeners, Node, Role};
use super::{Builder, Devnet, NodeAddress, Organization};
use crate::devnet::crypto::{NodeCrypto, NodeKind, OrganizationCrypto};
use crate::devnet::error::DevnetError;
use crate::devnet::files;
use crate::devnet::genesis::{self, Member};
use crate::devnet::ledger::PrivateStore;
use crate::devnet::listener;
use crate::devnet::orderer::{Chains, Orderer, Refused};
use crate::devnet::peer::{Contracts, Hosts, Peer};
use crate::devnet::storage::Store;
use crate::fabric::config::BatchLimits;
use crate::fabric::identity::{Certificate, Msp, MspFolder, MspVersion, SigningIdentity};
use crate::fabric::names::MspId;
use crate::fabric::tx::Nonce;
use crate::runtime::Workers;
use prost::Message as _;
use tokio_rustls::TlsAcceptor;

/// By this file a folder is known to be ours.
pub(super) const MARKER: &str = "network.json";
/// What is made anew at every start.
const OWN_FOLDERS: [&str; 5] = ["channel-artifacts", "cli", "crypto", "env", "profiles"];

/// A node with its port and its identities.
struct Made {
    address: NodeAddress,
    port: u16,
    /// Of an orderer.
    admin_port: Option<u16>,
    listeners: Listeners,
    crypto: NodeCrypto,
}

/// An organization with everything that was made for it.
pub(super) struct MadeOrganization {
    pub(super) organization: Organization,
    member: Member,
    peers: Vec<Made>,
    orderers: Vec<Made>,
    pub(super) tls_ca_pem: String,
}

pub(super) async fn start(builder: Builder) -> Result<Devnet, DevnetError> {
    let folder = std::path::absolute(&builder.folder).unwrap_or_else(|_| builder.folder.clone());
    prepare_folder(&folder)?;
    let mut made = Vec::new();
    for index in 0..builder.organizations {
        made.push(organization(&builder, &folder, index).await?);
    }
    describe::write_profiles(&folder, &made)?;

    let workers = Workers::new();
    // Until all is well, whatever runs already ends with this function.
    let guard = workers.token().drop_guard();
    let chains = Arc::new(Chains::new(Store::default(), workers.clone()));
    let (members, mut rest) = split(made);
    let batch = BatchLimits {
        max_messages: builder.max_message_count,
        absolute_max_bytes: 99 << 20,
        preferred_max_bytes: 512 << 10,
        timeout: builder.batch_timeout,
    };
    let mut genesis_blocks = Vec::new();
    for channel in builder.all_channels() {
        let block = genesis::block(channel, &members, &batch, nonce());
        files::write(&folder.join("channel-artifacts").join(format!("{channel}.block")), block.encode_to_vec())?;
        genesis_blocks.push(block);
    }

    let contracts = Arc::new(Contracts::default());
    for (name, contract) in builder.contracts {
        contracts.insert(name, contract);
    }
    let commons = Commons {
        chains: Arc::clone(&chains),
        contracts: Arc::clone(&contracts),
        hosts: Arc::default(),
        private: Arc::default(),
        neighbours: Arc::default(),
    };
    let mut nodes = Vec::new();
    for (organization, member) in rest.iter_mut().zip(&members) {
        for made in organization.orderers.drain(..) {
            let orderer = orderer(&made, &member.msp_id, &commons)?;
            commons.neighbours.add_orderer(Arc::clone(&orderer), made.address.address.clone());
            for block in &genesis_blocks {
                orderer.join(block.clone()).map_err(|refused: Refused| DevnetError::Order {
                    orderer: made.address.name.clone(),
                    reason: refused.to_string(),
                })?;
            }
            let admin = Admin {
                port: made.admin_port.unwrap_or_default(),
                tls: tls(&made, Some(&organization.tls_ca_pem), "http/1.1")?,
            };
            nodes.push(node(made, Role::Orderer(orderer, admin), &commons, &workers)?);
        }
        for made in organization.peers.drain(..) {
            let peer = peer(&made, member, &commons, &workers)?;
            for block in &genesis_blocks {
                peer.join(block.clone()).map_err(|error| DevnetError::Join {
                    peer: made.address.name.clone(),
                    reason: error.to_string(),
                })?;
            }
            commons.neighbours.add(Arc::clone(&peer), made.address.address.clone());
            nodes.push(node(made, Role::Peer(peer, Arc::clone(&commons.neighbours)), &commons, &workers)?);
        }
    }
    let organizations: Vec<_> = rest.into_iter().map(|made| made.organization).collect();
    describe::write_marker(&folder, &builder.ops_channel, &builder.channels, &organizations)?;
    guard.disarm();
    Ok(Devnet {
        folder,
        ops_channel: builder.ops_channel,
        channels: builder.channels,
        organizations,
        nodes,
        chains,
        contracts,
        hosts: commons.hosts,
        workers,
    })
}

/// What all nodes share.
struct Commons {
    chains: Arc<Chains>,
    contracts: Arc<Contracts>,
    hosts: Arc<Hosts>,
    private: Arc<PrivateStore>,
    neighbours: Arc<Neighbours>,
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
    let tls = tls(&made, None, "h2")?;
    let chains = Arc::clone(&commons.chains);
    let node = Node { address: made.address, port: made.port, tls, role, chains, running: Mutex::default() };
    node.start(made.listeners, workers);
    Ok(node)
}

fn tls(made: &Made, client_roots: Option<&str>, protocol: &str) -> Result<TlsAcceptor, DevnetError> {
    listener::tls_acceptor(&made.crypto.tls_certificate_pem, made.crypto.tls_key.pem(), client_roots, protocol)
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

fn nonce() -> Nonce {
    let mut bytes = [0; 24];
    // Only the kernel could fail here; a nonce of zeros would do for a first block, which nobody else makes.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    Nonce(bytes)
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

async fn organization(builder: &Builder, folder: &Path, index: u16) -> Result<MadeOrganization, DevnetError> {
    let number = index + 1;
    let name = format!("Org{number}");
    let domain = format!("org{number}.example.com");
    let msp_id = MspId::parse(format!("{name}MSP")).expect("the name follows the rule");
    let crypto = OrganizationCrypto::generate(&folder.join("crypto"), &domain)?;
    let admin = crypto.add_user("Admin", "admin")?;
    let user = crypto.add_user("User1", "client")?;

    let mut peers = Vec::new();
    for peer in 0..builder.peers {
        let host = format!("peer{peer}");
        peers.push(make_node(&crypto, NodeKind::Peer, &host, number, builder.peer_port(index, peer), None).await?);
    }
    let (port, admin_port) = (builder.orderer_port(index), builder.orderer_admin_port(index));
    let orderers = vec![make_node(&crypto, NodeKind::Orderer, "orderer0", number, port, Some(admin_port)).await?];

    let msp = MspFolder::load(&msp_id, &crypto.msp_folder())
        .map_err(|source| DevnetError::Msp { organization: name.clone(), source })?;
    let member = Member {
        msp_id: msp_id.clone(),
        msp,
        anchor: ("127.0.0.1".to_owned(), peers[0].port),
        orderers: orderers
            .iter()
            .map(|made| genesis::Orderer {
                host: "127.0.0.1".to_owned(),
                port: made.port,
                tls_certificate_pem: made.crypto.tls_certificate_pem.clone(),
            })
            .collect(),
    };
    let lower = name.to_lowercase();
    let profile = |extension: &str| folder.join("profiles").join(format!("connection-{lower}.{extension}"));
    let organization = Organization {
        msp: crypto.msp_folder(),
        admin_certificate: admin.join("msp/signcerts").join(format!("Admin@{domain}-cert.pem")),
        admin_key: admin.join("msp/keystore/priv_sk"),
        admin_msp: admin.join("msp"),
        admin_tls_certificate: admin.join("tls/client.crt"),
        admin_tls_key: admin.join("tls/client.key"),
        user_msp: user.join("msp"),
        tls_ca: crypto.tls_ca_file(),
        connection_profile: profile("yaml"),
        connection_profile_json: profile("json"),
        environment: folder.join("env").join(format!("{lower}.sh")),
        peers: peers.iter().map(|made| made.address.clone()).collect(),
        orderers: orderers.iter().map(|made| made.address.clone()).collect(),
        name,
        msp_id,
        domain,
    };
    Ok(MadeOrganization { organization, member, peers, orderers, tls_ca_pem: crypto.tls_ca_pem().to_owned() })
}

async fn make_node(
    crypto: &OrganizationCrypto,
    kind: NodeKind,
    host: &str,
    number: u16,
    port: u16,
    admin_port: Option<u16>,
) -> Result<Made, DevnetError> {
    let name = format!("{host}.org{number}");
    let failed = |source| DevnetError::Listen { node: name.clone(), source };
    let services = listener::bind(port).await.map_err(failed)?;
    let port = listener::port_of(&services).map_err(failed)?;
    let admin = match admin_port {
        Some(port) => Some(listener::bind(port).await.map_err(failed)?),
        None => None,
    };
    let admin_port = admin.as_ref().map(listener::port_of).transpose().map_err(failed)?;
    let crypto_of_node = crypto.add_node(kind, host)?;
    let address = NodeAddress {
        fqdn: format!("{host}.{}", crypto.domain),
        address: format!("127.0.0.1:{port}"),
        admin: admin_port.map(|port| format!("127.0.0.1:{port}")),
        name,
    };
    Ok(Made { address, port, admin_port, listeners: Listeners { services, admin }, crypto: crypto_of_node })
}
