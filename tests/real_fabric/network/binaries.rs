//! Where Fabric's programs are.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process;

const TOOLS: [&str; 5] = ["peer", "orderer", "configtxgen", "cryptogen", "osnadmin"];

/// A folder of Fabric's programs, and the builder for chaincode as a service.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
    ccaas: PathBuf,
}

impl Binaries {
    /// What `FABRIC_BIN` and `FABRIC_CCAAS` name; none when `FABRIC_BIN` is not set, and then `test` says that it was
    /// skipped. A folder that lacks something is a failure, not a reason to skip.
    pub fn from_environment(test: &str) -> Option<Self> {
        let Some(folder) = std::env::var_os("FABRIC_BIN").filter(|folder| !folder.is_empty()) else {
            // Not by eprintln!, whose output the test harness hides while a test passes.
            let _ = writeln!(std::io::stderr(), "{test} was skipped: FABRIC_BIN is not set");
            return None;
        };
        Some(Self::new(folder, std::env::var_os("FABRIC_CCAAS")))
    }

    fn new(folder: OsString, ccaas: Option<OsString>) -> Self {
        let folder = std::path::absolute(folder).expect("FABRIC_BIN is a path");
        let ccaas = ccaas.map_or_else(|| folder.join("../builders/ccaas"), PathBuf::from);
        let ccaas = ccaas.canonicalize().unwrap_or_else(|error| panic!("FABRIC_CCAAS {}: {error}", ccaas.display()));
        for program in TOOLS.map(|tool| folder.join(tool)).into_iter().chain([ccaas.join("bin/detect")]) {
            assert!(program.is_file(), "{} is missing", program.display());
        }
        Self { folder, ccaas }
    }

    /// The path of a program.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A program, ready to get arguments.
    pub fn command(&self, name: &str) -> Command {
        Command::new(self.tool(name))
    }

    /// The folder that holds the chaincode-as-a-service builder's `bin`.
    pub fn ccaas(&self) -> &Path {
        &self.ccaas
    }

    /// The same programs with another builder: a folder that holds its `bin`.
    pub fn with_builder(&self, builder: &Path) -> Self {
        Self { folder: self.folder.clone(), ccaas: builder.to_owned() }
    }

    /// Whether they are of Fabric 3, and so have `what`; if not, `test` says that it was skipped.
    pub fn have_3(&self, test: &str, what: &str) -> bool {
        let version = self.version();
        let had = self.is_3();
        if !had {
            let _ = writeln!(std::io::stderr(), "{test}: {what} skipped, Fabric {version} does not have that");
        }
        had
    }

    /// Whether they are of Fabric 3.
    pub fn is_3(&self) -> bool {
        !self.version().trim_start_matches('v').starts_with("2.")
    }

    /// The version that the peer states.
    pub fn version(&self) -> String {
        let shown = process::run(self.command("peer").arg("version")).expect("the peer states its version");
        let version = shown.lines().find_map(|line| line.trim().strip_prefix("Version: "));
        version.unwrap_or("of unknown version").to_owned()
    }
}
