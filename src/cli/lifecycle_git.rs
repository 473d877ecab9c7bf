//! Packages from git repositories, for `opssc-agent lifecycle package`.
//!
//! A module of its own because a repository takes settings: the same `GIT_…` variables as the agent's. What is packaged is
//! what an agent would package of the same commit, so the ID is the one that its acknowledgement will name.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use super::failure::UsageError;
use super::lifecycle::Kind;
use super::output;
use crate::fabric::names::Label;
use crate::fabric::package::{Package, Sources};
use crate::runtime::CancellationToken;
use crate::source::git::{Credentials, Git, GitProgress, Progressed, Proxies, Repository, Revision, Rewrites};

/// Sources in a repository.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) repository: &'a str,
    pub(super) commit: &'a str,
    pub(super) subpath: &'a str,
    /// What metadata.json says about the path, when not the repository with the path in it.
    pub(super) metadata_path: Option<&'a str>,
}

struct Told;

impl GitProgress for Told {
    fn progressed(&self, progressed: Progressed) {
        output::say(&format!(
            "fetched {} objects of {}, {} bytes",
            progressed.objects, progressed.objects_expected, progressed.received_bytes
        ));
    }
}

/// Fetches and packages.
pub(super) fn package(
    wanted: &Wanted<'_>,
    kind: &Kind,
    label: &Label,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Package> {
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let repository = Repository::parse(wanted.repository).map_err(|error| usage(&error))?;
    let revision = Revision::parse(wanted.commit).map_err(|error| usage(&error))?;
    let git = git(environment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let never = CancellationToken::new();
    let checkout = runtime
        .block_on(git.fetch(&repository, &revision, wanted.subpath, &Told, &never))
        .with_context(|| format!("{repository} cannot be fetched"))?;
    output::say(&format!("packaging {repository} at commit {}", checkout.commit()));
    let own = format!("{repository}/{}", checkout.path());
    let metadata_path = wanted.metadata_path.unwrap_or_else(|| own.trim_end_matches('/'));
    let sources = Sources { tree: &checkout, path: checkout.path(), metadata_path };
    kind.package(label, &sources).with_context(|| format!("{repository} cannot be packaged"))
}

fn git(environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Git> {
    let text = |name: &str| {
        let value = environment(name).filter(|value| !value.is_empty());
        value.map(|value| value.into_string().map_err(|_| UsageError(format!("{name} is not UTF-8")))).transpose()
    };
    let either =
        |name: &str| text(name).and_then(|value| value.map_or_else(|| text(&name.to_lowercase()), |v| Ok(Some(v))));
    let folder = text("WORK_DIR")?.map_or_else(env::temp_dir, PathBuf::from).join("opssc-agent-sources");
    let mut builder = Git::builder(folder);
    if let Some(path) = text("GIT_SSL_CAINFO")? {
        builder = builder.roots(fs::read(&path).with_context(|| format!("GIT_SSL_CAINFO: {path} cannot be read"))?);
    }
    if let Some(rules) = text("GIT_URL_REWRITE")? {
        builder = builder.rewrites(Rewrites::parse(&rules).map_err(|error| UsageError(error.to_string()))?);
    }
    let user = text("GIT_USER")?;
    let credentials = match (text("GIT_TOKEN_FILE")?, text("GIT_PASSWORD")?) {
        (Some(path), _) => Some(Credentials::token_file(path, user)),
        (None, Some(password)) => Some(Credentials::password(user.unwrap_or_else(|| "git".to_owned()), password)),
        (None, None) => None,
    };
    if let Some(credentials) = credentials {
        builder = builder.credentials(credentials);
    }
    let https = either("HTTPS_PROXY")?.map_or_else(|| either("ALL_PROXY"), |proxy| Ok(Some(proxy)))?;
    let proxies = Proxies { https, none_for: either("NO_PROXY")? };
    Ok(builder.proxies(proxies).build()?)
}
