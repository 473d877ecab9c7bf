//! Replicas that share a Lease, beside a server that answers as Kubernetes does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::agent::config::Replicas;
use crate::agent::leadership::Leadership;
use crate::runtime::Workers;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/fabric/leases";

/// What the server keeps.
#[derive(Default)]
struct Kept {
    lease: Option<Value>,
    version: u64,
    is_down: bool,
    tokens: Vec<String>,
}

type Server = Arc<Mutex<Kept>>;

fn status(code: StatusCode) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "reason": "no",
        "code": code.as_u16(),
    });
    (code, axum::Json(body)).into_response()
}

fn keep(kept: &mut Kept, mut lease: Value) -> Response {
    kept.version += 1;
    lease["metadata"]["resourceVersion"] = kept.version.to_string().into();
    kept.lease = Some(lease.clone());
    axum::Json(lease).into_response()
}

async fn read(State(server): State<Server>, headers: HeaderMap) -> Response {
    let mut kept = server.lock().unwrap();
    let token = headers.get("authorization").map(|token| token.to_str().unwrap().to_owned());
    kept.tokens.extend(token);
    match &kept.lease {
        _ if kept.is_down => status(StatusCode::INTERNAL_SERVER_ERROR),
        Some(lease) => axum::Json(lease.clone()).into_response(),
        None => status(StatusCode::NOT_FOUND),
    }
}

async fn make(State(server): State<Server>, body: Bytes) -> Response {
    let mut kept = server.lock().unwrap();
    if kept.lease.is_some() {
        return status(StatusCode::CONFLICT);
    }
    keep(&mut kept, serde_json::from_slice(&body).unwrap())
}

async fn replace(State(server): State<Server>, body: Bytes) -> Response {
    let mut kept = server.lock().unwrap();
    let lease: Value = serde_json::from_slice(&body).unwrap();
    if kept.is_down {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    }
    if lease["metadata"]["resourceVersion"].as_str().map(str::parse) != Some(Ok(kept.version)) {
        return status(StatusCode::CONFLICT);
    }
    keep(&mut kept, lease)
}

async fn serve(workers: &Workers) -> (Server, String) {
    let server = Server::default();
    let app = Router::new()
        .route(LEASES, post(make))
        .route(&format!("{LEASES}/opssc"), get(read).put(replace))
        .with_state(Arc::clone(&server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    workers.spawn("server", async move { axum::serve(listener, app).await });
    (server, format!("http://localhost:{port}"))
}

fn settings(api: &str, credentials: PathBuf) -> KubernetesLease {
    KubernetesLease { name: "opssc".to_owned(), namespace: None, api: api.to_owned(), credentials }
}

fn credentials() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("namespace"), "fabric\n").unwrap();
    std::fs::write(folder.path().join("token"), "let-me-in").unwrap();
    folder
}

fn replica(name: &str, api: &str, folder: &tempfile::TempDir) -> (watch::Receiver<bool>, Workers) {
    let leadership = Leadership::new(&Replicas {
        lock_file: None,
        lease: Some(settings(api, folder.path().to_owned())),
        identity: name.to_owned(),
        lease_time: Duration::from_secs(3),
    });
    let (leads, workers) = (leadership.leads(), Workers::new());
    workers.spawn_to_end("leadership", leadership.keep(workers.token()));
    (leads, workers)
}

#[tokio::test]
async fn whoever_writes_over_what_has_changed_is_refused() {
    let (workers, folder) = (Workers::new(), credentials());
    let (server, api) = serve(&workers).await;
    let mut one = LeaseRecord::new(settings(&api, folder.path().to_owned()));
    let mut other = LeaseRecord::new(settings(&api, folder.path().to_owned()));
    assert_eq!(one.read().await.unwrap(), None);
    assert_eq!(other.read().await.unwrap(), None);
    let first = one.write("one", Duration::from_millis(2500)).await.unwrap().unwrap();
    assert_eq!((first.holder.as_str(), first.lease), ("one", Some(Duration::from_secs(3))));
    assert_eq!(other.write("other", Duration::from_secs(1)).await.unwrap(), None);
    assert_eq!(other.read().await.unwrap().as_ref(), Some(&first));
    let second = one.write("one", Duration::from_secs(1)).await.unwrap().unwrap();
    assert_ne!(second.stamp, first.stamp);
    assert_eq!(other.write("other", Duration::from_secs(1)).await.unwrap(), None);
    other.read().await.unwrap();
    assert!(other.write("other", Duration::from_secs(1)).await.unwrap().is_some());
    {
        let kept = server.lock().unwrap();
        let spec = &kept.lease.as_ref().unwrap()["spec"];
        assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&"other".into(), &1.into()));
        assert!(!kept.tokens.is_empty() && kept.tokens.iter().all(|token| token == "Bearer let-me-in"));
    }
    workers.cancel();
    workers.finished().await.unwrap();
}

#[tokio::test]
async fn a_standby_takes_over_and_nobody_leads_without_the_server() {
    let (workers, folder) = (Workers::new(), credentials());
    let (server, api) = serve(&workers).await;
    let (mut first, first_workers) = replica("a", &api, &folder);
    first.wait_for(|leads| *leads).await.unwrap();
    let (mut second, second_workers) = replica("b", &api, &folder);
    first_workers.cancel();
    second.wait_for(|leads| *leads).await.unwrap();
    first_workers.finished().await.unwrap();
    server.lock().unwrap().is_down = true;
    second.wait_for(|leads| !*leads).await.unwrap();
    server.lock().unwrap().is_down = false;
    second.wait_for(|leads| *leads).await.unwrap();
    // Somebody else has written: whoever led stops at once, and takes over again when nothing follows.
    {
        let mut kept = server.lock().unwrap();
        let mut lease = kept.lease.clone().unwrap();
        lease["spec"]["holderIdentity"] = "somebody".into();
        keep(&mut kept, lease);
    }
    second.wait_for(|leads| !*leads).await.unwrap();
    second.wait_for(|leads| *leads).await.unwrap();
    second_workers.cancel();
    second_workers.finished().await.unwrap();
    let holder = server.lock().unwrap().lease.as_ref().unwrap()["spec"]["holderIdentity"].clone();
    assert_eq!(holder, "");
    workers.cancel();
    workers.finished().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reason_not_to_lead() {
    let folder = credentials();
    for api in ["http://127.0.0.1:1", "not an address", "http://"] {
        let mut lease = LeaseRecord::new(settings(api, folder.path().to_owned()));
        assert!(lease.read().await.is_err(), "for {api}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error = LeaseRecord::new(settings("http://127.0.0.1:1", empty.path().to_owned())).read().await.unwrap_err();
    assert!(error.to_string().contains("namespace"), "{error}");
}
