//! Events and proposals that somebody made to do harm.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use opssc::agent::progress::Happening;
use opssc::chaincode::{Contract, Response, Stub};
use opssc::client::Endorsers;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::ChaincodeName;
use opssc::fabric::tx::Invocation;
use opssc::opssc::calls::ChaincodeOps;
use opssc::opssc::chaincode_ops::{ProposalInput, Status, TaskStatus, TaskStatusUpdate};
use opssc::opssc::contracts;

use super::world::{World, proposal, within};

/// The contract of chaincode proposals, which also emits whatever event it is asked for.
pub(super) struct Noisy(pub(super) contracts::ChaincodeOps);

#[tonic::async_trait]
impl Contract for Noisy {
    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let [function, name, payload] = stub.args() else { return self.0.invoke(stub).await };
        if function != "Emit" {
            return self.0.invoke(stub).await;
        }
        let (name, payload) = (String::from_utf8_lossy(name).into_owned(), payload.clone());
        match stub.set_event(&name, payload) {
            Ok(()) => Response::success(""),
            Err(error) => Response::failure(error.to_string()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_events_are_skipped_and_a_stuck_one_holds_up_nothing() {
    let noisy = ChaincodeName::parse("noisy-ops").unwrap();
    let contract = Arc::new(Noisy(contracts::ChaincodeOps::new("channel-ops".parse().unwrap())));
    let mut world = World::start_with(|builder| builder.native(noisy.clone(), contract)).await;
    let ops = world.network.ops_channel().clone();
    let definition = ChaincodeDefinition::new(noisy.clone(), "1", 1);
    within("deploying", world.network.deploy_native(&ops, &definition)).await.unwrap();
    for member in &mut world.members {
        member.environment.insert("CC_OPS_CC_NAME", noisy.as_str().into());
        member.ledger = ChaincodeOps::new(member.client.channel(ops.clone()), noisy.clone());
    }
    let mut agents = world.agents().await;
    // Asks for a proposal which the ledger does not have: the agent waits for it as long as it lives.
    let ghost = serde_json::to_vec(&serde_json::json!({"proposal": {
        "ID": "ghost", "creator": "Org1MSP", "channelID": "mychannel", "chaincodeName": "asset", "status": "approved",
        "chaincodePackage": {"type": "ccaas"}, "chaincodeDefinition": {"sequence": 1},
    }, "operationTargets": ["Org1MSP"]}))
    .unwrap();
    let million = "x".repeat(1 << 20);
    let events: [(&str, &[u8]); 10] = [
        ("prepareToDeployEvent.p", b""),
        ("prepareToDeployEvent.p", b"{"),
        ("prepareToDeployEvent.p", b"\xff\xfe\x00"),
        ("prepareToDeployEvent.p", b"{\"proposal\":{\"ID\":\"p\"},\"operationTargets\":null}"),
        ("deployEvent.other", &ghost),
        ("deployEvent.ghost", &ghost),
        ("prepareToDeployEvent", b"{}"),
        ("../../etc/passwd\u{1b}[2J", b"{}"),
        ("deployEvent.p", million.as_bytes()),
        (&million, b"null"),
    ];
    let channel = world.members[0].client.channel(ops);
    for (name, payload) in events {
        let emit = Invocation::new(noisy.as_str(), "Emit").arg(name.as_bytes().to_vec()).arg(payload.to_vec());
        within("emitting", channel.submit(&emit, Endorsers::Majority)).await.unwrap();
    }
    agents[0]
        .until("the stuck one", |said| said.proposal == "ghost" && matches!(said.happening, Happening::Waiting { .. }))
        .await;
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    for agent in agents {
        assert!(agent.health.is_good());
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_proposals_end_in_clear_failures() {
    let world = World::start().await;
    let agents = world.agents().await;
    let million = "x".repeat(1 << 20);
    let change = |id: &str, change: &dyn Fn(&mut ProposalInput)| {
        let mut input = proposal(id, "asset", 1);
        change(&mut input);
        input
    };
    let policy = |text: &[u8]| BASE64_STANDARD.encode(text);
    let proposals = [
        change("dots", &|input| input.chaincode_name = "../../etc/passwd".to_owned()),
        change("shell", &|input| input.chaincode_name = "$(reboot);`id`|sh".to_owned()),
        change("control", &|input| input.chaincode_name = "a\u{1b}[2J\u{7}\u{0}".to_owned()),
        change("long", &|input| input.chaincode_name.clone_from(&million)),
        change("highest", &|input| input.chaincode_definition.sequence = i64::MAX),
        change("utf8", &|input| input.chaincode_definition.validation_parameter = policy(b"\xff\xfe")),
        change("base64", &|input| input.chaincode_definition.validation_parameter = "%%\u{1b}".to_owned()),
        change("rule", &|input| input.chaincode_definition.validation_parameter = policy(b"OR('Org1MSP.nobody')")),
        change("deep", &|input| {
            input.chaincode_definition.validation_parameter = policy("OR(".repeat(100_000).as_bytes());
        }),
        change("collections", &|input| input.chaincode_definition.collections = policy(b"[{]")),
        change("type", &|input| input.chaincode_package.package_type = "\u{202e}exe".into()),
        change("../..\u{1b}]0;x", &|input| {
            input.chaincode_package.package_type = "golang".into();
            input.chaincode_package.commit_id = "--upload-pack=reboot".to_owned();
        }),
    ];
    let (first, second) = (&world.members[0].ledger, &world.members[1].ledger);
    let voted = join_all(proposals.iter().map(|input| async move {
        // What the contract refuses already never reaches an agent.
        within("the request", first.request_proposal(input)).await.ok()?;
        let vote = TaskStatusUpdate::new(input.id.as_str(), TaskStatus::Agreed);
        within("the vote", second.vote(&vote)).await.unwrap();
        Some(input.id.as_str())
    }));
    let voted: Vec<&str> = voted.await.into_iter().flatten().collect();
    assert!(voted.len() >= 10, "only {voted:?} were voted on");
    for id in voted {
        let failures = |histories: &[opssc::opssc::chaincode_ops::History]| {
            histories.iter().filter(|history| history.status == TaskStatus::Failure).count()
        };
        world.until_seen(&format!("failures of {id}"), id, |_, histories| failures(histories) == 2).await;
        for history in world.histories(id).await.iter().filter(|history| history.status == TaskStatus::Failure) {
            let data: serde_json::Value = serde_json::from_str(&history.data).unwrap();
            let error = data["error"].as_str().expect("there is a reason");
            assert!((1..=1000).contains(&error.chars().count()), "{id}: {} characters", error.chars().count());
            assert!(!error.chars().any(char::is_control), "{id}: {error:?}");
        }
    }
    // Where no sources are fetched, their repository is but a text.
    let marker = world.folder.path().join("marker");
    let mut good = proposal("good", "asset", 1);
    good.chaincode_package.repository = format!("$(touch {0});`touch {0}`;touch {0}", marker.display());
    world.propose(&good).await;
    world.until("good", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
    assert!(!marker.exists(), "what the repository's name says was done");
}
