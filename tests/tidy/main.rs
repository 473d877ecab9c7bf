//! The house rules that a compiler does not know, held by reading the sources.
//!
//! Each rule is a function from one file to what it finds wrong there, and each has a table that shows what it refuses:
//! a rule that finds nothing anywhere would otherwise look like a clean house.

#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "paths of this repository, written in lower case")]
#![allow(unreachable_pub, reason = "a test binary has no users: pub marks what a module offers the others")]

mod bans;
mod code;
mod files;
mod licences;
mod ranks;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the project.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// What a rule does not like: a line, counted from one, and why.
type Finding = (usize, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that are, or would be, part of the repository.
fn files() -> Vec<File> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect::<Vec<_>>());
    // Sources that were unpacked without their history: everything but what a build leaves there.
    let mut paths = listed.unwrap_or_else(|| {
        let mut found = Vec::new();
        walk(root(), &mut found);
        found
    });
    paths.sort();
    let read = paths.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).ok()?;
        Some(File { path: path.to_str()?.to_owned(), text })
    });
    let files: Vec<_> = read.collect();
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "no sources found");
    files
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let hidden = ["target", ".git", "node_modules"].iter().any(|name| entry.file_name() == *name);
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if let Ok(relative) = path.strip_prefix(root()) {
            found.push(relative.to_owned());
        }
    }
}

/// Applies a rule to every file.
#[track_caller]
fn hold(rule: impl Fn(&File) -> Vec<Finding>) {
    let findings: Vec<_> = files()
        .iter()
        .flat_map(|file| {
            let found = rule(file).into_iter();
            found.map(|(line, why)| format!("{}:{line}: {why}", file.path)).collect::<Vec<_>>()
        })
        .collect();
    assert!(findings.is_empty(), "{} broken house rules:\n{}", findings.len(), findings.join("\n"));
}

/// Shows on which lines a rule refuses a text.
#[track_caller]
fn check(rule: impl Fn(&File) -> Vec<Finding>, path: &str, text: &str, refused: &[usize]) {
    let file = File { path: path.to_owned(), text: text.to_owned() };
    let found = rule(&file);
    let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, refused, "for {path}:\n{text}\nfound {found:?}");
}
