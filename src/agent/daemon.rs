//! The agent as a whole: opened from its settings, run until told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::client::participation::OrdererAdmin;
use crate::client::profile::ConnectionProfile;
use crate::client::{Client, ClientError, Timeouts};
use crate::fabric::identity::SigningIdentity;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::runtime::{CancellationToken, WorkerError, Workers};

use super::bootstrap::Bootstrap;
use super::chaincode_ops::Operations;
use super::channel_ops::ChannelOperations;
use super::config::{Problem, Settings, SettingsError};
use super::handlers::{ChaincodeEvents, ChannelEvents};
use super::http::{Health, Listener, Service};
use super::listen::Listening;
use super::metrics::Metrics;
use super::progress::Reporter;
use super::sources::Workshop;
use super::text;

/// What is left of the time to stop once the listeners have used theirs.
const STOP: Duration = Duration::from_secs(29);

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
    /// Checkpoints cannot be kept.
    #[error("cannot use folder {folder} for checkpoints (CHECKPOINT_DIR)")]
    CheckpointFolder {
        /// The folder.
        folder: String,
        /// Why not.
        source: io::Error,
    },
    /// A part of the agent died, so the whole agent ends.
    #[error("the agent cannot go on")]
    Worker(#[from] WorkerError),
}

/// Opens what the settings name: the identity and the connection profile.
///
/// # Errors
/// [`AgentError::Settings`] with all files that are not usable, or [`AgentError::Client`].
pub fn connect(settings: &Settings) -> Result<Client, AgentError> {
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
        return Err(SettingsError::new(problems).into());
    };
    let organization = profile.organization();
    if organization.msp_id != settings.msp_id {
        let what = format!("it is {}, but the connection profile is for {}", settings.msp_id, organization.msp_id);
        return Err(SettingsError::new(vec![Problem {
            variable: "ADMIN_MSPID",
            what,
            remedy: "use the connection profile of the own organization".to_owned(),
        }])
        .into());
    }
    // Whoever calls tries again, and should hear in time that nothing is ordered just now.
    let timeouts = Timeouts { order: Duration::from_secs(10), ..Timeouts::default() };
    let client = Client::builder(Arc::new(signer), profile).timeouts(timeouts);
    Ok(client.discover_as_localhost(settings.discover_as_localhost).build()?)
}

/// The agent of one organization.
pub struct Agent {
    settings: Settings,
    client: Client,
    orderers: Vec<OrdererAdmin>,
    reporter: Arc<dyn Reporter>,
    metrics: Arc<Metrics>,
    workshop: Workshop,
    service: Service,
    health: Arc<Health>,
}

impl Agent {
    /// Opens the identity, the connection profile and the HTTP port. Reaches for no node yet.
    ///
    /// # Errors
    /// [`AgentError`]: what has to be put right before the agent can start.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn open(settings: Settings) -> Result<Self, AgentError> {
        let client = connect(&settings)?;
        let workshop = Workshop::open(&settings.sources).map_err(SettingsError::new)?;
        let orderers = settings.orderers.open()?;
        let address = settings.service_address;
        let service = Service::bind(address).await.map_err(|source| AgentError::Service { address, source })?;
        std::fs::create_dir_all(&settings.checkpoint_dir).map_err(|source| AgentError::CheckpointFolder {
            folder: settings.checkpoint_dir.display().to_string(),
            source,
        })?;
        let (metrics, health) = (Arc::default(), Arc::default());
        let reporter = Arc::new(());
        Ok(Self { settings, client, orderers, reporter, metrics, workshop, service, health })
    }

    /// Has `reporter` told every step.
    #[must_use]
    pub fn with_reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// What `/metrics` answers from.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Where `/healthz` and `/metrics` are served.
    pub fn service_address(&self) -> SocketAddr {
        self.service.address()
    }

    /// What `/healthz` answers from.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Runs until `stop`, then ends in good order within 30 seconds.
    ///
    /// # Errors
    /// [`AgentError::Worker`]: a part of the agent died.
    ///
    /// # Cancel safety
    /// Dropping it stops nothing that was spawned: use `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AgentError> {
        let Self { settings, client, orderers, reporter, metrics, workshop, service, health } = self;
        let msp_id = settings.msp_id.clone();
        tracing::info!(org = %msp_id, address = %service.address(), channel = %settings.ops_channel, "agent started");
        if settings.servers.launch_from_agent {
            tracing::warn!(
                "CC_SERVER_LAUNCH_FROM_AGENT is true, but this agent launches no chaincode servers: proposals of type \
                 ccaas and k8s will be acknowledged as failure; run the servers and set it to false"
            );
        }
        let workers = Workers::new();
        workers.spawn_to_end("http", service.serve(Arc::clone(&health), Arc::clone(&metrics), workers.token()));

        let ops = client.channel(settings.ops_channel.clone());
        let listening = |contract: &crate::fabric::names::ChaincodeName, listener| Listening {
            channel: ops.clone(),
            contract: contract.clone(),
            checkpoint: settings.checkpoint_dir.join(format!("{contract}.json")),
            listener,
            health: Arc::clone(&health),
            stop: workers.token(),
        };
        let chaincode_ops = listening(&settings.chaincode_ops, Listener::ChaincodeOps);
        let reporter: Arc<dyn Reporter> = Arc::new(vec![metrics, reporter]);
        let operations = Arc::new(Operations {
            client: client.clone(),
            ledger: ChaincodeOps::new(ops.clone(), settings.chaincode_ops.clone()),
            servers: settings.servers.clone(),
            sources: settings.sources.clone(),
            workshop,
            encoding: settings.definition_encoding,
            reporter: Arc::clone(&reporter),
            stop: workers.token(),
        });
        let channels = ChannelOps::new(ops.clone(), settings.channel_ops.clone());
        let chaincode_events = ChaincodeEvents::new(operations, channels.clone());
        workers.spawn_to_end("chaincode-ops", async move { chaincode_ops.run(&chaincode_events).await });
        let channel_ops = listening(&settings.channel_ops, Listener::ChannelOps);
        let changed = Arc::new(Notify::new());
        let bootstrap = Bootstrap::new(client.clone(), channels.clone(), Arc::clone(&changed), workers.token());
        workers.spawn_to_end("bootstrap", bootstrap.run());
        let ledger = channels;
        let channel_events = ChannelEvents::new(ChannelOperations {
            client,
            ledger,
            orderers,
            reporter,
            changed,
            stop: workers.token(),
        });
        workers.spawn_to_end("channel-ops", async move { channel_ops.run(&channel_events).await });

        tokio::select! {
            () = stop.cancelled() => tracing::info!(org = %msp_id, "agent is stopping"),
            () = workers.cancelled() => {}
        }
        workers.cancel();
        if let Ok(finished) = tokio::time::timeout(STOP, workers.finished()).await {
            finished?;
        } else {
            tracing::warn!(org = %msp_id, "agent stops although not everything has ended");
        }
        tracing::info!(org = %msp_id, "agent stopped");
        Ok(())
    }
}
