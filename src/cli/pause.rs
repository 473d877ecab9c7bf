//! `opssc-agent pause` and `resume`: what the agent leaves alone.
//!
//! They write the file that the agent looks at, so that they work whether it runs or not; or they ask an agent elsewhere.

use std::ffi::OsString;

use anyhow::Context as _;
use clap::Args;

use super::failure::{Exit, UsageError};
use super::remote::{Asked, RemoteFlags};
use super::settings::SettingFlags;
use super::{logging, output};
use crate::agent::config::Settings;
use crate::agent::holds::{Holds, Scope};

/// What to hold.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only the tasks of this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Only the tasks of this chaincode, on every channel unless one is given
    #[arg(long, value_name = "NAME")]
    chaincode: Option<String>,
}

/// Pausing.
#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    which: Which,
    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    remote: RemoteFlags,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Resuming.
#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    which: Which,
    /// Everything that is paused, also where the file is not understood
    #[arg(long, conflicts_with_all = ["channel", "chaincode"])]
    all: bool,
    #[command(flatten)]
    remote: RemoteFlags,
    #[command(flatten)]
    flags: SettingFlags,
}

impl Which {
    fn scope(&self) -> Result<Scope, UsageError> {
        let usage = |error: crate::fabric::names::NameError| UsageError(error.to_string());
        Ok(Scope {
            channel: self.channel.as_deref().map(str::parse).transpose().map_err(usage)?,
            chaincode: self.chaincode.as_deref().map(str::parse).transpose().map_err(usage)?,
        })
    }

    fn asked(&self) -> Asked<'_> {
        Asked { channel: self.channel.as_deref(), chaincode: self.chaincode.as_deref(), reason: None, all: None }
    }
}

/// Holds what is named.
pub(super) fn pause(pause: &Pause, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let scope = pause.which.scope()?;
    let (runtime, settings) = prepared(&pause.flags, environment)?;
    if let Some(remote) = pause.remote.open(&settings)? {
        let asked = Asked { reason: Some(&pause.reason), ..pause.which.asked() };
        runtime.block_on(remote.change("pause", &asked))?;
    } else {
        let holds = Holds::load(&settings.holds_file);
        runtime.block_on(holds.pause(scope.clone(), &pause.reason)).with_context(|| unchanged(&holds))?;
    }
    output::say(&format!("{scope} is paused: tasks that have begun go on, no others are begun"));
    Ok(Exit::Done)
}

/// Takes up again what is named.
pub(super) fn resume(resume: &Resume, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let scope = resume.which.scope()?;
    let (runtime, settings) = prepared(&resume.flags, environment)?;
    let (was_paused, left) = if let Some(remote) = resume.remote.open(&settings)? {
        let asked = Asked { all: resume.all.then_some(true), ..resume.which.asked() };
        let held = runtime.block_on(remote.change("resume", &asked))?;
        (held.is_some(), held.map(|held| held.holds).unwrap_or_default())
    } else {
        let holds = Holds::load(&settings.holds_file);
        let resuming = async {
            if resume.all { holds.resume_all().await.map(|()| true) } else { holds.resume(scope.clone()).await }
        };
        let was_paused = runtime.block_on(resuming).with_context(|| unchanged(&holds))?;
        (was_paused, holds.held().holds.clone())
    };
    if resume.all {
        output::say("nothing is paused any more");
        return Ok(Exit::Done);
    }
    output::say(&format!("{scope} {}", if was_paused { "is paused no more" } else { "was not paused" }));
    for hold in &left {
        output::say(&format!("still paused: {}", hold.scope));
    }
    Ok(if was_paused { Exit::Done } else { Exit::Failed })
}

fn prepared(
    flags: &SettingFlags,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<(tokio::runtime::Runtime, Settings)> {
    let settings = flags.settings_of_command(environment)?;
    logging::start(settings.log_level, settings.log_format);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    Ok((runtime, settings))
}

fn unchanged(holds: &Holds) -> String {
    format!("{} cannot be changed (HOLDS_FILE)", holds.path().display())
}
