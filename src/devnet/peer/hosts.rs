//! Where chaincode servers really are.
//!
//! A module of its own because packages name hosts of a cluster (`chaincode-asset-org1.hyperledger:7052`), while here
//! all servers listen on ports of the loopback address that the system chose.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

/// The addresses that packages may name (`host:port`), and what stands behind them.
#[derive(Debug, Default)]
pub(crate) struct Hosts(RwLock<BTreeMap<String, SocketAddr>>);

impl Hosts {
    /// From now on, `alias` is at `address`.
    pub(crate) fn insert(&self, alias: impl Into<String>, address: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(alias.into(), address);
    }

    /// Where `address` is: behind the alias, or there itself.
    pub(crate) fn resolve(&self, address: &str) -> String {
        let hosts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        hosts.get(address).map_or_else(|| address.to_owned(), ToString::to_string)
    }
}
