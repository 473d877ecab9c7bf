//! What people are shown of real configurations.

use super::*;
use crate::fabric::config::tree::ConfigUpdate;
use crate::fabric::config::update::apply;

fn config(path: &str) -> Config {
    let path = format!("{}/testdata/golden/config-update/{path}.config.pb", env!("CARGO_MANIFEST_DIR"));
    Config::decode(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_summary_tells_who_may_do_what() {
    for (base, expected) in [
        ("bases/raft3", "policy LifecycleEndorsement: MAJORITY Endorsement"),
        ("bases/raft3", "policy Admins: OutOf(1, 'Org1MSP.admin')"),
        ("bases/raft3", "metadata.consenters.2.host: orderer3.ord1.example.com"),
        ("bases/raft3", "max_message_count: 10"),
        ("bases/raft3", "capabilities.V3_0: yes"),
        ("bases/raft3", "config.root_certs.0: certificate of "),
        ("bases/bft4", "policy BlockValidation: OutOf(3, "),
    ] {
        let lines = summary(&config(base)).join("\n");
        assert!(lines.contains(expected), "{base} lacks {expected}:\n{lines}");
    }
}

#[test]
fn a_difference_names_the_fields() {
    for (case, expected) in [
        ("batch-size", &["~ [Value]  /Channel/Orderer/BatchSize", "max_message_count: 10 -> "][..]),
        ("app-policy", &["~ [Policy] /Channel/Application/", " -> "]),
        ("remove-org", &["- [Group]  /Channel/Application/Org", "- [Value]  /Channel/Application/Org"]),
        ("add-org", &["+ [Group]  /Channel/Application/Org", "certificate of "]),
        ("mod-policy-group", &["~ [Group]  /Channel/Application", "mod_policy: Admins -> /Channel/Orderer/Admins"]),
    ] {
        let shown = diff(&config("bases/raft3"), &config(&format!("{case}/updated"))).unwrap();
        let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
        for text in expected {
            assert!(shown.join("\n").contains(text), "{case} lacks {text}:\n{}", shown.join("\n"));
        }
    }
    assert_eq!(diff(&config("bases/raft3"), &config("no-op/updated")).unwrap(), []);
}

#[test]
fn an_update_shows_what_it_makes_of_the_configuration() {
    let before = config("bases/raft3");
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/config-update/several/expected.update.canonical.pb");
    let update = ConfigUpdate::decode(&std::fs::read(path).unwrap()).unwrap();
    let root = before.channel_group.as_ref().unwrap();
    let group = apply(root, &update, "mychannel", |_| Ok(())).unwrap();
    let after = Config { channel_group: Some(group), ..Config::default() };
    assert_eq!(diff(&before, &after).unwrap(), diff(&before, &config("several/updated")).unwrap());
}
