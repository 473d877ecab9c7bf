//! The commands end to end, over files.

use std::path::Path;
use std::process::ExitCode;

use super::*;

fn golden(path: &str) -> String {
    format!("{}/testdata/golden/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn run(arguments: &[&str]) -> bool {
    let arguments = ["opssc-agent", "configtx"].iter().chain(arguments);
    crate::cli::main(arguments, |_| None) == ExitCode::from(0)
}

fn same(ours: &Path, expected: &str) {
    let ours = ConfigUpdate::decode(&std::fs::read(ours).unwrap()).unwrap().canonical().encode();
    assert_eq!(ours, std::fs::read(golden(expected)).unwrap(), "{expected}");
}

#[test]
fn updates_are_those_of_the_tools() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.pb");
    let file = out.to_str().unwrap();
    let (original, updated) =
        (golden("config-update/bases/raft3.config.pb"), golden("config-update/batch-size/updated.config.pb"));
    let compute = ["--original", &original, "--channel_id", "mychannel", "--output", file];
    assert!(run(&[&["compute_update", "--updated", &updated][..], &compute].concat()));
    same(&out, "config-update/batch-size/expected.update.canonical.pb");
    assert!(!run(&[&["compute_update", "--updated", &original][..], &compute].concat()), "no difference");

    let block = golden("configtx-cli/blocks/mychannel.block");
    let profile = golden("configtx-cli/set-channel/profile.yaml");
    let edit = ["--channelID", "mychannel", "--block", &block, "--outputFormat", "delta", "--output", file];
    assert!(run(&[&["set-channel", "--profile", &profile][..], &edit].concat()));
    same(&out, "configtx-cli/set-channel/expected.update.canonical.pb");
    assert!(run(&[&["remove-org", "--orgName", "Org3MSP"][..], &edit].concat()));
    same(&out, "configtx-cli/remove-org/expected.update.canonical.pb");
    assert!(!run(&[&["remove-org", "--orgName", "Nobody"][..], &edit].concat()));
    assert!(run(&["diff", "--original", &block, "--update", file]));
    assert!(run(&["show", "--block", &block]));
}

#[test]
fn messages_go_through_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let config = golden("config-update/bases/bft4.config.pb");
    let (json, again) = (path("config.json"), path("config.pb"));
    assert!(run(&["decode", "--type", "common.Config", "--input", &config, "--output", &json]));
    assert!(run(&["encode", "--type", "common.Config", "--input", &json, "--output", &again]));
    let canonical = Config::decode(&std::fs::read(&config).unwrap()).unwrap().canonical();
    assert_eq!(std::fs::read(&again).unwrap(), canonical.encode());
    assert!(!run(&["decode", "--type", "common.Nothing", "--input", &config]));
}

#[test]
fn signatures_make_an_envelope() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("signature.pb");
    let of = |name: &str| golden(&format!("config-sign/p256-pkcs8/{name}"));
    let (update, cert, key) = (of("update.pb"), of("cert.pem"), of("key.pem"));
    let sign = ["sign", "--config-update", &update, "--mspID", "SigMSP", "--cert", &cert, "--key", &key];
    assert!(run(&[&sign[..], &["--output", out.to_str().unwrap()]].concat()));
    let signature = crate::pb::common::ConfigSignature::decode(std::fs::read(&out).unwrap().as_slice()).unwrap();
    assert!(!signature.signature.is_empty());
    let ed25519 = golden("config-sign/ed25519");
    let (cert, key) = (format!("{ed25519}/cert.pem"), format!("{ed25519}/key.pem"));
    let sign = ["sign", "--config-update", &update, "--mspID", "SigMSP", "--cert", &cert, "--key", &key];
    assert!(!run(&sign));
    assert!(run(&[&sign[..], &["--allow-ed25519", "--output", out.to_str().unwrap()]].concat()));
    let profile = golden("config-envelope/two-signatures/profile.yaml");
    assert!(run(&["create-envelope", "--profile", &profile, "--output", out.to_str().unwrap()]));
}

#[test]
fn whole_channels_come_from_a_configtx_yaml() {
    let folder = tempfile::tempdir().unwrap();
    let tree: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden("genesis-configtxgen/crypto.tree.json")).unwrap()).unwrap();
    for entry in tree["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "file") {
        let path = folder.path().join(entry["path"].as_str().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, entry["text"].as_str().unwrap_or_default()).unwrap();
    }
    let profile = folder.path().join("configtx.yaml");
    std::fs::copy(golden("genesis-configtxgen/raft-2orgs/configtx.yaml"), &profile).unwrap();
    let (update, block) = (folder.path().join("update.pb"), folder.path().join("genesis.block"));
    let arguments = ["create-channel", "--channel-id", "ch", "--profile", profile.to_str().unwrap()];
    let outputs = ["--output", update.to_str().unwrap(), "--genesis-block", block.to_str().unwrap()];
    let more = ["--profile-name", "P", "--output-format", "delta"];
    assert!(run(&[&arguments[..], &outputs, &more].concat()));
    let made = config(&block).unwrap();
    let voted = ConfigUpdate::decode(&std::fs::read(&update).unwrap()).unwrap();
    assert_eq!(made.channel_group, voted.write_set);
    channel_config("ch", &made).unwrap();
}
