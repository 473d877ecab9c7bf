//! Spans that a collector of OpenTelemetry gets from an agent, and collectors that take none.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use opssc::agent::check::{self, Verdict};
use opssc::agent::config::Settings;
use opssc::opssc::chaincode_ops::Status as Proposed;
use opssc::runtime::CancellationToken;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::{Body, Service, StdError, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::process::Process;
use super::tls;
use super::world::{World, proposal, within};

/// What is read of `opentelemetry/proto/collector/trace/v1/trace_service.proto` and what it imports.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct Exported {}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref().map(|value| value.text.as_str())
}

/// A collector that takes everything, or refuses it.
#[derive(Clone)]
struct Collector {
    refuses: bool,
    got: Arc<Mutex<Vec<ResourceSpans>>>,
    tokens: Arc<Mutex<Vec<String>>>,
    asked: watch::Sender<usize>,
}

impl Collector {
    fn new(refuses: bool) -> Self {
        Self { refuses, got: Arc::default(), tokens: Arc::default(), asked: watch::Sender::new(0) }
    }

    async fn start(refuses: bool) -> (Self, SocketAddr) {
        let collector = Self::new(refuses);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Server::builder().add_service(collector.clone());
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    /// Serves with TLS until told to stop. Whoever comes after that waits in the queue of `listener`.
    fn serve(&self, files: &tls::Files, listener: &std::net::TcpListener) -> Serving {
        let read = |path: &Path| std::fs::read(path).unwrap();
        let identity = Identity::from_pem(read(&files.certificate), read(&files.key));
        let serving =
            Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap().add_service(self.clone());
        let incoming = TcpListenerStream::new(TcpListener::from_std(listener.try_clone().unwrap()).unwrap());
        let stop = CancellationToken::new();
        let ended = tokio::spawn(serving.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned()));
        Serving { stop, ended }
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        got.iter().flat_map(|spans| &spans.scope_spans).flat_map(|spans| spans.spans.clone()).collect()
    }
}

/// A collector at work.
struct Serving {
    stop: CancellationToken,
    ended: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Serving {
    /// Hangs up on everybody.
    async fn stop(self) {
        self.stop.cancel();
        within("the end of the collector", self.ended).await.unwrap().unwrap();
    }
}

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl<B> Service<http::Request<B>> for Collector
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<Exported, Export>::default()).unary(service, request).await) })
    }
}

impl UnaryService<Export> for Collector {
    type Response = Exported;
    type Future = std::future::Ready<Result<Response<Exported>, Status>>;

    fn call(&mut self, request: Request<Export>) -> Self::Future {
        let token = request.metadata().get("authorization").and_then(|token| token.to_str().ok());
        self.tokens.lock().unwrap().extend(token.map(str::to_owned));
        self.got.lock().unwrap().extend(request.into_inner().resource_spans);
        self.asked.send_modify(|asked| *asked += 1);
        std::future::ready(if self.refuses {
            Err(Status::permission_denied("not you"))
        } else {
            Ok(Response::new(Exported {}))
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_the_spans_of_a_task_with_its_steps_and_peers() {
    let world = World::start().await;
    let second = world.agent(1).await;
    let (collector, address) = Collector::start(false).await;
    let endpoint = format!("http://{address}");
    let mut agent = Process::start(&world.environment(
        0,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
        ],
    ));
    agent.until(&["listening", "chaincode-ops"]).await;
    world.propose(&proposal("p", "asset", 1)).await;
    // The same is in the log, whatever the form.
    agent.until(&["event received", r#""proposal":"p""#, r#""channel":"mychannel""#, r#""chaincode":"asset""#]).await;
    let installed = [
        "step finished",
        r#""proposal":"p""#,
        r#""channel":"mychannel""#,
        r#""chaincode":"asset""#,
        r#""step":"Install chaincode""#,
        r#"{"peer":"peer0.org1.example.com","name":"peer"}"#,
    ];
    agent.until(&installed).await;
    world.until("p", Proposed::Committed).await;
    agent.until(&["step finished", "Acknowledge"]).await;
    let (code, log) = agent.terminate().await;
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("hunter2")), "{log:#?}");

    let spans = collector.spans();
    let named = |name: &str, key: &str, wanted: &str| {
        let found = spans.iter().find(|span| span.name == name && value(&span.attributes, key) == Some(wanted));
        found.unwrap_or_else(|| panic!("no {name} with {key} {wanted} in {spans:#?}")).clone()
    };
    let task = named("task", "task", "prepareToDeploy");
    let told = ["proposal", "channel", "chaincode"].map(|key| value(&task.attributes, key));
    assert_eq!(told, [Some("p"), Some("mychannel"), Some("asset")]);
    let step = named("step", "step", "Install chaincode");
    assert_eq!(step.parent, task.id);
    let peer = named("peer", "peer", "peer0.org1.example.com");
    assert_eq!(peer.parent, step.id);
    let resource = collector.got.lock().unwrap()[0].resource.clone().expect("a resource");
    let told = ["service.name", "service.version", "fabric.msp_id", "deployment.environment"];
    assert_eq!(
        told.map(|key| value(&resource.attributes, key)),
        [Some("opssc-agent"), Some(env!("CARGO_PKG_VERSION")), Some("Org1MSP"), Some("test")]
    );
    assert!(collector.tokens.lock().unwrap().iter().all(|token| token == "Bearer hunter2"));
    assert!(!collector.tokens.lock().unwrap().is_empty());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_that_refuse_or_hang_hold_nothing_up_and_are_told_once() {
    let world = World::start().await;
    let (collector, address) = Collector::start(true).await;
    let refusing = format!("http://{address}");
    // Its connections are made by the system and never looked at.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", silent.local_addr().unwrap());
    let soon = ("OTEL_BSP_SCHEDULE_DELAY", "20");
    let mut agents = Vec::new();
    for (member, endpoint) in [(0, &refusing), (1, &hanging)] {
        let environment = world.environment(member, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), soon]);
        let mut agent = Process::start(&environment);
        agent.until(&["listening", "chaincode-ops"]).await;
        agents.push(agent);
    }
    let mut lines = Vec::new();
    let (mut asked, mut count) = (collector.asked.subscribe(), 0);
    // As often as it takes for several batches to be refused.
    while *asked.borrow_and_update() < 2 {
        count += 1;
        let (id, chaincode) = (format!("p{count}"), format!("asset{count}"));
        world.propose(&proposal(&id, &chaincode, 1)).await;
        world.until(&id, Proposed::Committed).await;
        within("a batch", asked.wait_for(|asked| *asked > 0)).await.unwrap();
    }
    for agent in agents {
        let (code, log) = agent.terminate().await;
        assert_eq!(code, Some(0), "{log:#?}");
        lines.push(log);
    }
    let told = |line: &&String| line.contains("the collector takes no spans");
    assert_eq!(lines[0].iter().filter(told).count(), 1, "{:#?}", lines[0]);
    let theirs = |line: &String| line.contains(r#""target":"opentelemetry"#);
    assert!(!lines.iter().flatten().any(theirs), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_with_tls_gets_spans_again_after_it_was_away() {
    let world = World::start().await;
    let second = world.agent(1).await;
    let files = tls::files(world.folder.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let collector = Collector::new(false);
    let serving = collector.serve(&files, &listener);
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", files.authority.to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    assert_eq!(checked(&world, &settings).await, (Verdict::Good, "takes spans".to_owned()));
    let without = checked(&world, &settings[..1]).await;
    assert_eq!(without.0, Verdict::Warning, "nobody vouches for it: {}", without.1);

    let mut agent = Process::start(&world.environment(0, &settings));
    agent.until(&["listening", "chaincode-ops"]).await;
    let mut count = 0;
    let mut task = async || {
        count += 1;
        world.propose(&proposal(&format!("p{count}"), &format!("asset{count}"), 1)).await;
        world.until(&format!("p{count}"), Proposed::Committed).await;
    };
    let mut asked = collector.asked.subscribe();
    asked.mark_unchanged();
    task().await;
    within("spans", asked.changed()).await.unwrap();
    serving.stop().await;
    task().await;
    agent.until(&["the collector takes no spans"]).await;
    assert_eq!(checked(&world, &settings).await.0, Verdict::Warning);

    let serving = collector.serve(&files, &listener);
    let tasks = async {
        loop {
            task().await;
        }
    };
    // As many as it takes for one of them to fall into a time in which the collector is found again.
    tokio::select! {
        _ = agent.until(&["the collector takes spans again"]) => {}
        () = tasks => {}
    }
    assert_eq!(agent.terminate().await.0, Some(0));
    serving.stop().await;
    second.stop().await;
}

/// What a check says about the collector.
async fn checked(world: &World, settings: &[(&'static str, &str)]) -> (Verdict, String) {
    let environment = world.environment(0, settings);
    let settings = Settings::from_lookup(|name| environment.get(name).cloned()).unwrap();
    let files = check::offline(&settings);
    assert!(files.iter().any(|it| it.subject == "collector's settings" && it.verdict == Verdict::Good), "{files:#?}");
    let findings = within("the check", check::online(&settings, &world.members[0].client)).await;
    let found = findings.iter().find(|finding| finding.subject.starts_with("collector https://127.0.0.1:"));
    let found = found.unwrap_or_else(|| panic!("no collector in {findings:#?}"));
    (found.verdict, found.what.clone())
}
