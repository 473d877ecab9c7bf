//! What the client does on every kind of network: deploy, call both ways, listen, and go on while nodes fail.
//!
//! One network for all of it, because bringing it up takes longer than the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use opssc::client::events::{ChaincodeEvent, Start};
use opssc::client::lifecycle::{Approval, Commitment, Installation, LifecycleError};
use opssc::client::{Channel, Endorsers, SubmitError, Way};
use opssc::fabric::block::ValidationCode;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, Label, TxId};
use opssc::fabric::package::Package;
use opssc::fabric::package::ccaas::{self, Connection};
use opssc::fabric::tx::Invocation;
use tokio::task::JoinHandle;

use crate::consortium::{Consortium, channel_name};
use crate::network::ports::Port;
use crate::network::process::Process;
use crate::network::{Binaries, Consensus, Network, Options, until};
use crate::{program, rubbish};

const CHANNEL: &str = "mychannel";
const CHAINCODE: &str = "asset";
const WAYS: [Way; 2] = [Way::Direct, Way::Gateway];

/// How long anything may take that others have to notice first: a node that is gone, a new leader.
const PATIENCE: Duration = Duration::from_mins(3);

/// Everything, on a network of two organizations with two peers and two orderers each.
pub fn run(test: &str, consensus: Consensus, mutual_tls: bool) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    if consensus == Consensus::Bft && !binaries.have_3(test, "BFT orderers") {
        return;
    }
    let options = Options {
        peers_per_organization: 2,
        orderers_per_organization: 2,
        consensus,
        channels: vec![CHANNEL.to_owned()],
        mutual_tls,
        ..Options::default()
    };
    let mut network = Network::start(&binaries, options);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let consortium = runtime.block_on(async { Consortium::connect(&network) });
    let mut timer = Timer { test: test.to_owned(), begin: Instant::now() };

    let (package, _server) = serve(&network);
    runtime.block_on(deploy(&consortium, &package));
    timer.done("deployed");
    runtime.block_on(call(&consortium));
    timer.done("called");
    runtime.block_on(rubbish::pass(&network, &consortium.clients[1].channel(channel_name(CHANNEL)), create));
    timer.done("passed rubbish");

    let listeners = Listeners::start(&runtime, &consortium);
    restart_peers(&mut network, &runtime, &consortium, &listeners);
    timer.done("listened across restarts");
    let made = fail_over(&mut network, &runtime, &consortium);
    timer.done("failed over");
    runtime.block_on(listeners.check(&consortium.clients[1].channel(channel_name(CHANNEL)), &made));
    timer.done("checked");
}

struct Timer {
    test: String,
    begin: Instant,
}

impl Timer {
    fn done(&mut self, what: &str) {
        eprintln!("{}: {what} in {:.1} s", self.test, self.begin.elapsed().as_secs_f32());
        self.begin = Instant::now();
    }
}

/// One server for the peers of all organizations, and the package that leads to it.
fn serve(network: &Network) -> (Package, Process) {
    let mut port = Port::reserve();
    let label = Label::parse("asset_1").expect("a label");
    let package = ccaas::package(&label, &Connection::plain(port.to_string())).expect("a package");
    port.release();
    let server = program::serve(network, CHAINCODE, package.id().as_str(), port.address());
    (package, server)
}

/// The lifecycle, step by step; each step says what it did, and done again that there was nothing to do.
async fn deploy(consortium: &Consortium, package: &Package) {
    let definition = ChaincodeDefinition::new(ChaincodeName::parse(CHAINCODE).expect("a name"), "1", 1);
    let [client1, client2] = &consortium.clients[..] else { panic!("two organizations") };
    for client in [client1, client2] {
        let installed = client.ensure_installed(package).await.expect("an installed package");
        assert_eq!(installed, [Installation::New; 2], "on both peers of {}", client.msp_id());
        let installed = client.ensure_installed(package).await.expect("an installed package");
        assert_eq!(installed, [Installation::Already; 2], "on both peers of {}", client.msp_id());
        let back = client.peer_lifecycle(&client.peers()[1]).installed_package(package.id()).await;
        assert_eq!(back.expect("the package back"), package.bytes(), "the bytes that were installed");
    }

    let [lifecycle1, lifecycle2] = [client1, client2].map(|client| client.channel(channel_name(CHANNEL)).lifecycle());
    // What was approved by mistake is put right, as often as need be.
    let mistaken = ChaincodeDefinition { version: "0".to_owned(), ..definition.clone() };
    let approval = lifecycle1.ensure_approved(&mistaken, Some(package.id())).await.expect("an approval");
    assert!(matches!(approval, Approval::New(_)), "{approval:?}");
    let approval = lifecycle1.ensure_approved(&definition, Some(package.id())).await.expect("another approval");
    assert!(matches!(approval, Approval::Changed { .. }), "{approval:?}");
    let approval = lifecycle1.ensure_approved(&definition, Some(package.id())).await.expect("the same approval");
    assert_eq!(approval, Approval::Already);
    let early = lifecycle1.ensure_committed(&definition).await.expect_err("one of two is no majority");
    assert!(matches!(&early, LifecycleError::NotReady { needed: 2, .. }), "{early}");

    let approval = lifecycle2.ensure_approved(&definition, Some(package.id())).await.expect("an approval");
    assert!(matches!(approval, Approval::New(_)), "{approval:?}");
    // The second organization's own peers know of both approvals by now.
    let commitment = eventually("the definition is committed", async || {
        lifecycle2.ensure_committed(&definition).await.map_err(|error| (error.is_retryable(), error.to_string()))
    });
    let commitment = commitment.await;
    assert!(matches!(commitment, Commitment::New(_)), "{commitment:?}");
    for lifecycle in [lifecycle1, lifecycle2] {
        let commitment = eventually("both organizations see it", async || {
            lifecycle.ensure_committed(&definition).await.map_err(|error| (true, error.to_string()))
        });
        assert_eq!(commitment.await, Commitment::Already);
    }
}

/// Asks until it succeeds; a failure says whether to go on.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, (bool, String)>) -> T {
    let begin = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err((retry, error)) => {
                assert!(retry && begin.elapsed() < PATIENCE, "{what}, after {:?}: {error}", begin.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn create(asset: &str) -> Invocation {
    ["blue", "5", "Tomoko", "300"]
        .into_iter()
        .fold(Invocation::new(CHAINCODE, "CreateAsset").arg(asset.to_owned()), Invocation::arg)
}

fn read(asset: &str) -> Invocation {
    Invocation::new(CHAINCODE, "ReadAsset").arg(asset.to_owned())
}

/// Both ways of transacting, each with every choice of endorsers that it has.
async fn call(consortium: &Consortium) {
    let organizations: Vec<_> = consortium.clients.iter().map(|client| client.msp_id().clone()).collect();
    let mut created = Vec::new();
    for (client, way) in consortium.clients.iter().flat_map(|client| WAYS.map(|way| (client, way))) {
        let channel = client.channel(channel_name(CHANNEL)).by(way);
        let choices = [
            Endorsers::AllOrgs,
            Endorsers::Majority,
            Endorsers::Discovered,
            Endorsers::Orgs(organizations.clone()),
            Endorsers::AtLeast { needed: 2, of: organizations.clone() },
        ];
        for (number, choice) in choices.into_iter().enumerate() {
            let asset = format!("call-{}-{way:?}-{number}", client.msp_id());
            // Discovery may take a moment to show a chaincode that was committed just now.
            let committed = eventually(&asset, async || {
                let done = channel.submit(&create(&asset), choice.clone()).await;
                done.map_err(|error| (error.is_retryable(), error.to_string()))
            });
            let committed = committed.await;
            let code = channel.transaction(&committed.tx_id).await.expect("an answer about a transaction");
            assert_eq!(code, Some(ValidationCode::Valid), "{asset}");
            created.push(asset);
        }
        let again = channel.submit(&create(created.last().expect("an asset")), Endorsers::AllOrgs).await;
        let again = again.expect_err("it exists");
        let (status, words) = again.refusal().expect("the chaincode's own words");
        assert_eq!(status, 500);
        assert!(words.contains("already exists"), "{words}");
        assert!(!again.is_retryable(), "{again}");
        // One organization's word is not enough.
        let lone = channel.submit(&create(&format!("lone-{}-{way:?}", client.msp_id())), Endorsers::Own).await;
        let lone = lone.expect_err("an endorsement too few");
        let code = ValidationCode::EndorsementPolicyFailure;
        assert!(matches!(&lone, SubmitError::Invalidated { code: found, .. } if *found == code), "{way:?}: {lone:?}");
    }
    for client in &consortium.clients {
        for asset in &created {
            let mut answers = BTreeSet::new();
            for way in WAYS {
                let channel = client.channel(channel_name(CHANNEL)).by(way);
                // An own peer may be a block behind the one that told of the commit.
                let answer = eventually(asset, async || {
                    channel.evaluate(&read(asset)).await.map_err(|error| (true, error.to_string()))
                });
                answers.insert(answer.await);
            }
            assert_eq!(answers.len(), 1, "both ways read the same of {asset}");
        }
    }
}

/// Streams that run throughout: events at one organization, blocks at the other.
struct Listeners {
    events: JoinHandle<()>,
    blocks: JoinHandle<()>,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    events: std::sync::Mutex<Vec<ChaincodeEvent>>,
    blocks: std::sync::Mutex<Vec<u64>>,
}

impl Listeners {
    fn start(runtime: &tokio::runtime::Runtime, consortium: &Consortium) -> Self {
        let heard = Arc::new(Heard::default());
        let [channel1, channel2] =
            [0, 1].map(|organization: usize| consortium.clients[organization].channel(channel_name(CHANNEL)));
        let chaincode = ChaincodeName::parse(CHAINCODE).expect("a name");
        let both = Arc::clone(&heard);
        let events = runtime.spawn(async move {
            let mut events = channel1.chaincode_events(&chaincode, Start::Oldest);
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => both.events.lock().expect("a list").push(event),
                    // It tells, and goes on by itself.
                    Err(error) => eprintln!("events at the first organization: {error}"),
                }
            }
        });
        let both = Arc::clone(&heard);
        let blocks = runtime.spawn(async move {
            // Every block with its orderers' signatures: Raft and BFT sign differently.
            let mut blocks = channel2.blocks(Start::Oldest.verified());
            while let Some(block) = blocks.next().await {
                match block {
                    Ok(block) => both.blocks.lock().expect("a list").push(block.header.expect("a header").number),
                    Err(error) => eprintln!("blocks at the second organization: {error}"),
                }
            }
        });
        Self { events, blocks, heard }
    }

    fn has_event_of(&self, asset: &str) -> bool {
        self.heard.events.lock().expect("a list").iter().any(|event| asset_of(event) == asset)
    }

    fn event_of(&self, asset: &str) -> Result<(), String> {
        if self.has_event_of(asset) { Ok(()) } else { Err("nothing yet".to_owned()) }
    }

    /// That no event was lost or came twice, that every asset was made once, and no block is missing.
    async fn check(self, channel: &Channel, made: &BTreeMap<String, TxId>) {
        let height = channel.height().await.expect("a height");
        eventually("all blocks and events have come", async || {
            let blocks = self.heard.blocks.lock().expect("a list").len() as u64;
            let missing: Vec<_> = made.keys().filter(|asset| !self.has_event_of(asset)).collect();
            if blocks >= height && missing.is_empty() {
                return Ok(());
            }
            Err((true, format!("{blocks} of {height} blocks, no events of {missing:?}")))
        })
        .await;
        assert!(!self.events.is_finished() && !self.blocks.is_finished(), "streams do not end by themselves");
        self.events.abort();
        self.blocks.abort();
        let blocks = self.heard.blocks.lock().expect("a list").clone();
        assert_eq!(blocks, (0..blocks.len() as u64).collect::<Vec<_>>(), "each block once and in order");
        let events = self.heard.events.lock().expect("a list");
        let mut makers: BTreeMap<String, Vec<TxId>> = BTreeMap::new();
        for event in &*events {
            assert_eq!(event.name, "CreateAsset");
            makers.entry(asset_of(event)).or_default().push(event.tx_id.clone());
        }
        let places: Vec<_> = events.iter().map(|event| (event.block, event.tx_index)).collect();
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "events in the order of the ledger: {places:?}");
        for (asset, makers) in &makers {
            assert_eq!(makers.len(), 1, "{asset} was made more than once: {makers:?}");
        }
        for (asset, tx_id) in made {
            assert_eq!(makers.get(asset), Some(&vec![tx_id.clone()]), "who made {asset}");
        }
    }
}

fn asset_of(event: &ChaincodeEvent) -> String {
    let asset: serde_json::Value = serde_json::from_slice(&event.payload).expect("JSON");
    asset["ID"].as_str().expect("an ID").to_owned()
}

/// All peers of an organization go down and come back; its stream goes on by itself.
fn restart_peers(
    network: &mut Network,
    runtime: &tokio::runtime::Runtime,
    consortium: &Consortium,
    listeners: &Listeners,
) {
    until(PATIENCE, "what had happened is heard", || listeners.event_of("call-Org1MSP-Direct-0"));
    let names: Vec<_> = network.organizations()[0].peers.iter().map(|peer| peer.name.clone()).collect();
    for name in &names {
        network.kill(name);
    }
    for name in &names {
        network.restart(name);
    }
    let channel = consortium.clients[1].channel(channel_name(CHANNEL));
    runtime.block_on(eventually("an asset after the restart", async || {
        let done = channel.submit(&create("restarted"), Endorsers::AllOrgs).await;
        done.map_err(|error| (error.is_retryable(), error.to_string()))
    }));
    until(PATIENCE, "the stream goes on", || listeners.event_of("restarted"));
}

/// What workers have made so far, and whether they shall go on.
#[derive(Default)]
struct Progress {
    made: AtomicUsize,
    enough: AtomicBool,
}

impl Progress {
    fn wait_for_more(&self, more: usize, what: &str) {
        let goal = self.made.load(Ordering::SeqCst) + more;
        until(PATIENCE, what, || match self.made.load(Ordering::SeqCst) {
            made if made >= goal => Ok(()),
            made => Err(format!("{made} of {goal} assets")),
        });
    }
}

/// Clients of both organizations make assets both ways while an orderer and a peer are killed and come back. Gives what
/// was made, by which transactions.
fn fail_over(
    network: &mut Network,
    runtime: &tokio::runtime::Runtime,
    consortium: &Consortium,
) -> BTreeMap<String, TxId> {
    let progress = Arc::new(Progress::default());
    let mut workers = Vec::new();
    for (client, way) in consortium.clients.iter().flat_map(|client| WAYS.map(|way| (client, way))) {
        let channel = client.channel(channel_name(CHANNEL)).by(way);
        workers.push(runtime.spawn(work(channel, Arc::clone(&progress))));
    }
    // The orderer and the peer that the first organization's clients turn to first; with BFT, the first leader.
    let organization = &network.organizations()[0];
    let (orderer, peer) = (organization.orderers[0].name.clone(), organization.peers[0].name.clone());
    progress.wait_for_more(12, "assets are made");
    network.kill(&orderer);
    progress.wait_for_more(24, "assets are made without an orderer");
    network.kill(&peer);
    progress.wait_for_more(24, "assets are made without an orderer and a peer");
    network.restart(&orderer);
    network.restart(&peer);
    progress.wait_for_more(24, "assets are made with all nodes back");
    progress.enough.store(true, Ordering::SeqCst);
    runtime.block_on(async {
        let mut made = BTreeMap::new();
        for worker in workers {
            made.extend(worker.await.expect("a worker that made its assets"));
        }
        made
    })
}

/// Makes assets one after the other, each until it is known to be made.
async fn work(channel: Channel, progress: Arc<Progress>) -> BTreeMap<String, TxId> {
    let mut made = BTreeMap::new();
    while !progress.enough.load(Ordering::SeqCst) {
        let asset = format!("load-{}-{:?}-{}", channel.client().msp_id(), channel.way(), made.len());
        let tx_id = make(&channel, &asset).await;
        made.insert(asset, tx_id);
        progress.made.fetch_add(1, Ordering::SeqCst);
    }
    made
}

/// Takes the client at its word: what it calls retryable is tried again as a new transaction, what it calls undecided is
/// looked up. Were a word wrong, the asset would exist already, or not at all.
async fn make(channel: &Channel, asset: &str) -> TxId {
    let begin = Instant::now();
    loop {
        let error = match channel.submit(&create(asset), Endorsers::AllOrgs).await {
            Ok(committed) => return committed.tx_id,
            Err(error) => error,
        };
        assert!(begin.elapsed() < PATIENCE, "{asset}: {error}");
        if let SubmitError::Undecided { tx_id, .. } = &error {
            match decided(channel, tx_id).await {
                ValidationCode::Valid => return tx_id.clone(),
                code => assert!(code.is_conflict(), "{asset}: {code}"),
            }
        } else {
            assert!(error.is_retryable(), "{asset}: {error}: {error:?}");
            eprintln!("{asset} is tried again after {:.1} s: {error}", begin.elapsed().as_secs_f32());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What became of a transaction that was on its way.
async fn decided(channel: &Channel, tx_id: &TxId) -> ValidationCode {
    let begin = Instant::now();
    loop {
        match channel.transaction(tx_id).await {
            Ok(Some(code)) => return code,
            other => assert!(begin.elapsed() < PATIENCE, "{tx_id} is not decided: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
