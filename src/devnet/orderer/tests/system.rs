//! Orderers with a system channel: what they make of updates for channels that there are not.

use super::*;
use crate::fabric::config::UnsignedConfigSignature;
use crate::pb::common::{ConfigGroup, ConfigUpdate, ConfigUpdateEnvelope, ConfigValue, Consortium};
use crate::pb::etcdraft::ConfigMetadata;
use crate::pb::orderer::{ChannelRestrictions, ConsensusType};

const SYSTEM: &str = "system-channel";

fn with_system_channel(store: &Store) -> World {
    let world = world(store);
    let name = ChannelName::parse(SYSTEM).unwrap();
    let block = genesis::system_block(&name, &world.members, &BATCH, Nonce([0; 24]));
    for orderer in [&world.first, &world.second] {
        orderer.bootstrap(block.clone()).unwrap();
    }
    world
}

impl World {
    fn creation(&self, channel: &str) -> ConfigUpdate {
        let update = genesis::creation(&ChannelName::parse(channel).unwrap(), &self.members).unwrap();
        ConfigUpdate::decode(update.encode()).unwrap()
    }

    /// Hands an update in that `signer` agrees to, as if it were for `channel`.
    async fn update(&self, channel: &str, update: &ConfigUpdate, signer: &SigningIdentity) -> (Status, String) {
        let update: Bytes = update.encode_to_vec().into();
        let unsigned = UnsignedConfigSignature::new(&update, signer.creator(), Nonce([1; 24]));
        let signature = signer.sign_now(unsigned.payload());
        let data = ConfigUpdateEnvelope { config_update: update, signatures: vec![unsigned.signed_with(signature)] };
        let envelope = super::signed(HeaderType::ConfigUpdate, channel, data.encode_to_vec().into(), signer);
        let answer = self.first.broadcast(envelope).await;
        (answer.status(), answer.info)
    }

    async fn height(&self, channel: &str, height: u64) {
        let chain = self.first.chain(channel).unwrap();
        chain.blocks().watch().wait_for(|now| *now >= height).await.unwrap();
    }
}

type Change<'a> = &'a dyn Fn(&mut ConfigUpdate);

fn writes(update: &mut ConfigUpdate) -> &mut ConfigGroup {
    update.write_set.as_mut().unwrap()
}

/// The orderers' group with another value in place of one in its first version.
fn of_orderers(update: &mut ConfigUpdate, name: &str, value: Vec<u8>) {
    let read = update.read_set.get_or_insert_default();
    read.groups.insert("Orderer".to_owned(), ConfigGroup::default());
    let changed = ConfigValue { version: 1, value: value.into(), mod_policy: "Admins".to_owned() };
    let mut group = ConfigGroup { mod_policy: "Admins".to_owned(), ..ConfigGroup::default() };
    group.values.insert(name.to_owned(), changed);
    update.write_set.get_or_insert_default().groups.insert("Orderer".to_owned(), group);
}

#[tokio::test]
async fn a_channel_is_made_on_the_system_channel() {
    let folder = tempfile::tempdir().unwrap();
    let world = with_system_channel(&Store::at(folder.path().to_owned()));
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(world.update("fresh", &world.creation("fresh"), &world.admin).await, (Status::Success, String::new()));
    world.height(SYSTEM, 2).await;
    let chain = world.first.chain("fresh").unwrap();
    assert_eq!(chain.access().sequence(), 1);
    assert_eq!(chain.access().organizations().len(), 1);
    assert_eq!(chain.access().group("Orderer"), world.first.chain(SYSTEM).unwrap().access().group("Orderer"));
    assert_eq!(world.first.broadcast(message("fresh", &world.admin)).await.status(), Status::Success);

    // Both are in it without having joined; who is no consenter does not serve it.
    let short = |name: &str| serde_json::json!({"name": name, "url": format!("/participation/v1/channels/{name}")});
    let list = serde_json::json!({"systemChannel": short(SYSTEM), "channels": [short("fresh")]});
    assert_eq!(json(&ask(&world.first, get("channels")).await.2), list);
    world.height("fresh", 2).await;
    let relation = async |orderer| json(&ask(orderer, get("channels/fresh")).await.2);
    assert_eq!(relation(&world.first).await, status("fresh", "consenter", "active", 2));
    assert_eq!(relation(&world.second).await, status("fresh", "config-tracker", "inactive", 2));
    let elsewhere = world.second.broadcast(message("fresh", &world.admin)).await;
    assert_eq!(elsewhere.status(), Status::ServiceUnavailable);
    assert_eq!(elsewhere.info, "channel fresh is not serviced by me");

    let block = world.block("other").encode_to_vec();
    for (request, expected) in [
        (form(Method::POST, "config-block", &block), "cannot join: system channel exists"),
        (request(Method::DELETE, "channels/fresh", "", Bytes::new()), "cannot remove: system channel exists"),
    ] {
        let (code, allow, text) = ask(&world.first, request).await;
        assert_eq!((code, allow.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "GET"));
        assert_eq!(json(&text)["error"], expected);
    }

    // The same again comes too late: it is an update of a channel that there is.
    let (code, text) = world.update("fresh", &world.creation("fresh"), &world.admin).await;
    assert_eq!(code, Status::BadRequest);
    assert!(text.contains("error applying config update to existing channel 'fresh'"), "{text}");

    // A second life.
    let workers = Workers::new();
    let chains = Arc::new(Chains::new(Store::at(folder.path().to_owned()), workers.clone()));
    chains.restore().unwrap();
    assert_eq!(chains.system_channel(), Some(SYSTEM));
    assert_eq!(chains.channels().len(), 2);
    workers.cancel();
}

#[tokio::test]
async fn what_cannot_be_made_is_said_in_fabrics_words() {
    let world = with_system_channel(&Store::default());
    let application = |update: &mut ConfigUpdate| writes(update).groups.remove("Application").unwrap();
    let cases: [(Change<'_>, &str); 12] = [
        (&|update| update.channel_id = "another".to_owned(), "mismatched channel IDs: 'another' != 'fresh'"),
        (&|update| update.write_set = None, "Config update has an empty writeset"),
        (&|update| drop(application(update)), "Config update has missing application group"),
        (
            &|update| writes(update).groups.get_mut("Application").unwrap().version = 2,
            "does not set application group version to 1, was 2",
        ),
        (&|update| drop(writes(update).values.remove("Consortium")), "Consortium config value missing"),
        (
            &|update| writes(update).values.get_mut("Consortium").unwrap().value = Bytes::from_static(b"\xff"),
            "Error reading unmarshalling consortium name",
        ),
        (
            &|update| {
                let name = Consortium { name: "nobodys".to_owned() };
                writes(update).values.get_mut("Consortium").unwrap().value = name.encode_to_vec().into();
            },
            "Unknown consortium name: nobodys",
        ),
        (
            &|update| writes(update).groups.get_mut("Application").unwrap().groups.clear(),
            "Proposed configuration has no application group members, but consortium contains members",
        ),
        (
            &|update| {
                let application = writes(update).groups.get_mut("Application").unwrap();
                application.groups.insert("Org9MSP".to_owned(), ConfigGroup::default());
            },
            "Attempted to include member Org9MSP which is not in the consortium",
        ),
        (
            &|update| update.read_set.as_mut().unwrap().groups.get_mut("Application").unwrap().version = 7,
            "could not successfully apply update to template configuration: error authorizing update: error \
             validating ReadSet",
        ),
        (
            &|update| writes(update).groups.get_mut("Application").unwrap().mod_policy.clear(),
            "invalid mod_policy for element [Group]  /Channel/Application",
        ),
        (
            &|update| {
                let metadata = ConfigMetadata::default().encode_to_vec();
                let none = ConsensusType { r#type: "etcdraft".to_owned(), metadata: metadata.into(), state: 0 };
                of_orderers(update, "ConsensusType", none.encode_to_vec());
            },
            "consensus metadata update for channel creation is invalid",
        ),
    ];
    for (change, expected) in cases {
        let mut update = world.creation("fresh");
        change(&mut update);
        let (status, text) = world.update("fresh", &update, &world.admin).await;
        assert_eq!(status, Status::BadRequest, "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let (status, text) = world.update("fresh", &world.creation("fresh"), &world.peer).await;
    assert_eq!(status, Status::BadRequest);
    assert!(text.contains("policy for [Group]  /Channel/Application not satisfied"), "{text}");
    let mut badly_named = world.creation("fresh");
    badly_named.channel_id = "BAD".to_owned();
    let (_, text) = world.update("BAD", &badly_named, &world.admin).await;
    assert!(text.contains("bad channel ID: 'BAD' contains illegal characters"), "{text}");

    for (kind, status, expected) in [
        (HeaderType::EndorserTransaction, Status::NotFound, "channel does not exist"),
        (HeaderType::OrdererTransaction, Status::BadRequest, "message is of type that cannot be processed directly"),
        (HeaderType::Config, Status::BadRequest, "message is of type that cannot be processed directly"),
    ] {
        let answer = world.first.broadcast(signed(kind, "fresh", Bytes::from_static(b"data"), &world.admin)).await;
        assert_eq!((answer.status(), answer.info.as_str()), (status, expected));
    }
    assert!(world.first.channels().is_empty());
}

#[tokio::test]
async fn consenters_and_the_number_of_channels_are_the_system_channels() {
    let world = with_system_channel(&Store::default());
    let mut update = world.creation("fresh");
    let consensus = world.first.chain(SYSTEM).unwrap().access().consensus().metadata.clone();
    let mut metadata = ConfigMetadata::decode(consensus).unwrap();
    metadata.consenters[0].host = "elsewhere".to_owned();
    let other = ConsensusType { r#type: "etcdraft".to_owned(), metadata: metadata.encode_to_vec().into(), state: 0 };
    of_orderers(&mut update, "ConsensusType", other.encode_to_vec());
    let (_, text) = world.update("fresh", &update, &world.admin).await;
    assert!(text.ends_with("new channel has consenter that is not part of system consenter set"), "{text}");

    // An update of the system channel itself.
    let mut update = ConfigUpdate { channel_id: SYSTEM.to_owned(), ..ConfigUpdate::default() };
    of_orderers(&mut update, "ChannelRestrictions", ChannelRestrictions { max_count: 1 }.encode_to_vec());
    assert_eq!(world.update(SYSTEM, &update, &world.admin).await, (Status::Success, String::new()));
    world.height(SYSTEM, 2).await;
    assert_eq!(world.update("one", &world.creation("one"), &world.admin).await.0, Status::Success);
    world.height(SYSTEM, 3).await;
    let (status, text) = world.update("two", &world.creation("two"), &world.admin).await;
    assert_eq!(status, Status::BadRequest);
    assert_eq!(text, "channel creation would exceed maximimum number of channels: 1");
}
