//! Where settings come from, for every command that acts as an organization: flags win over the environment, and that
//! over a file.

mod file;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::Args;

use crate::agent::config::{Problem, Setting, Settings, SettingsError};
use crate::agent::text;

/// Each flag overrides the setting of the same meaning.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Settings")]
#[expect(clippy::doc_markdown, reason = "shown as they are by --help")]
pub(super) struct SettingFlags {
    /// A file of settings in TOML or YAML, which the environment and flags override (CONFIG_FILE)
    #[arg(long = "config", value_name = "PATH")]
    config: Option<PathBuf>,
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
    /// All settings: from these flags, else from `environment`, else from the file.
    pub(super) fn settings(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings, SettingsError> {
        Layers::new(self, environment).settings().0
    }

    /// As [`settings`](Self::settings), for commands of people.
    pub(super) fn settings_of_command(
        &self,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Settings, SettingsError> {
        Layers::for_command(self, environment).settings().0
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

/// From where a setting has its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// The three places that are asked for a setting, in their order.
pub(super) struct Layers<'a> {
    flags: &'a SettingFlags,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    file: file::Table,
    problems: Vec<Problem>,
    /// What holds where nobody names a level.
    log_level: Option<&'static str>,
}

impl<'a> Layers<'a> {
    /// Reads the file, if one is named.
    pub(super) fn new(flags: &'a SettingFlags, environment: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        let named = environment("CONFIG_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut layers = Self { flags, environment, file: file::Table::new(), problems: Vec::new(), log_level: None };
        if let Some(path) = flags.config.clone().or(named) {
            let (table, troubles) = file::load(&path, &Settings::names());
            let shown = text::bounded(&path.display().to_string(), 200);
            layers.file = table;
            layers.problems = troubles
                .into_iter()
                .map(|(what, remedy)| Problem { variable: "CONFIG_FILE", what: format!("{shown}: {what}"), remedy })
                .collect();
        }
        layers
    }

    /// As [`new`](Self::new), for commands of people: logs are off but for warnings unless asked for.
    pub(super) fn for_command(flags: &'a SettingFlags, environment: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { log_level: Some("warn"), ..Self::new(flags, environment) }
    }

    /// All settings, or all that is wrong with them and with the file; and each of them as it was found.
    pub(super) fn settings(&self) -> (Result<Settings, SettingsError>, Vec<Setting>) {
        let (settings, found) = Settings::read(|name| self.value(name).map(|(value, _)| value));
        let settings = match settings {
            Ok(settings) if self.problems.is_empty() => Ok(settings),
            Ok(_) => Err(SettingsError::new(self.problems.clone())),
            Err(error) => Err(SettingsError::new([&self.problems, error.problems()].concat())),
        };
        (settings, found)
    }

    /// From where the setting has its value.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.value(name).map_or(Origin::Default, |(_, origin)| origin)
    }

    fn value(&self, name: &str) -> Option<(OsString, Origin)> {
        let given =
            |value: Option<OsString>, origin| value.filter(|value| !value.is_empty()).map(|value| (value, origin));
        given(self.flags.value(name), Origin::Flag)
            .or_else(|| given((self.environment)(name), Origin::Environment))
            .or_else(|| given(self.file.get(name).map(OsString::from), Origin::File))
            .or_else(|| given(self.log_level.filter(|_| name == "LOG_LEVEL").map(OsString::from), Origin::Default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, "admin_mspid = \"FileMSP\"\nchannel_name = \"file\"\ncc_ops_cc_name = \"file\"\n")
            .unwrap();
        let flags = SettingFlags { msp_id: Some("FlagMSP".into()), ..SettingFlags::default() };
        let environment = |name: &str| match name {
            "CONFIG_FILE" => Some(path.clone().into_os_string()),
            "ADMIN_MSPID" => Some("EnvironmentMSP".into()),
            "CHANNEL_NAME" => Some("environment".into()),
            // An empty one counts as none.
            "CC_OPS_CC_NAME" => Some(OsString::new()),
            _ => None,
        };
        let layers = Layers::new(&flags, &environment);
        let settings = layers.settings().0.unwrap();
        assert_eq!(settings.msp_id.as_str(), "FlagMSP");
        assert_eq!(settings.ops_channel.as_str(), "environment");
        assert_eq!(settings.chaincode_ops.as_str(), "file");
        assert_eq!(settings.channel_ops.as_str(), "channel-ops");
        let origins = ["ADMIN_MSPID", "CHANNEL_NAME", "CC_OPS_CC_NAME", "CH_OPS_CC_NAME"];
        let origins = origins.map(|name| layers.origin(name));
        assert_eq!(origins, [Origin::Flag, Origin::Environment, Origin::File, Origin::Default]);
    }

    #[test]
    fn problems_of_file_and_settings_are_told_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.yaml");
        std::fs::write(&path, "admin_mspd: Org1MSP\nagent_service_port: many\n").unwrap();
        let flags = SettingFlags { config: Some(path), ..SettingFlags::default() };
        let error = flags.settings(&|_| None).unwrap_err().to_string();
        assert!(error.contains("perhaps ADMIN_MSPID is meant") && error.contains("AGENT_SERVICE_PORT"), "{error}");
        let flags = SettingFlags { config: Some(folder.path().join("none.toml")), ..SettingFlags::default() };
        let error = flags.settings(&|_| None).unwrap_err().to_string();
        assert!(error.contains("CONFIG_FILE") && error.contains("none.toml"), "{error}");
    }
}
