//! Flags that override settings, for every command that acts as an organization.

use std::ffi::OsString;

use clap::Args;

use crate::agent::config::{Settings, SettingsError};

/// Each flag overrides the setting of the same meaning.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Settings")]
#[expect(clippy::doc_markdown, reason = "shown as they are by --help")]
pub(super) struct SettingFlags {
    /// The organization (ADMIN_MSPID)
    #[arg(long, value_name = "MSP ID")]
    msp_id: Option<OsString>,
    /// The administrator's certificate: a file, or a folder that holds one (ADMIN_CERT)
    #[arg(long, value_name = "PATH")]
    cert: Option<OsString>,
    /// The administrator's private key: a file, or a folder that holds one (ADMIN_KEY)
    #[arg(long, value_name = "PATH")]
    key: Option<OsString>,
    /// The connection profile, YAML or JSON (CONNECTION_PROFILE)
    #[arg(long, value_name = "PATH")]
    profile: Option<OsString>,
    /// The ops channel (CHANNEL_NAME)
    #[arg(long, value_name = "NAME")]
    ops_channel: Option<OsString>,
    /// The contract of chaincode proposals (CC_OPS_CC_NAME)
    #[arg(long, value_name = "NAME")]
    chaincode_ops: Option<OsString>,
    /// The contract of channel proposals (CH_OPS_CC_NAME)
    #[arg(long, value_name = "NAME")]
    channel_ops: Option<OsString>,
    /// Dial discovered addresses at this machine (DISCOVER_AS_LOCALHOST)
    #[arg(long)]
    discover_as_localhost: bool,
    /// error, warn, info, debug or silly (LOG_LEVEL)
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<OsString>,
    /// text or json (LOG_FORMAT)
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<OsString>,
}

impl SettingFlags {
    /// All settings: from these flags, and where there is none from `environment`.
    pub(super) fn settings(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings, SettingsError> {
        Settings::from_lookup(|name| self.value(name).or_else(|| environment(name)))
    }

    /// As [`settings`](Self::settings), for commands of people: logs are off but for warnings unless asked for.
    pub(super) fn settings_of_command(
        &self,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Settings, SettingsError> {
        Settings::from_lookup(|name| {
            let value = self.value(name).or_else(|| environment(name));
            if name == "LOG_LEVEL" { value.or_else(|| Some("warn".into())) } else { value }
        })
    }

    fn value(&self, name: &str) -> Option<OsString> {
        match name {
            "ADMIN_MSPID" => self.msp_id.clone(),
            "ADMIN_CERT" => self.cert.clone(),
            "ADMIN_KEY" => self.key.clone(),
            "CONNECTION_PROFILE" => self.profile.clone(),
            "CHANNEL_NAME" => self.ops_channel.clone(),
            "CC_OPS_CC_NAME" => self.chaincode_ops.clone(),
            "CH_OPS_CC_NAME" => self.channel_ops.clone(),
            "DISCOVER_AS_LOCALHOST" => self.discover_as_localhost.then(|| "true".into()),
            "LOG_LEVEL" => self.log_level.clone(),
            "LOG_FORMAT" => self.log_format.clone(),
            _ => None,
        }
    }
}
