//! How a command ends: exit codes, errors for people, hints.

use std::error::Error;
use std::process::ExitCode;

use crate::agent::config::SettingsError;
use crate::agent::{AgentError, text};
use crate::client::{CallError, ClientError, SubmitError};
use crate::fabric::identity::SignError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done,
    /// Failed: it did not happen.
    Failed,
    /// It may or may not have happened.
    Unknown,
    /// Wrong arguments or settings.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unknown => 2,
            Exit::Usage => 64,
        })
    }
}

/// Something in the arguments that only shows once they are put together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// An error whose outcome is open, for errors which do not say so themselves.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OutcomeUnknown(pub(super) String);

/// Tells people what went wrong and what they can do, and says how the program ends.
pub(super) fn tell(error: &anyhow::Error) -> Exit {
    let mut shown = String::from("error: ");
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut told = String::new();
    for cause in causes {
        if told.contains(&cause) {
            continue;
        }
        if !told.is_empty() {
            shown.push_str("\n  because: ");
        }
        // Settings errors have a line for each problem.
        let lines: Vec<String> = cause.lines().map(|line| text::bounded(line, 4 * text::ERROR_LIMIT)).collect();
        shown.push_str(&lines.join("\n"));
        told.push_str(&cause);
    }
    if let Some(hint) = error.chain().find_map(hint) {
        shown.push_str("\nhint: ");
        shown.push_str(hint);
    }
    super::output::say(&shown);
    exit(error)
}

fn exit(error: &anyhow::Error) -> Exit {
    error.chain().find_map(exit_of).unwrap_or(Exit::Failed)
}

fn exit_of(cause: &(dyn Error + 'static)) -> Option<Exit> {
    if cause.is::<SettingsError>() || cause.is::<UsageError>() {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<AgentError>() {
        return (!matches!(error, AgentError::Worker(_))).then_some(Exit::Usage);
    }
    let undecided = matches!(cause.downcast_ref(), Some(SubmitError::Undecided { .. }));
    (undecided || cause.is::<OutcomeUnknown>()).then_some(Exit::Unknown)
}

fn hint(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    if cause.is::<SettingsError>() || matches!(cause.downcast_ref(), Some(AgentError::Settings(_))) {
        return Some("settings are environment variables; `opssc-agent run --help` lists the flags that override them");
    }
    if matches!(cause.downcast_ref(), Some(ClientError::Expired { .. }))
        || matches!(cause.downcast_ref(), Some(SignError::Expired { .. }))
    {
        return Some("enroll the identity anew, or check the clock of this machine");
    }
    match cause.downcast_ref() {
        Some(SubmitError::Undecided { .. }) => {
            return Some("it may have taken effect: look at the proposal before you try again");
        }
        Some(SubmitError::NoEndorsers { .. }) => {
            return Some("peers of other organizations are found through the own ones: do they have anchor peers?");
        }
        _ => {}
    }
    match cause.downcast_ref() {
        Some(CallError::Transport { .. } | CallError::Deadline { .. }) => {
            Some("is the node running, and are its address and TLS certificates in the connection profile right?")
        }
        Some(CallError::Rejected { .. }) => {
            Some("are certificate and key those of an administrator of the organization, and is it a member there?")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::names::TxId;

    #[test]
    fn errors_choose_the_exit_code() {
        let usage = anyhow::Error::new(SettingsError::new(Vec::new())).context("cannot start");
        assert_eq!(exit(&usage), Exit::Usage);
        assert_eq!(exit(&anyhow::Error::new(OutcomeUnknown("hm".to_owned()))), Exit::Unknown);
        let wrapped = AgentError::Settings(SettingsError::new(Vec::new()));
        assert_eq!(exit(&anyhow::Error::new(wrapped)), Exit::Usage);
        let undecided =
            SubmitError::Undecided { tx_id: TxId::of(b"nonce", b"creator"), waited: std::time::Duration::from_secs(1) };
        assert_eq!(exit(&anyhow::Error::new(undecided).context("not voted")), Exit::Unknown);
        assert_eq!(exit(&anyhow::anyhow!("no")), Exit::Failed);
    }
}
