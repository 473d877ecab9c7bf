//! `opssc-agent check`: whether an agent with these settings would work, before it is started.

use std::ffi::OsString;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::failure::Exit;
use super::settings::{Layers, SettingFlags};
use super::{logging, output};
use crate::agent::check::{self, Finding, Verdict};
use crate::agent::config::Settings;
use crate::agent::{self, text};

/// Checking.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Look at settings and files alone
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Prints what was found. The exit code is 64 where settings are wrong, 1 where something else is, and else 0.
pub(super) fn run(check: &Check, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let (findings, exit) = match Layers::for_command(&check.flags, environment).settings().0 {
        Err(error) => (check::of_settings(&error), Exit::Usage),
        Ok(settings) => {
            logging::start(settings.log_level, settings.log_format);
            let findings = look(&settings, check.offline)?;
            let has_failed = findings.iter().any(|finding| finding.verdict == Verdict::Failed);
            (findings, if has_failed { Exit::Failed } else { Exit::Done })
        }
    };
    show(&findings, check.json)?;
    Ok(exit)
}

fn look(settings: &Settings, is_offline: bool) -> anyhow::Result<Vec<Finding>> {
    let mut findings = check::offline(settings);
    if is_offline {
        return Ok(findings);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        match agent::connect(settings) {
            Ok(client) => findings.extend(check::online(settings, &client).await),
            Err(error) => findings.push(Finding {
                subject: "network".to_owned(),
                verdict: Verdict::Skipped,
                what: format!("not asked: {}", text::chain(&error)),
                remedy: String::new(),
            }),
        }
    });
    Ok(findings)
}

fn show(findings: &[Finding], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let shown: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.subject,
                    "result": finding.verdict.to_string(),
                    "detail": finding.what,
                    "remedy": finding.remedy,
                })
            })
            .collect();
        return output::put_json(&shown);
    }
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| vec![finding.verdict.to_string(), finding.subject.clone(), finding.what.clone()])
        .collect();
    output::put(&output::table(&["RESULT", "CHECK", "DETAIL"], &rows))?;
    for finding in findings.iter().filter(|finding| !finding.remedy.is_empty()) {
        output::put(&format!("{} {}: {}", finding.verdict, finding.subject, finding.remedy))?;
    }
    Ok(())
}
