//! Chaincodes that call chaincodes, and chaincodes behind streams.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::async_trait;

use super::kit::{CHANNEL, OTHER_CHANNEL, label, net, sign};
use crate::chaincode::asset::AssetContract;
use crate::chaincode::shim::{Config, Server};
use crate::chaincode::{Contract, Response, Stub};
use crate::devnet::peer::call::{Call, Simulated};
use crate::devnet::peer::context::{Refused, TransactionContext as _};
use crate::devnet::peer::native_package;
use crate::devnet::peer::proposal::UnpackedProposal;
use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::{ChaincodeName, ChannelName};
use crate::fabric::package::ccaas::{self, Connection};
use crate::fabric::tx::Invocation;
use crate::pb::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope, signature_policy};
use crate::pb::protos::{
    ChaincodeInput, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig,
    collection_config, collection_policy_config,
};

/// Calls what its arguments say: `call <chaincode> <channel or nothing> <args...>`, or panics.
struct Caller;

#[async_trait]
impl Contract for Caller {
    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let args: Vec<_> = stub.args().to_vec();
        let text = |at: usize| String::from_utf8_lossy(&args[at]).into_owned();
        match text(0).as_str() {
            "call" => {
                let channel = ChannelName::parse(text(2)).ok();
                match stub.invoke_chaincode(&text(1), &args[3..], channel.as_ref()).await {
                    Ok(response) => response,
                    Err(error) => Response::failure(error.to_string()),
                }
            }
            "wait" => std::future::pending().await,
            _ => panic!("asked to"),
        }
    }
}

fn create(chaincode: &str) -> Invocation {
    let create = Invocation::new(chaincode, "CreateAsset");
    ["a1", "blue", "5", "Tomoko", "300"].into_iter().fold(create, Invocation::arg)
}

fn called(channel: &str, inner: &Invocation) -> Invocation {
    let call = Invocation::new("caller", "call").arg(inner.chaincode.clone()).arg(channel.to_owned());
    inner.args.iter().cloned().fold(call, Invocation::arg)
}

#[tokio::test]
async fn a_called_chaincode_writes_into_the_same_transaction() {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    net.deploy("caller", Arc::new(Caller)).await;
    assert!(net.submit(&[0, 1], &called("", &create("asset"))).await.unwrap().1.is_valid());
    let read = Invocation::new("asset", "ReadAsset").arg("a1");
    let direct = net.ask(0, CHANNEL, &read).await;
    assert_eq!(direct.status, 200, "{}", direct.message);
    let through = net.ask(0, CHANNEL, &called(CHANNEL, &read)).await;
    assert_eq!(through.payload, direct.payload);

    let refused = async |invocation: &Invocation| net.ask(0, CHANNEL, invocation).await.message;
    let itself = refused(&called("", &called("", &read))).await;
    assert!(itself.ends_with("(ops) exists"), "{itself}");
    let nothing = refused(&called("", &Invocation::new("nothing", "f"))).await;
    assert!(
        nothing.ends_with("failed to get chaincode container info for nothing: chaincode nothing not found"),
        "{nothing}"
    );
    let elsewhere = refused(&called(OTHER_CHANNEL, &read)).await;
    assert!(elsewhere.ends_with("chaincode asset not found"), "{elsewhere}");
    let nowhere = refused(&called("nowhere", &read)).await;
    assert!(nowhere.ends_with("Failed to get policy manager for channel [nowhere]"), "{nowhere}");
    let qscc = refused(&called("", &Invocation::new("qscc", "GetChainInfo").arg(CHANNEL))).await;
    assert!(qscc.starts_with("Rejecting invoke of QSCC from another chaincode"), "{qscc}");
}

#[tokio::test]
async fn a_contract_that_panics_or_hangs_fails_alone() {
    let net = net();
    net.deploy("caller", Arc::new(Caller)).await;
    let panicked = net.ask(0, CHANNEL, &Invocation::new("caller", "panic")).await;
    assert!(panicked.message.ends_with("transaction returned with failure: contract panicked"), "{panicked:?}");
    tokio::time::pause();
    let hung = net.ask(0, CHANNEL, &Invocation::new("caller", "wait")).await;
    assert!(hung.message.ends_with("error sending: timeout expired while executing transaction"), "{hung:?}");
}

#[tokio::test]
async fn a_chaincode_runs_as_a_service() {
    let net = net();
    let connection = Connection { dial_timeout: "1s".to_owned(), ..Connection::plain("asset.cluster:7052") };
    let package = ccaas::package(&label("asset_1"), &connection).unwrap();
    for side in 0..2 {
        net.install(side, &package).await;
    }
    let definition = ChaincodeDefinition::new(ChaincodeName::parse("asset").unwrap(), "1.0", 1);
    net.define(&definition, [Some(package.id()), Some(package.id())]).await;

    // Nothing listens yet.
    net.hosts.insert("asset.cluster:7052", ([127, 0, 0, 1], 1).into());
    let nobody = net.ask(0, CHANNEL, &create("asset")).await;
    let expected =
        format!("could not launch chaincode {0}: connection to {0} failed: error cannot create", package.id());
    assert!(nobody.message.contains(&expected), "{}", nobody.message);

    let config = Config::new(([127, 0, 0, 1], 0).into(), package.id().to_string());
    let server = Server::bind(config, Arc::new(AssetContract)).await.unwrap();
    net.hosts.insert("asset.cluster:7052", server.local_address());
    let servers = net.workers.child();
    let serving = servers.clone();
    servers.spawn("server", async move { server.run(&serving).await });

    assert!(net.submit(&[0, 1], &create("asset")).await.unwrap().1.is_valid());
    assert!(net.submit(&[0, 1], &Invocation::new("asset", "InitLedger")).await.unwrap().1.is_valid());
    let all = net.ask(1, CHANNEL, &Invocation::new("asset", "GetAllAssets")).await;
    assert_eq!(String::from_utf8_lossy(&all.payload).matches("\"ID\"").count(), 4, "{all:?}");
    let read = |id: &'static str| Invocation::new("asset", "ReadAsset").arg(id);
    let (own, sample) = (read("a1"), read("asset1"));
    let (one, two) = tokio::join!(net.ask(0, CHANNEL, &own), net.ask(0, CHANNEL, &sample));
    assert_eq!((one.status, two.status), (200, 200));
    let missing = net.ask(0, CHANNEL, &Invocation::new("asset", "ReadAsset").arg(Bytes::from_static(b"x"))).await;
    assert_eq!(missing.status, 500);
}

#[tokio::test]
async fn collections_are_for_their_members() {
    let net = net();
    net.contracts.insert(ChaincodeName::parse("asset").unwrap(), Arc::new(AssetContract));
    let package = native_package(&label("asset_1"), &ChaincodeName::parse("asset").unwrap()).unwrap();
    net.install(0, &package).await;
    let role = MspRole { msp_identifier: "Org1MSP".to_owned(), role: 0 }.encode_to_vec().into();
    let policy = SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(0)) }),
        identities: vec![MspPrincipal { principal_classification: 0, principal: role }],
    };
    let config = StaticCollectionConfig {
        name: "secret".to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(policy)),
        }),
        member_only_read: true,
        member_only_write: true,
        ..StaticCollectionConfig::default()
    };
    let config = CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(config)) };
    let mut definition = ChaincodeDefinition::new(ChaincodeName::parse("asset").unwrap(), "1.0", 1);
    definition.collections = Some(CollectionConfigPackage { config: vec![config] });
    net.define(&definition, [Some(package.id()), None]).await;

    let call = |side: usize, is_init: bool| {
        let user = &net.sides[side].user;
        let signed = sign(&net.proposal(CHANNEL, &Invocation::new("asset", "f"), user), user);
        Call {
            peer: Arc::clone(&net.sides[0].peer),
            proposal: Arc::new(UnpackedProposal::unpack(signed).unwrap()),
            channel: CHANNEL.to_owned(),
            chaincode: "asset".to_owned(),
            input: ChaincodeInput { is_init, ..ChaincodeInput::default() },
            simulation: Some(Simulated::new(net.ledger(0, CHANNEL).simulate())),
            running: Vec::new(),
        }
    };
    let denied = "permission on privatedata in chaincodeName:asset collectionName: secret";
    for (side, is_init, collection, expected) in [
        (0, false, "secret", String::new()),
        (0, false, "_implicit_org_Org2MSP", String::new()),
        (
            0,
            false,
            "_implicit_org_Org9MSP",
            "collection [_implicit_org_Org9MSP] not defined in the collection config for chaincode [asset]".to_owned(),
        ),
        (0, false, "none", "collection ops/asset/none could not be found".to_owned()),
        (1, false, "secret", format!("tx creator does not have write access {denied}")),
        (0, true, "secret", "private data APIs are not allowed in chaincode Init()".to_owned()),
    ] {
        let put = call(side, is_init).put(collection, "k", Bytes::from_static(b"v"));
        assert_eq!(put.err().map(|error| error.0).unwrap_or_default(), expected, "{collection} by side {side}");
    }
    let read = call(1, false).get("secret", "k").unwrap_err();
    assert_eq!(read.0, format!("tx creator does not have read access {denied}"));
    assert_eq!(call(0, false).get("secret", "k"), Ok(None));
    let finished = call(0, false);
    finished.simulation.as_ref().unwrap().finish();
    assert_eq!(finished.put("", "k", Bytes::new()), Err(Refused::new("no ledger context")), "it came too late");
}
