//! Fabric's own client, the `peer` command, as an administrator uses it to deploy and call chaincode.

use std::fs;
use std::process::Command;

use super::layout::{Node as _, Organization, Peer};
use super::{Network, process};

impl Network {
    /// The peer command as an organization's administrator, talking to one of its peers.
    pub(super) fn peer_command(&self, organization: &Organization, peer: &Peer) -> Command {
        let mut command = self.binaries.command("peer");
        command
            .env("FABRIC_CFG_PATH", &peer.directory)
            .env("FABRIC_LOGGING_SPEC", "warning:cli=info")
            .env("CORE_PEER_MSPCONFIGPATH", organization.admin_msp());
        if self.layout.options.mutual_tls {
            command
                .env("CORE_PEER_TLS_CLIENTCERT_FILE", organization.admin_tls_certificate())
                .env("CORE_PEER_TLS_CLIENTKEY_FILE", organization.admin_tls_key());
        }
        command
    }

    /// Installs a package on every peer, approves and commits a definition of sequence 1.
    pub fn deploy(&self, channel: &str, chaincode: &str, package: &[u8], package_id: &str) {
        self.install(package, package_id).unwrap_or_else(|error| panic!("install: {error}"));
        let definition = ["--channelID", channel, "--name", chaincode, "--version", "1", "--sequence", "1"];
        for organization in self.members() {
            let mut approve = self.peer_command(organization, &organization.peers[0]);
            approve.args(["lifecycle", "chaincode", "approveformyorg", "--package-id", package_id]).args(definition);
            order_through(&mut approve, organization);
            process::run(&mut approve).unwrap_or_else(|error| panic!("approve: {error}"));
        }
        let organization = &self.organizations()[0];
        let mut commit = self.peer_command(organization, &organization.peers[0]);
        commit.args(["lifecycle", "chaincode", "commit"]).args(definition);
        order_through(&mut commit, organization);
        self.endorse_everywhere(&mut commit);
        process::run(&mut commit).unwrap_or_else(|error| panic!("commit: {error}"));
    }

    /// Installs a package on all peers, under this ID.
    pub fn install(&self, package: &[u8], package_id: &str) -> Result<(), String> {
        let file = self.layout.directory.join("chaincode.tar.gz");
        fs::write(&file, package).expect("a package file");
        for (organization, peer) in self.layout.member_peers() {
            let mut install = self.peer_command(organization, peer);
            install.args(["lifecycle", "chaincode", "install"]).arg(&file);
            let shown = process::run(&mut install)?;
            if !shown.contains(package_id) {
                return Err(format!("{package_id} is installed under another name: {shown}"));
            }
        }
        Ok(())
    }

    /// Invokes chaincode as an administrator of the first organization, endorsed by all, and waits for the commit.
    pub fn invoke(&self, channel: &str, chaincode: &str, arguments: &[&str]) -> Result<String, String> {
        let organization = &self.organizations()[0];
        let mut invoke = self.peer_command(organization, &organization.peers[0]);
        invoke.args(["chaincode", "invoke", "--waitForEvent", "--channelID", channel, "--name", chaincode]);
        invoke.arg("--ctor").arg(constructor(arguments));
        order_through(&mut invoke, organization);
        self.endorse_everywhere(&mut invoke);
        process::run(&mut invoke)
    }

    /// Queries chaincode on a peer of an organization.
    pub fn query(
        &self,
        organization: &Organization,
        channel: &str,
        chaincode: &str,
        arguments: &[&str],
    ) -> Result<String, String> {
        let mut query = self.peer_command(organization, &organization.peers[0]);
        query.args(["chaincode", "query", "--channelID", channel, "--name", chaincode]);
        query.arg("--ctor").arg(constructor(arguments));
        process::run(&mut query)
    }

    fn endorse_everywhere(&self, command: &mut Command) {
        for organization in self.members() {
            let peer = &organization.peers[0];
            command.arg("--peerAddresses").arg(peer.endpoint.to_string());
            command.arg("--tlsRootCertFiles").arg(peer.tls_ca());
        }
    }
}

pub(super) fn order_through(command: &mut Command, organization: &Organization) {
    let orderer = organization.orderer();
    command.arg("--orderer").arg(orderer.endpoint.to_string()).arg("--tls").arg("--cafile").arg(orderer.tls_ca());
}

fn constructor(arguments: &[&str]) -> String {
    serde_json::json!({"Args": arguments}).to_string()
}
