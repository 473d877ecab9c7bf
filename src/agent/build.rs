//! The operator's own build command, for TypeScript that is built by more than its compiler.
//!
//! Off unless a setting names a command. It runs what the proposed sources say, which strangers wrote: so it gets a
//! private folder with the sources in it and an environment with nothing of the agent's in it, and it is stopped after a
//! time. That is no sandbox: what it may touch beyond that is what the agent's user may touch.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::runtime::CancellationToken;

use super::text;

/// How often it is looked whether the command has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A command may say this much.
const LONGEST_OUTPUT: u64 = 16 << 20;

/// This much of the end of what it said goes into the failure.
const SHOWN_OUTPUT: u64 = 600;

/// A command: the program and its arguments. No shell reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildCommand {
    /// `BUILD_COMMAND`, in words.
    pub words: Vec<String>,
    /// `BUILD_TIMEOUT`.
    pub limit: Duration,
}

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The command cannot be started.
    #[error("the build command (BUILD_COMMAND) cannot be started")]
    Start(#[source] io::Error),
    /// The command ended with an error.
    #[error("the build command failed with {status}: {output}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// The command took too long.
    #[error("the build command did not end within {limit:?} (BUILD_TIMEOUT)")]
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
    /// The command writes without end.
    #[error("the build command said more than {LONGEST_OUTPUT} bytes")]
    TooLoud,
    /// The agent was told to stop.
    #[error("the agent stops")]
    Stopped,
}

impl BuildCommand {
    /// Reads a command out of words between blanks.
    ///
    /// # Errors
    /// Where there is none.
    pub fn parse(text: &str) -> Result<Vec<String>, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() { Err("there is no command".to_owned()) } else { Ok(words) }
    }

    /// Runs the command with `sources` as its working folder; `home` is an empty private folder for everything else.
    /// Blocks until it has ended.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn run(&self, sources: &Path, home: &Path, stop: &CancellationToken) -> Result<(), BuildError> {
        let path = home.join("output");
        let output = File::create(&path).map_err(BuildError::Start)?;
        let errors = output.try_clone().map_err(BuildError::Start)?;
        let temporary = home.join("tmp");
        fs::create_dir_all(&temporary).map_err(BuildError::Start)?;
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(BuildError::Start(io::ErrorKind::InvalidInput.into()));
        };
        let child = Command::new(program)
            .args(arguments)
            .current_dir(sources)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", home)
            .env("TMPDIR", &temporary)
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // So that what it starts can be stopped with it.
            .process_group(0)
            .spawn()
            .map_err(BuildError::Start)?;
        let status = self.wait(child, &path, stop)?;
        if status.success() {
            return Ok(());
        }
        Err(BuildError::Failed { status, output: end_of(&path).unwrap_or_default() })
    }

    fn wait(&self, mut child: Child, output: &Path, stop: &CancellationToken) -> Result<ExitStatus, BuildError> {
        let begun = Instant::now();
        loop {
            let wrong = match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Err(error) => BuildError::Start(error),
                Ok(None) if stop.is_cancelled() => BuildError::Stopped,
                Ok(None) if begun.elapsed() >= self.limit => BuildError::TooSlow { limit: self.limit },
                Ok(None) if fs::metadata(output).is_ok_and(|said| said.len() > LONGEST_OUTPUT) => BuildError::TooLoud,
                Ok(None) => {
                    std::thread::sleep(LOOK);
                    continue;
                }
            };
            end(&mut child);
            return Err(wrong);
        }
    }
}

/// Kills the command, and what it has started where the system has a `kill` for that.
fn end(child: &mut Child) {
    let group = format!("-{}", child.id());
    // Each may find nobody left: then there is nothing to do.
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_OUTPUT)))?;
    let mut bytes = Vec::new();
    file.take(SHOWN_OUTPUT).read_to_end(&mut bytes)?;
    Ok(text::clean(String::from_utf8_lossy(&bytes).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str], limit: Duration) -> (tempfile::TempDir, Result<(), BuildError>) {
        let folder = tempfile::tempdir().unwrap();
        let (sources, home) = (folder.path().join("sources"), folder.path().join("home"));
        fs::create_dir(&sources).unwrap();
        fs::create_dir(&home).unwrap();
        let command = BuildCommand { words: words.iter().map(|word| (*word).to_owned()).collect(), limit };
        let result = command.run(&sources, &home, &CancellationToken::new());
        (folder, result)
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn it_runs_in_the_sources_with_a_bare_environment() {
        let (folder, result) = run(&["sh", "-c", "env > environment; pwd > where"], LONG);
        result.unwrap();
        let environment = fs::read_to_string(folder.path().join("sources/environment")).unwrap();
        let mut names: Vec<&str> =
            environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        // Set by the shell itself.
        names.retain(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"));
        names.sort_unstable();
        assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR"]);
        let at = fs::read_to_string(folder.path().join("sources/where")).unwrap();
        assert!(at.trim().ends_with("/sources"), "{at}");
    }

    #[test]
    fn a_failure_says_what_the_command_said_last() {
        let script =
            "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; printf 'bad \\033[31m type' >&2; exit 3";
        let (_folder, result) = run(&["sh", "-c", script], LONG);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("bad \u{fffd}[31m type"), "{error}");
        assert!(error.len() < 1000, "{error}");
        assert!(matches!(run(&["/no/such/program"], LONG).1, Err(BuildError::Start(_))));
    }

    #[test]
    fn what_does_not_end_is_ended_with_all_it_has_started() {
        let begun = Instant::now();
        let (folder, result) = run(&["sh", "-c", "sleep 600 & echo $! > child; wait"], Duration::from_secs(3));
        assert!(matches!(result, Err(BuildError::TooSlow { .. })), "{result:?}");
        assert!(begun.elapsed() < Duration::from_secs(30));
        let child = fs::read_to_string(folder.path().join("sources/child")).unwrap();
        // A killed process takes a moment to go.
        let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", state());
            std::thread::yield_now();
        }
        let (_folder, result) =
            run(&["sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done"], LONG);
        assert!(matches!(result, Err(BuildError::TooLoud)), "{result:?}");
    }

    #[test]
    fn it_ends_with_the_agent() {
        let stop = CancellationToken::new();
        stop.cancel();
        let folder = tempfile::tempdir().unwrap();
        let command = BuildCommand { words: vec!["sleep".to_owned(), "600".to_owned()], limit: LONG };
        assert!(matches!(command.run(folder.path(), folder.path(), &stop), Err(BuildError::Stopped)));
    }
}
