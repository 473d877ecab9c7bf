//! `opssc-agent config`: the settings as they are in effect, and from where each has its value.

use std::ffi::OsString;

use clap::Args;
use serde_json::json;

use super::failure::Exit;
use super::output;
use super::settings::{Layers, Origin, SettingFlags};

/// Showing the settings.
#[derive(Debug, Args)]
pub(super) struct Config {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Leave out what is neither set nor has a default
    #[arg(long)]
    short: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Prints the settings; those that are wrong are told as well.
pub(super) fn run(config: &Config, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let layers = Layers::new(&config.flags, environment);
    let (settings, mut found) = layers.settings();
    found.sort_by_key(|setting| setting.name);
    if config.short {
        found.retain(|setting| setting.value.is_some() || setting.default.is_some());
    }
    let origin = |name: &str, is_set: bool, has_default: bool| match layers.origin(name) {
        Origin::Default if !is_set && !has_default => String::new(),
        origin => origin.to_string(),
    };
    if config.json {
        let shown: Vec<_> = found
            .iter()
            .map(|setting| {
                json!({
                    "name": setting.name,
                    "value": setting.value.as_ref().or(setting.default.as_ref()),
                    "from": layers.origin(setting.name).to_string(),
                    "secret": setting.is_secret,
                })
            })
            .collect();
        output::put_json(&shown)?;
    } else {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|setting| {
                let value = setting.value.as_ref().or(setting.default.as_ref()).cloned().unwrap_or_default();
                let from = origin(setting.name, setting.value.is_some(), setting.default.is_some());
                vec![setting.name.to_owned(), from, value]
            })
            .collect();
        output::put(&output::table(&["SETTING", "FROM", "VALUE"], &rows))?;
    }
    settings?;
    Ok(Exit::Done)
}
