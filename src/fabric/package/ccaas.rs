//! Packages that hold no code but say where it runs: `ccaas` and `k8s`.
//!
//! A module of its own because the JSON inside is read by builders of others, whose keys these are.
//!
//! Source: Fabric 3.1.5 `ccaas_builder`, fabric-opssc `external-chaincode-operator.ts`.

use serde::{Deserialize, Serialize};

use super::{Package, PackageError};
use crate::fabric::names::Label;

const CONNECTION: &str = "connection.json";
const IMAGE: &str = "image.json";

/// How a peer reaches a chaincode that runs as a service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Host and port. A peer expands `{{.peername}}` and the like in it.
    pub address: String,
    /// How long the peer tries, such as `10s`.
    #[serde(default)]
    pub dial_timeout: String,
    /// Whether the chaincode serves TLS.
    #[serde(default)]
    pub tls_required: bool,
    /// Whether the peer shows a certificate of its own.
    #[serde(default)]
    pub client_auth_required: bool,
    /// The peer's key, as PEM.
    #[serde(default)]
    pub client_key: String,
    /// The peer's certificate, as PEM.
    #[serde(default)]
    pub client_cert: String,
    /// The authority of the chaincode's certificate, as PEM.
    #[serde(default)]
    pub root_cert: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("tls_required", &self.tls_required)
            .field("client_auth_required", &self.client_auth_required)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A plain connection to `address`, tried for ten seconds.
    pub fn plain(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            dial_timeout: "10s".to_owned(),
            tls_required: false,
            client_auth_required: false,
            client_key: String::new(),
            client_cert: String::new(),
            root_cert: String::new(),
        }
    }

    /// Reads it from the code of a `ccaas` package.
    ///
    /// # Errors
    /// [`PackageError`] when the code holds none or a broken one.
    pub fn of(package: &Package) -> Result<Self, PackageError> {
        let files = package.code_files()?;
        let text = files.get(CONNECTION).ok_or(PackageError::Missing { name: CONNECTION })?;
        serde_json::from_slice(text).map_err(|error| PackageError::Json { name: CONNECTION, reason: error.to_string() })
    }

    /// `connection.json`, as OpsSC writes it.
    pub fn to_json(&self) -> String {
        line(self)
    }
}

/// The image that the Kubernetes builder starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Registry and repository.
    pub name: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
}

impl Image {
    /// `image.json`, as OpsSC writes it.
    pub fn to_json(&self) -> String {
        line(self)
    }
}

/// JSON in one line, with its end.
fn line(value: &impl Serialize) -> String {
    // Strings and booleans always have a JSON form.
    format!("{}\n", serde_json::to_string(value).unwrap_or_default())
}

/// A package of type `ccaas`.
///
/// # Errors
/// None in practice: the names fit into the archive.
pub fn package(label: &Label, connection: &Connection) -> Result<Package, PackageError> {
    Package::pack("ccaas", label, &[(CONNECTION, connection.to_json().as_bytes())])
}

/// A package of type `k8s`.
///
/// # Errors
/// None in practice: the names fit into the archive.
pub fn image_package(label: &Label, image: &Image) -> Result<Package, PackageError> {
    Package::pack("k8s", label, &[(IMAGE, image.to_json().as_bytes())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_input_gives_the_same_package() {
        let label = Label::parse("basic-1").unwrap();
        let connection = Connection::plain("chaincode-basic-org1.hyperledger:7052");
        let package = package(&label, &connection).unwrap();
        // The bytes are part of the contract: other peers of the organization may have the package already.
        assert_eq!(package.id().as_str(), "basic-1:7c7378e825808bd1e431cb5dcf0ef7e9cd6cf257912f182f220becd2c181f80b");
        let read = Package::read(package.bytes().clone()).unwrap();
        assert_eq!(read, package);
        assert_eq!(Connection::of(&read).unwrap(), connection);
    }
}
