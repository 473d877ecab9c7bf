//! Everything by which the agent acts, as one branch that is started while this replica leads and ended when it does not.
//!
//! Whatever only watches, or answers whoever asks, is not here: it runs on every replica.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::client::Client;
use crate::client::participation::OrdererAdmin;
use crate::fabric::names::ChaincodeName;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::runtime::Workers;
use crate::runtime::retry::Backoff;

use super::account::{Account, Hook, Listeners};
use super::bootstrap::{self, Bootstrap, CatchUp, Contracts, Standing};
use super::chaincode_ops::Operations;
use super::channel_ops::{ChannelOperations, Part};
use super::config::Settings;
use super::daemon::Bells;
use super::handlers::{ChaincodeEvents, ChannelEvents};
use super::holds::Holds;
use super::http::{Health, Listener};
use super::journal::{Journal, JournalError, TaskRecord};
use super::listen::Listening;
use super::progress::{Reporter, Step, Task};
use super::reconcile::{Overdue, Reconciliation};
use super::schedule::{Runner, Scheduler, Tasks};
use super::sources::Workshop;
use super::task::Kind;
use super::turn::{self, Crowd, End};

/// What it takes to act.
pub(super) struct Duties {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) orderers: Vec<OrdererAdmin>,
    pub(super) reporter: Arc<dyn Reporter>,
    pub(super) workshop: Arc<Workshop>,
    pub(super) health: Arc<Health>,
    pub(super) journal: Journal,
    pub(super) bells: Arc<Bells>,
    pub(super) standing: Arc<watch::Sender<Standing>>,
    pub(super) holds: Holds,
    pub(super) hook: Arc<dyn Hook>,
}

impl Duties {
    /// Starts all of it in `branch`. It ends when the branch is cancelled, steps under way first.
    pub(super) fn start(self: Arc<Self>, branch: &Workers) {
        let workers = branch.clone();
        branch.spawn_to_end("duties", async move {
            self.begin(&workers).await;
            Ok::<(), Infallible>(())
        });
    }

    async fn begin(&self, branch: &Workers) {
        if self.remember(branch).await.is_none() {
            return;
        }
        let Self { settings, client, .. } = self;
        let ops = client.channel(settings.ops_channel.clone());
        let channels = ChannelOps::new(ops.clone(), settings.channel_ops.clone());
        let chaincodes = ChaincodeOps::new(ops, settings.chaincode_ops.clone());
        let listeners = Arc::new(Listeners {
            organization: client.msp_id().clone(),
            reporter: Arc::clone(&self.reporter),
            hook: Arc::clone(&self.hook),
            journal: self.journal.clone(),
            stop: branch.token(),
        });
        let tasks = Tasks::new(Arc::clone(&listeners));
        let overdue = Arc::<Overdue>::default();

        let operations = Operations {
            client: client.clone(),
            ledger: chaincodes.clone(),
            servers: settings.servers.clone(),
            sources: settings.sources.clone(),
            workshop: Arc::clone(&self.workshop),
            encoding: settings.definition_encoding,
            bells: Arc::clone(&self.bells),
            stop: branch.token(),
        };
        let channel_operations = ChannelOperations {
            client: client.clone(),
            ledger: channels.clone(),
            orderers: self.orderers.clone(),
            bells: Arc::clone(&self.bells),
        };
        let scheduler = Scheduler {
            tasks: tasks.clone(),
            runner: Arc::new(Jobs {
                chaincodes: operations,
                channels: channel_operations,
                limits: Limits::of(settings),
            }),
            holds: self.holds.clone(),
            side_by_side: settings.tasks.side_by_side,
            grace: settings.tasks.grace(),
        };
        branch.spawn_to_end("scheduler", async move {
            scheduler.run().await;
            Ok::<(), Infallible>(())
        });

        let bootstrap = Bootstrap::new(bootstrap::Parts {
            client: client.clone(),
            channels: channels.clone(),
            chaincodes: chaincodes.clone(),
            contracts: Contracts::of(settings),
            catch_up: catch_up(&tasks, branch),
            bells: Arc::clone(&self.bells),
            standing: Arc::clone(&self.standing),
            listeners: Arc::clone(&listeners),
            holds: self.holds.clone(),
            period: settings.tasks.bootstrap_period,
        });
        branch.spawn_to_end("bootstrap", bootstrap.run());

        let reconciliation = Reconciliation {
            organization: client.msp_id().clone(),
            chaincode_ops: chaincodes,
            channel_ops: channels,
            tasks: tasks.clone(),
            journal: self.journal.clone(),
            overdue: Arc::clone(&overdue),
            bells: Arc::clone(&self.bells),
            settings: settings.tasks,
            stop: branch.token(),
        };
        branch.spawn_to_end("reconciliation", reconciliation.run());

        let listening = self.listening(&settings.chaincode_ops, Listener::ChaincodeOps, &tasks, branch);
        let events = ChaincodeEvents { listeners: Arc::clone(&listeners), overdue: Arc::clone(&overdue) };
        branch.spawn_to_end("chaincode-ops", async move { listening.run(&events).await });
        let listening = self.listening(&settings.channel_ops, Listener::ChannelOps, &tasks, branch);
        let events = ChannelEvents { listeners, bells: Arc::clone(&self.bells), overdue };
        branch.spawn_to_end("channel-ops", async move { listening.run(&events).await });
    }

    fn listening(&self, contract: &ChaincodeName, listener: Listener, tasks: &Tasks, branch: &Workers) -> Listening {
        Listening {
            channel: self.client.channel(self.settings.ops_channel.clone()),
            contract: contract.clone(),
            journal: self.journal.clone(),
            tasks: tasks.clone(),
            listener,
            health: Arc::clone(&self.health),
            stop: branch.token(),
        }
    }

    /// Opens the journal, which another replica may be about to close. `None` when told to stop.
    async fn remember(&self, branch: &Workers) -> Option<()> {
        let stop = branch.token();
        for wait in Backoff::new(Duration::from_millis(250), Duration::from_secs(5)) {
            match self.journal.acquire().await {
                Ok(()) => return Some(()),
                Err(error @ JournalError::Taken { .. }) => {
                    tracing::warn!(%error, again_in = ?wait, "waiting for the journal");
                }
                Err(error) => tracing::error!(%error, again_in = ?wait, "nothing is done without the journal"),
            }
            stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
        }
        None
    }
}

/// Hands in what is to be caught up with; a refused one rests before it is tried again, however often it is found.
fn catch_up(tasks: &Tasks, branch: &Workers) -> CatchUp {
    let (tasks, branch) = (tasks.clone(), branch.clone());
    Arc::new(move |record: TaskRecord| {
        if tasks.rests(&record) {
            return;
        }
        let tasks = tasks.clone();
        branch.spawn_to_end("catch-up", async move {
            // When told to stop, it is found again after the next start.
            let _ = tasks.hand_in(vec![record], None).await;
            Ok::<(), Infallible>(())
        });
    })
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    step: Duration,
    /// Sources are fetched, and images and builds are waited for, within limits of their own.
    sources: Duration,
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        let Settings { sources, servers, .. } = settings;
        let build = sources.build_command.as_ref().map_or(Duration::ZERO, |command| command.limit);
        let own = (sources.limits.time + sources.retry_time).max(build).max(servers.start_timeout);
        Self {
            step: settings.tasks.step_timeout,
            sources: settings.tasks.step_timeout.max(own + Duration::from_mins(1)),
        }
    }

    fn of_step(self, step: Step) -> Duration {
        match step {
            Step::Fetch | Step::Build | Step::Package => self.sources,
            _ => self.step,
        }
    }
}

/// Carries out each kind of task.
struct Jobs {
    chaincodes: Operations,
    channels: ChannelOperations,
    limits: Limits,
}

impl Runner for Jobs {
    fn run(self: Arc<Self>, account: Arc<Account>, crowd: Crowd) -> Pin<Box<dyn Future<Output = End> + Send>> {
        Box::pin(async move {
            let limit = |step| self.limits.of_step(step);
            let kind = match account.task() {
                Task::PrepareToDeploy => Kind::PrepareToDeploy,
                Task::Deploy => Kind::Deploy,
                Task::CatchUp => Kind::CatchUp,
                // It does them by itself and hands none in.
                Task::JoinChannel | Task::DeployContract | Task::InstallPackage => return End::Abandoned,
                Task::UpdateChannel => {
                    let part = if account.now().executor { Part::Executor } else { Part::Member };
                    return turn::run(&account, &mut self.channels.job(part, &account), &crowd, limit).await;
                }
            };
            turn::run(&account, &mut self.chaincodes.job(kind, &account), &crowd, limit).await
        })
    }
}
