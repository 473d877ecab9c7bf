//! TLS listeners for a node's services, which can be cut off at once.
//!
//! A module of its own because a node that is stopped must be gone for its clients as a killed process is: its port
//! refuses, its connections and streams break. A graceful end would hide the faults that this network is there to show.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;

use super::disturb;
use super::faults::Faults;
use super::orderer::{Orderer, answer_admin};
use crate::runtime::Workers;

/// How many bytes a message may have, in both directions: the limit of Fabric's nodes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a port that another connection happens to use is tried again.
const BIND_TRIES: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(100);

/// Why a node cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The port is taken, or may not be used.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate or key that was made for the node cannot be used.
    #[error("TLS of the listener cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The certificate or key that was made for the node is not PEM.
    #[error("TLS certificate or key of the listener is not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
}

/// Binds `port` (0: one that the system chooses) on the loopback address.
pub(crate) async fn bind(port: u16) -> Result<TcpListener, ListenError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Binds `port`, which a node had before: some connection may be using it by chance, and will not for long.
pub(crate) async fn bind_again(port: u16) -> Result<TcpListener, ListenError> {
    let mut tries = 1;
    loop {
        match bind(port).await {
            Err(ListenError::Bind { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && tries < BIND_TRIES =>
            {
                tries += 1;
                tokio::time::sleep(BIND_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// The port that a listener has.
pub(crate) fn port_of(listener: &TcpListener) -> Result<u16, ListenError> {
    let unknown = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.local_addr().map(|address| address.port()).map_err(|source| ListenError::Bind { address: unknown, source })
}

/// What a listener wants of its clients.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clients<'a> {
    /// They may show a certificate, whose it ever is: messages can be bound to it.
    Asked,
    /// They must show a certificate of these roots, in PEM.
    Proven(&'a str),
}

/// What a listener shows to clients, and speaks with them (`h2`, `http/1.1`).
pub(crate) fn tls_acceptor(
    certificate_pem: &str,
    key_pem: &str,
    clients: Clients<'_>,
    protocol: &str,
) -> Result<Acceptor, ListenError> {
    let certificates = pem_certificates(certificate_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(ListenError::Pem)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(ListenError::Tls)?;
    let verifier: Arc<dyn ClientCertVerifier> = match clients {
        Clients::Asked => Arc::new(Anybody(provider)),
        Clients::Proven(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in pem_certificates(pem)? {
                roots.add(certificate).map_err(ListenError::Tls)?;
            }
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| ListenError::Tls(rustls::Error::General(error.to_string())))?
        }
    };
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(certificates, key).map_err(ListenError::Tls)?;
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let is_mutual = matches!(clients, Clients::Proven(_));
    Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), is_mutual })
}

/// Takes connections over TLS.
#[derive(Clone)]
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
    /// Whether clients must show a certificate.
    is_mutual: bool,
}

/// Lets everybody in, and asks for a certificate without looking at it, as nodes do that do not demand one.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS connection on which a request came; goes with every request as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    /// SHA-256 of the client's certificate, if it showed one.
    pub(crate) certificate_hash: Option<[u8; 32]>,
    /// Whether clients must show one here.
    pub(crate) is_mutual: bool,
}

impl Connection {
    /// Whether a message that claims to be bound to the certificate with the hash `claimed` may come this way.
    pub(crate) fn is_bound(&self, claimed: &[u8]) -> bool {
        !self.is_mutual || self.certificate_hash.is_some_and(|hash| hash[..] == *claimed)
    }
}

fn pem_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(ListenError::Pem)
}

/// Serves the gRPC services `routes` until `workers` are cancelled, which also breaks all connections.
pub(crate) fn serve(listener: TcpListener, tls: Acceptor, routes: Routes, faults: Faults, workers: &Workers) {
    let routes = TowerToHyperService::new(routes.prepare());
    let inside = workers.clone();
    let is_mutual = tls.is_mutual;
    accept(listener, tls.tls, workers, move |stream| {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate_hash = shown.map(|certificate| Sha256::digest(certificate).into());
        let connection = Connection { certificate_hash, is_mutual };
        let mut http = hyper::server::conn::http2::Builder::new(OnWorkers(inside.clone()));
        http.timer(TokioTimer::new()).max_concurrent_streams(2500);
        let (routes, faults) = (routes.clone(), faults.clone());
        let service = service_fn(move |mut request| {
            request.extensions_mut().insert(connection.clone());
            disturb::call(routes.clone(), faults.clone(), request)
        });
        async move { http.serve_connection(TokioIo::new(stream), service).await }
    });
}

/// Serves an orderer's administrators over HTTP until `workers` are cancelled.
pub(crate) fn serve_admin(listener: TcpListener, tls: Acceptor, orderer: Arc<Orderer>, workers: &Workers) {
    accept(listener, tls.tls, workers, move |stream| {
        let orderer = Arc::clone(&orderer);
        let service = service_fn(move |request| {
            let orderer = Arc::clone(&orderer);
            async move {
                orderer.faults().before_call().await;
                Ok::<_, Infallible>(answer_admin(orderer, request).await)
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new());
        async move { http.serve_connection(TokioIo::new(stream), service).await }
    });
}

/// Takes connections until `workers` are cancelled and serves each as `serve` says.
fn accept<S, F>(listener: TcpListener, tls: TlsAcceptor, workers: &Workers, serve: S)
where
    S: Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), hyper::Error>> + Send,
{
    let inside = workers.clone();
    workers.spawn("listener", async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: the next moment may be better.
                    tracing::warn!(error = %error, "connection was not accepted");
                    tokio::time::sleep(BIND_PAUSE).await;
                    continue;
                }
            };
            let (tls, serve) = (tls.clone(), serve.clone());
            inside.spawn("connection", async move {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(error = %error, "connection without TCP_NODELAY");
                }
                let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        tracing::debug!(error = %error, "TLS handshake failed");
                        return Ok::<(), Infallible>(());
                    }
                    Err(_) => return Ok(()),
                };
                if let Err(error) = serve(stream).await {
                    tracing::debug!(error = %error, "connection ended");
                }
                Ok(())
            });
        }
        #[allow(unreachable_code, reason = "gives the loop its type")]
        Ok::<(), Infallible>(())
    });
}

/// Runs the requests of a connection among the node's workers.
#[derive(Clone)]
struct OnWorkers(Workers);

impl<F> hyper::rt::Executor<F> for OnWorkers
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("request", async move {
            future.await;
            Ok::<(), Infallible>(())
        });
    }
}
