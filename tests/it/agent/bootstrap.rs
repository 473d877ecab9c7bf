//! The peers of an organization that is new, or of which one was away, are brought to where they belong.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use opssc::agent::config::Settings;
use opssc::agent::journal::{Journal, StepResult, TaskState};
use opssc::agent::progress::Task::{CatchUp, DeployContract, InstallPackage, JoinChannel};
use opssc::agent::progress::{Happening, Step, Task};
use opssc::client::{Client, Peer};
use opssc::fabric::names::{ChannelName, PackageId};
use opssc::opssc::calls::ChannelOps;
use opssc::opssc::chaincode_ops::{Status, TaskStatus, TaskStatusUpdate};

use super::doomed::Point::{self, After, Before};
use super::http::get;
use super::tls;
use super::world::{Running, World, mychannel, proposal, within};

/// The third organization, whose peers are in no channel.
const NEW: usize = 2;

/// Two organizations that have deployed a chaincode on mychannel, and a third one that is only a member of the channels'
/// configuration. The agents of the two have done their work and are gone.
async fn world() -> World {
    let world = World::start_with(|builder| builder.organizations(3).peers_per_organization(2).unjoined(2)).await;
    let [first, second, _] = world.members.as_slice() else { panic!("three organizations") };
    within("the members", ledger(&world, 0).set_organizations("mychannel", &["Org1MSP", "Org2MSP"])).await.unwrap();
    let agents = [world.agent(0).await, world.agent(1).await];
    within("the request", first.ledger.request_proposal(&proposal("asset-1", "asset", 1))).await.unwrap();
    let vote = TaskStatusUpdate::new("asset-1", TaskStatus::Agreed);
    within("the vote", second.ledger.vote(&vote)).await.unwrap();
    world.until("asset-1", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
    world
}

fn ledger(world: &World, member: usize) -> ChannelOps {
    let ops = world.members[member].client.channel(world.network.ops_channel().clone());
    ChannelOps::new(ops, "channel-ops".parse().unwrap())
}

/// A port that was free a moment ago: what peers dial must be known before anybody listens.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The settings by which an agent serves the contracts itself.
fn service() -> Vec<(&'static str, String)> {
    let (channel, chaincode) = (free_port(), free_port());
    vec![
        ("OPSSC_DEPLOYMENT", "service".to_owned()),
        ("CH_OPS_SERVER_ADDRESS", format!("127.0.0.1:{channel}")),
        ("CH_OPS_SERVER_LISTEN", format!("127.0.0.1:{channel}")),
        ("CC_OPS_SERVER_ADDRESS", format!("127.0.0.1:{chaincode}")),
        ("CC_OPS_SERVER_LISTEN", format!("127.0.0.1:{chaincode}")),
    ]
}

async fn new_agent(world: &World, settings: &[(&'static str, String)]) -> Running {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.agent_with(NEW, &settings).await
}

fn client(world: &World) -> &Client {
    &world.members[NEW].client
}

async fn channels(client: &Client, peer: &Peer) -> Vec<String> {
    let mut names: Vec<_> =
        within("the channels", client.joined_channels(peer)).await.unwrap().iter().map(ToString::to_string).collect();
    names.sort();
    names
}

async fn packages(client: &Client, peer: &Peer) -> BTreeMap<String, PackageId> {
    let installed = within("the packages", client.peer_lifecycle(peer).installed()).await.unwrap();
    installed.into_iter().map(|it| (it.label, it.package_id)).collect()
}

async fn approves(client: &Client, channel: &ChannelName, chaincode: &str) -> bool {
    let lifecycle = client.channel(channel.clone()).lifecycle();
    let committed = within("the definition", lifecycle.committed(&chaincode.parse().unwrap())).await.unwrap();
    committed.expect("it is committed").approvals[client.msp_id()]
}

async fn heights(world: &World) -> [Option<u64>; 2] {
    for channel in [world.network.ops_channel(), &mychannel()] {
        world.network.settled(channel).await;
    }
    [world.network.height(world.network.ops_channel()), world.network.height(&mychannel())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_organization_is_brought_in_and_catches_up() {
    let world = world().await;
    // Its peers speak TLS with the contracts.
    let tls = tls::files(world.folder.path());
    let mut settings = service();
    let text = |path: PathBuf| path.into_os_string().into_string().expect("a path in UTF-8");
    settings.extend([
        ("OPSSC_SERVER_TLS_CERT", text(tls.certificate)),
        ("OPSSC_SERVER_TLS_KEY", text(tls.key)),
        ("OPSSC_SERVER_TLS_CA", text(tls.authority)),
    ]);
    let mut agent = new_agent(&world, &settings).await;
    // It belongs to the ops channel only, so far.
    agent.until_standing("the ops channel", |standing| standing.missing.is_empty()).await;
    for peer in client(&world).peers() {
        assert_eq!(channels(client(&world), peer).await, ["ops-channel"]);
    }
    within("the new member", ledger(&world, 0).add_organization("mychannel", "Org3MSP")).await.unwrap();
    agent.bells.bootstrap.notify_one();
    agent
        .until("the chaincode", |said| said.task == Task::CatchUp && matches!(said.happening, Happening::Ended { .. }))
        .await;
    agent.bells.bootstrap.notify_one();
    agent.until_standing("everything", |standing| standing.missing.is_empty() && standing.notes.is_empty()).await;

    let client = client(&world);
    let mut of_peers = Vec::new();
    for peer in client.peers() {
        assert_eq!(channels(client, peer).await, ["mychannel", "ops-channel"], "{}", peer.name());
        of_peers.push(packages(client, peer).await);
    }
    assert_eq!(of_peers[0], of_peers[1]);
    assert_eq!(of_peers[0].keys().collect::<Vec<_>>(), ["asset-1", "chaincode-ops_1", "channel-ops_1"]);
    for contract in ["channel-ops", "chaincode-ops"] {
        assert!(approves(client, world.network.ops_channel(), contract).await, "{contract}");
    }
    assert!(approves(client, &mychannel(), "asset").await);
    // The contracts answer on the new peers, where only the agent serves them.
    let listed = within("the channels", ledger(&world, NEW).get_all_channels()).await.unwrap();
    assert!(listed.iter().any(|channel| channel.id == "mychannel" && channel.has("Org3MSP")), "{listed:?}");
    // Nobody was told: the proposal was over.
    assert!(world.histories("asset-1").await.iter().all(|history| history.org_id != "Org3MSP"));

    // A second start finds nothing to do, and leaves no transaction behind, and nothing in the journal.
    let (_, numbers) = get(agent.address, "/metrics").await;
    for task in ["joinChannel", "deployContract", "catchUp"] {
        let (number, none) = (format!("opssc_tasks_ended_total{{task=\"{task}\",ended=\"done\"}} "), "0\n");
        assert!(numbers.contains(&number) && !numbers.contains(&format!("{number}{none}")), "{number}: {numbers}");
    }
    let (_, told) = get(agent.address, "/api/v1/tasks?proposal=mychannel").await;
    assert!(told.contains(r#""task":"joinChannel""#) && told.contains(r#""step":"Join channel""#), "{told}");
    let journal = agent.journal.clone();
    agent.stop().await;
    let known = journal.tasks();
    let before = heights(&world).await;
    let again = new_agent(&world, &settings).await;
    again.until_standing("the second look", |standing| standing.missing.is_empty()).await;
    within("listening", again.health.until(true)).await;
    let listed = within("the channels", ledger(&world, NEW).get_all_channels()).await.unwrap();
    assert!(!listed.is_empty());
    let journal = again.journal.clone();
    again.stop().await;
    assert_eq!(journal.tasks(), known);
    assert_eq!(heights(&world).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_down_stops_no_other_and_is_caught_up() {
    let world = world().await;
    within("the new member", ledger(&world, 0).add_organization("mychannel", "Org3MSP")).await.unwrap();
    world.network.stop_peer("peer1.org3").await.unwrap();
    let agent = new_agent(&world, &service()).await;
    let done = agent
        .until_standing(
            "the first peer",
            |standing| matches!(standing.missing.as_slice(), [one] if one.contains("peer1.org3")),
        )
        .await;
    assert_eq!(done.notes, Vec::<String>::new());
    let [up, down] = client(&world).peers() else { panic!("two peers") };
    assert_eq!(channels(client(&world), up).await, ["mychannel", "ops-channel"]);
    let of_up = packages(client(&world), up).await;
    assert_eq!(of_up.len(), 3, "{of_up:?}");
    assert!(approves(client(&world), &mychannel(), "asset").await);

    world.network.start_peer("peer1.org3").await.unwrap();
    agent.bells.bootstrap.notify_one();
    agent.until_standing("the second peer", |standing| standing.missing.is_empty()).await;
    assert_eq!(channels(client(&world), down).await, ["mychannel", "ops-channel"]);
    assert_eq!(packages(client(&world), down).await, of_up);
    let journal = agent.journal.clone();
    agent.stop().await;
    let of_packages: Vec<String> = of_up.values().map(ToString::to_string).collect();
    let installed = of_packages.iter().map(|package| (InstallPackage, package.as_str()));
    assert_ended(&journal, &installed.chain([(JoinChannel, "mychannel")]).collect::<Vec<_>>());
}

/// The agent dies while a peer that was away gets what the other one has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_a_peer_that_was_away_is_caught_up() {
    let world = World::start_with(|builder| builder.organizations(3).peers_per_organization(2).unjoined(2)).await;
    world.network.stop_peer("peer1.org3").await.unwrap();
    let settings = service();
    let agent = new_agent(&world, &settings).await;
    agent.until_standing("the first peer", |standing| standing.missing.len() == 1).await;
    agent.stop().await;
    world.network.start_peer("peer1.org3").await.unwrap();
    let borrowed: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for at in around(&LATECOMER) {
        world.dies(NEW, &borrowed, at).end().await;
    }
    let agent = new_agent(&world, &settings).await;
    agent.until_standing("the second peer", |standing| standing.missing.is_empty()).await;
    let [up, down] = client(&world).peers() else { panic!("two peers") };
    let of_up = packages(client(&world), up).await;
    assert_eq!(packages(client(&world), down).await, of_up);
    let journal = agent.journal.clone();
    agent.stop().await;
    let installed = of_up.values().map(|package| (InstallPackage, package.as_str()));
    assert_ended(&journal, &installed.chain([(JoinChannel, "ops-channel")]).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_done_is_told_and_not_done() {
    let world = world().await;
    let mut environment = world.members[NEW].environment.clone();
    environment.insert("GOPATH", world.folder.path().into());
    let settings = Settings::from_lookup(|name| environment.get(name).cloned()).unwrap();
    let before = within("foreseeing", opssc::agent::foresee(&settings)).await.unwrap();
    assert_eq!(
        before.steps,
        ["join peer0.org3.example.com to ops-channel", "join peer1.org3.example.com to ops-channel"]
    );
    for peer in client(&world).peers() {
        assert!(channels(client(&world), peer).await.is_empty(), "{}", peer.name());
    }
    // Without sources the contracts cannot be deployed; that is said, and the peers have joined all the same.
    let agent = world.agent_with(NEW, &[("GOPATH", world.folder.path().to_str().unwrap())]).await;
    // A peer that has only just joined may not know of the contracts yet.
    let told = |missing: &String| missing.contains("no sources") && missing.contains("bootstrap/ch");
    let all_told = |missing: &[String]| missing.len() == 2 && missing.iter().all(told);
    agent.until_standing("the contracts", |standing| all_told(&standing.missing)).await;
    agent.stop().await;
    let after = within("foreseeing", opssc::agent::foresee(&settings)).await.unwrap();
    assert_eq!(
        after.steps,
        [
            "deploy contract chaincode-ops (sequence 1) and approve it",
            "deploy contract channel-ops (sequence 1) and approve it",
        ]
    );
}

fn around(steps: &[(Task, Step)]) -> impl Iterator<Item = Point> {
    steps.iter().flat_map(|(task, step)| [Before(*task, *step), After(*task, *step)])
}

/// What is done for a new organization, and for a peer of it that was away.
const NEWCOMER: [(Task, Step); 6] = [
    (JoinChannel, Step::Join),
    (DeployContract, Step::Package),
    (DeployContract, Step::Install),
    (DeployContract, Step::Approve),
    (CatchUp, Step::Install),
    (CatchUp, Step::Approve),
];
const LATECOMER: [(Task, Step); 2] = [(InstallPackage, Step::Copy), (InstallPackage, Step::Install)];

/// All points at which an agent is killed here.
pub(super) fn points() -> impl Iterator<Item = Point> {
    around(&NEWCOMER).chain(around(&LATECOMER))
}

/// Everything that was begun has ended well, by what is remembered.
fn assert_ended(journal: &Journal, expected: &[(Task, &str)]) {
    let tasks = journal.tasks();
    for (task, name) in expected {
        let done = tasks.iter().filter(|one| one.task == *task && one.proposal.starts_with(name));
        assert!(
            done.clone().count() == 1 && done.clone().all(|one| one.state == TaskState::Done),
            "{name}: {tasks:#?}"
        );
    }
    assert!(tasks.iter().all(|one| !one.state.is_open()), "{tasks:#?}");
    assert!(tasks.iter().flat_map(|one| &one.steps).all(|step| step.result != StepResult::Running), "{tasks:#?}");
}

/// The agent of a new organization dies right before and right after everything that it does on its peers, each time at
/// the first of what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_a_new_organization_is_brought_in() {
    let world = world().await;
    within("the new member", ledger(&world, 0).add_organization("mychannel", "Org3MSP")).await.unwrap();
    let settings = service();
    let borrowed: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for at in around(&NEWCOMER) {
        world.dies(NEW, &borrowed, at).end().await;
    }
    let mut agent = new_agent(&world, &settings).await;
    agent
        .until("the chaincode", |said| said.task == CatchUp && matches!(said.happening, Happening::Ended { .. }))
        .await;
    agent.bells.bootstrap.notify_one();
    agent.until_standing("everything", |standing| standing.missing.is_empty() && standing.notes.is_empty()).await;
    let client = client(&world);
    for peer in client.peers() {
        assert_eq!(channels(client, peer).await, ["mychannel", "ops-channel"], "{}", peer.name());
        let installed = packages(client, peer).await;
        assert_eq!(installed.keys().collect::<Vec<_>>(), ["asset-1", "chaincode-ops_1", "channel-ops_1"]);
    }
    let journal = agent.journal.clone();
    agent.stop().await;
    let expected = [
        (JoinChannel, "ops-channel"),
        (JoinChannel, "mychannel"),
        (DeployContract, "channel-ops_1"),
        (DeployContract, "chaincode-ops_1"),
        (CatchUp, "asset-1"),
    ];
    assert_ended(&journal, &expected);
    for (channel, chaincodes) in
        [(world.network.ops_channel().clone(), &["channel-ops", "chaincode-ops"][..]), (mychannel(), &["asset"])]
    {
        let approvals = world.calls(&channel, "ApproveChaincodeDefinitionForMyOrg").await;
        for chaincode in chaincodes {
            assert!(approves(client, &channel, chaincode).await, "{chaincode}");
            let own = approvals.iter().filter(|call| call.organization == "Org3MSP" && call.verdict == "VALID");
            let of_it = own.filter(|call| call.argument.contains(chaincode));
            assert_eq!(of_it.count(), 1, "{chaincode}: {approvals:?}");
        }
    }
    assert!(world.histories("asset-1").await.iter().all(|history| history.org_id != "Org3MSP"));
}
