//! On the way to a server: proxies, progress, and what a crash leaves behind.

use std::sync::{Arc, Mutex};

use opssc::fabric::package::sources::SourceTree as _;
use opssc::runtime::CancellationToken;
use opssc::source::git::{GitError, Progressed, Proxies, Repository, Revision};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::fetching::{assert_clean, fetch};
use super::repositories::Repo;
use super::server::{Behaviour, GitServer};

/// A proxy that leads everything to `port`, and keeps what it was told.
async fn proxy(port: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    let line = line.trim().to_owned();
                    if line.is_empty() {
                        break;
                    }
                    heard.lock().unwrap().push(line);
                }
                stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (own, told)
}

#[tokio::test]
async fn through_a_proxy_unless_the_host_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    Repo::new(root.path(), "asset").file("a", "b").commit("one");
    let server = GitServer::start(root.path(), Behaviour::default()).await;
    let (port, told) = proxy(server.port()).await;
    let folder = tempfile::tempdir().unwrap();
    let https = Some(format!("http://me:secret@127.0.0.1:{port}"));
    let proxies = Proxies { https, none_for: Some("inside.example.com".to_owned()) };
    let git = server.client(folder.path()).proxies(proxies.clone()).build().unwrap();
    assert_eq!(fetch(&git, "asset", "main", "").await.unwrap().read("a").unwrap(), "b");
    let lines = told.lock().unwrap().clone();
    assert_eq!(lines[0], format!("CONNECT localhost:{} HTTP/1.1", server.port()));
    assert!(lines.iter().any(|line| line.eq_ignore_ascii_case("proxy-authorization: basic bWU6c2VjcmV0")), "{lines:?}");

    told.lock().unwrap().clear();
    let proxies = Proxies { none_for: Some("other,localhost".to_owned()), ..proxies };
    let git = server.client(folder.path()).proxies(proxies).build().unwrap();
    fetch(&git, "asset", "main", "").await.unwrap();
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn whoever_watches_hears_bytes_and_objects() {
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "asset");
    for number in 0..20 {
        repo.file(&format!("f/{number}"), number.to_string());
    }
    repo.commit("one");
    let server = GitServer::start(root.path(), Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).build().unwrap();
    let heard = Mutex::new(Vec::new());
    let listen = |progressed: Progressed| heard.lock().unwrap().push(progressed);
    let (repository, revision) =
        (Repository::parse("git.example.com/asset").unwrap(), Revision::parse("main").unwrap());
    let checkout = git.fetch(&repository, &revision, "", &listen, &CancellationToken::new()).await.unwrap();
    let last = *heard.lock().unwrap().last().unwrap();
    // A commit, two folders and twenty files.
    assert_eq!((last.objects, last.objects_expected), (23, 23));
    assert!(last.received_bytes > 500, "{last:?}");

    // Files live as long as what reads them, and a second fetch leaves them alone.
    let other = fetch(&git, "asset", "main", "f").await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    drop(other);
    assert_eq!(checkout.read("f/7").unwrap(), "7");
    drop(checkout);
    assert_clean(folder.path());
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed_at_the_next_fetch() {
    let root = tempfile::tempdir().unwrap();
    Repo::new(root.path(), "asset").file("a", "b").commit("one");
    let server = GitServer::start(root.path(), Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let git = server.client(folder.path()).build().unwrap();
    let left = folder.path().join("opssc-99-0123456789abcdef");
    std::fs::create_dir_all(left.join("objects/pack")).unwrap();
    std::fs::write(left.join("objects/pack/tmp_pack"), "secret sources").unwrap();
    std::fs::write(left.join(".owner"), "").unwrap();
    let error = fetch(&git, "asset", "nothing", "").await.unwrap_err();
    assert!(matches!(error, GitError::UnknownRevision { .. }));
    assert_clean(folder.path());
    assert_eq!(git.sweep().unwrap(), 0);
}
