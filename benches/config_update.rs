//! An update of a channel of 200 organizations: how long it takes to compute, beside configtxlator.
//!
//! With `FABRIC_BIN`, a folder with `configtxlator`, both programs compute the same update, and the run fails when theirs
//! differ. Plain measurements without a framework: the median of a few runs.

#![allow(clippy::print_stdout, reason = "a measurement is printed")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken ends with the line")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use opssc::fabric::config::edit::Operation;
use opssc::fabric::config::tree::{Config, ConfigUpdate, Policy};
use opssc::fabric::config::update::compute;
use opssc::fabric::policy::dsl;
use opssc::pb::common::policy::PolicyType;
use opssc::pb::msp::{FabricMspConfig, MspConfig};
use prost::Message as _;

const ORGANIZATIONS: usize = 200;
const ROUNDS: usize = 11;
const CHANNEL: &str = "mychannel";

/// A channel of so many organizations, made of one that configtxgen has made.
fn channel() -> Config {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/config-update/bases/raft3.config.pb");
    let mut config = Config::decode(&std::fs::read(path).unwrap()).unwrap();
    let application = config.channel_group.as_mut().unwrap().group_mut(&["Application"]).unwrap();
    let one = application.groups.remove("Org1MSP").unwrap();
    application.groups.clear();
    for number in 0..ORGANIZATIONS {
        let name = format!("Org{number}MSP");
        let mut member = one.clone();
        let value = member.values.get_mut("MSP").unwrap();
        let mut msp = MspConfig::decode(value.value.clone()).unwrap();
        let mut fabric = FabricMspConfig::decode(msp.config).unwrap();
        fabric.name.clone_from(&name);
        msp.config = fabric.encode_to_vec().into();
        value.value = msp.encode_to_vec().into();
        for policy in member.policies.values_mut() {
            let rule = dsl::parse(&format!("OR('{name}.admin', '{name}.peer', '{name}.client')")).unwrap();
            policy.policy = Some(Policy::new(PolicyType::Signature as i32, rule.encode_to_vec()));
        }
        application.groups.insert(name, member);
    }
    config
}

/// One organization less, and other ACLs.
fn changed(before: &Config) -> Config {
    let list = "[{Command: remove-org, Parameters: {OrgType: Application, OrgName: Org7MSP}},\n \
                {Command: set-acls, Parameters: {ACLs: {qscc/GetChainInfo: /Channel/Application/Admins}}}]";
    let mut after = before.clone();
    for operation in Operation::parse_all(list).unwrap() {
        operation.apply(&mut after, None).unwrap();
    }
    after
}

/// The median of some rounds.
fn median(mut round: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            round();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn program(program: &Path, first: &[&str], folder: &Path, output: &str) -> (Duration, ConfigUpdate) {
    let file = |name: &str| folder.join(name).into_os_string();
    let run = || {
        let status = Command::new(program)
            .args(first)
            .args(["compute_update", "--channel_id", CHANNEL])
            .arg("--original")
            .arg(file("original.pb"))
            .arg("--updated")
            .arg(file("updated.pb"))
            .arg("--output")
            .arg(file(output))
            .status()
            .unwrap();
        assert!(status.success(), "{}", program.display());
    };
    let took = median(run);
    (took, ConfigUpdate::decode(&std::fs::read(file(output)).unwrap()).unwrap().canonical())
}

fn main() {
    let (original, updated) = (channel(), changed(&channel()));
    let (before, after) = (original.encode(), updated.encode());
    println!("channel of {ORGANIZATIONS} organizations, {} KB; median of {ROUNDS} rounds", before.len() / 1024);
    let in_process = median(|| {
        let (before, after) = (Config::decode(&before).unwrap(), Config::decode(&after).unwrap());
        std::hint::black_box(compute(CHANNEL, &before, &after).unwrap().encode());
    });
    println!("decode, compute, encode   {in_process:>12.2?}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("original.pb"), &before).unwrap();
    std::fs::write(folder.path().join("updated.pb"), &after).unwrap();
    let ours = Path::new(env!("CARGO_BIN_EXE_opssc-agent"));
    let (took, ours) = program(ours, &["configtx"], folder.path(), "ours.pb");
    println!("opssc-agent configtx      {took:>12.2?}");
    let Some(theirs) = std::env::var_os("FABRIC_BIN").map(|folder| PathBuf::from(folder).join("configtxlator")) else {
        println!("configtxlator             skipped: FABRIC_BIN is not set");
        return;
    };
    if !theirs.is_file() {
        println!("configtxlator             skipped: there is none in FABRIC_BIN");
        return;
    }
    let (took, theirs) = program(&theirs, &[], folder.path(), "theirs.pb");
    println!("configtxlator             {took:>12.2?}");
    assert!(ours == theirs, "the two updates differ");
    println!("the two updates are equal");
}
