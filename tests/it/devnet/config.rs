//! Changes of a channel's configuration.

use std::time::Duration;

use opssc::client::{Client, UpdateError, Updated};
use opssc::fabric::config::edit::Operation;
use opssc::fabric::config::tree::Config;
use opssc::fabric::config::update;
use opssc::fabric::names::ChannelName;
use opssc::fabric::tx::{self, Header, Nonce};
use opssc::pb::common::{
    ConfigGroup, ConfigSignature, ConfigUpdate, ConfigUpdateEnvelope, ConfigValue, Envelope, HeaderType,
    SignatureHeader,
};
use opssc::pb::protos::{AnchorPeer, AnchorPeers};
use prost::Message as _;

use super::{Network, channel_name, org};

/// An update of the anchor peers of the first organization, from the given version of the value.
pub(super) fn anchor_update(channel: &ChannelName, version: u64) -> ConfigUpdate {
    let anchor = AnchorPeer { host: "peer9.org1.example.com".to_owned(), port: 7051 };
    let value = ConfigValue {
        version: version + 1,
        value: AnchorPeers { anchor_peers: vec![anchor] }.encode_to_vec().into(),
        mod_policy: "Admins".to_owned(),
    };
    let tree = |value: Option<ConfigValue>| {
        let mut organization = ConfigGroup { mod_policy: "Admins".to_owned(), ..ConfigGroup::default() };
        if let Some(value) = value {
            organization.values.insert("AnchorPeers".to_owned(), value);
        }
        let mut application = ConfigGroup { mod_policy: "Admins".to_owned(), ..ConfigGroup::default() };
        application.groups.insert("Org1MSP".to_owned(), organization);
        let mut root = ConfigGroup { mod_policy: "Admins".to_owned(), ..ConfigGroup::default() };
        root.groups.insert("Application".to_owned(), application);
        root
    };
    ConfigUpdate {
        channel_id: channel.as_str().to_owned(),
        read_set: Some(tree(None)),
        write_set: Some(tree(Some(value))),
        ..ConfigUpdate::default()
    }
}

/// The update with the client's signature.
async fn agreed(client: &Client, update: &ConfigUpdate) -> ConfigUpdateEnvelope {
    let signer = client.signer();
    let bytes = update.encode_to_vec();
    let header = SignatureHeader { creator: signer.creator().clone(), nonce: vec![7; 24].into() }.encode_to_vec();
    let signature = signer.sign(&[header.clone(), bytes.clone()].concat()).await.unwrap();
    ConfigUpdateEnvelope {
        config_update: bytes.into(),
        signatures: vec![ConfigSignature { signature_header: header.into(), signature }],
    }
}

/// The update as an envelope that `client` both agrees to and hands in.
pub(super) async fn signed(client: &Client, update: &ConfigUpdate) -> Envelope {
    enveloped(client, &agreed(client, update).await).await
}

/// An update with signatures as an envelope that `client` hands in.
pub(super) async fn enveloped(client: &Client, data: &ConfigUpdateEnvelope) -> Envelope {
    let signer = client.signer();
    let update = ConfigUpdate::decode(data.config_update.clone()).unwrap();
    let name = ChannelName::parse(update.channel_id).unwrap();
    let header = Header {
        header_type: HeaderType::ConfigUpdate,
        channel: Some(&name),
        creator: signer.creator(),
        nonce: Nonce([8; 24]),
        time: std::time::SystemTime::now().into(),
        tls_cert_hash: None,
    };
    tx::envelope(&header, data.encode_to_vec().into()).sign(signer.as_ref()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_changes_the_anchor_peers() {
    let network = Network::start().await;
    let admin = network.devnet.admin(&org(1)).unwrap();
    let channel = channel_name();
    let before = network.devnet.height(&channel).unwrap();
    let update = anchor_update(&channel, 0);
    admin.broadcast(&signed(&admin, &update).await).await.unwrap();
    let mut height = before;
    while height == before {
        tokio::task::yield_now().await;
        height = network.devnet.height(&channel).unwrap();
    }
    network.devnet.settled(&channel).await;
    let config = admin.channel(channel.clone()).config().await.unwrap();
    assert_eq!(config.sequence(), 1);
    let anchors = config.organization(&org(1)).unwrap().anchor_peers();
    assert_eq!(anchors[0].host, "peer9.org1.example.com");

    // The same again refers to versions that have passed.
    let error = format!("{:?}", admin.broadcast(&signed(&admin, &update).await).await.unwrap_err());
    assert!(error.contains("to version 1, but key is at version 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not() {
    let network = Network::start().await;
    let update = anchor_update(&channel_name(), 0);
    for client in [network.devnet.admin(&org(2)).unwrap(), network.devnet.user(&org(1)).unwrap()] {
        let error = format!("{:?}", client.broadcast(&signed(&client, &update).await).await.unwrap_err());
        assert!(
            error.contains("policy for [Value]  /Channel/Application/Org1MSP/AnchorPeers not satisfied"),
            "{error}"
        );
    }
    let unknown = ChannelName::parse("unknown").unwrap();
    let admin = network.devnet.admin(&org(1)).unwrap();
    let envelope = signed(&admin, &anchor_update(&unknown, 0)).await;
    let error = format!("{:?}", admin.broadcast(&envelope).await.unwrap_err());
    assert!(error.contains("channel does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_handed_in_once_however_many_try() {
    let network = Network::start().await;
    let admin = network.devnet.admin(&org(1)).unwrap();
    let channel = admin.channel(channel_name());
    let first = agreed(&admin, &anchor_update(channel.name(), 0)).await;

    // Another organization's executor has the same update and comes at the same time.
    let other = network.devnet.admin(&org(2)).unwrap().channel(channel_name());
    let (one, two) = tokio::join!(channel.submit_config_update(&first), other.submit_config_update(&first));
    let block = one.unwrap().block();
    assert_eq!(two.unwrap().block(), block);
    assert_eq!(channel.config().await.unwrap().sequence(), 1);

    let second = agreed(&admin, &anchor_update(channel.name(), 1)).await;
    let Updated::New { block: newer } = channel.submit_config_update(&second).await.unwrap() else {
        panic!("the second update is a new one")
    };
    assert!(newer > block);
    // Late repeats are found, the newest and the one before it.
    assert_eq!(channel.submit_config_update(&second).await.unwrap(), Updated::Already { block: newer });
    assert_eq!(channel.submit_config_update(&first).await.unwrap(), Updated::Already { block });
    assert_eq!(channel.config().await.unwrap().sequence(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_own_peers_do_not_know_yet_is_told_from_one_that_is_late() {
    let network = Network::start().await;
    let [one, other] = [1, 2].map(|number| network.devnet.admin(&org(number)).unwrap().channel(channel_name()));
    let update = agreed(one.client(), &anchor_update(one.name(), 0)).await;
    let faults = network.devnet.faults("peer0.org1").unwrap();
    faults.slow_blocks(Duration::from_hours(1));
    let block = other.submit_config_update(&update).await.unwrap().block();
    let error = one.submit_config_update(&update).await.unwrap_err();
    assert!(matches!(error, UpdateError::Behind { block: known } if known == block), "{error:?}");
    assert!(error.is_retryable());
    faults.clear();
    assert_eq!(one.submit_config_update(&update).await.unwrap(), Updated::Already { block });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_cannot_be_is_told_from_one_that_is_late() {
    let network = Network::start().await;
    let admin = network.devnet.admin(&org(1)).unwrap();
    let channel = admin.channel(channel_name());

    let stale = agreed(&admin, &anchor_update(channel.name(), 7)).await;
    let error = channel.submit_config_update(&stale).await.unwrap_err();
    assert!(
        matches!(&error, UpdateError::Refused(refusal) if refusal.to_string().contains("BAD_REQUEST")),
        "{error:?}"
    );
    assert!(!error.is_retryable());

    let unsigned = ConfigUpdateEnvelope { signatures: vec![], ..stale };
    assert!(matches!(channel.submit_config_update(&unsigned).await, Err(UpdateError::Refused(_))));

    let elsewhere = agreed(&admin, &anchor_update(&ChannelName::parse("elsewhere").unwrap(), 0)).await;
    assert!(matches!(channel.submit_config_update(&elsewhere).await, Err(UpdateError::OtherChannel { .. })));

    let garbage = ConfigUpdateEnvelope { config_update: vec![0xff; 9].into(), signatures: vec![] };
    assert!(matches!(channel.submit_config_update(&garbage).await, Err(UpdateError::Malformed { .. })));
    assert_eq!(channel.config().await.unwrap().sequence(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn consenters_change_one_at_a_time() {
    let network = Network::start().await;
    let admins = [1, 2].map(|number| network.devnet.admin(&org(number)).unwrap());
    let channel = admins[0].channel(channel_name());
    let before = Config::from_block(&channel.config_block().await.unwrap()).unwrap();
    let certificates = network.devnet.organizations().iter().map(|organization| &organization.admin_tls_certificate);
    let added: Vec<Operation> = certificates
        .enumerate()
        .flat_map(|(number, path)| {
            let certificate = std::fs::read_to_string(path).unwrap();
            let consenter = serde_json::json!({
                "Host": "new", "Port": 7050 + number, "ClientTLSCert": certificate, "ServerTLSCert": certificate,
            });
            let list = serde_json::json!([{ "Command": "set-consenter", "Parameters": { "Consenter": consenter } }]);
            Operation::parse_all(&list.to_string()).unwrap()
        })
        .collect();
    let update = |operations: &[Operation]| {
        let mut after = before.clone();
        for operation in operations {
            operation.apply(&mut after, None).unwrap();
        }
        update::compute(channel_name().as_str(), &before, &after).unwrap().encode()
    };
    let submit = async |update: bytes::Bytes| {
        let mut signatures = Vec::new();
        for admin in &admins {
            signatures.push(admin.sign_config_update(&update).await.unwrap());
        }
        channel.submit_config_update(&ConfigUpdateEnvelope { config_update: update, signatures }).await
    };
    let error = submit(update(&added)).await.unwrap_err();
    let told = format!("{error:?}");
    assert!(
        told.contains("more than one consenter at a time is not supported") && told.contains("add 2 node"),
        "{told}"
    );
    // It was not even handed in; the orderers say the same.
    assert!(matches!(error, UpdateError::Unsuitable { .. }), "{told}");
    let bytes = update(&added);
    let signatures =
        vec![admins[0].sign_config_update(&bytes).await.unwrap(), admins[1].sign_config_update(&bytes).await.unwrap()];
    let data = ConfigUpdateEnvelope { config_update: bytes, signatures };
    let refused = format!("{:?}", admins[0].broadcast(&enveloped(&admins[0], &data).await).await.unwrap_err());
    assert!(refused.contains("add 2 node") && refused.contains("BAD_REQUEST"), "{refused}");
    submit(update(&added[..1])).await.unwrap();
    assert_eq!(channel.config().await.unwrap().sequence(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_counted_before_an_update_is_handed_in() {
    let network = Network::start().await;
    let admins = [1, 2].map(|number| network.devnet.admin(&org(number)).unwrap());
    let channel = admins[0].channel(channel_name());
    let before = Config::from_block(&channel.config_block().await.unwrap()).unwrap();
    let mut after = before.clone();
    let list = "[{Command: set-acls, Parameters: {ACLs: {qscc/GetChainInfo: /Channel/Application/Admins}}}]";
    Operation::parse_all(list).unwrap()[0].apply(&mut after, None).unwrap();
    let update = update::compute(channel_name().as_str(), &before, &after).unwrap().encode();
    let mut agreed = ConfigUpdateEnvelope {
        signatures: vec![admins[1].sign_config_update(&update).await.unwrap()],
        config_update: update,
    };
    let error = channel.submit_config_update(&agreed).await.unwrap_err();
    let UpdateError::Lacking { lacking } = &error else { panic!("{error:?}") };
    assert!(lacking[0].contains("needs 2 of 2 Admins: have Org2MSP; missing Org1MSP"), "{lacking:?}");
    assert!(!error.is_retryable());
    agreed.signatures.push(admins[0].sign_config_update(&agreed.config_update).await.unwrap());
    channel.submit_config_update(&agreed).await.unwrap();
    assert_eq!(channel.config().await.unwrap().sequence(), 1);
}
