//! Logs to standard error, as lines for people or as JSON; and the agent's spans to a collector, where one is set.

use std::io;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::spans::Spans;
use crate::agent::config::{LogFormat, LogLevel};

/// Starts logging. Only the first call of a process counts.
pub(super) fn start(level: LogLevel, format: LogFormat) {
    start_with(level, format, None);
}

/// As [`start`], and has spans sent.
pub(super) fn start_with(level: LogLevel, format: LogFormat, spans: Option<&Spans>) {
    let ours = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    // What the libraries below say is of use only to who looks for a fault in them.
    let others = if level == LogLevel::Trace { Level::DEBUG } else { ours.min(Level::WARN) };
    let targets = Targets::new()
        .with_default(others)
        .with_target("opssc", ours)
        // It complains of each batch that it cannot send; we say that once.
        .with_target("opentelemetry", LevelFilter::OFF);
    let lines = match format {
        LogFormat::Text => fmt::layer().with_ansi(false).with_target(false).with_writer(io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    };
    // Whatever the log's level, and never what sending itself does.
    let sent = Targets::new().with_target("opssc", Level::INFO);
    let spans = spans.map(|spans| spans.layer().with_filter(sent));
    // A second call finds a subscriber in place, which is as good.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).with(spans).try_init();
}
