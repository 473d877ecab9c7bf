//! The settings about tasks: how many, how long, and when to look for what was left over.

use std::time::Duration;

use super::variables::{self, Variables};

/// How tasks are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    /// `TASKS_SIDE_BY_SIDE` (ours): how many are worked on at the same time.
    pub side_by_side: usize,
    /// `TASK_STEP_TIMEOUT` (ours): how long a step may take, tries and pauses together, before its task has to queue up
    /// again. Fetching and building have limits of their own.
    pub step_timeout: Duration,
    /// `TASK_HISTORY` (ours): how many ended tasks are remembered.
    pub history: usize,
    /// `RECONCILE_PERIOD` (ours): how often the ledger is looked through for what is due.
    pub reconcile_period: Duration,
    /// `BOOTSTRAP_PERIOD` (ours): how often the own peers are looked at while nothing is known to be missing.
    pub bootstrap_period: Duration,
    /// `EXECUTOR_TIMEOUT` (ours): how long the organization that was asked to finish a proposal may be away before the
    /// next one steps in.
    pub executor_timeout: Duration,
    /// `SHUTDOWN_TIMEOUT` (ours): how long steps under way may go on after the agent was told to stop.
    pub shutdown_timeout: Duration,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            side_by_side: 16,
            step_timeout: Duration::from_mins(5),
            history: 1000,
            reconcile_period: Duration::from_mins(5),
            bootstrap_period: Duration::from_mins(10),
            executor_timeout: Duration::from_mins(2),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl Tasks {
    /// How long steps under way may go on: a little less than everything, as the rest has to end as well.
    pub fn grace(&self) -> Duration {
        self.shutdown_timeout.saturating_sub((self.shutdown_timeout / 10).min(Duration::from_secs(2)))
    }

    pub(super) fn read(read: &mut Variables<'_>) -> Self {
        let known = Self::default();
        let mut time = |name, default, otherwise| {
            read.parsed(name, default, "use a time such as 30s or 5m", variables::duration).unwrap_or(otherwise)
        };
        let (step_timeout, reconcile_period, bootstrap_period, executor_timeout, shutdown_timeout) = (
            time("TASK_STEP_TIMEOUT", "5m", known.step_timeout),
            time("RECONCILE_PERIOD", "5m", known.reconcile_period),
            time("BOOTSTRAP_PERIOD", "10m", known.bootstrap_period),
            time("EXECUTOR_TIMEOUT", "2m", known.executor_timeout),
            time("SHUTDOWN_TIMEOUT", "30s", known.shutdown_timeout),
        );
        let mut number = |name, default, most, otherwise| {
            read.parsed(name, default, "use a whole number from 1 on", |text| count(text, most)).unwrap_or(otherwise)
        };
        Self {
            side_by_side: number("TASKS_SIDE_BY_SIDE", "16", 256, known.side_by_side),
            history: number("TASK_HISTORY", "1000", 100_000, known.history),
            step_timeout,
            reconcile_period,
            bootstrap_period,
            executor_timeout,
            shutdown_timeout,
        }
    }
}

fn count(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        Ok(_) => Err(format!("it is not between 1 and {most}")),
        Err(_) => Err("it is no whole number".to_owned()),
    }
}
