//! Packages of the two OpsSC contracts, by the way that the settings choose.
//!
//! A module of its own because these packages come from no proposal: from Go sources on disk, where the original has
//! them, or they only say where the server of our own contracts is. All own peers get the same package.

use std::io;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::agent::config::{ContractServer, Deployment, Settings, Way};
use crate::chaincode::Contract;
use crate::fabric::names::{ChaincodeName, Label, NameError};
use crate::fabric::package::ccaas::{self, Connection};
use crate::fabric::package::sources::{DirectoryTree, SourceTree as _};
use crate::fabric::package::{self, Language, Limits, PackError, Package, PackageError, Sources};
use crate::opssc::contracts;

/// Why a contract is not packaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ContractError {
    /// The settings say so.
    #[error("{contract} is not approved by this organization, and OPSSC_DEPLOYMENT is off")]
    Off {
        /// The contract.
        contract: ChaincodeName,
    },
    /// There are no sources.
    #[error("there are no sources of {contract} in {folder}: put them there, or set OPSSC_DEPLOYMENT to service")]
    NoSources {
        /// The contract.
        contract: ChaincodeName,
        /// Where they should be.
        folder: String,
    },
    /// The sources cannot be packaged.
    #[error("the sources of {contract} cannot be packaged")]
    Sources {
        /// The contract.
        contract: ChaincodeName,
        /// Why not.
        source: PackError,
    },
    /// The address of its server cannot be packaged.
    #[error("the address of the server of {contract} cannot be packaged")]
    Service {
        /// The contract.
        contract: ChaincodeName,
        /// Why not.
        source: PackageError,
    },
    /// What peers are to trust cannot be read.
    #[error("{file} (OPSSC_SERVER_TLS_CA, OPSSC_SERVER_TLS_CERT) cannot be read")]
    Authorities {
        /// The file.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// A name that follows from another one breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The two contracts by their names on the ops channel, and how they come to the peers.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Contracts {
    pub(super) channel_ops: ChaincodeName,
    pub(super) chaincode_ops: ChaincodeName,
    pub(super) deployment: Deployment,
}

impl Contracts {
    /// As the settings have them.
    pub(in crate::agent) fn of(settings: &Settings) -> Self {
        Self {
            channel_ops: settings.channel_ops.clone(),
            chaincode_ops: settings.chaincode_ops.clone(),
            deployment: settings.deployment.clone(),
        }
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<ChaincodeName> {
        vec![self.channel_ops.clone(), self.chaincode_ops.clone()]
    }

    /// The server of `contract`.
    pub(super) fn server(&self, contract: &ChaincodeName) -> &ContractServer {
        if *contract == self.channel_ops { &self.deployment.channel_ops } else { &self.deployment.chaincode_ops }
    }

    /// The contract itself.
    pub(super) fn contract(&self, name: &ChaincodeName) -> Arc<dyn Contract> {
        if *name == self.channel_ops {
            Arc::new(contracts::ChannelOps::new(self.deployment.mode))
        } else {
            Arc::new(contracts::ChaincodeOps::new(self.channel_ops.clone()))
        }
    }

    /// The package of `contract` in `sequence`, as it is the same on all own peers. Reads files.
    ///
    /// # Errors
    /// [`ContractError`].
    pub(super) fn package(&self, contract: &ChaincodeName, sequence: i64) -> Result<Package, ContractError> {
        let label = Label::parse(format!("{contract}_{sequence}"))?;
        let contract = contract.clone();
        match self.deployment.way {
            Way::Off => Err(ContractError::Off { contract }),
            Way::Service => {
                let address = self.server(&contract).address.clone().unwrap_or_default();
                let mut connection = Connection::plain(address);
                if let Some(path) = self.deployment.tls.trusted() {
                    let unreadable = |source| ContractError::Authorities { file: path.display().to_string(), source };
                    connection.root_cert = certificates(path).map_err(unreadable)?;
                    connection.tls_required = true;
                }
                ccaas::package(&label, &connection).map_err(|source| ContractError::Service { contract, source })
            }
            Way::Sources => {
                let tree = DirectoryTree::new(&self.deployment.sources);
                let path = format!("bootstrap/{contract}");
                if !matches!(tree.entry(&path), Ok(Some(_))) {
                    let folder = self.deployment.sources.join(&path).display().to_string();
                    return Err(ContractError::NoSources { contract, folder });
                }
                let sources = Sources { tree: &tree, path: &path, metadata_path: &path };
                package::package(Language::Golang, &label, &sources, &Limits::default())
                    .map_err(|source| ContractError::Sources { contract, source })
            }
        }
    }
}

/// Certificates for a package, which everybody may read who can read a peer's disk: a key beside them must not get in.
///
/// # Errors
/// That it cannot be read, or holds a key.
pub(in crate::agent) fn certificates(path: &Path) -> io::Result<String> {
    let pem = Zeroizing::new(std::fs::read_to_string(path)?);
    if pem.contains("PRIVATE KEY") {
        let remedy = "it holds a private key, too: name a file of certificates alone by OPSSC_SERVER_TLS_CA";
        return Err(io::Error::new(io::ErrorKind::InvalidData, remedy));
    }
    Ok(pem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_gets_into_a_package() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls.pem");
        let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, certificate).unwrap();
        assert_eq!(certificates(&path).unwrap(), certificate);
        for kind in ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            std::fs::write(&path, format!("{certificate}-----BEGIN {kind}-----\nAA==\n-----END {kind}-----\n"))
                .unwrap();
            assert!(certificates(&path).unwrap_err().to_string().contains("OPSSC_SERVER_TLS_CA"), "{kind}");
        }
    }

    fn contracts(deployment: Deployment) -> Contracts {
        let name = |name| ChaincodeName::parse(name).unwrap();
        Contracts { channel_ops: name("channel-ops"), chaincode_ops: name("chaincode-ops"), deployment }
    }

    #[test]
    fn sources_on_disk_are_packaged_as_a_module_or_by_their_path() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join("bootstrap").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("channel-ops/go.mod", "module github.com/example/channel-ops\n\ngo 1.16\n");
        put("channel-ops/main.go", "package main\nfunc main() {}\n");
        put("chaincode-ops/main.go", "package main\nfunc main() {}\n");
        let all = contracts(Deployment { sources: folder.path().to_owned(), ..Deployment::default() });
        let module = all.package(&all.channel_ops, 2).unwrap();
        assert_eq!((module.label().as_str(), module.kind()), ("channel-ops_2", "golang"));
        assert_eq!(module.path(), "github.com/example/channel-ops");
        assert!(module.code_files().unwrap().contains_key("src/main.go"));
        let plain = all.package(&all.chaincode_ops, 1).unwrap();
        assert_eq!(plain.path(), "bootstrap/chaincode-ops");
        assert!(plain.code_files().unwrap().contains_key("src/bootstrap/chaincode-ops/main.go"));
        assert_eq!(all.package(&all.chaincode_ops, 1).unwrap().id(), plain.id());
    }

    #[test]
    fn what_is_not_there_is_told_with_a_remedy() {
        let all = contracts(Deployment { sources: "/nowhere/src".into(), ..Deployment::default() });
        let error = all.package(&all.channel_ops, 1).unwrap_err().to_string();
        assert!(error.contains("/nowhere/src/bootstrap/channel-ops") && error.contains("OPSSC_DEPLOYMENT"), "{error}");
        let off = contracts(Deployment { way: Way::Off, ..Deployment::default() });
        assert!(matches!(off.package(&off.channel_ops, 1), Err(ContractError::Off { .. })));
    }

    #[test]
    fn a_service_is_an_address() {
        let server = |address: &str| ContractServer { address: Some(address.to_owned()), listen: None };
        let all = contracts(Deployment {
            way: Way::Service,
            channel_ops: server("agent:9001"),
            chaincode_ops: server("agent:9002"),
            ..Deployment::default()
        });
        let package = all.package(&all.chaincode_ops, 4).unwrap();
        assert_eq!((package.label().as_str(), package.kind()), ("chaincode-ops_4", "ccaas"));
        assert_eq!(Connection::of(&package).unwrap().address, "agent:9002");
    }
}
