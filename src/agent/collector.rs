//! Reaching the collector of OpenTelemetry that the settings name.
//!
//! A module of its own because two need it: who sends spans, and who checks before the start whether they would arrive.
//!
//! Source: `opentelemetry/proto/collector/trace/v1/trace_service.proto`.

use std::fmt;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_prost::ProstCodec;

use super::config::Collector;
use super::text;
use crate::runtime::dns::Resolver;
use crate::runtime::roots::{roots_of, system_roots};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Whether there is something wrong with the settings that can be seen from here.
///
/// # Errors
/// What it is.
pub(super) fn validate(collector: &Collector) -> Result<(), String> {
    metadata(collector)?;
    endpoint(collector).map(drop)
}

/// A connection that is made when it is needed. Names are looked up as those of nodes are: a static program cannot ask
/// the C library.
///
/// # Errors
/// What is wrong with the settings.
pub fn channel(collector: &Collector) -> Result<Channel, String> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    Ok(endpoint(collector)?.connect_with_connector_lazy(tcp))
}

fn endpoint(collector: &Collector) -> Result<Endpoint, String> {
    let mut endpoint =
        Endpoint::from(collector.endpoint.clone()).timeout(collector.timeout).connect_timeout(collector.timeout);
    if collector.endpoint.scheme_str() == Some("https") {
        let tls = match &collector.certificate {
            Some(path) => {
                // What is none would be found out with the first spans only.
                roots_of(path)?;
                let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
            None => ClientTlsConfig::new().trust_anchors(system_roots().roots),
        };
        endpoint = endpoint.tls_config(tls).map_err(|error| text::chain(&error))?;
    }
    Ok(endpoint)
}

/// What is sent along with spans.
///
/// # Errors
/// What is wrong with the settings.
pub fn metadata(collector: &Collector) -> Result<MetadataMap, String> {
    let mut headers = MetadataMap::new();
    for (name, value) in &collector.headers {
        let name = MetadataKey::<Ascii>::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let mut value = MetadataValue::try_from(value.reveal()).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Sends no spans, as spans are sent: whether the collector takes them.
///
/// # Errors
/// What it says, or why it says nothing.
pub(super) async fn probe(collector: &Collector) -> Result<(), String> {
    let mut client = Grpc::new(channel(collector)?);
    client.ready().await.map_err(|error| text::chain(&error))?;
    // A message without fields is that of no spans, and its answer says nothing to read.
    let mut request = tonic::Request::new(());
    *request.metadata_mut() = metadata(collector)?;
    let answered = client.unary(request, PathAndQuery::from_static(EXPORT), ProstCodec::<(), ()>::default()).await;
    answered.map(drop).map_err(|status| text::chain(&status))
}

/// An address without what may be a password in it.
#[derive(Debug)]
pub struct Shown<'a>(pub &'a Uri);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.0.scheme_str().unwrap_or_default(), self.0.host().unwrap_or_default());
        write!(f, "{scheme}://{host}")?;
        self.0.port_u16().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
