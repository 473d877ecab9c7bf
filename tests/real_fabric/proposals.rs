//! Channels that three organizations make by votes, and updates that come to nothing.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opssc::client::Client;
use opssc::fabric::config::tree::{Config, ConfigGroup, ConfigUpdate};
use opssc::fabric::config::update;
use opssc::opssc::calls::ChannelOps;
use opssc::opssc::channel_ops::{ProposalInput, Status};
use prost::Message as _;
use serde_json::json;

use crate::consortium::{Consortium, OPS_CHANNEL, channel_name};
use crate::membership::{Council, NO_SERVER, PATIENCE, command, committed, orderers_are, peers_are_in, vote};
use crate::network::{Binaries, Network, Options, until};
use crate::program::{self, Agent};

const CHANNEL: &str = "mychannel";
/// The channel that is made.
const FRESH: &str = "fresh";
/// Who votes on new channels: on the books alone, the orderers have no such channel.
const VOTERS: &str = "voters";

pub fn run(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let network = Network::start(&binaries, Options { organizations: 3, ..Options::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut consortium = Consortium::connect(&network);
    runtime.block_on(consortium.deploy_opssc(&network));
    let agents: Vec<_> =
        network.organizations().iter().map(|organization| Agent::start(&network, organization, NO_SERVER)).collect();
    let story = Story { council: Council { network: &network }, runtime, consortium, agents };
    story.a_channel_is_made();
    story.too_few_signatures();
    story.out_of_date();
    story.not_valid();
    story.refused_by_the_contract();
    story.all_go_on();
}

struct Story<'a> {
    council: Council<'a>,
    runtime: tokio::runtime::Runtime,
    consortium: Consortium,
    agents: Vec<Agent>,
}

impl Story<'_> {
    fn ledger(&self) -> ChannelOps {
        let ops = self.consortium.clients[0].channel(channel_name(OPS_CHANNEL));
        ChannelOps::new(ops, "channel-ops".parse().expect("a name"))
    }

    fn status(&self, id: &str) -> Status {
        self.runtime.block_on(self.ledger().get_proposal(id)).expect("a proposal").status
    }

    /// Waits until the agent of an organization has said this of a proposal.
    fn heard(&self, agent: usize, id: &str, words: &[&str]) -> String {
        let mut found = None;
        until(PATIENCE, &format!("agent {agent} tells {words:?} of {id}"), || {
            let output = self.agents[agent].output();
            let mut lines = output.lines().filter(|line| line.contains(id));
            let line = lines.find(|line| words.iter().all(|words| line.contains(words)));
            found = line.map(str::to_owned);
            if found.is_some() { Ok(()) } else { Err(output) }
        });
        found.expect("it was waited for")
    }

    /// All three make the same block of what was voted for, and join with orderers and peers.
    fn a_channel_is_made(&self) {
        let [one, two, three] = self.council.network.organizations() else { panic!("three organizations") };
        let ledger = self.ledger();
        let members = ["Org1MSP", "Org2MSP", "Org3MSP"];
        let members_of_all = members.join(",");
        let register = ["channel", "register", "-c", VOTERS, "--type", "system", "--organizations", &members_of_all];
        let said = command(one, &register);
        assert!(said.contains("is registered"), "{said}");
        let said = command(two, &register);
        assert!(said.contains("was registered so already"), "{said}");
        let books = command(three, &["channel", "registered"]);
        assert!(books.contains(VOTERS) && books.contains("system"), "{books}");
        let profile = self.council.network.directory().join("channels/configtx.yaml");
        let profile = format!("{}#Channel", profile.display());
        let request = ["proposal", "channel", "request", "--id", "new", "-c", FRESH, "--create", &profile];
        command(two, &request);
        let shown = vote(three, "new");
        assert!(shown.contains("Org1MSP") && shown.contains("max_message_count"), "{shown}");
        committed(one, "new");
        for organization in [one, two, three] {
            orderers_are(organization, FRESH, "consenter", "active");
            peers_are_in(organization, FRESH);
        }
        let listed = self.runtime.block_on(ledger.get_organizations_in_channel(FRESH)).expect("its members");
        assert_eq!(listed, members);
        // It takes an update as any other channel does.
        let acls = json!([{"Command": "set-acls", "Parameters":
            {"ACLs": {"qscc/GetChainInfo": "/Channel/Application/Readers"}}}]);
        self.council.change(one, &[two], "fresh-acls", FRESH, &acls);
    }

    /// Two of three are enough for the contract; the third one's own group asks for its own administrators.
    fn too_few_signatures(&self) {
        let [one, two, _] = self.council.network.organizations() else { panic!("three organizations") };
        let peers = json!([{"Command": "set-anchor-peers", "Parameters":
            {"OrgName": "Org3MSP", "AnchorPeers": [{"Host": "peer.example.com", "Port": 7051}]}}]);
        self.council.request(one, "anchors", CHANNEL, &peers);
        let shown = vote(two, "anchors");
        assert!(shown.contains("/Channel/Application/Org3MSP/Admins: needs"), "{shown}");
        assert!(shown.contains("'Org3MSP.admin'") && shown.contains("have Org1MSP"), "{shown}");
        let said = self.heard(1, "anchors", &["Org3MSP/Admins: needs", "have Org1MSP, Org2MSP"]);
        // No orderer is bothered with it.
        assert!(said.contains("signatures are lacking"), "{said}");
        assert_eq!(self.status("anchors"), Status::Approved);
    }

    /// The second of two changes that were worked out of the same configuration.
    fn out_of_date(&self) {
        let [one, two, three] = self.council.network.organizations() else { panic!("three organizations") };
        for (id, resource) in [("first", "qscc/GetChainInfo"), ("stale", "qscc/GetBlockByNumber")] {
            let acls = json!([{"Command": "set-acls", "Parameters":
                {"ACLs": {resource: "/Channel/Application/Readers"}}}]);
            self.council.request(two, id, CHANNEL, &acls);
        }
        vote(three, "first");
        committed(two, "first");
        let shown = vote(three, "stale");
        assert!(shown.contains("The channel does not take it as it is"), "{shown}");
        self.heard(2, "stale", &["BAD_REQUEST"]);
        assert_eq!(self.status("stale"), Status::Approved);
        command(one, &["proposal", "channel", "rebase", "stale", "--id", "anew"]);
        vote(three, "anew");
        committed(two, "anew");
    }

    /// An update in good order that would make a configuration that no orderer takes.
    fn not_valid(&self) {
        let [one, two, _] = self.council.network.organizations() else { panic!("three organizations") };
        let client = &self.consortium.clients[0];
        let update = self.runtime.block_on(changed(client, |root| {
            let orderer = root.groups.get_mut("Orderer").expect("the orderers' group");
            orderer.values.get_mut("BatchTimeout").expect("a timeout").value = b"\x0a\x05never".to_vec().into();
        }));
        let file = self.council.network.directory().join("invalid.pb");
        std::fs::write(&file, &update).expect("a file");
        let file = file.to_str().expect("a path");
        command(one, &["proposal", "channel", "request", "--id", "invalid", "-c", CHANNEL, "--update", file]);
        vote(two, "invalid");
        let said = self.heard(1, "invalid", &["BAD_REQUEST"]);
        assert!(said.contains("BatchTimeout") || said.contains("never"), "{said}");
        assert_eq!(self.status("invalid"), Status::Approved);
    }

    /// What is no update, or one of another channel, is not even a proposal.
    fn refused_by_the_contract(&self) {
        let client = &self.consortium.clients[0];
        let mut other = ConfigUpdate::default();
        FRESH.clone_into(&mut other.channel_id);
        let other = other.encode().to_vec();
        for (id, update, words) in [
            ("other", other, "channel ID is inconsistent with the ID in the artifacts"),
            ("rubbish", b"\xff\xff\xff no update".to_vec(), "error happened decoding common.ConfigUpdate"),
        ] {
            let input = ProposalInput {
                id: id.to_owned(),
                channel_id: CHANNEL.to_owned(),
                description: String::new(),
                action: None,
                ops_profile: serde_json::Value::Null,
                signature: BASE64_STANDARD.encode(
                    self.runtime.block_on(client.sign_config_update(&update)).expect("a signature").encode_to_vec(),
                ),
                config_update: BASE64_STANDARD.encode(&update),
            };
            let refused = self.runtime.block_on(self.ledger().request_proposal(&input)).expect_err("no proposal");
            let (_, said) = refused.refusal().expect("the contract's own words");
            assert!(said.contains(words), "{said}");
            // Nor does the command let it pass.
            let file = self.council.network.directory().join(format!("{id}.pb"));
            std::fs::write(&file, &update).expect("a file");
            let file = file.to_str().expect("a path");
            let one = &self.council.network.organizations()[0];
            let request = ["proposal", "channel", "request", "--id", id, "-c", CHANNEL, "--update", file];
            let refused = program::command(one, &request).expect_err("no proposal");
            assert!(
                refused.contains("is for channel") || refused.contains("holds no configuration update"),
                "{refused}"
            );
        }
    }

    /// After all that every agent still does its work.
    fn all_go_on(&self) {
        let organizations = self.council.network.organizations();
        for (executor, organization) in organizations.iter().enumerate() {
            let by = &organizations[(executor + 1) % organizations.len()];
            let acls = json!([{"Command": "set-acls", "Parameters":
                {"ACLs": {"qscc/GetTransactionByID": format!("/Channel/Application/Readers"),
                    "peer/Propose": "/Channel/Application/Writers", format!("event/Block{executor}"): "/Channel/Application/Readers"}}}]);
            self.council.change(by, &[organization], &format!("last-{executor}"), CHANNEL, &acls);
            assert!(self.agents[executor].is_healthy());
        }
    }
}

/// An update of the channel.
async fn changed(client: &Client, change: impl FnOnce(&mut ConfigGroup)) -> Vec<u8> {
    let block = client.channel(channel_name(CHANNEL)).config_block().await.expect("the configuration");
    let before = Config::from_block(&block).expect("a configuration");
    let mut after = before.clone();
    change(after.channel_group.as_mut().expect("a channel group"));
    update::compute(CHANNEL, &before, &after).expect("an update").encode().to_vec()
}
