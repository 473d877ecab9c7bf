//! What is due is found on the ledger: after a refusal whose cause is gone, and in place of one who is away.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opssc::agent::journal::TaskState;
use opssc::agent::progress::{Happening, Progress, Step, Task};
use opssc::agent::{Hook, Moment};
use opssc::opssc::chaincode_ops::{PackageType, Status, Task as OpsTask, TaskStatus};
use opssc::runtime::CancellationToken;

use super::world::{World, mychannel, proposal, within};

/// The original tells a failure once, and the proposal is stuck for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_corrected_once_its_cause_is_gone() {
    let world = World::start().await;
    let folder = world.folder.path().to_str().expect("it is a name of ours");
    let template = format!("{folder}/{{chaincode}}-{{sequence}}.json");
    let settings = [("K8S_IMAGE_FILE", template.as_str()), ("CC_SERVER_HELM_TIMEOUT", "1ms")];
    let mut agents = world.agents_with(&settings).await;
    let mut input = proposal("p", "asset", 1);
    input.chaincode_package.package_type = PackageType::K8s;
    world.propose(&input).await;
    for reason in world.failures("p").await {
        assert!(reason.contains("asset-1.json"), "{reason}");
    }
    let digest = format!("sha256:{}", "ab".repeat(32));
    let image = format!("{{\"name\":\"registry.example.com/asset\",\"digest\":\"{digest}\"}}");
    std::fs::write(world.folder.path().join("asset-1.json"), image).unwrap();
    for agent in &mut agents {
        agent.until("the refusal", |said| matches!(said.happening, Happening::Ended { .. })).await;
        agent.bells.reconcile.notify_one();
    }
    world.until("p", Status::Committed).await;
    let histories = world.histories("p").await;
    let told = histories.iter().filter(|history| history.task == OpsTask::Acknowledge);
    assert!(told.clone().count() == 2 && told.into_iter().all(|history| history.status == TaskStatus::Success));
    for agent in agents {
        let record = agent.journal.task(Task::PrepareToDeploy, "p").expect("it is remembered");
        assert!(record.state == TaskState::Done && record.attempts >= 2, "{record:?}");
        agent.stop().await;
    }
}

/// Stops an agent as soon as it has acknowledged.
struct Leaves(CancellationToken);

impl Hook for Leaves {
    fn at(&self, moment: Moment, _: Task, step: Step, _: &str) {
        if (moment, step) == (Moment::After, Step::Acknowledge) {
            self.0.cancel();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_commit_is_replaced_by_the_next_organization() {
    let world = World::start().await;
    let mut second = world.agent_with(1, &[("EXECUTOR_TIMEOUT", "50ms")]).await;
    within("listening", second.health.until(true)).await;
    world.propose(&proposal("p", "asset", 1)).await;
    second.until("its own part", |said| matches!(said.happening, Happening::Ended { .. })).await;
    // The first organization's acknowledgement is the last, so it is the one that is asked to commit; and it goes away.
    let leaves = CancellationToken::new();
    let first = world.agent_hooked(0, &[], Arc::new(Leaves(leaves.clone())), leaves).await;
    within("the first agent's end", first.ended()).await;
    world.until("p", Status::Committed).await;
    let commits = world.calls(&mychannel(), "CommitChaincodeDefinition").await;
    let organizations: Vec<&str> = commits.iter().map(|call| call.organization.as_str()).collect();
    assert_eq!(organizations, ["Org2MSP"]);
    second.stop().await;
}

/// Next to an organization whose definitions are in the original agent's bytes, nothing can be committed until the
/// setting is changed; then the approval that was given before must not stay in the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_in_other_bytes_is_given_anew_once_the_setting_is_changed() {
    let original = [("DEFINITION_ENCODING", "original")];
    let world = World::start().await;
    let mut first = world.agent_with(0, &original).await;
    let mut input = proposal("p", "asset", 1);
    let policy = "OR('Org1MSP.peer', 'Org2MSP.peer')";
    input.chaincode_definition.validation_parameter = BASE64_STANDARD.encode(policy);
    world.propose(&input).await;
    first.until("the first approval", |said| matches!(said.happening, Happening::Ended { .. })).await;
    // The last one to acknowledge is asked to commit.
    let mut second = world.agent(1).await;
    let waits = |said: &Progress| {
        matches!(&said.happening, Happening::Waiting { step: Step::CheckReadiness, error, .. }
            if error.contains("Org1MSP approved it as with DEFINITION_ENCODING=original"))
    };
    second.until("the other bytes", waits).await;
    second.stop().await;

    let second = world.agent_with(1, &original).await;
    world.until("p", Status::Committed).await;
    let name = "asset".parse().unwrap();
    let lifecycle = world.members[0].client.channel(mychannel()).lifecycle();
    let committed = within("the definition", lifecycle.committed(&name)).await.unwrap().expect("it is committed");
    assert!(committed.approvals.values().all(|approved| *approved), "{:?}", committed.approvals);
    first.stop().await;
    second.stop().await;
}
