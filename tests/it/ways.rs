//! Both ways of a transaction, endorsers of every choice, and keys that are elsewhere, over the embedded network.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use opssc::chaincode::asset::AssetContract;
use opssc::client::events::{Checkpoint, Start};
use opssc::client::profile::ConnectionProfile;
use opssc::client::{Channel, Client, DiscoveryError, Endorsers, GatewayEventStream, StreamError, Way};
use opssc::devnet::{Devnet, Organization};
use opssc::fabric::block::ValidationCode;
use opssc::fabric::identity::{OfflineIdentity, SigningIdentity};
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, ChannelName, MspId, TxId};
use opssc::fabric::tx::{ChaincodeCall, Invocation};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_mins(1);

fn channel_name() -> ChannelName {
    ChannelName::parse("mychannel").unwrap()
}

fn msp(id: &str) -> MspId {
    MspId::parse(id).unwrap()
}

fn create(id: impl Into<String>) -> Invocation {
    Invocation::new("asset", "CreateAsset").arg(id.into()).arg("blue").arg("5").arg("tom").arg("300")
}

/// A network whose channel has the asset contract, which a majority must endorse.
async fn start(folder: &Path) -> Devnet {
    let name = ChaincodeName::parse("asset").unwrap();
    let devnet = Devnet::builder(folder)
        .channel(channel_name())
        .native(name.clone(), Arc::new(AssetContract))
        .batch_timeout(Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    devnet.deploy_native(&channel_name(), &ChaincodeDefinition::new(name, "1", 1)).await.unwrap();
    devnet
}

fn user(devnet: &Devnet) -> Channel {
    devnet.user(&msp("Org1MSP")).unwrap().channel(channel_name())
}

#[tokio::test]
async fn both_ways_lead_to_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let devnet = start(folder.path()).await;
    let channel = user(&devnet);
    let both = vec![msp("Org2MSP"), msp("Org1MSP")];
    let members = channel.members(Some("asset")).await.unwrap();
    let peers = members.into_iter().filter_map(|member| member.peer).collect::<Vec<_>>();
    assert!(peers.iter().any(|peer| *peer.msp_id() == both[0]) && peers.iter().any(|peer| *peer.msp_id() == both[1]));
    for way in [Way::Direct, Way::Gateway] {
        let channel = channel.clone().by(way);
        for (number, endorsers) in [
            Endorsers::Discovered,
            Endorsers::Majority,
            Endorsers::AllOrgs,
            Endorsers::Orgs(both.clone()),
            Endorsers::AtLeast { needed: 2, of: both.clone() },
            Endorsers::Peers(peers.clone()),
        ]
        .into_iter()
        .enumerate()
        {
            let shown = format!("{way:?} {endorsers:?}");
            let call = create(format!("{way:?}{number}"));
            let committed = tokio::time::timeout(LIMIT, channel.submit(&call, endorsers)).await.expect("in time");
            let committed = committed.unwrap_or_else(|error| panic!("{shown}: {error}"));
            let status = channel.commit_status(&committed.tx_id).await.unwrap();
            assert_eq!((status.block, status.code), (committed.block, ValidationCode::Valid), "{shown}");
        }
        let read = channel.evaluate(&Invocation::new("asset", "ReadAsset").arg(format!("{way:?}0"))).await.unwrap();
        assert!(String::from_utf8_lossy(&read).contains("blue"), "{way:?}");
        let missing = channel.evaluate(&Invocation::new("asset", "ReadAsset").arg("nothing")).await.unwrap_err();
        assert_eq!(missing.refusal(), Some((500, "the asset nothing does not exist")), "{way:?}: {missing}");
        let again = channel.submit(&create(format!("{way:?}0")), Endorsers::Discovered).await.unwrap_err();
        let words = format!("the asset {way:?}0 already exists");
        assert_eq!(again.refusal(), Some((500, words.as_str())), "{way:?}: {again}");
        assert!(!again.is_retryable(), "{way:?}: {again:?}");
        let alone = channel.submit(&create("alone"), Endorsers::Own).await.unwrap_err();
        assert!(alone.to_string().ends_with("ENDORSEMENT_POLICY_FAILURE"), "{way:?}: {alone}");
    }
}

/// The next event's asset and transaction.
async fn heard(events: &mut GatewayEventStream) -> Result<(String, TxId), StreamError> {
    let event = tokio::time::timeout(LIMIT, events.next()).await.expect("in time").expect("no end")?;
    assert_eq!(event.name, "CreateAsset");
    let asset: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
    Ok((asset["ID"].as_str().unwrap().to_owned(), event.tx_id))
}

#[tokio::test]
async fn events_of_the_gateway_service_survive_their_peers() {
    let folder = tempfile::tempdir().unwrap();
    let name = ChaincodeName::parse("asset").unwrap();
    let devnet = Devnet::builder(folder.path())
        .peers_per_organization(2)
        .channel(channel_name())
        .native(name.clone(), Arc::new(AssetContract))
        .batch_timeout(Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    devnet.deploy_native(&channel_name(), &ChaincodeDefinition::new(name.clone(), "1", 1)).await.unwrap();
    let channel = user(&devnet);
    let submit = async |id: &str| channel.submit(&create(id), Endorsers::Majority).await.unwrap();
    let first = submit("a1").await;
    let second = submit("a2").await;
    let mut events = channel.gateway_events(&name, Start::Oldest);
    assert_eq!(heard(&mut events).await.unwrap(), ("a1".to_owned(), first.tx_id.clone()));
    assert_eq!(heard(&mut events).await.unwrap(), ("a2".to_owned(), second.tx_id.clone()));
    let mut newest = channel.gateway_events(&name, Start::Newest);
    assert_eq!(heard(&mut newest).await.unwrap().0, "a2");
    let done = Checkpoint { block: first.block, tx_id: Some(first.tx_id) };
    let mut after = channel.gateway_events(&name, Start::After(done));
    assert_eq!(heard(&mut after).await.unwrap().0, "a2");
    // Each peer is away once: whichever they listen to, they have to turn to the other one, at the right place.
    for (peer, id) in [("peer0.org1", "a3"), ("peer1.org1", "a4")] {
        devnet.stop_peer(peer).await.unwrap();
        submit(id).await;
        for stream in [&mut events, &mut newest, &mut after] {
            assert_eq!(heard(stream).await.unwrap().0, id, "without {peer}");
        }
        devnet.start_peer(peer).await.unwrap();
        devnet.settled(&channel_name()).await;
    }
    // A peer would withhold everything after a transaction that it does not know.
    let elsewhere = Checkpoint { block: 0, tx_id: Some(TxId::of(b"another", b"channel")) };
    let mut silent = channel.gateway_events(&name, Start::After(elsewhere));
    let error = heard(&mut silent).await.unwrap_err();
    assert!(matches!(error, StreamError::UnknownCheckpoint { .. }), "{error}");
}

#[tokio::test]
async fn discovery_tells_what_it_knows_and_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let devnet = start(folder.path()).await;
    let channel = user(&devnet);
    let plan = channel.endorsers(&[ChaincodeCall::new("asset")]).await.unwrap();
    assert!(plan.layouts.iter().all(|layout| layout.values().sum::<usize>() == 2), "a majority of two: {plan:?}");
    let config = channel.node_config().await.unwrap();
    assert_eq!(config.tls_roots.keys().map(MspId::as_str).collect::<Vec<_>>()[..2], ["Org1MSP", "Org2MSP"]);
    assert!(!config.orderers.is_empty());
    let unknown = channel.endorsers(&[ChaincodeCall::new("unknown")]).await.unwrap_err();
    assert!(matches!(unknown, DiscoveryError::NoEndorsers { .. }) && unknown.is_retryable(), "{unknown:?}");
    let elsewhere = channel.client().channel(ChannelName::parse("elsewhere").unwrap());
    let error = elsewhere.members(None).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::NotJoined { .. }) && error.is_retryable(), "{error:?}");
    let error = channel.client().local_peers().await.unwrap_err();
    assert!(matches!(error, DiscoveryError::AccessDenied { channel: None, .. }), "{error:?}");
    let admin = devnet.admin(&msp("Org1MSP")).unwrap();
    assert!(!admin.local_peers().await.unwrap().is_empty());
}

/// The files of Org1's user: certificate, key, connection profile.
fn files(organization: &Organization) -> (PathBuf, PathBuf, PathBuf) {
    let only = |folder: &str| {
        let mut files = std::fs::read_dir(organization.user_msp.join(folder)).unwrap();
        files.next().unwrap().unwrap().path()
    };
    (only("signcerts"), only("keystore"), organization.connection_profile.clone())
}

#[tokio::test]
async fn stages_are_signed_by_a_key_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let devnet = start(folder.path()).await;
    let organization = &devnet.organizations()[0];
    let key = SigningIdentity::load_msp(organization.msp_id.clone(), &organization.user_msp).unwrap();
    let profile = ConnectionProfile::load(&organization.connection_profile).unwrap();
    let known = user(&devnet).members(None).await.unwrap().into_iter().filter_map(|member| member.peer).collect();
    for (way, endorsers) in [(Way::Direct, Endorsers::Peers(known)), (Way::Gateway, Endorsers::Discovered)] {
        let identity = OfflineIdentity::new(organization.msp_id.clone(), key.certificate().clone());
        let client = Client::builder(Arc::new(identity), profile.clone()).way(way).build().unwrap();
        let channel = client.channel(channel_name());
        let proposal = channel.propose(&create(format!("{way:?}"))).unwrap();
        let signature = key.sign_now(proposal.bytes());
        let endorsed = channel.endorse_signed(&proposal.signed_with(signature), endorsers).await.unwrap();
        let transaction = endorsed.into_transaction();
        let signature = key.sign_now(transaction.payload());
        let transaction = transaction.signed_with(signature);
        let question = channel.commit_request(transaction.tx_id()).unwrap();
        let signature = key.sign_now(question.bytes());
        let question = question.signed_with(signature);
        channel.order_signed(&transaction).await.unwrap();
        let status = tokio::time::timeout(LIMIT, channel.commit_status_signed(&question)).await.unwrap().unwrap();
        assert_eq!(status.code, ValidationCode::Valid, "{way:?}");
        let query = channel.propose(&Invocation::new("asset", "ReadAsset").arg(format!("{way:?}"))).unwrap();
        let signature = key.sign_now(query.bytes());
        assert!(!channel.evaluate_signed(&query.signed_with(signature)).await.unwrap().is_empty());
    }
}

/// An example's program. It lies beside the agent's; cargo builds it with all the tests, but not with these alone.
async fn example(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_opssc-agent")).with_file_name("examples").join(name);
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().await.unwrap().success());
    }
    program
}

#[tokio::test]
async fn another_process_signs() {
    let folder = tempfile::tempdir().unwrap();
    let devnet = start(&folder.path().join("network")).await;
    let (certificate, key, profile) = files(&devnet.organizations()[0]);
    let program = example("external_signer").await;
    let socket = folder.path().join("signer");
    let command = |arguments: &[&Path]| {
        let mut command = Command::new(&program);
        command.args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
        command
    };
    let mut signer = command(&[Path::new("sign"), &key, &socket]).spawn().unwrap();
    let mut said = BufReader::new(signer.stdout.take().unwrap()).lines();
    assert_eq!(said.next_line().await.unwrap().as_deref(), Some("signing"));
    let mut client = command(&[Path::new("submit"), &profile, Path::new("Org1MSP"), &certificate, &socket]);
    client.args(["mychannel", "asset", "CreateAsset", "a1", "blue", "5", "tom", "300"]);
    let done = tokio::time::timeout(LIMIT, client.output()).await.unwrap().unwrap();
    assert!(done.status.success(), "{done:?}");
    user(&devnet).evaluate(&Invocation::new("asset", "ReadAsset").arg("a1")).await.unwrap();
}
