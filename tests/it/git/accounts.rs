//! Users, passwords and tokens: shown to whom they are for, and seen nowhere else.

use std::fmt::Write as _;
use std::process::Command;

use opssc::source::git::{Credentials, GitError, Proxies};

use super::fetching::fetch;
use super::repositories::Repo;
use super::server::{Behaviour, GitServer};

const PASSWORD: &str = "hunter2-very-secret";
/// The password as the header has it.
const ENCODED: &str = "bWU6aHVudGVyMi12ZXJ5LXNlY3JldA==";

fn locked() -> Behaviour {
    Behaviour { account: Some(("me".to_owned(), PASSWORD.to_owned())), ..Behaviour::default() }
}

#[test]
fn the_password_is_seen_nowhere() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "git::accounts::says_all_there_is_to_say"])
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{said}");
    for heard in ["fetching from git", "does not accept the credentials", "TRACE", "1 passed"] {
        assert!(said.contains(heard), "{heard} was not heard");
    }
    for secret in [PASSWORD, ENCODED] {
        assert!(!said.contains(secret), "the secret is seen");
    }
}

#[test]
#[ignore = "the test above runs it, in a process of its own, as all that is logged there belongs to it"]
fn says_all_there_is_to_say() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let said = runtime.block_on(fetch_with_and_without());
    tracing::info!(said);
}

/// Everything that fetches say.
async fn fetch_with_and_without() -> String {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    repo.file("a", "b").commit("one");
    let server = GitServer::start(root.path(), locked()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut said = String::new();

    let git = server.client(folder.path()).credentials(Credentials::password("me", PASSWORD)).build().unwrap();
    let checkout = fetch(&git, "asset", "main", "").await.unwrap();
    write!(said, "{checkout:?}").unwrap();
    for (name, revision) in [("asset", "nothing"), ("nothing", "main")] {
        let error = fetch(&git, name, revision, "").await.unwrap_err();
        write!(said, "{error} {error:?}").unwrap();
    }
    let asked = server.asked();
    // The server asks first, and after that it is not made to ask again.
    assert_eq!(asked[0], "GET /asset.git/info/refs");
    assert_eq!(asked[1], "GET /asset.git/info/refs+auth");
    assert!(asked[2..4].iter().all(|line| line == "POST /asset.git/git-upload-pack+auth"), "{asked:?}");

    let git = server.client(folder.path()).credentials(Credentials::password("me2", PASSWORD)).build().unwrap();
    let error = fetch(&git, "asset", "main", "").await.unwrap_err();
    assert!(matches!(error, GitError::Denied { .. }) && error.to_string().contains("does not accept"), "{error}");
    write!(said, "{error} {error:?}").unwrap();

    // A proxy that is not there, with a password in its address.
    let https = Some(format!("http://me:{PASSWORD}@localhost:1"));
    let proxies = Proxies { https, none_for: None };
    let git = server.client(folder.path()).proxies(proxies).build().unwrap();
    let error = fetch(&git, "asset", "main", "").await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error}");
    write!(said, "{error} {error:?}").unwrap();
    said
}

#[tokio::test]
async fn tokens_come_from_a_file_and_go_where_they_may() {
    let root = tempfile::tempdir().unwrap();
    Repo::new(root.path(), "asset").file("a", "b").commit("one");
    let mut behaviour = locked();
    behaviour.account = Some(("x-access-token".to_owned(), "t0ken".to_owned()));
    let server = GitServer::start(root.path(), behaviour).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "old\n").unwrap();
    let credentials = Credentials::token_file(&token, None);
    let git = server.client(folder.path()).credentials(credentials.clone()).build().unwrap();
    assert!(matches!(fetch(&git, "asset", "main", "").await, Err(GitError::Denied { .. })));
    std::fs::write(&token, "t0ken\n").unwrap();
    fetch(&git, "asset", "main", "").await.unwrap();

    let shown = server.asked().iter().filter(|line| line.contains("+auth")).count();
    let elsewhere = credentials.only_for(["github.com"]);
    let git = server.client(folder.path()).credentials(elsewhere).build().unwrap();
    let error = fetch(&git, "asset", "main", "").await.unwrap_err();
    assert!(error.to_string().contains("asks for credentials"), "{error}");
    assert_eq!(server.asked().iter().filter(|line| line.contains("+auth")).count(), shown);
}
