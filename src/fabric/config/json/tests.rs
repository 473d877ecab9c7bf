//! JSON beside configtxlator's, and the table beside Fabric's descriptors.

use proptest::prelude::*;

use super::schema::{Kind, Shape};
use super::*;

fn golden(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/golden/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn configurations_are_configtxlators() {
    for base in ["raft1", "raft3", "bft4"] {
        let expected: Value =
            serde_json::from_slice(&golden(&format!("config-update/bases/{base}.config.json"))).unwrap();
        let bytes = golden(&format!("config-update/bases/{base}.config.pb"));
        let ours = decode("common.Config", &bytes).unwrap();
        assert_eq!(ours, expected, "{base}");
        let tree = super::super::tree::Config::decode(&bytes).unwrap();
        assert_eq!(encode("common.Config", &ours).unwrap(), tree.canonical().encode(), "{base}");
    }
}

#[test]
fn blocks_go_there_and_back() {
    for block in ["blocks/00-genesis", "blocks/26-config-update", "blocks/07-single"] {
        let bytes = golden(&format!("{block}/block.pb"));
        let json = decode("common.Block", &bytes).unwrap();
        let again = encode("common.Block", &json).unwrap();
        assert_eq!(decode("common.Block", &again).unwrap(), json, "{block}");
    }
    let json = decode("common.Block", &golden("blocks/00-genesis/block.pb")).unwrap();
    let config = json.pointer("/data/data/0/payload/data/config/channel_group/groups/Application").unwrap();
    assert_eq!(config["groups"]["Org1MSP"]["values"]["MSP"]["value"]["config"]["name"], "Org1MSP");
}

/// A block with everything that transactions hold, beside what configtxlator 3.1.5 makes of it.
#[test]
fn transactions_are_configtxlators() {
    for block in ["03-commit-golden", "07-single", "10-mvcc", "22-private", "26-config-update", "00-genesis"] {
        let expected = golden(&format!("blocks/{block}/block.pb"));
        let path = format!("{}/testdata/configtxlator/{block}.json", env!("CARGO_MANIFEST_DIR"));
        let expected_json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let ours = decode("common.Block", &expected).unwrap();
        assert_eq!(ours, expected_json, "{block}");
        let again = encode("common.Block", &ours).unwrap();
        assert_eq!(decode("common.Block", &again).unwrap(), ours, "{block}");
    }
    let json = decode("common.Block", &golden("blocks/07-single/block.pb")).unwrap();
    let action = json.pointer("/data/data/0/payload/data/actions/0/payload").unwrap();
    let written = action.pointer("/action/proposal_response_payload/extension/results/ns_rwset/1/rwset/writes/0/key");
    assert_eq!(written.unwrap(), "k1");
}

/// An empty transaction is null in JSON, which could not be read again.
#[test]
fn empty_transactions_go_there_and_back() {
    let block = encode("common.Block", &serde_json::json!({ "data": { "data": [null] } })).unwrap();
    assert_eq!(block, [18, 2, 10, 0][..]);
    assert_eq!(decode("common.Block", &block).unwrap().pointer("/data/data/0"), Some(&Value::Null));
}

/// Fuzzing found that both were shown, which could not be read again.
#[test]
fn of_several_of_which_one_may_be_there_the_last_counts() {
    let shown = |bytes: &[u8]| {
        let json = decode("common.SignaturePolicy", bytes).unwrap();
        let again = encode("common.SignaturePolicy", &json).unwrap();
        assert_eq!(decode("common.SignaturePolicy", &again).unwrap(), json);
        json
    };
    let (signed_by, n_out_of) = ([8, 5], [18, 2, 8, 1]);
    let of_n = serde_json::json!({"n_out_of": {"n": 1, "rules": []}});
    assert_eq!(shown(&[&signed_by[..], &n_out_of].concat()), of_n);
    assert_eq!(shown(&[&n_out_of[..], &signed_by].concat()), serde_json::json!({"signed_by": 5}));
    // What is no number is not the field whose number it bears, and the other way round.
    assert_eq!(shown(&[&n_out_of[..], &[10, 1, 0]].concat()), of_n);
    assert_eq!(shown(&[16, 7]), serde_json::json!({}));
}

#[test]
fn the_table_is_fabrics() {
    let rows = String::from_utf8(golden("protos/fields.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split('\t').collect()).collect();
    for message in messages() {
        let theirs: Vec<(&str, u32, &str)> = rows
            .iter()
            .filter(|row| row[1] == message)
            .filter_map(|row| Some((row[2], row[3].parse().ok()?, row[4])))
            .collect();
        let ours = schema::fields(message).unwrap();
        assert_eq!(
            ours.iter().map(|field| (field.name, field.number)).collect::<Vec<_>>(),
            theirs.iter().map(|(name, number, _)| (*name, *number)).collect::<Vec<_>>(),
            "{message}"
        );
        for (field, (name, _, kind)) in ours.iter().zip(theirs) {
            assert!(kind.starts_with(if matches!(field.shape, Shape::Many | Shape::Map) { "repeated" } else { "opt" }));
            let kind = kind.rsplit(' ').next().unwrap().trim_start_matches('.');
            let expected = match field.kind {
                _ if field.shape == Shape::Map => continue,
                Kind::Small { signed: true } => "int32",
                Kind::Small { signed: false } => "uint32",
                Kind::Large => "uint64",
                Kind::Bool => "bool",
                Kind::Text => "string",
                Kind::Bytes | Kind::Nested(_) | Kind::Variable => "bytes",
                Kind::Time => "google.protobuf.Timestamp",
                Kind::Enum(of) | Kind::Message(of) => of.split('/').next().unwrap(),
            };
            assert_eq!(kind, expected, "{message}.{name}");
        }
    }
}

#[test]
fn forms_that_are_none_are_refused() {
    let encode = |json: &str| encode("common.Config", &serde_json::from_str(json).unwrap());
    for (json, expected) in [
        ("[]", "an object"),
        ("{\"sequence\":\"x\"}", "a number"),
        ("{\"sequence\":-1}", "a number"),
        ("{\"group\":{}}", "no field"),
        ("{\"channel_group\":{\"values\":{\"X\":{\"value\":{}}}}}", "give it as base64"),
        ("{\"channel_group\":{\"policies\":{\"X\":{\"policy\":{\"type\":3,\"value\":{\"rule\":\"NO\"}}}}}}", "none of"),
    ] {
        let error = encode(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
    assert!(decode("common.Nothing", b"").is_err());
    let empty = encode("{\"channel_group\":{\"values\":{\"X\":{\"value\":\"eA==\"}}}}").unwrap();
    assert_eq!(decode("common.Config", &empty).unwrap()["channel_group"]["values"]["X"]["value"], "eA==");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let mut bytes = golden("config-update/bases/raft1.config.pb");
        let at = at % bytes.len();
        bytes[at] = byte;
        for bytes in [&bytes[..], &bytes[..cut % bytes.len()]] {
            if let Ok(json) = decode("common.Config", bytes) {
                let again = encode("common.Config", &json).unwrap();
                // What JSON has no place for is lost once.
                let json = decode("common.Config", &again).unwrap();
                prop_assert_eq!(encode("common.Config", &json).unwrap(), again);
            }
        }
    }
}
