//! Branches, tags and commits; credentials; servers that refuse.

use std::path::Path;

use opssc::fabric::package::sources::{SourceKind, SourceTree as _};
use opssc::runtime::CancellationToken;
use opssc::source::git::{Checkout, Git, GitError, Progressed, Repository, Revision};

use super::repositories::Repo;
use super::server::{Behaviour, GitServer};

/// Fetches `revision` of `git.example.com/<name>`.
pub(super) async fn fetch(git: &Git, name: &str, revision: &str, path: &str) -> Result<Checkout, GitError> {
    let repository = Repository::parse(&format!("git.example.com/{name}"))?;
    git.fetch(&repository, &Revision::parse(revision)?, path, &|_: Progressed| {}, &CancellationToken::new()).await
}

/// Whether nothing is left of any fetch.
#[track_caller]
pub(super) fn assert_clean(folder: &Path) {
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == ".opssc-scratch"), "{left:?}");
}

#[tokio::test]
async fn branches_tags_and_commits() {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    let first = repo.file("README", "one").file("cc/main.go", "package main").commit("first");
    repo.git(&["tag", "v1"]);
    repo.git(&["tag", "-a", "v1-annotated", "-m", "one"]);
    let second = repo.file("cc/main.go", "package main // two").link("cc/link", "main.go").commit("second");
    repo.git(&["branch", "feature/x"]);
    repo.serve();
    for (old, config) in [
        (false, vec![]),
        (false, vec![("uploadpack.allowFilter", "true")]),
        (true, vec![("uploadpack.allowAnySHA1InWant", "true")]),
        (true, vec![]),
    ] {
        let server = GitServer::start(root.path(), Behaviour { config, old, ..Behaviour::default() }).await;
        let folder = tempfile::tempdir().unwrap();
        let git = server.client(folder.path()).build().unwrap();
        for (revision, commit) in [
            ("main", &second),
            ("HEAD", &second),
            ("feature/x", &second),
            ("refs/heads/main", &second),
            ("v1", &first),
            ("v1-annotated", &first),
            ("refs/tags/v1-annotated", &first),
            (first.as_str(), &first),
            (&first[..7], &first),
            (&second[..12], &second),
        ] {
            let checkout =
                fetch(&git, "asset", revision, "cc").await.unwrap_or_else(|error| panic!("{revision}: {error}"));
            assert_eq!(checkout.commit(), *commit, "{revision}");
            assert_eq!(checkout.path(), "cc");
            let main = checkout.read("cc/main.go").unwrap();
            let two = commit == &second;
            assert_eq!(main, if two { "package main // two" } else { "package main" });
            let mut entries = checkout.entries("cc").unwrap();
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
            assert_eq!(paths, if two { &["cc/link", "cc/main.go"][..] } else { &["cc/main.go"] });
            if two {
                assert_eq!(entries[0].kind, SourceKind::Symlink { target: "main.go".to_owned() });
            }
        }
        for unknown in ["nothing", "0123456789", "0123456789abcdef0123456789abcdef01234567"] {
            let error = fetch(&git, "asset", unknown, "").await.unwrap_err();
            assert!(matches!(error, GitError::UnknownRevision { .. }), "{unknown}: {error:?}");
        }
        let error = fetch(&git, "nowhere", "main", "").await.unwrap_err();
        assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
        let error = fetch(&git, "asset", "main", "nowhere").await.unwrap_err();
        assert!(matches!(error, GitError::Path { .. }), "{error:?}");
        assert_clean(folder.path());
    }
}
