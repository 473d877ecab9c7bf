//! Channels that administrators make while the network runs.

use bytes::Bytes;
use opssc::client::net::{ClientTls, Endpoint, Tls};
use opssc::client::participation::{BlockId, ConsensusRelation, OrdererAdmin};
use opssc::devnet::{Devnet, Organization};
use opssc::fabric::names::ChannelName;
use opssc::pb::common::Block;
use prost::Message as _;
use std::sync::Arc;

use super::config::{anchor_update, signed};
use super::{Network, org};

/// An organization's administrator before the orderer of another one (or the same).
fn admin(owner: &Organization, caller: &Organization) -> OrdererAdmin {
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
    network.devnet.settled(&channel).await;
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
