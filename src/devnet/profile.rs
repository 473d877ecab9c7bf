//! What clients need to find the network: connection profiles, and settings for Fabric's own command line.
//!
//! Source: the connection profiles of Fabric's samples; `core.yaml` of Fabric 3.1.5.

use std::path::Path;

use serde_json::{Value, json};

use super::files::{self, FileError};

/// A node as a profile shows it.
pub(crate) struct ProfileNode<'a> {
    pub(crate) fqdn: &'a str,
    pub(crate) address: &'a str,
    pub(crate) tls_ca_pem: &'a str,
}

/// An organization's profile: its own peers, and the orderers of all.
pub(crate) struct Profile<'a> {
    pub(crate) organization: &'a str,
    pub(crate) msp_id: &'a str,
    pub(crate) peers: Vec<ProfileNode<'a>>,
    pub(crate) orderers: Vec<ProfileNode<'a>>,
    /// The TLS certificate and key that clients show, where nodes demand them.
    pub(crate) client: Option<(&'a Path, &'a Path)>,
}

impl Profile<'_> {
    fn to_json(&self) -> Value {
        let nodes = |nodes: &[ProfileNode<'_>]| -> Value {
            nodes
                .iter()
                .map(|node| {
                    let entry = json!({
                        "url": format!("grpcs://{}", node.address),
                        "tlsCACerts": { "pem": node.tls_ca_pem },
                        "grpcOptions": { "ssl-target-name-override": node.fqdn, "hostnameOverride": node.fqdn },
                    });
                    (node.fqdn.to_owned(), entry)
                })
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let mut profile = json!({
            "name": format!("devnet-{}", self.organization.to_lowercase()),
            "version": "1.0.0",
            "client": {
                "organization": self.organization,
                "connection": { "timeout": { "peer": { "endorser": "300" } } },
            },
            "organizations": {
                self.organization: {
                    "mspid": self.msp_id,
                    "peers": self.peers.iter().map(|peer| peer.fqdn).collect::<Vec<_>>(),
                },
            },
            "peers": nodes(&self.peers),
            "orderers": nodes(&self.orderers),
        });
        if let Some((certificate, key)) = self.client {
            let pair = json!({ "cert": { "path": certificate }, "key": { "path": key } });
            profile["client"]["tlsCerts"] = json!({ "client": pair });
        }
        profile
    }

    /// Writes the profile in both notations.
    pub(crate) fn write(&self, yaml: &Path, json: &Path) -> Result<(), FileError> {
        let profile = self.to_json();
        // A tree of texts, lists and maps has both forms.
        let text = serde_yaml::to_string(&profile).unwrap_or_else(|_| profile.to_string());
        files::write(yaml, format!("---\n{text}"))?;
        files::write(json, format!("{profile:#}\n"))
    }
}

/// What Fabric's `peer` command reads before it does anything.
const CORE_YAML: &str = "\
peer:
  BCCSP:
    Default: SW
    SW:
      Hash: SHA2
      Security: 256
      FileKeyStore:
        KeyStore:
  localMspType: bccsp
  client:
    connTimeout: 3s
";

/// The environment in which Fabric's `peer` command speaks to a peer as an administrator.
pub(crate) struct CommandLine<'a> {
    pub(crate) msp_id: &'a str,
    pub(crate) admin_msp: &'a Path,
    pub(crate) peer: &'a str,
    pub(crate) peer_tls_ca: &'a Path,
    pub(crate) orderer: &'a str,
    pub(crate) orderer_fqdn: &'a str,
    pub(crate) orderer_tls_ca: &'a Path,
    pub(crate) orderer_admin: &'a str,
    pub(crate) admin_tls_certificate: &'a Path,
    pub(crate) admin_tls_key: &'a Path,
    pub(crate) mutual_tls: bool,
}

/// Writes the settings that Fabric's `peer` command needs in any case into `folder`.
pub(crate) fn write_core(folder: &Path) -> Result<(), FileError> {
    files::write(&folder.join("core.yaml"), CORE_YAML)
}

impl CommandLine<'_> {
    /// Writes a script to be sourced; `config` is where `core.yaml` lies.
    pub(crate) fn write(&self, script: &Path, config: &Path) -> Result<(), FileError> {
        let (certificate, key) = (self.admin_tls_certificate.display(), self.admin_tls_key.display());
        let client = if self.mutual_tls {
            format!(" --clientauth --certfile {certificate} --keyfile {key}")
        } else {
            String::new()
        };
        let orderer = format!(
            "-o {} --tls --cafile {} --ordererTLSHostnameOverride {}{client}",
            self.orderer,
            self.orderer_tls_ca.display(),
            self.orderer_fqdn
        );
        let osnadmin = format!(
            "-o {} --ca-file {} --client-cert {certificate} --client-key {key}",
            self.orderer_admin,
            self.orderer_tls_ca.display(),
        );
        let lines = [
            ("FABRIC_CFG_PATH", config.display().to_string()),
            ("CORE_PEER_LOCALMSPID", self.msp_id.to_owned()),
            ("CORE_PEER_MSPCONFIGPATH", self.admin_msp.display().to_string()),
            ("CORE_PEER_ADDRESS", self.peer.to_owned()),
            ("CORE_PEER_TLS_ENABLED", "true".to_owned()),
            ("CORE_PEER_TLS_ROOTCERT_FILE", self.peer_tls_ca.display().to_string()),
            ("CORE_PEER_TLS_CLIENTAUTHREQUIRED", self.mutual_tls.to_string()),
            ("CORE_PEER_TLS_CLIENTCERT_FILE", certificate.to_string()),
            ("CORE_PEER_TLS_CLIENTKEY_FILE", key.to_string()),
            ("ORDERER_ARGS", orderer),
            ("OSNADMIN_ARGS", osnadmin),
        ];
        let text = lines.map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', "'\\''"))).concat();
        files::write(script, text)
    }
}
