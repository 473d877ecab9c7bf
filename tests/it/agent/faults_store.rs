//! A journal that cannot be written, or that is not what it was.

use std::path::PathBuf;

use opssc::opssc::chaincode_ops::{Status, Task};
use tokio::process::Command;

use super::process::Process;
use super::world::{World, proposal, within};

/// No file of the process may grow beyond so many bytes from now on: what a full disk is to it.
async fn limit_files(agent: &Process, bytes: &str) {
    let id = agent.child.id().expect("it runs").to_string();
    let limit = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}:")]).status();
    assert!(within("prlimit", limit).await.unwrap().success());
}

fn journal(world: &World, member: usize) -> PathBuf {
    PathBuf::from(&world.members[member].environment["CHECKPOINT_DIR"]).join("journal.redb")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_nothing_is_done_until_there_is_room() {
    let world = World::start().await;
    let second = world.agent(1).await;
    // Otherwise the signal would end it, where a full disk is an error like others.
    let mut agent = Process::start_from("trap '' XFSZ; exec \"$0\"", &world.members[0].environment);
    agent.until(&["listening", "chaincode-ops"]).await;
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
    limit_files(&agent, "unlimited").await;
    agent.until(&["the journal can be written again"]).await;
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
    let mount = "d=$CHECKPOINT_DIR; mount --bind $d $d && mount -o remount,bind,ro $d";
    let probe = Command::new("unshare").args(["-rm", "sh", "-c", mount]).env("CHECKPOINT_DIR", &folder).status();
    let mut ways = vec!["trap '' XFSZ; ulimit -f 0; exec \"$0\"".to_owned()];
    // Where a container does not allow it, the other way has to do.
    if within("unshare", probe).await.is_ok_and(|status| status.success()) {
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
