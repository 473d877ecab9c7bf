//! How files look: their head, their length, and what of the machine they were written on must not be in them.

use crate::code::{is_rust, is_test, lines};
use crate::{File, Finding, check, hold};

const LONGEST: usize = 600;

fn without_head(file: &File) -> Vec<Finding> {
    // The first line says what the file is; a shebang or attribute has no business before it.
    if is_rust(&file.path) && !file.text.starts_with("//! ") {
        return vec![(1, "a file opens with `//!`: what it is and what it does not do".to_owned())];
    }
    Vec::new()
}

fn too_long(file: &File) -> Vec<Finding> {
    let length = file.text.lines().count();
    if is_rust(&file.path) && file.path.starts_with("src/") && !is_test(&file.path) && length > LONGEST {
        return vec![(length, format!("{length} lines: past {LONGEST} it is two things"))];
    }
    Vec::new()
}

/// Paths that exist on one developer's machine only.
fn machine_paths(file: &File) -> Vec<Finding> {
    let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let mut found = Vec::new();
    for (number, line) in lines(&file.text) {
        for home in homes {
            let absolute = line.match_indices(home).any(|(at, _)| {
                !line[..at]
                    .ends_with(|char: char| char.is_alphanumeric() || matches!(char, '_' | '.' | '-' | '/' | '}'))
            });
            if absolute {
                found.push((number, format!("`{home}…` exists on one machine only")));
            }
        }
    }
    found
}

/// All packages come from one index, none from a repository, and nothing in the tree redirects that.
fn other_registries(file: &File) -> Vec<Finding> {
    let mut index = None;
    let mut found = Vec::new();
    for (number, line) in lines(&file.text) {
        let line = line.trim();
        let source = line.strip_prefix("source = \"").and_then(|rest| rest.strip_suffix('"'));
        let foreign = match file.path.as_str() {
            "Cargo.lock" | "fuzz/Cargo.lock" => source.is_some_and(|source| {
                !source.starts_with("registry+") || *index.get_or_insert_with(|| source.to_owned()) != source
            }),
            path if path.ends_with(".toml") => {
                ["[source", "[registr", "replace-with", "registry ="].iter().any(|key| line.starts_with(key))
                    || line.contains("registry =")
                    || line.contains("git = \"")
            }
            _ => false,
        };
        if foreign {
            found.push((number, format!("not from the one index: {line}")));
        }
    }
    found
}

#[test]
fn files_open_with_their_purpose() {
    hold(without_head);
}

#[test]
fn files_are_of_one_thing() {
    hold(too_long);
}

#[test]
fn no_file_knows_the_machine() {
    hold(machine_paths);
}

#[test]
fn packages_come_from_one_index() {
    hold(other_registries);
}

#[test]
fn bad_files_are_refused() {
    check(without_head, "src/a.rs", "use std::fmt;", &[1]);
    check(without_head, "src/a.rs", "//! A file.\nuse std::fmt;", &[]);
    check(without_head, "proto/gen/a.rs", "use std::fmt;", &[]);
    check(too_long, "src/a.rs", &"\n".repeat(601), &[601]);
    check(too_long, "src/a.rs", &"\n".repeat(600), &[]);
    check(too_long, "src/pb.rs", "", &[]);
}

#[test]
fn paths_of_a_machine_are_refused() {
    let bad = concat!("cd /ho", "me/someone\n", "x=\"/wo", "rk/main\"\n", "(/ro", "ot/.cargo)");
    check(machine_paths, "README.md", bad, &[1, 2, 3]);
    let good = concat!("/opt/fabric/msp\nexample.com/wo", "rk/x\n$DIR/ro", "ot/x\n./wo", "rk/x");
    check(machine_paths, "README.md", good, &[]);
}

#[test]
fn other_registries_are_refused() {
    let index = "source = \"registry+https://index.example.com\"\n";
    check(other_registries, "Cargo.lock", &index.repeat(2), &[]);
    let other = "source = \"registry+https://mirror.example.com\"\n";
    check(other_registries, "Cargo.lock", &format!("{index}{other}{index}"), &[2]);
    check(other_registries, "fuzz/Cargo.lock", &format!("{index}{other}"), &[2]);
    check(other_registries, "Cargo.lock", "source = \"git+https://example.com/a\"", &[1]);
    check(other_registries, "Cargo.toml", "a = { git = \"https://example.com/a\" }", &[1]);
    check(other_registries, ".cargo/config.toml", "[source.mirror]\nreplace-with = \"x\"", &[1, 2]);
    check(other_registries, "Cargo.toml", "a = \"1\"", &[]);
}
