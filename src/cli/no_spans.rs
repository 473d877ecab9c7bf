//! In place of `spans` where the program is built without the feature `otlp`: a collector that is set is an error, as
//! whoever set it waits for spans.

use tracing_subscriber::layer::Identity;

use crate::agent::config::{Problem, Settings, SettingsError};

/// What would send spans: there is none.
pub(super) enum Spans {}

impl Spans {
    /// `None` where no collector is set.
    ///
    /// # Errors
    /// Where one is.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, SettingsError> {
        if settings.collector.is_none() {
            return Ok(None);
        }
        Err(SettingsError::new(vec![Problem {
            variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
            what: "this program was built without OpenTelemetry".to_owned(),
            remedy: "unset it, or build with the feature otlp".to_owned(),
        }]))
    }

    /// Where spans would go in.
    pub(super) fn layer(&self) -> Identity {
        match *self {}
    }

    /// Sends nothing.
    pub(super) async fn end(self) {
        std::future::ready(()).await;
        match self {}
    }
}
