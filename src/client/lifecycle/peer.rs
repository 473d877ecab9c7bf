//! Packages on one peer.

use bytes::Bytes;

use super::{LifecycleError, decode, malformed};
use crate::client::error::CallError;
use crate::client::gateway::Client;
use crate::client::node::Peer;
use crate::fabric::lifecycle::{install_args, installed_all_args, installed_package_args};
use crate::fabric::names::PackageId;
use crate::fabric::package::Package;
use crate::fabric::tx::Invocation;
use crate::pb::common::HeaderType;
use crate::pb::lifecycle::{
    GetInstalledChaincodePackageResult, InstallChaincodeResult, QueryInstalledChaincodesResult,
};

/// A package that a peer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledChaincode {
    /// Its ID.
    pub package_id: PackageId,
    /// Its label.
    pub label: String,
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

    /// Installs a package; the peer builds it meanwhile, which may take minutes. One that is there already is success.
    ///
    /// Cancel safety: a cancellation ends the wait; the peer goes on. Call it again.
    ///
    /// # Errors
    /// [`LifecycleError::Call`] with the peer's words, such as why the build failed.
    pub async fn install(&self, package: &Package) -> Result<PackageId, LifecycleError> {
        const FUNCTION: &str = "InstallChaincode";
        // Megabytes need not travel for nothing. The peer's own word on a repeated installation is an error text.
        if self.has(package.id()).await? {
            return Ok(package.id().clone());
        }
        let invocation = Invocation::lifecycle(FUNCTION, &install_args(package.bytes().clone()));
        let limit = self.client.shared.timeouts.install;
        let installed = self.client.call(&self.peer, None, &invocation, HeaderType::EndorserTransaction, limit).await;
        match installed {
            Ok(answer) => {
                let result: InstallChaincodeResult = decode(FUNCTION, answer.response.unwrap_or_default().payload)?;
                PackageId::parse(result.package_id).map_err(malformed(FUNCTION))
            }
            // Someone else installed it meanwhile.
            Err(error @ (CallError::Chaincode { .. } | CallError::Refused { .. })) => {
                if matches!(self.has(package.id()).await, Ok(true)) {
                    Ok(package.id().clone())
                } else {
                    Err(error.into())
                }
            }
            Err(error) => Err(error.into()),
        }
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
                Ok(InstalledChaincode { package_id, label: one.label })
            })
            .collect()
    }

    /// The bytes of a package that the peer has.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError::Call`], also when the peer does not have it.
    pub async fn installed_package(&self, id: &PackageId) -> Result<Bytes, LifecycleError> {
        const FUNCTION: &str = "GetInstalledChaincodePackage";
        let result = self.query(&Invocation::lifecycle(FUNCTION, &installed_package_args(id))).await?;
        let found: GetInstalledChaincodePackageResult = decode(FUNCTION, result)?;
        Ok(found.chaincode_install_package)
    }

    async fn has(&self, id: &PackageId) -> Result<bool, LifecycleError> {
        Ok(self.installed().await?.iter().any(|installed| installed.package_id == *id))
    }

    async fn query(&self, invocation: &Invocation) -> Result<Bytes, CallError> {
        self.client.query(&self.peer, None, invocation).await
    }
}
