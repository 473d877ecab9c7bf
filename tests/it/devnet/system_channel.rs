//! Orderers with a system channel, as before Fabric 3.0, as administrators meet them.

use std::time::Duration;

use opssc::client::Updated;
use opssc::client::participation::BlockId;
use opssc::devnet::{Builder, Devnet, DevnetError};
use opssc::fabric::config::edit::Operation;
use opssc::fabric::config::tree::Config;
use opssc::fabric::config::update;
use opssc::fabric::names::ChannelName;
use opssc::pb::common::ConfigUpdateEnvelope;
use serde_json::json;

use super::participation::program;
use super::{channel_name, org};

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

fn builder(folder: &std::path::Path) -> Builder {
    Devnet::builder(folder).keep(true).channel(channel_name()).batch_timeout(Duration::from_millis(20))
}

/// A channel of these organizations, as people write it down.
pub(crate) fn profile(organizations: &[&str]) -> serde_json::Value {
    let implicit = |rule: &str| json!({"Type": "ImplicitMeta", "Rule": rule});
    json!({
        "Consortium": "SampleConsortium",
        "Application": {
            "Policies": {
                "Readers": implicit("ANY Readers"),
                "Writers": implicit("ANY Writers"),
                "Admins": implicit("MAJORITY Admins"),
                "Endorsement": implicit("MAJORITY Endorsement"),
                "LifecycleEndorsement": implicit("MAJORITY Endorsement"),
            },
            "Capabilities": ["V2_5"],
            "Organizations": organizations,
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_makes_a_channel_by_way_of_the_system_channel() {
    let folder = tempfile::tempdir().unwrap();
    let devnet = builder(folder.path()).system_channel(name("system-channel")).start().await.unwrap();
    let [one, two] = devnet.organizations() else { panic!("two organizations") };
    let file = |name: &str, organizations: &[&str]| {
        let path = folder.path().join(name);
        std::fs::write(&path, profile(organizations).to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let both = file("both.json", &["Org1MSP", "Org2MSP"]);
    for (organization, expected) in [(one, "fresh is made"), (two, "fresh had been made from this")] {
        let (code, said) = program(organization, &["channel", "create", "-c", "fresh", "--configtx", &both]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(expected) && said.contains(" joined"), "{said}");
        let (code, said) = program(organization, &["orderer", "list"]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("fresh "), "{said}");
    }
    let strange = file("strange.json", &["Org1MSP", "Org9MSP"]);
    let (code, said) = program(two, &["channel", "create", "-c", "strange", "--configtx", &strange]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Attempted to include member Org9MSP which is not in the consortium"), "{said}");
    let block = devnet.first_block(&name("joined")).unwrap();
    let (code, said) = program(two, &["orderer", "join", "-c", "joined", "-b", block.to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("system channel exists"), "{said}");
    devnet.shutdown().await.unwrap();

    // What is kept has its system channel for good.
    let other = builder(folder.path()).system_channel(name("other")).start().await.unwrap_err();
    assert!(matches!(other, DevnetError::Plan(_)), "{other:?}");
    let devnet = builder(folder.path()).start().await.unwrap();
    assert_eq!(devnet.system_channel(), Some(&name("system-channel")));
    assert_eq!(devnet.height(&name("fresh")), Some(1));
    devnet.create_channel(&name("later")).await.unwrap();
    let client = devnet.admin(&org(2)).unwrap();
    assert_eq!(client.channel(name("later")).config().await.unwrap().sequence(), 1);
    devnet.shutdown().await.unwrap();
}

/// An agent that was away for long hands in what others did in its absence: more than 64 configurations later, that was
/// told as refused for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_was_made_long_ago_is_recognized() {
    let folder = tempfile::tempdir().unwrap();
    let system = name("system-channel");
    let devnet = builder(folder.path()).system_channel(system.clone()).start().await.unwrap();
    let client = devnet.admin(&org(1)).unwrap();
    let began = devnet.height(&system).unwrap();
    let mut first = None;
    for number in 1..=66 {
        let before = Config::from_block(&client.fetch_block(&system, BlockId::Config).await.unwrap()).unwrap();
        let mut after = before.clone();
        let endpoints = json!([{"Command": "set-orderer-endpoints", "Parameters":
            {"OrgName": "Org1MSP", "OrdererEndpoints": [format!("127.0.0.1:{number}")]}}]);
        for operation in Operation::parse_all(&endpoints.to_string()).unwrap() {
            operation.apply(&mut after, None).unwrap();
        }
        let config_update = update::compute(system.as_str(), &before, &after).unwrap().encode();
        let signature = client.sign_config_update(&config_update).await.unwrap();
        let update = ConfigUpdateEnvelope { config_update, signatures: vec![signature] };
        // To be told takes longer than to be ordered, and is not what is tested here.
        tokio::select! {
            made = client.submit_orderers_update(&system, &update) => {
                assert_eq!(made.unwrap(), Updated::New { block: began + number - 1 });
            }
            () = devnet.ordered(&system, began + number) => {}
        }
        first.get_or_insert(update);
    }
    let again = client.submit_orderers_update(&system, &first.unwrap()).await.unwrap();
    assert_eq!(again, Updated::Already { block: began });
    devnet.shutdown().await.unwrap();
}
