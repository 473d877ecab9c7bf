//! Numbers for those who watch many agents, in the text form of Prometheus.
//!
//! Counters count what the agent reports of itself, so they are one more [`Reporter`]; the rest is read off when somebody
//! asks. Names of proposals and repositories are no labels: others choose them, and each would be a series of its own.

mod form;
mod gauges;

use std::sync::atomic::{AtomicU64, Ordering};

use super::http::Health;
use super::progress::{Happening, Progress, Reporter, Step, Task, Verdict};
use super::survey::Snapshot;
use form::{Durations, Form};
pub use gauges::Position;

/// The counters of one agent.
#[derive(Debug, Default)]
pub struct Metrics {
    events: [AtomicU64; Task::ALL.len()],
    ended: [[AtomicU64; VERDICTS.len()]; Task::ALL.len()],
    task_times: [Durations; Task::ALL.len()],
    step_times: [Durations; Step::ALL.len()],
    waits: [AtomicU64; Step::ALL.len()],
    refusals: [AtomicU64; Step::ALL.len()],
    differences: AtomicU64,
    fetched_bytes: AtomicU64,
    fetched_objects: AtomicU64,
    notified: AtomicU64,
    unnotified: AtomicU64,
}

const VERDICTS: [Verdict; 3] = [Verdict::Done, Verdict::Failed, Verdict::Skipped];

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// What is read off when somebody asks.
pub(super) struct Readings<'a> {
    pub(super) health: &'a Health,
    pub(super) seen: Option<&'a Snapshot>,
    pub(super) positions: &'a [Position],
}

impl Metrics {
    /// All counters, and what is read off now, as Prometheus reads them.
    pub(super) fn text_with(&self, readings: &Readings<'_>) -> String {
        let mut form = self.counters();
        gauges::process(&mut form);
        gauges::health(&mut form, readings.health);
        gauges::positions(&mut form, readings.positions);
        if let Some(seen) = readings.seen {
            gauges::network(&mut form, seen);
        }
        form.into_text()
    }

    /// All counters as Prometheus reads them.
    pub fn text(&self) -> String {
        self.counters().into_text()
    }

    /// So many messages reached the WebSocket server.
    pub(super) fn notified(&self, messages: u64) {
        add(&self.notified, messages);
    }

    /// So many messages were given up because there was no room for them.
    pub(super) fn unnotified(&self, messages: u64) {
        add(&self.unnotified, messages);
    }

    fn counters(&self) -> Form {
        let mut form = Form::default();
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        form.family("opssc_events_total", "counter", "Events that asked this agent for a task.");
        for (kind, counter) in Task::ALL.iter().zip(&self.events) {
            form.line("opssc_events_total", &[("task", kind.as_str())], value(counter));
        }
        form.family("opssc_tasks_ended_total", "counter", "Tasks that ended, by how.");
        for (kind, counters) in Task::ALL.iter().zip(&self.ended) {
            for (verdict, counter) in VERDICTS.iter().zip(counters) {
                let labels = [("task", kind.as_str()), ("ended", verdict.as_str())];
                form.line("opssc_tasks_ended_total", &labels, value(counter));
            }
        }
        form.family("opssc_task_duration_seconds", "histogram", "How long tasks took from their start to their end.");
        for (kind, times) in Task::ALL.iter().zip(&self.task_times) {
            times.write(&mut form, "opssc_task_duration_seconds", ("task", kind.as_str()));
        }
        form.family("opssc_step_duration_seconds", "histogram", "How long steps took that were done.");
        for (step, times) in Step::ALL.iter().zip(&self.step_times) {
            times.write(&mut form, "opssc_step_duration_seconds", ("step", step.as_str()));
        }
        let by_step: [(&str, &str, &[AtomicU64]); 2] = [
            (
                "opssc_step_waits_total",
                "Steps that failed for a reason that may pass, and were tried again.",
                &self.waits,
            ),
            ("opssc_step_refusals_total", "Steps that were refused for good.", &self.refusals),
        ];
        for (name, help, counters) in by_step {
            form.family(name, "counter", help);
            for (step, counter) in Step::ALL.iter().zip(counters) {
                form.line(name, &[("step", step.as_str())], value(counter));
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
            ("opssc_notifications_sent_total", "Messages sent to the WebSocket server.", &self.notified),
            ("opssc_notifications_dropped_total", "Messages for which there was no room.", &self.unnotified),
        ] {
            form.single(name, "counter", help, value(counter));
        }
        form
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
            Happening::Ended { verdict, elapsed, .. } => {
                if let Some(kind) = kind {
                    self.task_times[kind].add(*elapsed);
                }
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
            Happening::Finished { step, elapsed, .. } => {
                if let Some(step) = at(step) {
                    self.step_times[step].add(*elapsed);
                }
            }
            Happening::EventSeen { .. } | Happening::Resumed | Happening::Started(_) | Happening::Advanced { .. } => {}
        }
    }
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
