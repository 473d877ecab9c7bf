//! The settings about chaincode sources: where they may come from, how they are fetched, and what may be done with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Secret;
use super::variables::{self, Variables};
use crate::agent::allow::{AllowList, Patterns};
use crate::agent::build::BuildCommand;
use crate::source::git::Rewrites;

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
    /// `GIT_CREDENTIALS_HOSTS` (ours): the only hosts that see the credentials.
    pub git_credentials_hosts: Option<Vec<String>>,
    /// `GIT_URL_REWRITE` (ours): rules that send repositories elsewhere.
    pub git_url_rewrite: Rewrites,
    /// `HTTPS_PROXY`, else `ALL_PROXY`.
    pub https_proxy: Option<Secret>,
    /// `NO_PROXY`: hosts that are reached without the proxy.
    pub no_proxy: Option<String>,
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
        let git_password = read.secret("GIT_PASSWORD").map(Secret::new);
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
            git_credentials_hosts: read.parsed(
                "GIT_CREDENTIALS_HOSTS",
                "",
                "use host names with commas between them",
                hosts,
            ),
            git_url_rewrite: read
                .secret_parsed(
                    "GIT_URL_REWRITE",
                    "use https://from/=https://to:port/, with commas between such rules",
                    |text| Rewrites::parse(text).map_err(|error| error.to_string()),
                )
                .unwrap_or_default(),
            https_proxy: ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
                .into_iter()
                .find_map(|name| read.secret(name))
                .map(Secret::new),
            no_proxy: ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| read.text(name)),
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

fn hosts(text: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_owned()).collect();
    let is_host = |host: &String| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/:@*".contains(c));
    if hosts.iter().all(is_host) { Ok(hosts) } else { Err("there is something that is no host name".to_owned()) }
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
