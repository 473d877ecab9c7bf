//! Certificates and keys, by cryptogen.
//!
//! As in the network that OpsSC documents, an organization's peers and orderers belong to one MSP. cryptogen knows peer
//! organizations and orderer organizations only, so it makes the organizations with their peers first, and then extends
//! the same folders, seen under their second name, by the orderers.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::binaries::Binaries;
use super::layout::Layout;
use super::process;

/// Makes everything below the layout's crypto folder.
pub fn generate(binaries: &Binaries, layout: &Layout) {
    let names = ["localhost", "127.0.0.1"];
    let peers: Vec<_> = layout
        .organizations
        .iter()
        .map(|organization| {
            json!({
                "Name": organization.name,
                "Domain": organization.domain,
                "EnableNodeOUs": true,
                "Template": {"Count": organization.peers.len(), "SANS": names},
                "Users": {"Count": 1},
            })
        })
        .collect();
    let orderers: Vec<_> = layout
        .organizations
        .iter()
        .map(|organization| {
            json!({
                "Name": organization.name,
                "Domain": organization.domain,
                "EnableNodeOUs": true,
                "Specs": (0..organization.orderers.len())
                    .map(|orderer| json!({"Hostname": format!("orderer{orderer}"), "SANS": names}))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();

    cryptogen(binaries, layout, "generate", "--output", "crypto-peers.yaml", &json!({"PeerOrgs": peers}));
    let second_name = layout.crypto().join("ordererOrganizations");
    symlink("peerOrganizations", &second_name).expect("a link in the crypto folder");
    cryptogen(binaries, layout, "extend", "--input", "crypto-orderers.yaml", &json!({"OrdererOrgs": orderers}));
    fs::remove_file(second_name).expect("the link is ours");
}

fn cryptogen(
    binaries: &Binaries,
    layout: &Layout,
    verb: &str,
    folder_flag: &str,
    file: &str,
    settings: &serde_json::Value,
) {
    let config = layout.directory.join(file);
    process::write_yaml(&config, settings);
    let mut command = binaries.command("cryptogen");
    command.arg(verb).arg("--config").arg(config).arg(folder_flag).arg(layout.crypto());
    process::run(&mut command).unwrap_or_else(|error| panic!("certificates: {error}"));
}
