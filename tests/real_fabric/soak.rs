//! Ten minutes in which nodes and agents are killed at random while proposals flow. By hand:
//!
//! `FABRIC_BIN=fabric/bin cargo test --test real_fabric soak -- --ignored --nocapture`
//!
//! Nothing may be lost and nothing done twice. `SOAK_SECONDS` sets another length, `SOAK_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use opssc::client::events::Start;
use opssc::fabric::block::{Block, Kind};
use opssc::opssc::calls::ChaincodeOps;
use opssc::opssc::chaincode_ops::{
    ChaincodeDefinition, ChaincodePackage, HistoryQuery, PackageType, ProposalInput, Status, TaskStatus,
    TaskStatusUpdate,
};

use crate::CHANNEL;
use crate::consortium::{Consortium, OPS_CHANNEL, channel_name};
use crate::network::{Binaries, Network, Options};
use crate::program::Agent;

/// How long a call is tried again, and how long the last proposals may take once nobody is killed any more.
const PATIENCE: Duration = Duration::from_mins(4);

/// Who is killed.
#[derive(Debug, Clone)]
enum Victim {
    Node(String),
    Agent(usize),
}

/// Numbers that look random and come again with the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes ten minutes: by hand"]
async fn soak() {
    let Some(binaries) = Binaries::from_environment("soak") else { return };
    let mut network = Network::start(&binaries, Options::default());
    let (consortium, ledgers, mut agents) = begin(&network).await;
    let mut victims: Vec<Victim> = (0..agents.len()).map(Victim::Agent).collect();
    for organization in network.organizations() {
        victims.extend(organization.peers.iter().map(|peer| Victim::Node(peer.name.clone())));
        victims.extend(organization.orderers.iter().map(|orderer| Victim::Node(orderer.name.clone())));
    }

    let (length, seed) = (Duration::from_secs(number("SOAK_SECONDS", 600)), number("SOAK_SEED", 1));
    let (begun, mut dice) = (Instant::now(), Dice(seed));
    let mut kills: BTreeMap<String, usize> = BTreeMap::new();
    let mut proposed = Vec::new();
    while begun.elapsed() < length {
        let victim = victims[dice.below(victims.len())].clone();
        *kills.entry(format!("{victim:?}")).or_default() += 1;
        tokio::task::block_in_place(|| match &victim {
            Victim::Node(name) => network.kill(name),
            Victim::Agent(at) => agents[*at].kill(),
        });
        let away = Duration::from_millis(u64::try_from(dice.below(12_000)).expect("it is small"));
        let id = format!("soak{:04}x", proposed.len());
        let back = async {
            tokio::time::sleep(away).await;
            tokio::task::block_in_place(|| match &victim {
                Victim::Node(name) => network.restart(name),
                Victim::Agent(at) => agents[*at].restart(),
            });
        };
        tokio::join!(propose(&ledgers, &id), back);
        proposed.push(id);
    }
    let last = Instant::now();
    until_committed(&ledgers[0], proposed.len()).await;
    let settled = last.elapsed();
    assert_once(&consortium, &ledgers[0], &proposed).await;
    let memory: Vec<_> = agents.iter().filter_map(Agent::resident_memory).collect();
    eprintln!(
        "seed {seed}: {} proposals in {:?}, each done once; killed {kills:?}; the last was committed {settled:?} after the \
         end; agents take {memory:?} KiB",
        proposed.len(),
        begun.elapsed(),
    );
}

/// OpsSC among the organizations of a network, and an agent of each.
pub async fn begin(network: &Network) -> (Consortium, Vec<ChaincodeOps>, Vec<Agent>) {
    let mut consortium = Consortium::connect(network);
    consortium.deploy_opssc(network).await;
    let ledgers = consortium
        .clients
        .iter()
        .map(|client| {
            ChaincodeOps::new(client.channel(channel_name(OPS_CHANNEL)), "chaincode-ops".parse().expect("a name"))
        })
        .collect();
    let start = |organization| Agent::start(network, organization, "127.0.0.1:9");
    (consortium, ledgers, network.organizations().iter().map(start).collect())
}

/// Both organizations agree, whatever it takes.
pub async fn propose(ledgers: &[ChaincodeOps], id: &str) {
    let input = ProposalInput {
        id: id.to_owned(),
        channel_id: CHANNEL.to_owned(),
        chaincode_name: id.to_owned(),
        chaincode_package: ChaincodePackage {
            repository: "github.com/example/asset".to_owned(),
            commit_id: "main".to_owned(),
            path_to_source_files: String::new(),
            package_type: PackageType::Ccaas,
        },
        chaincode_definition: ChaincodeDefinition {
            sequence: 1,
            init_required: false,
            validation_parameter: BASE64_STANDARD.encode("/Channel/Application/Endorsement"),
            collections: String::new(),
        },
    };
    let vote = TaskStatusUpdate::new(id, TaskStatus::Agreed);
    let begun = Instant::now();
    loop {
        // A transaction of unknown outcome may have counted: the ledger is asked before the next try.
        let done = match ledgers[0].get_proposal(id).await {
            Ok(proposal) if proposal.status != Status::Proposed => return,
            Ok(_) => ledgers[1].vote(&vote).await.map(drop),
            Err(_) => ledgers[0].request_proposal(&input).await.map(drop),
        };
        if let Err(error) = done {
            assert!(begun.elapsed() < PATIENCE, "{id}: {error:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Waits until so many proposals are there, and all of them committed.
pub async fn until_committed(ledger: &ChaincodeOps, count: usize) {
    let begun = Instant::now();
    loop {
        let all = ledger.get_all_proposals().await.unwrap_or_default();
        let open: Vec<_> = all.values().filter(|proposal| proposal.status != Status::Committed).collect();
        if all.len() == count && open.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not committed: {open:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Every organization acted once on every proposal, and nobody told a failure.
pub async fn assert_once(consortium: &Consortium, ledger: &ChaincodeOps, proposed: &[String]) {
    let histories = ledger.get_histories(&HistoryQuery::default()).await.expect("the histories");
    let failures: Vec<_> = histories.values().filter(|history| history.status == TaskStatus::Failure).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let members = consortium.clients.len();
    for (channel, function, times) in [
        (CHANNEL, "ApproveChaincodeDefinitionForMyOrg", members),
        (CHANNEL, "CommitChaincodeDefinition", 1),
        (OPS_CHANNEL, "Acknowledge", members),
        (OPS_CHANNEL, "NotifyCommitResult", 1),
    ] {
        let channel = consortium.clients[0].channel(channel_name(channel));
        let height = usize::try_from(channel.height().await.expect("a height")).expect("it is small");
        let mut blocks = channel.blocks(Start::Oldest).take(height);
        let mut valid: BTreeMap<&str, usize> = BTreeMap::new();
        while let Some(block) = blocks.next().await {
            for transaction in Block::new(block.expect("a block")).expect("a block that is one").transactions() {
                let Kind::Endorsed(actions) = &transaction.kind else { continue };
                let [called, argument, ..] = actions[0].args.as_slice() else { continue };
                if &called[..] != function.as_bytes() || transaction.validation.to_string() != "VALID" {
                    continue;
                }
                let argument = String::from_utf8_lossy(argument);
                if let Some(id) = proposed.iter().find(|id| argument.contains(id.as_str())) {
                    *valid.entry(id).or_default() += 1;
                }
            }
        }
        let odd: Vec<_> = proposed.iter().filter(|id| valid.get(id.as_str()) != Some(&times)).collect();
        assert!(odd.is_empty(), "{function} is not there {times} times for {odd:?}: {valid:?}");
    }
}
