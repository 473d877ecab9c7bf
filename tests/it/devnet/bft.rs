//! Blocks of Byzantine fault tolerant orderers: signatures that name a consenter by its number.
//!
//! The blocks of the first test are made here; who signs them are the organizations' administrators and users, which the
//! channel's configuration knows. Those of the second are the embedded network's.

use std::time::Duration;

use bytes::Bytes;
use opssc::devnet::Devnet;
use opssc::fabric::block::{Block, data_hash, header_der};
use opssc::fabric::config::tree::Config;
use opssc::fabric::config::{ChannelConfig, ConfigError, update};
use opssc::fabric::identity::{Signer as _, SigningIdentity};
use opssc::pb::common::{
    self, BlockData, BlockHeader, BlockMetadata, ConfigEnvelope, ConfigPolicy, ConfigUpdateEnvelope, ConfigValue,
    Consenter, Envelope, IdentifierHeader, LastConfig, Metadata, MetadataSignature, MspPrincipal, OrdererBlockMetadata,
    Orderers, Payload, Policy, SignatureHeader, SignaturePolicy, SignaturePolicyEnvelope, msp_principal, policy,
    signature_policy,
};
use prost::Message as _;

use super::config::signed as signed_update;
use super::participation::admin;
use super::{Network, channel_name, org};

/// Four who may sign; the quorum of four is three.
fn consenters(network: &Network) -> Vec<SigningIdentity> {
    let mut found = Vec::new();
    for (number, organization) in (1..).zip(network.devnet.organizations()) {
        for folder in [&organization.admin_msp, &organization.user_msp] {
            found.push(SigningIdentity::load_msp(org(number), folder).unwrap());
        }
    }
    found
}

/// Three of these identities.
fn quorum(signers: &[SigningIdentity]) -> SignaturePolicyEnvelope {
    let signed_by = |index| SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(index)) };
    let rules = (0..).take(signers.len()).map(signed_by).collect();
    let gate = signature_policy::NOutOf { n: 3, rules };
    let identities = signers.iter().map(|signer| MspPrincipal {
        principal_classification: msp_principal::Classification::Identity.into(),
        principal: signer.creator().clone(),
    });
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(gate)) }),
        identities: identities.collect(),
    }
}

/// The configuration of the network's channel, as if these ordered it.
fn config(network: &Network, signers: &[SigningIdentity]) -> ChannelConfig {
    let first = std::fs::read(network.devnet.first_block(&channel_name()).unwrap()).unwrap();
    let first = common::Block::decode(first.as_slice()).unwrap();
    let envelope = Envelope::decode(first.data.unwrap().data[0].clone()).unwrap();
    let payload = Payload::decode(envelope.payload).unwrap();
    let mut config = ConfigEnvelope::decode(payload.data).unwrap().config.unwrap();
    let orderer = config.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
    let mapping = (1..).zip(signers).map(|(id, signer)| Consenter {
        id,
        msp_id: signer.msp_id().to_string(),
        identity: signer.certificate().to_pem().into_bytes().into(),
        ..Consenter::default()
    });
    let orderers = Orderers { consenter_mapping: mapping.collect() }.encode_to_vec();
    orderer.values.insert("Orderers".to_owned(), ConfigValue { value: orderers.into(), ..ConfigValue::default() });
    let rule = Policy { r#type: policy::PolicyType::Signature.into(), value: quorum(signers).encode_to_vec().into() };
    let rule = ConfigPolicy { policy: Some(rule), ..ConfigPolicy::default() };
    orderer.policies.insert("BlockValidation".to_owned(), rule);
    ChannelConfig::from_config(channel_name(), config).unwrap()
}

/// Who signs, and as what.
enum Mark {
    /// As the consenter of this number.
    Number(u32),
    /// With its identity spelled out.
    Name,
}

fn signed(marks: &[(&SigningIdentity, Mark)]) -> common::Block {
    let data = BlockData { data: vec![Bytes::from_static(b"a transaction")] };
    let header =
        BlockHeader { number: 7, previous_hash: vec![3; 32].into(), data_hash: data_hash(&data).to_vec().into() };
    let value = OrdererBlockMetadata { last_config: Some(LastConfig::default()), ..Default::default() }.encode_to_vec();
    let signatures = marks.iter().map(|(signer, mark)| {
        let nonce = Bytes::from_static(b"nonce");
        let (named, by_number) = match mark {
            Mark::Number(identifier) => (IdentifierHeader { identifier: *identifier, nonce }.encode_to_vec(), true),
            Mark::Name => (SignatureHeader { creator: signer.creator().clone(), nonce }.encode_to_vec(), false),
        };
        let signature = signer.sign_now(&[&value[..], &named[..], &header_der(&header)[..]].concat());
        let (signature_header, identifier_header) =
            if by_number { (Bytes::new(), named.into()) } else { (named.into(), Bytes::new()) };
        MetadataSignature { signature_header, signature, identifier_header }
    });
    let metadata = Metadata { signatures: signatures.collect(), value: value.clone().into() }.encode_to_vec();
    let metadata = Some(BlockMetadata { metadata: vec![metadata.into()] });
    common::Block { header: Some(header), data: Some(data), metadata }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_of_consenters_vouches_for_a_block() {
    use Mark::{Name, Number};

    let network = Network::start().await;
    let all = consenters(&network);
    let [a, b, c, d] = &all[..] else { panic!("four") };
    let config = config(&network, &all);
    let check = |block: common::Block| config.check_block(&Block::new(block).unwrap());

    for (block, what) in [
        (signed(&[(a, Number(1)), (b, Number(2)), (c, Number(3))]), "three of them"),
        (signed(&[(d, Number(4)), (c, Number(3)), (a, Number(1)), (b, Number(2))]), "all, in any order"),
        (signed(&[(a, Number(1)), (b, Number(2)), (c, Name)]), "one of them by name"),
        (signed(&[(a, Number(9)), (a, Number(1)), (b, Number(2)), (c, Number(3))]), "beside one that is nobody's"),
    ] {
        check(block).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    }
    for (block, what) in [
        (signed(&[]), "nobody"),
        (signed(&[(a, Number(1)), (b, Number(2))]), "two are no quorum"),
        (signed(&[(a, Number(1)), (a, Number(1)), (a, Number(1))]), "one thrice"),
        (signed(&[(a, Number(1)), (a, Name), (b, Number(2))]), "one by number and by name"),
        (signed(&[(a, Number(1)), (b, Number(2)), (c, Number(4))]), "one under the number of another"),
        (signed(&[(a, Number(1)), (b, Number(2)), (c, Number(0))]), "one under a number that nobody has"),
    ] {
        let refused = check(block).unwrap_err();
        assert!(matches!(refused, ConfigError::Forged { number: 7, .. }), "{what}: {refused:?}");
    }
    // What was signed is this header, and this note beside it.
    let good = || signed(&[(a, Number(1)), (b, Number(2)), (c, Number(3))]);
    let mut other = good();
    other.header.as_mut().unwrap().previous_hash = vec![4; 32].into();
    assert!(matches!(check(other).unwrap_err(), ConfigError::Forged { .. }));
    let mut other = good();
    let metadata = &mut other.metadata.as_mut().unwrap().metadata[0];
    let mut changed = Metadata::decode(metadata.clone()).unwrap();
    changed.value = OrdererBlockMetadata { last_config: Some(LastConfig { index: 5 }), ..Default::default() }
        .encode_to_vec()
        .into();
    *metadata = changed.encode_to_vec().into();
    assert!(matches!(check(other).unwrap_err(), ConfigError::Forged { .. }));
    let mut other = good();
    other.data.as_mut().unwrap().data.push(Bytes::from_static(b"another transaction"));
    assert!(matches!(check(other).unwrap_err(), ConfigError::Block(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_there_are_no_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Devnet::builder(folder.path()).bft(true).batch_timeout(Duration::from_millis(20)).keep(true);
    let devnet = builder.channel(channel_name()).start().await.unwrap();
    let client = devnet.admin(&org(1)).unwrap();
    let channel = client.channel(channel_name());
    let anchors = |version| super::config::anchor_update(&channel_name(), version);
    let agreed = async |version: u64| {
        let update = anchors(version).encode_to_vec();
        let signatures = vec![client.sign_config_update(&update).await.unwrap()];
        ConfigUpdateEnvelope { config_update: update.into(), signatures }
    };

    // One of four may be away. The others are all told, and order it once.
    devnet.stop_orderer("orderer1.org2").await.unwrap();
    channel.submit_config_update(&agreed(0).await).await.unwrap();
    assert_eq!(devnet.height(&channel_name()), Some(2));
    let before = std::fs::read(devnet.folder().join("channel-artifacts/mychannel.block")).unwrap();
    let before = ChannelConfig::from_block(&common::Block::decode(before.as_slice()).unwrap()).unwrap();
    let block = channel.config_block().await.unwrap();
    before.check_block(&Block::new(block).unwrap()).unwrap();

    // With two away, what is taken waits for one to come back.
    devnet.stop_orderer("orderer1.org1").await.unwrap();
    let envelope = signed_update(&client, &anchors(1)).await;
    let [one, _] = devnet.organizations() else { panic!("two organizations") };
    admin(one, one).update(&channel_name(), envelope.encode_to_vec()).await.unwrap();
    assert_eq!(devnet.height(&channel_name()), Some(2));
    devnet.start_orderer("orderer1.org1").await.unwrap();
    devnet.ordered(&channel_name(), 3).await;
    devnet.settled(&channel_name()).await;
    assert_eq!(channel.config().await.unwrap().sequence(), 2);

    // The list of consenters without its policy: the orderers' own words.
    let now = Config::from_block(&channel.config_block().await.unwrap()).unwrap();
    let mut torn = now.clone();
    let orderer = torn.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
    drop(orderer.policies.remove("BlockValidation"));
    let update = update::compute(channel_name().as_str(), &now, &torn).unwrap().encode();
    let mut signatures = Vec::new();
    for number in [1, 2] {
        signatures.push(devnet.admin(&org(number)).unwrap().sign_config_update(&update).await.unwrap());
    }
    let envelope = super::config::enveloped(&client, &ConfigUpdateEnvelope { config_update: update, signatures }).await;
    let refused = admin(one, one).update(&channel_name(), envelope.encode_to_vec()).await.unwrap_err();
    let refused = format!("{refused:?}");
    assert!(refused.contains("block validation policy is not found"), "{refused}");

    // All of it is kept.
    devnet.shutdown().await.unwrap();
    let devnet = Devnet::builder(folder.path()).keep(true).start().await.unwrap();
    assert_eq!(devnet.organizations()[1].orderers.len(), 2);
    assert_eq!(devnet.height(&channel_name()), Some(3));
    channel.submit_config_update(&agreed(2).await).await.unwrap();
    devnet.shutdown().await.unwrap();
}
