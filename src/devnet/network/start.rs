//! From a plan to a running network: ports, certificates, files, channels, nodes, in this order.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ring::rand::SecureRandom as _;
use tokio::net::TcpListener;

use super::neighbours::Neighbours;
use super::node::{Node, Role};
use super::{Builder, Devnet, NodeAddress, Organization};
use crate::devnet::access::Access;
use crate::devnet::crypto::{NodeCrypto, NodeKind, OrganizationCrypto};
use crate::devnet::error::DevnetError;
use crate::devnet::files;
use crate::devnet::genesis::{self, Member};
use crate::devnet::ledger::PrivateStore;
use crate::devnet::listener;
use crate::devnet::orderer::{Chain, Chains};
use crate::devnet::peer::{Contracts, Hosts, Peer};
use crate::devnet::profile::{self, CommandLine, Profile, ProfileNode};
use crate::fabric::config::BatchLimits;
use crate::fabric::identity::{Msp, MspFolder, MspVersion, Signer, SigningIdentity};
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::Nonce;
use crate::runtime::Workers;
use prost::Message as _;

/// By this file a folder is known to be ours.
const MARKER: &str = "network.json";
/// What is made anew at every start.
const OWN_FOLDERS: [&str; 5] = ["channel-artifacts", "cli", "crypto", "env", "profiles"];

/// A node with its port and its identities.
struct Made {
    address: NodeAddress,
    port: u16,
    listener: TcpListener,
    crypto: NodeCrypto,
}

/// An organization with everything that was made for it.
struct MadeOrganization {
    organization: Organization,
    member: Member,
    peers: Vec<Made>,
    orderers: Vec<Made>,
    tls_ca_pem: String,
}

pub(super) async fn start(builder: Builder) -> Result<Devnet, DevnetError> {
    let folder = std::path::absolute(&builder.folder).unwrap_or_else(|_| builder.folder.clone());
    prepare_folder(&folder)?;
    let mut made = Vec::new();
    for index in 0..builder.organizations {
        made.push(organization(&builder, &folder, index).await?);
    }
    write_profiles(&folder, &made)?;

    let workers = Workers::new();
    // Until all is well, whatever runs already ends with this function.
    let guard = workers.token().drop_guard();
    let chains = Arc::new(Chains::default());
    let (members, mut rest) = split(made);
    let block_signer: Arc<dyn Signer> = signer(&rest[0].organization.msp_id, &rest[0].orderers[0])?;
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
        let access =
            Access::from_block(&block).map_err(|source| DevnetError::Channel { channel: channel.clone(), source })?;
        let chain = Chain::start(channel.as_str(), block.clone(), access, Arc::clone(&block_signer), &workers);
        chains.insert(channel.as_str(), chain);
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
        for orderer in organization.orderers.drain(..) {
            nodes.push(node(orderer, Role::Orderer, &commons, &workers)?);
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
    write_marker(&folder, &builder.ops_channel, &builder.channels, &organizations)?;
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
        .map(|made| (made.member, Rest { organization: made.organization, orderers: made.orderers, peers: made.peers }))
        .unzip()
}

struct Rest {
    organization: Organization,
    orderers: Vec<Made>,
    peers: Vec<Made>,
}

/// Starts one node on the listener that waits for it.
fn node(made: Made, role: Role, commons: &Commons, workers: &Workers) -> Result<Node, DevnetError> {
    let tls = listener::tls_acceptor(&made.crypto.tls_certificate_pem, made.crypto.tls_key.pem())
        .map_err(|source| DevnetError::Listen { node: made.address.name.clone(), source })?;
    let chains = Arc::clone(&commons.chains);
    let node = Node { address: made.address, port: made.port, tls, role, chains, running: Mutex::default() };
    node.start(made.listener, workers);
    Ok(node)
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
        peers.push(make_node(&crypto, NodeKind::Peer, &host, number, builder.peer_port(index, peer)).await?);
    }
    let port = builder.orderer_port(index);
    let orderers = vec![make_node(&crypto, NodeKind::Orderer, "orderer0", number, port).await?];

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
) -> Result<Made, DevnetError> {
    let name = format!("{host}.org{number}");
    let failed = |source| DevnetError::Listen { node: name.clone(), source };
    let listener = listener::bind(port).await.map_err(failed)?;
    let port = listener::port_of(&listener).map_err(failed)?;
    let crypto_of_node = crypto.add_node(kind, host)?;
    let address = NodeAddress { fqdn: format!("{host}.{}", crypto.domain), address: format!("127.0.0.1:{port}"), name };
    Ok(Made { address, port, listener, crypto: crypto_of_node })
}

fn profile_node<'a>(node: &'a NodeAddress, tls_ca_pem: &'a str) -> ProfileNode<'a> {
    ProfileNode { fqdn: &node.fqdn, address: &node.address, tls_ca_pem }
}

fn write_profiles(folder: &Path, made: &[MadeOrganization]) -> Result<(), DevnetError> {
    let cli = folder.join("cli");
    profile::write_core(&cli)?;
    for (index, own) in made.iter().enumerate() {
        let others = made.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
        let orderers = std::iter::once(own)
            .chain(others)
            .flat_map(|made| made.organization.orderers.iter().map(|node| profile_node(node, &made.tls_ca_pem)));
        let profile = Profile {
            organization: &own.organization.name,
            msp_id: own.organization.msp_id.as_str(),
            peers: own.organization.peers.iter().map(|node| profile_node(node, &own.tls_ca_pem)).collect(),
            orderers: orderers.collect(),
        };
        profile.write(&own.organization.connection_profile, &own.organization.connection_profile_json)?;
        let orderer = &own.organization.orderers[0];
        CommandLine {
            msp_id: own.organization.msp_id.as_str(),
            admin_msp: &own.organization.admin_msp,
            peer: &own.organization.peers[0].address,
            peer_tls_ca: &own.organization.tls_ca,
            orderer: &orderer.address,
            orderer_fqdn: &orderer.fqdn,
            orderer_tls_ca: &own.organization.tls_ca,
        }
        .write(&own.organization.environment, &cli)?;
    }
    Ok(())
}

/// Describes the network for scripts, and marks the folder as ours.
fn write_marker(
    folder: &Path,
    ops_channel: &ChannelName,
    channels: &[ChannelName],
    organizations: &[Organization],
) -> Result<(), DevnetError> {
    let node =
        |node: &NodeAddress| serde_json::json!({ "name": node.name, "fqdn": node.fqdn, "address": node.address });
    let text = |path: &PathBuf| path.display().to_string();
    let organizations: Vec<_> = organizations
        .iter()
        .map(|organization| {
            serde_json::json!({
                "name": organization.name,
                "mspid": organization.msp_id.as_str(),
                "domain": organization.domain,
                "admin_msp": text(&organization.admin_msp),
                "admin_cert": text(&organization.admin_certificate),
                "admin_key": text(&organization.admin_key),
                "user_msp": text(&organization.user_msp),
                "tls_ca": text(&organization.tls_ca),
                "connection_profile": text(&organization.connection_profile),
                "connection_profile_json": text(&organization.connection_profile_json),
                "environment": text(&organization.environment),
                "peers": organization.peers.iter().map(node).collect::<Vec<_>>(),
                "orderers": organization.orderers.iter().map(node).collect::<Vec<_>>(),
            })
        })
        .collect();
    let network = serde_json::json!({
        "ops_channel": ops_channel.as_str(),
        "channels": channels.iter().map(ChannelName::as_str).collect::<Vec<_>>(),
        "orgs": organizations,
    });
    files::write(&folder.join(MARKER), format!("{network:#}\n"))?;
    Ok(())
}
