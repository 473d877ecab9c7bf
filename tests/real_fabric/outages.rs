//! Outages that last longer than whatever gives up within an agent: of all orderers, and of all own peers. By hand:
//!
//! `FABRIC_BIN=fabric/bin cargo test --test real_fabric outages -- --ignored --nocapture`
//!
//! Each begins in the middle of a proposal. Nobody may tell a failure, and everything is done once when they are back.

use std::time::{Duration, Instant};

use opssc::opssc::calls::ChaincodeOps;
use opssc::opssc::chaincode_ops::{HistoryQuery, Status, TaskStatus};

use crate::network::{Binaries, Network, Options};
use crate::program::Agent;
use crate::soak::{assert_once, begin, propose, until_committed};

/// How long the nodes are away.
const ORDERERS_AWAY: Duration = Duration::from_secs(90);
const PEERS_AWAY: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes some minutes: by hand"]
async fn outages() {
    let Some(binaries) = Binaries::from_environment("outages") else { return };
    let options = Options { peers_per_organization: 2, orderers_per_organization: 2, ..Options::default() };
    let mut network = Network::start(&binaries, options);
    let (consortium, ledgers, agents) = begin(&network).await;
    let orderers: Vec<String> = network
        .organizations()
        .iter()
        .flat_map(|organization| organization.orderers.iter().map(|orderer| orderer.name.clone()))
        .collect();
    let peers: Vec<String> = network.organizations()[0].peers.iter().map(|peer| peer.name.clone()).collect();

    let mut proposed = Vec::new();
    for (what, nodes, away) in [("all orderers", &orderers, ORDERERS_AWAY), ("all own peers", &peers, PEERS_AWAY)] {
        let id = format!("outage{:04}x", proposed.len());
        propose(&ledgers, &id).await;
        proposed.push(id.clone());
        tokio::task::block_in_place(|| nodes.iter().for_each(|name| network.kill(name)));
        let before = assert_unharmed(&ledgers[1], &id).await;
        assert_ne!(before, Status::Committed, "{id} was carried out before {what} were gone");
        tokio::time::sleep(away).await;
        let amid = assert_unharmed(&ledgers[1], &id).await;
        let healthy: Vec<bool> = agents.iter().map(Agent::is_healthy).collect();
        tokio::task::block_in_place(|| nodes.iter().for_each(|name| network.restart(name)));
        let back = Instant::now();
        until_committed(&ledgers[1], proposed.len()).await;
        let settled = back.elapsed();
        eprintln!(
            "{what} away for {away:?}: {id} was {before}, then {amid} at the end of it, and committed {settled:.1?} after \
             they were back; agents healthy meanwhile: {healthy:?}"
        );
        for agent in &agents {
            agent.until_healthy();
        }
        assert_unharmed(&ledgers[1], &id).await;
    }
    // And everything goes on as before.
    let began = Instant::now();
    propose(&ledgers, "afterwards").await;
    proposed.push("afterwards".to_owned());
    until_committed(&ledgers[0], proposed.len()).await;
    eprintln!("another proposal takes {:.1?}", began.elapsed());
    assert_once(&consortium, &ledgers[0], &proposed).await;
}

/// Nobody has told a failure. Where the proposal stands.
async fn assert_unharmed(ledger: &ChaincodeOps, id: &str) -> Status {
    let query = HistoryQuery { proposal_id: id.to_owned(), ..HistoryQuery::default() };
    let histories = ledger.get_histories(&query).await.expect("the histories");
    assert!(histories.values().all(|history| history.status != TaskStatus::Failure), "{histories:?}");
    ledger.get_proposal(id).await.expect("the proposal").status
}
