//! Who is in the network, under which names, ports and paths.

use std::path::{Path, PathBuf};

use super::ports::Port;
use super::{Options, poll};

/// The network before anything of it exists.
pub struct Layout {
    pub directory: PathBuf,
    pub options: Options,
    pub organizations: Vec<Organization>,
}

/// An organization with its peers and its orderers, all in one MSP.
#[derive(Debug)]
pub struct Organization {
    /// Its name in connection profiles, `Org1`.
    pub name: String,
    pub msp_id: String,
    pub domain: String,
    pub peers: Vec<Peer>,
    pub orderers: Vec<Orderer>,
    /// Where its certificates and keys are.
    crypto: PathBuf,
    /// The connection profile that its clients use.
    pub connection_profile: PathBuf,
}

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// Its host name in certificates, which is also its name in connection profiles and of its process.
    pub name: String,
    pub endpoint: Port,
    /// Where chaincode that the peer launches would call back; the peer listens there in any case.
    pub chaincode: Port,
    pub operations: Port,
    /// Holds its `core.yaml` and its ledgers.
    pub directory: PathBuf,
    crypto: PathBuf,
}

/// An orderer.
#[derive(Debug)]
pub struct Orderer {
    pub name: String,
    pub endpoint: Port,
    /// Where channels are joined.
    pub admin: Port,
    pub operations: Port,
    /// Holds its `orderer.yaml` and its ledgers.
    pub directory: PathBuf,
    crypto: PathBuf,
}

impl Layout {
    pub fn new(directory: &Path, options: Options) -> Self {
        let all = options.organizations + options.guests;
        let organizations = (1..=all).map(|number| Organization::new(directory, number, &options)).collect();
        Self { directory: directory.to_owned(), options, organizations }
    }

    /// The organizations that are in the channels.
    pub fn members(&self) -> &[Organization] {
        &self.organizations[..self.options.organizations]
    }

    /// The organizations whose authorities an organization's nodes know before any channel tells them: the members', and
    /// its own.
    pub fn known_to(&self, organization: &Organization) -> impl Iterator<Item = &Organization> {
        let members = self.options.organizations;
        let own = organization.msp_id.clone();
        let all = self.organizations.iter().enumerate();
        all.filter(move |(number, other)| *number < members || other.msp_id == own).map(|(_, other)| other)
    }

    pub fn member_peers(&self) -> impl Iterator<Item = (&Organization, &Peer)> {
        let joined = self.options.peers_per_organization - self.options.late_peers;
        let members = self.members().iter();
        members.flat_map(move |member| member.peers[..joined].iter().map(move |peer| (member, peer)))
    }

    pub fn member_orderers(&self) -> impl Iterator<Item = (&Organization, &Orderer)> {
        let members = self.members().iter();
        members.flat_map(|organization| organization.orderers.iter().map(move |orderer| (organization, orderer)))
    }

    pub fn peers(&self) -> impl Iterator<Item = (&Organization, &Peer)> {
        self.organizations
            .iter()
            .flat_map(|organization| organization.peers.iter().map(move |peer| (organization, peer)))
    }

    pub fn orderers(&self) -> impl Iterator<Item = (&Organization, &Orderer)> {
        self.organizations
            .iter()
            .flat_map(|organization| organization.orderers.iter().map(move |orderer| (organization, orderer)))
    }

    /// What cryptogen fills.
    pub fn crypto(&self) -> PathBuf {
        self.directory.join("crypto")
    }

    pub fn genesis_block(&self, channel: &str) -> PathBuf {
        self.directory.join("channels").join(format!("{channel}.block"))
    }
}

impl Organization {
    fn new(directory: &Path, number: usize, options: &Options) -> Self {
        let name = format!("Org{number}");
        let domain = format!("org{number}.example.com");
        let crypto = directory.join("crypto/peerOrganizations").join(&domain);
        let nodes = directory.join("nodes");
        let peers = (0..options.peers_per_organization).map(|peer| {
            let name = format!("peer{peer}.{domain}");
            Peer {
                endpoint: Port::reserve(),
                chaincode: Port::reserve(),
                operations: Port::reserve(),
                directory: nodes.join(&name),
                crypto: crypto.join("peers").join(&name),
                name,
            }
        });
        let orderers = (0..options.orderers_per_organization).map(|orderer| {
            let name = format!("orderer{orderer}.{domain}");
            Orderer {
                endpoint: Port::reserve(),
                admin: Port::reserve(),
                operations: Port::reserve(),
                directory: nodes.join(&name),
                crypto: crypto.join("orderers").join(&name),
                name,
            }
        });
        Self {
            msp_id: format!("{name}MSP"),
            peers: peers.collect(),
            orderers: orderers.collect(),
            crypto,
            connection_profile: directory.join("profiles").join(format!("{name}.yaml")),
            name,
            domain,
        }
    }

    /// The orderer that its clients turn to first.
    pub fn orderer(&self) -> &Orderer {
        &self.orderers[0]
    }

    /// The MSP as others know it: certificates of authorities, no keys.
    pub fn msp(&self) -> PathBuf {
        self.crypto.join("msp")
    }

    /// The authority behind the TLS certificates of its nodes and users.
    pub fn tls_ca(&self) -> PathBuf {
        self.crypto.join("tlsca").join(format!("tlsca.{}-cert.pem", self.domain))
    }

    /// The administrator's MSP folder.
    pub fn admin_msp(&self) -> PathBuf {
        self.admin().join("msp")
    }

    /// The folder that holds the administrator's certificate alone.
    pub fn admin_certificate(&self) -> PathBuf {
        self.admin_msp().join("signcerts")
    }

    /// The folder that holds the administrator's key alone.
    pub fn admin_key(&self) -> PathBuf {
        self.admin_msp().join("keystore")
    }

    pub fn admin_tls_certificate(&self) -> PathBuf {
        self.admin().join("tls/client.crt")
    }

    pub fn admin_tls_key(&self) -> PathBuf {
        self.admin().join("tls/client.key")
    }

    fn admin(&self) -> PathBuf {
        self.crypto.join("users").join(format!("Admin@{}", self.domain))
    }
}

impl Peer {
    /// How many blocks of a channel it has committed.
    pub fn height(&self, channel: &str) -> u64 {
        let metrics = poll::http_get(self.operations.address(), "/metrics").unwrap_or_default();
        poll::gauge(&metrics, "ledger_blockchain_height", channel).unwrap_or_default()
    }
}

impl Orderer {
    /// Its ledgers.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The block of the system channel that it begins with, where there is one.
    pub fn first_block(&self) -> PathBuf {
        self.directory.join("first.block")
    }
}

/// What peers and orderers have alike.
pub trait Node {
    fn crypto(&self) -> &Path;

    fn msp(&self) -> PathBuf {
        self.crypto().join("msp")
    }

    /// What it signs with.
    fn certificate(&self) -> PathBuf {
        let name = self.crypto().file_name().expect("a folder of its own").to_string_lossy().into_owned();
        self.msp().join("signcerts").join(format!("{name}-cert.pem"))
    }

    fn tls_certificate(&self) -> PathBuf {
        self.crypto().join("tls/server.crt")
    }

    fn tls_key(&self) -> PathBuf {
        self.crypto().join("tls/server.key")
    }

    fn tls_ca(&self) -> PathBuf {
        self.crypto().join("tls/ca.crt")
    }
}

impl Node for Peer {
    fn crypto(&self) -> &Path {
        &self.crypto
    }
}

impl Node for Orderer {
    fn crypto(&self) -> &Path {
        &self.crypto
    }
}
