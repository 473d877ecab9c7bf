//! The settings by which spans are sent to a collector of OpenTelemetry.
//!
//! A module of its own because their names are not ours: they are those that every program with OpenTelemetry knows.
//! Where there are two, the one of traces wins over the one of everything. Nothing is sent unless an endpoint is set.
//!
//! Source: OpenTelemetry's specifications of SDK environment variables and of the OTLP exporter.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::Secret;
use super::variables::Variables;

const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const CERTIFICATE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Which traces are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// All: the default.
    All,
    /// None.
    None,
    /// So many out of a million.
    Millionths(u32),
}

/// Where spans are sent, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: `http://host:port`, or `https://` for TLS.
    pub endpoint: Uri,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: what is sent along, such as a token.
    pub headers: Vec<(String, Secret)>,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`: authorities of the collector's certificate, instead of the well-known ones.
    pub certificate: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: how long the collector may take for a batch.
    pub timeout: Duration,
    /// `OTEL_SERVICE_NAME`.
    pub service: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`: what else is said about this agent.
    pub attributes: Vec<(String, String)>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: Sampler,
}

impl Collector {
    /// `None` where nothing is to be sent.
    pub(super) fn read(read: &mut Variables<'_>) -> Option<Self> {
        let is_off = read.switch("OTEL_SDK_DISABLED", false);
        let exporter = read.parsed("OTEL_TRACES_EXPORTER", "otlp", "use otlp or none", |text| match text {
            "otlp" => Ok(true),
            "none" => Ok(false),
            _ => Err("this agent has no such exporter".to_owned()),
        });
        let endpoint = first(ENDPOINT.map(|name| {
            read.parsed(name, "", "use http://host:port or https://host:port of the collector's gRPC service", endpoint)
        }));
        let protocol = first(PROTOCOL.map(|name| read.text(name).map(|protocol| (name, protocol))));
        let headers = first(HEADERS.map(|name| {
            let remedy = "use name=value with commas between them, values encoded as in an address where needed";
            read.secret_parsed(name, remedy, |text| {
                let pairs = pairs(text)?.into_iter();
                pairs.map(|(name, value)| header(&name, value)).collect::<Result<Vec<_>, _>>()
            })
        }));
        let certificate = first(CERTIFICATE.map(|name| read.optional_path(name)));
        let timeout = first(TIMEOUT.map(|name| {
            let default = if name == TIMEOUT[1] { "10000" } else { "" };
            read.parsed(name, default, "use a number of milliseconds", |text| match text.parse::<u32>() {
                Ok(number) if number > 0 => Ok(Duration::from_millis(number.into())),
                _ => Err("it is no number of milliseconds".to_owned()),
            })
        }));
        let service = read.text("OTEL_SERVICE_NAME");
        let attributes = read.parsed(ATTRIBUTES, "", "use name=value with commas between them", pairs);
        let sampler = sampler(read);
        let endpoint = endpoint.filter(|_| !is_off && exporter != Some(false))?;
        if let Some((name, protocol)) = protocol.filter(|(_, protocol)| protocol.trim() != "grpc") {
            let what = format!("{:?} is not spoken here", crate::agent::text::bounded(&protocol, 40));
            read.problem(name, what, "use grpc, and the endpoint of the collector's gRPC service");
        }
        let mut attributes = attributes.unwrap_or_default();
        // Where there is no name for it elsewhere, one among the attributes counts.
        let named = attributes.iter().position(|(name, _)| name == "service.name").map(|at| attributes.remove(at).1);
        Some(Self {
            endpoint,
            headers: headers.unwrap_or_default(),
            certificate,
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
            service: service.or(named).unwrap_or_else(|| "opssc-agent".to_owned()),
            attributes,
            sampler,
        })
    }
}

fn first<T>(values: [Option<T>; 2]) -> Option<T> {
    let [special, general] = values;
    special.or(general)
}

fn endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("it is no address: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err("it is neither http:// nor https:// and a host".to_owned());
    }
    Ok(uri)
}

fn sampler(read: &mut Variables<'_>) -> Sampler {
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let remedy = "use always_on, always_off or traceidratio, each with parentbased_ before it or not";
    let kind = read.parsed(SAMPLER, "parentbased_always_on", remedy, |text| {
        // What has a parent follows it, and no trace here begins elsewhere.
        match text.strip_prefix("parentbased_").unwrap_or(text) {
            "always_on" => Ok(Sampler::All),
            "always_off" => Ok(Sampler::None),
            "traceidratio" => Ok(Sampler::Millionths(1_000_000)),
            _ => Err("there is no such sampler here".to_owned()),
        }
    });
    let share = read.parsed(ARGUMENT, "", "use a number from 0 to 1", millionths);
    match (kind.unwrap_or(Sampler::All), share) {
        (Sampler::Millionths(_), Some(share)) => Sampler::Millionths(share),
        (sampler, _) => sampler,
    }
}

fn millionths(text: &str) -> Result<u32, String> {
    let share: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if !(0.0..=1.0).contains(&share) {
        return Err("it is not between 0 and 1".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and a million")]
    Ok((share * 1_000_000.0).round() as u32)
}

/// `name=value,…`, whose values are encoded as in addresses. What is wrong is told without them: they may be secrets.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty()).enumerate();
    items
        .map(|(at, item)| {
            let wrong = |what: &dyn Display| format!("item {} {what}", at + 1);
            let (name, value) = item.split_once('=').ok_or_else(|| wrong(&"is not name=value"))?;
            if name.trim().is_empty() {
                return Err(wrong(&"has no name"));
            }
            let value = decoded(value.trim()).ok_or_else(|| wrong(&"is wrongly encoded"))?;
            Ok((name.trim().to_owned(), value))
        })
        .collect()
}

fn header(name: &str, value: String) -> Result<(String, Secret), String> {
    // gRPC reserves those for bytes, which this setting has no form for.
    let is_name = HeaderName::from_str(name).is_ok() && !name.to_ascii_lowercase().ends_with("-bin");
    if !is_name || HeaderValue::from_str(&value).is_err() || !value.is_ascii() {
        return Err("it has a header that cannot be sent".to_owned());
    }
    Ok((name.to_ascii_lowercase(), Secret::new(value)))
}

/// `%20` and the like undone.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::SettingsError;
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Collector>, String> {
        let lookup = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let mut variables = Variables::new(&lookup);
        let read = Collector::read(&mut variables);
        let problems = variables.finish().0;
        if problems.is_empty() { Ok(read) } else { Err(SettingsError::new(problems).to_string()) }
    }

    const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

    #[test]
    fn without_an_endpoint_or_disabled_nothing_is_sent() {
        for pairs in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "mine")],
            &[AT, ("OTEL_SDK_DISABLED", "true")],
            &[AT, ("OTEL_TRACES_EXPORTER", "none")],
            // What is not used is not refused.
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
        ] {
            assert_eq!(read(pairs).unwrap(), None, "{pairs:?}");
        }
    }

    #[test]
    fn the_settings_of_traces_win() {
        let collector = read(&[AT]).unwrap().unwrap();
        assert_eq!((collector.service.as_str(), collector.sampler), ("opssc-agent", Sampler::All));
        assert_eq!((collector.timeout, collector.headers), (Duration::from_secs(10), vec![]));
        let collector = read(&[
            AT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hunter2, x-tenant=org1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,deployment.environment=test%2C1"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(collector.endpoint.host(), Some("traces"));
        assert_eq!((collector.timeout, collector.sampler), (Duration::from_millis(2500), Sampler::Millionths(250_000)));
        assert_eq!(collector.service, "theirs");
        assert_eq!(collector.attributes, [("deployment.environment".to_owned(), "test,1".to_owned())]);
        let headers: Vec<_> = collector.headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        assert_eq!(headers, [("authorization", "Bearer hunter2"), ("x-tenant", "org1")]);
        assert!(!format!("{collector:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%zz"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a-bin=hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
        ] {
            let error = read(&[AT, (variable, value)]).unwrap_err();
            assert!(error.contains(variable) && !error.contains("hunter2"), "{error}");
        }
    }
}
