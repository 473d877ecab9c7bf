//! Settings of a chaincode server, under the names that Fabric's samples and its ccaas builder use.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How a chaincode server is reached, and as what it registers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// The package ID that the peers know: label, colon, hash.
    pub chaincode_id: String,
    /// Certificate and key; `None` is plain text.
    pub tls: Option<Tls>,
}

/// What a chaincode server shows to peers, and asks of them. PEM.
#[derive(Clone)]
pub struct Tls {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_roots: Option<Vec<u8>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_roots", &self.client_roots.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    /// A server certificate (with its chain) and its key.
    pub fn new(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), client_roots: None }
    }

    /// The same, where only peers with a certificate under `roots` may connect.
    #[must_use]
    pub fn with_client_roots(mut self, roots: impl Into<Vec<u8>>) -> Self {
        self.client_roots = Some(roots.into());
        self
    }

    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn client_roots(&self) -> Option<&[u8]> {
        self.client_roots.as_deref()
    }
}

/// Everything that is wrong with the settings, at once.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.join("; "))]
#[non_exhaustive]
pub struct ConfigError {
    /// One clause for each problem, which names its setting.
    pub problems: Vec<String>,
}

impl Config {
    /// A server on `address` that registers as `chaincode_id`, in plain text.
    pub fn new(address: SocketAddr, chaincode_id: impl Into<String>) -> Self {
        Self { address, chaincode_id: chaincode_id.into(), tls: None }
    }

    /// The same with TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Reads the settings through `lookup` (the environment, in a program), and the files that they name:
    ///
    /// - `CHAINCODE_SERVER_ADDRESS`: IP address and port;
    /// - `CHAINCODE_ID`, or `CORE_CHAINCODE_ID_NAME`: the package ID;
    /// - `CHAINCODE_TLS_DISABLED`: `true` unless set otherwise;
    /// - `CHAINCODE_TLS_KEY`, `CHAINCODE_TLS_CERT`: PEM files, with TLS;
    /// - `CHAINCODE_CLIENT_CA_CERT`: a PEM file; when set, peers must show a certificate under it.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is missing, malformed or unreadable.
    pub fn load(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let mut problems = Problems::default();
        let address = match get("CHAINCODE_SERVER_ADDRESS") {
            None => Err("CHAINCODE_SERVER_ADDRESS is not set".to_owned()),
            Some(text) => listen_address(&text).ok_or_else(|| {
                format!("CHAINCODE_SERVER_ADDRESS {text:?} is no IP address with a port (0.0.0.0:9999)")
            }),
        };
        let chaincode_id = get("CHAINCODE_ID")
            .or_else(|| get("CORE_CHAINCODE_ID_NAME"))
            .ok_or_else(|| "CHAINCODE_ID is not set (nor CORE_CHAINCODE_ID_NAME)".to_owned());
        let disabled = match get("CHAINCODE_TLS_DISABLED") {
            None => Ok(true),
            Some(text) => boolean(&text).ok_or_else(|| format!("CHAINCODE_TLS_DISABLED {text:?} is not true or false")),
        };
        let address = problems.keep(address);
        let chaincode_id = problems.keep(chaincode_id);
        let tls = match problems.keep(disabled) {
            Some(false) => load_tls(&get, &mut problems),
            Some(true) | None => None,
        };
        match (address, chaincode_id, problems.0.is_empty()) {
            (Some(address), Some(chaincode_id), true) => Ok(Self { address, chaincode_id, tls }),
            _ => Err(ConfigError { problems: problems.0 }),
        }
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn keep<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }
}

fn load_tls(get: &impl Fn(&str) -> Option<String>, problems: &mut Problems) -> Option<Tls> {
    let file = |name: &str| {
        let path = PathBuf::from(get(name).ok_or_else(|| format!("{name} is not set, but TLS is on"))?);
        std::fs::read(&path).map_err(|error| format!("{name} {}: {error}", path.display()))
    };
    let certificate = problems.keep(file("CHAINCODE_TLS_CERT"));
    let key = problems.keep(file("CHAINCODE_TLS_KEY"));
    let client_roots = match get("CHAINCODE_CLIENT_CA_CERT") {
        Some(_) => Some(problems.keep(file("CHAINCODE_CLIENT_CA_CERT"))?),
        None => None,
    };
    Some(Tls { certificate: certificate?, key: key?, client_roots })
}

/// A static program has no name service, so an address is one, or `localhost`, or nothing for all interfaces.
fn listen_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = match host {
        "" => Ipv4Addr::UNSPECIFIED,
        "localhost" => Ipv4Addr::LOCALHOST,
        _ => return None,
    };
    Some(SocketAddr::new(IpAddr::V4(host), port.parse().ok()?))
}

/// What Go takes for a truth value.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
