//! What agents tell a WebSocket server, and servers that hang or are away.

use std::time::Duration;

use futures_util::StreamExt as _;
use opssc::fabric::config::update;
use opssc::opssc::chaincode_ops::{History, Status, Task};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::accept_async;

use super::channels;
use super::world::{World, mychannel, proposal, within};
use crate::git::repositories::Repo;
use crate::git::server::{Behaviour, GitServer};

/// How the server treats whoever comes, and whoever is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Reads everything.
    Listens,
    /// Hangs up.
    Away,
    /// Keeps connections, and neither reads from them nor answers.
    Hangs,
}

/// A server that agents tell what they do.
struct Server {
    url: String,
    mood: watch::Sender<Mood>,
    /// How many have come and were not listened to.
    spurned: watch::Receiver<usize>,
    told: mpsc::UnboundedReceiver<Value>,
    /// What was read of it.
    read: Vec<Value>,
}

impl Server {
    async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (mood, (spurn, spurned)) = (watch::Sender::new(mood), watch::channel(0));
        let (tell, told) = mpsc::unbounded_channel();
        let moods = mood.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut moods = moods.clone();
                let at_first = *moods.borrow_and_update();
                let tell = tell.clone();
                if at_first != Mood::Listens {
                    spurn.send_modify(|count| *count += 1);
                }
                tokio::spawn(async move {
                    tokio::select! {
                        () = treat(at_first, stream, tell) => {}
                        _ = moods.changed() => {}
                    }
                });
            }
        });
        Self { url, mood, spurned, told, read: Vec::new() }
    }

    fn settings(&self) -> [(&'static str, &str); 2] {
        [("WS_ENABLED", "true"), ("WS_URL", &self.url)]
    }

    /// From now on.
    fn is(&mut self, mood: Mood) {
        self.spurned.mark_unchanged();
        self.mood.send_replace(mood);
    }

    /// Waits until somebody comes and is not listened to.
    async fn until_spurned(&mut self) {
        within("somebody to come", self.spurned.changed()).await.unwrap();
    }

    /// Waits until the organization has told all of these in this order, whatever else it told between.
    async fn until(&mut self, organization: &str, proposal: &str, expected: &[&str]) {
        let expected: Vec<Value> = expected.iter().map(|text| message(organization, proposal, text)).collect();
        let reading = async {
            while missing(&self.read, &expected).is_some() {
                self.read.push(self.told.recv().await.expect("the server lives while it is waited for"));
            }
        };
        let read = tokio::time::timeout(Duration::from_mins(1), reading).await;
        assert!(read.is_ok(), "{:?} was not told: {:#?}", missing(&self.read, &expected), self.read);
    }
}

/// The first of what is expected that is not there in its place.
fn missing<'a>(told: &[Value], expected: &'a [Value]) -> Option<&'a Value> {
    let mut told = told.iter();
    expected.iter().find(|expected| !told.any(|message| message == *expected))
}

/// As the original has it. Of an error, what comes before the reason.
fn message(organization: &str, proposal: &str, text: &str) -> Value {
    match text.split_once(": ") {
        Some(("event", rest)) => {
            let (name, text) = rest.split_once(": ").unwrap();
            json!({"type": "event", "eventName": name, "org": organization, "message": text, "proposalID": proposal})
        }
        Some((kind, text)) => json!({"type": kind, "org": organization, "message": text, "proposalID": proposal}),
        None => unreachable!("{text}"),
    }
}

async fn treat(mood: Mood, stream: TcpStream, tell: mpsc::UnboundedSender<Value>) {
    match mood {
        Mood::Away => {}
        Mood::Hangs => {
            std::future::pending::<()>().await;
            drop(stream);
        }
        Mood::Listens => {
            let Ok(mut socket) = accept_async(stream).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if !message.is_text() {
                    continue;
                }
                let mut told: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
                if told["type"] == "error" {
                    let (what, reason) = told["message"].as_str().unwrap().split_once('\n').unwrap();
                    assert!(!reason.is_empty());
                    told["message"] = what.into();
                }
                // Nobody reads it once the test is over.
                let _ = tell.send(told);
            }
        }
    }
}

/// An update of what the members have in common. Others, such as of the size of blocks, are told by no `updateConfigEvent`.
async fn of_the_members(world: &World) -> Vec<u8> {
    let before = channels::config(world).await;
    let mut after = before.clone();
    let members = after.channel_group.as_mut().unwrap().groups.get_mut("Application").unwrap();
    let rule = members.policies["Admins"].policy.clone();
    members.policies.get_mut("LifecycleEndorsement").unwrap().policy = rule;
    update::compute(mychannel().as_str(), &before, &after).unwrap().encode().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_server_is_told_what_the_original_tells_it() {
    let world = World::start().await;
    let root = world.folder.path().join("repositories");
    let repository = Repo::new(&root, "asset");
    repository.file("go.mod", "module asset\n\ngo 1.21\n").file("main.go", "package main\n\nfunc main() {}\n");
    repository.commit("asset");
    let git = GitServer::start(&root, Behaviour::default()).await;
    let authority = world.folder.path().join("git-ca.pem");
    std::fs::write(&authority, git.ca()).unwrap();
    let rewrite = git.rewrite("github.com");
    let mut server = Server::start(Mood::Listens).await;
    let own = [("GIT_URL_REWRITE", rewrite.as_str()), ("GIT_SSL_CAINFO", authority.to_str().unwrap())];
    let settings = [&own[..], &server.settings()[..]].concat();
    let agents = world.agents_with(&settings).await;

    let mut input = proposal("p", "asset", 1);
    input.chaincode_package.package_type = "golang".into();
    input.chaincode_package.repository = "github.com/asset".to_owned();
    world.propose(&input).await;
    world.until("p", Status::Committed).await;
    for organization in ["Org1MSP", "Org2MSP"] {
        let preparation = [
            "event: prepareToDeployEvent: [EVENT] Receive prepareToDeployEvent (ID: p)",
            "log: [START] Validate chaincode update proposal",
            "log: [END] Validate chaincode update proposal",
            "log: [START] Download chaincode",
            "log: [END] Download chaincode",
            "log: [START] Package chaincode",
            "log: [END] Package chaincode",
            "log: [START] Install chaincode",
            "log: [END] Install chaincode",
            "log: [START] Approve chaincode",
            "log: [END] Approve chaincode",
            // Everybody tells of it, and one of them acts on it.
            "event: deployEvent: [EVENT] Receive deploy event (ID: p)",
        ];
        server.until(organization, "p", &preparation).await;
    }
    let calls = world.calls(world.network.ops_channel(), "NotifyCommitResult").await;
    let executor = &calls.iter().find(|call| call.verdict == "VALID").expect("it was told").organization;
    server.until(executor, "p", &["log: [START] Commit chaincode", "log: [END] Commit chaincode"]).await;

    input.id = "refused".to_owned();
    input.chaincode_package.package_type = "cobol".into();
    world.propose(&input).await;
    for organization in ["Org1MSP", "Org2MSP"] {
        let refusal = [
            "event: prepareToDeployEvent: [EVENT] Receive prepareToDeployEvent (ID: refused)",
            "error: [ERROR] Prepare to deploy error",
        ];
        server.until(organization, "refused", &refusal).await;
    }

    channels::propose(&world, "rule", &of_the_members(&world).await).await;
    for organization in ["Org1MSP", "Org2MSP"] {
        let told = [
            "event: readyToUpdateConfigEvent: [EVENT] Receive readyToUpdateConfigEvent (ID: rule)",
            "event: updateConfigEvent: [EVENT] Receive updateConfigEvent",
        ];
        server.until(organization, "rule", &told).await;
    }
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_server_that_hangs_or_is_away_holds_nothing_up_and_is_told_later() {
    let world = World::start().await;
    let mut server = Server::start(Mood::Hangs).await;
    let agents = [world.agent_with(0, &server.settings()).await, world.agent(1).await];
    for agent in &agents {
        within("listening", agent.health.until(true)).await;
    }
    let told = ["log: [START] Validate chaincode update proposal", "log: [END] Approve chaincode"];
    server.until_spurned().await;
    world.propose(&proposal("one", "one", 1)).await;
    world.until("one", Status::Committed).await;
    server.is(Mood::Listens);
    server.until("Org1MSP", "one", &told).await;

    // Once it tries to connect again, nothing goes into what was open before.
    server.is(Mood::Away);
    server.until_spurned().await;
    world.propose(&proposal("two", "two", 1)).await;
    let done =
        |histories: &[History]| histories.iter().any(|it| it.task == Task::Acknowledge && it.org_id == "Org1MSP");
    world.until_seen("the acknowledgement", "two", |_, histories| done(histories)).await;
    server.is(Mood::Listens);
    server.until("Org1MSP", "two", &told).await;
    for agent in agents {
        agent.stop().await;
    }
}
