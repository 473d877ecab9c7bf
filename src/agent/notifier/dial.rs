//! Connecting to a WebSocket server: names, TLS, the handshake.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tower::Service as _;

use crate::agent::text;
use crate::runtime::dns::Resolver;
use crate::runtime::roots::{roots_of, system_roots};

/// Name lookup, TCP, TLS and the handshake together.
const CONNECT: Duration = Duration::from_secs(15);
/// The largest message that is read: nothing of what the server says matters.
const LARGEST: usize = 64 * 1024;

/// An open connection.
pub(super) type Socket = WebSocketStream<Box<dyn Wire>>;

/// What messages go over, with TLS or without.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A WebSocket server.
pub(super) struct Server {
    url: String,
    /// The same as an address of HTTP, by which it is dialled.
    uri: Uri,
    connector: HttpsConnector<HttpConnector<Resolver>>,
}

impl fmt::Display for Server {
    /// Without what may be a password or a token in the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.uri.scheme_str() == Some("https") { "wss" } else { "ws" };
        let (host, port) = (self.uri.host().unwrap_or_default(), self.uri.port_u16());
        write!(f, "{scheme}://{host}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Server {
    /// Checks the address and reads the authorities. Dials nothing.
    ///
    /// # Errors
    /// What is wrong with either.
    pub(super) fn new(url: &str, authorities: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => format!("http://{rest}"),
            (_, Some(rest)) => format!("https://{rest}"),
            (None, None) => return Err("it is neither ws:// nor wss://".to_owned()),
        }
        .parse()
        .map_err(|error| format!("it is not an address: {error}"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err("it names no host".to_owned());
        }
        let roots = match authorities {
            Some(path) => roots_of(path)?,
            None if uri.scheme_str() == Some("https") => system_roots(),
            None => RootCertStore::empty(),
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { url: url.to_owned(), uri, connector })
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connect(&self) -> Result<Socket, String> {
        let connecting = async {
            let mut connector = self.connector.clone();
            std::future::poll_fn(|context| connector.poll_ready(context))
                .await
                .map_err(|error| text::chain(&*error))?;
            let stream = connector.call(self.uri.clone()).await.map_err(|error| text::chain(&*error))?;
            let config = WebSocketConfig::default()
                .max_message_size(Some(LARGEST))
                .max_frame_size(Some(LARGEST))
                .max_write_buffer_size(LARGEST * 4);
            let wire: Box<dyn Wire> = Box::new(TokioIo::new(stream));
            let handshake = client_async_with_config(self.url.as_str(), wire, Some(config));
            let (socket, _) = handshake.await.map_err(|error| text::chain(&error))?;
            Ok(socket)
        };
        let late = || Err(format!("no connection within {} s", CONNECT.as_secs()));
        tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| late())
    }
}
