//! Channel updates from a proposal to a configuration that is in force.

use crate::consortium::{Consortium, channel_name};
use crate::network::{Binaries, Network, Options, Organization};
use crate::program::{self, Agent};

const CHANNEL: &str = "mychannel";

/// Where no chaincode server is ever dialled.
const NO_SERVER: &str = "127.0.0.1:9";

fn proposal(organization: &Organization, arguments: &[&str]) -> Result<String, String> {
    program::command(organization, &[&["proposal", "channel"], arguments].concat())
}

#[test]
fn voted_updates_come_into_force_and_stale_ones_are_made_anew() {
    let test = "voted_updates_come_into_force_and_stale_ones_are_made_anew";
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let network = Network::start(&binaries, Options::default());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut consortium = Consortium::connect(&network);
    runtime.block_on(consortium.deploy_opssc(&network));
    let [one, two] = network.organizations() else { panic!("two organizations") };
    let _agents = [one, two].map(|organization| Agent::start(&network, organization, NO_SERVER));
    let request = |id: &str, resource: &str| {
        let file = network.directory().join(format!("{id}.yaml"));
        let list =
            format!("- Command: set-acls\n  Parameters: {{ACLs: {{{resource}: /Channel/Application/Readers}}}}\n");
        std::fs::write(&file, list).expect("a file");
        let file = file.to_str().expect("a path");
        proposal(one, &["request", "--id", id, "-c", CHANNEL, "--operations", file]).expect("a proposal");
    };
    let sequence = || {
        let channel = consortium.clients[0].channel(channel_name(CHANNEL));
        runtime.block_on(channel.config()).expect("a configuration").sequence()
    };
    let before = sequence();

    // Both are worked out of the same configuration, so the second one is out of date once the first is in force.
    request("first", "qscc/GetChainInfo");
    request("second", "qscc/GetBlockByNumber");
    let shown = proposal(two, &["show", "first"]).expect("the proposal");
    assert!(shown.contains("needs 2 of 2 Admins: have Org1MSP; missing Org2MSP"), "{shown}");
    proposal(two, &["vote", "first", "--yes"]).expect("a vote");
    proposal(two, &["watch", "first", "--timeout", "60"]).expect("a commit");
    assert_eq!(sequence(), before + 1);

    let shown = proposal(two, &["show", "second"]).expect("the proposal");
    assert!(shown.contains("The channel does not take it as it is"), "{shown}");
    proposal(two, &["vote", "second", "--yes"]).expect("a vote");
    proposal(one, &["rebase", "second", "--id", "third"]).expect("a proposal");
    proposal(two, &["vote", "third", "--yes"]).expect("a vote");
    proposal(two, &["watch", "third", "--timeout", "60"]).expect("a commit");
    assert_eq!(sequence(), before + 2);

    // The members that the contract keeps are what they were.
    let channel_ops = opssc::opssc::calls::ChannelOps::new(
        consortium.clients[1].channel(channel_name(crate::consortium::OPS_CHANNEL)),
        "channel-ops".parse().expect("a name"),
    );
    let members = runtime.block_on(channel_ops.get_organizations_in_channel(CHANNEL)).expect("the members");
    assert_eq!(members, ["Org1MSP", "Org2MSP"]);
    let listed = proposal(one, &["list", "--status", "approved"]).expect("a list");
    assert!(listed.contains("second") && !listed.contains("third"), "{listed}");
}
