//! Packages on one peer.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{LifecycleError, absent, decode, malformed};
use crate::client::error::CallError;
use crate::client::gateway::Client;
use crate::client::node::Peer;
use crate::fabric::lifecycle::{install_args, installed_all_args, installed_args, installed_package_args};
use crate::fabric::names::{Label, PackageId};
use crate::fabric::package::Package;
use crate::fabric::tx::Invocation;
use crate::pb::common::HeaderType;
use crate::pb::lifecycle::{
    GetInstalledChaincodePackageResult, InstallChaincodeResult, QueryInstalledChaincodeResult,
    QueryInstalledChaincodesResult,
};

/// A package that a peer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledChaincode {
    /// Its ID.
    pub package_id: PackageId,
    /// Its label.
    pub label: String,
    /// What runs it: by channel, the names and versions of chaincodes.
    pub references: BTreeMap<String, Vec<(String, String)>>,
}

/// The packages on one peer.
#[derive(Debug, Clone)]
pub struct PeerLifecycle {
    client: Client,
    peer: Peer,
}

impl PeerLifecycle {
    pub(in crate::client) fn new(client: Client, peer: Peer) -> Self {
        Self { client, peer }
    }

    /// The peer.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Installs a package; the peer builds it meanwhile, which may take minutes.
    /// [`ensure_installed`](Self::ensure_installed) is the form that may be repeated.
    ///
    /// Cancel safety: a cancellation ends the wait; the peer goes on.
    ///
    /// # Errors
    /// [`LifecycleError::Call`] with the peer's words, such as why the build failed, or that it has the package.
    pub async fn install(&self, package: &Package) -> Result<PackageId, LifecycleError> {
        const FUNCTION: &str = "InstallChaincode";
        let invocation = Invocation::lifecycle(FUNCTION, &install_args(package.bytes().clone()));
        let limit = self.client.shared.timeouts.install;
        let answer = self.client.call(&self.peer, None, &invocation, HeaderType::EndorserTransaction, limit).await?;
        let result: InstallChaincodeResult = decode(FUNCTION, answer.response.unwrap_or_default().payload)?;
        let installed = PackageId::parse(result.package_id).map_err(malformed(FUNCTION))?;
        if installed == *package.id() {
            return Ok(installed);
        }
        let reason = format!("the package is called {installed} instead of {}", package.id());
        Err(LifecycleError::Malformed { function: FUNCTION, reason })
    }

    /// The packages that the peer has.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn installed(&self) -> Result<Vec<InstalledChaincode>, LifecycleError> {
        const FUNCTION: &str = "QueryInstalledChaincodes";
        let result = self.query(&Invocation::lifecycle(FUNCTION, &installed_all_args())).await?;
        let list: QueryInstalledChaincodesResult = decode(FUNCTION, result)?;
        list.installed_chaincodes
            .into_iter()
            .map(|one| {
                let package_id = PackageId::parse(one.package_id).map_err(malformed(FUNCTION))?;
                let references = one.references.into_iter().map(|(channel, references)| {
                    let chaincodes = references.chaincodes.into_iter();
                    (channel, chaincodes.map(|chaincode| (chaincode.name, chaincode.version)).collect())
                });
                Ok(InstalledChaincode { package_id, label: one.label, references: references.collect() })
            })
            .collect()
    }

    /// One package of the peer; `None` when the peer does not have it.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn installed_chaincode(&self, id: &PackageId) -> Result<Option<InstalledChaincode>, LifecycleError> {
        const FUNCTION: &str = "QueryInstalledChaincode";
        let result = self.query(&Invocation::lifecycle(FUNCTION, &installed_args(id))).await;
        let Some(result) = absent(result, "could not find chaincode with package id")? else { return Ok(None) };
        let found: QueryInstalledChaincodeResult = decode(FUNCTION, result)?;
        let package_id = PackageId::parse(found.package_id).map_err(malformed(FUNCTION))?;
        let references = found.references.into_iter().map(|(channel, references)| {
            let chaincodes = references.chaincodes.into_iter();
            (channel, chaincodes.map(|chaincode| (chaincode.name, chaincode.version)).collect())
        });
        Ok(Some(InstalledChaincode { package_id, label: found.label, references: references.collect() }))
    }

    /// The bytes of a package that the peer has, which are those that its ID stands for.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError::Call`], also when the peer does not have it.
    pub async fn installed_package(&self, id: &PackageId) -> Result<Bytes, LifecycleError> {
        const FUNCTION: &str = "GetInstalledChaincodePackage";
        let result = self.query(&Invocation::lifecycle(FUNCTION, &installed_package_args(id))).await?;
        let found: GetInstalledChaincodePackageResult = decode(FUNCTION, result)?;
        let label = Label::parse(id.label()).map_err(malformed(FUNCTION))?;
        if PackageId::of(&label, &found.chaincode_install_package) != *id {
            let reason = "the package has another hash than its ID says".to_owned();
            return Err(LifecycleError::Malformed { function: FUNCTION, reason });
        }
        Ok(found.chaincode_install_package)
    }

    pub(super) async fn has(&self, id: &PackageId) -> Result<bool, LifecycleError> {
        Ok(self.installed().await?.iter().any(|installed| installed.package_id == *id))
    }

    async fn query(&self, invocation: &Invocation) -> Result<Bytes, LifecycleError> {
        let result: Result<Bytes, CallError> = self.client.query(&self.peer, None, invocation).await;
        Ok(result?)
    }
}
