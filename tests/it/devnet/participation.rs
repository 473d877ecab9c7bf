//! Channels that administrators make while the network runs.

use bytes::Bytes;
use opssc::client::net::{ClientTls, Endpoint, Tls};
use opssc::client::participation::{BlockId, ConsensusRelation, OrdererAdmin};
use opssc::devnet::{Devnet, Organization};
use opssc::fabric::config::tree::{Config, ConfigGroup, ConfigUpdate};
use opssc::fabric::names::ChannelName;
use opssc::pb::common::Block;
use prost::Message as _;
use std::sync::Arc;

use super::config::{anchor_update, signed};
use super::{Network, org};

/// An organization's administrator before the orderer of another one (or the same).
pub(super) fn admin(owner: &Organization, caller: &Organization) -> OrdererAdmin {
    let read = |path| Bytes::from(std::fs::read(path).unwrap());
    let client = ClientTls::new(read(&caller.admin_tls_certificate), read(&caller.admin_tls_key)).unwrap();
    let orderer = &owner.orderers[0];
    let tls = Tls { roots: read(&owner.tls_ca), client: Some(Arc::new(client)) };
    let endpoint = Endpoint { address: orderer.admin.clone().unwrap(), tls: Some(tls), server_name: None };
    OrdererAdmin::new(&orderer.name, &endpoint).unwrap()
}

async fn join_peers(devnet: &Devnet, block: &Block) {
    for number in [1, 2] {
        let client = devnet.admin(&org(number)).unwrap();
        for peer in client.peers() {
            client.join(peer, block).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_made_joined_and_left() {
    let network = Network::start().await;
    let [one, two] = network.devnet.organizations() else { panic!("two organizations") };
    let channel = ChannelName::parse("fresh").unwrap();
    let bytes = std::fs::read(network.devnet.first_block(&channel).unwrap()).unwrap();
    let block = Block::decode(bytes.as_slice()).unwrap();
    // Peers may come first: their blocks come when there are any.
    join_peers(&network.devnet, &block).await;
    for owner in [one, two] {
        let joined = admin(owner, owner).join(&channel, bytes.clone()).await.unwrap();
        assert_eq!((joined.relation, joined.height), (ConsensusRelation::Consenter, 1));
    }
    admin(one, two).channels().await.expect_err("a certificate of another organization");
    assert_eq!(admin(one, one).fetch(&channel, BlockId::Config).await.unwrap(), block);
    let client = network.devnet.admin(&org(1)).unwrap();
    assert_eq!(client.genesis_block(&channel).await.unwrap(), block);
    assert_eq!(client.channel(channel.clone()).height().await.unwrap(), 1);

    let update = signed(&client, &anchor_update(&channel, 0)).await.encode_to_vec();
    let before = admin(two, two).update(&channel, update.clone()).await.unwrap();
    assert!(before.height <= 2, "{before:?}");
    network.devnet.ordered(&channel, 2).await;
    admin(two, two).update(&channel, update.clone()).await.expect_err("the version has passed");

    admin(two, two).remove(&channel).await.unwrap();
    assert!(admin(two, two).channel(&channel).await.unwrap().is_none());
    assert_eq!(client.genesis_block(&channel).await.unwrap(), block, "the other orderer still has it");
    admin(one, one).remove(&channel).await.unwrap();
    client.genesis_block(&channel).await.expect_err("no orderer is left");
    assert!(network.devnet.height(&channel).is_none());
    admin(two, two).join(&channel, bytes).await.unwrap();
    assert_eq!(network.devnet.height(&channel), Some(1));
}

/// Runs the program as the administrator of an organization. Its exit code, and what it said.
pub(super) async fn program(organization: &Organization, arguments: &[&str]) -> (Option<i32>, String) {
    let orderer = &organization.orderers[0];
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_opssc-agent"))
        .args(arguments)
        .env_clear()
        .env("ADMIN_MSPID", organization.msp_id.as_str())
        .env("ADMIN_CERT", organization.admin_msp.join("signcerts"))
        .env("ADMIN_KEY", organization.admin_msp.join("keystore"))
        .env("CONNECTION_PROFILE", &organization.connection_profile)
        .env("CC_SERVER_LAUNCH_FROM_AGENT", "false")
        .env("ORDERER_ADMIN_ENDPOINTS", orderer.admin.as_ref().unwrap())
        .env("ORDERER_ADMIN_TLS_CA", &organization.tls_ca)
        .env("ORDERER_ADMIN_TLS_CERT", &organization.admin_tls_certificate)
        .env("ORDERER_ADMIN_TLS_KEY", &organization.admin_tls_key)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_makes_a_channel_without_a_vote() {
    let network = Network::start().await;
    let [one, two] = network.devnet.organizations() else { panic!("two organizations") };
    let channel = ChannelName::parse("fresh").unwrap();
    let block = std::fs::read(network.devnet.first_block(&channel).unwrap()).unwrap();
    let config = Config::from_block(&Block::decode(block.as_slice()).unwrap()).unwrap();
    let mut update = ConfigUpdate::default();
    update.channel_id = channel.to_string();
    update.read_set = Some(ConfigGroup::default());
    update.write_set = config.channel_group;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("update.pb");
    std::fs::write(&file, update.encode()).unwrap();
    let file = file.to_str().unwrap();

    for organization in [one, two] {
        let output = folder.path().join(organization.msp_id.as_str());
        let arguments = ["channel", "create", "-c", "fresh", "-f", file, "--output-block", output.to_str().unwrap()];
        let (code, said) = program(organization, &arguments).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("joined fresh: consenter") && !said.contains("had joined"), "{said}");
    }
    let first = |organization: &Organization| std::fs::read(folder.path().join(organization.msp_id.as_str())).unwrap();
    assert_eq!(first(one), first(two), "everybody makes the same block");
    // Again, nothing is left to do.
    let (code, said) = program(one, &["channel", "create", "-c", "fresh", "-f", file]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("had joined"), "{said}");

    let (code, said) = program(two, &["channel", "info", "-c", "fresh"]).await;
    assert_eq!(code, Some(0), "{said}");
    for expected in ["Organizations", "policy Admins: MAJORITY Admins", "capabilities.V2_0: yes", "certificate of "] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
    let (code, said) = program(one, &["channel", "create", "-c", "other", "-f", file]).await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("the update is for channel"), "{said}");
}
