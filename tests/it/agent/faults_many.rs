//! Very much at once, and very much again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use opssc::client::events::Start;
use opssc::client::profile::ConnectionProfile;
use opssc::client::{Client, Endorsers, Way};
use opssc::fabric::identity::SigningIdentity;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::ChaincodeName;
use opssc::fabric::policy::ApplicationPolicy;
use opssc::fabric::tx::Invocation;
use opssc::opssc::calls::ChaincodeOps;
use opssc::opssc::chaincode_ops::{Status, TaskStatus, TaskStatusUpdate};
use opssc::opssc::contracts;

use super::hostile::Noisy;
use super::process::Process;
use super::world::{Entry, World, mychannel, proposal, within};

/// Longer than these take.
const LIMIT: Duration = Duration::from_mins(5);
/// Calls under way at the same time.
const SIDE_BY_SIDE: usize = 32;

impl World {
    /// All organizations agree on many proposals, each of a chaincode of its own.
    async fn propose_all(&self, ids: &[String]) {
        let (first, second) = (&self.members[0].ledger, &self.members[1].ledger);
        stream::iter(ids)
            .for_each_concurrent(SIDE_BY_SIDE, |id| async move {
                within("the request", first.request_proposal(&proposal(id, id, 1))).await.unwrap();
                let vote = TaskStatusUpdate::new(id.as_str(), TaskStatus::Agreed);
                within("the vote", second.vote(&vote)).await.unwrap();
            })
            .await;
    }

    /// Waits until every proposal is committed.
    async fn until_all(&self, count: usize) {
        let ledger = &self.members[0].ledger;
        let mut blocks = ledger.channel().blocks(Start::Newest);
        let look = async {
            loop {
                if let Ok(all) = ledger.get_all_proposals().await {
                    let committed = all.values().filter(|proposal| proposal.status == Status::Committed).count();
                    assert!(all.len() <= count);
                    if committed == count {
                        return;
                    }
                }
                // All of them are much to read: not with each block.
                for _ in 0..10 {
                    let _ = tokio::time::timeout(Duration::from_secs(1), blocks.next()).await;
                }
            }
        };
        tokio::time::timeout(LIMIT, look).await.expect("they are committed in time");
    }

    /// Each proposal was acted on once by everybody.
    async fn assert_all_done_once(&self, ids: &[String]) {
        let organizations = self.members.len();
        let ops = self.network.ops_channel().clone();
        for (channel, function, times) in [
            (mychannel(), "ApproveChaincodeDefinitionForMyOrg", organizations),
            (mychannel(), "CommitChaincodeDefinition", 1),
            (ops.clone(), "Acknowledge", organizations),
            (ops, "NotifyCommitResult", 1),
        ] {
            let calls = self.calls(&channel, function).await;
            let mut valid: BTreeMap<&str, usize> = BTreeMap::new();
            for Entry { argument, .. } in calls.iter().filter(|call| call.verdict == "VALID") {
                let id = ids.iter().find(|id| argument.contains(id.as_str())).expect("it is about a proposal");
                *valid.entry(id).or_default() += 1;
            }
            let odd: Vec<_> = ids.iter().filter(|id| valid.get(id.as_str()) != Some(&times)).collect();
            assert!(odd.is_empty(), "{function} is not there {times} times for {odd:?}");
        }
    }
}

/// Names of which none is in another.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("cc{number:04}x")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_proposals_at_once_are_carried_out_each_once() {
    let world = World::start_with(|builder| builder.max_message_count(100)).await;
    let agents = world.agents().await;
    let ids = names(200);
    world.propose_all(&ids).await;
    world.until_all(ids.len()).await;
    for agent in agents {
        agent.stop().await;
    }
    world.assert_all_done_once(&ids).await;
}

/// How many events there are.
const EVENTS: usize = 10_000;

/// Half of the events are there when the agent starts at block 0, the rest comes while it listens. All of them ask for
/// the same few tasks, over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_events_from_block_0_have_each_task_done_once_in_the_same_memory() {
    let noisy = ChaincodeName::parse("noisy-ops").unwrap();
    let contract = Arc::new(Noisy(contracts::ChaincodeOps::new("channel-ops".parse().unwrap())));
    let mut world = World::start_with(|builder| builder.native(noisy.clone(), contract).max_message_count(500)).await;
    let ops = world.network.ops_channel().clone();
    let mut definition = ChaincodeDefinition::new(noisy.clone(), "1", 1);
    // So that there are ten thousand in a time that a test may take.
    let anybody = ApplicationPolicy::parse_flags("OR('Org1MSP.peer', 'Org2MSP.peer')", "").unwrap().unwrap();
    definition.validation_parameter = anybody.encode();
    within("deploying", world.network.deploy_native(&ops, &definition)).await.unwrap();
    for member in &mut world.members {
        member.environment.insert("CC_OPS_CC_NAME", noisy.as_str().into());
        member.ledger = ChaincodeOps::new(member.client.channel(ops.clone()), noisy.clone());
    }
    // The original's checkpoint, which stands at the beginning.
    let folder = std::path::PathBuf::from(&world.members[0].environment["CHECKPOINT_DIR"]);
    std::fs::create_dir_all(&folder).unwrap();
    let checkpoint = serde_json::json!({"blockNumber": "0", "transactionIds": []});
    std::fs::write(folder.join(format!("{ops}_{noisy}.json")), checkpoint.to_string()).unwrap();

    let ids = names(20);
    world.propose_all(&ids).await;
    emit(&world, &noisy, &ids, EVENTS / 2).await;
    let second = world.agent(1).await;
    let mut agent = Process::start(&world.members[0].environment);
    agent.until(&["took over a checkpoint"]).await;
    world.until_all(ids.len()).await;
    agent.heard(&world, &noisy, "half").await;
    let before = agent.resident();
    emit(&world, &noisy, &ids, EVENTS / 2).await;
    agent.heard(&world, &noisy, "whole").await;
    let after = agent.resident();
    agent.kill().await;
    second.stop().await;
    world.assert_all_done_once(&ids).await;
    assert!(after < before + 4096, "it took {before} KiB after half of the events and {after} KiB after all");
}

impl Process {
    /// Waits until the agent has heard everything so far: an event that it logs is emitted last.
    async fn heard(&mut self, world: &World, contract: &ChaincodeName, mark: &str) {
        let channel = world.members[0].client.channel(world.network.ops_channel().clone());
        let name = format!("newVoteEvent.{mark}");
        let emit = Invocation::new(contract.as_str(), "Emit").arg(name.as_bytes().to_vec()).arg(Vec::new());
        within("emitting", channel.submit(&emit, Endorsers::Majority)).await.unwrap();
        self.until(&["event asks for nothing", &name]).await;
    }
}

/// Emits events that ask for tasks of these proposals again.
async fn emit(world: &World, contract: &ChaincodeName, ids: &[String], count: usize) {
    let mut events = Vec::new();
    for id in ids {
        let proposal = world.members[0].ledger.get_proposal(id).await.unwrap();
        let payload = serde_json::json!({"proposal": proposal, "operationTargets": ["Org1MSP", "Org2MSP"]});
        events.push((format!("prepareToDeployEvent.{id}").into_bytes(), serde_json::to_vec(&payload).unwrap()));
    }
    // By a peer's Gateway, which takes very many in a short time.
    let organization = &world.network.organizations()[0];
    let signer = SigningIdentity::load_msp(organization.msp_id.clone(), &organization.admin_msp).unwrap();
    let profile = ConnectionProfile::load(&organization.connection_profile).unwrap();
    let client = &Client::builder(Arc::new(signer), profile).way(Way::Gateway).build().unwrap();
    let (channel, events) = (client.channel(world.network.ops_channel().clone()), &events);
    let one = async |number: usize| {
        let (name, payload) = events[number % events.len()].clone();
        let emit = Invocation::new(contract.as_str(), "Emit").arg(name).arg(payload);
        let transaction = channel.endorse(&emit, Endorsers::Own).await.unwrap().into_transaction();
        let signature = client.signer().sign(transaction.payload()).await.unwrap();
        // Its commit is not waited for.
        channel.order_signed(&transaction.signed_with(signature)).await.unwrap();
    };
    tokio::time::timeout(LIMIT, stream::iter(0..count).for_each_concurrent(SIDE_BY_SIDE, one)).await.unwrap();
}
