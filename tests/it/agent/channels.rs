//! Channel proposals: what was voted for comes into force, once, and is told.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use opssc::agent::progress::{Happening, Step, Task, Verdict};
use opssc::client::Client;
use opssc::client::events::Start;
use opssc::fabric::config::tree::{Config, ConfigGroup, ConfigUpdate};
use opssc::fabric::config::update;
use opssc::opssc::calls::ChannelOps;
use opssc::opssc::channel_ops::{Action, ChannelType, ProposalInput, Status};
use opssc::pb::common::{ConfigSignature, SignatureHeader};
use opssc::pb::orderer::BatchSize;
use prost::Message as _;

use super::world::{Member, World, mychannel, within};

impl Member {
    pub(super) fn channel_ops(&self, world: &World) -> ChannelOps {
        ChannelOps::new(self.client.channel(world.network.ops_channel().clone()), "channel-ops".parse().unwrap())
    }
}

/// The client's signature on an update, as proposals carry it.
pub(super) async fn signature(client: &Client, update: &[u8]) -> String {
    let signer = client.signer();
    let header = SignatureHeader { creator: signer.creator().clone(), nonce: vec![7; 24].into() }.encode_to_vec();
    let signature = signer.sign(&[header.as_slice(), update].concat()).await.unwrap();
    BASE64_STANDARD.encode(ConfigSignature { signature_header: header.into(), signature }.encode_to_vec())
}

/// The channel's configuration.
pub(super) async fn config(world: &World) -> Config {
    let block = world.members[0].client.channel(mychannel()).config_block().await.unwrap();
    Config::from_block(&block).unwrap()
}

/// How many messages its blocks may have.
pub(super) async fn max_messages(world: &World) -> u32 {
    world.members[0].client.channel(mychannel()).config().await.unwrap().batch().max_messages
}

/// An update of the channel: so many messages in a block.
pub(super) async fn batch_size(world: &World, messages: u32) -> Vec<u8> {
    let before = config(world).await;
    let mut after = before.clone();
    let orderer = after.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
    let value = orderer.values.get_mut("BatchSize").unwrap();
    let size = BatchSize { max_message_count: messages, ..BatchSize::decode(value.value.clone()).unwrap() };
    value.value = size.encode_to_vec().into();
    update::compute(mychannel().as_str(), &before, &after).unwrap().encode().to_vec()
}

/// Two organizations want this update, the second one last.
pub(super) async fn propose(world: &World, id: &str, update: &[u8]) {
    propose_for(world, id, mychannel().as_str(), None, update).await;
}

pub(super) async fn propose_for(world: &World, id: &str, channel: &str, action: Option<Action>, update: &[u8]) {
    let [first, second, ..] = world.members.as_slice() else { panic!("two organizations") };
    let input = ProposalInput {
        id: id.to_owned(),
        channel_id: channel.to_owned(),
        description: String::new(),
        action,
        ops_profile: serde_json::Value::Null,
        config_update: BASE64_STANDARD.encode(update),
        signature: signature(&first.client, update).await,
    };
    within("the request", first.channel_ops(world).request_proposal(&input)).await.unwrap();
    let vote = signature(&second.client, update).await;
    within("the vote", second.channel_ops(world).vote(id, &vote)).await.unwrap();
}

pub(super) async fn until_committed(world: &World, id: &str) {
    let ledger = world.members[0].channel_ops(world);
    let mut blocks = ledger.channel().blocks(Start::Newest);
    let look = async {
        while ledger.get_proposal(id).await.unwrap().status != Status::Committed {
            blocks.next().await;
        }
    };
    within("the commit", look).await;
}

/// The updates that the channel has had.
pub(super) async fn sequence(world: &World) -> u64 {
    world.network.settled(&mychannel()).await;
    world.members[0].client.channel(mychannel()).config().await.unwrap().sequence()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_was_voted_for_comes_into_force_and_keeps_the_members() {
    let world = World::start().await;
    let agents = world.agents().await;
    let before = sequence(&world).await;
    propose(&world, "batches", &batch_size(&world, 77).await).await;
    until_committed(&world, "batches").await;
    for agent in agents {
        agent.stop().await;
    }
    assert_eq!(sequence(&world).await, before + 1);
    let config = world.members[1].client.channel(mychannel()).config().await.unwrap();
    assert_eq!(config.batch().max_messages, 77);
    let members = world.members[0].channel_ops(&world).get_organizations_in_channel("mychannel").await.unwrap();
    assert_eq!(members, ["Org1MSP", "Org2MSP"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_was_voted_for_while_the_agents_were_away_is_handed_in_once() {
    let world = World::start().await;
    let before = sequence(&world).await;
    propose(&world, "batches", &batch_size(&world, 55).await).await;
    // Both agents find it left over.
    let agents = world.agents().await;
    until_committed(&world, "batches").await;
    for agent in agents {
        agent.stop().await;
    }
    assert_eq!(sequence(&world).await, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_is_out_of_date_ends_in_a_report_and_the_agent_goes_on() {
    let world = World::start().await;
    let mut executor = world.agent(1).await;
    within("listening", executor.health.until(true)).await;
    let (stale, first) = (batch_size(&world, 33).await, batch_size(&world, 22).await);
    propose(&world, "first", &first).await;
    until_committed(&world, "first").await;
    propose(&world, "stale", &stale).await;
    let refused = executor
        .until("the refusal", |said| said.proposal == "stale" && matches!(said.happening, Happening::Refused { .. }))
        .await;
    assert_eq!(refused.task, Task::UpdateChannel);
    let Happening::Refused { step, error } = refused.happening else { unreachable!("that is what was waited for") };
    assert_eq!(step, Step::UpdateChannel);
    assert!(error.contains("BAD_REQUEST") && error.contains("BatchSize"), "{error}");
    executor
        .until("the end", |said| {
            said.proposal == "stale" && matches!(said.happening, Happening::Ended { verdict: Verdict::Failed, .. })
        })
        .await;
    propose(&world, "next", &batch_size(&world, 44).await).await;
    until_committed(&world, "next").await;
    executor.stop().await;
    let ledger = world.members[0].channel_ops(&world);
    assert_eq!(ledger.get_proposal("stale").await.unwrap().status, Status::Approved);
}

/// The ledger was told once that a channel proposal is done.
pub(super) async fn assert_told_once(world: &World, id: &str) {
    let calls = world.calls(world.network.ops_channel(), "NotifyCommitResult").await;
    let told: Vec<_> = calls.iter().filter(|call| call.verdict == "VALID" && call.argument == id).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

/// All versions of a group and what is in it, as of something new.
pub(super) fn unversioned(mut group: ConfigGroup) -> ConfigGroup {
    group.version = 0;
    group.values.values_mut().for_each(|value| value.version = 0);
    group.policies.values_mut().for_each(|policy| policy.version = 0);
    group.groups = group.groups.into_iter().map(|(name, inner)| (name, unversioned(inner))).collect();
    group
}

/// What makes a new channel like the one that there is.
pub(super) async fn creation(world: &World, channel: &str) -> Vec<u8> {
    let mut creation = ConfigUpdate::default();
    channel.clone_into(&mut creation.channel_id);
    creation.read_set = Some(ConfigGroup::default());
    creation.write_set = config(world).await.channel_group.map(unversioned);
    creation.encode().to_vec()
}

/// The settings with which an agent administers its own orderer.
pub(super) fn orderer_settings(world: &World, member: usize) -> Vec<(&'static str, String)> {
    let organization = &world.network.organizations()[member];
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    vec![
        ("ORDERER_ADMIN_ENDPOINTS", organization.orderers[0].admin.clone().unwrap()),
        ("ORDERER_ADMIN_TLS_CA", text(&organization.tls_ca)),
        ("ORDERER_ADMIN_TLS_CERT", text(&organization.admin_tls_certificate)),
        ("ORDERER_ADMIN_TLS_KEY", text(&organization.admin_tls_key)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_was_voted_for_is_made_and_joined_by_all() {
    let world = World::start().await;
    let first = world.members[0].channel_ops(&world);
    let members = ["Org1MSP", "Org2MSP"];
    // Who votes on new channels: there is no such channel among the orderers.
    within("the voters", first.create_channel("voters", &ChannelType::System, &members)).await.unwrap();
    let creation = creation(&world, "fresh").await;
    let mut agents = Vec::new();
    for member in 0..world.members.len() {
        let settings = orderer_settings(&world, member);
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        agents.push(world.agent_with(member, &settings).await);
    }
    for agent in &agents {
        within("listening", agent.health.until(true)).await;
    }
    propose_for(&world, "new", "fresh", Some(Action::Create), &creation).await;
    until_committed(&world, "new").await;
    // The organization that was not asked to see to it does its part, too.
    agents[0]
        .until("the other part", |said| {
            said.proposal == "new" && matches!(said.happening, Happening::Ended { verdict: Verdict::Done, .. })
        })
        .await;
    let fresh = opssc::fabric::names::ChannelName::parse("fresh").unwrap();
    for member in &world.members {
        for peer in member.client.peers() {
            assert!(member.client.joined_channels(peer).await.unwrap().contains(&fresh), "{}", peer.name());
        }
        assert_eq!(member.client.channel(fresh.clone()).config().await.unwrap().sequence(), 0);
    }
    assert!(first.get_organizations_in_channel("fresh").await.unwrap().len() == 2);
    for agent in agents {
        agent.stop().await;
    }
}
