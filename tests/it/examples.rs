//! The examples, each run as a user would, against the embedded network.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use opssc::chaincode::asset::AssetContract;
use opssc::devnet::Devnet;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, ChannelName};

macro_rules! example {
    ($name:ident, $path:literal) => {
        #[allow(dead_code, clippy::print_stdout, reason = "its main function is not called")]
        #[path = $path]
        mod $name;
    };
}

example!(deploy_chaincode, "../../examples/deploy_chaincode.rs");
example!(evaluate, "../../examples/evaluate.rs");
example!(events, "../../examples/events.rs");
example!(offline_signing, "../../examples/offline_signing.rs");
example!(submit, "../../examples/submit.rs");

/// What an example is called with: who acts, then the rest.
fn arguments(devnet: &Devnet, organization: usize, admin: bool, rest: &[&str]) -> Vec<String> {
    let organization = &devnet.organizations()[organization];
    let msp = if admin { &organization.admin_msp } else { &organization.user_msp };
    let who = [
        organization.connection_profile.to_str().unwrap().to_owned(),
        organization.msp_id.to_string(),
        msp.to_str().unwrap().to_owned(),
        "mychannel".to_owned(),
    ];
    who.into_iter().chain(rest.iter().map(ToString::to_string)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_do_what_they_say() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let channel = ChannelName::parse("mychannel")?;
    let asset = ChaincodeName::parse("asset")?;
    let devnet = Devnet::builder(folder.path())
        .channel(channel.clone())
        .native(asset.clone(), Arc::new(AssetContract))
        .batch_timeout(Duration::from_millis(50))
        .start()
        .await?;
    devnet.deploy_native(&channel, &ChaincodeDefinition::new(asset, "1", 1)).await?;

    let create = ["asset", "CreateAsset", "a1", "blue", "5", "tom", "300"];
    let submitted = submit::run(&arguments(&devnet, 0, false, &create)).await?;
    assert!(submitted.contains("is in block"), "{submitted}");
    let transfer = ["asset", "TransferAsset", "a1", "Tomoko"];
    let signed = offline_signing::run(&arguments(&devnet, 1, false, &transfer)).await?;
    assert!(signed.contains("is VALID in block"), "{signed}");
    devnet.settled(&channel).await;
    let read = evaluate::run(&arguments(&devnet, 0, false, &["asset", "ReadAsset", "a1"])).await?;
    assert!(read.contains("Tomoko"), "{read}");
    let events = events::run(&arguments(&devnet, 1, false, &["asset"])).await?;
    let names: Vec<&str> = events.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(names, ["CreateAsset", "TransferAsset"], "{events}");

    let deploy = ["other", "1", "localhost:9999"];
    let first = deploy_chaincode::run(&arguments(&devnet, 0, true, &deploy)).await?;
    assert!(first.contains("approved by 1 of 2 organizations, 2 are needed"), "{first}");
    devnet.settled(&channel).await;
    let second = deploy_chaincode::run(&arguments(&devnet, 1, true, &deploy)).await?;
    assert!(second.contains("[New]") && second.ends_with("})"), "{second}");
    devnet.settled(&channel).await;
    let again = deploy_chaincode::run(&arguments(&devnet, 0, true, &deploy)).await?;
    assert!(again.ends_with("[Already]\nAlready\nAlready"), "{again}");

    for outcome in [
        deploy_chaincode::run(&[]).await,
        evaluate::run(&[]).await,
        events::run(&[]).await,
        offline_signing::run(&[]).await,
        submit::run(&[]).await,
    ] {
        assert!(outcome.unwrap_err().to_string().starts_with("usage: "));
    }
    Ok(())
}
