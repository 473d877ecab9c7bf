//! Channels of orderers that have a system channel, as before Fabric 3.0: made by votes that agents carry out.

use opssc::agent::progress::{Happening, Step, Task, Verdict};
use opssc::client::participation::BlockId;
use opssc::fabric::config::edit::profile::CreateChannelProfile;
use opssc::fabric::config::edit::{Operation, create_channel};
use opssc::fabric::config::tree::Config;
use opssc::fabric::config::update;
use opssc::fabric::names::ChannelName;
use opssc::opssc::channel_ops::Action;
use serde_json::json;

use super::channels::{assert_told_once, propose_for, until_committed};
use super::world::{World, within};
use crate::devnet::system_channel::profile;

const SYSTEM: &str = "system-channel";
const FRESH: &str = "fresh";

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

/// The update that makes a channel of these organizations.
fn creation(channel: &str, organizations: &[&str]) -> Vec<u8> {
    let profile: CreateChannelProfile = serde_json::from_value(profile(organizations)).unwrap();
    create_channel(channel, &profile).unwrap().encode().to_vec()
}

/// An update of a channel, as orderers have it now.
async fn change(world: &World, channel: &str, operations: &serde_json::Value) -> Vec<u8> {
    let newest = world.members[0].client.fetch_block(&name(channel), BlockId::Config).await.unwrap();
    let before = Config::from_block(&newest).unwrap();
    let mut after = before.clone();
    for operation in Operation::parse_all(&operations.to_string()).unwrap() {
        operation.apply(&mut after, None).unwrap();
    }
    update::compute(channel, &before, &after).unwrap().encode().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_made_and_changed_by_way_of_the_system_channel() {
    let world = World::start_with(|builder| builder.system_channel(name(SYSTEM))).await;
    let mut agents = world.agents().await;
    let ledger = world.members[0].channel_ops(&world);

    let height = world.network.height(&name(SYSTEM)).unwrap();
    propose_for(&world, "new", FRESH, Some(Action::Create), &creation(FRESH, &["Org1MSP", "Org2MSP"])).await;
    until_committed(&world, "new").await;
    assert_told_once(&world, "new").await;
    world.network.ordered(&name(SYSTEM), height + 1).await;
    for member in &world.members {
        for peer in member.client.peers() {
            let joined = async {
                while !member.client.joined_channels(peer).await.unwrap().contains(&name(FRESH)) {
                    tokio::task::yield_now().await;
                }
            };
            within("the peers' joining", joined).await;
        }
        // As orderers with a system channel number them: the first configuration is an update of what they began with.
        assert_eq!(member.client.channel(name(FRESH)).config().await.unwrap().sequence(), 1);
    }
    assert_eq!(ledger.get_organizations_in_channel(FRESH).await.unwrap(), ["Org1MSP", "Org2MSP"]);

    // A member that the consortium has not. The agent of whoever voted last is asked to see to it, and goes on after it.
    propose_for(&world, "stranger", "other", Some(Action::Create), &creation("other", &["Org1MSP", "Org9MSP"])).await;

    let acls =
        json!([{"Command": "set-acls", "Parameters": {"ACLs": {"qscc/GetChainInfo": "/Channel/Application/Readers"}}}]);
    propose_for(&world, "acls", FRESH, None, &change(&world, FRESH, &acls).await).await;
    until_committed(&world, "acls").await;
    let config = world.members[1].client.channel(name(FRESH)).config().await.unwrap();
    assert_eq!(config.acls()["qscc/GetChainInfo"], "/Channel/Application/Readers");

    let refused = agents[1]
        .until("the refusal", |said| said.proposal == "stranger" && matches!(said.happening, Happening::Refused { .. }))
        .await;
    assert_eq!(refused.task, Task::UpdateChannel);
    let Happening::Refused { step, error } = refused.happening else { unreachable!("that is what was waited for") };
    assert_eq!(step, Step::CreateChannel);
    let expected = "Attempted to include member Org9MSP which is not in the consortium";
    assert!(error.contains("BAD_REQUEST") && error.contains(expected), "{error}");
    agents[1]
        .until("the end", |said| {
            said.proposal == "stranger" && matches!(said.happening, Happening::Ended { verdict: Verdict::Failed, .. })
        })
        .await;
    assert!(world.network.height(&name("other")).is_none());

    // The orderers' own channel, in which no peer is, takes an update as well.
    let capabilities = json!([{"Command": "set-orderer-endpoints", "Parameters": {"OrgName": "Org1MSP", "OrdererEndpoints": ["127.0.0.1:1"]}}]);
    propose_for(&world, "endpoints", SYSTEM, None, &change(&world, SYSTEM, &capabilities).await).await;
    until_committed(&world, "endpoints").await;
    for agent in agents {
        agent.stop().await;
    }
    assert_eq!(ledger.get_organizations_in_channel(SYSTEM).await.unwrap(), ["Org1MSP", "Org2MSP"]);
}
