//! An organization as a channel knows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::{ConfigError, Group};
use crate::fabric::identity::{Msp, MspError, MspVersion};
use crate::fabric::names::MspId;
use crate::pb::{common, msp, protos};

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An organization of a channel.
#[derive(Debug, Clone)]
pub struct Organization {
    name: String,
    msp_id: MspId,
    msp: Result<Msp, MspError>,
    tls_roots: Vec<Bytes>,
    anchor_peers: Vec<Address>,
    endpoints: Vec<String>,
}

impl Organization {
    /// The name of its group, which may differ from its MSP ID.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its MSP ID.
    pub fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    /// Its MSP.
    ///
    /// # Errors
    /// [`MspError`] when this library cannot set it up; the organization is on the channel all the same.
    pub fn msp(&self) -> Result<&Msp, MspError> {
        self.msp.as_ref().map_err(Clone::clone)
    }

    /// The authorities of its nodes' TLS certificates, as PEM: roots, then intermediates.
    pub fn tls_roots(&self) -> &[Bytes] {
        &self.tls_roots
    }

    /// The peers by which other organizations find it.
    pub fn anchor_peers(&self) -> &[Address] {
        &self.anchor_peers
    }

    /// Its orderers, host and port.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn read(name: &str, group: &Group<'_>, version: MspVersion) -> Result<Option<Self>, ConfigError> {
        // A group without an MSP stands for an organization that is described elsewhere.
        let Some(config) = group.value::<msp::MspConfig>("MSP")? else { return Ok(None) };
        let fabric = msp::FabricMspConfig::decode(config.config.clone())
            .map_err(|error| group.broken("MSP", &error.to_string()))?;
        let msp_id = MspId::parse(fabric.name).map_err(|error| group.broken("MSP", &error.to_string()))?;
        let anchors: Option<protos::AnchorPeers> = group.value("AnchorPeers")?;
        let anchor_peers = anchors
            .unwrap_or_default()
            .anchor_peers
            .into_iter()
            .filter_map(|anchor| Some(Address { port: u16::try_from(anchor.port).ok()?, host: anchor.host }))
            .collect();
        let endpoints: Option<common::OrdererAddresses> = group.value("Endpoints")?;
        Ok(Some(Self {
            name: name.to_owned(),
            msp_id,
            msp: Msp::from_config(&config, version),
            tls_roots: [fabric.tls_root_certs, fabric.tls_intermediate_certs].concat(),
            anchor_peers,
            endpoints: endpoints.unwrap_or_default().addresses,
        }))
    }
}

/// The organizations below a group.
pub(super) fn read_all(group: &Group<'_>, version: MspVersion) -> Result<BTreeMap<MspId, Organization>, ConfigError> {
    let mut organizations = BTreeMap::new();
    for (name, child) in group.children() {
        if let Some(organization) = Organization::read(name, &child, version)? {
            organizations.insert(organization.msp_id.clone(), organization);
        }
    }
    Ok(organizations)
}
