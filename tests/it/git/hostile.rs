//! Servers and repositories that mean harm, or are too much: refused with a reason, without a trace on disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use opssc::fabric::package::sources::{SourceError, SourceTree as _};
use opssc::runtime::CancellationToken;
use opssc::source::git::{GitError, Limits, Progressed, Repository, Revision};

use super::fetching::{assert_clean, fetch};
use super::repositories::Repo;
use super::server::{Answer, Behaviour, GitServer};

const INFO: &str = "/asset.git/info/refs";

async fn serve(root: &tempfile::TempDir) -> GitServer {
    GitServer::start(root.path(), Behaviour::default()).await
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    repo.file("cc/main.go", "package main").commit("sound");
    let blob = repo.git(&["rev-parse", "HEAD:cc/main.go"]);
    let server = serve(&root).await;
    // The object must be where the raw trees are.
    let names: &[(&str, &[u8])] = &[
        ("dots", b".."),
        ("dot", b"."),
        ("slash", b"../../etc/passwd"),
        ("absolute", b"/etc/passwd"),
        ("git", b".GIT"),
        ("bytes", b"\xff\xfe"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).build().unwrap();
    for (branch, name) in names {
        let commit = repo.branch_of_tree(branch, &[("100644", b"main.go", &blob), ("100644", name, &blob)]);
        for revision in [branch, &commit.as_str()] {
            let error = fetch(&git, "asset", revision, "").await.unwrap_err();
            assert!(matches!(error, GitError::Object { .. }), "{branch}: {error:?}");
        }
    }
    repo.branch_of_tree("twice", &[("100644", b"a", &blob), ("120000", b"a", &blob)]);
    let error = fetch(&git, "asset", "twice", "").await.unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    for path in ["..", "cc/../..", "../../etc", "cc\\x", "cc/main.go"] {
        let error = fetch(&git, "asset", "main", path).await.unwrap_err();
        assert!(matches!(error, GitError::Path { .. }), "{path}: {error:?}");
    }
    fetch(&git, "asset", "main", "./cc/").await.unwrap();
    assert_clean(folder.path());
}

#[tokio::test]
async fn links_that_lead_outside_read_nothing_there() {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    repo.file("cc/main.go", "package main").file("shared/lib.go", "package shared");
    for (path, target) in [
        ("cc/passwd", "/etc/passwd"),
        ("cc/out", "../../../../../../../../etc/passwd"),
        ("cc/loop", "loop"),
        ("cc/folder", "/etc"),
        ("cc/inside", "../shared/lib.go"),
    ] {
        repo.link(path, target);
    }
    repo.commit("links");
    let long = repo.object("blob", "a/".repeat(4000).as_bytes());
    repo.branch_of_tree("long", &[("120000", b"link", &long)]);
    let server = serve(&root).await;
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).build().unwrap();
    let checkout = fetch(&git, "asset", "main", "cc").await.unwrap();
    // Links are told as links. What they lead to is the packagers' business, and nothing outside can be named.
    for path in
        ["cc/passwd", "cc/out", "cc/loop", "cc/folder", "cc/folder/passwd", "cc/../../etc/passwd", "/etc/passwd"]
    {
        let error = checkout.read(path).unwrap_err();
        assert!(matches!(error, SourceError::Missing { .. } | SourceError::Kind { .. }), "{path}: {error:?}");
    }
    assert_eq!(checkout.entries("cc").unwrap().len(), 6);
    assert_eq!(checkout.read("shared/lib.go").unwrap(), "package shared");
    let error = fetch(&git, "asset", "long", "").await.unwrap_err();
    assert!(matches!(error, GitError::Object { .. }), "{error:?}");
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one repository that takes its time to make")]
async fn what_is_too_much_ends_at_its_limit() {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    repo.file("cc/main.go", "package main").commit("small");
    repo.git(&["branch", "small"]);
    // 200 MB that a pack makes small, as it is one character again and again.
    repo.file("big", vec![b'x'; 200_000_000]).commit("large");
    let deep = "d/".repeat(70);
    repo.git(&["checkout", "-q", "small"]);
    repo.file(&format!("{deep}file"), "x").commit("deep");
    repo.git(&["branch", "deep"]);
    for number in 0..50 {
        repo.file(&format!("many/{number}"), number.to_string());
    }
    repo.commit("many");
    let server = serve(&root).await;
    let folder = tempfile::tempdir().unwrap();
    let defaults = Limits::default();
    let table = [
        ("main", "", Limits { total_bytes: u64::MAX, ..defaults.clone() }, "more than 104857600 bytes in one object"),
        ("deep", "", Limits::default(), "more than 64 folders in folders"),
        ("small", "many", Limits { files: 49, ..defaults.clone() }, "more than 49 files and folders"),
        ("small", "many", Limits { total_bytes: 89, ..defaults.clone() }, "more than 89 bytes in all files"),
        ("small", "many", Limits { objects: 20, ..defaults.clone() }, "more than 20 objects in a repository"),
        ("small", "many", Limits { received_bytes: 1000, ..defaults.clone() }, "more than 1000 bytes received"),
        ("small", "many", Limits { time: Duration::ZERO, ..defaults.clone() }, "took longer"),
    ];
    for (revision, path, limits, expected) in table {
        let git = server.client(folder.path()).limits(limits).build().unwrap();
        let error = fetch(&git, "asset", revision, path).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    let exactly = Limits { files: 50, total_bytes: 90, ..defaults.clone() };
    let git = server.client(folder.path()).limits(exactly).build().unwrap();
    assert_eq!(fetch(&git, "asset", "small", "many").await.unwrap().entries("many").unwrap().len(), 50);
    // Elsewhere in the repository it is no matter, where the server can leave it out.
    let config = vec![("uploadpack.allowFilter", "true")];
    let filtering = GitServer::start(root.path(), Behaviour { config, ..Behaviour::default() }).await;
    let git = filtering.client(folder.path()).build().unwrap();
    assert_eq!(fetch(&git, "asset", "main", "cc").await.unwrap().read("cc/main.go").unwrap(), "package main");
    let error = fetch(&git, "asset", "main", "").await.unwrap_err();
    assert!(error.to_string().contains("more than 104857600 bytes in one object"), "{error}");
    // A server that says it can and then refuses is asked without.
    let config = vec![("uploadpack.allowFilter", "true"), ("uploadpackfilter.blob:limit.allow", "false")];
    let wavering = GitServer::start(root.path(), Behaviour { config, ..Behaviour::default() }).await;
    let git = wavering.client(folder.path()).build().unwrap();
    assert_eq!(fetch(&git, "asset", "small", "many").await.unwrap().entries("many").unwrap().len(), 50);
    // Where the operator allows it, it comes.
    let enough = Limits { object_bytes: 200_000_000, ..defaults };
    let git = server.client(folder.path()).limits(enough).build().unwrap();
    let checkout = fetch(&git, "asset", "main", "").await.unwrap();
    assert_eq!(checkout.read("big").unwrap().len(), 200_000_000);
    drop(checkout);
    assert_clean(folder.path());
}

#[tokio::test]
async fn servers_that_are_none_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    repo.file("a", "b").commit("one");
    let elsewhere = serve(&root).await;
    let redirect = format!("https://localhost:{}{INFO}", elsewhere.port());
    let packet = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let greeting = format!("{}0000{}", packet("# service=git-upload-pack\n"), packet("version 2\n"));
    let refs = packet(&format!("{:040x} refs/heads/{}\0agent=x\n", 7, "x".repeat(2000)));
    let sha256 = format!("{greeting}{}{}0000", packet("fetch=shallow\n"), packet("object-format=sha256\n"));
    let table: Vec<(Answer, &str)> = vec![
        (Answer::Status(404), "not found"),
        (Answer::Status(403), "denied"),
        (Answer::Status(500), "cannot be reached"),
        (Answer::Status(418), "refuses"),
        (Answer::Redirect(redirect), "the server redirects to localhost, which is not followed"),
        (Answer::Redirect("http://localhost/asset.git/info/refs".to_owned()), "not followed"),
        (Answer::Redirect(INFO.to_owned()), "redirects too often"),
        (Answer::Redirect("/login".to_owned()), "not found"),
        (Answer::Body(Bytes::from_static(b"<html>hello</html>")), "refuses"),
        (Answer::Body(Bytes::new()), "refuses"),
        (Answer::Body(Bytes::from(packet("ERR \x1b[31mgo away\n"))), "refuses"),
        (Answer::Body(Bytes::from(sha256)), "SHA-256"),
        (Answer::Body(Bytes::from(vec![b'0'; 3 << 20])), "refuses"),
        (
            Answer::Body(Bytes::from(format!(
                "{}0000{}",
                packet("# service=git-upload-pack\n"),
                refs.repeat(40 << 10)
            ))),
            "more than 67108864 bytes of branches and tags",
        ),
    ];
    for (answer, expected) in table {
        let answers = HashMap::from([(INFO.to_owned(), answer)]);
        let server = GitServer::start(root.path(), Behaviour { answers, ..Behaviour::default() }).await;
        let folder = tempfile::tempdir().unwrap();
        let git = server.client(folder.path()).build().unwrap();
        let error = fetch(&git, "asset", "main", "").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains('\x1b'), "{expected}: {text}");
        assert_clean(folder.path());
    }
    assert!(elsewhere.asked().is_empty());
    // Moved on the same server, which is followed.
    let answers = HashMap::from([("/old.git/info/refs".to_owned(), Answer::Redirect(INFO.to_owned()))]);
    let server = GitServer::start(root.path(), Behaviour { answers, ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).build().unwrap();
    assert_eq!(fetch(&git, "old", "main", "").await.unwrap().read("a").unwrap(), "b");
}

/// What comes from a server may be anything, and where a fault ends the program there is no second line of defence.
#[tokio::test]
async fn no_bytes_bring_out_a_fault() {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    repo.file("a", "b").file("cc/main.go", "package main".repeat(100)).link("l", "a").commit("one");
    repo.git(&["tag", "-a", "v1", "-m", "one"]);
    let commit = repo.file("cc/main.go", "package main".repeat(101)).commit("two");
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    for old in [false, true] {
        let damage = Some(Arc::new(AtomicU64::new(1)));
        let config = vec![("uploadpack.allowFilter", "true")];
        let server = GitServer::start(root.path(), Behaviour { config, old, damage, ..Behaviour::default() }).await;
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { time: Duration::from_secs(10), ..Limits::default() };
        let git = server.client(folder.path()).limits(limits).build().unwrap();
        let (mut well, mut badly) = (0, 0);
        for round in 0..rounds {
            let revision = ["main", "v1", &commit, &commit[..8]][round % 4];
            match fetch(&git, "asset", revision, "").await {
                Ok(checkout) => {
                    // Whatever comes out of it, its hash was right.
                    assert_eq!(checkout.read("a").unwrap(), "b");
                    well += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().contains("fault of the git library"), "round {round}: {error}");
                    badly += 1;
                }
            }
        }
        assert!(well > 0 && badly > 0, "{well} went well, {badly} badly");
        assert_clean(folder.path());
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    let root = tempfile::tempdir().unwrap();
    Repo::new(root.path(), "asset").file("a", "b").commit("one");
    let (server, other) = (serve(&root).await, serve(&root).await);
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).roots(other.ca()).build().unwrap();
    let error = fetch(&git, "asset", "main", "").await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }) && error.to_string().contains("certificate"), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_fetch_can_be_ended_at_any_time() {
    let root = tempfile::tempdir().unwrap();
    let answers = HashMap::from([(INFO.to_owned(), Answer::Endless(Bytes::from_static(b"001e# ser")))]);
    let server = GitServer::start(root.path(), Behaviour { answers, ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).build().unwrap();
    let (repository, revision) =
        (Repository::parse("git.example.com/asset").unwrap(), Revision::parse("main").unwrap());
    let cancelled = CancellationToken::new();
    let watched = |_: Progressed| cancelled.cancel();
    // The progress is told once something came in, and nothing more will come.
    let error = git.fetch(&repository, &revision, "", &watched, &cancelled).await.unwrap_err();
    assert!(matches!(error, GitError::Cancelled), "{error:?}");
    assert_clean(folder.path());
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let git = server.client(folder.path()).limits(limits).build().unwrap();
    let error = fetch(&git, "asset", "main", "").await.unwrap_err();
    assert!(matches!(error, GitError::TooSlow), "{error:?}");
    assert_clean(folder.path());
}
