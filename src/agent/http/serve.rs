//! The listening side: connections, TLS where it is set, and limits on what a caller may take.
//!
//! A module of its own because it knows nothing of what is served. Callers may be anybody: there are so many connections
//! and no more, who is slow to ask is hung up on, and what goes wrong with one caller harms nobody else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::FutureExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::tls::Certificate;
use crate::runtime::Workers;

/// At most this many connections at a time; more wait to be taken.
const CONNECTIONS: usize = 256;
/// How long a caller may take for a TLS handshake, and for the head of each request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How large the head of a request may be.
const HEAD: usize = 16 * 1024;
/// How many lines the head may have.
const HEADERS: usize = 64;
/// How long it rests when the system gives no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The HTTP service, bound and not yet served.
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Service {
    /// Binds to `address`; with port 0 the system chooses one.
    ///
    /// # Errors
    /// What the system says, such as that the port is taken.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, certificate: None })
    }

    pub(super) fn with_certificate(mut self, certificate: Option<Certificate>) -> Self {
        self.certificate = certificate.map(Arc::new);
        self
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `workers` are cancelled, which breaks what is under way.
    pub(super) async fn serve(self, router: Router, workers: Workers) -> Result<(), Infallible> {
        let connections = workers.child();
        let stop = workers.token();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let Some((Ok(place), accepted)) = stop.run_until_cancelled(next).await else { return Ok(()) };
            let (stream, caller) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: the next moment may be better.
                    tracing::warn!(%error, "a connection to the HTTP service was not accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (router, certificate) = (router.clone(), self.certificate.clone());
            connections.spawn("http connection", async move {
                let served = async {
                    let Some(certificate) = certificate else { return answer(stream, caller, router).await };
                    match tokio::time::timeout(PATIENCE, certificate.acceptor().accept(stream)).await {
                        Ok(Ok(stream)) => answer(stream, caller, router).await,
                        Ok(Err(error)) => tracing::debug!(%error, %caller, "no TLS with a caller"),
                        Err(_) => {}
                    }
                };
                // One request must not end the agent, whatever is in it.
                if AssertUnwindSafe(served).catch_unwind().await.is_err() {
                    tracing::error!(%caller, "an answer over HTTP panicked");
                }
                drop(place);
                Ok::<(), Infallible>(())
            });
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, caller: SocketAddr, router: Router) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(caller));
        router.clone().oneshot(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD).max_headers(HEADERS);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, %caller, "an HTTP connection ended");
    }
}
