//! Peers that lack everything: contracts come to them from sources on disk, and an organization that joins late gets what
//! was deployed before it came.
//!
//! Nothing is compiled: the peers' builder takes packages of sources too, and finds out by their label where a server
//! answers for what it would have built. What the sources are packaged to, and what peers make of that, is real.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use opssc::client::Endorsers;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, Label, MspId};
use opssc::fabric::package::ccaas::{self, Connection};
use opssc::fabric::package::sources::DirectoryTree;
use opssc::fabric::package::{self, Language, Limits, Package, Sources};
use opssc::fabric::tx::Invocation;
use serde_json::json;

use crate::consortium::{CONTRACTS, Consortium, OPS_CHANNEL, administrator, channel_name};
use crate::membership::{Council, PATIENCE, peers_are_in};
use crate::network::ports::Port;
use crate::network::process::Process;
use crate::network::{Binaries, Network, Options, Organization, until};
use crate::program::{self, Agent, proposal};

const CHANNEL: &str = "mychannel";
const CHAINCODE: &str = "asset";

pub fn run(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let workshop = Workshop::new();
    let network =
        Network::start(&binaries.with_builder(&workshop.builder()), Options { guests: 1, ..Options::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let consortium = Consortium::connect(&network);
    let [one, two, three] = network.organizations() else { panic!("three organizations") };

    // Both organizations have agreed to the contracts; no peer has anything of them yet.
    let contracts = CONTRACTS.map(|name| workshop.contract(name));
    let _servers: Vec<_> = contracts.iter().map(|contract| workshop.serve(&network, contract)).collect();
    runtime.block_on(async {
        for (name, contract) in CONTRACTS.iter().zip(&contracts) {
            consortium.agree(OPS_CHANNEL, &definition(name), &[contract.id(); 2]).await;
        }
    });
    let port = Port::reserve();
    let address = port.address().to_string();
    let start = |organization| Agent::start_with_sources(&network, organization, &address, &workshop.gopath());
    let agents = [start(one), start(two)];
    nothing_is_left_to_do(one);
    nothing_is_left_to_do(two);
    runtime.block_on(consortium.register(&network));

    // They carry a proposal through.
    let label = Label::parse(format!("{CHAINCODE}-1")).expect("a label");
    let package = ccaas::package(&label, &Connection::plain(address.clone())).expect("a package");
    drop(port);
    let _server = program::serve(&network, CHAINCODE, package.id().as_str(), package_address(&package));
    let request = ["request", "--channel", CHANNEL, "--chaincode", CHAINCODE, "--repository", "example.com/asset"];
    proposal(one, &[&request[..], &["--id", "asset-1", "--commit", "v1"]].concat()).expect("it is requested");
    proposal(two, &["vote", "asset-1"]).expect("the other organization votes");
    proposal(one, &["watch", "asset-1", "--timeout", "60"]).expect("it is committed");

    // A third organization comes, after all that.
    let council = Council { network: &network };
    let member = json!([{"Command": "set-org", "Parameters":
        {"OrgType": "Application", "Org": network.described(three)}}]);
    for channel in [OPS_CHANNEL, CHANNEL] {
        council.change(one, &[two], &format!("add-to-{channel}"), channel, &member);
    }
    let late = start(three);
    peers_are_in(three, CHANNEL);
    let newcomer = administrator(three);
    let channel = newcomer.channel(channel_name(CHANNEL));
    let name = ChaincodeName::parse(CHAINCODE).expect("a name");
    runtime.block_on(async {
        let lifecycle = channel.lifecycle();
        let begin = std::time::Instant::now();
        loop {
            let committed = lifecycle.committed(&name).await.expect("an answer").expect("a definition");
            if committed.approvals.get(newcomer.msp_id()) == Some(&true) {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{:?}\n{}", committed.approvals, late.output());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        // What it endorses counts.
        let others = |msp_id: &str| MspId::parse(msp_id).expect("an MSP ID");
        let endorsers = Endorsers::Orgs(vec![others(&three.msp_id), others(&two.msp_id)]);
        let create = ["asset1", "blue", "5", "Tomoko", "300"];
        let create = create.into_iter().fold(Invocation::new(CHAINCODE, "CreateAsset"), Invocation::arg);
        channel.submit(&create, endorsers).await.expect("an asset is created");
    });
    nothing_is_left_to_do(three);
    for agent in agents.iter().chain([&late]) {
        assert!(agent.is_healthy(), "{}", agent.output());
        assert!(agent.output().contains("package installed"), "{}", agent.output());
    }
}

/// Waits until an organization's agent has done everything.
fn nothing_is_left_to_do(organization: &Organization) {
    until(PATIENCE, &format!("{} has nothing left to do", organization.name), || {
        let left = program::command(organization, &["plan"])?;
        if left.contains("there is nothing to do") { Ok(()) } else { Err(left) }
    });
}

fn definition(contract: &str) -> ChaincodeDefinition {
    ChaincodeDefinition::new(ChaincodeName::parse(contract).expect("a name"), "1", 1)
}

fn package_address(package: &Package) -> std::net::SocketAddr {
    Connection::of(package).expect("a service").address.parse().expect("an address")
}

/// Sources of contracts, and a builder for peers.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let workshop = Self(tempfile::tempdir().expect("a folder"));
        for contract in CONTRACTS {
            let folder = workshop.gopath().join("src/bootstrap").join(contract);
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("go.mod"), format!("module example.com/{contract}\n\ngo 1.21\n")).expect("a file");
            fs::write(folder.join("main.go"), "package main\n\nfunc main() {}\n").expect("a file");
        }
        let bin = workshop.builder().join("bin");
        for folder in [&bin, &workshop.servers()] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let label = r#"$(sed -n 's/.*"label":"\([^"]*\)".*/\1/p' "$2/metadata.json")"#;
        let servers = workshop.servers();
        let servers = servers.display();
        let build = format!(
            "set -e\nlabel={label}\n[ -f \"$1/connection.json\" ] || set -- \"{servers}/$label\" \"$2\" \"$3\"\n\
             cp \"$1/connection.json\" \"$3/\""
        );
        let release = "set -e\nmkdir -p \"$2/chaincode/server\"\ncp \"$1/connection.json\" \"$2/chaincode/server/\"";
        for (name, script) in [("detect", "exit 0"), ("build", &build), ("release", release)] {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
            fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a script that can be run");
        }
        workshop
    }

    fn gopath(&self) -> PathBuf {
        self.0.path().join("go")
    }

    fn builder(&self) -> PathBuf {
        self.0.path().join("builder")
    }

    fn servers(&self) -> PathBuf {
        self.0.path().join("servers")
    }

    /// A contract as `peer` packages it.
    fn contract(&self, name: &str) -> Package {
        let label = Label::parse(format!("{name}_1")).expect("a label");
        let tree = DirectoryTree::new(self.gopath().join("src"));
        let path = format!("bootstrap/{name}");
        let sources = Sources { tree: &tree, path: &path, metadata_path: &path };
        package::package(Language::Golang, &label, &sources, &Limits::default()).expect("a package")
    }

    /// Answers for a contract that peers have "built".
    fn serve(&self, network: &Network, package: &Package) -> Process {
        let mut port = Port::reserve();
        let folder = self.servers().join(package.label().as_str());
        fs::create_dir_all(&folder).expect("a folder");
        write(&folder.join("connection.json"), &Connection::plain(port.to_string()).to_json());
        port.release();
        let label = package.label().as_str();
        let contract = label.strip_suffix("_1").expect("the first sequence");
        program::serve(network, contract, package.id().as_str(), port.address())
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
