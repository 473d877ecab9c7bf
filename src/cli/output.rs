//! Writing to the two streams: data to standard output, words for people to standard error.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::SystemTime;

use anyhow::Context as _;
use serde::Serialize;

use crate::agent::text;
use crate::fabric::config::hazards;
use crate::fabric::config::tree::Config;

/// A line for people. Nobody is left to tell when it cannot be written.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// What members should know before they agree to the step from one configuration to another, a line each.
pub(super) fn warnings(before: Option<&Config>, after: &Config) -> Vec<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let found = hazards(before, after, i64::try_from(now).unwrap_or(i64::MAX));
    found.iter().map(|hazard| text::bounded(&format!("warning: {hazard}"), 2 * LINE)).collect()
}

/// The same, told at once.
pub(super) fn warn(before: Option<&Config>, after: &Config) {
    for warning in warnings(before, after) {
        say(&warning);
    }
}

/// A line of data. A reader that has left has seen enough.
pub(super) fn put(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Data that is no text.
pub(super) fn put_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// A value as JSON. Hostile characters are escaped, not replaced: the reader is a program.
pub(super) fn put_json(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value).context("cannot be shown as JSON")?;
    put(&json.chars().map(escaped).collect::<String>())
}

/// As [`put_json`], on one line.
pub(super) fn put_json_line(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string(value).context("cannot be shown as JSON")?;
    put(&json.chars().map(escaped).collect::<String>())
}

fn escaped(c: char) -> String {
    let shown = c.to_string();
    if c == '\n' || text::clean(&shown) == shown {
        return shown;
    }
    let mut text = String::new();
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
    text
}

/// At most this many characters of a line of other people's words are shown.
pub(super) const LINE: usize = 400;

/// At most this many characters of a cell are shown: a package ID with a label of some length.
const CELL: usize = 120;

/// Rows under a heading, columns as wide as their widest cell. Every cell is cleaned and bounded.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| text::bounded(cell, CELL)).collect()).collect();
    let mut widths: Vec<usize> = heading.iter().map(|title| title.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut shown = String::new();
        for (cell, width) in cells.zip(&widths) {
            shown.push_str(cell);
            shown.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        shown.truncate(shown.trim_end().len());
        shown
    };
    let mut lines = vec![line(&mut heading.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// Names and values, one a line. Every value is cleaned and bounded.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name:width$}  {}", text::bounded(value, 400))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_are_clean() {
        let rows = vec![
            vec!["one".to_owned(), "approved".to_owned()],
            vec!["a\u{1b}[2J\nlonger".to_owned(), "x".repeat(1000)],
        ];
        let shown = table(&["ID", "STATUS"], &rows);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "ID            STATUS");
        assert_eq!(lines[1], "one           approved");
        assert!(lines[2].starts_with("a\u{fffd}[2J longer  xxx") && lines[2].ends_with('…'), "{}", lines[2]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn json_escapes_what_terminals_obey() {
        assert_eq!(
            "a\u{9b}\u{202e}é\u{e0001}".chars().map(escaped).collect::<String>(),
            "a\\u009b\\u202eé\\udb40\\udc01"
        );
    }
}
