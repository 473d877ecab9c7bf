//! The contracts against recordings of the original's, and what ours does otherwise.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;

use super::{ChaincodeOps, ChannelOps, Mode};
use crate::chaincode::memory::{Call, Conflict, Ledger, Simulated};
use crate::fabric::names::MspId;
use crate::pb::common::{ConfigGroup, ConfigUpdate};
use crate::pb::msp::SerializedIdentity;

/// One call, and what the original answered.
#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    title: String,
    /// The ledger begins anew.
    #[serde(default)]
    reset: bool,
    contract: String,
    org: String,
    seconds: i64,
    #[serde(default)]
    nanos: i32,
    /// The arguments, as text or in base64.
    #[serde(default)]
    text: Vec<String>,
    #[serde(default)]
    bytes: Vec<String>,
    /// How many times `x` each `@@` stands for.
    #[serde(default)]
    repeat: usize,
    #[serde(default)]
    init: bool,
    expected: Expected,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Expected {
    status: i32,
    message: String,
    payload: String,
    event: Vec<String>,
    writes: Vec<(String, String, Option<String>)>,
    reads: Vec<(String, String)>,
    ranges: Vec<(String, String, String)>,
}

fn ledger(mode: Mode) -> Ledger {
    Ledger::default()
        .with("channel-ops", Arc::new(ChannelOps::new(mode)))
        .with("chaincode-ops", Arc::new(ChaincodeOps::default()))
}

impl Expected {
    /// What ours answers, with `@@` in place of `long`.
    fn of(simulated: &Simulated, long: &str) -> Self {
        let short = |text: &str| if long.is_empty() { text.to_owned() } else { text.replace(long, "@@") };
        let text = |bytes: &[u8]| short(std::str::from_utf8(bytes).expect("contracts write UTF-8"));
        let response = &simulated.response;
        let answer = Self {
            status: response.status,
            message: short(&response.message),
            payload: text(&response.payload),
            ..Self::default()
        };
        if response.status >= 400 {
            return answer;
        }
        let mut answer = Self {
            event: simulated.event.iter().flat_map(|event| [short(&event.name), text(&event.payload)]).collect(),
            ..answer
        };
        for contract in ["chaincode-ops", "channel-ops"] {
            let writes = simulated.writes(contract).into_iter();
            answer
                .writes
                .extend(writes.map(|(key, value)| (contract.to_owned(), short(key), value.map(|value| text(value)))));
            let reads = simulated.reads(contract).into_iter();
            answer.reads.extend(reads.map(|key| (contract.to_owned(), short(key))));
            let ranges = simulated.ranges(contract).into_iter();
            answer.ranges.extend(ranges.map(|(start, end)| (contract.to_owned(), short(start), short(end))));
        }
        answer
    }

    /// What other libraries say about a malformed argument is not ours to repeat; that they refuse it is.
    fn without_foreign_words(mut self) -> Self {
        for words in ["did not match schema:", "base64 string:", "common.ConfigUpdate:", "common.ConfigSignature:"] {
            if let Some(at) = self.message.find(words) {
                self.message.truncate(at + words.len());
            }
        }
        self
    }
}

async fn replay(cases: &str) {
    let mut ledger = ledger(Mode::Original);
    let mut different = Vec::new();
    for (number, line) in cases.lines().enumerate() {
        let case: Case = serde_json::from_str(line).unwrap();
        if case.reset {
            ledger = super::tests::ledger(Mode::Original);
        }
        let long = "x".repeat(case.repeat);
        let args = case.text.iter().map(|arg| Bytes::from(arg.replace("@@", &long)));
        let args = args.chain(case.bytes.iter().map(|arg| BASE64_STANDARD.decode(arg).unwrap().into())).collect();
        ledger.set_timestamp(prost_types::Timestamp { seconds: case.seconds, nanos: case.nanos });
        let creator = SerializedIdentity { mspid: case.org.clone(), id_bytes: Bytes::from_static(b"certificate") };
        let call = if case.init { Call::Init } else { Call::Invoke };
        let simulated = ledger.simulate_as(&case.contract, creator.encode_to_vec().into(), args, call).await;
        let _ = ledger.commit(&simulated);
        let answer = format!("{:#?}", Expected::of(&simulated, &long).without_foreign_words());
        let expected = format!("{:#?}", case.expected.without_foreign_words());
        if answer != expected {
            let Case { title, text, org, .. } = case;
            different
                .push(format!("line {}: {title} {text:?} by {org}\nours {answer}\noriginal {expected}", number + 1));
        }
    }
    assert!(different.is_empty(), "{} answers differ:\n{}", different.len(), different.join("\n"));
}

macro_rules! recordings {
    ($($name:ident = $file:literal),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            replay(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/opssc-contracts/", $file, ".jsonl"))).await;
        })+
    };
}

recordings! {
    channels_as_the_original = "channels",
    channel_types_as_the_original = "channel-types",
    proposals_as_the_original = "proposals",
    large_proposals_as_the_original = "large",
    votes_as_the_original = "votes",
    voting_config_as_the_original = "voting-config",
    withdrawal_as_the_original = "withdrawal",
    acknowledgements_as_the_original = "acknowledgements",
    channel_proposals_as_the_original = "channel-proposals",
}

fn org(number: usize) -> MspId {
    MspId::parse(format!("Org{number}MSP")).unwrap()
}

/// A ledger on which three organizations have voted for a channel update with these sets.
async fn voted(mode: Mode, read: Option<ConfigGroup>, write: ConfigGroup) -> Ledger {
    let mut ledger = ledger(mode);
    let members = r#"["Org1MSP","Org2MSP","Org3MSP"]"#;
    ledger.submit("channel-ops", &org(1), &["CreateChannel", "mychannel", "", members]).await.unwrap();
    let update =
        ConfigUpdate { channel_id: "mychannel".into(), read_set: read, write_set: Some(write), ..Default::default() };
    let update = BASE64_STANDARD.encode(update.encode_to_vec());
    let input =
        format!(r#"{{"ID":"c","channelID":"mychannel","opsProfile":null,"configUpdate":"{update}","signature":""}}"#);
    ledger.submit("channel-ops", &org(1), &["RequestProposal", &input]).await.unwrap();
    ledger.submit("channel-ops", &org(2), &["Vote", "c", ""]).await.unwrap();
    ledger
}

fn group(version: u64, members: &[(&str, ConfigGroup)]) -> ConfigGroup {
    let groups = members.iter().map(|(name, group)| ((*name).to_owned(), group.clone())).collect();
    ConfigGroup { version, groups, ..Default::default() }
}

fn named(version: u64, members: &[&str]) -> ConfigGroup {
    group(version, &members.iter().map(|name| (*name, ConfigGroup::default())).collect::<Vec<_>>())
}

#[tokio::test]
async fn members_change_only_with_the_group() {
    let application = |version, members: &[&str]| group(0, &[("Application", named(version, members))]);
    let consortium =
        |version, members: &[&str]| group(0, &[("Consortiums", group(0, &[("C", named(version, members))]))]);
    let all = r#"["Org1MSP","Org2MSP","Org3MSP"]"#;
    for (title, read, write, fixed, original) in [
        (
            "a member more",
            application(1, &[]),
            application(2, &["Org1MSP", "Org4MSP"]),
            r#"["Org1MSP","Org4MSP"]"#,
            r#"["Org1MSP","Org4MSP"]"#,
        ),
        ("no member left", application(1, &[]), application(2, &[]), "[]", "[]"),
        ("a policy of the group", application(1, &[]), application(1, &[]), all, "[]"),
        ("an anchor peer", application(1, &["Org1MSP"]), application(1, &["Org1MSP"]), all, r#"["Org1MSP"]"#),
        ("a consortium's member", consortium(1, &[]), consortium(2, &["Org1MSP"]), r#"["Org1MSP"]"#, r#"["Org1MSP"]"#),
        ("a consortium's policy", consortium(1, &[]), consortium(1, &[]), all, "[]"),
        ("another group", group(0, &[]), group(0, &[("Orderer", named(2, &[]))]), all, all),
    ] {
        for (mode, members) in [(Mode::Fixed, fixed), (Mode::Original, original)] {
            let mut ledger = voted(mode, Some(read.clone()), write.clone()).await;
            let notified = ledger.submit("channel-ops", &org(2), &["NotifyCommitResult", "c"]).await.unwrap();
            let event = notified.event.map(|event| event.name);
            let expected = (title != "another group").then(|| "updateConfigEvent.c".to_owned());
            assert_eq!(event, expected, "for {title}, {mode:?}");
            let read = ledger.simulate("channel-ops", &org(1), &["GetOrganizationsInChannel", "mychannel"]).await;
            assert_eq!(read.response.payload, members, "for {title}, {mode:?}");
        }
    }
}

#[tokio::test]
async fn a_channel_that_is_not_known_yet_is_taken_over() {
    for mode in [Mode::Fixed, Mode::Original] {
        let mut ledger = ledger(mode);
        let system = ["CreateChannel", "system-channel", "system", r#"["Org1MSP"]"#];
        ledger.submit("channel-ops", &org(1), &system).await.unwrap();
        let write = group(0, &[("Application", named(0, &["Org1MSP", "Org2MSP"]))]);
        let update = ConfigUpdate { channel_id: "new".into(), write_set: Some(write), ..Default::default() };
        let update = BASE64_STANDARD.encode(update.encode_to_vec());
        let input = format!(
            r#"{{"ID":"c","channelID":"new","action":"create","opsProfile":[],"configUpdate":"{update}","signature":""}}"#
        );
        ledger.submit("channel-ops", &org(1), &["RequestProposal", &input]).await.unwrap();
        ledger.submit("channel-ops", &org(1), &["Vote", "c", ""]).await.unwrap();
        ledger.submit("channel-ops", &org(1), &["NotifyCommitResult", "c"]).await.unwrap();
        let read = ledger.simulate("channel-ops", &org(1), &["ReadChannel", "new"]).await;
        let expected = r#"{"docType":"channel","ID":"new","channelType":"application","organizations":{"Org1MSP":"","Org2MSP":""}}"#;
        assert_eq!(read.response.payload, expected);
    }
}

/// A ledger on which a proposal for a channel of two organizations is approved.
async fn approved() -> Ledger {
    let mut ledger = ledger(Mode::Fixed);
    let members = r#"["Org1MSP","Org2MSP"]"#;
    ledger.submit("channel-ops", &org(1), &["CreateChannel", "mychannel", "", members]).await.unwrap();
    let input = r#"{"ID":"p","channelID":"mychannel","chaincodeName":"basic","chaincodePackage":{"repository":"a/b","commitID":"c","type":"ccaas"},"chaincodeDefinition":{"sequence":1,"initRequired":false,"validationParameter":"L0E="}}"#;
    ledger.submit("chaincode-ops", &org(1), &["RequestProposal", input]).await.unwrap();
    ledger.submit("chaincode-ops", &org(2), &["Vote", r#"{"proposalID":"p"}"#]).await.unwrap();
    ledger
}

#[tokio::test]
async fn acknowledgements_at_once_collide() {
    let mut ledger = approved().await;
    let acknowledge = ["Acknowledge", r#"{"proposalID":"p"}"#];
    let first = ledger.simulate("chaincode-ops", &org(1), &acknowledge).await;
    let second = ledger.simulate("chaincode-ops", &org(2), &acknowledge).await;
    ledger.commit(&first).unwrap();
    assert!(matches!(ledger.commit(&second), Err(Conflict::Phantom { .. })), "neither has seen the other");
    let again = ledger.submit("chaincode-ops", &org(2), &acknowledge).await.unwrap();
    assert_eq!(again.event.unwrap().name, "deployEvent.p");
}

#[tokio::test]
async fn votes_at_once_collide() {
    let mut ledger = approved().await;
    let members = r#"["Org1MSP","Org2MSP","Org3MSP","Org4MSP"]"#;
    ledger.submit("channel-ops", &org(1), &["SetOrganizations", "mychannel", members]).await.unwrap();
    let input = r#"{"ID":"q","channelID":"mychannel","chaincodeName":"basic","chaincodePackage":{"repository":"a/b","commitID":"c","type":"ccaas"},"chaincodeDefinition":{"sequence":2,"initRequired":false,"validationParameter":"L0E="}}"#;
    ledger.submit("chaincode-ops", &org(1), &["RequestProposal", input]).await.unwrap();
    let vote = ["Vote", r#"{"proposalID":"q"}"#];
    let second = ledger.simulate("chaincode-ops", &org(2), &vote).await;
    let third = ledger.simulate("chaincode-ops", &org(3), &vote).await;
    ledger.commit(&second).unwrap();
    assert!(matches!(ledger.commit(&third), Err(Conflict::Phantom { .. })));
    assert_eq!(
        ledger.submit("chaincode-ops", &org(3), &vote).await.unwrap().event.unwrap().name,
        "prepareToDeployEvent.q"
    );
}

#[tokio::test]
async fn a_missing_channel_ops_is_told() {
    let mut ledger = Ledger::default().with("chaincode-ops", Arc::new(ChaincodeOps::default()));
    let input = r#"{"ID":"p","channelID":"c","chaincodeName":"n","chaincodePackage":{"repository":"","commitID":"c","type":"t"},"chaincodeDefinition":{"sequence":1,"initRequired":true,"validationParameter":"L0E="}}"#;
    let refused = ledger.submit("chaincode-ops", &org(1), &["RequestProposal", input]).await.unwrap_err();
    assert!(refused.to_string().contains("chaincode channel-ops not found"), "{refused}");
}

#[tokio::test]
async fn a_creator_that_is_none_is_refused() {
    let mut ledger = approved().await;
    let args = vec![Bytes::from_static(b"Vote"), Bytes::from_static(br#"{"proposalID":"p"}"#)];
    let broken = ledger.simulate_as("chaincode-ops", Bytes::from_static(b"\xff"), args, Call::Invoke).await;
    assert_eq!(broken.response.message, "the voting is already closed");
    let args = vec![Bytes::from_static(b"Acknowledge"), Bytes::from_static(br#"{"proposalID":"p"}"#)];
    let broken = ledger.simulate_as("chaincode-ops", Bytes::from_static(b"\xff"), args, Call::Invoke).await;
    assert!(broken.response.message.contains("failed to get MSP ID"), "{:?}", broken.response);
}

#[test]
fn modes_are_read() {
    assert_eq!(Mode::parse("fixed"), Ok(Mode::Fixed));
    assert_eq!(Mode::parse("original"), Ok(Mode::Original));
    assert!(Mode::parse("Original").is_err());
}

proptest::proptest! {
    #[test]
    fn no_arguments_make_a_contract_panic(function in "[A-Za-z:]{0,20}|Vote|RequestProposal|Acknowledge|GetHistories", args: Vec<Vec<u8>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let args: Vec<Bytes> = std::iter::once(function.into_bytes()).chain(args).map(Bytes::from).collect();
        for contract in ["channel-ops", "chaincode-ops"] {
            let simulate = async { ledger(Mode::Fixed).simulate_as(contract, Bytes::new(), args.clone(), Call::Invoke).await };
            runtime.block_on(simulate);
        }
    }
}
