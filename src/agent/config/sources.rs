//! The settings about chaincode sources: where they may come from, how they are fetched, and what may be done with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Secret;
use super::variables::{self, Variables};
use crate::agent::allow::{AllowList, Patterns};
use crate::agent::build::BuildCommand;

/// How sources become packages here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// `ALLOWED_REPOSITORIES`, `ALLOWED_TYPES`, `ALLOWED_CHANNELS` (ours).
    pub allow: AllowList,
    /// `ALLOWED_SIGNERS` (ours): keys, of which one must have signed the commit: a file, or a folder of files.
    pub allowed_signers: Option<PathBuf>,
    /// `GIT_USER`.
    pub git_user: Option<String>,
    /// `GIT_PASSWORD`.
    pub git_password: Option<Secret>,
    /// `GIT_TOKEN_FILE` (ours): holds a token, and is read again for each fetch.
    pub git_token_file: Option<PathBuf>,
    /// `GIT_SSL_CAINFO` (ours): authorities of git servers, as PEM, instead of the well-known ones.
    pub git_ssl_cainfo: Option<PathBuf>,
    /// `GIT_RETRY_TIME` (ours): how long a server is tried that cannot be reached.
    pub retry_time: Duration,
    /// `GIT_TIMEOUT`, `GIT_MAX_BYTES`, `GIT_MAX_FILES`, `GIT_MAX_DEPTH` (ours).
    pub limits: Limits,
    /// `BUILD_COMMAND`, `BUILD_TIMEOUT` (ours).
    pub build_command: Option<BuildCommand>,
    /// `K8S_IMAGE_FILE` (ours): a file that names the image of a `k8s` package, with `{chaincode}` and `{sequence}`.
    pub k8s_image_file: Option<String>,
    /// `WORK_DIR` (ours): where temporary files are.
    pub work_dir: PathBuf,
}

/// What one proposal's sources may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a fetch may take.
    pub time: Duration,
    /// How many bytes may be received, and how many the sources may have.
    pub bytes: u64,
    /// How many files.
    pub files: usize,
    /// How many folders, and submodules, one in the other.
    pub depth: usize,
}

impl Sources {
    pub(super) fn read(read: &mut Variables<'_>, checkpoint_dir: &Path) -> Self {
        let patterns =
            "use patterns with commas between them, in which * stands for anything but / and ** for anything";
        let allow = AllowList {
            repositories: read.parsed("ALLOWED_REPOSITORIES", "", patterns, Patterns::parse),
            types: read.parsed("ALLOWED_TYPES", "", patterns, Patterns::parse),
            channels: read.parsed("ALLOWED_CHANNELS", "", patterns, Patterns::parse),
        };
        let build_limit = time(read, "BUILD_TIMEOUT", "10m");
        let git_token_file = read.optional_path("GIT_TOKEN_FILE");
        let git_password = read.text("GIT_PASSWORD").map(Secret::new);
        if git_token_file.is_some() && git_password.is_some() {
            read.problem("GIT_TOKEN_FILE", "there is a GIT_PASSWORD too", "set only one of the two");
        }
        Self {
            allow,
            allowed_signers: read.optional_path("ALLOWED_SIGNERS"),
            git_user: read.text("GIT_USER"),
            git_password,
            git_token_file,
            git_ssl_cainfo: read.optional_path("GIT_SSL_CAINFO"),
            retry_time: time(read, "GIT_RETRY_TIME", "10m"),
            limits: Limits {
                time: time(read, "GIT_TIMEOUT", "10m"),
                bytes: size(read, "GIT_MAX_BYTES", "256MiB"),
                files: count(read, "GIT_MAX_FILES", "50000"),
                depth: count(read, "GIT_MAX_DEPTH", "64"),
            },
            build_command: read
                .parsed("BUILD_COMMAND", "", "use a program and its arguments", BuildCommand::parse)
                .map(|words| BuildCommand { words, limit: build_limit }),
            k8s_image_file: read.parsed(
                "K8S_IMAGE_FILE",
                "",
                "use the path of a file, with {chaincode} and {sequence} where they belong",
                variables::path_template,
            ),
            work_dir: read.optional_path("WORK_DIR").unwrap_or_else(|| checkpoint_dir.join("work")),
        }
    }
}

fn time(read: &mut Variables<'_>, variable: &'static str, default: &str) -> Duration {
    read.parsed(variable, default, "use a time such as 10m or 1h30m", variables::duration).unwrap_or_default()
}

fn size(read: &mut Variables<'_>, variable: &'static str, default: &str) -> u64 {
    read.parsed(variable, default, "use a number of bytes such as 200MB or 256MiB", variables::size).unwrap_or_default()
}

fn count(read: &mut Variables<'_>, variable: &'static str, default: &str) -> usize {
    let number = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err("it is not a number above 0".to_owned()),
        Ok(number) => Ok(number),
    };
    read.parsed(variable, default, "use a number", number).unwrap_or_default()
}
