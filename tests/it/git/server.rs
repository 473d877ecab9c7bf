//! A git server over HTTPS on loopback, for tests: TLS and accounts are ours, what git says is `git http-backend`'s.
//!
//! A module of its own because the agent's tests fetch from it too. Each server has a certificate authority of its own, a
//! port that the system chose, and keeps a list of what was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opssc::source::git::{Git, GitBuilder, Rewrites};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// How a server behaves.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// User and password that every request must show.
    pub(crate) account: Option<(String, String)>,
    /// Settings of git's, as in `uploadpack.allowFilter`.
    pub(crate) config: Vec<(&'static str, &'static str)>,
    /// Speaks the first version of the protocol only.
    pub(crate) old: bool,
    /// Changes bytes of what git says, in other places with each number.
    pub(crate) damage: Option<Arc<AtomicU64>>,
    /// Answers of its own, by path, without git.
    pub(crate) answers: HashMap<String, Answer>,
}

/// An answer without git.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A redirect to there.
    Redirect(String),
    /// A status.
    Status(u16),
    /// This body as git's first answer, which then never ends.
    Endless(Bytes),
    /// This body as git's first answer.
    Body(Bytes),
}

/// A server; ends when dropped.
pub(crate) struct GitServer {
    address: SocketAddr,
    ca: String,
    asked: Arc<Mutex<Vec<String>>>,
    worker: JoinHandle<()>,
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl GitServer {
    /// Serves the repositories in `root`, which lie there as `NAME.git`.
    pub(crate) async fn start(root: &Path, behaviour: Behaviour) -> Self {
        let (ca, tls) = certificates();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { root: root.to_owned(), behaviour, asked: Arc::clone(&asked) });
        let worker = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(shared.answer(request).await) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, ca, asked, worker }
    }

    /// The certificate authority, in PEM.
    pub(crate) fn ca(&self) -> &str {
        &self.ca
    }

    /// The rule that sends repositories of `host` here.
    pub(crate) fn rewrite(&self, host: &str) -> String {
        format!("https://{host}/=https://localhost:{}/", self.address.port())
    }

    /// A client that finds `git.example.com` here and keeps its files in `folder`.
    pub(crate) fn client(&self, folder: &Path) -> GitBuilder {
        let rewrites = Rewrites::parse(&self.rewrite("git.example.com")).unwrap();
        Git::builder(folder).roots(self.ca.clone()).rewrites(rewrites)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Method, path, and with `+auth` whether an account was shown, of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Shared {
    root: PathBuf,
    behaviour: Behaviour,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let mark = if shown.is_some() { "+auth" } else { "" };
        self.asked.lock().unwrap().push(format!("{} {path}{mark}", request.method()));
        match self.behaviour.answers.get(&path) {
            Some(Answer::Redirect(to)) => {
                let to = match request.uri().query() {
                    Some(query) => format!("{to}?{query}"),
                    None => to.clone(),
                };
                return Response::builder().status(302).header("location", to).body(Body::empty()).unwrap();
            }
            Some(Answer::Status(status)) => {
                return Response::builder().status(*status).body(Body::empty()).unwrap();
            }
            Some(Answer::Endless(body)) => return advertisement(Body { whole: Some(body.clone()), ends: false }),
            Some(Answer::Body(body)) => return advertisement(Body { whole: Some(body.clone()), ends: true }),
            None => {}
        }
        if let Some((user, password)) = &self.behaviour.account {
            let wanted = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
            if shown.as_deref() != Some(wanted.as_str()) {
                let refused = Response::builder().status(401).header("www-authenticate", "Basic realm=\"git\"");
                return refused.body(Body::empty()).unwrap();
            }
        }
        self.backend(request, &path).await
    }

    /// Git's own program answers.
    async fn backend(&self, request: Request<Incoming>, path: &str) -> Response<Body> {
        let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let mut command = Command::new("git");
        command
            .arg("http-backend")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("REQUEST_METHOD", request.method().as_str())
            .env("PATH_INFO", path)
            .env("QUERY_STRING", request.uri().query().unwrap_or_default())
            .env("CONTENT_TYPE", header("content-type"))
            .env("REMOTE_ADDR", "127.0.0.1");
        if !self.behaviour.old {
            command.env("GIT_PROTOCOL", header("git-protocol"));
        }
        let safe = [("safe.directory", "*")];
        let config: Vec<_> = safe.iter().chain(&self.behaviour.config).collect();
        command.env("GIT_CONFIG_COUNT", config.len().to_string());
        for (number, (key, value)) in config.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        command.env("CONTENT_LENGTH", body.len().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut program = command.spawn().unwrap();
        let mut input = program.stdin.take().unwrap();
        let written = async move {
            let _ = input.write_all(&body).await;
        };
        let (output, ()) = tokio::join!(program.wait_with_output(), written);
        let output = Bytes::from(output.unwrap().stdout);
        let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_default();
        let mut response = Response::builder();
        for line in String::from_utf8_lossy(&output[..end]).lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("status") {
                response = response.status(value[..3].parse::<u16>().unwrap());
            } else {
                response = response.header(name, value);
            }
        }
        let mut body = output.slice((end + 4).min(output.len())..);
        if let Some(seed) = &self.behaviour.damage {
            body = damaged(&body, seed.fetch_add(1, Ordering::Relaxed));
        }
        response.body(Body { whole: Some(body), ends: true }).unwrap()
    }
}

/// `bytes` with a few of them changed, cut off, or in there twice.
fn damaged(bytes: &[u8], seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap()
    };
    let mut bytes = bytes.to_vec();
    // Some answers stay as they are, so that later ones are damaged too.
    if bytes.is_empty() || random(3) == 0 {
        return Bytes::from(bytes);
    }
    for _ in 0..=random(3) {
        let at = random(bytes.len());
        match random(4) {
            0 => bytes.truncate(at.max(1)),
            1 => {
                let end = (at + random(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            2 => bytes[at] = [0, 0xFF, b'0', b'\n', b' '][random(5)],
            _ => bytes[at] ^= 1 << random(8),
        }
    }
    Bytes::from(bytes)
}

fn advertisement(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/x-git-upload-pack-advertisement").body(body).unwrap()
}

/// A body that may never end.
pub(crate) struct Body {
    whole: Option<Bytes>,
    ends: bool,
}

impl Body {
    fn empty() -> Self {
        Self { whole: None, ends: true }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        match (self.whole.take(), self.ends) {
            (Some(bytes), _) => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes)))),
            (None, true) => std::task::Poll::Ready(None),
            // Nothing wakes it: the client has to end this.
            (None, false) => std::task::Poll::Pending,
        }
    }
}

/// A certificate authority, in PEM, and TLS for `localhost` by it.
fn certificates() -> (String, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&server_key, &issuer).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(server_key.serialize_der()).unwrap())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (ca.pem(), tls)
}
