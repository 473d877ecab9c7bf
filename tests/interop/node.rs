//! The scripts under `node/`, run by Node.js.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Longer than this no script takes, on a slow machine and against real nodes.
const PATIENCE: Duration = Duration::from_mins(5);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/node")
}

/// Node.js with the packages that the scripts import.
#[derive(Debug)]
pub struct Node(());

impl Node {
    /// None where Node.js or the packages are not there, and then `test` says that it was skipped.
    pub async fn find(test: &str) -> Option<Self> {
        let missing = if !folder().join("node_modules/@hyperledger/fabric-gateway").is_dir() {
            "its packages are not installed (npm ci --omit=optional --ignore-scripts in tests/interop/node)"
        } else if Command::new("node").arg("--version").output().await.is_ok_and(|output| output.status.success()) {
            return Some(Self(()));
        } else {
            "there is no Node.js"
        };
        // Not by eprintln!, whose output the test harness hides while a test passes.
        let _ = writeln!(std::io::stderr(), "{test} was skipped: {missing}");
        None
    }

    /// Where the scripts are.
    pub fn folder() -> PathBuf {
        folder()
    }

    /// Runs a script of ours to its end. Fails the test with all that the script has written when it fails.
    pub async fn run(&self, script: &str, arguments: &[&Path]) -> String {
        self.run_file(&folder().join(script), arguments).await
    }

    /// Runs any script.
    pub async fn run_file(&self, script: &Path, arguments: &[&Path]) -> String {
        let mut command = Command::new("node");
        // Libraries of the previous decade call what Node.js has deprecated since.
        command.arg("--no-deprecation").arg(script).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        let Output { status, stdout, stderr } =
            ended.unwrap_or_else(|_| panic!("{} did not end within {PATIENCE:?}", script.display())).unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(status.success(), "{}: {status}\n{stdout}\n{stderr}", script.display());
        stdout
    }
}
