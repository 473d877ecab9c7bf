//! Channel proposals: what was voted for comes into force, once, and is told.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use opssc::agent::progress::{Happening, Step, Task, Verdict};
use opssc::client::Client;
use opssc::client::events::Start;
use opssc::fabric::config::tree::Config;
use opssc::fabric::config::update;
use opssc::opssc::calls::ChannelOps;
use opssc::opssc::channel_ops::{ProposalInput, Status};
use opssc::pb::common::{ConfigSignature, SignatureHeader};
use opssc::pb::orderer::BatchSize;
use prost::Message as _;

use super::world::{Member, World, mychannel, within};

impl Member {
    fn channel_ops(&self, world: &World) -> ChannelOps {
        ChannelOps::new(self.client.channel(world.network.ops_channel().clone()), "channel-ops".parse().unwrap())
    }
}

/// The client's signature on an update, as proposals carry it.
async fn signature(client: &Client, update: &[u8]) -> String {
    let signer = client.signer();
    let header = SignatureHeader { creator: signer.creator().clone(), nonce: vec![7; 24].into() }.encode_to_vec();
    let signature = signer.sign(&[header.as_slice(), update].concat()).await.unwrap();
    BASE64_STANDARD.encode(ConfigSignature { signature_header: header.into(), signature }.encode_to_vec())
}

/// An update of the channel: so many messages in a block.
async fn batch_size(world: &World, messages: u32) -> Vec<u8> {
    let block = world.members[0].client.channel(mychannel()).config().await.unwrap();
    let before = Config::decode(&block.config().encode_to_vec()).unwrap();
    let mut after = before.clone();
    let orderer = after.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
    let value = orderer.values.get_mut("BatchSize").unwrap();
    let size = BatchSize { max_message_count: messages, ..BatchSize::decode(value.value.clone()).unwrap() };
    value.value = size.encode_to_vec().into();
    update::compute(mychannel().as_str(), &before, &after).unwrap().encode().to_vec()
}

/// Both organizations want this update, the second one last.
async fn propose(world: &World, id: &str, update: &[u8]) {
    let [first, second] = world.members.as_slice() else { panic!("two organizations") };
    let input = ProposalInput {
        id: id.to_owned(),
        channel_id: mychannel().to_string(),
        description: String::new(),
        action: None,
        ops_profile: serde_json::Value::Null,
        config_update: BASE64_STANDARD.encode(update),
        signature: signature(&first.client, update).await,
    };
    within("the request", first.channel_ops(world).request_proposal(&input)).await.unwrap();
    let vote = signature(&second.client, update).await;
    within("the vote", second.channel_ops(world).vote(id, &vote)).await.unwrap();
}

async fn until_committed(world: &World, id: &str) {
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
async fn sequence(world: &World) -> u64 {
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
