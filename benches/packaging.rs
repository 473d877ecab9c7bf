//! Packaging a vendored Go module of about 100 MB beside `tar | gzip`, in one run: how fast, how large, how much memory.
//!
//! Plain measurements without a framework: what counts is seconds and megabytes of one large piece of work. The run fails
//! when packaging took more memory than the package and 64 MB.

#![allow(clippy::print_stdout, reason = "a measurement is printed")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken ends with the line")]
#![allow(clippy::cast_precision_loss, reason = "megabytes for reading")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use opssc::fabric::names::Label;
use opssc::fabric::package::sources::DirectoryTree;
use opssc::fabric::package::{self, Language, Limits, Sources};

const MODULES: u32 = 100;
const FILES: u32 = 50;
const LENGTH: usize = 20_000;
const ROUNDS: usize = 3;
/// What packaging may take beside the package.
const BESIDE: u64 = 64 << 20;

/// Text that compresses about as Go sources do.
fn source(seed: u32) -> String {
    const WORDS: [&str; 16] = [
        "func ",
        "return ",
        "if err != nil {\n\t",
        "}\n",
        "stub",
        "context",
        "string",
        "[]byte",
        "map[",
        "range ",
        "error",
        "struct {\n\t",
        "interface",
        ":= ",
        "// ",
        "switch ",
    ];
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut text = String::from("package vendored\n");
    while text.len() < LENGTH {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(WORDS[(state >> 28) as usize]);
        if state & 0x0010_0000 != 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "v{:x}", (state >> 8) % 5000);
        }
    }
    text
}

fn lay_out(root: &Path) -> u64 {
    fs::write(root.join("go.mod"), "module example.com/cc\n\ngo 1.21\n").unwrap();
    fs::write(root.join("main.go"), "package main\n\nfunc main() {}\n").unwrap();
    let mut bytes = 0;
    for module in 0..MODULES {
        let folder = root.join(format!("vendor/example.com/dependency{module}/internal"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..FILES {
            let text = source(module * FILES + file);
            bytes += text.len() as u64;
            fs::write(folder.join(format!("file{file}.go")), text).unwrap();
        }
    }
    bytes
}

/// A line of this process's status, in bytes.
fn status(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn show(what: &str, bytes: u64, size: u64, times: &[Duration]) {
    let best = times.iter().min().unwrap().as_secs_f64();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "{what:<14} {:>6.2} s  {:>6.1} MB/s  {:>6.2} MB packed ({:.3})",
        best,
        megabytes(bytes) / best,
        megabytes(size),
        size as f64 / bytes as f64
    );
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = lay_out(folder.path());
    println!("{:.1} MB in {} files", bytes as f64 / 1e6, MODULES * FILES + 2);

    let label = Label::parse("bench_1").unwrap();
    let tree = DirectoryTree::new(folder.path());
    let sources = Sources { tree: &tree, path: "", metadata_path: "" };
    // What was needed so far does not count: the peak is set back where the system allows it.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = status("VmRSS:");
    let mut times = Vec::new();
    let mut size = 0;
    let mut id = None;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let package = package::package(Language::Golang, &label, &sources, &Limits::default()).unwrap();
        times.push(began.elapsed());
        size = package.bytes().len() as u64;
        assert_eq!(id.get_or_insert_with(|| package.id().clone()), package.id(), "the same every time");
    }
    let peak = status("VmHWM:");
    show("packager", bytes, size, &times);

    let mut times = Vec::new();
    let mut piped = 0;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut tar = Command::new("tar")
            .args(["cf", "-", "."])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let gzip = Command::new("gzip").arg("-6").stdin(tar.stdout.take().unwrap()).output().unwrap();
        times.push(began.elapsed());
        assert!(tar.wait().unwrap().success() && gzip.status.success());
        piped = gzip.stdout.len() as u64;
    }
    show("tar | gzip -6", bytes, piped, &times);

    let (Some(before), Some(peak)) = (before, peak) else { return };
    let taken = peak.saturating_sub(before);
    println!(
        "packager's memory: {:.1} MB at most, of which the package is {:.1} MB",
        taken as f64 / 1e6,
        size as f64 / 1e6
    );
    assert!(taken < size + BESIDE, "more than the package and 64 MB");
}
