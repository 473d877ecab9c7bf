//! One script of calls, played on the embedded network and on real nodes.
//!
//! What real nodes answered is kept in testdata, so that the comparison needs none; with `FABRIC_BIN` the script is
//! played on them again, and the record has to be what they answer. `UPDATE=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::differences::{self, Difference};
use crate::embedded::{self, Embedded};
use crate::network::{Binaries, Network, Options};
use crate::node::Node;

/// The version whose behaviour the embedded network has.
const VERSION: &str = "3.1.5";

/// What nodes of that version answered.
fn record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/interop/fabric-{VERSION}.json"))
}

/// What came of each step on the one network that is described there.
async fn play(node: &Node, description: &Path) -> BTreeMap<String, Value> {
    let output = description.with_file_name("played.json");
    node.run("differential.mjs", &[description, &output]).await;
    let [played] = serde_json::from_slice(&std::fs::read(output).unwrap()).unwrap();
    played
}

fn compare(embedded: &BTreeMap<String, Value>, fabric: &BTreeMap<String, Value>) -> Vec<Difference> {
    let mut found = Vec::new();
    differences::between("", &json!(embedded), &json!(fabric), &mut found);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_network_answers_as_fabric_did() {
    let Some(node) = Node::find("the_embedded_network_answers_as_fabric_did").await else { return };
    let network = Embedded::start().await;
    let played = play(&node, &network.describe()).await;
    let text = std::fs::read(record()).unwrap();
    let recorded: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap();
    assert!(recorded.len() > 300, "the record holds {} steps only", recorded.len());
    differences::hold(&compare(&played, &recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn fabric_answers_as_it_did() {
    let test = "fabric_answers_as_it_did";
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let Some(node) = Node::find(test).await else { return };
    if binaries.version().trim_start_matches('v') != VERSION {
        eprintln!("{test} was skipped: what is recorded is {VERSION}, not {}", binaries.version());
        return;
    }
    let network = tokio::task::block_in_place(|| {
        let channels = [embedded::CHANNEL, embedded::OTHER_CHANNEL].map(str::to_owned).into();
        Network::start(&binaries, Options { channels, ..Options::default() })
    });
    let played = play(&node, &describe(&network)).await;
    if std::env::var_os("UPDATE").is_some() {
        // A step in each line: that is how it can be read, and how a change of it can.
        let mut text = String::from("{");
        for (index, (step, outcome)) in played.iter().enumerate() {
            let _ = write!(text, "{}\n{}: {outcome}", if index == 0 { "" } else { "," }, json!(step));
        }
        std::fs::write(record(), text + "\n}\n").unwrap();
    }
    let recorded: BTreeMap<String, Value> = serde_json::from_slice(&std::fs::read(record()).unwrap()).unwrap();
    let found = compare(&played, &recorded);
    assert!(found.is_empty(), "not as recorded (UPDATE=1 records anew): {found:#?}");
}

/// The description of a network of real nodes.
pub fn describe(network: &Network) -> PathBuf {
    let organizations = network.organizations().iter().map(|organization| {
        let node =
            |name: &str, address: String| json!({"name": name, "address": address, "tlsCa": organization.tls_ca()});
        let peers = organization.peers.iter().map(|peer| node(&peer.name, peer.endpoint.to_string()));
        let orderer = organization.orderer();
        json!({
            "name": organization.name,
            "mspId": organization.msp_id,
            "adminMsp": organization.admin_msp(),
            "userMsp": organization.admin_msp().join(format!("../../User1@{}/msp", organization.domain)),
            "profile": organization.connection_profile,
            "peers": peers.collect::<Vec<_>>(),
            "orderers": [node(&orderer.name, orderer.endpoint.to_string())],
        })
    });
    embedded::write(network.directory(), &organizations.collect::<Vec<_>>())
}
