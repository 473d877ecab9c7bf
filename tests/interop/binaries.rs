//! Fabric's command line programs, in the flows that its documentation teaches, on the embedded network.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use opssc::chaincode::asset::AssetContract;
use opssc::chaincode::shim::{Config, Server};
use opssc::devnet::Organization;
use opssc::fabric::names::Label;
use opssc::fabric::package::ccaas::{self, Connection};
use opssc::runtime::Workers;
use serde_json::Value;

use crate::embedded::{CHANNEL, Embedded};
use crate::network::Binaries;

/// What a program has written, to its standard output first, and whether it was content.
pub fn run(command: &mut Command) -> (bool, String) {
    let (done, [data, said]) = both(command);
    (done, data + &said)
}

fn both(command: &mut Command) -> (bool, [String; 2]) {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (status.success(), [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let (done, text) = run(command);
    assert!(done, "{command:?}\n{text}");
    text
}

/// What a program has written to its standard output alone, as JSON.
#[track_caller]
pub fn data(command: &mut Command) -> Value {
    let (done, [data, said]) = both(command);
    assert!(done, "{command:?}\n{data}{said}");
    serde_json::from_str(&data).unwrap_or_else(|error| panic!("{command:?}: {error}\n{data}{said}"))
}

/// Where an organization's parts lie, as the programs want it.
pub struct Cli<'a> {
    pub binaries: &'a Binaries,
    pub network: &'a Embedded,
}

impl Cli<'_> {
    pub fn organization(&self, number: usize) -> &Organization {
        &self.network.devnet.organizations()[number]
    }

    /// `peer` as an organization's administrator.
    pub fn peer(&self, number: usize, arguments: &[&str]) -> Command {
        let organization = self.organization(number);
        let peer = &organization.peers[0];
        let mut command = self.binaries.command("peer");
        command
            .env("FABRIC_CFG_PATH", self.network.folder().join("cli"))
            .env("FABRIC_LOGGING_SPEC", "warning:cli=info")
            .env("CORE_PEER_LOCALMSPID", organization.msp_id.as_str())
            .env("CORE_PEER_MSPCONFIGPATH", &organization.admin_msp)
            .env("CORE_PEER_ADDRESS", &peer.address)
            .env("CORE_PEER_TLS_ENABLED", "true")
            .env("CORE_PEER_TLS_ROOTCERT_FILE", &organization.tls_ca)
            .args(arguments);
        command
    }

    /// The same, with the orderer that it takes.
    pub fn ordering(&self, number: usize, arguments: &[&str]) -> Command {
        let organization = self.organization(number);
        let orderer = &organization.orderers[0];
        let mut command = self.peer(number, arguments);
        command.args(["-o", &orderer.address, "--ordererTLSHostnameOverride", &orderer.fqdn, "--tls", "--cafile"]);
        command.arg(&organization.tls_ca);
        command
    }

    /// The same, endorsed by all organizations, and done when it is committed.
    fn endorsed(&self, arguments: &[&str]) -> Command {
        let mut command = self.ordering(0, arguments);
        for organization in self.network.devnet.organizations() {
            command.args(["--peerAddresses", &organization.peers[0].address]);
            command.arg("--tlsRootCertFiles").arg(&organization.tls_ca);
        }
        command
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.network.folder().join(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_command_deploys_and_invokes() {
    let Some(binaries) = Binaries::from_environment("the_peer_command_deploys_and_invokes") else { return };
    let network = Embedded::start().await;
    let workers = Workers::new();
    let label = Label::parse("asset_1").unwrap();
    let alias = "asset.example.com:7052";
    let package = ccaas::package(&label, &Connection::plain(alias)).unwrap();
    let config = Config::new(([127, 0, 0, 1], 0).into(), package.id().as_str());
    let server = Server::bind(config, std::sync::Arc::new(AssetContract)).await.unwrap();
    network.devnet.host(alias, server.local_address());
    let inside = workers.clone();
    workers.spawn("asset server", async move { server.run(&inside).await });
    tokio::task::block_in_place(|| {
        let cli = Cli { binaries: &binaries, network: &network };
        deploy(&cli, package.bytes(), package.id().as_str());
        invoke(&cli);
    });
    workers.cancel();
}

fn deploy(cli: &Cli<'_>, package: &[u8], id: &str) {
    let archive = cli.file("asset.tar.gz");
    std::fs::write(&archive, package).unwrap();
    let archive = archive.to_str().unwrap();
    let definition = ["-C", CHANNEL, "-n", "asset", "-v", "1", "--sequence", "1"];
    for number in [0, 1] {
        let installed = succeed(&mut cli.peer(number, &["lifecycle", "chaincode", "install", archive]));
        assert!(installed.contains(id), "{installed}");
        let (done, again) = run(&mut cli.peer(number, &["lifecycle", "chaincode", "install", archive]));
        assert!(!done && again.contains("chaincode already successfully installed"), "{again}");
        let queried = succeed(&mut cli.peer(number, &["lifecycle", "chaincode", "queryinstalled"]));
        assert!(queried.contains(id), "{queried}");
        let folder = cli.network.folder().to_str().unwrap();
        let get = ["lifecycle", "chaincode", "getinstalledpackage", "--package-id", id, "--output-directory", folder];
        succeed(&mut cli.peer(number, &get));
        assert_eq!(std::fs::read(cli.file(&format!("{id}.tar.gz"))).unwrap(), package);
        let approve = [&["lifecycle", "chaincode", "approveformyorg", "--package-id", id], &definition[..]].concat();
        succeed(&mut cli.ordering(number, &approve));
        let approved = ["lifecycle", "chaincode", "queryapproved", "-C", CHANNEL, "-n", "asset", "--output", "json"];
        let approved = succeed(&mut cli.peer(number, &approved));
        assert!(approved.contains(id), "{approved}");
    }
    let ready = [&["lifecycle", "chaincode", "checkcommitreadiness", "--output", "json"], &definition[..]].concat();
    let ready = data(&mut cli.peer(0, &ready));
    assert_eq!(ready["approvals"], serde_json::json!({"Org1MSP": true, "Org2MSP": true}));
    succeed(&mut cli.endorsed(&[&["lifecycle", "chaincode", "commit"], &definition[..]].concat()));
    let committed = succeed(&mut cli.peer(1, &["lifecycle", "chaincode", "querycommitted", "-C", CHANNEL]));
    assert!(committed.contains("Name: asset, Version: 1, Sequence: 1"), "{committed}");
}

fn invoke(cli: &Cli<'_>) {
    let invoke = |call: &str| {
        run(&mut cli.endorsed(&["chaincode", "invoke", "--waitForEvent", "-C", CHANNEL, "-n", "asset", "-c", call]))
    };
    let (done, text) = invoke(r#"{"Args":["InitLedger"]}"#);
    assert!(done, "{text}");
    let (done, text) = invoke(r#"{"Args":["ReadAsset","nothing"]}"#);
    assert!(!done && text.contains("the asset nothing does not exist"), "{text}");
    let query = ["chaincode", "query", "-C", CHANNEL, "-n", "asset", "-c", r#"{"Args":["ReadAsset","asset1"]}"#];
    let read = data(&mut cli.peer(1, &query));
    assert_eq!(read["Owner"], "Tomoko");
}

#[tokio::test(flavor = "multi_thread")]
async fn discover_finds_peers_and_endorsers() {
    let Some(binaries) = Binaries::from_environment("discover_finds_peers_and_endorsers") else { return };
    let network = Embedded::start().await;
    network.devnet.deploy_opssc().await.unwrap();
    tokio::task::block_in_place(|| {
        let cli = Cli { binaries: &binaries, network: &network };
        let peers = discover(&cli, "peers", &["--channel", CHANNEL]);
        let mut members: Vec<_> = peers.as_array().unwrap().iter().map(|peer| peer["MSPID"].clone()).collect();
        members.sort_by_key(ToString::to_string);
        assert_eq!(members, ["Org1MSP", "Org2MSP"]);
        let config = discover(&cli, "config", &["--channel", CHANNEL]);
        assert_eq!(config["msps"].as_object().unwrap().len(), 2, "{config}");
        assert_eq!(config["orderers"].as_object().unwrap().len(), 2, "{config}");
        let endorsers = discover(&cli, "endorsers", &["--channel", "ops-channel", "--chaincode", "channel-ops"]);
        assert_eq!(endorsers[0]["Chaincode"], "channel-ops", "{endorsers}");
        assert!(!endorsers[0]["Layouts"].as_array().unwrap().is_empty(), "{endorsers}");
        let local = discover(&cli, "peers", &[]);
        assert_eq!(local.as_array().unwrap().len(), 2, "{local}");
    });
}

/// What `discover` says, as an administrator of the first organization.
fn discover(cli: &Cli<'_>, what: &str, arguments: &[&str]) -> Value {
    let organization = cli.organization(0);
    let only = |folder: &Path| std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut command = cli.binaries.command("discover");
    command.arg("--peerTLSCA").arg(&organization.tls_ca);
    command.arg("--userCert").arg(only(&organization.admin_msp.join("signcerts")));
    command.arg("--userKey").arg(only(&organization.admin_msp.join("keystore")));
    command.args(["--MSP", organization.msp_id.as_str(), what]).args(arguments);
    command.args(["--server", &organization.peers[0].address]);
    data(&mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn osnadmin_takes_a_channel_through_its_life() {
    let Some(binaries) = Binaries::from_environment("osnadmin_takes_a_channel_through_its_life") else { return };
    let network = Embedded::start().await;
    tokio::task::block_in_place(|| {
        let cli = Cli { binaries: &binaries, network: &network };
        let (_, listed) = run(&mut osnadmin(&cli, "list", &[]));
        assert!(listed.contains("Status: 200") && listed.contains(CHANNEL), "{listed}");
        let (_, told) = run(&mut osnadmin(&cli, "list", &["--channelID", CHANNEL]));
        assert!(
            told.contains("\"status\": \"active\"") && told.contains("\"consensusRelation\": \"consenter\""),
            "{told}"
        );
        let (_, unknown) = run(&mut osnadmin(&cli, "list", &["--channelID", "nowhere"]));
        assert!(unknown.contains("Status: 404"), "{unknown}");

        let genesis = cli.network.folder().join(format!("channel-artifacts/{CHANNEL}.block"));
        let join = ["--channelID", CHANNEL, "--config-block", genesis.to_str().unwrap()];
        let (_, again) = run(&mut osnadmin(&cli, "join", &join));
        assert!(again.contains("Status: 405"), "{again}");
        let (_, removed) = run(&mut osnadmin(&cli, "remove", &["--channelID", CHANNEL]));
        assert!(removed.contains("Status: 204"), "{removed}");
        let (_, gone) = run(&mut osnadmin(&cli, "list", &["--channelID", CHANNEL]));
        assert!(gone.contains("Status: 404"), "{gone}");
        let (_, joined) = run(&mut osnadmin(&cli, "join", &join));
        assert!(joined.contains("Status: 201"), "{joined}");
    });
}

/// `osnadmin channel` as the first organization's administrator, to its orderer.
fn osnadmin(cli: &Cli<'_>, what: &str, arguments: &[&str]) -> Command {
    osnadmin_of(cli, 0, what, arguments)
}

/// The same as another organization's.
pub fn osnadmin_of(cli: &Cli<'_>, number: usize, what: &str, arguments: &[&str]) -> Command {
    let organization = cli.organization(number);
    let mut command = cli.binaries.command("osnadmin");
    command.args(["channel", what]).args(arguments);
    command.args(["-o", organization.orderers[0].admin.as_deref().unwrap(), "--ca-file"]).arg(&organization.tls_ca);
    command.arg("--client-cert").arg(&organization.admin_tls_certificate);
    command.arg("--client-key").arg(&organization.admin_tls_key);
    command
}
