//! One HTTP/1.1 exchange with a node, over a connection of its own.
//!
//! A module of its own because an orderer's administration speaks plain HTTP where everything else is gRPC. Such calls
//! are rare, so no connection is kept; and as nothing may be spawned here, the connection is driven by the future that
//! waits for the answer: who drops it closes the connection. Bodies are bounded. What a status means is not known here.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{Method, Request, Response, Uri, header};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tower::Service as _;

use super::{Endpoint, NetError, Tls, certificates};
use crate::runtime::dns::Resolver;

/// Name lookup and TCP.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// With its leading slash.
    pub(crate) path: String,
    /// The type of the body, where there is one.
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
    /// The longest body that is read from the answer.
    pub(crate) longest_answer: usize,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// What else may be done with the same path, after 405.
    pub(crate) allow: Option<String>,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No connection was made, so nothing was asked.
    #[error("no connection: {0}")]
    Unreached(String),
    /// It was asked, and the answer did not come or broke off.
    #[error("no whole answer: {0}")]
    Broken(String),
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
}

/// A node that speaks HTTP.
#[derive(Clone)]
pub(crate) struct Http {
    scheme: &'static str,
    address: String,
    connector: HttpsConnector<HttpConnector<Resolver>>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({}://{})", self.scheme, self.address)
    }
}

impl Http {
    /// Checks the endpoint and dials nothing.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, NetError> {
        let address = endpoint.address.clone();
        let port = endpoint.address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if endpoint.host().is_empty() || !matches!(port, Some(Ok(_))) || address.parse::<Uri>().is_err() {
            return Err(NetError::Address { address });
        }
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let name = endpoint.server_name.as_deref().unwrap_or_else(|| endpoint.host()).to_owned();
        let name = ServerName::try_from(name).map_err(|_| NetError::Address { address: address.clone() })?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(endpoint)?)
            .https_or_http()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { scheme: if endpoint.tls.is_some() { "https" } else { "http" }, address, connector })
    }

    /// Asks once.
    ///
    /// Cancel safety: the question may have been understood all the same.
    pub(crate) async fn ask(&self, asked: Asked) -> Result<Answered, HttpError> {
        let unreached = |error: &dyn std::error::Error| HttpError::Unreached(chain(error));
        let uri = format!("{}://{}{}", self.scheme, self.address, asked.path);
        let uri: Uri = uri.parse().map_err(|error| HttpError::Unreached(format!("{uri}: {error}")))?;
        let mut connector = self.connector.clone();
        std::future::poll_fn(|context| connector.poll_ready(context))
            .await
            .map_err(|error| HttpError::Unreached(error.to_string()))?;
        let stream = connector.call(uri).await.map_err(|error| unreached(error.as_ref()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|error| unreached(&error))?;

        let mut request = Request::builder()
            .method(asked.method)
            .uri(asked.path)
            .header(header::HOST, &self.address)
            .header(header::CONNECTION, "close");
        if let Some(content_type) = asked.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Full::new(asked.body))
            .map_err(|error| HttpError::Unreached(format!("not a request: {error}")))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| HttpError::Broken(chain(&error)))?;
            answered(response, asked.longest_answer).await
        };
        drive(exchange, connection).await
    }
}

/// Polls the connection for as long as the exchange over it lasts.
async fn drive<T>(exchange: impl Future<Output = T>, connection: impl Future) -> T {
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // What has been read before the end is still to be had.
        Either::Right((_, exchange)) => exchange.await,
    }
}

async fn answered(response: Response<hyper::body::Incoming>, longest: usize) -> Result<Answered, HttpError> {
    let status = response.status().as_u16();
    let allow = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()).map(ToOwned::to_owned);
    let body = Limited::new(response.into_body(), longest).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            HttpError::TooLong(longest)
        } else {
            HttpError::Broken(chain(error.as_ref()))
        }
    })?;
    Ok(Answered { status, allow, body: body.to_bytes() })
}

fn tls_config(endpoint: &Endpoint) -> Result<ClientConfig, NetError> {
    let address = || endpoint.address.clone();
    let mut roots = RootCertStore::empty();
    let client = match &endpoint.tls {
        None => None,
        Some(Tls { roots: pem, client }) => {
            let bad_roots = |reason: String| NetError::Roots { address: address(), reason };
            let (usable, _) = roots.add_parsable_certificates(certificates(pem).map_err(bad_roots)?);
            if usable == 0 {
                return Err(bad_roots("no certificate in the PEM text".to_owned()));
            }
            client.as_ref()
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::Tls { address: address(), reason: error.to_string() })?
        .with_root_certificates(roots);
    let Some(client) = client else { return Ok(config.with_no_client_auth()) };
    let refuse = |reason: String| NetError::ClientCertificate { reason };
    let chain = certificates(&client.certificate).map_err(refuse)?;
    let key =
        PrivateKeyDer::from_pem_slice(&client.key).map_err(|_| refuse("no private key in the PEM text".to_owned()))?;
    config.with_client_auth_cert(chain, key).map_err(|error| refuse(error.to_string()))
}

/// An error with all its sources: what happened stands in the last of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
