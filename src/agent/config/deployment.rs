//! The settings by which the OpsSC contracts come to the own peers.
//!
//! A module of its own because they belong together: which of them are needed depends on the way that was chosen.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::variables::{self, Variables};
use crate::opssc::contracts::Mode;

const DEPLOYMENT: &str = "OPSSC_DEPLOYMENT";
const CHANNEL_ADDRESS: &str = "CH_OPS_SERVER_ADDRESS";
const CHANNEL_LISTEN: &str = "CH_OPS_SERVER_LISTEN";
const CHAINCODE_ADDRESS: &str = "CC_OPS_SERVER_ADDRESS";
const CHAINCODE_LISTEN: &str = "CC_OPS_SERVER_LISTEN";
const TLS_CERT: &str = "OPSSC_SERVER_TLS_CERT";
const TLS_KEY: &str = "OPSSC_SERVER_TLS_KEY";
const TLS_CA: &str = "OPSSC_SERVER_TLS_CA";

/// How the OpsSC contracts are deployed on own peers where the organization has not approved them yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// From Go sources on disk, as the original does: the default.
    #[default]
    Sources,
    /// As chaincode as a service: the contracts of this program.
    Service,
    /// Not by the agent.
    Off,
}

/// Where the server of one contract is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContractServer {
    /// `CH_OPS_SERVER_ADDRESS`, `CC_OPS_SERVER_ADDRESS`: `host:port` where peers reach it.
    pub address: Option<String>,
    /// `CH_OPS_SERVER_LISTEN`, `CC_OPS_SERVER_LISTEN`: where the agent serves the contract itself.
    pub listen: Option<SocketAddr>,
}

/// TLS between the own peers and the servers of the contracts. Files, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContractTls {
    /// `OPSSC_SERVER_TLS_CERT` and `OPSSC_SERVER_TLS_KEY`: what the servers in the agent show.
    pub server: Option<(PathBuf, PathBuf)>,
    /// `OPSSC_SERVER_TLS_CA`: the authorities of that certificate, or of that of servers elsewhere.
    pub authorities: Option<PathBuf>,
}

impl ContractTls {
    /// What peers are told to trust; `None` where they are to speak without TLS.
    pub fn trusted(&self) -> Option<&Path> {
        // A certificate without authorities stands for itself.
        self.authorities.as_deref().or(self.server.as_ref().map(|(certificate, _)| certificate.as_path()))
    }

    fn read(read: &mut Variables<'_>) -> Self {
        let (cert, key) = (read.optional_path(TLS_CERT), read.optional_path(TLS_KEY));
        if cert.is_some() != key.is_some() {
            let (absent, given) = if cert.is_some() { (TLS_KEY, TLS_CERT) } else { (TLS_CERT, TLS_KEY) };
            read.problem(absent, format!("it is not set, but {given} is"), "set both or none");
        }
        Self { server: cert.zip(key), authorities: read.optional_path(TLS_CA) }
    }
}

/// How the OpsSC contracts come to the own peers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deployment {
    /// `OPSSC_DEPLOYMENT`.
    pub way: Way,
    /// The folder `bootstrap` below this one has the sources: `src` of `GOPATH`, which is /opt/go unless set.
    pub sources: PathBuf,
    /// The server of `channel-ops`.
    pub channel_ops: ContractServer,
    /// The server of `chaincode-ops`.
    pub chaincode_ops: ContractServer,
    /// `OPSSC_SERVER_TLS_*`.
    pub tls: ContractTls,
    /// `OPSSC_CONTRACT`: how the contracts behave that the agent serves.
    pub mode: Mode,
}

impl Deployment {
    pub(super) fn read(read: &mut Variables<'_>) -> Self {
        let way = read.parsed(DEPLOYMENT, "sources", "use sources, service or off", |text| match text {
            "sources" => Ok(Way::Sources),
            "service" => Ok(Way::Service),
            "off" => Ok(Way::Off),
            _ => Err("it is no way to deploy the OpsSC contracts".to_owned()),
        });
        let channel_ops = ContractServer::read(read, CHANNEL_ADDRESS, CHANNEL_LISTEN);
        let chaincode_ops = ContractServer::read(read, CHAINCODE_ADDRESS, CHAINCODE_LISTEN);
        if way == Some(Way::Service) {
            for (variable, server) in [(CHANNEL_ADDRESS, &channel_ops), (CHAINCODE_ADDRESS, &chaincode_ops)] {
                if server.address.is_none() {
                    let what = format!("it is not set, but {DEPLOYMENT} is service");
                    read.problem(variable, what, "say at which host:port the peers reach the contract's server");
                }
            }
        }
        if channel_ops.address.is_some() && channel_ops.address == chaincode_ops.address {
            let what = "both contracts have the same address";
            read.problem(CHAINCODE_ADDRESS, what, "give each contract's server a port of its own");
        }
        let tls = ContractTls::read(read);
        if tls.server.is_none() && tls.authorities.is_some() {
            let listening = [(CHANNEL_LISTEN, &channel_ops), (CHAINCODE_LISTEN, &chaincode_ops)];
            if let Some((variable, _)) = listening.into_iter().find(|(_, server)| server.listen.is_some()) {
                let what = format!("it is not set, but {TLS_CA} and {variable} are");
                read.problem(TLS_CERT, what, "name what the agent's servers are to show, or take the other away");
            }
        }
        let mode = read
            .parsed(
                "OPSSC_CONTRACT",
                "fixed",
                "use fixed, or original beside organizations that run the original",
                |text| Mode::parse(text).map_err(|_| "it is not a mode of the contracts".to_owned()),
            )
            .unwrap_or_default();
        Self {
            way: way.unwrap_or_default(),
            sources: read.path("GOPATH", "/opt/go").join("src"),
            channel_ops,
            chaincode_ops,
            tls,
            mode,
        }
    }
}

impl ContractServer {
    fn read(read: &mut Variables<'_>, address: &'static str, listen: &'static str) -> Self {
        Self {
            address: read.parsed(address, "", "use host:port, as the peers reach it", variables::host_and_port),
            listen: read.parsed(
                listen,
                "",
                "use an IP address of this machine and a port, such as 0.0.0.0:9999",
                |text| text.parse().map_err(|_| "it is not an IP address with a port".to_owned()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SettingsError;
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Deployment, String> {
        let lookup = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let mut variables = Variables::new(&lookup);
        let read = Deployment::read(&mut variables);
        let problems = variables.finish().0;
        if problems.is_empty() { Ok(read) } else { Err(SettingsError::new(problems).to_string()) }
    }

    #[test]
    fn sources_are_where_the_original_has_them() {
        let default = read(&[]).unwrap();
        assert_eq!((default.way, default.sources.to_str().unwrap()), (Way::Sources, "/opt/go/src"));
        assert_eq!(read(&[("GOPATH", "/srv/go")]).unwrap().sources.to_str().unwrap(), "/srv/go/src");
    }

    #[test]
    fn peers_trust_the_authorities_or_the_certificate_itself() {
        assert_eq!(read(&[]).unwrap().tls.trusted(), None);
        let pair = [(TLS_CERT, "/tls/cert.pem"), (TLS_KEY, "/tls/key.pem")];
        assert_eq!(read(&pair).unwrap().tls.trusted(), Some(Path::new("/tls/cert.pem")));
        let with_authority = [&pair[..], &[(TLS_CA, "/tls/ca.pem")]].concat();
        assert_eq!(read(&with_authority).unwrap().tls.trusted(), Some(Path::new("/tls/ca.pem")));
        // Servers elsewhere show their own.
        assert_eq!(read(&[(TLS_CA, "/tls/ca.pem")]).unwrap().tls.trusted(), Some(Path::new("/tls/ca.pem")));
        for wrong in [&pair[..1], &pair[1..], &[(TLS_CA, "/tls/ca.pem"), (CHAINCODE_LISTEN, "127.0.0.1:1")]] {
            assert!(read(wrong).unwrap_err().contains("OPSSC_SERVER_TLS_"), "{wrong:?}");
        }
    }

    #[test]
    fn a_service_needs_two_addresses() {
        let service = (DEPLOYMENT, "service");
        let error = read(&[service, (CHANNEL_ADDRESS, "agent:9001")]).unwrap_err();
        assert!(error.contains(CHAINCODE_ADDRESS) && !error.contains(CHANNEL_ADDRESS), "{error}");
        let addresses = [service, (CHANNEL_ADDRESS, "agent:9001"), (CHAINCODE_ADDRESS, "{{.peername}}.agent:9002")];
        let listen = [(CHANNEL_LISTEN, "127.0.0.1:0"), (CHAINCODE_LISTEN, "[::1]:9002")];
        let deployment = read(&[&addresses[..], &listen[..]].concat()).unwrap();
        assert_eq!(deployment.way, Way::Service);
        assert_eq!(deployment.chaincode_ops.listen.unwrap().port(), 9002);
        for (variable, wrong) in [
            (DEPLOYMENT, "magic"),
            (CHANNEL_ADDRESS, "agent"),
            (CHANNEL_ADDRESS, "http://agent:1"),
            (CHANNEL_LISTEN, "agent:9001"),
            ("OPSSC_CONTRACT", "mine"),
        ] {
            let error = read(&[(variable, wrong)]).unwrap_err();
            assert!(error.contains(variable), "{error}");
        }
        let same = read(&[(CHANNEL_ADDRESS, "a:1"), (CHAINCODE_ADDRESS, "a:1")]).unwrap_err();
        assert!(same.contains("same address"), "{same}");
    }
}
