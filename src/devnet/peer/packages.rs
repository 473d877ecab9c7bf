//! The packages that are installed on a peer, and what each of them runs.
//!
//! Two types can be run here: `ccaas`, whose code is where its server listens, and `native`, a contract of this
//! process. Packages of sources are taken too, so that a deployment of them can be tried up to its commit; but they would
//! have to be built, which this network does not do, so they cannot be invoked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::context::Refused;
use super::native;
use super::proposal::shown;
use crate::devnet::storage::Store;
use crate::fabric::names::{ChaincodeName, PackageId};
use crate::fabric::package::ccaas::Connection;
use crate::fabric::package::{Language, Package};

/// What an installed package runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Runs {
    /// A contract of this process.
    Native(ChaincodeName),
    /// A server somewhere.
    Service(Box<Connection>),
    /// Nothing: sources, in the language of this type.
    Sources(String),
}

/// A package on a peer.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) package: Package,
    pub(super) runs: Runs,
}

/// The packages on a peer.
#[derive(Debug, Default)]
pub(super) struct Packages {
    installed: Mutex<BTreeMap<PackageId, Arc<Installed>>>,
    store: OnceLock<Store>,
}

impl Packages {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PackageId, Arc<Installed>>> {
        self.installed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, packages are kept in `store` too.
    pub(super) fn keep(&self, store: Store) {
        let _ = self.store.set(store);
    }

    /// Installs a package.
    pub(super) fn install(&self, bytes: Bytes) -> Result<Arc<Installed>, Refused> {
        let magic = bytes.get(..2).map(<[u8]>::to_vec);
        let package = Package::read(bytes).map_err(|error| {
            let reason = match magic.as_deref() {
                None => "error reading as gzip stream: EOF".to_owned(),
                Some([0x1f, 0x8b]) => error.to_string(),
                Some(_) => "error reading as gzip stream: gzip: invalid header".to_owned(),
            };
            Refused(format!("could not parse as a chaincode install package: {reason}"))
        })?;
        let id = package.id().clone();
        let already = || Refused(format!("chaincode already successfully installed (package ID '{id}')"));
        if self.lock().contains_key(&id) {
            return Err(already());
        }
        let runs = runs(&package).map_err(|error| error.context("could not build chaincode"))?;
        let installed = Arc::new(Installed { package, runs });
        if let Some(store) = self.store.get() {
            let name = id.as_str().replace([':', '/'], "_");
            store
                .replace(&format!("packages/{name}.tar.gz"), installed.package.bytes())
                .map_err(|error| Refused(format!("could not save chaincode install package: {error}")))?;
        }
        let mut packages = self.lock();
        if packages.contains_key(&id) {
            return Err(already());
        }
        packages.insert(id.clone(), Arc::clone(&installed));
        Ok(installed)
    }

    /// The package with an ID.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Installed>> {
        let id = PackageId::parse(id).ok()?;
        self.lock().get(&id).cloned()
    }

    /// All packages, in the order of their IDs.
    pub(super) fn all(&self) -> Vec<Arc<Installed>> {
        self.lock().values().cloned().collect()
    }
}

fn runs(package: &Package) -> Result<Runs, Refused> {
    match package.kind() {
        native::PACKAGE_TYPE => native::contract_of(package).map(Runs::Native),
        "ccaas" => {
            let connection = Connection::of(package).map_err(|error| Refused(error.to_string()))?;
            if connection.address.is_empty() {
                return Err(Refused::new("chaincode address not provided"));
            }
            if connection.tls_required && connection.root_cert.is_empty() {
                return Err(Refused::new("chaincode tls root cert not provided"));
            }
            if connection.tls_required && connection.client_auth_required {
                if connection.client_key.is_empty() {
                    return Err(Refused::new("chaincode tls key not provided"));
                }
                if connection.client_cert.is_empty() {
                    return Err(Refused::new("chaincode tls cert not provided"));
                }
            }
            Ok(Runs::Service(Box::new(connection)))
        }
        // As with a builder for it: the image is not run here.
        "k8s" => Ok(Runs::Sources("k8s".to_owned())),
        kind if Language::parse(kind).is_ok() => Ok(Runs::Sources(kind.to_owned())),
        other => Err(Refused(format!(
            "no builder for chaincode of type '{}': this network runs packages of the types 'ccaas' and 'native'",
            shown(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::names::Label;
    use crate::fabric::package::ccaas;

    #[test]
    fn what_can_be_run_is_installed_once() {
        let label = Label::parse("asset_1").unwrap();
        let packages = Packages::default();
        let service = ccaas::package(&label, &Connection::plain("asset:7052")).unwrap();
        packages.install(service.bytes().clone()).unwrap();
        let again = packages.install(service.bytes().clone()).unwrap_err();
        assert_eq!(again.0, format!("chaincode already successfully installed (package ID '{}')", service.id()));
        assert!(packages.get(service.id().as_str()).is_some());
        assert!(packages.get("asset_1:0").is_none());
        let check = |package: Package, expected: &str| {
            assert_eq!(packages.install(package.bytes().clone()).unwrap_err().0, expected);
        };
        check(
            Package::pack("cobol", &label, &[("main.cob", b"STOP RUN.")]).unwrap(),
            "could not build chaincode: no builder for chaincode of type 'cobol': this network runs packages of the \
             types 'ccaas' and 'native'",
        );
        check(
            Package::pack("ccaas", &label, &[("connection.json", b"{\"address\":\"\"}")]).unwrap(),
            "could not build chaincode: chaincode address not provided",
        );
        check(
            Package::pack("ccaas", &label, &[("connection.json", b"{\"address\":\"a:1\",\"tls_required\":true}")])
                .unwrap(),
            "could not build chaincode: chaincode tls root cert not provided",
        );
        let sources = Package::pack("golang", &label, &[("main.go", b"package main")]).unwrap();
        assert_eq!(packages.install(sources.bytes().clone()).unwrap().runs, Runs::Sources("golang".to_owned()));
        let rubbish = packages.install(Bytes::from_static(b"rubbish")).unwrap_err();
        assert!(rubbish.0.starts_with("could not parse as a chaincode install package: "), "{rubbish}");
        assert_eq!(packages.all().len(), 2);
    }
}
