//! A chaincode's way onto the channel, and what is said at each step to who comes too early.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::kit::{CHANNEL, Net, label, net};
use crate::chaincode::asset::AssetContract;
use crate::devnet::peer::native_package;
use crate::fabric::lifecycle::{
    ChaincodeDefinition, approved_args, committed_all_args, committed_args, install_args, installed_all_args,
};
use crate::fabric::names::ChaincodeName;
use crate::fabric::package::Package;
use crate::fabric::tx::Invocation;
use crate::pb::lifecycle as pb;
use crate::pb::protos::{ProposalResponsePayload, Response};

fn lifecycle(function: &str, argument: &impl prost::Message) -> Invocation {
    Invocation::lifecycle(function, argument)
}

fn asset() -> ChaincodeName {
    ChaincodeName::parse("asset").unwrap()
}

async fn result<M: prost::Message + Default>(net: &Net, function: &str, argument: &impl prost::Message) -> M {
    let response = net.ask(0, CHANNEL, &lifecycle(function, argument)).await;
    assert_eq!(response.status, 200, "{}", response.message);
    M::decode(response.payload).unwrap()
}

async fn refusal(net: &Net, side: usize, invocation: &Invocation) -> String {
    let response = net.ask(side, CHANNEL, invocation).await;
    assert!(response.status >= 400, "it was not refused");
    response.message
}

#[tokio::test]
async fn a_chaincode_comes_onto_the_channel() {
    let net = net();
    let read = Invocation::new("asset", "ReadAsset").arg("a1");
    let unknown = "make sure the chaincode asset has been successfully defined on channel ops and try again: ";
    assert_eq!(refusal(&net, 0, &read).await, format!("{unknown}chaincode asset not found"));

    net.contracts.insert(asset(), Arc::new(AssetContract));
    let package = native_package(&label("asset_1"), &asset()).unwrap();
    assert_eq!(net.install(0, &package).await, *package.id());
    let again = net.ask(0, "", &lifecycle("InstallChaincode", &install_args(package.bytes().clone()))).await;
    let said = format!("chaincode already successfully installed (package ID '{}')", package.id());
    assert_eq!(again.message, format!("failed to invoke backing implementation of 'InstallChaincode': {said}"));

    let definition = ChaincodeDefinition::new(asset(), "1.0", 1);
    let early = lifecycle("CommitChaincodeDefinition", &definition.commit_args());
    assert_eq!(
        refusal(&net, 0, &early).await,
        "failed to invoke backing implementation of 'CommitChaincodeDefinition': chaincode definition not agreed to \
         by this org (Org1MSP)"
    );
    let approve = lifecycle("ApproveChaincodeDefinitionForMyOrg", &definition.approve_args(Some(package.id())));
    assert!(net.submit(&[0], &approve).await.unwrap().1.is_valid());
    assert_eq!(
        refusal(&net, 0, &approve).await,
        "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': attempted to redefine \
         uncommitted sequence (1) for namespace asset with unchanged content"
    );
    let ready: pb::CheckCommitReadinessResult =
        result(&net, "CheckCommitReadiness", &definition.readiness_args()).await;
    assert_eq!(ready.approvals.into_iter().collect::<Vec<_>>(), [("Org1MSP".into(), true), ("Org2MSP".into(), false)]);
    assert_eq!(ready.mismatches["Org2MSP"].items, ["ChaincodeParameters"]);

    // The second organization approves without a package: it agrees, and does not run it.
    let approve = lifecycle("ApproveChaincodeDefinitionForMyOrg", &definition.approve_args(None));
    assert!(net.submit(&[1], &approve).await.unwrap().1.is_valid());
    let commit = lifecycle("CommitChaincodeDefinition", &definition.commit_args());
    assert!(net.submit(&[0, 1], &commit).await.unwrap().1.is_valid());
    assert_eq!(
        refusal(&net, 0, &commit).await,
        "failed to invoke backing implementation of 'CommitChaincodeDefinition': requested sequence is 1, but new \
         definition must be sequence 2"
    );

    let committed: pb::QueryChaincodeDefinitionResult =
        result(&net, "QueryChaincodeDefinition", &committed_args(&asset())).await;
    assert_eq!((committed.sequence, committed.version.as_str()), (1, "1.0"));
    assert_eq!((committed.endorsement_plugin.as_str(), committed.validation_plugin.as_str()), ("escc", "vscc"));
    assert!(committed.approvals.values().all(|approved| *approved));
    let all: pb::QueryChaincodeDefinitionsResult =
        result(&net, "QueryChaincodeDefinitions", &committed_all_args()).await;
    assert_eq!(all.chaincode_definitions.len(), 1);
    assert_eq!(all.chaincode_definitions[0].name, "asset");
    let installed: pb::QueryInstalledChaincodesResult =
        result(&net, "QueryInstalledChaincodes", &installed_all_args()).await;
    let references = &installed.installed_chaincodes[0].references[CHANNEL].chaincodes;
    assert_eq!((references[0].name.as_str(), references[0].version.as_str()), ("asset", "1.0"));

    assert_eq!(
        refusal(&net, 1, &read).await,
        format!("{unknown}chaincode definition for 'asset' exists, but chaincode is not installed")
    );
    let create = Invocation::new("asset", "CreateAsset");
    let create = ["a1", "blue", "5", "Tomoko", "300"].into_iter().fold(create, Invocation::arg);
    assert_eq!(net.ask(0, CHANNEL, &create).await.status, 200);

    // It installs later, and approves the committed sequence again with the package.
    net.install(1, &package).await;
    let approve = lifecycle("ApproveChaincodeDefinitionForMyOrg", &definition.approve_args(Some(package.id())));
    assert!(net.submit(&[1], &approve).await.unwrap().1.is_valid());
    assert!(net.submit(&[0, 1], &create).await.unwrap().1.is_valid());
    let read = net.ask(1, CHANNEL, &read).await;
    assert!(String::from_utf8_lossy(&read.payload).contains("Tomoko"), "{read:?}");
}

#[tokio::test]
async fn approvals_can_be_asked_for() {
    let net = net();
    let definition = ChaincodeDefinition { init_required: true, ..ChaincodeDefinition::new(asset(), "1.0", 1) };
    let ask = |sequence| approved_args(&asset(), sequence);
    let query = lifecycle("QueryApprovedChaincodeDefinition", &ask(0));
    assert_eq!(
        refusal(&net, 0, &query).await,
        "failed to invoke backing implementation of 'QueryApprovedChaincodeDefinition': could not fetch approved \
         chaincode definition (name: 'asset', sequence: '0') on channel 'ops'"
    );
    let package = native_package(&label("asset_1"), &asset()).unwrap();
    let approve = lifecycle("ApproveChaincodeDefinitionForMyOrg", &definition.approve_args(Some(package.id())));
    assert!(net.submit(&[0], &approve).await.unwrap().1.is_valid());
    for sequence in [0, 1] {
        let approved: pb::QueryApprovedChaincodeDefinitionResult =
            result(&net, "QueryApprovedChaincodeDefinition", &ask(sequence)).await;
        let source = crate::fabric::lifecycle::approved_package(approved.source.as_ref()).map(ToOwned::to_owned);
        assert_eq!((approved.sequence, source), (1, Some(package.id().to_string())));
        let known = ChaincodeDefinition::from_approved(asset(), approved);
        assert_eq!(known, definition.clone().with_defaults());
    }
    let all: pb::QueryApprovedChaincodeDefinitionsResult =
        result(&net, "QueryApprovedChaincodeDefinitions", &pb::QueryApprovedChaincodeDefinitionsArgs {}).await;
    let names: Vec<_> = all.approved_chaincode_definitions.iter().map(|it| (it.name.as_str(), it.sequence)).collect();
    assert_eq!(names, [("asset", 1)]);
    // The other organization's approvals are its own.
    let other = refusal(&net, 1, &query).await;
    assert!(other.ends_with("(name: 'asset', sequence: '0') on channel 'ops'"), "{other}");
}

#[tokio::test]
async fn initialization_comes_first_and_once() {
    let net = net();
    net.contracts.insert(asset(), Arc::new(AssetContract));
    let package = native_package(&label("asset_1"), &asset()).unwrap();
    net.install(0, &package).await;
    net.install(1, &package).await;
    let definition = ChaincodeDefinition { init_required: true, ..ChaincodeDefinition::new(asset(), "1.0", 1) };
    net.define(&definition, [Some(package.id()), Some(package.id())]).await;
    let said = |message: &str| message.rsplit_once("invalid invocation: ").unwrap().1.to_owned();
    let call = Invocation::new("asset", "InitLedger");
    assert_eq!(
        said(&refusal(&net, 0, &call).await),
        "chaincode 'asset' has not been initialized for this version, must call as init first"
    );
    assert!(net.submit(&[0, 1], &call.clone().init()).await.unwrap().1.is_valid());
    assert_eq!(
        said(&refusal(&net, 0, &call.clone().init()).await),
        "chaincode 'asset' is already initialized but called as init"
    );
    assert_eq!(net.ask(0, CHANNEL, &Invocation::new("asset", "GetAllAssets")).await.status, 200);
}

#[tokio::test]
async fn wrong_arguments_are_answered() {
    let net = net();
    let check = async |channel: &str, invocation: Invocation, status: i32, expected: &str| {
        let Response { status: got, message, .. } = net.ask(0, channel, &invocation).await;
        assert_eq!((got, message.as_str()), (status, expected));
    };
    let mut nothing = Invocation::new("_lifecycle", "");
    nothing.args.clear();
    check(CHANNEL, nothing, 500, "lifecycle scc must be invoked with arguments").await;
    let one = Invocation::new("_lifecycle", "InstallChaincode");
    check(CHANNEL, one, 500, "lifecycle scc operations require exactly two arguments but received 1").await;
    check(
        CHANNEL,
        Invocation::new("_lifecycle", "Nothing").arg(""),
        500,
        "Failed to authorize invocation due to failed ACL check: Unmapped policy for _lifecycle/Nothing",
    )
    .await;
    check(
        CHANNEL,
        lifecycle("QueryChaincodeDefinition", &committed_args(&asset())),
        404,
        "namespace asset is not defined",
    )
    .await;
    check(
        CHANNEL,
        lifecycle("QueryInstalledChaincode", &pb::QueryInstalledChaincodeArgs { package_id: "x:1".into() }),
        500,
        "failed to invoke backing implementation of 'QueryInstalledChaincode': could not find chaincode with package \
         id 'x:1'",
    )
    .await;
    check(
        "",
        lifecycle("GetInstalledChaincodePackage", &pb::GetInstalledChaincodePackageArgs { package_id: "x:1".into() }),
        500,
        "failed to invoke backing implementation of 'GetInstalledChaincodePackage': could not load cc install \
         package: chaincode install package 'x:1' not found",
    )
    .await;
    let cobol = Package::pack("cobol", &label("cobol_1"), &[("main.cob", b"STOP RUN.")]).unwrap();
    check(
        "",
        lifecycle("InstallChaincode", &install_args(cobol.bytes().clone())),
        500,
        "failed to invoke backing implementation of 'InstallChaincode': could not build chaincode: no builder for \
         chaincode of type 'cobol': this network runs packages of the types 'ccaas' and 'native'",
    )
    .await;
    let bad_name = pb::ApproveChaincodeDefinitionForMyOrgArgs { name: "qscc".into(), ..Default::default() };
    check(
        CHANNEL,
        lifecycle("ApproveChaincodeDefinitionForMyOrg", &bad_name),
        500,
        "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': error validating chaincode \
         definition: chaincode name 'qscc' is the name of a system chaincode",
    )
    .await;
    let rubbish = Invocation::new("_lifecycle", "CheckCommitReadiness").arg(Bytes::from_static(b"\xff\xff"));
    assert!(refusal(&net, 0, &rubbish).await.contains("could not decode input arg for *lifecycle.Invocation.CheckCom"));
}

#[tokio::test]
async fn what_refuses_is_not_endorsed() {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    let admin = &net.sides[0].admin;
    let proposal = net.proposal(CHANNEL, &Invocation::new("asset", "ReadAsset").arg("none"), admin);
    let response = super::kit::process(&net.sides[0].peer, super::kit::sign(&proposal, admin)).await.unwrap();
    assert!(response.endorsement.is_none());
    assert_eq!(response.response.unwrap().status, 500);
    let payload = ProposalResponsePayload::decode(response.payload).unwrap();
    assert_eq!(payload.proposal_hash, proposal.hash().as_slice(), "what it read is passed on unsigned");
}
