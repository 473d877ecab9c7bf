//! An agent that dies right before and right after each step of each task, and another one that takes up what it left.
//!
//! Nothing is put in order. Then the agent is started again, and in the end the ledger must say what it says when nothing
//! happened, with each transaction there once.

use std::time::Duration;

use opssc::agent::progress::Step::{
    Acknowledge, Approve, Build, CheckReadiness, Commit, CreateChannel, Fetch, Install, Notify, Package, UpdateChannel,
    Validate,
};
use opssc::agent::progress::Task::{Deploy, PrepareToDeploy as Prepare, UpdateChannel as Update};
use opssc::agent::progress::{Step, Task};
use opssc::fabric::names::{ChaincodeName, ChannelName};
use opssc::opssc::chaincode_ops::{ProposalInput, Status, Task as Told, TaskStatus};
use opssc::opssc::channel_ops::{Action, ChannelType};

use super::bootstrap;
use super::channels;
use super::doomed::Point::{self, After, Before, Event};
use super::sources::{Origin, proposed, write_sources};
use super::world::{World, mychannel, proposal, within};

impl World {
    /// What must be so in the end, once and for all organizations, whatever happened on the way.
    pub(super) async fn assert_done_once(&self, id: &str, chaincode: &str) {
        let name = ChaincodeName::parse(chaincode).unwrap();
        let channel = self.members[0].client.channel(mychannel());
        self.network.settled(&mychannel()).await;
        let committed = channel.lifecycle().committed(&name).await.unwrap().expect("it is committed");
        assert_eq!(committed.definition.sequence, 1);
        assert!(committed.approvals.values().all(|approved| *approved), "{id}: {committed:?}");

        let histories = self.histories(id).await;
        let of = |task: Told| histories.iter().filter(move |history| history.task == task).collect::<Vec<_>>();
        assert_eq!(of(Told::Vote).len(), self.members.len(), "{id}: {histories:?}");
        assert_eq!(of(Told::Commit).len(), 1, "{id}: {histories:?}");
        let all_is_well = histories.iter().all(|history| history.status != TaskStatus::Failure);
        assert!(all_is_well, "{id}: {histories:?}");

        for member in &self.members {
            let own = member.client.msp_id();
            let told: Vec<_> = of(Told::Acknowledge).into_iter().filter(|told| told.org_id == own.as_str()).collect();
            let [told] = told.as_slice() else { panic!("{id}: {own} has told {told:?}") };
            let lifecycle = member.client.channel(mychannel()).lifecycle();
            let approved = lifecycle.query_approved(&name, Some(1)).await.unwrap().expect("it is approved");
            let package = approved.package_id.expect("a package was approved");
            assert_eq!(told.data, format!("{{\"packageID\":\"{package}\"}}"), "{id}: {own}");
            for peer in member.client.peers() {
                let installed = member.client.peer_lifecycle(peer).installed().await.unwrap();
                let labels = installed.iter().filter(|one| one.package_id.label() == format!("{chaincode}-1"));
                assert_eq!(labels.count(), 1, "{id}: {} has {installed:?}", peer.name());
            }
        }

        for (channel, function, argument, count) in [
            (mychannel(), "ApproveChaincodeDefinitionForMyOrg", chaincode, self.members.len()),
            (mychannel(), "CommitChaincodeDefinition", chaincode, 1),
            (self.network.ops_channel().clone(), "Acknowledge", id, self.members.len()),
            (self.network.ops_channel().clone(), "NotifyCommitResult", id, 1),
        ] {
            let calls = self.calls(&channel, function).await;
            let valid = calls.iter().filter(|call| call.verdict == "VALID" && call.argument.contains(argument));
            assert_eq!(valid.count(), count, "{id}: {function}: {calls:?}");
        }
    }
}

async fn world() -> World {
    World::start_with(|builder| builder.batch_timeout(Duration::from_millis(50))).await
}

/// Without a death: what [`World::assert_done_once`] says is what is so otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_crash_everything_is_done_once() {
    let world = world().await;
    let agents = world.agents().await;
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
    world.assert_done_once("p", "asset").await;
}

/// The agent of the first organization dies there, the one of the second goes on, and then the first comes back.
async fn preparation(points: &[Point]) {
    let world = world().await;
    let second = world.agent(1).await;
    for (at, chaincode) in points.iter().zip(["one", "two", "three"]) {
        preparation_of(&world, &proposal(chaincode, chaincode, 1), &[], *at).await;
    }
    second.stop().await;
}

async fn preparation_of(world: &World, input: &ProposalInput, settings: &[(&'static str, &str)], at: Point) {
    let doomed = world.dies(0, settings, at);
    world.propose(input).await;
    doomed.end().await;
    let first = world.agent_with(0, settings).await;
    world.until(&input.id, Status::Committed).await;
    first.stop().await;
    world.assert_done_once(&input.id, &input.chaincode_name).await;
}

/// As before; the first organization acknowledges last and so has to commit.
async fn deployment(points: &[Point]) {
    let world = world().await;
    let second = world.agent(1).await;
    for (at, id) in points.iter().zip(["one", "two", "three"]) {
        world.propose(&proposal(id, id, 1)).await;
        world
            .until_seen("the second to acknowledge", id, |_, told| {
                told.iter().any(|told| told.task == Told::Acknowledge)
            })
            .await;
        world.dies(0, &[], *at).end().await;
        let first = world.agent(0).await;
        world.until(id, Status::Committed).await;
        first.stop().await;
        world.assert_done_once(id, id).await;
    }
    second.stop().await;
}

/// The second organization votes last and so has to hand the update in.
async fn update(points: &[Point]) {
    let world = world().await;
    let first = world.agent(0).await;
    for (at, (id, messages)) in points.iter().zip([("one", 71), ("two", 72), ("three", 73)]) {
        let before = channels::sequence(&world).await;
        let doomed = world.dies(1, &[], *at);
        channels::propose(&world, id, &channels::batch_size(&world, messages).await).await;
        doomed.end().await;
        let second = world.agent(1).await;
        channels::until_committed(&world, id).await;
        second.stop().await;
        assert_eq!(channels::sequence(&world).await, before + 1, "{id}");
        assert_eq!(channels::max_messages(&world).await, messages, "{id}");
        channels::assert_told_once(&world, id).await;
    }
    first.stop().await;
}

/// The second organization votes last and so has to see to it that the channel is made.
async fn creation(points: &[Point]) {
    let world = world().await;
    let ledger = world.members[0].channel_ops(&world);
    let members = ["Org1MSP", "Org2MSP"];
    within("the voters", ledger.create_channel("voters", &ChannelType::System, &members)).await.unwrap();
    let settings: Vec<_> = (0..2).map(|member| channels::orderer_settings(&world, member)).collect();
    let of = |member: usize| settings[member].iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
    let first = world.agent_with(0, &of(0)).await;
    for (at, id) in points.iter().zip(["one", "two", "three"]) {
        let doomed = world.dies(1, &of(1), *at);
        let update = channels::creation(&world, id).await;
        channels::propose_for(&world, id, id, Some(Action::Create), &update).await;
        doomed.end().await;
        let second = world.agent_with(1, &of(1)).await;
        channels::until_committed(&world, id).await;
        second.stop().await;
        channels::assert_told_once(&world, id).await;
        let channel = ChannelName::parse(id).unwrap();
        for member in &world.members {
            assert_eq!(member.client.channel(channel.clone()).config().await.unwrap().sequence(), 0, "{id}");
        }
        assert_eq!(ledger.get_organizations_in_channel(id).await.unwrap(), members, "{id}");
    }
    first.stop().await;
}

/// Sources are fetched and built: the agent of the first organization dies on the way.
async fn sources(points: &[Point]) {
    let world = world().await;
    let root = tempfile::tempdir().unwrap();
    write_sources(root.path());
    let origin = Origin::start(&world, root.path()).await;
    let second = world.agent_with(1, &origin.settings()).await;
    for (at, id) in points.iter().zip(["one", "two", "three"]) {
        let input = proposed(id, "typescript", "typescript", "cc");
        preparation_of(&world, &input, &origin.settings(), *at).await;
    }
    second.stop().await;
}

macro_rules! crashes {
    ($($name:ident: $flow:ident($($point:expr),+);)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $flow(&[$($point),+]).await;
            }
        )*

        /// All points at which an agent is killed here.
        const POINTS: &[Point] = &[$($($point),+),*];
    };
}

crashes! {
    crash_when_a_preparation_is_asked_for: preparation(Event(Prepare));
    crash_at_validation: preparation(Before(Prepare, Validate), After(Prepare, Validate));
    crash_at_fetching: sources(Before(Prepare, Fetch), After(Prepare, Fetch));
    crash_at_building: sources(Before(Prepare, Build), After(Prepare, Build));
    crash_at_packaging: preparation(Before(Prepare, Package), After(Prepare, Package));
    crash_at_installation: preparation(Before(Prepare, Install), After(Prepare, Install));
    crash_at_approval: preparation(Before(Prepare, Approve), After(Prepare, Approve));
    crash_at_acknowledgement: preparation(Before(Prepare, Acknowledge), After(Prepare, Acknowledge));
    crash_when_a_commit_is_asked_for: deployment(Event(Deploy));
    crash_at_the_check_of_readiness: deployment(Before(Deploy, CheckReadiness), After(Deploy, CheckReadiness));
    crash_at_commit: deployment(Before(Deploy, Commit), After(Deploy, Commit));
    crash_at_notification: deployment(Before(Deploy, Notify), After(Deploy, Notify));
    crash_when_an_update_is_asked_for: update(Event(Update));
    crash_at_validation_of_an_update: update(Before(Update, Validate), After(Update, Validate));
    crash_at_the_update_of_a_channel: update(Before(Update, UpdateChannel), After(Update, UpdateChannel));
    crash_at_notification_of_an_update: update(Before(Update, Notify), After(Update, Notify));
    crash_at_the_creation_of_a_channel: creation(Before(Update, CreateChannel), After(Update, CreateChannel));
}

#[test]
fn no_step_is_forgotten() {
    let points: Vec<Point> = POINTS.iter().copied().chain(bootstrap::points()).collect();
    for step in Step::ALL {
        let before = points.iter().any(|point| matches!(point, Before(_, at) if *at == step));
        let after = points.iter().any(|point| matches!(point, After(_, at) if *at == step));
        assert!(before && after, "no agent is killed before and after: {step}");
    }
    // No event asks for what was missed: an agent finds that by itself.
    for task in Task::ALL.into_iter().filter(|task| *task != Task::CatchUp && !task.is_of_bootstrap()) {
        assert!(POINTS.contains(&Event(task)), "no agent is killed at the event of {task:?}");
    }
}

/// The table of faults names tests that there are.
#[test]
fn every_fault_in_the_table_has_its_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: String = ["tests/it/agent", "src/agent", "src/agent/bootstrap", "src/agent/journal"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let table = std::fs::read_to_string(root.join("src/agent/faults.md")).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 30, "{rows:?}");
    for row in rows {
        let tests: Vec<_> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let is_there = sources.contains(&format!("fn {test}(")) || sources.contains(&format!("    {test}: "));
            assert!(is_there, "{test} is not there");
        }
    }
}
