//! The text form in which Prometheus reads numbers.
//!
//! Source: the exposition format of Prometheus, version 0.0.4.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A page of numbers.
#[derive(Default)]
pub(super) struct Form(String);

impl Form {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Opens a family of numbers; what follows belongs to it.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One number.
    pub(super) fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one number.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.line(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Upper ends of the classes of durations, in milliseconds.
const ENDS: [u64; 10] = [50, 100, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000];

/// How often something took how long.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// By class; the last is of those that took longer.
    classes: [AtomicU64; ENDS.len() + 1],
    sum_ms: AtomicU64,
}

impl Durations {
    pub(super) fn add(&self, elapsed: Duration) {
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let class = ENDS.iter().position(|end| ms <= *end).unwrap_or(ENDS.len());
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The lines of one histogram.
    pub(super) fn write(&self, form: &mut Form, name: &str, label: (&str, &str)) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (class, counter) in self.classes.iter().enumerate() {
            count += counter.load(Ordering::Relaxed);
            let end = ENDS.get(class).map_or_else(|| "+Inf".to_owned(), |ms| seconds(*ms));
            form.line(&bucket, &[label, ("le", &end)], count);
        }
        form.line(&format!("{name}_sum"), &[label], seconds(self.sum_ms.load(Ordering::Relaxed)));
        form.line(&format!("{name}_count"), &[label], count);
    }
}

/// Milliseconds as seconds, exactly.
pub(super) fn seconds(ms: u64) -> String {
    match ms % 1000 {
        0 => format!("{}", ms / 1000),
        rest => format!("{}.{rest:03}", ms / 1000).trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut form = Form::default();
        form.line("a", &[("b", "\"\\\n"), ("c", "d")], 1);
        form.line("a", &[], 2);
        assert_eq!(form.into_text(), "a{b=\"\\\"\\\\\\n\",c=\"d\"} 1\na 2\n");
    }

    #[test]
    fn durations_are_counted_by_class() {
        let durations = Durations::default();
        for ms in [50, 51, 700, 10_000_000] {
            durations.add(Duration::from_millis(ms));
        }
        let mut form = Form::default();
        durations.write(&mut form, "d", ("step", "s"));
        let text = form.into_text();
        for line in [
            "d_bucket{step=\"s\",le=\"0.05\"} 1\n",
            "d_bucket{step=\"s\",le=\"0.1\"} 2\n",
            "d_bucket{step=\"s\",le=\"1\"} 3\n",
            "d_bucket{step=\"s\",le=\"300\"} 3\n",
            "d_bucket{step=\"s\",le=\"+Inf\"} 4\n",
            "d_sum{step=\"s\"} 10000.801\n",
            "d_count{step=\"s\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
