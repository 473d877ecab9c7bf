//! Counters for those who watch many agents, in the text form of Prometheus.
//!
//! They count what the agent reports of itself, so they are one more [`Reporter`]. Names of proposals and repositories
//! are no labels: others choose them, and each would be a series of its own.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::progress::{Happening, Progress, Reporter, Step, Task, Verdict};

/// The counters of one agent.
#[derive(Debug, Default)]
pub struct Metrics {
    events: [AtomicU64; Task::ALL.len()],
    ended: [[AtomicU64; VERDICTS.len()]; Task::ALL.len()],
    waits: [AtomicU64; Step::ALL.len()],
    refusals: [AtomicU64; Step::ALL.len()],
    differences: AtomicU64,
    fetched_bytes: AtomicU64,
    fetched_objects: AtomicU64,
}

const VERDICTS: [Verdict; 3] = [Verdict::Done, Verdict::Failed, Verdict::Skipped];

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Metrics {
    /// All counters as Prometheus reads them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        head(&mut text, "opssc_events_total", "Events that asked this agent for a task.");
        for (kind, counter) in Task::ALL.iter().zip(&self.events) {
            line(&mut text, "opssc_events_total", &[("task", kind.as_str())], value(counter));
        }
        head(&mut text, "opssc_tasks_ended_total", "Tasks that ended, by how.");
        for (kind, counters) in Task::ALL.iter().zip(&self.ended) {
            for (verdict, counter) in VERDICTS.iter().zip(counters) {
                let labels = [("task", kind.as_str()), ("ended", verdict.as_str())];
                line(&mut text, "opssc_tasks_ended_total", &labels, value(counter));
            }
        }
        let by_step: [(&str, &str, &[AtomicU64]); 2] = [
            ("opssc_step_waits_total", "Steps that failed for a reason that may pass.", &self.waits),
            ("opssc_step_refusals_total", "Steps that were refused for good.", &self.refusals),
        ];
        for (name, help, counters) in by_step {
            head(&mut text, name, help);
            for (step, counter) in Step::ALL.iter().zip(counters) {
                line(&mut text, name, &[("step", step.as_str())], value(counter));
            }
        }
        for (name, help, counter) in [
            (
                "opssc_package_id_differences_total",
                "Proposals of which organizations acknowledged different packages of the same sources.",
                &self.differences,
            ),
            ("opssc_fetched_bytes_total", "Bytes of sources that were fetched.", &self.fetched_bytes),
            ("opssc_fetched_objects_total", "Objects of sources that were fetched.", &self.fetched_objects),
        ] {
            head(&mut text, name, help);
            line(&mut text, name, &[], value(counter));
        }
        text
    }
}

impl Reporter for Metrics {
    fn report(&self, progress: &Progress) {
        let kind = Task::ALL.iter().position(|kind| *kind == progress.task);
        let at = |step: &Step| Step::ALL.iter().position(|known| known == step);
        match &progress.happening {
            Happening::EventReceived { .. } => {
                if let Some(kind) = kind {
                    add(&self.events[kind], 1);
                }
            }
            Happening::Ended { verdict, .. } => {
                let verdict = VERDICTS.iter().position(|known| known == verdict);
                if let (Some(kind), Some(verdict)) = (kind, verdict) {
                    add(&self.ended[kind][verdict], 1);
                }
            }
            Happening::Waiting { step, .. } => {
                if let Some(step) = at(step) {
                    add(&self.waits[step], 1);
                }
            }
            Happening::Refused { step, .. } => {
                if let Some(step) = at(step) {
                    add(&self.refusals[step], 1);
                }
            }
            Happening::PackagesDiffer { .. } => add(&self.differences, 1),
            Happening::Fetched { objects, bytes } => {
                add(&self.fetched_objects, *objects);
                add(&self.fetched_bytes, *bytes);
            }
            Happening::Resumed | Happening::Started(_) | Happening::Advanced { .. } | Happening::Finished { .. } => {}
        }
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_reported_is_counted() {
        let metrics = Metrics::default();
        let report = |task, happening| {
            let organization = "Org1MSP".parse().unwrap();
            metrics.report(&Progress { organization, proposal: "p".to_owned(), task, peer: None, happening });
        };
        let failed =
            || Happening::Ended { verdict: Verdict::Failed, outcome: "failed: no".to_owned(), elapsed: Duration::ZERO };
        report(Task::PrepareToDeploy, Happening::EventReceived { event: "prepareToDeployEvent.p".to_owned() });
        report(Task::PrepareToDeploy, Happening::Fetched { objects: 3, bytes: 4000 });
        report(Task::PrepareToDeploy, Happening::Fetched { objects: 1, bytes: 5 });
        report(Task::PrepareToDeploy, Happening::Refused { step: Step::Package, error: "no".to_owned() });
        report(Task::PrepareToDeploy, failed());
        report(Task::PrepareToDeploy, failed());
        report(Task::Deploy, Happening::PackagesDiffer { packages: "a by A; b by B".to_owned() });
        let text = metrics.text();
        for expected in [
            "opssc_events_total{task=\"prepareToDeploy\"} 1\n",
            "opssc_tasks_ended_total{task=\"prepareToDeploy\",ended=\"failed\"} 2\n",
            "opssc_tasks_ended_total{task=\"deploy\",ended=\"done\"} 0\n",
            "opssc_step_refusals_total{step=\"Package chaincode\"} 1\n",
            "opssc_step_waits_total{step=\"Package chaincode\"} 0\n",
            "opssc_fetched_bytes_total 4005\n",
            "opssc_fetched_objects_total 4\n",
            "# TYPE opssc_package_id_differences_total counter\nopssc_package_id_differences_total 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
