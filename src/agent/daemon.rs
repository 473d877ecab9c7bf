//! The agent as a whole: opened from its settings, run until told to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};

use crate::client::participation::OrdererAdmin;
use crate::client::profile::ConnectionProfile;
use crate::client::{Client, ClientError, Timeouts};
use crate::fabric::identity::SigningIdentity;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::runtime::{CancellationToken, WorkerError, Workers};

use super::account::Hook;
use super::bootstrap::{self, ContractServers, Contracts, Foreseen, Standing};
use super::config::{Problem, Settings, SettingsError};
use super::duties::Duties;
use super::holds::Holds;
use super::http::Health;
use super::journal::{Journal, JournalError};
use super::leadership::{self, Leadership};
use super::metrics::Metrics;
use super::progress::Reporter;
use super::renewal::Renewal;
use super::sources::Workshop;
use super::text;
use super::watchers::{Subject, Watchers};

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Settings name files that are not usable.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The connection profile and the identity make no client.
    #[error("cannot use the connection profile")]
    Client(#[from] ClientError),
    /// `/healthz` cannot be served.
    #[error("cannot listen at {address} (AGENT_SERVICE_ADDRESS, AGENT_SERVICE_PORT)")]
    Service {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// What is done cannot be remembered.
    #[error("cannot use the folder for the journal (CHECKPOINT_DIR)")]
    Journal(#[from] JournalError),
    /// A part of the agent died, so the whole agent ends.
    #[error("the agent cannot go on")]
    Worker(#[from] WorkerError),
}

/// Opens what the settings name: the identity and the connection profile.
///
/// # Errors
/// [`AgentError::Settings`] with all files that are not usable, or [`AgentError::Client`].
pub fn connect(settings: &Settings) -> Result<Client, AgentError> {
    let (signer, profile) = open_files(settings)?;
    // Whoever calls tries again, and should hear in time that nothing is ordered just now.
    let timeouts = Timeouts { order: Duration::from_secs(10), ..Timeouts::default() };
    let client = Client::builder(Arc::new(signer), profile).timeouts(timeouts);
    Ok(client.discover_as_localhost(settings.discover_as_localhost).build()?)
}

/// Reads the identity and the connection profile.
pub(super) fn open_files(settings: &Settings) -> Result<(SigningIdentity, ConnectionProfile), SettingsError> {
    let mut problems = Vec::new();
    let signer = SigningIdentity::load(settings.msp_id.clone(), &settings.admin_cert, &settings.admin_key)
        .map_err(|error| {
            let (cert, key) = (settings.admin_cert.display(), settings.admin_key.display());
            problems.push(Problem {
                variable: "ADMIN_CERT, ADMIN_KEY",
                what: format!("no identity can be made of {cert} and {key}: {}", text::chain(&error)),
                remedy: "name the administrator's certificate and its private key, or folders holding one file each"
                    .to_owned(),
            });
        })
        .ok();
    let profile = ConnectionProfile::load(&settings.connection_profile)
        .map_err(|error| {
            problems.push(Problem {
                variable: "CONNECTION_PROFILE",
                what: format!("{} is not usable: {}", settings.connection_profile.display(), text::chain(&error)),
                remedy: "name a connection profile in YAML or JSON".to_owned(),
            });
        })
        .ok();
    let (Some(signer), Some(profile)) = (signer, profile) else {
        return Err(SettingsError::new(problems));
    };
    let organization = profile.organization();
    if organization.msp_id != settings.msp_id {
        let what = format!("it is {}, but the connection profile is for {}", settings.msp_id, organization.msp_id);
        return Err(SettingsError::new(vec![Problem {
            variable: "ADMIN_MSPID",
            what,
            remedy: "use the connection profile of the own organization".to_owned(),
        }]));
    }
    Ok((signer, profile))
}

/// What bootstrap would do on the own peers, which nobody is asked to do.
///
/// # Errors
/// [`AgentError`]: what has to be put right before anybody can be asked.
pub async fn foresee(settings: &Settings) -> Result<Foreseen, AgentError> {
    let client = connect(settings)?;
    let ops = client.channel(settings.ops_channel.clone());
    let channels = ChannelOps::new(ops.clone(), settings.channel_ops.clone());
    let chaincodes = ChaincodeOps::new(ops, settings.chaincode_ops.clone());
    Ok(bootstrap::foresee(client, channels, chaincodes, Contracts::of(settings)).await)
}

/// What makes the agent look whether there is something to do.
#[derive(Debug, Default)]
pub struct Bells {
    /// Rung when own nodes may belong elsewhere than they are.
    pub bootstrap: Notify,
    /// Rung when the ledger may ask for something that was missed.
    pub reconcile: Notify,
    /// Rung when certificates and keys may have been renewed.
    pub files: Notify,
    /// Rung when a server of a contract of OpsSC may be due, or its certificate renewed.
    pub(super) servers: Notify,
}

impl Bells {
    /// Looks for everything, such as when an operator asks for it.
    pub fn ring_all(&self) {
        self.files.notify_one();
        self.servers.notify_one();
        self.bootstrap.notify_one();
        self.reconcile.notify_one();
    }
}

/// The agent of one organization.
pub struct Agent {
    settings: Settings,
    client: Client,
    orderers: Vec<OrdererAdmin>,
    reporter: Arc<dyn Reporter>,
    metrics: Arc<Metrics>,
    workshop: Arc<Workshop>,
    watchers: Watchers,
    health: Arc<Health>,
    journal: Journal,
    bells: Arc<Bells>,
    standing: Arc<watch::Sender<Standing>>,
    holds: Holds,
    hook: Arc<dyn Hook>,
    leadership: Leadership,
}

impl Agent {
    /// Opens the identity, the connection profile, the HTTP port and the journal. Reaches for no node yet.
    ///
    /// # Errors
    /// [`AgentError`]: what has to be put right before the agent can start.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn open(settings: Settings) -> Result<Self, AgentError> {
        let client = connect(&settings)?;
        let workshop = Arc::new(Workshop::open(&settings.sources).map_err(SettingsError::new)?);
        let orderers = settings.orderers.open()?;
        let metrics = Arc::default();
        let watchers = Watchers::open(&settings, &metrics).await?;
        let journal = Journal::closed(&settings.checkpoint_dir);
        journal.keep_ended(settings.tasks.history);
        let leadership = Leadership::new(&settings.replicas);
        // With other replicas it may be in use by the one that leads.
        if *leadership.leads().borrow() {
            journal.acquire().await?;
        }
        let holds = Holds::load(&settings.holds_file);
        Ok(Self {
            settings,
            client,
            orderers,
            reporter: Arc::new(()),
            metrics,
            workshop,
            watchers,
            health: Arc::default(),
            journal,
            bells: Arc::default(),
            standing: Arc::default(),
            holds,
            hook: Arc::new(()),
            leadership,
        })
    }

    /// Has `reporter` told every step.
    #[must_use]
    pub fn with_reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Has `hook` called around every step. For tests.
    #[must_use]
    pub fn with_hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hook = hook;
        self
    }

    /// Which of the organization's replicas acts.
    pub fn leader(&self) -> watch::Receiver<leadership::Standing> {
        self.leadership.standing()
    }

    /// What the agent has to do and has done.
    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// What an operator has told it to leave alone.
    pub fn holds(&self) -> Holds {
        self.holds.clone()
    }

    /// By which it is told to look for something to do.
    pub fn bells(&self) -> Arc<Bells> {
        Arc::clone(&self.bells)
    }

    /// Whether the own peers are where they belong.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// What `/metrics` answers from.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Where `/healthz` and `/metrics` are served.
    pub fn service_address(&self) -> SocketAddr {
        self.watchers.address()
    }

    /// What `/healthz` answers from.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Runs until `stop`, then ends in good order within the time that the settings grant.
    ///
    /// # Errors
    /// [`AgentError::Worker`]: a part of the agent died.
    ///
    /// # Cancel safety
    /// Dropping it stops nothing that was spawned: use `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AgentError> {
        let Self { settings, client, orderers, reporter, workshop, watchers, health, journal, .. } = self;
        let Self { bells, standing, holds, hook, leadership, .. } = self;
        let msp_id = settings.msp_id.clone();
        tracing::info!(org = %msp_id, address = %watchers.address(), channel = %settings.ops_channel, "agent started");
        if settings.servers.launch_from_agent {
            tracing::warn!(
                "CC_SERVER_LAUNCH_FROM_AGENT is true, but this agent launches no chaincode servers: proposals of type \
                 ccaas and k8s will be acknowledged as failure; run the servers and set it to false"
            );
        }
        let grace = settings.tasks.shutdown_timeout;
        let workers = Workers::new();
        // Whoever only watches or is asked runs on every replica; whatever acts is a duty.
        let subject = Subject {
            settings: &settings,
            client: &client,
            health: &health,
            journal: &journal,
            holds: &holds,
            bells: &bells,
            leader: leadership.standing(),
            standing: standing.subscribe(),
        };
        let mut reporters = watchers.start(subject, &workers);
        reporters.push(reporter);
        let reporter: Arc<dyn Reporter> = Arc::new(reporters);
        let ops = client.channel(settings.ops_channel.clone());
        let servers = ContractServers::new(ops, Contracts::of(&settings), Arc::clone(&bells));
        workers.spawn_to_end("contract-servers", servers.run(workers.clone()));
        let renewal = Renewal {
            settings: settings.clone(),
            client: client.clone(),
            bells: Arc::clone(&bells),
            stop: workers.token(),
        };
        workers.spawn_to_end("renewal", renewal.run());
        let watching = holds.clone().watch(workers.token());
        workers.spawn_to_end("holds", watching.map(Ok::<(), Infallible>));
        // The lead is given up when nothing is done any more, not when that is asked for.
        let (leads, released) = (leadership.leads(), CancellationToken::new());
        workers.spawn_to_end("leadership", leadership.keep(released.clone()));
        let duties =
            Duties { settings, client, orderers, reporter, workshop, health, journal, bells, standing, holds, hook };
        let leading = lead(duties, leads, workers.clone());
        workers.spawn_to_end("duties", async move {
            let led = leading.await;
            released.cancel();
            led
        });

        tokio::select! {
            () = stop.cancelled() => tracing::info!(org = %msp_id, "agent is stopping"),
            () = workers.cancelled() => {}
        }
        workers.cancel();
        if let Ok(finished) = tokio::time::timeout(grace, workers.finished()).await {
            finished?;
        } else {
            tracing::warn!(org = %msp_id, "agent stops although not everything has ended");
        }
        tracing::info!(org = %msp_id, "agent stopped");
        Ok(())
    }
}

/// Has the duties done while this replica leads.
async fn lead(duties: Duties, mut leads: watch::Receiver<bool>, workers: Workers) -> Result<(), Infallible> {
    let (duties, stop) = (Arc::new(duties), workers.token());
    loop {
        let stands_by = !*leads.borrow_and_update();
        duties.health.set_standby(stands_by);
        if stands_by {
            tracing::info!("standing by: another replica leads");
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = leads.changed() => if changed.is_err() { return Ok(()) },
            }
            continue;
        }
        let branch = workers.child();
        Arc::clone(&duties).start(&branch);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = leads.changed() => match changed {
                    Ok(()) if *leads.borrow_and_update() => {}
                    Ok(()) => break,
                    // Nobody will ever take the lead away.
                    Err(_) => { stop.cancelled().await; break }
                },
            }
        }
        branch.cancel();
        if tokio::time::timeout(duties.settings.tasks.shutdown_timeout, branch.finished()).await.is_err() {
            tracing::warn!("not everything has ended; it is taken up again later");
        }
        duties.journal.release().await;
        if stop.is_cancelled() {
            return Ok(());
        }
    }
}
