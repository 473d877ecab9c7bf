//! What the agent tells about itself over HTTP: `GET /healthz`, and counters at `GET /metrics`.
//!
//! Healthy means that the events of both contracts are being listened to; without them an agent is deaf, however well
//! its process lives. Binds in a step of its own, so that a port which is taken is known before anything else starts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// Whether the agent listens to its two contracts.
#[derive(Debug)]
pub struct Health {
    listening: watch::Sender<[bool; 2]>,
}

/// One of the two contracts that the agent listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The contract of chaincode proposals.
    ChaincodeOps,
    /// The contract of channel proposals.
    ChannelOps,
}

impl Default for Health {
    fn default() -> Self {
        Self { listening: watch::Sender::new([false; 2]) }
    }
}

impl Health {
    /// Notes whether the events of one contract are being listened to.
    pub fn set(&self, listener: Listener, listening: bool) {
        let index = match listener {
            Listener::ChaincodeOps => 0,
            Listener::ChannelOps => 1,
        };
        self.listening.send_if_modified(|state| std::mem::replace(&mut state[index], listening) != listening);
    }

    /// Whether the events of both contracts are being listened to.
    pub fn is_good(&self) -> bool {
        *self.listening.borrow() == [true; 2]
    }

    /// Waits until [`is_good`](Self::is_good) is `good`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn until(&self, good: bool) {
        // It fails only when the sender is gone, which is borrowed here.
        let _ = self.listening.subscribe().wait_for(|state| (*state == [true; 2]) == good).await;
    }
}

/// The HTTP service, bound and not yet served.
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
}

impl Service {
    /// Binds to `address`; with port 0 the system chooses one.
    ///
    /// # Errors
    /// What the system says, such as that the port is taken.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancel safety
    /// Dropping it closes the listener; answers under way are cut off.
    pub async fn serve(self, health: Arc<Health>, metrics: Arc<Metrics>, stop: CancellationToken) -> io::Result<()> {
        let health = Router::new().route("/healthz", get(healthz)).with_state(health);
        let router = health.merge(Router::new().route("/metrics", get(counters)).with_state(metrics));
        axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn healthz(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.is_good() { (StatusCode::OK, "OK") } else { (StatusCode::INTERNAL_SERVER_ERROR, "NG") }
}

async fn counters(State(metrics): State<Arc<Metrics>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.text())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn healthy_once_both_listeners_are_up() {
        let service = Service::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = service.address();
        let (health, stop) = (Arc::new(Health::default()), CancellationToken::new());
        let asking = async {
            for (listener, listening, expected) in [
                (Listener::ChaincodeOps, true, "500"),
                (Listener::ChannelOps, true, "200"),
                (Listener::ChaincodeOps, false, "500"),
            ] {
                health.set(listener, listening);
                let answer = ask(address, "/healthz").await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{listener:?} {listening}: {answer}");
                assert!(answer.ends_with(if expected == "200" { "OK" } else { "NG" }), "{answer}");
            }
            let answer = ask(address, "/metrics").await;
            assert!(answer.contains("\nopssc_package_id_differences_total 0\n"), "{answer}");
            stop.cancel();
        };
        let serving = service.serve(Arc::clone(&health), Arc::default(), stop.clone());
        let (served, ()) = tokio::join!(serving, asking);
        served.unwrap();
    }
}
