//! Connection profiles: the file in which an organization keeps the addresses of its nodes.
//!
//! A module of its own because the format is the Fabric SDKs', older than us and loosely kept: YAML or JSON, TLS roots
//! inline or as paths, host-name overrides under two names. Here it becomes endpoints, or one error that tells every
//! fault. It neither connects nor decides which organization is meant when the profile knows several.
//!
//! Source: fabric-samples `test-network/organizations/ccp-template.yaml`, the common connection profile of the SDKs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::net::{ClientTls, Endpoint, Tls};
use crate::fabric::names::MspId;

/// Why a connection profile is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("connection profile {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// Neither YAML nor JSON of the right shape.
    #[error("connection profile is not understood: {reason}")]
    Syntax {
        /// What the parser says, with the place.
        reason: String,
    },
    /// Understood, but wrong in these places.
    #[error("connection profile is not usable: {}", problems.join("; "))]
    Content {
        /// Every problem found.
        problems: Vec<String>,
    },
}

/// An organization as the profile names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The profile's name for it, such as `Org1`.
    pub name: String,
    /// Its MSP ID.
    pub msp_id: MspId,
    /// The names of its peers.
    pub peers: Vec<String>,
}

/// A peer or an orderer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The profile's name for it, such as `peer0.org1.example.com`.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
}

/// A connection profile that was read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionProfile {
    organizations: Vec<Organization>,
    own: usize,
    peers: BTreeMap<String, Node>,
    orderers: Vec<Node>,
    client_tls: Option<Arc<ClientTls>>,
}

impl ConnectionProfile {
    /// Reads the profile at `path`. Paths in it are relative to its folder, or else to the working directory.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let text = fs::read_to_string(path).map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
        Self::parse_in(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads the profile in `text`, YAML or JSON. Paths in it are relative to the working directory.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        Self::parse_in(text, Path::new(""))
    }

    /// [`parse`](Self::parse) with paths relative to `folder`.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn parse_in(text: &str, folder: &Path) -> Result<Self, ProfileError> {
        let syntax = |reason: String| ProfileError::Syntax { reason };
        let file: File = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?
        } else {
            let mut value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| syntax(error.to_string()))?;
            value.apply_merge().map_err(|error| syntax(error.to_string()))?;
            serde_yaml::from_value(value).map_err(|error| syntax(error.to_string()))?
        };
        Reader { folder, problems: Vec::new() }.profile(file)
    }

    /// The organization that `client.organization` names, or the only one.
    pub fn organization(&self) -> &Organization {
        &self.organizations[self.own]
    }

    /// The organization with this MSP ID, which may be another than [`organization`](Self::organization).
    pub fn organization_of(&self, msp_id: &MspId) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.msp_id == *msp_id)
    }

    /// The peers of `organization`, in its order.
    pub fn peers_of<'a>(&'a self, organization: &'a Organization) -> impl Iterator<Item = &'a Node> {
        organization.peers.iter().filter_map(|name| self.peers.get(name))
    }

    /// The peers of [`organization`](Self::organization).
    pub fn peers(&self) -> Vec<&Node> {
        self.peers_of(self.organization()).collect()
    }

    /// All orderers, in the profile's order: the first ones are asked first.
    pub fn orderers(&self) -> &[Node] {
        &self.orderers
    }

    /// The client's TLS certificate, for networks with mutual TLS.
    pub fn client_tls(&self) -> Option<&Arc<ClientTls>> {
        self.client_tls.as_ref()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    client: ClientSection,
    #[serde(default)]
    organizations: BTreeMap<String, OrganizationSection>,
    #[serde(default)]
    peers: BTreeMap<String, NodeSection>,
    /// In the order of the file, which a map would lose.
    #[serde(default, deserialize_with = "in_order")]
    orderers: Vec<(String, NodeSection)>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ClientSection {
    organization: Option<String>,
    tls_certs: Option<ClientTlsSection>,
}

#[derive(Deserialize)]
struct ClientTlsSection {
    client: Option<ClientKeyPair>,
}

#[derive(Deserialize)]
struct ClientKeyPair {
    cert: Option<Pem>,
    key: Option<Pem>,
}

#[derive(Deserialize)]
struct OrganizationSection {
    mspid: String,
    #[serde(default)]
    peers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSection {
    url: String,
    #[serde(rename = "tlsCACerts")]
    tls_ca_certs: Option<Pem>,
    #[serde(default)]
    grpc_options: GrpcOptions,
}

#[derive(Deserialize, Default)]
struct GrpcOptions {
    #[serde(rename = "ssl-target-name-override")]
    ssl_target_name_override: Option<String>,
    #[serde(rename = "hostnameOverride")]
    hostname_override: Option<String>,
}

#[derive(Deserialize)]
struct Pem {
    pem: Option<OneOrMany>,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn in_order<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, NodeSection)>, D::Error> {
    struct InOrder;
    impl<'de> serde::de::Visitor<'de> for InOrder {
        type Value = Vec<(String, NodeSection)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map from names to nodes")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut nodes = Vec::new();
            while let Some(node) = map.next_entry()? {
                nodes.push(node);
            }
            Ok(nodes)
        }
    }
    deserializer.deserialize_any(InOrder)
}

struct Reader<'a> {
    folder: &'a Path,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn profile(mut self, file: File) -> Result<ConnectionProfile, ProfileError> {
        let client_tls = file.client.tls_certs.and_then(|certs| certs.client).and_then(|pair| self.client_tls(pair));
        let mut organizations = Vec::new();
        for (name, section) in file.organizations {
            for peer in section.peers.iter().filter(|peer| !file.peers.contains_key(*peer)) {
                self.problems.push(format!("peer {peer} of organization {name} is not among the peers"));
            }
            match MspId::parse(section.mspid) {
                Ok(msp_id) => organizations.push(Organization { name, msp_id, peers: section.peers }),
                Err(error) => self.problems.push(format!("organization {name}: {error}")),
            }
        }
        let own = match file.client.organization {
            Some(name) => {
                let own = organizations.iter().position(|organization| organization.name == name);
                if own.is_none() {
                    self.problems.push(format!("client.organization {name} is not among the organizations"));
                }
                own
            }
            None if organizations.len() == 1 => Some(0),
            None => {
                self.problems.push("client.organization must say which organization is ours".to_owned());
                None
            }
        };
        let peers = file
            .peers
            .into_iter()
            .filter_map(|(name, section)| Some((name.clone(), self.node(name, section, client_tls.as_ref())?)))
            .collect();
        let orderers = file
            .orderers
            .into_iter()
            .filter_map(|(name, section)| self.node(name, section, client_tls.as_ref()))
            .collect();
        match own {
            Some(own) if self.problems.is_empty() => {
                Ok(ConnectionProfile { organizations, own, peers, orderers, client_tls })
            }
            _ => Err(ProfileError::Content { problems: self.problems }),
        }
    }

    fn node(&mut self, name: String, section: NodeSection, client: Option<&Arc<ClientTls>>) -> Option<Node> {
        let url = section.url.trim().trim_end_matches('/');
        let (secure, address) = match url.split_once("://") {
            Some(("grpcs" | "https", address)) => (true, address),
            Some(("grpc" | "http", address)) => (false, address),
            Some((scheme, _)) => {
                self.problems.push(format!("url of {name}: scheme {scheme} is neither grpc nor grpcs"));
                return None;
            }
            None => (section.tls_ca_certs.is_some(), url),
        };
        let tls = if secure {
            let Some(pem) = section.tls_ca_certs else {
                self.problems.push(format!("{name} has no tlsCACerts"));
                return None;
            };
            let roots = self.pem(&format!("tlsCACerts of {name}"), pem)?;
            Some(Tls { roots, client: client.cloned() })
        } else {
            None
        };
        let options = section.grpc_options;
        let server_name =
            options.ssl_target_name_override.or(options.hostname_override).filter(|name| !name.is_empty());
        Some(Node { name, endpoint: Endpoint { address: address.to_owned(), tls, server_name } })
    }

    fn client_tls(&mut self, pair: ClientKeyPair) -> Option<Arc<ClientTls>> {
        let (Some(cert), Some(key)) = (pair.cert, pair.key) else {
            self.problems.push("client.tlsCerts.client needs cert and key".to_owned());
            return None;
        };
        let cert = self.pem("client.tlsCerts.client.cert", cert)?;
        let key = self.pem("client.tlsCerts.client.key", key)?;
        ClientTls::new(cert, key).map_err(|error| self.problems.push(error.to_string())).map(Arc::new).ok()
    }

    fn pem(&mut self, what: &str, pem: Pem) -> Option<Bytes> {
        match pem {
            Pem { pem: Some(OneOrMany::One(text)), .. } => Some(text.into()),
            Pem { pem: Some(OneOrMany::Many(texts)), .. } => Some(texts.join("\n").into()),
            Pem { path: Some(path), .. } => {
                let inside = self.folder.join(&path);
                match fs::read(&inside).or_else(|error| fs::read(&path).map_err(|_| error)) {
                    Ok(text) => Some(text.into()),
                    Err(error) => {
                        self.problems.push(format!("{what}: {} cannot be read: {error}", inside.display()));
                        None
                    }
                }
            }
            Pem { pem: None, path: None } => {
                self.problems.push(format!("{what} has neither pem nor path"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
name: test-network-org1
client: {organization: Org1, connection: {timeout: {peer: {endorser: "300"}}}}
organizations:
  Org1: {mspid: Org1MSP, peers: [peer0.org1, peer1.org1], certificateAuthorities: [ca.org1]}
peers:
  peer0.org1:
    url: grpcs://localhost:7051
    tlsCACerts: {pem: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}
    grpcOptions: {ssl-target-name-override: peer0.org1.example.com, hostnameOverride: other}
  peer1.org1: {url: "localhost:8051"}
orderers:
  z.example.com: {url: "grpc://127.0.0.1:1"}
  a.example.com: {url: "grpc://127.0.0.1:2", grpcOptions: {hostnameOverride: a}}
certificateAuthorities: {}
"#;

    #[test]
    fn reads_the_samples_shape() {
        let profile = ConnectionProfile::parse(SAMPLE).unwrap();
        assert_eq!(profile.organization().msp_id.as_str(), "Org1MSP");
        let peers = profile.peers();
        assert_eq!(peers[0].endpoint.address, "localhost:7051");
        assert_eq!(peers[0].endpoint.server_name.as_deref(), Some("peer0.org1.example.com"));
        assert!(peers[0].endpoint.tls.is_some());
        assert!(peers[1].endpoint.tls.is_none());
        let orderers: Vec<_> = profile.orderers().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(orderers, ["z.example.com", "a.example.com"], "the order of the file");
        assert_eq!(profile.orderers()[1].endpoint.server_name.as_deref(), Some("a"));
    }

    #[test]
    fn json_is_the_same() {
        let value: serde_json::Value = serde_yaml::from_str(SAMPLE).unwrap();
        let from_json = ConnectionProfile::parse(&value.to_string()).unwrap();
        assert_eq!(from_json.organization(), ConnectionProfile::parse(SAMPLE).unwrap().organization());
        assert_eq!(from_json.peers(), ConnectionProfile::parse(SAMPLE).unwrap().peers());
    }

    #[test]
    fn paths_are_relative_to_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), "roots").unwrap();
        let file = folder.path().join("profile.yaml");
        fs::write(
            &file,
            "organizations: {Org1: {mspid: Org1MSP, peers: [p]}}\n\
             peers: {p: {url: 'grpcs://p:1', tlsCACerts: {path: ca.pem}}}",
        )
        .unwrap();
        let profile = ConnectionProfile::load(&file).unwrap();
        assert_eq!(profile.peers()[0].endpoint.tls.as_ref().unwrap().roots, "roots");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = ConnectionProfile::parse(
            "client: {organization: Org9, tlsCerts: {client: {cert: {pem: x}}}}\n\
             organizations: {Org1: {mspid: '', peers: [gone]}}\n\
             peers: {p: {url: 'grpcs://p:1'}, q: {url: 'ftp://q:1'}, r: {url: 'grpcs://r:1', tlsCACerts: {}}}",
        )
        .unwrap_err();
        let ProfileError::Content { problems } = &error else { panic!("{error}") };
        assert_eq!(problems.len(), 7, "{problems:#?}");
    }

    #[test]
    fn rubbish_is_an_error() {
        for text in ["", "[]", "{", "a: [", "organizations: 3", "{\"peers\": {\"p\": {}}}", "\u{0}"] {
            assert!(ConnectionProfile::parse(text).is_err(), "for {text:?}");
        }
    }
}
