//! An orderer's administration: what is asked, how answers are read.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use opssc::client::net::{ClientTls, Endpoint, Tls};
use opssc::client::participation::{
    BlockId, ChannelList, ChannelStatus, ConsensusRelation, OrdererAdmin, Participation, ParticipationError,
};
use opssc::fabric::names::ChannelName;
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};

use super::support::{Case, Finding, agree, family, root, same};

pub(crate) fn orderer_admin() {
    family("orderer-admin", |case| match case.get("/expected/sent").as_bool() {
        Some(true) => exchange(case),
        Some(false) => nothing_sent(case),
        None => mutual_tls(case),
    });
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn block(name: &str) -> Vec<u8> {
    fs::read(root().join("orderer-admin/blocks").join(name)).unwrap()
}

/// What was asked for with the tool, or comes closest to a request that was made by hand.
enum Call {
    List,
    Channel(ChannelName),
    Join(ChannelName, Vec<u8>),
    Remove(ChannelName),
    Fetch(ChannelName, BlockId),
}

impl Call {
    fn of(case: &Case) -> Self {
        let command: Vec<&str> =
            case.get("/expected/cli/command").as_str().unwrap_or_default().split_whitespace().collect();
        let flag = |name: &str| command.iter().skip_while(|word| **word != name).nth(1).copied();
        let channel_of = || channel(flag("-c").expect("a channel"));
        match (command.get(2).copied(), case.get("/expected/request/method").as_str()) {
            (Some("list"), _) => flag("-c").map_or(Self::List, |name| Self::Channel(channel(name))),
            (Some("join"), _) => {
                let file = flag("-b").expect("a block");
                let name = file.rsplit('/').next().unwrap();
                Self::Join(channel_of(), if file.starts_with("<DIR>") { block(name) } else { b"hostname\n".to_vec() })
            }
            (Some("remove"), _) => Self::Remove(channel_of()),
            (Some("fetch"), _) => Self::Fetch(
                channel_of(),
                match flag("-b").expect("a block") {
                    "oldest" => BlockId::Oldest,
                    number => BlockId::Number(number.parse().unwrap()),
                },
            ),
            (_, Some("POST")) => Self::Join(channel("channel-one"), block("one.block")),
            (_, _) => Self::List,
        }
    }

    /// Makes the call; the answer as JSON.
    async fn make(&self, admin: &OrdererAdmin) -> Result<Value, ParticipationError> {
        Ok(match self {
            Self::List => shown_list(&admin.channels().await?),
            Self::Channel(channel) => admin.channel(channel).await?.as_ref().map_or(Value::Null, shown),
            Self::Join(channel, block) => shown(&admin.join(channel, block.clone()).await?),
            Self::Remove(channel) => {
                admin.remove(channel).await?;
                Value::Null
            }
            Self::Fetch(channel, id) => json!(admin.fetch(channel, *id).await?.encode_to_vec()),
        })
    }
}

fn shown_list(list: &ChannelList) -> Value {
    let names: Vec<_> = list.channels.iter().map(ChannelName::as_str).collect();
    json!({"system": list.system_channel, "channels": names})
}

fn shown(part: &Participation) -> Value {
    let relation = match &part.relation {
        ConsensusRelation::Consenter => "consenter",
        ConsensusRelation::Follower => "follower",
        other => panic!("{other:?}"),
    };
    let status = match &part.status {
        ChannelStatus::Active => "active",
        ChannelStatus::Onboarding => "onboarding",
        other => panic!("{other:?}"),
    };
    json!({"name": part.channel.as_str(), "consensusRelation": relation, "status": status, "height": part.height})
}

/// The recorded answer in the form of [`Call::make`].
fn expected(case: &Case, call: &Call) -> Value {
    let json = case.get("/expected/response/json");
    match call {
        Call::List => {
            let names: Vec<_> = json["channels"].as_array().into_iter().flatten().map(|item| &item["name"]).collect();
            json!({"system": json["systemChannel"], "channels": names})
        }
        Call::Channel(_) | Call::Join(..) => {
            let mut json = json.clone();
            json.as_object_mut().unwrap().remove("url");
            json
        }
        Call::Remove(_) => Value::Null,
        Call::Fetch(..) => json!(block("one.block")),
    }
}

fn exchange(case: &Case) -> Finding {
    let call = Call::of(case);
    let (received, outcome) = play(&call, case.bytes("response.http"));
    let received = received?;
    if case.text("/tool").contains("osnadmin") {
        request(case, &call, &received)?;
    }
    let status = case.get("/expected/response/status").as_u64().unwrap();
    let words = case.get("/expected/response/json/error").as_str().unwrap_or_default().to_owned();
    match (status, outcome) {
        (200..300, outcome) => same("answer", &outcome.map_err(|error| error.to_string())?, &expected(case, &call)),
        // Not being there is an answer to the question whether it is there.
        (404, Ok(Value::Null)) if matches!(call, Call::Channel(_)) => Ok(()),
        (404, Err(ParticipationError::NotFound { message, .. })) => same("words", &message, &words),
        (405, Err(ParticipationError::AlreadyJoined { message, .. })) if case.text("/id") == "join-twice" => {
            same("words", &message, &words)
        }
        (_, Err(ParticipationError::Refused { status: found, message, .. })) => {
            same("status", &u64::from(found), &status)?;
            same("words", &message, &words)
        }
        (_, outcome) => Err(format!("status {status} was read as {outcome:?}")),
    }
}

/// A request as it came over the wire.
struct Received {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let end = head_end(bytes).ok_or("a request without an end")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ').map(ToOwned::to_owned);
        let headers = lines.filter_map(|line| line.split_once(": "));
        Ok(Self {
            method: first.next().unwrap_or_default(),
            path: first.next().unwrap_or_default(),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: bytes[end..].to_vec(),
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The only part of a form: its headers and its content.
    fn part(&self) -> Result<(Vec<String>, Vec<u8>), String> {
        let kind = self.header("content-type").ok_or("no content type")?;
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").ok_or(kind)?;
        let rest = self.body.strip_prefix(format!("--{boundary}\r\n").as_bytes()).ok_or("no first boundary")?;
        let rest = rest.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes()).ok_or("no last boundary")?;
        let end = head_end(rest).ok_or("no headers of the part")?;
        let head = String::from_utf8_lossy(&rest[..end]);
        let headers = head.lines().filter(|line| !line.is_empty()).map(ToOwned::to_owned);
        Ok((headers.collect(), rest[end..].to_vec()))
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// That what came over the wire is what the tool sends.
fn request(case: &Case, call: &Call, received: &Received) -> Finding {
    same("method", &received.method.as_str(), &case.text("/expected/request/method"))?;
    same("path", &received.path.as_str(), &case.text("/expected/request/path"))?;
    same("host", &received.header("host").is_some(), &true)?;
    let Call::Join(_, block) = call else { return same("body", &received.body.len(), &0) };
    let (headers, content) = received.part()?;
    same("headers of the part", &json!(headers), case.get("/expected/request/first_part_headers"))?;
    same("the block as it was given", &(content == *block), &true)?;
    let theirs = Received::parse(&case.bytes("request.http"))?;
    same("part", &(headers, content), &theirs.part()?)
}

/// Makes the call to a listener that gives the recorded answer; what it heard, and what the call came to.
fn play(call: &Call, answer: Vec<u8>) -> (Result<Received, String>, Result<Value, ParticipationError>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let heard = hear(&mut stream);
        stream.write_all(&answer).unwrap();
        heard
    });
    let admin = OrdererAdmin::new("orderer0", &Endpoint { address, tls: None, server_name: None }).unwrap();
    let outcome = run(call.make(&admin));
    let heard = server.join().unwrap();
    (Received::parse(&heard), outcome)
}

/// Reads one request to its end.
fn hear(stream: &mut impl Read) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = head_end(&heard) {
            let length =
                Received::parse(&heard).unwrap().header("content-length").map_or(0, |text| text.parse().unwrap());
            if heard.len() >= end + length {
                return heard;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return heard,
            Ok(read) => heard.extend_from_slice(&buffer[..read]),
        }
    }
}

/// What the tool does not send, nobody is asked to take: there is no orderer at that address.
fn nothing_sent(case: &Case) -> Finding {
    let call = Call::of(case);
    let endpoint = Endpoint { address: "127.0.0.1:1".to_owned(), tls: None, server_name: None };
    match run(call.make(&OrdererAdmin::new("orderer0", &endpoint).unwrap())) {
        Err(ParticipationError::Unfit { .. }) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// An authority and a certificate for 127.0.0.1 that comes from it.
struct Side {
    authority: String,
    certificate: String,
    key: String,
}

impl Side {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { authority, certificate: leaf.pem(), key: key.serialize_pem() }
    }
}

/// Whether an orderer that wants client certificates takes ours, decides its authority.
fn mutual_tls(case: &Case) -> Finding {
    use rustls::pki_types::pem::PemObject as _;

    let own = Side::new();
    let client = if case.text("/id").contains("foreign") { &Side::new() } else { &own };
    let pem = |text: &str| rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(pem(&own.authority)).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![pem(&own.certificate)], PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, tcp);
        let heard = hear(&mut stream);
        if !heard.is_empty() {
            let body = r#"{"systemChannel":null,"channels":null}"#;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head.as_bytes()).unwrap();
        }
        heard
    });
    let tls = Tls {
        roots: Bytes::from(own.authority.clone()),
        client: Some(Arc::new(ClientTls::new(client.certificate.clone(), client.key.clone()).unwrap())),
    };
    let admin = OrdererAdmin::new("orderer0", &Endpoint { address, tls: Some(tls), server_name: None }).unwrap();
    let outcome = run(admin.channels());
    let heard = server.join().unwrap();
    let accepted = case.get("/expected/exit_code").as_i64() == Some(0);
    same("heard", &!heard.is_empty(), &accepted)?;
    agree(outcome, accepted).map(drop)
}
