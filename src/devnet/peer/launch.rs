//! Brings what an installed package runs to a state in which it can be called.
//!
//! A server is dialled when it is first needed, and again after its stream was lost; nobody is called twice for that.
//!
//! Source: Fabric 3.1.5 `core/chaincode/runtime_launcher.go`, `core/container/externalbuilder`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::context::Refused;
use super::hosts::Hosts;
use super::native::Contracts;
use super::shim::ChaincodeStream;
use crate::chaincode::Contract;
use crate::client::net::{ClientTls, Endpoint, Pool, Tls};
use crate::fabric::names::{ChaincodeName, PackageId};
use crate::fabric::package::ccaas::Connection;
use crate::runtime::Workers;
use crate::runtime::retry::Backoff;

/// For how long a server is dialled, where its package does not say.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than this nobody waits, whatever a package says.
const LONGEST_DIAL: Duration = Duration::from_mins(5);

/// The stream to a server, behind a lock that the dialling holds.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<ChaincodeStream>>>>;

/// What runs chaincodes.
pub(super) struct Launcher {
    contracts: Arc<Contracts>,
    hosts: Arc<Hosts>,
    workers: Workers,
    streams: Mutex<HashMap<PackageId, Slot>>,
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launcher").field("contracts", &self.contracts).finish_non_exhaustive()
    }
}

impl Launcher {
    pub(super) fn new(contracts: Arc<Contracts>, hosts: Arc<Hosts>, workers: Workers) -> Self {
        Self { contracts, hosts, workers, streams: Mutex::default() }
    }

    /// The contract of this process with that name.
    pub(super) fn contract(&self, name: &ChaincodeName) -> Result<Arc<dyn Contract>, Refused> {
        self.contracts.get(name).ok_or_else(|| Refused(format!("contract {name} is not in this process")))
    }

    /// The stream to the server of a package.
    ///
    /// Cancel safety: dropping the future ends the dialling; the next one who needs the stream begins again.
    pub(super) async fn stream(
        &self,
        id: &PackageId,
        connection: &Connection,
    ) -> Result<Arc<ChaincodeStream>, Refused> {
        let slot = {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(streams.entry(id.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(stream) = slot.as_ref().filter(|stream| !stream.is_ended()) {
            return Ok(Arc::clone(stream));
        }
        let stream = self.dial(id, connection).await?;
        *slot = Some(Arc::clone(&stream));
        Ok(stream)
    }

    async fn dial(&self, id: &PackageId, connection: &Connection) -> Result<Arc<ChaincodeStream>, Refused> {
        let endpoint = endpoint(connection, &self.hosts)?;
        let failed = |error: Refused| {
            error.context(format_args!(
                "connection to {id} failed: error cannot create connection for {id}: error creating grpc connection \
                 to {}",
                connection.address
            ))
        };
        let channel = Pool::new().connection(&endpoint).map_err(|error| failed(Refused(error.to_string())))?.channel();
        let timeout = dial_timeout(&connection.dial_timeout);
        let deadline = tokio::time::Instant::now() + timeout;
        let mut waits = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let attempt = ChaincodeStream::open(channel.clone(), id.as_str(), &self.workers);
            let error = match tokio::time::timeout_at(deadline, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => return Err(failed(Refused(format!("no registration within {timeout:?}")))),
            };
            let next = tokio::time::Instant::now() + waits.next().unwrap_or(timeout);
            if next >= deadline {
                return Err(failed(error));
            }
            tokio::time::sleep_until(next).await;
        }
    }
}

fn endpoint(connection: &Connection, hosts: &Hosts) -> Result<Endpoint, Refused> {
    let address = hosts.resolve(&connection.address);
    if !connection.tls_required {
        return Ok(Endpoint { address, tls: None, server_name: None });
    }
    let client = if connection.client_auth_required {
        let tls = ClientTls::new(connection.client_cert.clone(), connection.client_key.clone());
        Some(Arc::new(tls.map_err(|error| Refused(error.to_string()))?))
    } else {
        None
    };
    let named = Endpoint { address: connection.address.clone(), tls: None, server_name: None };
    let server_name = Some(named.host().to_owned());
    Ok(Endpoint { address, tls: Some(Tls { roots: connection.root_cert.clone().into(), client }), server_name })
}

/// A duration as Go writes it, in whole units (`10s`, `1m30s`, `250ms`); what cannot be read is the default.
fn dial_timeout(text: &str) -> Duration {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(count) = rest[..digits].parse::<u32>() else { return DIAL_TIMEOUT };
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return DIAL_TIMEOUT,
        };
        rest = &rest[letters..];
        total = total.saturating_add(unit.saturating_mul(count));
    }
    if total.is_zero() { DIAL_TIMEOUT } else { total.min(LONGEST_DIAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dial_timeouts_are_gos() {
        for (text, seconds) in [("10s", 10.0), ("1m30s", 90.0), ("250ms", 0.25), ("", 3.0), ("x", 3.0), ("99h", 300.0)]
        {
            assert!((dial_timeout(text).as_secs_f64() - seconds).abs() < 1e-9, "for {text:?}");
        }
    }

    #[test]
    fn aliases_keep_the_name_that_certificates_bear() {
        let hosts = Hosts::default();
        hosts.insert("asset.hyperledger:7052", ([127, 0, 0, 1], 4321).into());
        let mut connection = Connection::plain("asset.hyperledger:7052");
        assert_eq!(endpoint(&connection, &hosts).unwrap().address, "127.0.0.1:4321");
        connection.tls_required = true;
        let endpoint = endpoint(&connection, &hosts).unwrap();
        assert_eq!(endpoint.server_name.as_deref(), Some("asset.hyperledger"));
    }
}
