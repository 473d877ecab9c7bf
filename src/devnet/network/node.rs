//! A node that can be started and stopped: its listener, and the workers behind it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tonic::service::Routes;

use super::NodeAddress;
use super::follow;
use super::neighbours::Neighbours;
use crate::devnet::error::DevnetError;
use crate::devnet::faults::Faults;
use crate::devnet::listener::{self, Acceptor, MAX_MESSAGE_BYTES};
use crate::devnet::orderer::{Chains, Orderer, OrdererService};
use crate::devnet::peer::{Peer, Topology};
use crate::pb::common::Block;
use crate::pb::orderer::atomic_broadcast_server::AtomicBroadcastServer;
use crate::runtime::Workers;

/// What a node does.
pub(super) enum Role {
    Orderer(Arc<Orderer>, Admin),
    Peer(Arc<Peer>, Arc<Neighbours>),
}

/// Where an orderer listens for its administrators.
pub(super) struct Admin {
    pub(super) port: u16,
    pub(super) tls: Acceptor,
}

/// The ports that a node holds before it serves.
pub(super) struct Listeners {
    pub(super) services: TcpListener,
    /// Of an orderer.
    pub(super) admin: Option<TcpListener>,
}

/// One node.
pub(super) struct Node {
    pub(super) address: NodeAddress,
    pub(super) port: u16,
    pub(super) tls: Acceptor,
    pub(super) role: Role,
    /// The ordering service, which a peer follows.
    pub(super) chains: Arc<Chains>,
    pub(super) running: Mutex<Option<Workers>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Node").field(&self.address).finish()
    }
}

impl Node {
    /// Takes the node's ports again.
    pub(super) async fn bind(&self) -> Result<Listeners, DevnetError> {
        let failed = |source| DevnetError::Listen { node: self.address.name.clone(), source };
        let services = listener::bind_again(self.port).await.map_err(failed)?;
        let admin = match &self.role {
            Role::Orderer(_, admin) => Some(listener::bind_again(admin.port).await.map_err(failed)?),
            Role::Peer(..) => None,
        };
        Ok(Listeners { services, admin })
    }

    /// What is wrong with it on purpose.
    pub(super) fn faults(&self) -> &Faults {
        match &self.role {
            Role::Orderer(orderer, _) => orderer.faults(),
            Role::Peer(peer, _) => peer.faults(),
        }
    }

    /// What the node's workers run under, while it runs.
    pub(super) fn workers(&self) -> Option<Workers> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The peer that it is, if it is one.
    pub(super) fn peer(&self) -> Option<&Arc<Peer>> {
        match &self.role {
            Role::Orderer(..) => None,
            Role::Peer(peer, _) => Some(peer),
        }
    }

    /// Joins the channel that begins with `block`.
    pub(super) fn join(&self, block: Block) -> Result<(), DevnetError> {
        let name = || self.address.name.clone();
        match &self.role {
            Role::Orderer(orderer, _) => orderer
                .join(block)
                .map(|_| ())
                .map_err(|refused| DevnetError::Order { orderer: name(), reason: refused.to_string() }),
            Role::Peer(peer, _) => {
                peer.join(block).map_err(|error| DevnetError::Join { peer: name(), reason: error.to_string() })
            }
        }
    }

    /// Serves on `listeners`, in a branch of `network`. A node that runs is left alone.
    pub(super) fn start(&self, listeners: Listeners, network: &Workers) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return;
        }
        let workers = network.child();
        let routes = match &self.role {
            Role::Orderer(orderer, admin) => {
                if let Some(listener) = listeners.admin {
                    listener::serve_admin(listener, admin.tls.clone(), Arc::clone(orderer), &workers);
                }
                orderer.set_up(true);
                let service = OrdererService { orderer: Arc::clone(orderer), workers: workers.clone() };
                Routes::new(
                    AtomicBroadcastServer::new(service)
                        .max_decoding_message_size(MAX_MESSAGE_BYTES)
                        .max_encoding_message_size(MAX_MESSAGE_BYTES),
                )
            }
            Role::Peer(peer, neighbours) => {
                follow::start(peer, &self.chains, &workers);
                neighbours.up(&self.address.fqdn, true);
                peer.services(Arc::clone(neighbours) as Arc<dyn Topology>, &workers)
            }
        };
        listener::serve(listeners.services, self.tls.clone(), routes, self.faults().clone(), &workers);
        *running = Some(workers);
    }

    /// Starts it again, at its old ports. One that runs is left alone.
    pub(super) async fn start_again(&self, network: &Workers) -> Result<(), DevnetError> {
        if self.workers().is_none() {
            self.start(self.bind().await?, network);
        }
        Ok(())
    }

    /// Whether `name` is one of its names.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.address.name == name || self.address.fqdn == name
    }

    /// Stops it and waits until nothing of it runs.
    pub(super) async fn stop(&self) {
        let workers = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(workers) = workers else { return };
        workers.cancel();
        match &self.role {
            Role::Orderer(orderer, _) => orderer.set_up(false),
            Role::Peer(_, neighbours) => neighbours.up(&self.address.fqdn, false),
        }
        if let Err(error) = workers.finished().await {
            tracing::error!(node = %self.address.name, error = %error, "node had failed");
        }
    }
}
