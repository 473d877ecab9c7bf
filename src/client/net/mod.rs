//! Where nodes are and how to reach them: endpoints, TLS, lazily dialled connections.
//!
//! A module of its own because it is the only place of the client that opens sockets. It knows nothing of Fabric's
//! messages. Every connection speaks HTTP/2, resolves names itself (the static binary has no `getaddrinfo`), carries
//! messages of up to [`MAX_MESSAGE`] bytes, and pings while something is under way, no more often than Fabric's nodes
//! allow.
//!
//! Source: Fabric 3.1.5 `internal/pkg/comm` (keepalive, message sizes), sample `core.yaml` `peer.keepalive`.

mod health;
pub(crate) mod http;
mod pool;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub(super) use health::Health;
pub use pool::{Connection, Pool};

/// The largest message in either direction: what Fabric's own nodes and clients allow.
pub const MAX_MESSAGE: usize = 100 * 1024 * 1024;

/// Why no connection can be made to an endpoint as it is described. Nothing was dialled yet.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The address is not `host:port`.
    #[error("address {address:?} is not host:port")]
    Address {
        /// The address as given.
        address: String,
    },
    /// The TLS roots are missing or not certificates in PEM.
    #[error("TLS roots for {address} are not usable: {reason}")]
    Roots {
        /// Where to.
        address: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The client's TLS certificate or key is not usable.
    #[error("TLS client certificate is not usable: {reason}")]
    ClientCertificate {
        /// What is wrong with it.
        reason: String,
    },
    /// TLS could not be set up for another reason.
    #[error("TLS to {address} cannot be set up: {reason}")]
    Tls {
        /// Where to.
        address: String,
        /// What the TLS library says.
        reason: String,
    },
}

/// Where a node listens and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// TLS, or plain text where absent.
    pub tls: Option<Tls>,
    /// The name that the node's certificate must bear, when it is not the host of `address`.
    pub server_name: Option<String>,
}

impl Endpoint {
    /// The host part of the address, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The same node reached on this machine: for networks whose nodes know themselves by names that only resolve
    /// inside, with their ports forwarded. The certificate is still checked against the name.
    #[must_use]
    pub fn as_localhost(mut self) -> Self {
        if let Some((host, port)) = self.address.rsplit_once(':') {
            let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            self.address = format!("localhost:{port}");
            self.server_name.get_or_insert(name);
        }
        self
    }
}

/// How a node proves itself, and the client to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The certificates that the node's certificate must come from, in PEM.
    pub roots: Bytes,
    /// The client's own certificate, where nodes ask for one.
    pub client: Option<Arc<ClientTls>>,
}

/// The client's TLS certificate and key, for networks with mutual TLS. The key is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientTls {
    certificate: Bytes,
    key: Arc<Zeroizing<Vec<u8>>>,
    hash: [u8; 32],
    subject: String,
    not_after: i64,
    expiry: String,
}

impl std::hash::Hash for ClientTls {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl ClientTls {
    /// Takes a certificate (or chain) and its key, both in PEM.
    ///
    /// # Errors
    /// [`NetError::ClientCertificate`] with what is wrong.
    pub fn new(certificate_pem: impl Into<Bytes>, key_pem: impl Into<Vec<u8>>) -> Result<Self, NetError> {
        let (certificate, key) = (certificate_pem.into(), Zeroizing::new(key_pem.into()));
        let refuse = |reason: &str| NetError::ClientCertificate { reason: reason.to_owned() };
        let chain = certificates(&certificate).map_err(|reason| refuse(&reason))?;
        let first = chain.first().ok_or_else(|| refuse("no certificate in the PEM text"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(first).map_err(|error| refuse(&format!("not X.509: {error}")))?;
        // The TLS library blames the key for this one.
        if parsed.version() == x509_parser::x509::X509Version::V1 {
            return Err(refuse("it is an X.509 v1 certificate, TLS needs v3"));
        }
        PrivateKeyDer::from_pem_slice(&key).map_err(|_| refuse("no private key in the PEM text"))?;
        let not_after = parsed.validity().not_after;
        Ok(Self {
            hash: Sha256::digest(first).into(),
            subject: parsed.subject().to_string(),
            not_after: not_after.timestamp(),
            expiry: not_after.to_string(),
            certificate,
            key: Arc::new(key),
        })
    }

    /// The subject, for reading.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Valid up to and including, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The last moment of its validity, for reading.
    pub fn expiry(&self) -> &str {
        &self.expiry
    }

    /// SHA-256 of the DER certificate: what goes into channel headers so that a message counts on this connection only.
    pub fn certificate_hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("certificate_hash", &crate::fabric::names::hex(&self.hash))
            .finish_non_exhaustive()
    }
}

/// The certificates of a PEM text.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| format!("not PEM: {error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_keeps_port_and_name() {
        let endpoint = Endpoint { address: "peer0.org1.example.com:7051".into(), tls: None, server_name: None };
        let local = endpoint.as_localhost();
        assert_eq!(local.address, "localhost:7051");
        assert_eq!(local.server_name.as_deref(), Some("peer0.org1.example.com"));
        let six = Endpoint { address: "[2001:db8::1]:7051".into(), tls: None, server_name: None };
        assert_eq!(six.host(), "2001:db8::1");
        assert_eq!(six.as_localhost().server_name.as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn a_key_never_shows() {
        let tls = ClientTls {
            certificate: Bytes::new(),
            key: Arc::new(Zeroizing::new(b"secret".to_vec())),
            hash: [0; 32],
            subject: String::new(),
            not_after: 0,
            expiry: String::new(),
        };
        assert!(!format!("{tls:?}").contains("secret"));
    }
}
