//! Who may import whom: a module imports modules of lower rank only, never its own rank.

use crate::code::{is_source, lines, of};
use crate::{File, Finding, check, hold};

/// The rooms of the crate, lowest first.
const ROOMS: &[&[&str]] = &[
    &["pb", "runtime"],
    &["fabric"],
    &["client", "chaincode", "source", "launcher"],
    &["opssc"],
    &["agent", "devnet"],
    &["cli"],
    // Built for tests and for fuzzing only.
    &["fuzzing"],
];

/// The rooms inside `fabric`, lowest first.
const FABRIC: &[&[&str]] =
    &[&["names"], &["identity"], &["policy", "tx"], &["block", "package", "lifecycle"], &["config"]];

fn rank(ladder: &[&[&str]], room: &str) -> Option<usize> {
    ladder.iter().position(|step| step.contains(&room))
}

/// The module path of a file: `src/fabric/tx/mod.rs` is `fabric::tx`.
fn module_of(path: &str) -> Vec<&str> {
    let path = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut segments: Vec<_> = path.split('/').collect();
    if matches!(segments.last(), Some(&("mod" | "lib" | "main"))) {
        segments.pop();
    }
    segments
}

/// The modules that a piece of code names, as paths from the crate's root, each with its line.
fn named(code: &str, module: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            // `super::super::` is read from its first word, and `pub(crate)` or `$crate` names nothing of interest.
            if before.ends_with("super::") || before.ends_with(|char: char| char.is_alphanumeric() || char == '_') {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            let mut base: Vec<String> = Vec::new();
            let mut rest = &code[at..];
            if let Some(tail) = rest.strip_prefix("crate::") {
                rest = tail;
            } else {
                base.extend(module.iter().map(|&segment| segment.to_owned()));
                while let Some(tail) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = tail;
                }
            }
            paths(rest, &base, line, &mut found);
        }
    }
    found
}

/// The paths that follow `base`, where `rest` may be a list in braces, such as `fabric::{names, tx::Proposal}`.
fn paths(rest: &str, base: &[String], line: usize, found: &mut Vec<(usize, Vec<String>)>) {
    let rest = rest.trim_start();
    if let Some(list) = rest.strip_prefix('{') {
        for item in split_list(list) {
            paths(item, base, line, found);
        }
        return;
    }
    let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
    let mut path = base.to_vec();
    if end > 0 {
        path.push(rest[..end].to_owned());
    }
    match rest[end..].strip_prefix("::") {
        Some(tail) if path.len() < 2 && end > 0 => paths(tail, &path, line, found),
        _ => found.push((line, path)),
    }
}

/// The items of a list in braces, up to the brace that closes it.
fn split_list(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

fn against_ranks(file: &File) -> Vec<Finding> {
    if !is_source(&file.path) {
        return Vec::new();
    }
    let module = module_of(&file.path);
    // The roots declare the rooms, and a room's own root may gather what is in it.
    let Some(&room) = module.first() else { return Vec::new() };
    let Some(own) = rank(ROOMS, room) else {
        return vec![(1, format!("room `{room}` has no rank: architecture first, then ROOMS in this test"))];
    };
    let mut found = Vec::new();
    let inner = if room == "fabric" { module.get(1).copied() } else { None };
    if let Some(inner) = inner
        && rank(FABRIC, inner).is_none()
    {
        found.push((1, format!("`fabric::{inner}` has no rank: give it one in FABRIC in this test")));
    }
    for (line, path) in named(&of(&file.text), &module) {
        let Some(other) = path.first() else { continue };
        if other != room {
            match rank(ROOMS, other) {
                Some(rank) if rank < own => {}
                Some(_) => found.push((line, format!("`{room}` (rank {own}) must not import `{other}`"))),
                // Something that the crate's root offers itself.
                None => {}
            }
            continue;
        }
        if let (Some(inner), Some(target)) = (inner, path.get(1))
            && target != inner
            && let (Some(own), Some(rank)) = (rank(FABRIC, inner), rank(FABRIC, target))
            && rank >= own
        {
            found.push((line, format!("`fabric::{inner}` must not import `fabric::{target}`")));
        }
    }
    found
}

#[test]
fn modules_import_lower_ranks_only() {
    hold(against_ranks);
}

#[test]
fn imports_against_the_ranks_are_refused() {
    let table: &[(&str, &str, &[usize])] = &[
        ("src/fabric/tx/mod.rs", "use crate::pb::common;", &[]),
        ("src/fabric/tx/mod.rs", "use crate::client::Client;", &[1]),
        ("src/fabric/tx/mod.rs", "use crate::fabric::identity::Signer;", &[]),
        ("src/fabric/tx/mod.rs", "\nuse crate::fabric::policy::dsl;", &[2]),
        ("src/fabric/tx/mod.rs", "use super::block::Block;", &[1]),
        ("src/fabric/tx/proposal.rs", "use super::Nonce;\nuse super::super::block::Block;", &[2]),
        ("src/fabric/tx/mod.rs", "use crate::fabric::{names::TxId, config::ChannelConfig};", &[1]),
        ("src/fabric/config/mod.rs", "use crate::fabric::{names::TxId, policy, block::{Block, hash}};", &[]),
        ("src/fabric/block/mod.rs", "use crate::fabric::package::Package;", &[1]),
        ("src/fabric/mystery.rs", "", &[1]),
        ("src/mystery/mod.rs", "", &[1]),
        ("src/agent/run.rs", "let network = crate::devnet::Devnet::new();", &[1]),
        ("src/agent/run.rs", "use crate::{client::Client, runtime, devnet};", &[1]),
        ("src/agent/run.rs", "use crate::{\n    client::Client,\n    opssc::{ChaincodeOps, Vote},\n};", &[]),
        ("src/cli/demo.rs", "use crate::{agent, devnet::Devnet};", &[]),
        ("src/devnet/peer.rs", "/// [`agent`](crate::agent)\nuse super::ledger;", &[]),
        ("src/client/mod.rs", "pub(crate) fn f() {}", &[]),
        ("src/lib.rs", "pub mod cli; use crate::cli::run;", &[]),
        ("src/opssc/mod.rs", "#[cfg(test)]\nmod tests { use crate::devnet::Devnet; }", &[]),
    ];
    for (path, text, refused) in table {
        check(against_ranks, path, text, refused);
    }
}

#[test]
fn every_room_has_a_file() {
    let files = crate::files();
    let exists = |path: &str| {
        files.iter().any(|file| file.path == format!("{path}.rs") || file.path == format!("{path}/mod.rs"))
    };
    let present = ROOMS.iter().flat_map(|step| step.iter()).filter(|room| exists(&format!("src/{room}"))).count();
    assert!(present >= 9, "the rooms moved: this test looks for them in vain");
    assert!(lines("a\nb").eq([(1, "a"), (2, "b")]));
}
