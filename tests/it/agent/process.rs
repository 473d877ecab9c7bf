//! The program as a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::world::within;

/// The program, with its log.
pub(super) struct Process {
    pub(super) child: Child,
    log: mpsc::UnboundedReceiver<String>,
    /// What was read of it.
    read: Vec<String>,
}

impl Process {
    pub(super) fn start(environment: &BTreeMap<&'static str, OsString>) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_opssc-agent")), environment)
    }

    /// Starts the program from a script of the shell, which ends with `exec "$0"`.
    pub(super) fn start_from(script: &str, environment: &BTreeMap<&'static str, OsString>) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_opssc-agent")]);
        Self::start_as(shell, environment)
    }

    fn start_as(mut command: Command, environment: &BTreeMap<&'static str, OsString>) -> Self {
        let mut child = command
            .env_clear()
            .envs(environment)
            .env("LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let (told, log) = mpsc::unbounded_channel();
        // Read whether or not anybody waits for a line: the program must not wait for a reader.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, log, read: Vec::new() }
    }

    /// Reads the log up to a line that holds all of these.
    pub(super) async fn until(&mut self, words: &[&str]) -> String {
        let read = async {
            loop {
                let line = self.log.recv().await.expect("the agent lives while it is waited for");
                self.read.push(line.clone());
                if words.iter().all(|word| line.contains(word)) {
                    return line;
                }
            }
        };
        within(&format!("a line with {words:?}"), read).await
    }

    /// SIGHUP.
    pub(super) async fn hang_up(&self) {
        self.signal("-HUP").await;
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = within("kill", Command::new("kill").args([name, &id]).status()).await.unwrap();
        assert!(sent.success());
    }

    /// SIGTERM: the code with which it ends, and its whole log.
    pub(super) async fn terminate(mut self) -> (Option<i32>, Vec<String>) {
        self.signal("-TERM").await;
        let code = within("the end", self.child.wait()).await.unwrap().code();
        let rest = async {
            let mut lines = self.read;
            while let Some(line) = self.log.recv().await {
                lines.push(line);
            }
            lines
        };
        (code, within("the rest of the log", rest).await)
    }

    /// How much memory it takes, in KiB.
    pub(super) fn resident(&self) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// SIGKILL.
    pub(super) async fn kill(mut self) {
        within("the end", self.child.kill()).await.unwrap();
    }
}
