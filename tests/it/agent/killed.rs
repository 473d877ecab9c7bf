//! An agent that is killed between event and acknowledgement, as a process of its own.

use opssc::opssc::chaincode_ops::Status;
use tokio::process::Command;

use super::process::Process;
use super::world::{World, mychannel, proposal, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_event_and_acknowledgement_it_finishes_after_a_restart() {
    let world = World::start().await;
    let second = world.agent(1).await;
    let environment = &world.members[0].environment;
    for (id, chaincode, last_words) in [
        ("at-event", "one", &["event received", "prepareToDeployEvent.at-event"][..]),
        ("at-install", "two", &["step finished", "Install chaincode", "at-install"]),
        ("at-approve", "three", &["step finished", "Approve definition", "at-approve"]),
    ] {
        let mut agent = Process::start(environment);
        agent.until(&["listening", "chaincode-ops"]).await;
        world.propose(&proposal(id, chaincode, 1)).await;
        agent.until(last_words).await;
        // SIGKILL: nothing is put in order.
        agent.child.kill().await.unwrap();

        let mut again = Process::start(environment);
        world.until(id, Status::Committed).await;
        again.child.kill().await.unwrap();
        within("the end", again.child.wait()).await.unwrap();

        let own = |entry: &super::world::Entry| entry.organization == "Org1MSP" && entry.verdict == "VALID";
        let acknowledged: Vec<_> = world
            .calls(world.network.ops_channel(), "Acknowledge")
            .await
            .into_iter()
            .filter(|entry| own(entry) && entry.argument.contains(id))
            .collect();
        assert_eq!(acknowledged.len(), 1, "{acknowledged:?}");
        let approved: Vec<_> = world
            .calls(&mychannel(), "ApproveChaincodeDefinitionForMyOrg")
            .await
            .into_iter()
            .filter(|entry| own(entry) && entry.argument.contains(chaincode))
            .collect();
        assert_eq!(approved.len(), 1, "{approved:?}");
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_ends_in_good_order() {
    let world = World::start().await;
    let mut agent = Process::start(&world.members[0].environment);
    agent.until(&["listening", "chaincode-ops"]).await;
    let id = agent.child.id().expect("it runs").to_string();
    let sent = within("kill", Command::new("kill").args(["-TERM", &id]).status()).await.unwrap();
    assert!(sent.success());
    agent.until(&["agent stopped"]).await;
    assert_eq!(within("the end", agent.child.wait()).await.unwrap().code(), Some(0));
}
