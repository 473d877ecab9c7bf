//! A real Fabric network on loopback: two organizations (or more), each with peers and orderers, TLS everywhere.
//!
//! It knows only Fabric's own programs, so what the crate does is judged by something that does not share its code. All
//! files lie in a temporary folder; every process is killed when the [`Network`] is dropped, also by a panic, and then
//! the ends of their logs are printed. Readiness is asked of the services, never assumed after a while.

mod binaries;
mod channels;
mod commands;
mod crypto;
mod layout;
mod nodes;
mod poll;
pub mod ports;
pub mod process;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use binaries::Binaries;
pub use channels::SYSTEM_CHANNEL;
pub use layout::Organization;
use layout::{Layout, Node as _, Orderer};
pub use poll::{http_get, until};
use process::Process;
use tempfile::TempDir;

/// One network at a time: a second one on the same machine would only make both slow.
static RUNNING: Mutex<()> = Mutex::new(());

/// How long a node may take for anything it is asked to do while the network comes up.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the nodes log: without each gRPC call, and as plain text.
const LOGGED: &str = "info:grpc=error:comm.grpc.server=error";
const LOG_FORMAT: &str = "%{time:15:04:05.000} %{level:.4s} [%{module}] %{message}";

/// How the orderers agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consensus {
    /// More than half of them must be up.
    Raft,
    /// From Fabric 3.0 on. Of four orderers, one may be down or lie.
    Bft,
}

/// What a network looks like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many organizations the channels have.
    pub organizations: usize,
    /// How many there are besides, whose nodes run but are in no channel.
    pub guests: usize,
    /// How many peers each of them has.
    pub peers_per_organization: usize,
    /// How many of them are in no channel.
    pub late_peers: usize,
    /// How many orderers each of them has.
    pub orderers_per_organization: usize,
    /// How they agree.
    pub consensus: Consensus,
    /// The channels, joined by every organization but the guests.
    pub channels: Vec<String>,
    /// Whether the orderers have a system channel, through which the channels are made. Before 3.0.
    pub system_channel: bool,
    /// Whether the nodes ask their clients for TLS certificates.
    pub mutual_tls: bool,
    /// How long an orderer waits before it cuts a block that is not full.
    pub batch_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            organizations: 2,
            guests: 0,
            peers_per_organization: 1,
            late_peers: 0,
            orderers_per_organization: 1,
            consensus: Consensus::Raft,
            channels: vec!["ops-channel".to_owned(), "mychannel".to_owned()],
            system_channel: false,
            mutual_tls: false,
            batch_timeout: Duration::from_millis(200),
        }
    }
}

/// A running network.
pub struct Network {
    // Fields are dropped in this order: the processes go before their files.
    processes: Vec<Process>,
    layout: Layout,
    binaries: Binaries,
    directory: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Network {
    /// Starts the nodes, creates the channels, joins every node and waits until peers of all organizations see each
    /// other on every channel.
    pub fn start(binaries: &Binaries, options: Options) -> Self {
        let alone = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        let directory = tempfile::Builder::new().prefix("real-fabric-").tempdir().expect("a temporary folder");
        let layout = Layout::new(directory.path(), options);
        crypto::generate(binaries, &layout);
        channels::generate(binaries, &layout);
        nodes::write(binaries, &layout);

        let mut network = Self { processes: Vec::new(), layout, binaries: binaries.clone(), directory, _alone: alone };
        network.start_nodes();
        if network.layout.options.system_channel {
            network.create_channels_by_system_channel();
        } else {
            network.create_channels();
        }
        network.join_peers();
        network.wait_for_membership();
        eprintln!("Fabric {} is up after {:.1} s", binaries.version(), begin.elapsed().as_secs_f32());
        network
    }

    /// The organizations, in order; guests come last.
    pub fn organizations(&self) -> &[Organization] {
        &self.layout.organizations
    }

    /// The organizations that are in the channels from the start.
    pub fn members(&self) -> &[Organization] {
        self.layout.members()
    }

    /// An organization as profiles of channels describe it, with the MSP's folder as seen from
    /// [`directory`](Self::directory).
    pub fn described(&self, organization: &Organization) -> serde_json::Value {
        let mut described = channels::organization(organization);
        described["MSPDir"] = serde_json::json!(self.inside(&organization.msp()));
        described
    }

    /// The first orderer of an organization as profiles of consenters describe it.
    pub fn consenter(&self, organization: &Organization) -> serde_json::Value {
        let orderer = organization.orderer();
        let mut described = channels::consenter(orderer);
        for certificate in ["ClientTLSCert", "ServerTLSCert"] {
            described[certificate] = serde_json::json!(self.inside(&orderer.tls_certificate()));
        }
        if self.layout.options.consensus == Consensus::Bft {
            described["MSPID"] = serde_json::json!(organization.msp_id);
            described["Identity"] = serde_json::json!(self.inside(&orderer.certificate()));
        }
        described
    }

    /// Has a peer make a snapshot of a channel as it is, and waits until it lies in the folder whose path this gives.
    pub fn snapshot(&self, organization: &Organization, channel: &str) -> std::path::PathBuf {
        let peer = &organization.peers[0];
        let height = peer.height(channel);
        let mut request = self.peer_command(organization, peer);
        request.args(["snapshot", "submitrequest", "-c", channel, "-b", "0"]);
        request.arg("--peerAddress").arg(peer.endpoint.to_string()).arg("--tlsRootCertFile").arg(peer.tls_ca());
        process::run(&mut request).unwrap_or_else(|error| panic!("a snapshot of {channel}: {error}"));
        let completed = peer.directory.join("data/snapshots/completed").join(channel);
        let folder = completed.join((height - 1).to_string());
        until(PATIENCE, &format!("{} has made a snapshot", peer.name), || {
            if folder.is_dir() { Ok(()) } else { Err(format!("{} is missing", folder.display())) }
        });
        folder
    }

    /// A path as seen from [`directory`](Self::directory).
    fn inside(&self, path: &Path) -> std::path::PathBuf {
        path.strip_prefix(self.directory()).expect("all files lie there").to_owned()
    }

    /// The channels, in order.
    pub fn channels(&self) -> &[String] {
        &self.layout.options.channels
    }

    /// The genesis block of one more channel, which nobody has joined.
    pub fn make_genesis_block(&self, channel: &str) -> Vec<u8> {
        channels::genesis_block(&self.binaries, &self.layout, channel);
        std::fs::read(self.layout.genesis_block(channel)).expect("the block that was made")
    }

    /// The folder that holds everything; gone when the network is dropped.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops a node at once, as a crash would.
    pub fn kill(&mut self, name: &str) {
        self.process(name).kill();
    }

    /// Starts a node that was killed and waits until it is healthy.
    pub fn restart(&mut self, name: &str) {
        let health = self.health(name);
        let process = self.process(name);
        process.start();
        wait_until_healthy(process, health);
    }

    /// Has an orderer that was killed forget everything and begin with this block of the system channel: it gets the
    /// channels' blocks up to there from the others before it serves.
    pub fn onboard(&mut self, name: &str, first_block: &Path) {
        let (_, orderer) = self.layout.orderers().find(|(_, orderer)| orderer.name == name).expect("an orderer");
        std::fs::remove_dir_all(orderer.data()).expect("its ledgers are gone");
        std::fs::copy(first_block, orderer.first_block()).expect("its first block");
        self.restart(name);
    }

    fn process(&mut self, name: &str) -> &mut Process {
        self.processes.iter_mut().find(|process| process.name() == name).expect("a node of this network")
    }

    fn health(&self, name: &str) -> std::net::SocketAddr {
        let peers = self.layout.peers().map(|(_, peer)| (&peer.name, &peer.operations));
        let orderers = self.layout.orderers().map(|(_, orderer)| (&orderer.name, &orderer.operations));
        let mut nodes = peers.chain(orderers);
        nodes.find(|(known, _)| *known == name).expect("a node of this network").1.address()
    }

    fn start_nodes(&mut self) {
        let logs = self.layout.directory.join("logs");
        for organization in &mut self.layout.organizations {
            for orderer in &mut organization.orderers {
                for port in [&mut orderer.endpoint, &mut orderer.operations, &mut orderer.admin] {
                    port.release();
                }
                let mut process = Process::new(&orderer.name, self.binaries.tool("orderer"), &logs);
                process.environment("FABRIC_CFG_PATH", &orderer.directory);
                self.processes.push(process);
            }
            for peer in &mut organization.peers {
                for port in [&mut peer.endpoint, &mut peer.operations, &mut peer.chaincode] {
                    port.release();
                }
                let mut process = Process::new(&peer.name, self.binaries.tool("peer"), &logs);
                process.arguments(["node", "start"]).environment("FABRIC_CFG_PATH", &peer.directory);
                self.processes.push(process);
            }
        }
        for process in &mut self.processes {
            process.environment("FABRIC_LOGGING_SPEC", LOGGED).environment("FABRIC_LOGGING_FORMAT", LOG_FORMAT).start();
        }
        let healths: Vec<_> = self.processes.iter().map(|process| self.health(process.name())).collect();
        for (process, health) in self.processes.iter_mut().zip(healths) {
            wait_until_healthy(process, health);
        }
    }

    /// Has every orderer take every channel, and waits until each serves it, which it does once it knows a leader.
    fn create_channels(&self) {
        for channel in self.channels() {
            for (organization, orderer) in self.layout.member_orderers() {
                let block = self.layout.genesis_block(channel);
                until(PATIENCE, &format!("{} takes {channel}", orderer.name), || {
                    let mut osnadmin = self.binaries.command("osnadmin");
                    osnadmin.args(["channel", "join", "--channelID", channel, "--config-block"]).arg(&block);
                    osnadmin.arg("-o").arg(orderer.admin.to_string()).arg("--ca-file").arg(orderer.tls_ca());
                    osnadmin.arg("--client-cert").arg(organization.admin_tls_certificate());
                    osnadmin.arg("--client-key").arg(organization.admin_tls_key());
                    let shown = process::run(&mut osnadmin)?;
                    if shown.contains("Status: 201") { Ok(()) } else { Err(shown) }
                });
            }
        }
        self.wait_for_orderers();
    }

    fn wait_for_orderers(&self) {
        for channel in self.channels() {
            for (organization, orderer) in self.layout.member_orderers() {
                let serves = format!("{} serves {channel}", orderer.name);
                until(PATIENCE, &serves, || self.fetch_genesis_block(organization, orderer, channel));
            }
        }
    }

    /// Has the system channel make every channel, and each organization add its anchor peers.
    fn create_channels_by_system_channel(&self) {
        let organization = &self.layout.organizations[0];
        for channel in self.channels() {
            let creation = channels::creation(&self.binaries, &self.layout, channel);
            until(PATIENCE, &format!("{channel} is made"), || {
                let mut create = self.peer_command(organization, &organization.peers[0]);
                create.args(["channel", "create", "-c", channel, "-f"]).arg(&creation);
                create.arg("--outputBlock").arg(self.layout.genesis_block(channel));
                commands::order_through(&mut create, organization);
                process::run(&mut create).map(drop)
            });
        }
        self.wait_for_orderers();
        for channel in self.channels() {
            for member in self.layout.members() {
                let update = channels::anchor_peers(&self.binaries, &self.layout, channel, member);
                until(PATIENCE, &format!("{} has anchor peers in {channel}", member.name), || {
                    let mut add = self.peer_command(member, &member.peers[0]);
                    add.args(["channel", "update", "-c", channel, "-f"]).arg(&update);
                    commands::order_through(&mut add, member);
                    process::run(&mut add).map(drop)
                });
            }
        }
    }

    fn fetch_genesis_block(&self, organization: &Organization, orderer: &Orderer, channel: &str) -> Result<(), String> {
        let mut peer = self.peer_command(organization, &organization.peers[0]);
        peer.args(["channel", "fetch", "0"]).arg(self.layout.directory.join("fetched.block"));
        peer.args(["-c", channel, "--tls", "-o"]).arg(orderer.endpoint.to_string());
        peer.arg("--cafile").arg(orderer.tls_ca());
        if self.layout.options.mutual_tls {
            peer.arg("--clientauth").arg("--certfile").arg(organization.admin_tls_certificate());
            peer.arg("--keyfile").arg(organization.admin_tls_key());
        }
        process::run(&mut peer).map(drop)
    }

    fn join_peers(&self) {
        for channel in self.channels() {
            for (organization, peer) in self.layout.member_peers() {
                let mut join = self.peer_command(organization, peer);
                join.args(["channel", "join", "-b"]).arg(self.layout.genesis_block(channel));
                process::run(&mut join).unwrap_or_else(|error| panic!("{} joins {channel}: {error}", peer.name));
            }
        }
    }

    /// Peers know each other on a channel once gossip has spread: the anchor peers stand in the genesis block.
    fn wait_for_membership(&self) {
        let others = u64::try_from(self.layout.member_peers().count() - 1).expect("a small number");
        for channel in self.channels() {
            for (_, peer) in self.layout.member_peers() {
                until(PATIENCE, &format!("{} sees {others} peers on {channel}", peer.name), || {
                    let metrics = poll::http_get(peer.operations.address(), "/metrics")?;
                    match poll::gauge(&metrics, "gossip_membership_total_peers_known", channel) {
                        Some(known) if known >= others => Ok(()),
                        known => Err(format!("it knows {known:?}")),
                    }
                });
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in &self.processes {
                process.print_tail();
            }
        }
    }
}

fn wait_until_healthy(process: &mut Process, health: std::net::SocketAddr) {
    let name = process.name().to_owned();
    until(PATIENCE, &format!("{name} is healthy"), || {
        process.assert_running();
        poll::http_get(health, "/healthz").map(drop)
    });
}
