//! Nodes that are down: what may pass is waited for, and never told as a failure.

use opssc::agent::progress::{Happening, Step};
use opssc::opssc::chaincode_ops::{Status, TaskStatus};

use super::world::{World, proposal, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_restarts_while_the_agent_listens() {
    let world = World::start().await;
    let agents = world.agents().await;
    world.network.stop_peer("peer0.org1").await.unwrap();
    within("the agent to notice", agents[0].health.until(false)).await;
    world.network.start_peer("peer0.org1").await.unwrap();
    within("the agent to listen again", agents[0].health.until(true)).await;
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_goes_away_during_the_work_is_waited_for() {
    let world = World::start().await;
    let mut agents = world.agents().await;
    world.propose(&proposal("p", "asset", 1)).await;
    agents[0].until("the event", |said| matches!(said.happening, Happening::EventReceived { .. })).await;
    world.network.stop_peer("peer0.org1").await.unwrap();
    agents[0].until("waiting", |said| matches!(said.happening, Happening::Waiting { .. })).await;
    world.network.start_peer("peer0.org1").await.unwrap();
    world.until("p", Status::Committed).await;
    assert_no_failure(&world, "p").await;
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_orderer_of_two_is_enough() {
    let world = World::start().await;
    let agents = world.agents().await;
    world.network.stop_orderer("orderer0.org1").await.unwrap();
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    assert_no_failure(&world, "p").await;
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_orderers_down_after_the_vote_fail_no_proposal() {
    let world = World::start().await;
    world.propose(&proposal("p", "asset", 1)).await;
    for orderer in ["orderer0.org1", "orderer0.org2"] {
        world.network.stop_orderer(orderer).await.unwrap();
    }
    let mut agents = world.agents().await;
    for agent in &mut agents {
        agent.until("waiting", |said| matches!(said.happening, Happening::Waiting { step: Step::Approve, .. })).await;
    }
    for orderer in ["orderer0.org1", "orderer0.org2"] {
        world.network.start_orderer(orderer).await.unwrap();
    }
    world.until("p", Status::Committed).await;
    assert_no_failure(&world, "p").await;
    for agent in agents {
        agent.stop().await;
    }
}

async fn assert_no_failure(world: &World, id: &str) {
    let histories = world.histories(id).await;
    assert!(histories.iter().all(|history| history.status != TaskStatus::Failure), "{histories:?}");
}
