//! The settings of the agent: names and defaults as the original has them, and a few of our own.
//!
//! A module of its own because nothing else of the daemon reads the environment, and this one does so only through a
//! lookup that is passed in: the program passes `std::env::var_os`, tests and the demonstration pass a table. All
//! problems are reported at once, each with the variable and the remedy. Files are named here, not opened.
//!
//! Source: the settings of fabric-opssc's agent.

mod collector;
mod deployment;
mod orderers;
mod replicas;
mod sources;
mod tasks;
mod variables;
mod watching;

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::fabric::names::{ChaincodeName, ChannelName, MspId};
use crate::fabric::policy::DefinitionEncoding;

pub use collector::{Collector, Sampler};
pub use deployment::{ContractServer, ContractTls, Deployment, Way};
pub use orderers::OrdererAdministration;
pub use replicas::{KubernetesLease, Replicas};
pub use sources::{Limits, Sources};
pub use tasks::Tasks;
use variables::Variables;
pub use variables::{Problem, Setting, SettingsError};
pub use watching::Watching;

/// A text that is not shown: `Debug` is redacted and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// And what is odd.
    Warn,
    /// And what is done: the default.
    Info,
    /// And how it is done (`verbose` and `debug` of the original).
    Debug,
    /// And everything else (`silly` of the original).
    Trace,
}

impl LogLevel {
    /// The level as `tracing` calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "error" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" | "http" => Ok(Self::Info),
            "verbose" | "debug" => Ok(Self::Debug),
            "silly" | "trace" => Ok(Self::Trace),
            _ => Err("it is not the name of a log level".to_owned()),
        }
    }
}

/// In what form logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people: the default.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("it is not a log format".to_owned()),
        }
    }
}

/// Where the servers of `ccaas` chaincodes are, and how the agent would bring them up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodeServers {
    /// `CC_SERVER_LAUNCH_FROM_AGENT`: whether the agent builds and starts the server.
    pub launch_from_agent: bool,
    /// `CC_SERVER_REGISTRY`: where images are pushed to.
    pub registry: Option<String>,
    /// `CC_SERVER_PULL_REGISTRY`: where images are pulled from; falls back to the registry.
    pub pull_registry: Option<String>,
    /// `CC_SERVER_IMAGE_PULL_SECRET_NAME`.
    pub image_pull_secret_name: Option<String>,
    /// `CC_SERVER_SERVICE_ACCOUNT_NAME`.
    pub service_account_name: Option<String>,
    /// `CC_SERVER_NAMESPACE`.
    pub namespace: String,
    /// `CC_SERVER_PREFIX`.
    pub prefix: String,
    /// `CC_SERVER_SUFFIX`.
    pub suffix: String,
    /// `CC_SERVER_PORT`.
    pub port: u16,
    /// `CC_SERVER_HELM_TIMEOUT`.
    pub start_timeout: Duration,
    /// `CC_SERVER_ADDRESS`: `host:port` with `{chaincode}` and `{sequence}`; overrides the four above it.
    pub address: Option<String>,
}

impl ChaincodeServers {
    fn read(read: &mut Variables<'_>) -> Self {
        let registry = read.text("CC_SERVER_REGISTRY");
        Self {
            launch_from_agent: read.switch("CC_SERVER_LAUNCH_FROM_AGENT", true),
            pull_registry: read.text("CC_SERVER_PULL_REGISTRY").or_else(|| registry.clone()),
            registry,
            image_pull_secret_name: read.text("CC_SERVER_IMAGE_PULL_SECRET_NAME"),
            service_account_name: read.text("CC_SERVER_SERVICE_ACCOUNT_NAME"),
            namespace: read.text_or("CC_SERVER_NAMESPACE", "hyperledger"),
            prefix: read.text_or("CC_SERVER_PREFIX", "chaincode"),
            suffix: read.text_or("CC_SERVER_SUFFIX", "org1"),
            port: read.port("CC_SERVER_PORT", 7052),
            start_timeout: read
                .parsed("CC_SERVER_HELM_TIMEOUT", "10m", "use a time such as 10m or 1h30m", variables::duration)
                .unwrap_or(Duration::from_mins(10)),
            address: read.parsed(
                "CC_SERVER_ADDRESS",
                "",
                "use host:port, with {chaincode} and {sequence} where they belong",
                variables::address_template,
            ),
        }
    }

    /// Where the server of `chaincode` in `sequence` is dialled by the peers.
    pub fn address_of(&self, chaincode: &ChaincodeName, sequence: i64) -> String {
        match &self.address {
            Some(template) => {
                template.replace("{chaincode}", chaincode.as_str()).replace("{sequence}", &sequence.to_string())
            }
            None => format!("{}-{chaincode}-{}.{}:{}", self.prefix, self.suffix, self.namespace, self.port),
        }
    }
}

/// All settings of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `ADMIN_MSPID`: the organization.
    pub msp_id: MspId,
    /// `ADMIN_CERT`: the administrator's certificate: a file, or a folder that holds one.
    pub admin_cert: PathBuf,
    /// `ADMIN_KEY`: the administrator's private key: a file, or a folder that holds one.
    pub admin_key: PathBuf,
    /// `MSP_CONFIG_PATH`: the administrator's MSP folder.
    pub msp_config_path: PathBuf,
    /// `DISCOVER_AS_LOCALHOST`: whether discovered addresses are dialled at this machine.
    pub discover_as_localhost: bool,
    /// `CONNECTION_PROFILE`: YAML or JSON.
    pub connection_profile: PathBuf,
    /// `CHANNEL_NAME`: the ops channel.
    pub ops_channel: ChannelName,
    /// `CC_OPS_CC_NAME`: the contract of chaincode proposals.
    pub chaincode_ops: ChaincodeName,
    /// `CH_OPS_CC_NAME`: the contract of channel proposals.
    pub channel_ops: ChaincodeName,
    /// How sources are fetched and packaged.
    pub sources: Sources,
    /// `GOPATH`.
    pub gopath: Option<PathBuf>,
    /// `WS_URL`, when `WS_ENABLED`: where progress is sent.
    pub ws_url: Option<String>,
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    /// `LOG_FORMAT` (ours).
    pub log_format: LogFormat,
    /// `AGENT_SERVICE_ADDRESS` (ours) and `AGENT_SERVICE_PORT`: where `/healthz` is served.
    pub service_address: SocketAddr,
    /// How the agent may be watched (ours).
    pub watching: Watching,
    /// `CC_SERVER_*`.
    pub servers: ChaincodeServers,
    /// `ORDERER_ADMIN_*` (ours): where the own orderers are administered.
    pub orderers: OrdererAdministration,
    /// `OPSSC_DEPLOYMENT` and what belongs to it (ours): how the OpsSC contracts come to the own peers.
    pub deployment: Deployment,
    /// `DEFINITION_ENCODING` (ours): in which bytes definitions are approved.
    pub definition_encoding: DefinitionEncoding,
    /// How tasks are carried out (ours).
    pub tasks: Tasks,
    /// `CHECKPOINT_DIR` (ours): where the agent remembers what it has to do and has done.
    pub checkpoint_dir: PathBuf,
    /// `HOLDS_FILE` (ours): what is paused.
    pub holds_file: PathBuf,
    /// `LEADER_*` (ours): other replicas.
    pub replicas: Replicas,
    /// `OTEL_*` (ours): where spans are sent.
    pub collector: Option<Collector>,
}

impl Settings {
    /// Reads all settings through `lookup`, which answers with the value of a variable. An empty value counts as none.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem that there is.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        Self::read(lookup).0
    }

    /// The names of all settings.
    pub fn names() -> Vec<&'static str> {
        Self::read(|_| None).1.into_iter().map(|setting| setting.name).collect()
    }

    /// As [`from_lookup`](Self::from_lookup), and beside it every setting as it was found, fit for showing.
    pub fn read(lookup: impl Fn(&str) -> Option<OsString>) -> (Result<Self, SettingsError>, Vec<Setting>) {
        let mut read = Variables::new(&lookup);
        let servers = ChaincodeServers::read(&mut read);
        let orderers = OrdererAdministration::read(&mut read);
        let deployment = Deployment::read(&mut read);
        let watching = Watching::read(&mut read);
        let discover_as_localhost = read.switch("DISCOVER_AS_LOCALHOST", false);
        let ws_enabled = read.switch("WS_ENABLED", false);
        let ws_url = read.parsed("WS_URL", "ws://localhost:5000", "use ws://host:port or wss://host:port", |text| {
            if text.starts_with("ws://") || text.starts_with("wss://") {
                Ok(text.to_owned())
            } else {
                Err("it is not the address of a WebSocket".to_owned())
            }
        });
        let service_ip = read
            .parsed("AGENT_SERVICE_ADDRESS", "0.0.0.0", "use an IP address of this machine", |text| {
                text.parse::<IpAddr>().map_err(|_| "it is not an IP address".to_owned())
            })
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let service_port = read.port("AGENT_SERVICE_PORT", 5500);
        let name = "use the organization's MSP ID, such as Org1MSP";
        let msp_id = read.parsed("ADMIN_MSPID", "Org1MSP", name, |text| broken_rule(MspId::parse(text)));
        let channel = "use the name of the ops channel";
        let ops_channel =
            read.parsed("CHANNEL_NAME", "ops-channel", channel, |text| broken_rule(ChannelName::parse(text)));
        let contract = "use the name under which the contract is deployed on the ops channel";
        let chaincode_ops =
            read.parsed("CC_OPS_CC_NAME", "chaincode-ops", contract, |text| broken_rule(ChaincodeName::parse(text)));
        let channel_ops =
            read.parsed("CH_OPS_CC_NAME", "channel-ops", contract, |text| broken_rule(ChaincodeName::parse(text)));
        let levels = "use error, warn, info, debug or silly";
        let log_level = read.parsed("LOG_LEVEL", "info", levels, LogLevel::parse);
        let log_format = read.parsed("LOG_FORMAT", "text", "use text or json", LogFormat::parse);
        let paths = (
            read.path("ADMIN_CERT", "/opt/fabric/msp/signcerts"),
            read.path("ADMIN_KEY", "/opt/fabric/msp/keystore"),
            read.path("MSP_CONFIG_PATH", "/opt/fabric/msp"),
            read.path("CONNECTION_PROFILE", "/opt/fabric/config/connection-profile.yaml"),
            read.path("CHECKPOINT_DIR", "/opt/opssc/data/checkpoint"),
        );
        let definition_encoding = read
            .parsed("DEFINITION_ENCODING", "fabric", "use fabric, or original beside original agents", |text| {
                text.parse().map_err(|_| "it is not an encoding of definitions".to_owned())
            })
            .unwrap_or_default();
        let sources = Sources::read(&mut read, &paths.4);
        let holds_file = read.optional_path("HOLDS_FILE").unwrap_or_else(|| paths.4.join(crate::agent::holds::FILE));
        let replicas = Replicas::read(&mut read);
        let tasks = Tasks::read(&mut read);
        let collector = Collector::read(&mut read);
        let gopath = read.text("GOPATH").map(PathBuf::from);
        if chaincode_ops.is_some() && chaincode_ops == channel_ops {
            read.problem("CH_OPS_CC_NAME", "both contracts have the same name", "give each contract its own name");
        }
        let (problems, found) = read.finish();
        let settings = match (msp_id, ops_channel, chaincode_ops, channel_ops, log_level, log_format) {
            (
                Some(msp_id),
                Some(ops_channel),
                Some(chaincode_ops),
                Some(channel_ops),
                Some(log_level),
                Some(log_format),
            ) if problems.is_empty() => Ok(Self {
                msp_id,
                admin_cert: paths.0,
                admin_key: paths.1,
                msp_config_path: paths.2,
                discover_as_localhost,
                connection_profile: paths.3,
                ops_channel,
                chaincode_ops,
                channel_ops,
                sources,
                gopath,
                ws_url: ws_url.filter(|_| ws_enabled),
                log_level,
                log_format,
                service_address: SocketAddr::new(service_ip, service_port),
                watching,
                servers,
                orderers,
                deployment,
                definition_encoding,
                tasks,
                checkpoint_dir: paths.4,
                holds_file,
                replicas,
                collector,
            }),
            _ => Err(SettingsError::new(problems)),
        };
        (settings, found)
    }
}

fn broken_rule<T>(parsed: Result<T, crate::fabric::names::NameError>) -> Result<T, String> {
    parsed.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
