//! Around the work: settings as they come from the original, checks before the start, several replicas.

use std::collections::BTreeMap;
use std::ffi::OsString;

use opssc::agent::check::{self, Finding, Verdict};
use opssc::agent::config::Settings;
use opssc::agent::connect;
use opssc::agent::progress::{Step, Task};
use opssc::opssc::chaincode_ops::{Status, TaskStatus};

use super::doomed::Point;
use super::process::Process;
use super::world::{World, proposal, within};
use crate::git::repositories::Repo;
use crate::git::server::{Behaviour, GitServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_of_the_originals_docker_compose_file_works_unchanged() {
    let world = World::start().await;
    let root = world.folder.path().join("repositories");
    let repository = Repo::new(&root, "asset");
    repository
        .file("go.mod", "module example.com/asset\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n");
    repository.commit("asset");
    let server = GitServer::start(&root, Behaviour::default()).await;
    let authority = world.folder.path().join("git-ca.pem");
    std::fs::write(&authority, server.ca()).unwrap();
    let mut agents = Vec::new();
    for (organization, member) in world.network.organizations().iter().zip(&world.members) {
        let environment: BTreeMap<&'static str, OsString> = BTreeMap::from([
            // What the file sets, and nothing else. The system chooses the port, as tests share a machine.
            ("ADMIN_MSPID", organization.msp_id.as_str().into()),
            ("ADMIN_CERT", organization.admin_msp.join("signcerts").into()),
            ("ADMIN_KEY", organization.admin_msp.join("keystore").into()),
            ("LOG_LEVEL", "info".into()),
            ("DISCOVER_AS_LOCALHOST", "false".into()),
            ("GIT_USER", OsString::new()),
            ("GIT_PASSWORD", OsString::new()),
            ("AGENT_SERVICE_PORT", "0".into()),
            ("WS_ENABLED", "true".into()),
            ("WS_URL", format!("ws://opssc-api-server.{}:5000", organization.domain).into()),
            // In place of the two volumes that it mounts.
            ("CONNECTION_PROFILE", member.environment["CONNECTION_PROFILE"].clone()),
            ("CHECKPOINT_DIR", member.environment["CHECKPOINT_DIR"].clone()),
            // In place of the Internet.
            ("GIT_URL_REWRITE", server.rewrite("github.com").into()),
            ("GIT_SSL_CAINFO", authority.clone().into()),
        ]);
        agents.push(World::agent_of(environment).await);
    }
    for agent in &agents {
        within("listening", agent.health.until(true)).await;
    }
    let mut input = proposal("p", "asset", 1);
    input.chaincode_package.package_type = "golang".into();
    input.chaincode_package.repository = "github.com/asset".to_owned();
    world.propose(&input).await;
    world.until("p", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
}

fn settings(world: &World, more: &[(&'static str, &str)]) -> Settings {
    let mut environment = world.members[0].environment.clone();
    environment.extend(more.iter().map(|(name, value)| (*name, OsString::from(value))));
    Settings::from_lookup(|name| environment.get(name).cloned()).unwrap()
}

async fn look(world: &World, more: &[(&'static str, &str)]) -> Vec<Finding> {
    let settings = settings(world, more);
    let mut findings = check::offline(&settings);
    if let Ok(client) = connect(&settings) {
        findings.extend(within("the check", check::online(&settings, &client)).await);
    }
    findings
}

#[track_caller]
fn assert_failed(findings: &[Finding], expected: &[&str]) {
    let failed: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).collect();
    let subjects: Vec<_> = failed.iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(subjects, expected, "{findings:#?}");
    assert!(failed.iter().all(|finding| !finding.what.is_empty() && !finding.remedy.is_empty()), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_what_an_agent_would_fail_at() {
    let world = World::start().await;
    let good = look(&world, &[]).await;
    assert_failed(&good, &[]);
    for subject in ["identity's role", "peer peer0.org1", "orderer orderer0.org1", "contract chaincode-ops", "clock"] {
        let found = good.iter().find(|finding| finding.subject.starts_with(subject));
        assert_eq!(found.map(|finding| finding.verdict), Some(Verdict::Good), "{subject} in {good:#?}");
    }

    assert_failed(&look(&world, &[("CC_OPS_CC_NAME", "other")]).await, &["contract other"]);
    let user = &world.network.organizations()[0].user_msp;
    let (cert, key) = (user.join("signcerts"), user.join("keystore"));
    let as_user = look(&world, &[("ADMIN_CERT", cert.to_str().unwrap()), ("ADMIN_KEY", key.to_str().unwrap())]).await;
    let failed = |subject: &str| {
        as_user.iter().any(|finding| finding.subject.starts_with(subject) && finding.verdict == Verdict::Failed)
    };
    assert!(failed("identity's role"), "{as_user:#?}");
    let broken = look(&world, &[("ADMIN_KEY", "/nowhere/key"), ("CONNECTION_PROFILE", "/nowhere/profile")]).await;
    assert_failed(&broken, &["identity", "connection profile"]);

    world.network.stop_orderer("orderer0.org1").await.unwrap();
    let without = look(&world, &[]).await;
    let failed: Vec<_> = without.iter().filter(|finding| finding.verdict == Verdict::Failed).collect();
    assert!(failed.len() == 1 && failed[0].subject.starts_with("orderer orderer0.org1"), "{failed:#?}");
    world.network.stop_peer("peer0.org1").await.unwrap();
    let without = look(&world, &[]).await;
    let found = |subject: &str| without.iter().find(|finding| finding.subject.starts_with(subject)).unwrap().verdict;
    assert_eq!((found("peer peer0.org1"), found("ops channel")), (Verdict::Failed, Verdict::Skipped));
}

/// Three processes of one organization, of which each that leads is killed: in the middle of the work, and with nothing
/// to do right before there is something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_from_a_replica_that_is_killed() {
    let world = World::start().await;
    let other = world.agent(1).await;
    let path = |name: &str| world.folder.path().join(name).display().to_string();
    let (lock, folders) = (path("leader"), ["replica-1", "replica-2", "replica-3"].map(path));
    let settings = |replica: usize| {
        [
            ("LEADER_LOCK_FILE", lock.as_str()),
            ("LEADER_LEASE_TIME", "1s"),
            ("CHECKPOINT_DIR", folders[replica].as_str()),
        ]
    };
    let mut first = world.asks(0, &settings(0), Point::Before(Task::PrepareToDeploy, Step::Approve));
    world.propose(&proposal("one", "one", 1)).await;
    first.arrives().await;
    let mut second = Process::start(&world.environment(0, &settings(1)));
    second.until(&["standing by"]).await;
    first.kill().await;
    second.until(&["leadership changed", "\"leads\":true"]).await;
    world.until("one", Status::Committed).await;
    world.assert_done_once("one", "one").await;

    let mut third = Process::start(&world.environment(0, &settings(2)));
    third.until(&["standing by"]).await;
    second.kill().await;
    world.propose(&proposal("two", "two", 1)).await;
    world.until("two", Status::Committed).await;
    world.assert_done_once("two", "two").await;
    third.kill().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_that_both_lead_do_no_harm() {
    let world = World::start().await;
    let other = world.agent(1).await;
    let own = |name: &str| world.folder.path().join(name).display().to_string();
    let (one, two) = (own("replica-1"), own("replica-2"));
    let replicas = [
        world.agent_with(0, &[("CHECKPOINT_DIR", &one)]).await,
        world.agent_with(0, &[("CHECKPOINT_DIR", &two)]).await,
    ];
    for replica in &replicas {
        within("listening", replica.health.until(true)).await;
    }
    for (id, sequence) in [("one", 1), ("two", 2)] {
        world.propose(&proposal(id, "asset", sequence)).await;
        world.until(id, Status::Committed).await;
    }
    no_failure(&world, &["one", "two"]).await;
    for replica in replicas {
        replica.stop().await;
    }
    other.stop().await;
}

async fn no_failure(world: &World, proposals: &[&str]) {
    for id in proposals {
        let histories = world.histories(id).await;
        assert!(histories.iter().all(|history| history.status != TaskStatus::Failure), "{histories:?}");
    }
}
