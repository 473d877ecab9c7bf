//! Without faults: a proposal is carried out, once, and what was missed is taken up.

use std::sync::atomic::{AtomicUsize, Ordering};

use opssc::agent::progress::Happening;
use opssc::opssc::chaincode_ops::{HistoryQuery, Status, Task, TaskStatus, TaskStatusUpdate};

use super::world::{World, mychannel, proposal, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sequences_are_committed_each_once() {
    let world = World::start().await;
    let agents = world.agents().await;
    for (id, sequence) in [("first", 1), ("second", 2)] {
        world.propose(&proposal(id, "asset", sequence)).await;
        world.until(id, Status::Committed).await;
    }
    for agent in agents {
        agent.stop().await;
    }
    let lifecycle = world.members[1].client.channel(mychannel()).lifecycle();
    let committed = lifecycle.committed(&"asset".parse().unwrap()).await.unwrap().expect("it is committed");
    assert_eq!((committed.definition.sequence, committed.definition.version.as_str()), (2, "2"));
    let approvals = world.calls(&mychannel(), "ApproveChaincodeDefinitionForMyOrg").await;
    assert_eq!(approvals.len(), 4, "{approvals:?}");
    let valid =
        |entries: Vec<super::world::Entry>| entries.into_iter().filter(|entry| entry.verdict == "VALID").count();
    let ops = world.network.ops_channel();
    assert_eq!(valid(world.calls(ops, "Acknowledge").await), 4);
    assert_eq!(valid(world.calls(ops, "NotifyCommitResult").await), 2);
    let histories = world.histories("second").await;
    let package = histories.iter().find(|history| history.data.contains("packageID")).expect("a package is told");
    assert!(package.data.starts_with("{\"packageID\":\"asset-2:"), "{package:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_that_were_voted_while_the_agents_were_away_are_taken_up() {
    let world = World::start().await;
    world.propose(&proposal("before", "asset", 1)).await;
    let agents = world.agents().await;
    world.until("before", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
    // Everything is acknowledged by hand, and nobody has committed: the last one to acknowledge does.
    let mut second = world.agent(1).await;
    world.propose(&proposal("between", "asset", 2)).await;
    second
        .until(
            "the acknowledgement",
            |said| matches!(&said.happening, Happening::Ended { .. } if said.proposal == "between"),
        )
        .await;
    second.stop().await;
    let first = world.agent(0).await;
    world.until("between", Status::Committed).await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colliding_acknowledgements_are_retried_at_once() {
    let world = World::start().await;
    world.propose(&proposal("p", "asset", 1)).await;
    let done = TaskStatusUpdate::new("p", TaskStatus::Success);
    // Both are simulated before either is ordered, so that the second to be ordered finds the first one's history.
    let (first, second) = (&world.members[0].ledger, &world.members[1].ledger);
    let (one, other) =
        within("both", async { tokio::join!(first.acknowledge(&done), second.acknowledge(&done)) }).await;
    one.unwrap();
    other.unwrap();
    world.until("p", Status::Acknowledged).await;
    let calls = world.calls(world.network.ops_channel(), "Acknowledge").await;
    let verdicts: Vec<&str> = calls.iter().map(|call| call.verdict.as_str()).collect();
    assert_eq!(verdicts, ["VALID", "PHANTOM_READ_CONFLICT", "VALID"], "{calls:?}");
}

/// What an agent of before has told, and nobody has seen yet, is committed at the worst times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_meanwhile_is_not_told_again() {
    let world = World::start().await;
    let ledger = &world.members[0].ledger;
    for (id, before_the_question) in [("before", true), ("after", false)] {
        world.propose(&proposal(id, "asset", 1)).await;
        let done = TaskStatusUpdate::new(id, TaskStatus::Success);
        let questions = AtomicUsize::new(0);
        let told = async || {
            let query =
                HistoryQuery { proposal_id: id.into(), task: Some(Task::Acknowledge), org_id: "Org1MSP".into() };
            !ledger.get_histories(&query).await.unwrap().is_empty()
        };
        let is_due = async || {
            let first = questions.fetch_add(1, Ordering::Relaxed) == 0;
            let known = told().await;
            if first {
                ledger.acknowledge(&done).await.unwrap();
            }
            if before_the_question { !told().await } else { !known }
        };
        assert!(within("the second", ledger.acknowledge_if_due(&done, is_due)).await.unwrap().is_none(), "{id}");
        // The second one, where it came too early to see the first, lost against it.
        assert_eq!(questions.into_inner(), if before_the_question { 1 } else { 2 }, "{id}");
        let calls = world.calls(world.network.ops_channel(), "Acknowledge").await;
        let valid = calls.iter().filter(|call| call.verdict == "VALID" && call.argument.contains(id));
        assert_eq!(valid.count(), 1, "{calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_carried_out_is_told_once_and_harms_nothing_else() {
    let world = World::start().await;
    let agents = world.agents().await;
    let mut cobol = proposal("cobol", "cobolcc", 1);
    cobol.chaincode_package.package_type = "cobol".into();
    let late = proposal("late", "asset", 5);
    for refused in [&cobol, &late] {
        world.propose(refused).await;
    }
    world.propose(&proposal("good", "asset", 1)).await;
    world.until("good", Status::Committed).await;
    for (id, reason) in [("cobol", "package type cobol is not known"), ("late", "it must be 1")] {
        let failed = |histories: &[opssc::opssc::chaincode_ops::History]| {
            histories.iter().filter(|history| history.status == TaskStatus::Failure).count()
        };
        world.until_seen("both failures", id, |_, histories| failed(histories) == 2).await;
        for history in world.histories(id).await.iter().filter(|history| history.status == TaskStatus::Failure) {
            assert!(history.data.starts_with("{\"error\":\"") && history.data.contains(reason), "{history:?}");
        }
    }
    for agent in agents {
        agent.stop().await;
    }
    // A restart tries again and, where it ends the same, tells nobody again.
    let before = world.calls(world.network.ops_channel(), "Acknowledge").await.len();
    let mut again = world.agent(0).await;
    again
        .until("cobol again", |said| said.proposal == "cobol" && matches!(said.happening, Happening::Ended { .. }))
        .await;
    again.stop().await;
    assert_eq!(world.calls(world.network.ops_channel(), "Acknowledge").await.len(), before);
}
