//! Reading variables one by one, collecting what is wrong instead of stopping at the first.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::text;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.variable, self.what, self.remedy)
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    /// An error of these problems.
    pub fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The problems, in the order in which they were found.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [] => f.write_str("the settings are not valid"),
            [only] => write!(f, "the settings are not valid: {only}"),
            several => {
                write!(f, "the settings have {} problems:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// One setting as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What it is set to, fit for showing; of a secret only that it is set.
    pub value: Option<String>,
    /// What holds where it is not set; none where that is worked out of other settings, or nothing.
    pub default: Option<String>,
    /// Whether its value is never shown.
    pub is_secret: bool,
}

/// What stands for the value of a secret.
const HIDDEN: &str = "(set, not shown)";

/// At most this many characters of a value are shown.
const SHOWN: usize = 300;

/// Reads variables, collects problems, and remembers what was asked for.
pub(super) struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
    problems: Vec<Problem>,
    settings: Vec<Setting>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { lookup, problems: Vec::new(), settings: Vec::new() }
    }

    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Setting>) {
        (self.problems, self.settings)
    }

    pub(super) fn problem(&mut self, variable: &'static str, what: impl Into<String>, remedy: &str) {
        self.problems.push(Problem { variable, what: what.into(), remedy: remedy.to_owned() });
    }

    /// The value, unless there is none or an empty one. Every setting is read through here.
    fn given(&mut self, variable: &'static str, default: Option<&str>, is_secret: bool) -> Option<OsString> {
        let value = self.unlisted(variable);
        if self.settings.iter().all(|known| known.name != variable) {
            let shown = value.as_ref().map(|value| shown(&value.to_string_lossy(), is_secret));
            let default = default.filter(|default| !default.is_empty()).map(str::to_owned);
            self.settings.push(Setting { name: variable, value: shown, default, is_secret });
        }
        value
    }

    /// A value that is no setting of the agent, such as the host's name.
    pub(super) fn unlisted(&self, variable: &str) -> Option<OsString> {
        (self.lookup)(variable).filter(|value| !value.is_empty())
    }

    fn plain(&mut self, variable: &'static str, default: Option<&str>, is_secret: bool) -> Option<String> {
        let value = self.given(variable, default, is_secret)?;
        let Ok(text) = value.into_string() else {
            self.problem(variable, "it is not UTF-8", "set it to plain text");
            return None;
        };
        Some(text)
    }

    /// The value, if there is one.
    pub(super) fn text(&mut self, variable: &'static str) -> Option<String> {
        self.plain(variable, None, false)
    }

    /// The value, or `default`.
    pub(super) fn text_or(&mut self, variable: &'static str, default: &str) -> String {
        self.plain(variable, Some(default), false).unwrap_or_else(|| default.to_owned())
    }

    /// As [`text`](Self::text), for values that must not be shown.
    pub(super) fn secret(&mut self, variable: &'static str) -> Option<String> {
        self.plain(variable, None, true)
    }

    /// The value, or `default`, as a path, which need not be UTF-8.
    pub(super) fn path(&mut self, variable: &'static str, default: &str) -> PathBuf {
        self.given(variable, Some(default), false).map_or_else(|| PathBuf::from(default), PathBuf::from)
    }

    /// The value as a path, if there is one.
    pub(super) fn optional_path(&mut self, variable: &'static str) -> Option<PathBuf> {
        self.given(variable, None, false).map(PathBuf::from)
    }

    /// The value, or `default`, as `parse` understands it. An empty default means that there is none.
    pub(super) fn parsed<T>(
        &mut self,
        variable: &'static str,
        default: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.plain(variable, Some(default), false).unwrap_or_else(|| default.to_owned());
        if value.is_empty() {
            return None;
        }
        match parse(value.trim()) {
            Ok(parsed) => Some(parsed),
            Err(what) => {
                self.problem(variable, format!("{:?} is not usable: {what}", text::bounded(&value, 80)), remedy);
                None
            }
        }
    }

    /// As [`parsed`](Self::parsed), without a default and for values that must not be shown.
    pub(super) fn secret_parsed<T>(
        &mut self,
        variable: &'static str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.secret(variable)?;
        parse(value.trim()).map_err(|what| self.problem(variable, what, remedy)).ok()
    }

    pub(super) fn switch(&mut self, variable: &'static str, default: bool) -> bool {
        let shown = if default { "true" } else { "false" };
        self.parsed(variable, shown, "use true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it is neither true nor false".to_owned()),
        })
        .unwrap_or(default)
    }

    pub(super) fn port(&mut self, variable: &'static str, default: u16) -> u16 {
        self.parsed(variable, &default.to_string(), "use a number from 0 to 65535", |text| {
            text.parse().map_err(|_| "it is not the number of a port".to_owned())
        })
        .unwrap_or(default)
    }
}

/// A value as it may be shown: nothing of a secret, and of an address not who shows himself there.
fn shown(value: &str, is_secret: bool) -> String {
    if is_secret {
        return HIDDEN.to_owned();
    }
    let mut shown = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(['/', ',', ' ', '?']).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(user) => {
                shown.push('…');
                &after[user..]
            }
            None => after,
        };
    }
    shown.push_str(rest);
    text::bounded(&shown, SHOWN)
}

/// A length of time as Go and helm write it: `10m`, `1h30m`, `90s`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "it is not a length of time".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return Err(wrong()),
        };
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[end..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

/// An address of chaincode servers, with its two placeholders.
pub(super) fn address_template(template: &str) -> Result<String, String> {
    let example = template.replace("{chaincode}", "asset").replace("{sequence}", "1");
    if example.contains(['{', '}']) {
        return Err("it has a placeholder other than {chaincode} and {sequence}".to_owned());
    }
    if example.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err("it is not host:port".to_owned());
    }
    match example.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
            Ok(template.to_owned())
        }
        _ => Err("it is not host:port".to_owned()),
    }
}

/// `host:port` as a peer dials it; a peer fills in placeholders such as `{{.peername}}` itself.
pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    match text.rsplit_once(':') {
        Some((host, port)) if is_plain && !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
            Ok(text.to_owned())
        }
        _ => Err("it is not host:port".to_owned()),
    }
}

/// A number of bytes: `1000`, `200MB`, `256 MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "it is not a number of bytes".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// A path with the two placeholders of [`address_template`], of which it needs at least the chaincode's name.
pub(super) fn path_template(template: &str) -> Result<String, String> {
    let example = template.replace("{chaincode}", "asset").replace("{sequence}", "1");
    if example.contains(['{', '}']) {
        return Err("it has a placeholder other than {chaincode} and {sequence}".to_owned());
    }
    if !template.contains("{chaincode}") {
        return Err("all chaincodes would have the same image".to_owned());
    }
    Ok(template.to_owned())
}
