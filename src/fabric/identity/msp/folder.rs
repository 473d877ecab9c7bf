//! The MSP as a folder, the form in which organizations keep and hand it over.
//!
//! Reads what goes into a channel's configuration, byte for byte as it lies there. Signing material is left alone.
//!
//! Source: Fabric 3.1.5 `msp/configbuilder.go`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;

use super::{MspError, setup};
use crate::fabric::identity::{Certificate, IdentityError, pem};
use crate::fabric::names::MspId;
use crate::pb::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, MspConfig};

/// An MSP folder that was read.
#[derive(Debug, Clone)]
pub struct MspFolder {
    config: FabricMspConfig,
}

/// `config.yaml`.
#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default, rename = "OrganizationalUnitIdentifiers")]
    units: Option<Vec<Unit>>,
    #[serde(default, rename = "NodeOUs")]
    node_units: Option<NodeUnits>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeUnits {
    #[serde(default)]
    enable: bool,
    #[serde(default, rename = "ClientOUIdentifier")]
    client: Option<Unit>,
    #[serde(default, rename = "PeerOUIdentifier")]
    peer: Option<Unit>,
    #[serde(default, rename = "AdminOUIdentifier")]
    admin: Option<Unit>,
    #[serde(default, rename = "OrdererOUIdentifier")]
    orderer: Option<Unit>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Unit {
    #[serde(default)]
    certificate: String,
    #[serde(default, rename = "OrganizationalUnitIdentifier")]
    name: String,
}

impl MspFolder {
    /// Reads the folder of the organization `msp_id`.
    ///
    /// # Errors
    /// [`MspError`] when there is no authority, or a part is broken that may not be left out.
    pub fn load(msp_id: &MspId, folder: &Path) -> Result<Self, MspError> {
        let root_certs = certificates(&folder.join("cacerts"))?
            .filter(|found| !found.is_empty())
            .ok_or_else(|| IdentityError::Nothing { path: folder.join("cacerts") })?;
        let optional = |name: &str| certificates(&folder.join(name)).map(Option::unwrap_or_default);
        let tls_root_certs = optional("tlscacerts")?;
        let tls_intermediate_certs =
            if tls_root_certs.is_empty() { Vec::new() } else { optional("tlsintermediatecerts")? };
        let configuration = configuration(msp_id, &folder.join("config.yaml"))?;
        let units = configuration
            .units
            .unwrap_or_default()
            .into_iter()
            .map(|unit| {
                Ok(FabricOuIdentifier {
                    certificate: read(&folder.join(&unit.certificate))?,
                    organizational_unit_identifier: unit.name,
                })
            })
            .collect::<Result<_, IdentityError>>()?;
        let config = FabricMspConfig {
            name: msp_id.to_string(),
            root_certs,
            intermediate_certs: optional("intermediatecerts")?,
            admins: optional("admincerts")?,
            revocation_list: optional("crls")?,
            signing_identity: None,
            organizational_unit_identifiers: units,
            crypto_config: Some(FabricCryptoConfig {
                signature_hash_family: "SHA2".to_owned(),
                identity_identifier_hash_function: "SHA256".to_owned(),
            }),
            tls_root_certs,
            tls_intermediate_certs,
            fabric_node_ous: configuration.node_units.and_then(|units| node_units(units, folder)),
        };
        Ok(Self { config })
    }

    /// That an authority of the folder signed `certificate`. As in the peer CLI, this is judged of ECDSA signatures
    /// alone.
    pub(crate) fn check_issuer(&self, certificate: &Certificate) -> Result<(), MspError> {
        setup::chains(&self.config)?.sanitize(certificate.clone()).map(drop).map_err(|reason| MspError::Setup {
            msp_id: self.config.name.clone(),
            reason: format!("{}: {reason}", certificate.subject()),
        })
    }

    /// The `msp.FabricMSPConfig`.
    pub fn fabric_config(&self) -> &FabricMspConfig {
        &self.config
    }

    /// The `msp.MSPConfig` that stands in a channel's configuration.
    pub fn to_config(&self) -> MspConfig {
        MspConfig { r#type: 0, config: self.config.encode_to_vec().into() }
    }
}

fn node_units(units: NodeUnits, folder: &Path) -> Option<FabricNodeOUs> {
    if !units.enable {
        return None;
    }
    let identifier = |unit: Option<Unit>| {
        let unit = unit.filter(|unit| !unit.name.is_empty())?;
        // A certificate that cannot be read is as if none were named, as it is for the nodes.
        let certificate = if unit.certificate.is_empty() {
            Bytes::new()
        } else {
            read(&folder.join(&unit.certificate)).unwrap_or_default()
        };
        Some(FabricOuIdentifier { certificate, organizational_unit_identifier: unit.name })
    };
    Some(FabricNodeOUs {
        enable: true,
        client_ou_identifier: identifier(units.client),
        peer_ou_identifier: identifier(units.peer),
        admin_ou_identifier: identifier(units.admin),
        orderer_ou_identifier: identifier(units.orderer),
    })
}

fn read(path: &Path) -> Result<Bytes, IdentityError> {
    let read = std::fs::read(path);
    read.map(Bytes::from).map_err(|source| IdentityError::Read { path: path.to_owned(), source: Arc::new(source) })
}

/// The files of a folder that hold a PEM block, whole, in byte order of their names; `None` without the folder.
fn certificates(folder: &Path) -> Result<Option<Vec<Bytes>>, IdentityError> {
    let failed = |source: io::Error| IdentityError::Read { path: folder.to_owned(), source: Arc::new(source) };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut names =
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    names.sort();
    let files = names.into_iter().map(|name| folder.join(name)).filter(|path| !path.is_dir());
    let texts = files.filter_map(|path| std::fs::read(path).ok());
    Ok(Some(texts.filter(|text| pem::first(text).is_some()).map(Bytes::from).collect()))
}

fn configuration(msp_id: &MspId, path: &Path) -> Result<Configuration, MspError> {
    if !path.exists() {
        return Ok(Configuration::default());
    }
    let text = read(path)?;
    let malformed =
        |reason: String| MspError::Setup { msp_id: msp_id.to_string(), reason: format!("config.yaml: {reason}") };
    let parsed: Option<Configuration> = serde_yaml::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    Ok(parsed.unwrap_or_default())
}
