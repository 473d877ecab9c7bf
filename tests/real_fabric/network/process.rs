//! Processes that end with the test, and the output of those that end by themselves.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How much of a log is shown when a test fails.
const TAIL_LINES: usize = 40;

/// A process that writes to a log of its own and is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that does not run yet; its log is `logs/NAME.log`.
    pub fn new(name: &str, program: impl Into<PathBuf>, logs: &Path) -> Self {
        fs::create_dir_all(logs).expect("a folder for logs");
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            log: logs.join(format!("{name}.log")),
            child: None,
        }
    }

    /// Adds arguments.
    pub fn arguments(&mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment, which holds nothing of the test's own but `PATH`.
    pub fn environment(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it, also again after it was killed.
    pub fn start(&mut self) {
        self.kill();
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log file");
        let errors = log.try_clone().expect("a second handle of the log");
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| panic!("{} {}: {error}", self.name, self.program.display()));
        self.child = Some(child);
    }

    /// Kills it as a crash would, and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Panics when it has ended.
    pub fn assert_running(&mut self) {
        let child = self.child.as_mut().expect("a started process");
        if let Some(status) = child.try_wait().expect("a process state") {
            panic!("{} ended: {status}\n{}", self.name, self.tail());
        }
    }

    /// The process number while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything that it has written so far.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Prints the end of its log, for a test that fails.
    pub fn print_tail(&self) {
        eprintln!("--- the end of {}'s log\n{}", self.name, self.tail());
    }

    fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end. Its whole output when it succeeds, else a text that says what it was and what it wrote.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let mut shown = String::from_utf8_lossy(&output.stdout).into_owned();
    shown.push_str(&String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(shown) } else { Err(format!("{command:?}: {}\n{shown}", output.status)) }
}

/// Writes a settings file, as YAML, into a folder that is made if need be.
pub fn write_yaml(path: &Path, settings: &serde_json::Value) {
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder for settings");
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::to_writer(file, settings).expect("settings are plain data");
}
