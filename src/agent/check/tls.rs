//! What the agent's own servers show, whom they are trusted by, and whom the agent trusts that takes its spans.
//!
//! A module of its own because these files are looked at by others only when somebody connects, which may be long after
//! the start.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use super::Findings;
use crate::agent::bootstrap::certificates;
use crate::agent::config::{Deployment, Settings};
use crate::agent::pair::Pair;
use crate::agent::{collector, text, watchers};
use crate::fabric::identity::Certificate;

const RENEW: &str = "have a new certificate issued and replace the files: they are taken over while the agent runs";

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    if let Some(files) = &settings.watching.tls {
        shown("HTTP service's", files, "AGENT_SERVICE_TLS_CERT and AGENT_SERVICE_TLS_KEY", findings);
    }
    contract_servers(&settings.deployment, findings);
    if let Some(named) = &settings.collector {
        let subject = "collector's settings";
        match collector::validate(named) {
            Ok(()) => findings.good(subject, &format!("spans are sent to {}", collector::Shown(&named.endpoint))),
            Err(what) => {
                findings.fail(subject, &what, "see OTEL_EXPORTER_OTLP_CERTIFICATE and OTEL_EXPORTER_OTLP_HEADERS");
            }
        }
    }
    if let Err(error) = watchers::notifier(settings, &std::sync::Arc::default()) {
        findings.problems(&error);
    }
}

/// A certificate and its key: whether they can be shown, and for how long.
fn shown(whose: &str, (cert, key): &(PathBuf, PathBuf), variables: &str, findings: &mut Findings) -> Option<Pair> {
    match Pair::read(cert, key) {
        Ok(pair) => {
            findings.good(&format!("{whose} TLS"), "certificate and key fit together");
            lasts(&format!("{whose} certificate"), &pair.chain, findings);
            Some(pair)
        }
        Err(what) => {
            let remedy = format!("name a certificate and its private key, both in PEM, by {variables}");
            findings.fail(&format!("{whose} TLS"), &what, &remedy);
            None
        }
    }
}

/// How long the first of these is good for.
fn lasts(subject: &str, chain: &[CertificateDer<'_>], findings: &mut Findings) {
    match chain.first().map(|first| Certificate::from_der(first)) {
        Some(Ok(certificate)) => findings.certificate(subject, &certificate, RENEW),
        Some(Err(error)) => findings.skip(subject, &format!("its dates are not known: {}", text::chain(&error))),
        None => {}
    }
}

fn contract_servers(deployment: &Deployment, findings: &mut Findings) {
    let pair = deployment.tls.server.as_ref().and_then(|files| {
        shown("contract servers'", files, "OPSSC_SERVER_TLS_CERT and OPSSC_SERVER_TLS_KEY", findings)
    });
    let Some(trusted) = deployment.tls.trusted() else { return };
    let subject = "contract servers' authorities";
    let authorities = match authorities(trusted) {
        Ok(authorities) => authorities,
        Err(what) => {
            findings.fail(subject, &what, "name a file of certificates alone, in PEM, by OPSSC_SERVER_TLS_CA");
            return;
        }
    };
    if deployment.tls.authorities.is_none() {
        let what =
            "peers are told to trust the servers' certificate itself: they will not trust one that takes its place";
        findings.warn(subject, what, "name its authority by OPSSC_SERVER_TLS_CA before the contracts are deployed");
        return;
    }
    lasts(subject, &authorities, findings);
    let Some(pair) = pair else { return };
    if let Err(what) = vouches(&authorities, &pair.chain) {
        let remedy = "name the authority of the servers' certificate by OPSSC_SERVER_TLS_CA";
        findings.fail(subject, &format!("peers would not trust the servers: {what}"), remedy);
    }
    for (variable, server) in
        [("CH_OPS_SERVER_ADDRESS", &deployment.channel_ops), ("CC_OPS_SERVER_ADDRESS", &deployment.chaincode_ops)]
    {
        // A pattern is another name for each peer.
        let Some(address) = server.address.as_deref().filter(|address| !address.contains("{{")) else { continue };
        if server.listen.is_some() && !names(&pair.chain, address) {
            let what = format!("the servers' certificate is not for {address}");
            findings.fail(subject, &what, &format!("have that host named in it, or see {variable}"));
        }
    }
}

/// What peers are told to trust.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = certificates(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{} holds no certificate", path.display())),
        Err(_) => Err(format!("{} is not PEM", path.display())),
    }
}

/// Whether one of the authorities vouches for the first of a chain. That it has expired is told elsewhere.
fn vouches(authorities: &[CertificateDer<'static>], chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let [first, rest @ ..] = chain else { return Ok(()) };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    let parsed = ParsedCertificate::try_from(first).map_err(|error| error.to_string())?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(&parsed, &roots, rest, UnixTime::now(), algorithms) {
        Err(error) if !is_of_dates(&error) => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn is_of_dates(error: &rustls::Error) -> bool {
    use rustls::CertificateError as Wrong;
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            Wrong::Expired | Wrong::ExpiredContext { .. } | Wrong::NotValidYet | Wrong::NotValidYetContext { .. }
        )
    )
}

/// Whether the first of a chain is for the host of `address`.
fn names(chain: &[CertificateDer<'_>], address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let Ok(name) = ServerName::try_from(host) else { return false };
    let parsed = chain.first().and_then(|first| ParsedCertificate::try_from(first).ok());
    parsed.is_some_and(|certificate| verify_server_name(&certificate, &name).is_ok())
}
