//! The settings of several replicas of one organization's agent.

use std::path::PathBuf;
use std::time::Duration;

use super::variables::{self, Variables};

const LOCK_FILE: &str = "LEADER_LOCK_FILE";
const LEASE_TIME: &str = "LEADER_LEASE_TIME";

/// Whether there are other replicas, and how it is settled which of them acts (ours).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// `LEADER_LOCK_FILE`: a file on storage that the replicas share. Without it, this one always acts.
    pub lock_file: Option<PathBuf>,
    /// `LEADER_IDENTITY`: by what name the others see this replica; else the host's name.
    pub identity: String,
    /// `LEADER_LEASE_TIME`: after how long without a sign another takes over.
    pub lease_time: Duration,
}

impl Replicas {
    pub(super) fn read(read: &mut Variables<'_>) -> Self {
        let lease_time = read.parsed(LEASE_TIME, "10s", "use a time from 1s to 1m", |text| {
            let time = variables::duration(text)?;
            if (Duration::from_secs(1)..=Duration::from_mins(1)).contains(&time) {
                Ok(time)
            } else {
                Err("it is too short or too long".to_owned())
            }
        });
        Self {
            lock_file: read.optional_path(LOCK_FILE),
            identity: read.text("LEADER_IDENTITY").unwrap_or_else(|| {
                let host = read.unlisted("HOSTNAME").and_then(|host| host.into_string().ok());
                host.unwrap_or_else(|| "agent".to_owned())
            }),
            lease_time: lease_time.unwrap_or(Duration::from_secs(10)),
        }
    }
}
