//! Whether an agent with these settings would be able to work: asked before it is started, answered with reasons.
//!
//! A module of its own because nothing here acts: files are opened and closed, nodes are asked and left as they were.
//! What is wrong with one thing does not keep the others from being looked at.

mod files;
mod online;
mod tls;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::config::{Settings, SettingsError};
use super::text;
use crate::client::Client;
use crate::fabric::identity::Certificate;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// The agent works, but somebody should know.
    Warning,
    /// The agent does not work, or not wholly.
    Failed,
    /// Not looked at, because of something else.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub subject: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen.
    pub what: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

/// Findings as they are gathered.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, subject: &str, verdict: Verdict, what: &str, remedy: &str) {
        self.0.push(Finding {
            subject: text::bounded(subject, 120),
            verdict,
            what: text::bounded(what, text::ERROR_LIMIT),
            remedy: remedy.to_owned(),
        });
    }

    fn good(&mut self, subject: &str, what: &str) {
        self.add(subject, Verdict::Good, what, "");
    }

    fn warn(&mut self, subject: &str, what: &str, remedy: &str) {
        self.add(subject, Verdict::Warning, what, remedy);
    }

    fn fail(&mut self, subject: &str, what: &str, remedy: &str) {
        self.add(subject, Verdict::Failed, what, remedy);
    }

    fn skip(&mut self, subject: &str, what: &str) {
        self.add(subject, Verdict::Skipped, what, "");
    }

    fn problems(&mut self, error: &SettingsError) {
        for problem in error.problems() {
            self.fail(problem.variable, &problem.what, &problem.remedy);
        }
    }

    /// How long a certificate is good for.
    fn validity(&mut self, subject: &str, (from, to): (i64, i64), expiry: &str, renew: &str) {
        let now = now();
        let days = (to - now) / (24 * 60 * 60);
        if now > to {
            self.fail(subject, &format!("expired at {expiry}"), renew);
        } else if now < from {
            let what = "not valid yet: either the clock of this machine is behind or that of whoever issued it ahead";
            self.fail(subject, what, "put the clock right");
        } else if days < SOON {
            self.warn(subject, &format!("expires in {days} days, at {expiry}"), renew);
        } else {
            self.good(subject, &format!("valid for {days} days"));
        }
    }

    /// As [`validity`](Self::validity), of a certificate.
    fn certificate(&mut self, subject: &str, certificate: &Certificate, renew: &str) {
        let span = (certificate.not_before(), certificate.not_after());
        self.validity(subject, span, certificate.expiry(), renew);
    }
}

/// Certificates that expire within so many days are warned of.
const SOON: i64 = 30;

/// Unix time in seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What is wrong with the settings themselves.
pub fn of_settings(error: &SettingsError) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.problems(error);
    findings.0
}

/// Looks at everything that the settings name on this machine.
pub fn offline(settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings::default();
    files::check(settings, &mut findings);
    tls::check(settings, &mut findings);
    findings.0
}

/// Looks at the network.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn online(settings: &Settings, client: &Client) -> Vec<Finding> {
    let mut findings = Findings::default();
    online::check(settings, client, &mut findings).await;
    findings.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_judged_by_their_days() {
        let day = 24 * 60 * 60;
        let now = now();
        for ((from, to), verdict) in [
            ((now - day, now + 400 * day), Verdict::Good),
            ((now - day, now + 10 * day), Verdict::Warning),
            ((now - 2 * day, now - day), Verdict::Failed),
            ((now + day, now + 2 * day), Verdict::Failed),
        ] {
            let mut findings = Findings::default();
            findings.validity("a certificate", (from, to), "some day", "renew it");
            assert_eq!(findings.0[0].verdict, verdict, "{:?}", findings.0);
        }
    }
}
