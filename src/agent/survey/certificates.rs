//! How long certificates last: the agent's own, and those that are set in files.

use std::path::PathBuf;

use super::snapshot::{CertificateView, now_ms};
use crate::agent::text;
use crate::client::Client;
use crate::fabric::identity::{Certificate, Creator};

/// A longer file is no certificate.
const LONGEST: u64 = 1 << 20;

/// A file with a certificate in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// What it is for.
    pub what: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// All of them. A file that cannot be read now is left out: whoever uses it says so.
pub(super) async fn all(client: &Client, files: Vec<CertificateFile>) -> Vec<CertificateView> {
    let mut found = Vec::new();
    let identity = Creator::decode(client.signer().creator()).ok();
    if let Some(certificate) = identity.and_then(|creator| Certificate::from_pem(&creator.certificate_pem).ok()) {
        found.push(view("administrator", certificate.subject(), certificate.not_after()));
    }
    if let Some(tls) = client.client_tls() {
        found.push(view("TLS client", tls.subject(), tls.not_after()));
    }
    found.extend(
        crate::runtime::blocking(move || files.into_iter().filter_map(|file| read(&file)).collect::<Vec<_>>()).await,
    );
    found
}

fn read(file: &CertificateFile) -> Option<CertificateView> {
    if std::fs::metadata(&file.path).ok()?.len() > LONGEST {
        return None;
    }
    let certificate = Certificate::from_pem(&std::fs::read(&file.path).ok()?).ok()?;
    Some(view(file.what, certificate.subject(), certificate.not_after()))
}

fn view(what: &str, subject: &str, not_after: i64) -> CertificateView {
    let now = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
    let days_left = not_after.saturating_sub(now).div_euclid(24 * 60 * 60);
    CertificateView { what: what.to_owned(), subject: text::bounded(subject, 200), not_after, days_left }
}
