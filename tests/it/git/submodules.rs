//! Repositories in repositories.

use std::sync::{Arc, Mutex};

use opssc::fabric::package::sources::{SourceKind, SourceTree as _};
use opssc::source::git::{Credentials, GitError, Limits, Repository, Rewrites};

use super::fetching::{assert_clean, fetch};
use super::repositories::Repo;
use super::server::{Behaviour, GitServer};

/// A repository with a submodule that has a submodule of its own, and one beside them on another host.
fn repositories(root: &tempfile::TempDir) {
    let inner = Repo::new(root.path(), "inner");
    let old = inner.file("deep.go", "package deep").commit("old");
    inner.file("deep.go", "package deeper").commit("new");
    let middle = Repo::new(root.path(), "middle");
    middle.file("lib/lib.go", "package lib");
    submodule(&middle, "vendor/inner", "../inner.git", &old);
    let middle_commit = middle.commit("middle");
    let other = Repo::new(root.path(), "other");
    let other_commit = other.file("other.go", "package other").commit("other");
    let main = Repo::new(root.path(), "main");
    main.file("cc/main.go", "package main").file("docs/README", "read me");
    submodule(&main, "cc/vendor/middle", "https://git.example.com/middle.git", &middle_commit);
    submodule(&main, "docs/other", "https://other.example.com/other", &other_commit);
    main.commit("with submodules");
}

/// Adds a submodule without fetching it.
fn submodule(repo: &Repo, path: &str, url: &str, commit: &str) {
    let name = format!("submodule.{path}");
    repo.git(&["config", "-f", ".gitmodules", &format!("{name}.path"), path]);
    repo.git(&["config", "-f", ".gitmodules", &format!("{name}.url"), url]);
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    std::fs::create_dir_all(repo.work().join(path)).unwrap();
}

#[tokio::test]
async fn those_below_the_path_are_fetched_with_what_is_in_them() {
    let root = tempfile::tempdir().unwrap();
    repositories(&root);
    let server = GitServer::start(root.path(), Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let git = server.client(folder.path()).permit(move |repository: &Repository| {
        heard.lock().unwrap().push(repository.to_string());
        Ok(())
    });
    let git = git.build().unwrap();
    let checkout = fetch(&git, "main", "main", "cc").await.unwrap();
    let read = |path| String::from_utf8(checkout.read(path).unwrap().to_vec()).unwrap();
    assert_eq!(read("cc/main.go"), "package main");
    assert_eq!(read("cc/vendor/middle/lib/lib.go"), "package lib");
    assert_eq!(read("cc/vendor/middle/vendor/inner/deep.go"), "package deep");
    let mut paths: Vec<_> = checkout.entries("cc").unwrap().into_iter().map(|entry| entry.path).collect();
    paths.sort();
    assert_eq!(paths[paths.len() - 2..], ["cc/vendor/middle/vendor/inner", "cc/vendor/middle/vendor/inner/deep.go"]);
    // Nothing of this was asked for.
    let other = checkout.entry("docs/other").unwrap().unwrap();
    assert_eq!(other.kind, SourceKind::Submodule);
    assert_eq!(*asked.lock().unwrap(), ["git.example.com/main", "git.example.com/middle", "git.example.com/inner"]);

    // The path may lie in one.
    let within = fetch(&git, "main", "main", "cc/vendor/middle/lib").await.unwrap();
    assert_eq!(within.read("cc/vendor/middle/lib/lib.go").unwrap(), "package lib");
    let error = fetch(&git, "main", "main", "cc/vendor/middle/nowhere").await.unwrap_err();
    assert!(matches!(error, GitError::Path { .. }), "{error:?}");
    drop((checkout, within));
    assert_clean(folder.path());
}

#[tokio::test]
async fn those_that_must_not_be_fetched_are_not() {
    let root = tempfile::tempdir().unwrap();
    repositories(&root);
    let server = GitServer::start(root.path(), Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).permit(|repository: &Repository| {
        if repository.path() == "inner" { Err("rule 3 leaves it out".to_owned()) } else { Ok(()) }
    });
    let error = fetch(&git.build().unwrap(), "main", "main", "cc").await.unwrap_err();
    assert_eq!(error.to_string(), "repository git.example.com/inner must not be fetched: rule 3 leaves it out");
    let limits = Limits { submodules: 1, ..Limits::default() };
    let git = server.client(folder.path()).limits(limits).build().unwrap();
    let error = fetch(&git, "main", "main", "cc").await.unwrap_err();
    assert_eq!(error.to_string(), "more than 1 submodules, which is the limit");

    let repo = Repo::new(root.path(), "bad");
    for (branch, url, expected) in [
        ("port", "https://10.0.0.1:6443/api", "without a port"),
        ("ssh", "git@git.example.com:inner.git", "ssh is not supported"),
        ("file", "file:///etc", "without a scheme"),
        ("out", "../../../inner", "leads out of its server"),
        ("gone", "../inner.git", "has no commit"),
    ] {
        repo.git(&["checkout", "-q", "--orphan", branch]);
        repo.git(&["rm", "-rqf", "--ignore-unmatch", "."]);
        submodule(&repo, "sub", url, "0123456789abcdef0123456789abcdef01234567");
        repo.commit(branch);
        let git = server.client(folder.path()).build().unwrap();
        let error = fetch(&git, "bad", branch, "").await.unwrap_err();
        assert!(
            matches!(error, GitError::Submodule { .. }) && error.to_string().contains(expected),
            "{branch}: {error}"
        );
    }
    assert_clean(folder.path());
}

#[tokio::test]
async fn other_hosts_see_no_credentials_unless_they_are_listed() {
    let root = tempfile::tempdir().unwrap();
    repositories(&root);
    let account = Some(("me".to_owned(), "secret".to_owned()));
    let server = GitServer::start(root.path(), Behaviour { account: account.clone(), ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let rewrites = format!("{},{}", server.rewrite("git.example.com"), server.rewrite("other.example.com"));
    let client = || server.client(folder.path()).rewrites(Rewrites::parse(&rewrites).unwrap());
    let credentials = Credentials::password("me", "secret");
    let git = client().credentials(credentials.clone()).build().unwrap();
    let error = fetch(&git, "main", "main", "docs").await.unwrap_err();
    assert!(matches!(error, GitError::Denied { .. }) && error.to_string().contains("other.example.com"), "{error}");
    let listed = credentials.only_for(["git.example.com", "other.example.com"]);
    let git = client().credentials(listed).build().unwrap();
    let checkout = fetch(&git, "main", "main", "docs").await.unwrap();
    assert_eq!(checkout.read("docs/other/other.go").unwrap(), "package other");
}
