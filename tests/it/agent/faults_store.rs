//! A journal that cannot be written, or that is not what it was, and a folder for sources that cannot be written.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use opssc::agent::progress::{Happening, Step};
use opssc::opssc::chaincode_ops::{Status, Task, TaskStatus};
use tokio::process::Command;

use super::http::get;
use super::process::Process;
use super::sources::{Origin, proposed, write_sources};
use super::world::{World, proposal, within};

/// Makes the folder of the journal a mount of its own.
const MOUNT: &str = "mount --bind $CHECKPOINT_DIR $CHECKPOINT_DIR";

/// Whether a process may have mounts of its own here.
async fn can_mount(folder: &Path) -> bool {
    let mount = format!("{MOUNT} && mount -o remount,bind,ro $CHECKPOINT_DIR");
    let probe = Command::new("unshare").args(["-rm", "sh", "-c", &mount]).env("CHECKPOINT_DIR", folder).status();
    within("unshare", probe).await.is_ok_and(|status| status.success())
}

/// No file of the process may grow beyond so many bytes from now on: what a full disk is to it.
async fn limit_files(agent: &Process, bytes: &str) {
    let id = agent.child.id().expect("it runs").to_string();
    let limit = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}:")]).status();
    assert!(within("prlimit", limit).await.unwrap().success());
}

/// Waits until the agent answers so.
async fn until_answered(address: SocketAddr, path: &str, seen: impl Fn(u16, &str) -> bool) {
    let look = async {
        loop {
            let (status, body) = get(address, path).await;
            if seen(status, &body) {
                return;
            }
        }
    };
    within(&format!("the answer of {path}"), look).await;
}

/// Mounts the folder of the journal anew in the agent's own space of names.
async fn remount(agent: &Process, folder: &Path, how: &str) {
    let id = agent.child.id().expect("it runs").to_string();
    let mut enter = Command::new("nsenter");
    enter.args(["-t", &id, "-U", "-m", "--preserve-credentials"]);
    let mount = enter.args(["mount", "-o", &format!("remount,bind,{how}")]).arg(folder).status();
    assert!(within("remounting", mount).await.unwrap().success(), "{how}");
}

fn journal(world: &World, member: usize) -> PathBuf {
    PathBuf::from(&world.members[member].environment["CHECKPOINT_DIR"]).join("journal.redb")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_nothing_is_done_until_there_is_room() {
    let world = World::start().await;
    let second = world.agent(1).await;
    let folder = PathBuf::from(&world.members[0].environment["CHECKPOINT_DIR"]);
    std::fs::create_dir_all(&folder).unwrap();
    // Otherwise the signal would end it, where a full disk is an error like others.
    let mut script = "trap '' XFSZ; exec \"$0\"".to_owned();
    let can_mount = can_mount(&folder).await;
    if can_mount {
        script = format!("trap '' XFSZ; exec unshare -rm sh -c '{MOUNT} && exec \"$0\"' \"$0\"");
    }
    let mut agent = Process::start_from(&script, &world.members[0].environment);
    let started = agent.until(&["agent started"]).await;
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    let address: SocketAddr = started["address"].as_str().unwrap().parse().unwrap();
    agent.until(&["listening", "chaincode-ops"]).await;
    until_answered(address, "/healthz", |status, _| status == 200).await;
    limit_files(&agent, "1").await;
    world.propose(&proposal("p", "asset", 1)).await;
    agent.until(&["ERROR", "nothing is done until the journal can be written"]).await;
    world
        .until_seen("the other one to acknowledge", "p", |_, told| {
            told.iter().any(|told| told.org_id == "Org2MSP" && told.task == Task::Acknowledge)
        })
        .await;
    let told = world.histories("p").await;
    assert!(!told.iter().any(|told| told.org_id == "Org1MSP" && told.task == Task::Acknowledge), "{told:?}");
    until_answered(address, "/healthz", |status, body| status == 500 && body.contains("NG")).await;
    if can_mount {
        // There is room again, and the file system has become read-only.
        remount(&agent, &folder, "ro").await;
        limit_files(&agent, "unlimited").await;
        until_answered(address, "/readyz", |status, body| status == 503 && body.contains("Read-only")).await;
        remount(&agent, &folder, "rw").await;
    } else {
        limit_files(&agent, "unlimited").await;
    }
    agent.until(&["the journal can be written again"]).await;
    until_answered(address, "/healthz", |status, _| status == 200).await;
    world.until("p", Status::Committed).await;
    agent.kill().await;
    second.stop().await;
    world.assert_done_once("p", "asset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_is_moved_aside_and_the_ledger_asked() {
    let world = World::start().await;
    let second = world.agent(1).await;
    let mut agent = Process::start(&world.members[0].environment);
    agent.until(&["listening", "chaincode-ops"]).await;
    agent.kill().await;
    world.propose(&proposal("p", "asset", 1)).await;
    let file = journal(&world, 0);
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::write(&file, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
    let mut agent = Process::start(&world.members[0].environment);
    agent.until(&["WARN", "the journal is damaged", "moved aside"]).await;
    world.until("p", Status::Committed).await;
    agent.kill().await;
    second.stop().await;
    world.assert_done_once("p", "asset").await;
    let folder = file.parent().unwrap();
    let aside = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(aside.into_iter().any(|name| name.contains("corrupt")));
}

/// Whoever cannot remember what it does must not begin: it ends with the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_or_full_disk_at_the_start_is_told() {
    let world = World::start().await;
    let environment = &world.members[0].environment;
    let folder = PathBuf::from(&environment["CHECKPOINT_DIR"]);
    std::fs::create_dir_all(&folder).unwrap();
    let mut ways = vec!["trap '' XFSZ; ulimit -f 0; exec \"$0\"".to_owned()];
    // Where a container does not allow it, the other way has to do.
    if can_mount(&folder).await {
        let mount = format!("{MOUNT} && mount -o remount,bind,ro $CHECKPOINT_DIR");
        ways.push(format!("exec unshare -rm sh -c '{mount} && exec \"$0\"' \"$0\""));
    }
    for way in ways {
        let mut agent = Process::start_from(&way, environment);
        agent.until(&["cannot use the folder for the journal (CHECKPOINT_DIR)"]).await;
        agent.until(&["journal.redb cannot be opened"]).await;
        let ended = within("the end", agent.child.wait()).await.unwrap();
        assert!(!ended.success() && ended.code().is_some(), "{way}: {ended}");
    }
    let agents = world.agents().await;
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
}

/// In its place is a file, which stops the administrator of the machine, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_for_sources_that_cannot_be_written_is_waited_for() {
    let world = World::start().await;
    let root = world.folder.path().join("repositories");
    write_sources(&root);
    let origin = Origin::start(&world, &root).await;
    let work = world.folder.path().join("work");
    let settings = [&origin.settings()[..], &[("WORK_DIR", work.to_str().unwrap())]].concat();
    let mut agent = world.agent_with(0, &settings).await;
    let other = world.agent_with(1, &origin.settings()).await;
    for agent in [&agent, &other] {
        within("listening", agent.health.until(true)).await;
    }
    // It may have been made at the start, and is made anew when it is needed.
    let _ = std::fs::remove_dir_all(&work);
    std::fs::write(&work, "in the way").unwrap();
    world.propose(&proposed("go", "golang", "go", "chaincode")).await;
    for _ in 0..2 {
        let waits = agent.until("the wait", |said| matches!(said.happening, Happening::Waiting { .. })).await;
        let Happening::Waiting { step, error, .. } = waits.happening else {
            unreachable!("that is what was waited for")
        };
        assert_eq!((waits.proposal.as_str(), step), ("go", Step::Fetch));
        assert!(error.contains("folder"), "{error}");
    }
    std::fs::remove_file(&work).unwrap();
    world.until("go", Status::Committed).await;
    let histories = world.histories("go").await;
    assert!(histories.iter().all(|history| history.status != TaskStatus::Failure), "{histories:?}");
    for agent in [agent, other] {
        agent.stop().await;
    }
}

/// Bytes that no packing makes fewer.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_before_all_sources_have_come_is_waited_for() {
    const MIB: usize = 1024 * 1024;
    let world = World::start().await;
    let root = world.folder.path().join("repositories");
    let go = write_sources(&root);
    go.file("chaincode/large.bin", noise(5 * MIB));
    go.commit("large");
    let origin = Origin::start(&world, &root).await;
    let other = world.agent_with(1, &origin.settings()).await;
    let environment = world.environment(0, &origin.settings());
    // Otherwise the signal would end it, where a full disk is an error like others.
    let mut agent = Process::start_from("trap '' XFSZ; exec \"$0\"", &environment);
    for _ in 0..2 {
        agent.until(&["listening"]).await;
    }
    // Room for all that the journal writes, and not for the sources.
    assert!(std::fs::metadata(journal(&world, 0)).unwrap().len() < 3 * MIB as u64);
    limit_files(&agent, &(4 * MIB).to_string()).await;
    world.propose(&proposed("go", "golang", "go", "chaincode")).await;
    let waiting = agent.until(&["step failed and will be tried again", "Fetch sources"]).await;
    assert!(waiting.contains("temporary folder"), "{waiting}");
    limit_files(&agent, "unlimited").await;
    world.until("go", Status::Committed).await;
    let histories = world.histories("go").await;
    assert!(histories.iter().all(|history| history.status != TaskStatus::Failure), "{histories:?}");
    assert_eq!(agent.terminate().await.0, Some(0));
    other.stop().await;
}
