//! The organizations of a network as our library sees them, and OpsSC deployed among them.

use std::sync::Arc;
use std::time::Duration;

use opssc::client::lifecycle::Commitment;
use opssc::client::profile::ConnectionProfile;
use opssc::client::{Client, Endorsers};
use opssc::fabric::identity::SigningIdentity;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, ChannelName, Label, MspId, PackageId};
use opssc::fabric::package::Package;
use opssc::fabric::package::ccaas::{self, Connection};
use opssc::fabric::tx::Invocation;

use crate::network::ports::Port;
use crate::network::process::Process;
use crate::network::{Network, Organization};
use crate::program;

/// How long an approval may take to reach all peers.
const PATIENCE: Duration = Duration::from_secs(30);

/// The channel of the OpsSC contracts.
pub const OPS_CHANNEL: &str = "ops-channel";

/// The OpsSC contracts.
pub const CONTRACTS: [&str; 2] = ["channel-ops", "chaincode-ops"];

/// One client for each member, in the network's order.
pub struct Consortium {
    pub clients: Vec<Client>,
    servers: Vec<Process>,
}

impl Consortium {
    /// Connects every member as its administrator.
    pub fn connect(network: &Network) -> Self {
        Self { clients: network.members().iter().map(administrator).collect(), servers: Vec::new() }
    }

    /// Deploys both contracts on the ops channel, each organization with a server of its own, and registers the channels.
    pub async fn deploy_opssc(&mut self, network: &Network) {
        for contract in CONTRACTS {
            let mut packages = Vec::new();
            for _ in 0..self.clients.len() {
                packages.push(self.serve(network, contract));
            }
            self.deploy(OPS_CHANNEL, &definition_of(contract), &packages).await;
        }
        self.register(network).await;
    }

    /// Tells the contracts which channels there are.
    pub async fn register(&self, network: &Network) {
        let members: Vec<_> = network.members().iter().map(|member| member.msp_id.as_str()).collect();
        let members = serde_json::to_string(&members).expect("a list of names");
        for channel in network.channels() {
            let kind = if channel == OPS_CHANNEL { "ops" } else { "application" };
            let create =
                Invocation::new("channel-ops", "CreateChannel").arg(channel.clone()).arg(kind).arg(members.clone());
            let ops = self.clients[0].channel(channel_name(OPS_CHANNEL));
            ops.submit(&create, Endorsers::AllOrgs)
                .await
                .unwrap_or_else(|error| panic!("register {channel}: {error:?}"));
        }
    }

    /// Serves a contract to an organization, and gives the package that tells where.
    fn serve(&mut self, network: &Network, contract: &str) -> Package {
        let mut port = Port::reserve();
        let label = Label::parse(format!("{contract}_1")).expect("a label");
        let package = ccaas::package(&label, &Connection::plain(port.to_string())).expect("a package");
        port.release();
        self.servers.push(program::serve(network, contract, package.id().as_str(), port.address()));
        package
    }

    /// Installs and approves a package for each organization, and commits the definition.
    pub async fn deploy(&self, channel: &str, definition: &ChaincodeDefinition, packages: &[Package]) {
        let name = &definition.name;
        for (client, package) in self.clients.iter().zip(packages) {
            for peer in client.peers() {
                let installed = client.peer_lifecycle(peer).ensure_installed(package).await;
                installed.unwrap_or_else(|error| panic!("install {name}: {error:?}"));
            }
        }
        let packages: Vec<_> = packages.iter().map(Package::id).collect();
        self.agree(channel, definition, &packages).await;
    }

    /// Approves a package for each organization, whether or not it is on any peer, and commits the definition.
    pub async fn agree(&self, channel: &str, definition: &ChaincodeDefinition, packages: &[&PackageId]) {
        let name = &definition.name;
        for (client, package) in self.clients.iter().zip(packages) {
            let lifecycle = client.channel(channel_name(channel)).lifecycle();
            let approval = lifecycle.ensure_approved(definition, Some(package)).await;
            approval.unwrap_or_else(|error| panic!("approve {name} for {}: {error:?}", client.msp_id()));
        }
        let lifecycle = self.clients[0].channel(channel_name(channel)).lifecycle();
        if lifecycle.committed(name).await.is_ok_and(|committed| {
            committed.is_some_and(|committed| committed.definition.sequence == definition.sequence)
        }) {
            let commitment =
                lifecycle.ensure_committed(definition).await.expect("a definition that is committed already");
            assert_eq!(commitment, Commitment::Already);
            return;
        }
        // The other organizations' approvals reach this peer block by block.
        let begin = std::time::Instant::now();
        loop {
            let readiness = lifecycle.readiness(definition).await.expect("an answer about readiness");
            if readiness.len() == self.clients.len() && readiness.values().all(|approved| *approved) {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{name} is not ready: {readiness:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        lifecycle.ensure_committed(definition).await.unwrap_or_else(|error| panic!("commit {name}: {error:?}"));
    }
}

/// A client of an organization's administrator.
pub fn administrator(organization: &Organization) -> Client {
    let msp_id = MspId::parse(&organization.msp_id).expect("an MSP ID");
    let identity = SigningIdentity::load_msp(msp_id, &organization.admin_msp()).expect("the administrator");
    let profile = ConnectionProfile::load(&organization.connection_profile).expect("the connection profile");
    Client::builder(Arc::new(identity), profile).build().expect("a client")
}

fn definition_of(contract: &str) -> ChaincodeDefinition {
    ChaincodeDefinition::new(ChaincodeName::parse(contract).expect("a name"), "1", 1)
}

/// A channel name that is known to be good.
pub fn channel_name(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a channel name")
}
