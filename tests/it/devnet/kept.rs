//! Networks that go on where they were.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use opssc::chaincode::asset::AssetContract;
use opssc::client::Endorsers;
use opssc::devnet::{Builder, Devnet, DevnetError};
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::ChannelName;

use super::{channel_name, create, name, org, read, transfer};

fn builder(folder: &Path) -> Builder {
    Devnet::builder(folder)
        .keep(true)
        .channel(channel_name())
        .native(name("asset"), Arc::new(AssetContract))
        .batch_timeout(Duration::from_millis(20))
}

/// A network with the asset contract and one asset, stopped.
async fn made(folder: &Path) -> u64 {
    let devnet = builder(folder).start().await.unwrap();
    devnet.deploy_native(&channel_name(), &ChaincodeDefinition::new(name("asset"), "1", 1)).await.unwrap();
    let user = devnet.user(&org(1)).unwrap().channel(channel_name());
    user.submit(&create("a1"), Endorsers::AllOrgs).await.unwrap();
    let height = devnet.height(&channel_name()).unwrap();
    devnet.shutdown().await.unwrap();
    height
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let devnet = builder(folder.path()).start().await.unwrap();
    devnet.deploy_native(&channel_name(), &ChaincodeDefinition::new(name("asset"), "1", 1)).await.unwrap();
    // Clients stay as they are: addresses and certificates do not change.
    let user = devnet.user(&org(1)).unwrap().channel(channel_name());
    user.submit(&create("a1"), Endorsers::AllOrgs).await.unwrap();
    let later = ChannelName::parse("later").unwrap();
    devnet.create_channel(&later).await.unwrap();
    assert_eq!(devnet.channels(), [channel_name(), later.clone()]);
    devnet.create_channel(&later).await.expect_err("there is such a channel");
    devnet.settled(&channel_name()).await;
    let (height, block) = (devnet.height(&channel_name()).unwrap(), user.config_block().await.unwrap());
    let busy = builder(folder.path()).start().await.unwrap_err();
    assert!(matches!(busy, DevnetError::Busy(_)), "{busy:?}");
    devnet.shutdown().await.unwrap();

    let devnet = builder(folder.path()).start().await.unwrap();
    assert_eq!(devnet.height(&channel_name()), Some(height));
    assert_eq!(devnet.height(&later), Some(1));
    assert_eq!(user.height().await.unwrap(), height, "the peer has replayed its blocks");
    assert_eq!(user.config_block().await.unwrap(), block);
    // Approvals are private data, and the contract is in a package: both are there again.
    user.evaluate(&read("a1")).await.unwrap();
    user.submit(&transfer("a1", "ann"), Endorsers::AllOrgs).await.unwrap();
    devnet.shutdown().await.unwrap();

    let other = builder(folder.path()).organizations(3).start().await.unwrap_err();
    assert!(matches!(other, DevnetError::Plan(_)), "{other:?}");
    let devnet = builder(folder.path()).anew(true).organizations(1).start().await.unwrap();
    assert_eq!(devnet.height(&channel_name()), Some(1));
    devnet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_loses_its_end_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let height = made(folder.path()).await;
    let log = folder.path().join("ledger/channels/mychannel.blocks");
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 7]).unwrap();
    let devnet = builder(folder.path()).start().await.unwrap();
    assert_eq!(devnet.height(&channel_name()), Some(height - 1));
    let user = devnet.user(&org(1)).unwrap().channel(channel_name());
    user.evaluate(&read("a1")).await.expect_err("it was in the block that was lost");
    user.submit(&create("a1"), Endorsers::AllOrgs).await.unwrap();
    devnet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_run_has_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path()).await;
    let block = folder.path().join("ledger/peers/peer0.org1.example.com/channels/mychannel.block");
    std::fs::write(&block, b"rubbish").unwrap();
    let error = builder(folder.path()).start().await.unwrap_err();
    assert!(matches!(&error, DevnetError::Kept { what, .. } if what.contains("mychannel")), "{error:?}");
}

/// The program with a network in `folder`, once it runs.
fn run(folder: &Path) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_opssc-agent"))
        .args(["devnet", "up", "--bare", "--dir"])
        .arg(folder)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("it runs until")), "it did not come up");
    child
}

fn order(folder: &Path, order: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opssc-agent"));
    command.args(["devnet", "ctl", "--dir"]).arg(folder).args(order).output().unwrap()
}

#[test]
fn a_process_that_is_killed_goes_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let mut child = run(folder.path());
        let told = order(folder.path(), &["nodes"]);
        nodes.push(String::from_utf8(told.stdout).unwrap());
        let wrong = order(folder.path(), &["stop", "peer9.org9"]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((told.status.code(), wrong.status.code()), (Some(0), Some(1)));
    }
    assert_eq!(nodes[0].lines().count(), 4);
    assert_eq!(nodes[0], nodes[1], "the addresses stay");
    assert_eq!(order(folder.path(), &["nodes"]).status.code(), Some(1), "nobody listens any more");
}
