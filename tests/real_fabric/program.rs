//! The program under test: agents, contract servers and commands, each a process as an operator would start it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::network::ports::Port;
use crate::network::process::{self, Process};
use crate::network::{Network, Organization, until};

/// How long the program may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

const PROGRAM: &str = env!("CARGO_BIN_EXE_opssc-agent");

/// An agent of one organization.
pub struct Agent {
    process: Process,
    health: Port,
}

impl Agent {
    /// Starts the agent and waits until it says that it is healthy. `server` is the address of the chaincode servers that
    /// it writes into packages, `{sequence}` and all.
    pub fn start(network: &Network, organization: &Organization, server: &str) -> Self {
        Self::start_with(network, organization, server, &[])
    }

    /// The same of an organization that is new: the agent serves the OpsSC contracts to its peers itself, once it has
    /// brought them there.
    pub fn start_of_newcomer(network: &Network, organization: &Organization, server: &str) -> Self {
        let mut ports = [Port::reserve(), Port::reserve()];
        ports.iter_mut().for_each(Port::release);
        let [channels, chaincode] = ports.map(|port| port.to_string());
        let settings = [
            ("OPSSC_DEPLOYMENT", "service"),
            ("CH_OPS_SERVER_ADDRESS", &channels),
            ("CH_OPS_SERVER_LISTEN", &channels),
            ("CC_OPS_SERVER_ADDRESS", &chaincode),
            ("CC_OPS_SERVER_LISTEN", &chaincode),
        ];
        Self::start_with(network, organization, server, &settings)
    }

    /// The same of an organization whose agent has sources of the OpsSC contracts, in `bootstrap` below `src` of `gopath`.
    pub fn start_with_sources(network: &Network, organization: &Organization, server: &str, gopath: &Path) -> Self {
        let gopath = gopath.to_str().expect("a path in UTF-8");
        Self::start_with(network, organization, server, &[("OPSSC_DEPLOYMENT", "sources"), ("GOPATH", gopath)])
    }

    fn start_with(network: &Network, organization: &Organization, server: &str, more: &[(&str, &str)]) -> Self {
        let mut health = Port::reserve();
        let mut process =
            Process::new(&format!("agent.{}", organization.domain), PROGRAM, &network.directory().join("logs"));
        process
            .arguments(["run"])
            .environment("AGENT_SERVICE_ADDRESS", health.address().ip().to_string())
            .environment("AGENT_SERVICE_PORT", health.number().to_string())
            .environment("CC_SERVER_LAUNCH_FROM_AGENT", "false")
            .environment("CC_SERVER_ADDRESS", server)
            .environment("CHECKPOINT_DIR", checkpoints(network, organization));
        for (name, value) in more {
            process.environment(name, value);
        }
        for (name, value) in identity(organization).into_iter().chain(orderer(organization)) {
            process.environment(name, value);
        }
        health.release();
        let mut agent = Self { process, health };
        agent.restart();
        agent
    }

    /// Starts it, again if it was killed, and waits until it is healthy.
    pub fn restart(&mut self) {
        self.process.start();
        let name = self.process.name().to_owned();
        until(PATIENCE, &format!("{name} is healthy"), || {
            self.process.assert_running();
            crate::network::http_get(self.health.address(), "/healthz").map(drop)
        });
    }

    /// Waits until it says that it is healthy (again).
    pub fn until_healthy(&self) {
        until(PATIENCE, &format!("{} is healthy", self.process.name()), || {
            crate::network::http_get(self.health.address(), "/healthz").map(drop)
        });
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Everything that it has logged so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Whether it says that it is healthy.
    pub fn is_healthy(&self) -> bool {
        crate::network::http_get(self.health.address(), "/healthz").is_ok()
    }

    /// How much memory it has in use, in KiB.
    pub fn resident_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }
}

/// Serves a built-in contract to the peers that have this package, until dropped.
pub fn serve(network: &Network, contract: &str, package_id: &str, address: SocketAddr) -> Process {
    let name = format!("{contract}.{}", address.to_string().replace(':', "."));
    let mut process = Process::new(&name, PROGRAM, &network.directory().join("logs"));
    process
        .arguments(["contract", "serve", contract])
        .environment("CHAINCODE_ID", package_id)
        .environment("CHAINCODE_SERVER_ADDRESS", address.to_string())
        .start();
    until(PATIENCE, &format!("{name} listens"), || {
        process.assert_running();
        std::net::TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
    });
    process
}

/// Runs `opssc-agent proposal chaincode …` as an organization's administrator; yields what it printed.
pub fn proposal(organization: &Organization, arguments: &[&str]) -> Result<String, String> {
    command(organization, &[&["proposal", "chaincode"], arguments].concat())
}

/// Runs `opssc-agent …` as an organization's administrator; yields what it printed.
pub fn command(organization: &Organization, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().envs(identity(organization)).envs(orderer(organization));
    process::run(&mut command)
}

/// The settings that every command of an organization needs.
fn identity(organization: &Organization) -> [(&'static str, PathBuf); 5] {
    [
        ("ADMIN_MSPID", PathBuf::from(&organization.msp_id)),
        ("ADMIN_CERT", organization.admin_certificate()),
        ("ADMIN_KEY", organization.admin_key()),
        ("MSP_CONFIG_PATH", organization.admin_msp()),
        ("CONNECTION_PROFILE", organization.connection_profile.clone()),
    ]
}

/// How its own orderers are administered.
fn orderer(organization: &Organization) -> [(&'static str, PathBuf); 4] {
    let endpoints: Vec<_> = organization.orderers.iter().map(|orderer| orderer.admin.to_string()).collect();
    [
        ("ORDERER_ADMIN_ENDPOINTS", PathBuf::from(endpoints.join(","))),
        ("ORDERER_ADMIN_TLS_CA", organization.tls_ca()),
        ("ORDERER_ADMIN_TLS_CERT", organization.admin_tls_certificate()),
        ("ORDERER_ADMIN_TLS_KEY", organization.admin_tls_key()),
    ]
}

fn checkpoints(network: &Network, organization: &Organization) -> PathBuf {
    Path::new(network.directory()).join("checkpoints").join(&organization.domain)
}
