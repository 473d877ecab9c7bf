//! Channels looked after by hand, by commands and without agents: what operators do on their own nodes.

use serde_json::{Value, json};

use crate::membership::{Council, PATIENCE, command, orderers_are, peers_are_in};
use crate::network::{Binaries, Consensus, Network, Options, Organization, until};
use crate::program;

const CHANNEL: &str = "mychannel";

/// An update from the newest configuration to one that is in force: computed, signed by some, and handed in.
fn update(council: &Council<'_>, id: &str, operations: &Value, signers: &[&Organization]) {
    let folder = council.network.directory();
    let at = |name: &str| folder.join(name).to_str().expect("a path").to_owned();
    let by = signers[0];
    let block = council.config_block(by, CHANNEL);
    let profile = council.file(&format!("{id}.json"), operations);
    let update = at(&format!("{id}.update.pb"));
    let compute = ["configtx", "execute-multiple-ops", "--channel-id", CHANNEL, "--block", &block];
    command(by, &[&compute[..], &["--profile", &profile, "--output-format", "delta", "--output", &update]].concat());
    let mut signatures = serde_json::Map::new();
    for signer in signers {
        let file = at(&format!("{id}.{}.signature", signer.name));
        let (certificate, key) = (only_file(&signer.admin_certificate()), only_file(&signer.admin_key()));
        let sign = ["configtx", "sign", "--config-update", &update, "--msp-id", &signer.msp_id];
        command(signer, &[&sign[..], &["--cert", &certificate, "--key", &key, "--output", &file]].concat());
        signatures.insert(signer.msp_id.clone(), json!(base64(&file)));
    }
    let artifacts = json!({"configUpdate": base64(&update), "signatures": signatures});
    let artifacts = council.file(&format!("{id}.artifacts.json"), &artifacts);
    let envelope = at(&format!("{id}.envelope.pb"));
    command(by, &["configtx", "create-envelope", "--profile", &artifacts, "--output", &envelope]);
    let hand_in = ["channel", "update", "-c", CHANNEL, "-f", &envelope];
    let said = command(by, &hand_in);
    assert!(said.contains("is updated (block"), "{said}");
    let said = command(by, &hand_in);
    assert!(said.contains("had this update already (block"), "{said}");
}

fn only_file(folder: &std::path::Path) -> String {
    let mut files = std::fs::read_dir(folder).expect("a folder");
    let file = files.next().expect("a file").expect("a file").path();
    file.to_str().expect("a path").to_owned()
}

fn base64(file: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(std::fs::read(file).expect("a file"))
}

/// What a profile names stands beside nothing: `configtx` looks for files from where it is run.
fn absolute(network: &Network, mut described: Value) -> Value {
    for name in ["MSPDir", "ClientTLSCert", "ServerTLSCert", "Identity"] {
        if let Some(path) = described.get_mut(name) {
            *path = json!(network.directory().join(path.as_str().expect("a path")));
        }
    }
    described
}

/// A consenter's organization joins a channel of BFT orderers, and another one's consenter leaves.
pub fn consenters(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    if !binaries.have_3(test, "BFT") {
        return;
    }
    let options = Options {
        organizations: 4,
        guests: 1,
        consensus: Consensus::Bft,
        channels: vec![CHANNEL.to_owned()],
        ..Options::default()
    };
    let network = Network::start(&binaries, options);
    let council = Council { network: &network };
    let [one, two, three, four, five] = network.organizations() else { panic!("five organizations") };

    let addition = json!([
        {"Command": "set-org", "Parameters":
            {"OrgType": "Application|Orderer", "Org": absolute(&network, network.described(five))}},
        {"Command": "set-consenter", "Parameters": {"Consenter": absolute(&network, network.consenter(five))}},
    ]);
    update(&council, "addition", &addition, &[one, two, three]);
    command(five, &["orderer", "join", "-c", CHANNEL]);
    orderers_are(five, CHANNEL, "consenter", "active");
    command(five, &["channel", "join", "-c", CHANNEL]);
    peers_are_in(five, CHANNEL);

    let address = one.orderer().endpoint.to_string();
    let removal = json!([{"Command": "remove-consenter", "Parameters": {"ConsenterAddress": address}}]);
    update(&council, "removal", &removal, &[two, three, five]);
    command(one, &["orderer", "remove", "-c", CHANNEL]);
    until(PATIENCE, "the orderer has left", || {
        let list = program::command(one, &["orderer", "list", "--json"])?;
        if list.contains(CHANNEL) { Err(list) } else { Ok(()) }
    });
    // Four go on without it, the newcomer among them, and nobody asks the one that left.
    let acls = json!([{"Command": "set-acls", "Parameters":
        {"ACLs": {"qscc/GetChainInfo": "/Channel/Application/Readers"}}}]);
    update(&council, "acls", &acls, &[four, five, two]);
    let shown = council.configuration(five, CHANNEL);
    assert!(!shown.contains(&address.replace("127.0.0.1:", "port: ")), "{shown}");
}

/// A peer takes a channel's state from a snapshot of another one in place of all its blocks.
pub fn snapshot(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let options =
        Options { peers_per_organization: 2, late_peers: 1, channels: vec![CHANNEL.to_owned()], ..Options::default() };
    let network = Network::start(&binaries, options);
    let council = Council { network: &network };
    let [one, two] = network.organizations() else { panic!("two organizations") };
    for (id, resource) in [("first", "qscc/GetChainInfo"), ("second", "qscc/GetBlockByNumber")] {
        let acls = json!([{"Command": "set-acls", "Parameters":
            {"ACLs": {resource: "/Channel/Application/Readers"}}}]);
        update(&council, id, &acls, &[one, two]);
    }
    let late = &one.peers[1];
    let folder = network.snapshot(one, CHANNEL);
    let folder = folder.to_str().expect("a path");
    let join = ["channel", "join", "--snapshot", folder, "--peer", &late.name];
    let said = command(one, &join);
    assert!(said.contains(&format!("{} joined {CHANNEL}", late.name)), "{said}");
    peers_are_in(one, CHANNEL);
    assert_eq!(late.height(CHANNEL), one.peers[0].height(CHANNEL));
    let again = program::command(one, &join).expect_err("it is in the channel");
    assert!(again.contains(&format!("has joined no channel from it (it was in {CHANNEL})")), "{again}");
    // What comes after the snapshot it takes as any other.
    let acls = json!([{"Command": "set-acls", "Parameters":
        {"ACLs": {"qscc/GetTransactionByID": "/Channel/Application/Readers"}}}]);
    update(&council, "third", &acls, &[two, one]);
    until(PATIENCE, "the late peer follows", || {
        let (late, other) = (late.height(CHANNEL), one.peers[0].height(CHANNEL));
        if late == other && late == 4 { Ok(()) } else { Err(format!("{late} and {other}")) }
    });
    // A folder that holds no snapshot is refused by the peer, and told.
    let nowhere = ["channel", "join", "--snapshot", "/nowhere", "--peer", &two.peers[1].name];
    let refused = program::command(two, &nowhere).expect_err("no snapshot");
    assert!(refused.contains("/nowhere"), "{refused}");
}
