//! Chaincodes: native ones, ones behind a server, the contracts of OpsSC, and what lifecycle says to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use opssc::chaincode::asset::AssetContract;
use opssc::chaincode::shim::{Config, Server};
use opssc::chaincode::{Contract, Response, Stub};
use opssc::client::Endorsers;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::Label;
use opssc::fabric::package::ccaas::{self, Connection};
use opssc::fabric::tx::Invocation;
use opssc::opssc::calls::ChannelOps;
use opssc::runtime::Workers;

use super::{Network, channel_name, create, name, org, read, submit};

/// A contract with a fault.
pub(super) struct Panics;

#[tonic::async_trait]
impl Contract for Panics {
    async fn invoke(&self, _stub: &mut dyn Stub) -> Response {
        panic!("as it was told")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_contract_fails_its_transaction_only() {
    let network = Network::with_asset("").await;
    network.deploy("panics", "").await;
    let one = network.user(1);
    let error = one.evaluate(&Invocation::new("panics", "anything")).await.unwrap_err();
    assert_eq!(error.refusal().map(|(status, _)| status), Some(500), "{error:?}");
    submit(&one, &create("a1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chaincode_server_is_dialled_by_its_alias() {
    let network = Network::start().await;
    let alias = "chaincode-asset-org1.hyperledger:7052";
    let label = Label::parse("asset_1").unwrap();
    let package = ccaas::package(&label, &Connection::plain(alias)).unwrap();
    let config = Config::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), package.id().as_str());
    let server = Server::bind(config, Arc::new(AssetContract)).await.unwrap();
    network.devnet.host(alias, server.local_address());
    let workers = Workers::new();
    let inside = workers.clone();
    workers.spawn("asset server", async move { server.run(&inside).await });

    let definition = ChaincodeDefinition::new(name("asset"), "1", 1);
    network.devnet.deploy(&channel_name(), &definition, &package).await.unwrap();
    let one = network.user(1);
    submit(&one, &create("a1")).await.unwrap();
    network.devnet.settled(one.name()).await;
    network.user(2).evaluate(&read("a1")).await.unwrap();
    workers.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_of_opssc_know_all_channels() {
    let network = Network::start().await;
    network.devnet.deploy_opssc().await.unwrap();
    let ops_channel = network.devnet.ops_channel().clone();
    let admin = network.devnet.admin(&org(2)).unwrap();
    let calls = ChannelOps::new(admin.channel(ops_channel.clone()), name("channel-ops"));
    let channels = calls.get_all_channels().await.unwrap();
    let mut names: Vec<_> = channels.iter().map(|channel| channel.id.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["mychannel", ops_channel.as_str()]);
    assert!(channels.iter().all(|channel| channel.has("Org1MSP") && channel.has("Org2MSP")));
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_says_no_as_fabric_does() {
    let network = Network::with_asset("").await;
    let admin = network.devnet.admin(&org(1)).unwrap().channel(channel_name());
    let user = network.user(1);
    let definition = |sequence| ChaincodeDefinition::new(name("asset"), "1", sequence);
    for (channel, sequence, expected) in [
        (&admin, 3, "requested sequence 3 is larger than the next available sequence number 2"),
        (&admin, 0, "currently defined sequence 1 is larger than requested sequence 0"),
        (&user, 2, "The identity is not an admin under this MSP [Org1MSP]"),
    ] {
        let invocation =
            Invocation::lifecycle("ApproveChaincodeDefinitionForMyOrg", &definition(sequence).approve_args(None));
        let error = channel.submit(&invocation, Endorsers::Own).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains(expected), "{text} does not say {expected}");
    }
    // Nobody has agreed to the second definition yet.
    let invocation = Invocation::lifecycle("CommitChaincodeDefinition", &definition(2).commit_args());
    let error = format!("{:?}", admin.submit(&invocation, Endorsers::Own).await.unwrap_err());
    assert!(error.contains("chaincode definition not agreed to by this org (Org1MSP)"), "{error}");
    let nothing = Invocation::new("nothing", "anything");
    let error = format!("{:?}", user.evaluate(&nothing).await.unwrap_err());
    assert!(
        error.contains("make sure the chaincode nothing has been successfully defined on channel mychannel"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_seen_by_others_as_yes_or_no() {
    let network = Network::with_asset("").await;
    let (one, two) = (
        network.devnet.admin(&org(1)).unwrap().channel(channel_name()).lifecycle(),
        network.devnet.admin(&org(2)).unwrap().channel(channel_name()).lifecycle(),
    );
    let next = ChaincodeDefinition::new(name("asset"), "2", 2);
    one.approve(&next, None).await.unwrap();
    network.devnet.settled(&channel_name()).await;
    let seen: Vec<_> = two.readiness(&next).await.unwrap().into_values().collect();
    assert_eq!(seen, [true, false]);
    let other = ChaincodeDefinition::new(name("asset"), "other", 2);
    let seen: Vec<_> = two.readiness(&other).await.unwrap().into_values().collect();
    assert_eq!(seen, [false, false]);
}
