//! A network of two organizations with everything that a test of agents needs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use opssc::agent::bootstrap::Standing;
use opssc::agent::config::Settings;
use opssc::agent::http::Health;
use opssc::agent::journal::Journal;
use opssc::agent::metrics::Metrics;
use opssc::agent::progress::{Progress, Reporter};
use opssc::agent::{Agent, Bells, Hook};
use opssc::client::Client;
use opssc::client::events::Start;
use opssc::devnet::{Builder, Devnet};
use opssc::fabric::block::{Block, Kind};
use opssc::fabric::identity::Creator;
use opssc::fabric::names::ChannelName;
use opssc::opssc::calls::ChaincodeOps;
use opssc::opssc::chaincode_ops::{
    ChaincodeDefinition, ChaincodePackage, History, HistoryQuery, PackageType, ProposalInput, Status, TaskStatus,
    TaskStatusUpdate,
};
use opssc::runtime::{CancellationToken, Workers};
use tokio::sync::{mpsc, watch};

/// Longer than anything here takes; a test that hangs tells where.
const LIMIT: Duration = Duration::from_mins(1);

/// `work`, or a panic after a time.
pub(super) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// One organization.
pub(super) struct Member {
    pub(super) environment: BTreeMap<&'static str, OsString>,
    pub(super) client: Client,
    pub(super) ledger: ChaincodeOps,
}

/// The network and its organizations.
pub(super) struct World {
    pub(super) network: Devnet,
    pub(super) members: Vec<Member>,
    pub(super) folder: tempfile::TempDir,
}

/// A transaction on a ledger, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) organization: String,
    pub(super) function: String,
    pub(super) argument: String,
    pub(super) verdict: String,
}

impl World {
    /// Two organizations with a peer and an orderer each, and OpsSC on the ops channel.
    pub(super) async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    pub(super) async fn start_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let builder = Devnet::builder(folder.path().join("network"))
            .organizations(2)
            .channel(mychannel())
            .batch_timeout(Duration::from_millis(100));
        let network = within("starting the network", change(builder).start()).await.unwrap();
        within("deploying OpsSC", network.deploy_opssc()).await.unwrap();
        let members = network
            .organizations()
            .iter()
            .map(|organization| {
                let checkpoints: PathBuf = folder.path().join("checkpoints").join(&organization.name);
                let client = network.admin(&organization.msp_id).unwrap();
                let ops = client.channel(network.ops_channel().clone());
                Member {
                    environment: BTreeMap::from([
                        ("ADMIN_MSPID", organization.msp_id.to_string().into()),
                        ("ADMIN_CERT", organization.admin_certificate.clone().into()),
                        ("ADMIN_KEY", organization.admin_key.clone().into()),
                        ("CONNECTION_PROFILE", organization.connection_profile.clone().into()),
                        ("CC_SERVER_LAUNCH_FROM_AGENT", "false".into()),
                        ("CC_SERVER_SUFFIX", organization.name.to_lowercase().into()),
                        ("AGENT_SERVICE_ADDRESS", "127.0.0.1".into()),
                        ("AGENT_SERVICE_PORT", "0".into()),
                        ("CHECKPOINT_DIR", checkpoints.into()),
                    ]),
                    ledger: ChaincodeOps::new(ops, "chaincode-ops".parse().unwrap()),
                    client,
                }
            })
            .collect();
        Self { network, members, folder }
    }

    /// Starts the agent of one organization in this process.
    pub(super) async fn agent(&self, member: usize) -> Running {
        self.agent_with(member, &[]).await
    }

    /// As [`agent`](Self::agent), with other settings.
    pub(super) async fn agent_with(&self, member: usize, settings: &[(&'static str, &str)]) -> Running {
        self.agent_hooked(member, settings, Arc::new(()), CancellationToken::new()).await
    }

    /// As [`agent_with`](Self::agent_with), with a hook around every step, and stopped by `stop`.
    pub(super) async fn agent_hooked(
        &self,
        member: usize,
        settings: &[(&'static str, &str)],
        hook: Arc<dyn Hook>,
        stop: CancellationToken,
    ) -> Running {
        let environment = self.environment(member, settings);
        Self::start_agent(environment, Arc::new(()), hook, stop).await
    }

    /// Starts an agent with exactly these settings.
    pub(super) async fn agent_of(environment: BTreeMap<&'static str, OsString>) -> Running {
        Self::start_agent(environment, Arc::new(()), Arc::new(()), CancellationToken::new()).await
    }

    /// As [`agent_with`](Self::agent_with); `watcher` hears of everything at the moment at which it happens.
    pub(super) async fn watched_agent(
        &self,
        member: usize,
        settings: &[(&'static str, &str)],
        watcher: Arc<dyn Reporter>,
    ) -> Running {
        let environment = self.environment(member, settings);
        Self::start_agent(environment, watcher, Arc::new(()), CancellationToken::new()).await
    }

    async fn start_agent(
        environment: BTreeMap<&'static str, OsString>,
        watcher: Arc<dyn Reporter>,
        hook: Arc<dyn Hook>,
        stop: CancellationToken,
    ) -> Running {
        let settings = Settings::from_lookup(|name| environment.get(name).cloned()).unwrap();
        let (told, heard) = mpsc::unbounded_channel();
        let reporters: Vec<Arc<dyn Reporter>> = vec![watcher, Arc::new(Recorder(told))];
        let agent = Agent::open(settings).await.unwrap().with_reporter(Arc::new(reporters)).with_hook(hook);
        let (address, health, metrics, workers) =
            (agent.service_address(), agent.health(), agent.metrics(), Workers::new());
        let (standing, bells, journal) = (agent.standing(), agent.bells(), agent.journal());
        workers.spawn_to_end("agent", agent.run(stop.clone()));
        Running { address, health, metrics, standing, bells, journal, stop, workers, heard }
    }

    /// The environment of an agent.
    pub(super) fn environment(
        &self,
        member: usize,
        settings: &[(&'static str, &str)],
    ) -> BTreeMap<&'static str, OsString> {
        let mut environment = self.members[member].environment.clone();
        environment.extend(settings.iter().map(|(name, value)| (*name, OsString::from(value))));
        environment
    }

    /// Both agents, listening.
    pub(super) async fn agents(&self) -> Vec<Running> {
        self.agents_with(&[]).await
    }

    /// Both agents, listening, with other settings.
    pub(super) async fn agents_with(&self, settings: &[(&'static str, &str)]) -> Vec<Running> {
        let agents = vec![self.agent_with(0, settings).await, self.agent_with(1, settings).await];
        for agent in &agents {
            within("listening", agent.health.until(true)).await;
        }
        agents
    }

    /// The first organization requests a proposal and the others vote for it.
    pub(super) async fn propose(&self, input: &ProposalInput) {
        within("the request", self.members[0].ledger.request_proposal(input)).await.unwrap();
        for member in &self.members[1..] {
            let vote = TaskStatusUpdate::new(input.id.as_str(), TaskStatus::Agreed);
            within("the vote", member.ledger.vote(&vote)).await.unwrap();
        }
    }

    /// Waits until a proposal has this status.
    pub(super) async fn until(&self, id: &str, status: Status) {
        self.until_seen(&format!("{id} to become {status}"), id, |found, _| *found == status).await;
    }

    /// Waits until `seen` holds for a proposal's status and histories: looks again with each block.
    pub(super) async fn until_seen(&self, what: &str, id: &str, seen: impl Fn(&Status, &[History]) -> bool) {
        let ledger = &self.members[0].ledger;
        let mut blocks = ledger.channel().blocks(Start::Newest);
        let look = async {
            loop {
                if let (Ok(proposal), Ok(histories)) = (ledger.get_proposal(id).await, self.histories_of(id).await)
                    && seen(&proposal.status, &histories)
                {
                    return;
                }
                // A stopped peer shows as an error, after which the stream goes on.
                blocks.next().await;
            }
        };
        if tokio::time::timeout(LIMIT, look).await.is_err() {
            let (proposal, histories) = (ledger.get_proposal(id).await, self.histories_of(id).await);
            panic!("{what} takes too long: {proposal:?} {histories:?}");
        }
    }

    /// Waits until every organization has told a failure, and yields the reasons.
    pub(super) async fn failures(&self, id: &str) -> Vec<String> {
        let failed = |histories: &[History]| {
            let told = histories.iter().filter(|history| history.status == TaskStatus::Failure);
            told.map(|history| history.data.clone()).collect::<Vec<_>>()
        };
        let all = self.members.len();
        self.until_seen(&format!("failures of {id}"), id, |_, histories| failed(histories).len() == all).await;
        failed(&self.histories(id).await)
    }

    /// What the organizations have told about a proposal.
    pub(super) async fn histories(&self, id: &str) -> Vec<History> {
        within("the histories", self.histories_of(id)).await.unwrap()
    }

    async fn histories_of(&self, id: &str) -> Result<Vec<History>, opssc::opssc::calls::OpsError> {
        let query = HistoryQuery { proposal_id: id.to_owned(), ..HistoryQuery::default() };
        Ok(self.members[0].ledger.get_histories(&query).await?.into_values().collect())
    }

    /// All transactions of a channel that call `function`, in their order.
    pub(super) async fn calls(&self, channel: &ChannelName, function: &str) -> Vec<Entry> {
        self.network.settled(channel).await;
        let channel = self.members[0].client.channel(channel.clone());
        let height = usize::try_from(channel.height().await.unwrap()).unwrap();
        let blocks = channel.blocks(Start::Oldest).take(height).collect::<Vec<_>>();
        let mut found = Vec::new();
        for block in within("reading the blocks", blocks).await {
            for transaction in Block::new(block.unwrap()).unwrap().transactions() {
                let Kind::Endorsed(actions) = &transaction.kind else { continue };
                let args: Vec<String> =
                    actions[0].args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
                if args[0] == function {
                    found.push(Entry {
                        organization: Creator::decode(&transaction.creator).unwrap().msp_id.to_string(),
                        function: args[0].clone(),
                        argument: args.get(1).cloned().unwrap_or_default(),
                        verdict: transaction.validation.to_string(),
                    });
                }
            }
        }
        found
    }
}

/// An agent in this process.
pub(super) struct Running {
    /// Where it serves HTTP.
    pub(super) address: SocketAddr,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) bells: Arc<Bells>,
    pub(super) journal: Journal,
    stop: CancellationToken,
    workers: Workers,
    heard: mpsc::UnboundedReceiver<Progress>,
}

impl Running {
    /// Waits for a statement of the agent.
    pub(super) async fn until(&mut self, what: &str, said: impl Fn(&Progress) -> bool) -> Progress {
        let wait = async {
            loop {
                let progress = self.heard.recv().await.expect("the agent lives while it is waited for");
                if said(&progress) {
                    return progress;
                }
            }
        };
        within(what, wait).await
    }

    /// Waits until the agent has found its peers so.
    pub(super) async fn until_standing(&self, what: &str, seen: impl Fn(&Standing) -> bool) -> Standing {
        let mut told = self.standing.clone();
        let wait = told.wait_for(|standing| standing.looked && seen(standing));
        let Ok(found) = tokio::time::timeout(LIMIT, wait).await else {
            panic!("{what} takes too long: {:?}", *self.standing.borrow())
        };
        found.expect("the agent lives while it is waited for").clone()
    }

    /// Everything that the agent has said and nobody has listened to.
    pub(super) fn said(&mut self) -> Vec<Progress> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }

    /// Stops the agent in good order.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        within("stopping the agent", self.ended()).await;
    }

    /// Waits until the agent has ended.
    pub(super) async fn ended(self) {
        self.workers.finished().await.unwrap();
    }
}

struct Recorder(mpsc::UnboundedSender<Progress>);

impl Reporter for Recorder {
    fn report(&self, progress: &Progress) {
        // Nobody listens once the test is over.
        let _ = self.0.send(progress.clone());
    }
}

pub(super) fn mychannel() -> ChannelName {
    ChannelName::parse("mychannel").unwrap()
}

/// A proposal that can be carried out.
pub(super) fn proposal(id: &str, chaincode: &str, sequence: i64) -> ProposalInput {
    ProposalInput {
        id: id.to_owned(),
        channel_id: mychannel().to_string(),
        chaincode_name: chaincode.to_owned(),
        chaincode_package: ChaincodePackage {
            repository: "github.com/example/asset".to_owned(),
            commit_id: "main".to_owned(),
            path_to_source_files: String::new(),
            package_type: PackageType::Ccaas,
        },
        chaincode_definition: ChaincodeDefinition {
            sequence,
            init_required: false,
            validation_parameter: BASE64_STANDARD.encode("/Channel/Application/Endorsement"),
            collections: String::new(),
        },
    }
}
