//! Nodes that are slow, hang, answer rubbish, break off, or live in another time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opssc::agent::progress::{Happening, Progress, Reporter, Step, Task};
use opssc::devnet::Faults;
use opssc::opssc::chaincode_ops::{Status, TaskStatus};
use tonic::Code;

use super::world::{Running, World, proposal, within};

/// Does something at each moment of a kind, the first time that it comes.
struct At<S, A> {
    moments: S,
    act: A,
    seen: Mutex<BTreeSet<String>>,
}

impl<S, A> At<S, A>
where
    S: Fn(&Happening) -> bool + Send + Sync + 'static,
    A: Fn() + Send + Sync + 'static,
{
    fn new(moments: S, act: A) -> Arc<Self> {
        Arc::new(Self { moments, act, seen: Mutex::default() })
    }
}

impl<S: Fn(&Happening) -> bool + Send + Sync, A: Fn() + Send + Sync> Reporter for At<S, A> {
    fn report(&self, progress: &Progress) {
        let moment = format!("{:?} {:?}", progress.task, progress.happening);
        if (self.moments)(&progress.happening) && self.seen.lock().unwrap().insert(moment) {
            (self.act)();
        }
    }
}

/// What is done to each node.
type Disturb = fn(&Faults);

const NODES: [&str; 4] = ["orderer0.org1", "orderer0.org2", "peer0.org1", "peer0.org2"];

impl World {
    fn faults(&self, nodes: &[&str]) -> Vec<Faults> {
        nodes.iter().map(|node| self.network.faults(node).unwrap()).collect()
    }

    async fn assert_no_failure(&self, id: &str) {
        let histories = self.histories(id).await;
        assert!(histories.iter().all(|history| history.status != TaskStatus::Failure), "{histories:?}");
    }
}

/// Every node, while each organization prepares a chaincode and one of them commits it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_fail_now_and_then_fail_no_proposal() {
    let world = World::start().await;
    let all = Arc::new(world.faults(&NODES));
    let ways: [(&str, Disturb); 7] = [
        ("garbage", |faults| faults.garbage_next(4)),
        ("cut", |faults| faults.cut_next(4)),
        ("slow", |faults| faults.delay(Duration::from_millis(150))),
        ("behind", |faults| faults.slow_blocks(Duration::from_millis(400))),
        ("unavailable", |faults| faults.fail_next(4, Code::Unavailable)),
        ("exhausted", |faults| faults.fail_next(4, Code::ResourceExhausted)),
        ("internal", |faults| faults.fail_next(4, Code::Internal)),
    ];
    for (id, disturb) in ways {
        let faults = Arc::clone(&all);
        let asked =
            |said: &Happening| matches!(said, Happening::EventReceived { .. } | Happening::Started(Step::Commit));
        let watcher = At::new(asked, move || faults.iter().for_each(disturb));
        let first = world.watched_agent(0, &[], watcher).await;
        let second = world.agent(1).await;
        for agent in [&first, &second] {
            within("listening", agent.health.until(true)).await;
        }
        world.propose(&proposal(id, id, 1)).await;
        world.until(id, Status::Committed).await;
        all.iter().for_each(Faults::clear);
        first.stop().await;
        second.stop().await;
        world.assert_done_once(id, id).await;
    }
}

/// The moment at which the original becomes deaf for good. The agent cannot know whether a transaction was taken, and so
/// hands in the same again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orderers_that_go_away_exactly_at_an_acknowledgement_are_waited_for() {
    let world = World::start().await;
    let faults = world.faults(&["orderer0.org1", "orderer0.org2"]);
    let acknowledges = |said: &Happening| *said == Happening::Started(Step::Acknowledge);
    let away = move || faults.iter().for_each(|orderer| orderer.fail_next(12, Code::Unavailable));
    let first = world.watched_agent(0, &[], At::new(acknowledges, away)).await;
    assert_carried_out_once(&world, first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orderers_that_restart_one_after_the_other_are_got_by() {
    let world = World::start().await;
    let agents = world.agents().await;
    for (id, orderer) in [("one", "orderer0.org1"), ("two", "orderer0.org2")] {
        world.network.stop_orderer(orderer).await.unwrap();
        world.propose(&proposal(id, id, 1)).await;
        world.network.start_orderer(orderer).await.unwrap();
        world.until(id, Status::Committed).await;
        world.assert_no_failure(id).await;
    }
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endorsements_that_differ_are_asked_for_again() {
    let world = World::start().await;
    let peer = world.network.faults("peer0.org2").unwrap();
    let tells = |said: &Happening| matches!(said, Happening::Started(Step::Acknowledge | Step::Commit | Step::Notify));
    let first = world.watched_agent(0, &[], At::new(tells, move || peer.diverge_next(2))).await;
    assert_carried_out_once(&world, first).await;
}

/// A proposal is committed, and everything done once, by `first` and the agent of the second organization.
async fn assert_carried_out_once(world: &World, first: Running) {
    let second = world.agent(1).await;
    for agent in [&first, &second] {
        within("listening", agent.health.until(true)).await;
    }
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    first.stop().await;
    second.stop().await;
    world.assert_done_once("p", "asset").await;
}

/// A peer that hangs keeps its connections and says nothing: that is noticed, and told by `/healthz`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_peer_is_noticed_and_waited_for() {
    let world = World::start().await;
    let mut agents = world.agents().await;
    let peer = world.network.faults("peer0.org1").unwrap();
    peer.hang(true);
    within("the agent to notice", agents[0].health.until(false)).await;
    peer.hang(false);
    within("the agent to listen again", agents[0].health.until(true)).await;
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    assert!(agents[0].said().iter().any(|said| said.task == Task::PrepareToDeploy));
    world.assert_no_failure("p").await;
    for agent in agents {
        agent.stop().await;
    }
}

/// They have taken an approval and say nothing; then they are killed, and what they took is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orderers_that_hang_and_then_die_are_waited_for() {
    const ORDERERS: [&str; 2] = ["orderer0.org1", "orderer0.org2"];
    let world = World::start().await;
    let (faults, orderers) = (world.faults(&ORDERERS), world.faults(&ORDERERS));
    let approves = |said: &Happening| *said == Happening::Started(Step::Approve);
    let hang = move || faults.iter().for_each(|orderer| orderer.hang(true));
    let mut first = world.watched_agent(0, &[], At::new(approves, hang)).await;
    within("listening", first.health.until(true)).await;
    world.propose(&proposal("p", "asset", 1)).await;
    first.until("the approval", |said| said.happening == Happening::Started(Step::Approve)).await;
    for name in ORDERERS {
        world.network.stop_orderer(name).await.unwrap();
    }
    orderers.iter().for_each(Faults::clear);
    for name in ORDERERS {
        world.network.start_orderer(name).await.unwrap();
    }
    let second = world.agent(1).await;
    world.until("p", Status::Committed).await;
    first.stop().await;
    second.stop().await;
    world.assert_done_once("p", "asset").await;
}

/// A peer refuses what is signed for another time than its own: the agent is deaf until the clock is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_is_waited_for() {
    let world = World::start().await;
    let agents = world.agents().await;
    for (id, offset) in [("ahead", 3_600_000), ("behind", -3_600_000)] {
        let clock = world.network.faults("peer0.org1").unwrap();
        clock.clock(offset);
        // What listens already is let be; who comes anew is refused.
        world.network.stop_peer("peer0.org1").await.unwrap();
        within("the agent to notice", agents[0].health.until(false)).await;
        world.network.start_peer("peer0.org1").await.unwrap();
        let asked = world.members[0].ledger.get_proposal(id).await;
        assert!(asked.is_err_and(|error| format!("{error:?}").contains("incorrect timestamp")));
        clock.clear();
        world.propose(&proposal(id, id, 1)).await;
        within("the agent to listen again", agents[0].health.until(true)).await;
        world.until(id, Status::Committed).await;
        world.assert_no_failure(id).await;
    }
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_works() {
    let world = World::start_with(|builder| builder.mutual_tls(true)).await;
    let agents = world.agents().await;
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
    world.assert_done_once("p", "asset").await;
}
