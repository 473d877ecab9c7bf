//! Channel proposals that come to nothing: each ends in a report that says why, and the agent goes on.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opssc::agent::progress::{Happening, Step, Task, Verdict};
use opssc::chaincode::{Contract, Response, Stub, composite};
use opssc::client::Endorsers;
use opssc::fabric::config::edit::Operation;
use opssc::fabric::config::tree::{ConfigGroup, ConfigUpdate};
use opssc::fabric::config::update;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::ChaincodeName;
use opssc::fabric::tx::Invocation;
use opssc::opssc::calls::ChannelOps;
use opssc::opssc::channel_ops::{ChannelType, ProposalInput, Status};
use opssc::opssc::contracts;
use opssc::pb::common::{ImplicitMetaPolicy, implicit_meta_policy};
use prost::Message as _;
use serde_json::{Value, json};

use super::channels::{batch_size, config, propose, signature, until_committed};
use super::world::{Running, World, mychannel, within};

/// An update of the channel.
async fn changed(world: &World, change: impl FnOnce(&mut ConfigGroup)) -> Vec<u8> {
    let before = config(world).await;
    let mut after = before.clone();
    change(after.channel_group.as_mut().unwrap());
    update::compute(mychannel().as_str(), &before, &after).unwrap().encode().to_vec()
}

/// An update of some channel in which nothing changes.
fn update_of(channel: &str) -> Vec<u8> {
    let mut update = ConfigUpdate::default();
    channel.clone_into(&mut update.channel_id);
    update.encode().to_vec()
}

/// Waits until the agent has refused a proposal at this step and is done with it. Gives the reason.
async fn refusal(agent: &mut Running, id: &str, at: Step) -> String {
    let refused = agent
        .until(&format!("the refusal of {id}"), |said| {
            said.proposal == id && matches!(said.happening, Happening::Refused { .. })
        })
        .await;
    assert_eq!(refused.task, Task::UpdateChannel);
    let Happening::Refused { step, error } = refused.happening else { unreachable!("that is what was waited for") };
    assert_eq!(step, at, "{id}: {error}");
    agent
        .until(&format!("the end of {id}"), |said| {
            said.proposal == id && matches!(said.happening, Happening::Ended { verdict: Verdict::Failed, .. })
        })
        .await;
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_that_no_orderer_takes_are_told_and_a_policy_changes_after_them() {
    let world = World::start_with(|builder| builder.organizations(3)).await;
    let mut executor = world.agent(1).await;
    within("listening", executor.health.until(true)).await;
    let ledger = world.members[0].channel_ops(&world);

    // Two of three are enough for the contract; the third one's own group asks for its own administrators.
    let peers = json!([{"Command": "set-anchor-peers", "Parameters":
        {"OrgName": "Org3MSP", "AnchorPeers": [{"Host": "peer.example.com", "Port": 7051}]}}]);
    let before = config(&world).await;
    let mut after = before.clone();
    Operation::parse_all(&peers.to_string()).unwrap()[0].apply(&mut after, None).unwrap();
    let lacking = update::compute(mychannel().as_str(), &before, &after).unwrap().encode();
    propose(&world, "lacking", &lacking).await;
    let told = refusal(&mut executor, "lacking", Step::UpdateChannel).await;
    assert!(told.contains("signatures are lacking") && told.contains("/Channel/Application/Org3MSP/Admins"), "{told}");
    assert!(told.contains("have Org1MSP, Org2MSP"), "{told}");

    // In good order, but it would make a configuration that is none.
    let invalid = changed(&world, |root| {
        let orderer = root.groups.get_mut("Orderer").unwrap();
        orderer.values.get_mut("BatchTimeout").unwrap().value = b"\x0a\x05never".to_vec().into();
    })
    .await;
    propose(&world, "invalid", &invalid).await;
    let told = refusal(&mut executor, "invalid", Step::UpdateChannel).await;
    assert!(told.contains("BAD_REQUEST") && told.contains("never"), "{told}");

    let policy = changed(&world, |root| {
        let application = root.groups.get_mut("Application").unwrap();
        let rule =
            ImplicitMetaPolicy { sub_policy: "Endorsement".to_owned(), rule: implicit_meta_policy::Rule::Any.into() };
        let policy = application.policies.get_mut("Endorsement").unwrap().policy.as_mut().unwrap();
        assert_ne!(policy.value, rule.encode_to_vec(), "it is not so yet");
        policy.value = rule.encode_to_vec().into();
    })
    .await;
    propose(&world, "policy", &policy).await;
    until_committed(&world, "policy").await;
    world.network.settled(&mychannel()).await;
    let after = config(&world).await;
    let endorsement = &after.channel_group.unwrap().groups["Application"].policies["Endorsement"];
    let rule = ImplicitMetaPolicy::decode(endorsement.policy.as_ref().unwrap().value.clone()).unwrap();
    assert_eq!(rule.rule(), implicit_meta_policy::Rule::Any);
    world.network.settled(world.network.ops_channel()).await;
    let members = ledger.get_organizations_in_channel(mychannel().as_str()).await.unwrap();
    assert_eq!(members, ["Org1MSP", "Org2MSP", "Org3MSP"]);
    for id in ["lacking", "invalid"] {
        assert_eq!(ledger.get_proposal(id).await.unwrap().status, Status::Approved);
    }
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_takes_no_proposal_without_an_update_of_its_channel() {
    let world = World::start().await;
    let ledger = world.members[0].channel_ops(&world);
    let other = update_of("other");
    let own = batch_size(&world, 12).await;
    let rubbish = b"\xff\xff\xff no update".to_vec();
    let signed = signature(&world.members[0].client, &own).await;
    for (id, update, signature, words) in [
        ("other", &other, &signed, "channel ID is inconsistent with the ID in the artifacts"),
        ("rubbish", &rubbish, &signed, "error happened decoding common.ConfigUpdate"),
        ("unsigned", &own, &"/////w==".to_owned(), "error happened decoding common.ConfigSignature"),
    ] {
        let input = ProposalInput {
            id: id.to_owned(),
            channel_id: mychannel().to_string(),
            description: String::new(),
            action: None,
            ops_profile: Value::Null,
            config_update: BASE64_STANDARD.encode(update),
            signature: signature.clone(),
        };
        let refused = within("the request", ledger.request_proposal(&input)).await.unwrap_err();
        let (_, said) = refused.refusal().expect("the contract's own words");
        assert!(said.contains(words), "{id}: {said}");
    }
}

/// The contract of channel proposals, which also takes a proposal as it is given and has it carried out.
struct Careless(contracts::ChannelOps);

#[tonic::async_trait]
impl Contract for Careless {
    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let [function, id, proposal, event] = stub.args() else { return self.0.invoke(stub).await };
        if function != "Plant" {
            return self.0.invoke(stub).await;
        }
        let (id, proposal, event) = (String::from_utf8_lossy(id).into_owned(), proposal.clone(), event.clone());
        let key = composite::key("proposal", &[&id]).unwrap();
        stub.put_state(&key, proposal).await.unwrap();
        stub.set_event(&format!("readyToUpdateConfigEvent.{id}"), event).unwrap();
        Response::success("")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_that_no_contract_should_have_taken_are_told_and_the_agent_goes_on() {
    let careless = ChaincodeName::parse("careless-ops").unwrap();
    let contract = Arc::new(Careless(contracts::ChannelOps::default()));
    let mut world = World::start_with(|builder| builder.native(careless.clone(), contract)).await;
    let ops = world.network.ops_channel().clone();
    let definition = ChaincodeDefinition::new(careless.clone(), "1", 1);
    within("deploying", world.network.deploy_native(&ops, &definition)).await.unwrap();
    for member in &mut world.members {
        member.environment.insert("CH_OPS_CC_NAME", careless.as_str().into());
    }
    let channel = world.members[0].client.channel(ops);
    let ledger = ChannelOps::new(channel.clone(), careless.clone());
    let members = ["Org1MSP", "Org2MSP"];
    for known in [channel.name(), &mychannel()] {
        let register = ledger.create_channel(known.as_str(), &ChannelType::Application, &members);
        within("registering", register).await.unwrap();
    }
    let mut executor = world.agent(1).await;
    within("listening", executor.health.until(true)).await;

    let update = batch_size(&world, 66).await;
    let signatures = json!({
        "Org1MSP": signature(&world.members[0].client, &update).await,
        "Org2MSP": signature(&world.members[1].client, &update).await,
    });
    let whole = |id: &str| {
        json!({
            "docType": "proposal", "ID": id, "channelID": "mychannel", "description": "", "creator": "Org1MSP",
            "action": "update", "status": "approved", "opsProfile": null,
            "artifacts": {"configUpdate": BASE64_STANDARD.encode(&update), "signatures": signatures},
        })
    };
    let plant = async |id: &str, proposal: Vec<u8>| {
        let event = json!({"proposalID": id, "operationTargets": ["Org2MSP"]}).to_string();
        let call = Invocation::new(careless.as_str(), "Plant").arg(id.to_owned()).arg(proposal).arg(event);
        within("planting", channel.submit(&call, Endorsers::Majority)).await.unwrap();
    };
    let cases = [
        (
            "elsewhere",
            "/artifacts/configUpdate",
            json!(BASE64_STANDARD.encode(update_of("other"))),
            "its update is for \"other\"",
        ),
        ("rubbish", "/artifacts/configUpdate", json!("/////w=="), "no configuration update"),
        ("text", "/artifacts/configUpdate", json!("%%\u{1b}[2J"), "not base64"),
        ("nameless", "/channelID", json!("../../etc/passwd"), "names no channel"),
        ("removal", "/action", json!("remove"), "neither update nor create"),
    ];
    for (id, place, value, words) in cases {
        let mut proposal = whole(id);
        *proposal.pointer_mut(place).unwrap() = value;
        plant(id, proposal.to_string().into_bytes()).await;
        let told = refusal(&mut executor, id, Step::Validate).await;
        assert!(told.contains(words), "{id}: {told}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }
    // Nobody can read this one. It may be a newer form of the contract's, so that it is waited for.
    plant("unreadable", b"{\"ID\": 7".to_vec()).await;
    executor
        .until("a word on what cannot be read", |said| {
            said.proposal == "unreadable" && matches!(said.happening, Happening::Waiting { .. })
        })
        .await;
    plant("good", whole("good").to_string().into_bytes()).await;
    executor
        .until("the good one", |said| {
            said.proposal == "good" && matches!(said.happening, Happening::Ended { verdict: Verdict::Done, .. })
        })
        .await;
    assert!(executor.health.is_good());
    executor.stop().await;
    world.network.settled(&mychannel()).await;
    let config = world.members[0].client.channel(mychannel()).config().await.unwrap();
    assert_eq!((config.batch().max_messages, config.sequence()), (66, 1));
}
