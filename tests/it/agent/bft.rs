//! Consenters of a channel whose orderers agree by BFT: they come and go by votes that agents carry out.

use opssc::agent::progress::{Happening, Step, Task, Verdict};
use opssc::client::events::Start;
use opssc::fabric::block::{Block, last_config};
use opssc::fabric::config::ChannelConfig;
use opssc::fabric::config::edit::Operation;
use opssc::fabric::config::tree::Config;
use opssc::fabric::config::update;
use opssc::pb::common::{Consenter, Orderers};
use prost::Message as _;
use serde_json::{Value, json};

use super::channels::{assert_told_once, config, propose, until_committed};
use super::world::{World, mychannel, within};
use futures_util::StreamExt as _;

fn mapping(config: &Config) -> Vec<Consenter> {
    let orderer = &config.channel_group.as_ref().unwrap().groups["Orderer"];
    Orderers::decode(orderer.values["Orderers"].value.clone()).unwrap().consenter_mapping
}

/// Has an operation voted for and carried out. Gives the consenters that there are then.
async fn change(world: &World, id: &str, operation: Value) -> Vec<Consenter> {
    let before = config(world).await;
    let mut after = before.clone();
    for operation in Operation::parse_all(&json!([operation]).to_string()).unwrap() {
        operation.apply(&mut after, None).unwrap();
    }
    let update = update::compute(mychannel().as_str(), &before, &after).unwrap().encode();
    propose(world, id, &update).await;
    until_committed(world, id).await;
    assert_told_once(world, id).await;
    world.network.settled(&mychannel()).await;
    mapping(&config(world).await)
}

/// How many orderers have signed the newest block, which the configuration before it bears out.
async fn signatures(world: &World, before: &Config) -> usize {
    let block = world.members[0].client.channel(mychannel()).blocks(Start::Newest).next().await.unwrap().unwrap();
    let first = block.header.as_ref().unwrap().number;
    assert_eq!(last_config(&block).unwrap(), first, "the newest block is the one with the change");
    let config = opssc::pb::common::Config::decode(before.encode()).unwrap();
    let config = ChannelConfig::from_config(mychannel(), config).unwrap();
    config.check_block(&Block::new(block.clone()).unwrap()).unwrap();
    opssc::fabric::block::signatures(&block).unwrap().iter().filter(|it| it.consenter.is_some()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consenters_of_bft_come_and_go_by_votes() {
    let world = World::start_with(|builder| builder.bft(true)).await;
    let mut agents = world.agents().await;
    let whole = config(&world).await;
    let four = mapping(&whole);
    assert_eq!(four.len(), 4);
    let last = &four[3];
    let address = format!("{}:{}", last.host, last.port);

    let removal = json!({"Command": "remove-consenter", "Parameters": {"ConsenterAddress": address}});
    assert_eq!(change(&world, "remove", removal).await, four[..3]);
    assert_eq!(signatures(&world, &whole).await, 3, "a quorum of four");
    let smaller = config(&world).await;

    // The list alone, without the policy for blocks that follows from it.
    let mut torn = smaller.clone();
    let orderer = torn.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
    orderer.values.get_mut("Orderers").unwrap().value =
        Orderers { consenter_mapping: four.clone() }.encode_to_vec().into();
    let update = update::compute(mychannel().as_str(), &smaller, &torn).unwrap().encode();
    propose(&world, "torn", &update).await;
    // Whoever voted last is asked to see to it.
    let refused = agents[1]
        .until("the refusal", |said| said.proposal == "torn" && matches!(said.happening, Happening::Refused { .. }))
        .await;
    assert_eq!(refused.task, Task::UpdateChannel);
    let Happening::Refused { step, error } = refused.happening else { unreachable!("that is what was waited for") };
    assert_eq!(step, Step::UpdateChannel);
    assert!(error.contains("block validation policy should be a signature policy: 3 of the 4 consenters"), "{error}");
    agents[1]
        .until("the end", |said| {
            said.proposal == "torn" && matches!(said.happening, Happening::Ended { verdict: Verdict::Failed, .. })
        })
        .await;

    let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let addition = json!({"Command": "set-consenter", "Parameters": {"Consenter": {
        "Host": last.host, "Port": last.port, "ID": last.id, "MSPID": last.msp_id, "Identity": text(&last.identity),
        "ClientTLSCert": text(&last.client_tls_cert), "ServerTLSCert": text(&last.server_tls_cert),
    }}});
    assert_eq!(change(&world, "add", addition).await, four);
    assert_eq!(signatures(&world, &smaller).await, 2, "a quorum of three");
    for agent in agents {
        within("the end of an agent", agent.stop()).await;
    }
}
