//! `opssc-agent demo`: the main job on an embedded network, from a proposal to an invoked chaincode.
//!
//! Two organizations with an agent each, the OpsSC contracts inside the peers, and a small asset contract served to them
//! as they would dial any other chaincode server. Nothing is simulated but the network's size.

mod screen;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;

use self::screen::Screen;
use super::failure::Exit;
use super::logging;
use super::output;
use super::signals::Signals;
use crate::agent::config::{LogFormat, Settings};
use crate::agent::progress::Reporter;
use crate::agent::{self, Agent, text};
use crate::chaincode::asset::AssetContract;
use crate::chaincode::shim::{Config, Server};
use crate::client::events::Start;
use crate::client::{Channel, Client, Endorsers};
use crate::devnet::{Devnet, Organization};
use crate::fabric::names::{ChaincodeName, ChannelName};
use crate::fabric::package::ccaas;
use crate::fabric::tx::Invocation;
use crate::opssc::calls::ChaincodeOps;
use crate::opssc::chaincode_ops::{
    ChaincodeDefinition, ChaincodePackage, HistoryQuery, PackageType, ProposalInput, Status, TaskStatus,
    TaskStatusUpdate,
};
use crate::runtime::Workers;

/// The longest that the whole thing may take.
const LIMIT: Duration = Duration::from_mins(1);

/// How fast blocks are cut: a network for production takes two seconds.
const BATCH: Duration = Duration::from_millis(250);

const CHANNEL: &str = "mychannel";
const CHAINCODE: &str = "asset";
const PROPOSAL: &str = "deploy-asset";

/// How the demonstration runs.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Leave the network running at the end, until SIGINT, and tell how to connect
    #[arg(long)]
    keep: bool,
    /// Keep the network's files here [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// error, warn, info, debug or silly
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<OsString>,
}

pub(super) fn run(demo: &Demo) -> anyhow::Result<Exit> {
    let level = demo.log_level.clone().unwrap_or_else(|| "error".into());
    let settings = Settings::from_lookup(|name| (name == "LOG_LEVEL").then(|| level.clone()))?;
    logging::start(settings.log_level, LogFormat::Text);
    let folder = Folder::new(demo.dir.clone(), demo.keep)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let screen = Arc::new(Screen::new());
        let workers = Workers::new();
        let mut signals = Signals::new()?;
        let shown = async {
            let network = start(&folder.path, &screen).await?;
            let result = tokio::select! {
                result = perform(&network, &screen, &workers) => result,
                () = workers.cancelled() => Ok(()),
            };
            Ok::<_, anyhow::Error>((network, result))
        };
        let (network, result) = tokio::select! {
            shown = tokio::time::timeout(LIMIT, shown) => shown.context("the demonstration takes too long")??,
            signal = signals.next() => bail!("stopped by {signal}"),
        };
        if demo.keep && result.is_ok() {
            super::devnet::tell(&network);
            output::say("it runs until you press Ctrl-C");
            signals.next().await;
        }
        workers.cancel();
        // The first thing that died explains the rest.
        workers.finished().await?;
        network.shutdown().await?;
        result?;
        Ok(Exit::Done)
    })
}

/// The network's folder; a temporary one goes away in the end.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn new(dir: Option<PathBuf>, keep: bool) -> anyhow::Result<Self> {
        let temporary = dir.is_none() && !keep;
        let path = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("opssc-demo-{}", std::process::id())));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make folder {}", path.display()))?;
        Ok(Self { path, temporary })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // It lies among temporary files; there is nothing better to do when it cannot be removed.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

async fn start(folder: &Path, screen: &Screen) -> anyhow::Result<Devnet> {
    screen.headline("A network of two organizations, each with a peer and an orderer");
    let network = Devnet::builder(folder.join("network"))
        .organizations(2)
        .channel(ChannelName::parse(CHANNEL)?)
        .batch_timeout(BATCH)
        .start()
        .await
        .context("the embedded network does not start")?;
    for organization in network.organizations() {
        screen.line(&organization.msp_id, "runs", "", &nodes(organization));
    }
    screen.headline("The OpsSC contracts on the ops channel");
    network.deploy_opssc().await.context("the OpsSC contracts cannot be deployed")?;
    Ok(network)
}

fn nodes(organization: &Organization) -> String {
    organization
        .peers
        .iter()
        .chain(&organization.orderers)
        .map(|node| format!("{} at {}", node.name, node.address))
        .collect::<Vec<_>>()
        .join(", ")
}

/// One organization with its client.
struct Member {
    client: Client,
    ledger: ChaincodeOps,
    settings: Settings,
}

async fn perform(network: &Devnet, screen: &Arc<Screen>, workers: &Workers) -> anyhow::Result<()> {
    // Agents of an earlier network in the same folder knew other blocks.
    match std::fs::remove_dir_all(agents_folder(network.folder())) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("cannot clear what an earlier network left");
        }
        _ => {}
    }
    let mut members = Vec::new();
    for (number, organization) in network.organizations().iter().enumerate() {
        let settings = settings(network.folder(), organization, number + 1)?;
        let client = agent::connect(&settings)?;
        let ops = client.channel(settings.ops_channel.clone());
        let ledger = ChaincodeOps::new(ops, settings.chaincode_ops.clone());
        members.push(Member { client, ledger, settings });
    }
    let (Some(first), Some(last)) = (members.first(), members.last()) else {
        bail!("the network has no organizations")
    };

    screen.headline("A chaincode server and an agent for each organization");
    for member in &members {
        let address = serve_asset(network, member, workers).await?;
        screen.line(&member.settings.msp_id, "serves the asset contract", "", &address);
        let reporter: Arc<dyn Reporter> = Arc::<Screen>::clone(screen);
        let agent = Agent::open(member.settings.clone()).await?.with_reporter(reporter);
        screen.line(&member.settings.msp_id, "starts its agent", "", &format!("health at {}", agent.service_address()));
        workers.spawn_to_end(format!("agent of {}", member.settings.msp_id), agent.run(workers.token()));
    }

    screen.headline("A proposal: deploy chaincode asset to mychannel");
    let watched = first.ledger.channel().clone();
    let height = watched.height().await?;
    let proposed = screen.timed(&first.settings.msp_id, "requests the proposal", PROPOSAL);
    first.ledger.request_proposal(&proposal()).await.context("the proposal was not requested")?;
    proposed.done();
    for member in members.iter().skip(1) {
        let voted = screen.timed(&member.settings.msp_id, "votes for it", PROPOSAL);
        let vote = TaskStatusUpdate::new(PROPOSAL, TaskStatus::Agreed);
        member.ledger.vote(&vote).await.context("the vote was not counted")?;
        voted.done();
    }

    screen.headline("The agents carry it out");
    until_committed(&watched, &first.ledger, height).await?;

    screen.headline("The chaincode is ready");
    let channel = first.client.channel(ChannelName::parse(CHANNEL)?);
    let invoked = screen.timed(&first.settings.msp_id, "invokes InitLedger", "endorsed by both organizations");
    channel.submit(&Invocation::new(CHAINCODE, "InitLedger"), Endorsers::AllOrgs).await?;
    invoked.done();
    let asked = screen.timed(&last.settings.msp_id, "asks for all assets", "");
    let channel = last.client.channel(ChannelName::parse(CHANNEL)?);
    let assets = read_assets(&channel).await?;
    asked.done();
    output::put_json(&assets)?;
    screen.headline("Done");
    Ok(())
}

fn agents_folder(network: &Path) -> PathBuf {
    network.join("agents")
}

/// The settings of an agent, as its environment would have them.
fn settings(folder: &Path, organization: &Organization, number: usize) -> anyhow::Result<Settings> {
    let checkpoints = agents_folder(folder).join(&organization.name);
    let table: BTreeMap<&str, OsString> = BTreeMap::from([
        ("ADMIN_MSPID", organization.msp_id.to_string().into()),
        ("ADMIN_CERT", organization.admin_certificate.clone().into()),
        ("ADMIN_KEY", organization.admin_key.clone().into()),
        ("CONNECTION_PROFILE", organization.connection_profile.clone().into()),
        ("CC_SERVER_LAUNCH_FROM_AGENT", "false".into()),
        ("CC_SERVER_SUFFIX", format!("org{number}").into()),
        ("AGENT_SERVICE_ADDRESS", "127.0.0.1".into()),
        ("AGENT_SERVICE_PORT", "0".into()),
        ("CHECKPOINT_DIR", checkpoints.into()),
    ]);
    Ok(Settings::from_lookup(|name| table.get(name).cloned())?)
}

/// Serves the asset contract for one organization, where its peers look for it.
async fn serve_asset(network: &Devnet, member: &Member, workers: &Workers) -> anyhow::Result<String> {
    let name = ChaincodeName::parse(CHAINCODE)?;
    let address = member.settings.servers.address_of(&name, 1);
    let package = ccaas::package(&format!("{CHAINCODE}-1").parse()?, &ccaas::Connection::plain(address.as_str()))?;
    let config = Config::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), package.id().as_str());
    let server = Server::bind(config, Arc::new(AssetContract)).await?;
    network.host(&address, server.local_address());
    let tree = workers.clone();
    workers
        .spawn_to_end(format!("asset contract of {}", member.settings.msp_id), async move { server.run(&tree).await });
    Ok(address)
}

fn proposal() -> ProposalInput {
    use base64::Engine as _;
    let policy = base64::prelude::BASE64_STANDARD.encode("/Channel/Application/Endorsement");
    ProposalInput {
        id: PROPOSAL.to_owned(),
        channel_id: CHANNEL.to_owned(),
        chaincode_name: CHAINCODE.to_owned(),
        chaincode_package: ChaincodePackage {
            repository: "github.com/hyperledger/fabric-samples".to_owned(),
            commit_id: "main".to_owned(),
            path_to_source_files: String::new(),
            package_type: PackageType::Ccaas,
        },
        chaincode_definition: ChaincodeDefinition {
            sequence: 1,
            init_required: false,
            validation_parameter: policy,
            collections: String::new(),
        },
    }
}

/// Waits until the definition is committed; a failure that an organization reports ends the wait.
async fn until_committed(watched: &Channel, ledger: &ChaincodeOps, from: u64) -> anyhow::Result<()> {
    let mut blocks = watched.filtered_blocks(Start::Number(from));
    loop {
        match ledger.get_proposal(PROPOSAL).await?.status {
            Status::Committed => return Ok(()),
            status if status.is_final() => bail!("the proposal is {status}"),
            _ => {}
        }
        let query = HistoryQuery { proposal_id: PROPOSAL.to_owned(), ..HistoryQuery::default() };
        let histories = ledger.get_histories(&query).await?;
        if let Some(failed) = histories.values().find(|history| history.status == TaskStatus::Failure) {
            bail!("{} reports a failure: {}", text::clean(&failed.org_id), text::bounded(&failed.data, 1000));
        }
        blocks.next().await.context("no more blocks")??;
    }
}

/// All assets, asked until the peer that answers has the block.
async fn read_assets(channel: &Channel) -> anyhow::Result<serde_json::Value> {
    let mut blocks = channel.filtered_blocks(Start::Newest);
    loop {
        let assets = channel.evaluate(&Invocation::new(CHAINCODE, "GetAllAssets")).await?;
        let assets: serde_json::Value = serde_json::from_slice(&assets).context("the answer is not JSON")?;
        if assets.as_array().is_some_and(|assets| !assets.is_empty()) {
            return Ok(assets);
        }
        blocks.next().await.context("no more blocks")??;
    }
}
