//! The service as its callers see it.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::agent::config::Settings;
use crate::agent::journal::{Change, TaskRecord, TaskState};
use crate::agent::progress::Task;
use crate::client::Client;
use crate::client::profile::ConnectionProfile;
use crate::fabric::identity::SigningIdentity;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};

/// What a service tells from before anything was seen or done, with its holds in `folder`.
fn watched(folder: &Path) -> Watched {
    let settings = Settings::from_lookup(|_| None).unwrap();
    // Nobody listens there, and nobody is asked but for proposals.
    let profile = "organizations: {Org1: {mspid: Org1MSP, peers: [p]}}\npeers: {p: {url: 'grpc://127.0.0.1:1'}}";
    let key = rcgen::generate_simple_self_signed(vec!["admin".to_owned()]).unwrap();
    let pem = (key.cert.pem(), key.signing_key.serialize_pem());
    let signer = SigningIdentity::from_pem(settings.msp_id.clone(), pem.0.as_bytes(), pem.1.as_bytes()).unwrap();
    let client = Client::builder(Arc::new(signer), ConnectionProfile::parse(profile).unwrap()).build().unwrap();
    let ops = client.channel(settings.ops_channel.clone());
    let ledger = Ledger::new(
        ChaincodeOps::new(ops.clone(), settings.chaincode_ops.clone()),
        ChannelOps::new(ops, settings.channel_ops.clone()),
    );
    Watched {
        health: Arc::default(),
        metrics: Arc::default(),
        journal: Journal::open(folder).unwrap(),
        holds: Holds::load(folder.join("holds.json")),
        bells: Arc::default(),
        seen: tokio::sync::watch::channel(None).1,
        leader: crate::agent::leadership::Leadership::new(&settings.replicas).standing(),
        standing: tokio::sync::watch::Sender::default().subscribe(),
        ledger,
        about: Arc::new(About::of(&settings)),
    }
}

/// A service with this access, what it tells from, and what stops it.
struct Served {
    address: SocketAddr,
    health: Arc<Health>,
    journal: Journal,
    workers: Workers,
    folder: tempfile::TempDir,
}

async fn started(token: Option<&str>) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = token.map(|token| {
        let path = folder.path().join("token");
        std::fs::write(&path, token).unwrap();
        path
    });
    let access = Access::open(path.as_deref()).await.unwrap();
    let service = Service::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, workers) = (service.address(), Workers::new());
    let watched = watched(folder.path());
    let (health, journal) = (Arc::clone(&watched.health), watched.journal.clone());
    let guard = Guard { certificate: None, access };
    workers.spawn_to_end("http", service.run(guard, watched, workers.clone()));
    Served { address, health, journal, workers, folder }
}

async fn send(address: SocketAddr, request: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A service that hangs up on rubbish may reset the connection.
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(address: SocketAddr, path: &str) -> String {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await
}

async fn post(address: SocketAddr, path: &str, more: &str, body: &str) -> String {
    let (host, length) = (address, body.len());
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    send(address, format!("{head}{more}\r\n{body}").as_bytes()).await
}

#[track_caller]
fn check(answer: &str, expected: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{expected}: {answer}");
}

impl Served {
    async fn stop(self) {
        self.workers.cancel();
        self.workers.finished().await.unwrap();
    }
}

#[tokio::test]
async fn healthy_once_both_listeners_are_up() {
    let served = started(None).await;
    for (listener, listening, expected, word) in [
        (Listener::ChaincodeOps, true, 500, "NG"),
        (Listener::ChannelOps, true, 200, "OK"),
        (Listener::ChaincodeOps, false, 500, "NG"),
    ] {
        served.health.set(listener, listening);
        let answer = ask(served.address, "/healthz").await;
        check(&answer, expected);
        assert!(answer.ends_with(word), "{answer}");
    }
    check(&ask(served.address, "/livez").await, 200);
    let answer = ask(served.address, "/metrics").await;
    for expected in [
        "\nopssc_package_id_differences_total 0\n",
        "\nopssc_listening{contract=\"channel-ops\"} 1\n",
        "\nopssc_build_info{version=\"",
        "content-security-policy: default-src 'none'",
    ] {
        assert!(answer.contains(expected), "{expected} is not in\n{answer}");
    }
    served.stop().await;
}

#[tokio::test]
async fn readiness_is_told_part_by_part_and_reasons_to_those_who_may_read() {
    let served = started(Some("sesame")).await;
    served.health.set_trouble("journal", Some("no space left on device".to_owned()));
    let answer = ask(served.address, "/readyz").await;
    check(&answer, 503);
    assert!(answer.contains("[-] journal\n[-] network\n[+] holds\nnot ready\n"), "{answer}");
    let shown = b"GET /readyz HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sesame\r\nConnection: close\r\n\r\n";
    let answer = send(served.address, shown).await;
    assert!(answer.contains("[-] journal (no space left on device)\n"), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn probes_and_the_page_need_no_token_and_the_rest_does() {
    let served = started(Some("sesame")).await;
    for (path, expected) in [
        ("/livez", 200),
        ("/healthz", 500),
        ("/", 200),
        ("/page.js", 200),
        ("/page.css", 200),
        ("/metrics", 401),
        ("/api/v1/status", 401),
        ("/api/v1/tasks", 401),
        ("/api/v1/tasks/live", 401),
        ("/api/v1/proposals", 401),
        ("/elsewhere", 404),
    ] {
        let answer = ask(served.address, path).await;
        check(&answer, expected);
        assert!(!answer.contains("Org1MSP"), "{path}: {answer}");
    }
    for path in ["/api/v1/pause", "/api/v1/resume", "/api/v1/reconcile"] {
        check(&post(served.address, path, "", "").await, 401);
        check(&ask(served.address, path).await, 405);
    }
    assert!(!served.folder.path().join("holds.json").exists(), "nothing was changed");
    let shown = "GET /api/v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sesame\r\nConnection: close\r\n\r\n";
    let answer = send(served.address, shown.as_bytes()).await;
    check(&answer, 200);
    assert!(answer.contains("\"organization\":\"Org1MSP\""), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn pausing_and_resuming_are_done_for_this_machine_and_no_foreign_page() {
    let served = started(None).await;
    let address = served.address;
    for (more, body, expected) in [
        ("Origin: http://elsewhere.example.com\r\n", "", 403),
        ("", "{\"channel\": \"NOT A NAME\"}", 400),
        ("", "{\"unknown\": 1}", 400),
        ("", "rubbish", 400),
        ("", "{\"channel\": \"mychannel\", \"reason\": \"<b>why\"}", 200),
    ] {
        check(&post(address, "/api/v1/pause", more, body).await, expected);
    }
    let answer = ask(address, "/api/v1/status").await;
    assert!(answer.contains("\"holds\":[{\"channel\":\"mychannel\",\"reason\":\"<b>why\""), "{answer}");
    check(&post(address, "/api/v1/resume", "", "{\"channel\": \"other\"}").await, 404);
    check(&post(address, "/api/v1/resume", "", "{\"channel\": \"mychannel\"}").await, 200);
    check(&post(address, "/api/v1/pause", "", "").await, 200);
    check(&post(address, "/api/v1/resume", "", "{\"all\": true}").await, 200);
    check(&post(address, "/api/v1/reconcile", "", "").await, 202);
    check(&post(address, "/api/v1/pause", "", &"x".repeat(BODY + 1)).await, 413);
    let answer = ask(address, "/api/v1/status").await;
    assert!(answer.contains("\"holds\":{\"holds\":[]}"), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn tasks_are_told_and_followed_live() {
    let served = started(None).await;
    let record = |proposal: &str, state| {
        let mut record = TaskRecord::queued(Task::Deploy, proposal, 1);
        record.state = state;
        vec![Change::Task(Arc::new(record))]
    };
    served.journal.write(record("<script>", TaskState::Done)).await.unwrap();
    served.journal.write(record("a b", TaskState::Waiting)).await.unwrap();
    let body = |answer: &str| -> serde_json::Value {
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).unwrap()
    };
    let proposals = |answer: &str| -> Vec<String> {
        let told = body(answer)["tasks"].as_array().expect("a list").clone();
        told.iter().map(|task| task["proposal"].as_str().expect("a text").to_owned()).collect()
    };
    let answer = ask(served.address, "/api/v1/tasks").await;
    assert_eq!(proposals(&answer), ["a b", "<script>"], "those that have not ended come first");
    assert_eq!(proposals(&ask(served.address, "/api/v1/tasks?state=done").await), ["<script>"]);
    assert_eq!(proposals(&ask(served.address, "/api/v1/tasks?proposal=a+b").await), ["a b"]);
    let answer = ask(served.address, "/api/v1/tasks?limit=1").await;
    assert_eq!((proposals(&answer).len(), body(&answer)["more"].as_u64()), (1, Some(1)));
    check(&ask(served.address, "/api/v1/tasks?limit=many").await, 400);

    let mut live = TcpStream::connect(served.address).await.unwrap();
    live.write_all(b"GET /api/v1/tasks/live HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut heard = String::new();
    let mut hear = async |until: &str| {
        while !heard.contains(until) {
            let mut part = [0; 1024];
            let read = live.read(&mut part).await.unwrap();
            assert!(read > 0, "it ended before {until:?}: {heard}");
            heard.push_str(&String::from_utf8_lossy(&part[..read]));
        }
    };
    hear(": open").await;
    served.journal.write(record("c", TaskState::Running)).await.unwrap();
    hear("event: task\ndata: {\"task\":\"deploy\",\"proposal\":\"c\"").await;
    served.stop().await;
}

#[tokio::test]
async fn followers_are_so_many_and_no_more() {
    let served = started(None).await;
    let mut followers = Vec::new();
    for _ in 0..STREAMS {
        let mut live = TcpStream::connect(served.address).await.unwrap();
        live.write_all(b"GET /api/v1/tasks/live HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        live.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        followers.push(live);
    }
    check(&ask(served.address, "/api/v1/tasks/live").await, 503);
    check(&ask(served.address, "/livez").await, 200);
    served.stop().await;
}

/// Nothing that a caller sends may do more than end his own connection.
#[tokio::test]
async fn rubbish_harms_nobody_else() {
    let served = started(None).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64 * 1024));
    let lines = "a: b\r\n".repeat(1000);
    let many = format!("GET /livez HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    for request in [
        &b"\x16\x03\x01\x02\x00\x01 \r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /%00%ff/../../etc/passwd?x=%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/tasks?limit=%ff HTTP/1.0\r\nHost: \xff\r\nAuthorization: \xff\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let shown = String::from_utf8_lossy(request);
        let answer = send(served.address, request).await;
        assert!(!answer.contains("root:") && !answer.contains("panic"), "{shown}: {answer}");
        check(&ask(served.address, "/livez").await, 200);
    }
    served.stop().await;
}
