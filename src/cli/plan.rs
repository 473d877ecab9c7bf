//! `opssc-agent plan`: what an agent with these settings would do, without doing it.

use std::ffi::OsString;

use anyhow::Context as _;
use clap::Args;

use super::failure::Exit;
use super::logging;
use super::output;
use super::settings::SettingFlags;

/// Asks own peers and the ledger, and changes nothing.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

pub(super) fn run(plan: &Plan, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let settings = plan.flags.settings_of_command(environment)?;
    logging::start(settings.log_level, settings.log_format);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let foreseen = runtime.block_on(crate::agent::foresee(&settings))?;
    if plan.json {
        output::put_json(&foreseen)?;
        return Ok(Exit::Done);
    }
    let parts = [
        ("bootstrap", &foreseen.steps),
        ("task", &foreseen.tasks),
        ("waits for", &foreseen.waiting),
        ("left alone", &foreseen.notes),
    ];
    let rows: Vec<Vec<String>> = parts
        .into_iter()
        .flat_map(|(kind, lines)| lines.iter().map(move |line| vec![kind.to_owned(), line.clone()]))
        .collect();
    if rows.is_empty() {
        output::say("there is nothing to do");
    } else {
        output::put(&output::table(&["KIND", "WHAT"], &rows))?;
    }
    Ok(Exit::Done)
}
