//! The notifier against WebSocket servers on this machine.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;
use crate::agent::progress::{Happening, Step, Task};
use crate::runtime::Workers;

fn progress(proposal: &str) -> Progress {
    Progress {
        organization: "Org1MSP".parse().unwrap(),
        proposal: proposal.to_owned(),
        task: Task::Deploy,
        peer: None,
        happening: Happening::Started(Step::Commit),
    }
}

/// A notifier that runs, where its reports go in, and what stops it.
fn started(url: &str, authorities: Option<&Path>) -> (Arc<Queue>, Arc<Metrics>, Workers) {
    let metrics = Arc::<Metrics>::default();
    let notifier = Notifier::new(url, authorities, Arc::clone(&metrics)).unwrap();
    let (queue, workers) = (notifier.queue(), Workers::new());
    workers.spawn_to_end("notifier", notifier.run(workers.token()));
    (queue, metrics, workers)
}

async fn stop(workers: Workers) {
    workers.cancel();
    workers.finished().await.unwrap();
}

async fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://localhost:{}/path", listener.local_addr().unwrap().port());
    (listener, url)
}

#[tokio::test]
async fn messages_arrive_in_their_order_and_after_the_server_was_away() {
    let (listener, url) = listening().await;
    let (queue, metrics, workers) = started(&url, None);
    for id in ["1", "2"] {
        queue.report(&progress(id));
    }
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..2 {
        heard.push(socket.next().await.unwrap().unwrap().into_text().unwrap().to_string());
    }
    let expected = r#"{"type":"log","org":"Org1MSP","message":"[START] Commit chaincode","proposalID":"1"}"#;
    assert_eq!(heard[0], expected);
    assert!(heard[1].contains("\"proposalID\":\"2\""), "{heard:?}");
    // It closes in good order; the notifier comes again by itself.
    socket.close(None).await.unwrap();
    drop(socket);
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    queue.report(&progress("3"));
    assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains("\"proposalID\":\"3\""));
    stop(workers).await;
    assert!(metrics.text().contains("opssc_notifications_sent_total 3\n"), "{}", metrics.text());
}

#[tokio::test]
async fn a_server_that_is_no_websocket_is_tried_again() {
    let (listener, url) = listening().await;
    let (queue, _, workers) = started(&url, None);
    queue.report(&progress("kept"));
    // One hangs up, one speaks something else.
    drop(listener.accept().await.unwrap());
    let (mut other, _) = listener.accept().await.unwrap();
    let mut asked = [0; 16];
    other.read_exact(&mut asked).await.unwrap();
    other.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    drop(other);
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains("kept"));
    stop(workers).await;
}

#[tokio::test]
async fn reports_never_wait_and_the_newest_are_kept() {
    let metrics = Arc::<Metrics>::default();
    let notifier = Notifier::new("ws://127.0.0.1:1", None, Arc::clone(&metrics)).unwrap();
    let queue = notifier.queue();
    for number in 0..QUEUE + 5 {
        queue.report(&progress(&number.to_string()));
    }
    assert!(metrics.text().contains("opssc_notifications_dropped_total 5\n"), "{}", metrics.text());
    assert!(queue.next().await.contains("\"proposalID\":\"5\""));
    queue.report(&progress("last"));
    queue.take_back("no room".to_owned());
    assert!(queue.next().await.contains("\"proposalID\":\"6\""), "what was taken back has lost its place");
}

/// The open connection to a server that is there and does nothing, and the end that it has of it.
async fn opened(room: usize) -> (Socket, tokio::io::DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(room);
    let wire: Box<dyn dial::Wire> = Box::new(ours);
    (WebSocketStream::from_raw_socket(wire, Role::Client, None).await, theirs)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_or_keeps_silent_is_left_and_nothing_is_lost() {
    let notifier = Notifier::new("ws://127.0.0.1:1", None, Arc::default()).unwrap();
    let queue = notifier.queue();
    queue.report(&progress("kept"));
    let (socket, _theirs) = opened(16).await;
    let (begun, (sent, reason)) = (Instant::now(), notifier.send_over(socket).await);
    assert_eq!((sent, reason.as_str()), (0, "the server took nothing for 10 s"));
    assert_eq!(begun.elapsed(), SEND);
    // It is probed once, and given as long again to answer.
    let (socket, _theirs) = opened(64 * 1024).await;
    let (begun, (sent, reason)) = (Instant::now(), notifier.send_over(socket).await);
    assert_eq!((sent, reason.as_str()), (1, "the server has kept silent for 30 s"), "it was there to be sent again");
    assert_eq!(begun.elapsed(), PROBE * 2);
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_of_the_named_authority_only() {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    std::fs::write(&authorities, pair.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, url) = listening().await;
    let url = url.replace("ws://", "wss://");

    let (_, _, strangers) = started(&url, None);
    let refused = acceptor.accept(listener.accept().await.unwrap().0).await;
    assert!(refused.is_err(), "a certificate that nobody vouches for");
    stop(strangers).await;

    let (queue, _, workers) = started(&url, Some(&authorities));
    queue.report(&progress("secret"));
    let stream = loop {
        // The stranger may have come a second time.
        if let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await {
            break stream;
        }
    };
    let mut socket = accept_async(stream).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains("secret"));
    stop(workers).await;
}

#[test]
fn addresses_are_checked_and_shown_without_their_secrets() {
    let server = Server::new("wss://user:hunter2@host.example.com:5000/x?token=hunter2", None).unwrap();
    assert_eq!(server.to_string(), "wss://host.example.com:5000");
    for url in ["http://localhost", "ws://", "ws://:5000", "wss://a b", ""] {
        assert!(Server::new(url, None).is_err(), "for {url:?}");
    }
    assert!(Server::new("wss://localhost", Some(Path::new("/nowhere"))).is_err());
}
