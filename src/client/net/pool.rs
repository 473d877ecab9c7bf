//! Connections, one per endpoint, dialled when first used and again after they broke.
//!
//! A module of its own because what a connection is made of (TLS, keepalive, names) is decided in one place for every
//! node. It does not retry: a call over a connection that cannot be made fails, and the caller knows what to do then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use rustls::RootCertStore;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::{Endpoint, Health, NetError, certificates};
use crate::runtime::dns::Resolver;

/// Name lookup, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Fabric's nodes hang up on clients that ping more often than every 60 s. One more second, because they measure the
/// arrival and not the departure.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(61);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// All connections of a client. Clones are the same pool.
#[derive(Clone, Default)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// So many connections are kept. When there are more, those go that nobody holds: addresses come from answers of nodes,
/// and there is no end to what these may name.
const MOST: usize = 1000;

#[derive(Default)]
struct Shared {
    resolver: Resolver,
    connections: Mutex<HashMap<Endpoint, Connection>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection to `endpoint`, which is checked and not dialled.
    ///
    /// # Errors
    /// [`NetError`] when no connection could ever be made as described.
    pub fn connection(&self, endpoint: &Endpoint) -> Result<Connection, NetError> {
        let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get(endpoint) {
            return Ok(connection.clone());
        }
        let prepared = prepare(endpoint)?;
        let mut connector = HttpConnector::new_with_resolver(self.shared.resolver.clone());
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_secs(30)));
        let connection = Connection {
            shared: Arc::new(Prepared {
                dial: Mutex::new(Dial { endpoint: prepared, channel: None }),
                connector,
                health: Health::default(),
            }),
        };
        if connections.len() >= MOST {
            connections.retain(|_, kept| Arc::strong_count(&kept.shared) > 1);
        }
        connections.insert(endpoint.clone(), connection.clone());
        Ok(connection)
    }

    /// Whoever holds the connection to `old` dials as `new` says from the next call on; what is under way ends as it
    /// began. For certificates that were renewed.
    ///
    /// # Errors
    /// [`NetError`] when no connection could ever be made as described; everything stays as it was then.
    pub fn renew(&self, old: &Endpoint, new: &Endpoint) -> Result<(), NetError> {
        let endpoint = prepare(new)?;
        let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.remove(old) {
            *connection.shared.dial() = Dial { endpoint, channel: None };
            connections.insert(new.clone(), connection);
        }
        Ok(())
    }
}

/// A connection to one endpoint. Clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Prepared>,
}

struct Prepared {
    dial: Mutex<Dial>,
    connector: HttpConnector<Resolver>,
    health: Health,
}

/// How the node is dialled now.
struct Dial {
    endpoint: tonic::transport::Endpoint,
    /// Made inside the runtime, which the preparation does not need.
    channel: Option<Channel>,
}

impl Prepared {
    fn dial(&self) -> MutexGuard<'_, Dial> {
        self.dial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(self.shared.dial().endpoint.uri()).finish()
    }
}

impl Connection {
    /// How the node at its other end is.
    pub(in crate::client) fn health(&self) -> &Health {
        &self.shared.health
    }

    /// What gRPC clients are made of.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn channel(&self) -> Channel {
        let mut dial = self.shared.dial();
        let Dial { endpoint, channel } = &mut *dial;
        channel.get_or_insert_with(|| endpoint.connect_with_connector_lazy(self.shared.connector.clone())).clone()
    }
}

fn prepare(endpoint: &Endpoint) -> Result<tonic::transport::Endpoint, NetError> {
    let address = || endpoint.address.clone();
    let bad_address = || NetError::Address { address: address() };
    let (_, port) = endpoint.address.rsplit_once(':').ok_or_else(bad_address)?;
    if endpoint.host().is_empty() || port.parse::<u16>().is_err() {
        return Err(bad_address());
    }
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    let mut prepared = tonic::transport::Endpoint::from_shared(format!("{scheme}://{}", endpoint.address))
        .map_err(|_| bad_address())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(false);
    if let Some(name) = &endpoint.server_name
        && let Ok(origin) = format!("{scheme}://{name}:{port}").parse()
    {
        prepared = prepared.origin(origin);
    }
    let Some(tls) = &endpoint.tls else { return Ok(prepared) };

    let bad_roots = |reason: String| NetError::Roots { address: address(), reason };
    let roots = certificates(&tls.roots).map_err(bad_roots)?;
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(roots);
    if usable == 0 {
        return Err(bad_roots("no certificate in the PEM text".to_owned()));
    }
    let mut config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&tls.roots))
        .domain_name(endpoint.server_name.as_deref().unwrap_or_else(|| endpoint.host()));
    if let Some(client) = &tls.client {
        config = config.identity(Identity::from_pem(&client.certificate, client.key.as_slice()));
    }
    prepared.tls_config(config).map_err(|error| NetError::Tls { address: address(), reason: chain(&error) })
}

/// An error with all its sources: the TLS library tells the reason in the last of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::net::Tls;

    #[test]
    fn what_cannot_be_dialled_is_refused_at_once() {
        let pool = Pool::new();
        let plain = |address: &str| Endpoint { address: address.to_owned(), tls: None, server_name: None };
        for address in ["", "host", "host:", ":7051", "host:port", "host:99999", "a b:1"] {
            assert!(matches!(pool.connection(&plain(address)), Err(NetError::Address { .. })), "for {address:?}");
        }
        pool.connection(&plain("[::1]:7051")).unwrap();
        let rootless = Endpoint { tls: Some(Tls { roots: "rubbish".into(), client: None }), ..plain("localhost:7051") };
        assert!(matches!(pool.connection(&rootless), Err(NetError::Roots { .. })));
    }

    #[test]
    fn what_nobody_holds_is_not_kept_forever() {
        let pool = Pool::new();
        let plain = |port: usize| Endpoint { address: format!("host:{port}"), tls: None, server_name: None };
        let held = pool.connection(&plain(1)).unwrap();
        for port in 2..3 * MOST {
            pool.connection(&plain(port)).unwrap();
        }
        let kept = pool.shared.connections.lock().unwrap();
        assert!(kept.len() <= MOST && Arc::ptr_eq(&kept[&plain(1)].shared, &held.shared));
    }
}
