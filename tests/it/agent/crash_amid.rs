//! An agent that is killed while a transaction of its is on the way: ordered, and not yet seen by any peer.
//!
//! Neither the agent nor the peers know then what has become of it, and yet it must count once.

use std::time::Duration;

use opssc::agent::progress::{Happening, Step, Task};
use opssc::fabric::names::ChannelName;
use opssc::opssc::chaincode_ops::{Status, Task as Told};

use super::channels;
use super::doomed::Doomed;
use super::doomed::Point::Before;
use super::world::{Running, World, mychannel, proposal, within};

/// Longer than any test.
const NEVER: Duration = Duration::from_hours(1);

const PEERS: [&str; 2] = ["peer0.org1", "peer0.org2"];

async fn world() -> World {
    World::start_with(|builder| builder.batch_timeout(Duration::from_millis(50))).await
}

impl World {
    /// No peer takes a block for so long.
    fn peers_are_slow(&self, delay: Duration) {
        for peer in PEERS {
            self.network.faults(peer).unwrap().slow_blocks(delay);
        }
    }

    /// Kills the agent, which waits right before a step, once its transaction is ordered and no peer has it.
    async fn kill_amid(&self, mut doomed: Doomed, channel: &ChannelName) {
        doomed.arrives().await;
        self.network.settled(channel).await;
        let height = self.network.height(channel).unwrap();
        self.peers_are_slow(NEVER);
        doomed.goes_on().await;
        within("the transaction", self.network.ordered(channel, height + 1)).await;
        doomed.kill().await;
    }

    /// The agent again. It finds what the peers know by now; or, if they are behind, what they knew before, until it has
    /// begun the step anew.
    async fn back(&self, member: usize, task: Task, step: Step, behind: bool) -> Running {
        if !behind {
            self.peers_are_slow(Duration::ZERO);
            return self.agent(member).await;
        }
        let mut agent = self.agent(member).await;
        agent
            .until("the step again", |said| {
                said.task == task && matches!(said.happening, Happening::Started(started) if started == step)
            })
            .await;
        self.peers_are_slow(Duration::ZERO);
        agent
    }
}

/// The other organization is away until then, so that nobody else makes blocks.
async fn preparation(step: Step, channel: impl Fn(&World) -> ChannelName) {
    let world = world().await;
    for (id, behind) in [("one", false), ("two", true)] {
        let doomed = world.asks(0, &[], Before(Task::PrepareToDeploy, step));
        world.propose(&proposal(id, id, 1)).await;
        world.kill_amid(doomed, &channel(&world)).await;
        let first = world.back(0, Task::PrepareToDeploy, step, behind).await;
        let second = world.agent(1).await;
        world.until(id, Status::Committed).await;
        first.stop().await;
        second.stop().await;
        world.assert_done_once(id, id).await;
    }
}

async fn deployment(step: Step, channel: impl Fn(&World) -> ChannelName) {
    let world = world().await;
    let second = world.agent(1).await;
    for (id, behind) in [("one", false), ("two", true)] {
        world.propose(&proposal(id, id, 1)).await;
        let told = |told: &opssc::opssc::chaincode_ops::History| told.task == Told::Acknowledge;
        world.until_seen("the second to acknowledge", id, |_, all| all.iter().any(told)).await;
        let doomed = world.asks(0, &[], Before(Task::Deploy, step));
        world.kill_amid(doomed, &channel(&world)).await;
        let first = world.back(0, Task::Deploy, step, behind).await;
        world.until(id, Status::Committed).await;
        first.stop().await;
        world.assert_done_once(id, id).await;
    }
    second.stop().await;
}

async fn update(step: Step, channel: impl Fn(&World) -> ChannelName) {
    let world = world().await;
    for (id, messages, behind) in [("one", 71, false), ("two", 72, true)] {
        let before = channels::sequence(&world).await;
        let doomed = world.asks(1, &[], Before(Task::UpdateChannel, step));
        channels::propose(&world, id, &channels::batch_size(&world, messages).await).await;
        world.kill_amid(doomed, &channel(&world)).await;
        let second = world.back(1, Task::UpdateChannel, step, behind).await;
        channels::until_committed(&world, id).await;
        second.stop().await;
        assert_eq!(channels::sequence(&world).await, before + 1, "{id}");
        assert_eq!(channels::max_messages(&world).await, messages, "{id}");
        channels::assert_told_once(&world, id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_amid_approval() {
    preparation(Step::Approve, |_| mychannel()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_amid_acknowledgement() {
    preparation(Step::Acknowledge, |world| world.network.ops_channel().clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_amid_commit() {
    deployment(Step::Commit, |_| mychannel()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_amid_notification() {
    deployment(Step::Notify, |world| world.network.ops_channel().clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_amid_the_update_of_a_channel() {
    update(Step::UpdateChannel, |_| mychannel()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_amid_notification_of_an_update() {
    update(Step::Notify, |world| world.network.ops_channel().clone()).await;
}
