//! An embedded network, and its description for the scripts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use opssc::devnet::{Devnet, NodeAddress};
use opssc::fabric::names::ChannelName;
use serde_json::{Value, json};

/// The channel that the scripts work on.
pub const CHANNEL: &str = "mychannel";
/// The channel beside it, which is there in any case.
pub const OTHER_CHANNEL: &str = "ops-channel";

/// A running network of two organizations.
pub struct Embedded {
    pub devnet: Devnet,
    /// Holds the files until the network is gone.
    folder: tempfile::TempDir,
}

impl Embedded {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let devnet = Devnet::builder(folder.path())
            .channel(ChannelName::parse(CHANNEL).unwrap())
            .batch_timeout(Duration::from_millis(20))
            .start()
            .await
            .unwrap();
        Self { devnet, folder }
    }

    /// Where scripts may leave files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the description that the scripts read.
    pub fn describe(&self) -> PathBuf {
        let organizations = self.devnet.organizations().iter().map(|organization| {
            let nodes = |nodes: &[NodeAddress]| -> Value {
                let nodes = nodes
                    .iter()
                    .map(|node| json!({"name": node.fqdn, "address": node.address, "tlsCa": organization.tls_ca}));
                nodes.collect()
            };
            json!({
                "name": organization.name,
                "mspId": organization.msp_id.as_str(),
                "adminMsp": organization.admin_msp,
                "userMsp": organization.user_msp,
                "profile": organization.connection_profile_json,
                "peers": nodes(&organization.peers),
                "orderers": nodes(&organization.orderers),
            })
        });
        write(self.folder(), &organizations.collect::<Vec<_>>())
    }
}

/// Writes a description of these organizations.
pub fn write(folder: &Path, organizations: &[Value]) -> PathBuf {
    let path = folder.join("interop.json");
    let described = json!({"channel": CHANNEL, "otherChannel": OTHER_CHANNEL, "organizations": organizations});
    std::fs::write(&path, described.to_string()).unwrap();
    path
}
