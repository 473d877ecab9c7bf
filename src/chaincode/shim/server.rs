//! The listening side: TCP, TLS where configured, one session for each stream that a peer opens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Map, StreamExt as _};
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::async_trait;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server as Transport, ServerTlsConfig};

use super::config::{Config, Tls};
use super::session::Session;
use crate::chaincode::Contract;
use crate::pb::protos::ChaincodeMessage;
use crate::pb::protos::chaincode_server::{Chaincode, ChaincodeServer};
use crate::runtime::Workers;

/// The largest message, as peers have it.
const MAX_MESSAGE: usize = 100 * 1024 * 1024;
/// How much of a message may be under way unread: a proposal's fields can be megabytes.
const WINDOW: u32 = 1024 * 1024;
/// When an idle connection is probed, as Fabric's own chaincode server does.
const KEEPALIVE: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a chaincode server does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate, key or client roots are not usable.
    #[error("certificate, key or client CA certificates are not usable")]
    Tls(#[source] Box<tonic::transport::Error>),
    /// Serving ended by itself.
    #[error("the chaincode server ended")]
    Serve(#[source] Box<tonic::transport::Error>),
}

/// A chaincode server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    transport: Transport,
    chaincode_id: String,
    contract: Arc<dyn Contract>,
}

impl Server {
    /// Listens. Peers that dial from now on are answered once [`run`](Self::run) is called.
    ///
    /// Cancel safety: nothing is left behind.
    ///
    /// # Errors
    /// [`ServerError`] where the address or the certificates cannot be used.
    pub async fn bind(config: Config, contract: Arc<dyn Contract>) -> Result<Self, ServerError> {
        let mut transport = Transport::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
        if let Some(tls) = &config.tls {
            transport = transport.tls_config(tls_config(tls)).map_err(|error| ServerError::Tls(Box::new(error)))?;
        }
        let listen = |source| ServerError::Listen { address: config.address, source };
        let listener = TcpListener::bind(config.address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, transport, chaincode_id: config.chaincode_id, contract })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `workers` is cancelled; then transactions under way are let finish, for a few seconds.
    ///
    /// Cancel safety: dropping the future stops accepting; streams that are open end with `workers`.
    ///
    /// # Errors
    /// [`ServerError::Serve`] where the transport fails.
    pub async fn run(self, workers: &Workers) -> Result<(), ServerError> {
        let sessions = workers.child();
        let service = Service { chaincode_id: self.chaincode_id, contract: self.contract, workers: sessions.clone() };
        let service =
            ChaincodeServer::new(service).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
        tracing::info!(address = %self.address, "chaincode server listens");
        self.transport
            .clone()
            .serve_with_incoming_shutdown(
                service,
                TcpIncoming::from(self.listener).with_nodelay(Some(true)),
                workers.token().cancelled_owned(),
            )
            .await
            .map_err(|error| ServerError::Serve(Box::new(error)))
    }
}

fn tls_config(tls: &Tls) -> ServerTlsConfig {
    let config = ServerTlsConfig::new().identity(Identity::from_pem(tls.certificate(), tls.key()));
    match tls.client_roots() {
        Some(roots) => config.client_ca_root(Certificate::from_pem(roots)),
        None => config,
    }
}

/// An item of a stream that only ends.
type Item = Result<ChaincodeMessage, tonic::Status>;

struct Service {
    chaincode_id: String,
    contract: Arc<dyn Contract>,
    workers: Workers,
}

#[async_trait]
impl Chaincode for Service {
    type ConnectStream = Map<ReceiverStream<ChaincodeMessage>, fn(ChaincodeMessage) -> Item>;

    async fn connect(
        &self,
        request: tonic::Request<tonic::Streaming<ChaincodeMessage>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, tonic::Status> {
        let peer = request.remote_addr().map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let contract = Arc::clone(&self.contract);
        let outgoing = Session::start(&self.workers, contract, &self.chaincode_id, &peer, request.into_inner());
        Ok(tonic::Response::new(outgoing.map(Item::Ok as fn(_) -> _)))
    }
}
