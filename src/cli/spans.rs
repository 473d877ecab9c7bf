//! Spans of the agent's work, sent to a collector of OpenTelemetry over gRPC (OTLP).
//!
//! A module of its own because the collector is anybody's: it may be away, slow or gone, and nothing that the agent does
//! may wait for it. Spans wait in a queue of bounded length, a thread of the SDK sends them in batches, and what finds no
//! place is dropped. That the collector takes none is said once, and once that it does again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{self, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use crate::agent::collector::{Shown, channel, metadata};
use crate::agent::config::{Collector, Problem, Sampler, Settings, SettingsError};
use crate::agent::text;
use crate::runtime;

/// How long what is left may take at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// What sends spans.
pub(super) struct Spans {
    provider: SdkTracerProvider,
}

impl Spans {
    /// Opens what the settings name; `None` where they name no collector. Dials nothing yet, but has to be called where
    /// a runtime is entered.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, SettingsError> {
        let Some(collector) = &settings.collector else { return Ok(None) };
        let exporter = exporter(collector).map_err(|what| {
            SettingsError::new(vec![Problem {
                variable: "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_CERTIFICATE",
                what,
                remedy: "name the collector's gRPC service, and a file of certificates in PEM".to_owned(),
            }])
        })?;
        let telling = Telling {
            inner: exporter,
            collector: Shown(&collector.endpoint).to_string(),
            away: AtomicBool::new(false),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(telling)
            .with_sampler(sampler(collector.sampler))
            .with_resource(resource(settings, collector))
            .build();
        Ok(Some(Self { provider }))
    }

    /// Where spans go in.
    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> OpenTelemetryLayer<S, SdkTracer> {
        let tracer = self.provider.tracer("opssc");
        // Nobody needs to know which line of which file it was.
        tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false)
    }

    /// Sends what is left, if that goes fast.
    pub(super) async fn end(self) {
        if let Err(error) = runtime::blocking(move || self.provider.shutdown_with_timeout(FLUSH)).await {
            tracing::debug!(%error, "the last spans are dropped");
        }
    }
}

fn exporter(collector: &Collector) -> Result<opentelemetry_otlp::SpanExporter, String> {
    opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(channel(collector)?)
        .with_metadata(metadata(collector)?)
        .with_timeout(collector.timeout)
        .build()
        .map_err(|error| text::chain(&error))
}

fn sampler(sampler: Sampler) -> trace::Sampler {
    let first = match sampler {
        Sampler::All => trace::Sampler::AlwaysOn,
        Sampler::None => trace::Sampler::AlwaysOff,
        Sampler::Millionths(share) => trace::Sampler::TraceIdRatioBased(f64::from(share) / 1_000_000.0),
    };
    trace::Sampler::ParentBased(Box::new(first))
}

/// Who speaks.
fn resource(settings: &Settings, collector: &Collector) -> Resource {
    let given = collector.attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", settings.replicas.identity.clone()),
            KeyValue::new("fabric.msp_id", settings.msp_id.to_string()),
            KeyValue::new("fabric.ops_channel", settings.ops_channel.to_string()),
        ])
        .with_attributes(given)
        .with_service_name(collector.service.clone())
        .build()
}

/// Sends, and says once when that does not work.
#[derive(Debug)]
struct Telling {
    inner: opentelemetry_otlp::SpanExporter,
    collector: String,
    away: AtomicBool,
}

impl Telling {
    fn tell(&self, result: &OTelSdkResult) {
        let collector = self.collector.as_str();
        match result {
            Ok(()) if self.away.swap(false, Ordering::Relaxed) => {
                tracing::info!(collector, "the collector takes spans again");
            }
            Err(error) if !self.away.swap(true, Ordering::Relaxed) => {
                let error = text::bounded(&error.to_string(), text::ERROR_LIMIT);
                tracing::warn!(collector, error, "the collector takes no spans; they are dropped until it does");
            }
            _ => {}
        }
    }
}

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        self.tell(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
