//! Every body with its seeds, with mutations of them, and with what is deep, long or swells.
//!
//! It shows what `fuzz/` has found and keeps it found. That a body ends at all is a part of what is tested: where one
//! overflows the stack or runs forever, so does this.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line, and that is enough")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::TARGETS;
use super::mutate::{Dice, mutate};

/// As long as inputs may become.
const LONGEST: usize = 1 << 16;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `fuzz/seeds` says: a target, and which files below `testdata` are its seeds.
fn seeds_of(target: &str) -> Vec<PathBuf> {
    let lines = fs::read_to_string(root().join("fuzz/seeds")).unwrap();
    let line = lines.lines().find_map(|line| line.strip_prefix(target)?.strip_prefix(' '));
    let mut found = Vec::new();
    for place in line.unwrap_or_else(|| panic!("no seeds for {target}")).split_whitespace() {
        let (folder, ending) = place.split_once(':').unwrap_or((place, ""));
        let before = found.len();
        walk(&root().join("testdata").join(folder), ending, &mut found);
        assert!(found.len() > before, "no seeds of {target} in {place}");
    }
    found.sort();
    found
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, ending, found);
        } else if path.to_str().is_some_and(|name| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// Runs a body, and says on what it fell.
fn run(body: fn(&[u8]), input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let shown = input[..input.len().min(2000)].escape_ascii();
        panic!("{} on {what}, {} bytes: {shown}", said.unwrap_or("a panic"), input.len());
    }
}

/// How many mutations are tried: fewer where signatures are verified, which takes its time.
fn mutations(target: &str) -> u64 {
    match target {
        "config_block" | "system_call" | "msp_config" | "transaction" | "revocation_list" | "config_update" => 300,
        "identity" | "private_key" | "contract_call" | "certificate" | "signature" => 800,
        _ => 2000,
    }
}

/// The seeds and mutations of them.
pub(super) fn replay(target: &str, body: fn(&[u8])) {
    let mut seeds = Vec::new();
    for path in seeds_of(target) {
        let seed = fs::read(&path).unwrap();
        run(body, &seed, &format!("{target} with {}", path.display()));
        seeds.push(seed);
    }
    for round in 0..mutations(target) {
        let mut dice = Dice::new(round);
        let mut input = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(4) {
            input = mutate(&input, &mut dice, LONGEST);
        }
        run(body, &input, &format!("{target} in round {round}"));
    }
    for (name, input) in swelling() {
        run(body, &input, &format!("{target} with {name}"));
    }
}

/// Inputs that are deep, long, or larger than they look.
fn swelling() -> Vec<(&'static str, Vec<u8>)> {
    const DEEP: usize = 4000;
    let mut inputs = vec![
        ("nothing", Vec::new()),
        ("groups in groups", vec![0x0b; 100_000]),
        ("lists in lists", b"[".repeat(100_000)),
        ("objects in objects", b"{\"a\":".repeat(20_000)),
        ("objects under a key that is known", b"{\"principals\":[{\"rule\":".repeat(5000)),
        ("lists of YAML", b"- ".repeat(3000)),
        ("objects of YAML", b"{a: ".repeat(3000)),
        ("gates in gates", [b"OR(".repeat(20_000), b"'A.member'".to_vec(), b")".repeat(20_000)].concat()),
        ("signs before signs", b"-".repeat(100_000)),
        ("comments", b"/* ".repeat(30_000)),
        ("quotes", b"'`\"".repeat(30_000)),
        ("a long word", vec![b'a'; 100_000]),
        ("digits", vec![b'9'; 100_000]),
        ("lines", b"\n".repeat(100_000)),
        ("beginnings of PEM", b"-----BEGIN A-----\n".repeat(20_000)),
        ("beginnings of PEM with colons", b"-----BEGIN :-----\n".repeat(20_000)),
        ("headers of PEM", [b"-----BEGIN A-----\n".to_vec(), b"a: b\n".repeat(20_000)].concat()),
        ("gzip", gzip(&vec![0; 16 << 20])),
    ];
    for field in 1..=4_u8 {
        inputs.push(("empty fields", [field << 3 | 2, 0].repeat(20_000)));
        let mut nested = Vec::new();
        let mut der = Vec::new();
        for _ in 0..DEEP {
            nested = prefixed(field << 3 | 2, &nested);
            der = crate::fabric::identity::der::write(0x30, &der);
        }
        inputs.push(("messages in messages", nested));
        if field == 1 {
            inputs
                .push(("PEM of sequences in sequences", crate::fabric::identity::pem::encode("X", &der).into_bytes()));
            inputs.push(("sequences in sequences", der));
        }
    }
    inputs.push(("aliases of YAML", aliases()));
    inputs
}

/// `contents` after its length and `key`.
fn prefixed(key: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![key];
    prost::encode_length_delimiter(contents.len(), &mut out).unwrap();
    out.extend_from_slice(contents);
    out
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(contents).unwrap();
    gzip.finish().unwrap()
}

/// Nine lists, each of nine times the one before it.
fn aliases() -> Vec<u8> {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for number in 1..9 {
        let before = format!("*a{}", number - 1);
        writeln!(text, "a{number}: &a{number} [{}]", [before.as_str(); 9].join(",")).unwrap();
    }
    text.push_str("peers: *a8\norganizations: *a8\n");
    text.into_bytes()
}

#[test]
fn every_body_has_a_program_and_nothing_else_has() {
    let mut names: Vec<&str> = TARGETS.iter().copied().flatten().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let folder = fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap();
    let mut programs: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    programs.sort();
    assert_eq!(programs, names.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>());
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{name} is not in fuzz/Cargo.toml");
    }
}
