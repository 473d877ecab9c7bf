//! The HTTP client that git servers are reached with: certificates, proxies, names.
//!
//! A module of its own because none of it is git's. Nothing is taken from the environment: what is not set here is not
//! used. Redirects are not followed here, whoever asks decides on them.
//!
//! Source: `git-config(1)` (`http.sslCAInfo`, `http.proxy`), `curl(1)` on the variables of proxies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::GitError;
use crate::runtime::dns::Resolver;
use crate::runtime::roots::system_roots;

/// Name lookup, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Proxies, by the variables that most programs read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `HTTPS_PROXY` or, without it, `ALL_PROXY`: `http://host:port`, with an account if need be.
    pub https: Option<String>,
    /// `NO_PROXY`: hosts that are reached without.
    pub none_for: Option<String>,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An address of a proxy may hold a password.
        f.debug_struct("Proxies")
            .field("https", &self.https.as_ref().map(|_| "…"))
            .field("none_for", &self.none_for)
            .finish()
    }
}

/// The certificates in `pem`, or those that the system trusts.
pub(super) fn roots(pem: Option<&[u8]>) -> Result<RootCertStore, GitError> {
    let refuse = |reason: String| GitError::Settings { reason };
    // Without any, connections fail, and the message says what to do: a machine without git needs none.
    let Some(pem) = pem else { return Ok(system_roots()) };
    let mut store = RootCertStore::empty();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| refuse(format!("CA certificates cannot be read: {error}")))?;
    for certificate in found {
        store.add(certificate).map_err(|error| refuse(format!("a CA certificate is not usable: {error}")))?;
    }
    if store.is_empty() { Err(refuse("no CA certificate in the PEM text".to_owned())) } else { Ok(store) }
}

/// A client for these settings.
pub(super) fn client(roots: &RootCertStore, proxies: &Proxies) -> Result<reqwest::Client, GitError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| GitError::Settings { reason: format!("TLS cannot be set up: {error}") })?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("git/opssc-agent-", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Names(Resolver::default())));
    if let Some(address) = proxies.https.as_deref().filter(|address| !address.is_empty()) {
        builder = builder.proxy(proxy(address, proxies.none_for.as_deref())?);
    }
    builder.build().map_err(|_| GitError::Settings { reason: "the HTTP client cannot be set up".to_owned() })
}

fn proxy(address: &str, none_for: Option<&str>) -> Result<reqwest::Proxy, GitError> {
    // Never the address: it may hold a password.
    let refuse = |reason: &str| GitError::Settings { reason: format!("the proxy's address {reason}") };
    // `host:port` alone means HTTP, as everywhere.
    let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = reqwest::Url::parse(&address).map_err(|_| refuse("cannot be read"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("must start with http:// or https://, other kinds of proxies are not supported"));
    }
    let proxy = reqwest::Proxy::https(url).map_err(|_| refuse("cannot be used"))?;
    Ok(proxy.no_proxy(none_for.and_then(reqwest::NoProxy::from_string)))
}

/// Names by way of our own resolver: a static binary has no other.
struct Names(Resolver);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            // The connector puts the port in.
            let found: Vec<_> = found.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_up(https: &str) -> Result<reqwest::Client, GitError> {
        let proxies = Proxies { https: Some(https.to_owned()), none_for: Some("inside,10.0.0.0/8".to_owned()) };
        client(&RootCertStore::empty(), &proxies)
    }

    #[test]
    fn proxies_are_http_and_their_passwords_stay_unsaid() {
        set_up("http://me:secret@proxy:3128").unwrap();
        set_up("proxy:3128").unwrap();
        for address in ["socks5://me:secret@proxy:1080", "http://me:secret@"] {
            let error = set_up(address).unwrap_err().to_string();
            assert!(error.contains("proxy") && !error.contains("secret"), "{error}");
        }
        let proxies = Proxies { https: Some("http://me:secret@proxy".to_owned()), none_for: None };
        assert!(!format!("{proxies:?}").contains("secret"));
    }

    #[test]
    fn roots_must_be_certificates() {
        assert!(roots(Some(b"nothing")).is_err());
        assert!(roots(Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).is_err());
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        assert_eq!(roots(Some(key.cert.pem().as_bytes())).unwrap().len(), 1);
    }
}
