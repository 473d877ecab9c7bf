//! Mutual TLS: who shows no certificate of the organizations is not let in.

use std::sync::Arc;
use std::time::Duration;

use opssc::chaincode::asset::AssetContract;
use opssc::client::profile::ConnectionProfile;
use opssc::client::{Client, Endorsers};
use opssc::devnet::Devnet;
use opssc::fabric::identity::SigningIdentity;

use super::{Network, channel_name, create, name, org, read, submit};

async fn network() -> Network {
    let folder = tempfile::tempdir().unwrap();
    let devnet = Devnet::builder(folder.path())
        .channel(channel_name())
        .native(name("asset"), Arc::new(AssetContract))
        .batch_timeout(Duration::from_millis(50))
        .mutual_tls(true)
        .start()
        .await
        .unwrap();
    let network = Network { devnet, _folder: folder };
    network.deploy("asset", "").await;
    network
}

/// The profile of an organization, changed.
fn profile(network: &Network, number: usize, change: impl FnOnce(&mut serde_json::Value)) -> ConnectionProfile {
    let organization = &network.devnet.organizations()[number - 1];
    let text = std::fs::read(&organization.connection_profile_json).unwrap();
    let mut profile = serde_json::from_slice(&text).unwrap();
    change(&mut profile);
    let file = network.devnet.folder().join("changed.json");
    std::fs::write(&file, profile.to_string()).unwrap();
    ConnectionProfile::load(&file).unwrap()
}

#[tokio::test]
async fn with_a_certificate_all_goes_its_way() {
    let network = network().await;
    let channel = network.user(1);
    submit(&channel, &create("a1")).await.unwrap();
    let found = network.user(2).evaluate(&read("a1")).await.unwrap();
    assert!(String::from_utf8_lossy(&found).contains("tom"));
    let discovered = channel.submit(&create("a2"), Endorsers::Discovered).await;
    assert!(discovered.is_ok(), "{discovered:?}");
}

#[tokio::test]
async fn without_one_nobody_gets_in() {
    let network = network().await;
    let strangers = profile(&network, 1, |profile| {
        profile["client"].as_object_mut().unwrap().remove("tlsCerts");
    });
    let organization = &network.devnet.organizations()[0];
    let identity = SigningIdentity::load_msp(org(1), &organization.user_msp).unwrap();
    let client = Client::builder(Arc::new(identity), strangers).build().unwrap();
    let error = client.channel(channel_name()).evaluate(&read("a1")).await.unwrap_err();
    assert!(error.is_retryable(), "no answer came: {error}");
}
