//! The channel participation service, asked as administrators ask it.

mod system;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use prost::Message as _;
use serde_json::Value;

use super::{Chains, Orderer, answer_admin};
use crate::devnet::crypto::{NodeKind, OrganizationCrypto};
use crate::devnet::deliver::Feed as _;
use crate::devnet::genesis::{self, Member};
use crate::devnet::storage::{Log, Store};
use crate::fabric::config::BatchLimits;
use crate::fabric::identity::{Certificate, MspFolder, Signer as _, SigningIdentity};
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::Nonce;
use crate::pb::common::{Block, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader, Status};
use crate::runtime::Workers;

const BATCH: BatchLimits = BatchLimits {
    max_messages: 10,
    absolute_max_bytes: 1 << 20,
    preferred_max_bytes: 1 << 20,
    timeout: Duration::from_millis(1),
};

/// Two orderers, of which `first` is a consenter of every channel and `second` of none.
struct World {
    first: Arc<Orderer>,
    second: Arc<Orderer>,
    members: Vec<Member>,
    admin: SigningIdentity,
    peer: SigningIdentity,
    workers: Workers,
}

impl Drop for World {
    fn drop(&mut self) {
        self.workers.cancel();
    }
}

fn world(store: &Store) -> World {
    let folder = tempfile::tempdir().unwrap();
    let workers = Workers::new();
    let chains = Arc::new(Chains::new(store.clone(), workers.clone()));
    let crypto = OrganizationCrypto::generate(folder.path(), "org1.example.com").unwrap();
    let msp_id = MspId::parse("Org1MSP").unwrap();
    let msp = MspFolder::load(&msp_id, &crypto.msp_folder()).unwrap();
    let admin =
        SigningIdentity::load_msp(msp_id.clone(), &crypto.add_user("Admin", "admin").unwrap().join("msp")).unwrap();
    let node = crypto.add_node(NodeKind::Peer, "peer0").unwrap();
    let (certificate, key) = (node.certificate_pem.as_bytes(), node.key.pem().as_bytes());
    let peer = SigningIdentity::from_pem(msp_id.clone(), certificate, key).unwrap();
    let mut made = ["orderer0", "orderer1"].map(|host| {
        let node = crypto.add_node(NodeKind::Orderer, host).unwrap();
        let (certificate, key) = (node.certificate_pem.as_bytes(), node.key.pem().as_bytes());
        let signer = SigningIdentity::from_pem(msp_id.clone(), certificate, key).unwrap();
        let tls = Certificate::from_pem(node.tls_certificate_pem.as_bytes()).unwrap();
        let orderer = Arc::new(Orderer::new(host, Arc::new(signer), tls, Arc::clone(&chains)));
        (orderer, node.tls_certificate_pem)
    });
    let consenter = genesis::Orderer {
        host: "127.0.0.1".to_owned(),
        port: 7050,
        certificate_pem: String::new(),
        tls_certificate_pem: std::mem::take(&mut made[0].1),
    };
    let members = vec![Member { msp_id, msp, anchor: ("127.0.0.1".to_owned(), 7051), orderers: vec![consenter] }];
    let [(first, _), (second, _)] = made;
    World { first, second, members, admin, peer, workers }
}

impl World {
    fn block(&self, channel: &str) -> Block {
        genesis::block(&ChannelName::parse(channel).unwrap(), &self.members, &BATCH, Nonce([0; 24]))
    }
}

async fn ask(orderer: &Arc<Orderer>, request: Request<Full<Bytes>>) -> (StatusCode, String, String) {
    let answer = answer_admin(Arc::clone(orderer), request).await;
    let allow = answer.headers().get("allow").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    assert!(answer.headers().contains_key("x-request-id"));
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, allow, String::from_utf8_lossy(&body).into_owned())
}

fn request(method: Method, path: &str, content_type: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(format!("/participation/v1/{path}"));
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    request.body(Full::new(body.into())).unwrap()
}

fn form(method: Method, field: &str, content: &[u8]) -> Request<Full<Bytes>> {
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"config.block\"\r\n\r\n");
    let body = [head.as_bytes(), content, b"\r\n--b--\r\n"].concat();
    request(method, "channels", "multipart/form-data; boundary=b", body)
}

fn get(path: &str) -> Request<Full<Bytes>> {
    request(Method::GET, path, "", Bytes::new())
}

fn status(name: &str, relation: &str, status: &str, height: u64) -> Value {
    serde_json::json!({
        "name": name, "url": format!("/participation/v1/channels/{name}"), "consensusRelation": relation,
        "status": status, "height": height,
    })
}

#[tokio::test]
async fn channels_are_joined_listed_and_left() {
    let world = world(&Store::default());
    let block = world.block("channel-one");
    let bytes = block.encode_to_vec();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(ask(&world.first, get("channels")).await.2, "{\"systemChannel\":null,\"channels\":null}\n");
    // A follower has nobody to fetch blocks from yet.
    let (code, _, text) = ask(&world.second, form(Method::POST, "config-block", &bytes)).await;
    assert_eq!((code, json(&text)), (StatusCode::CREATED, status("channel-one", "follower", "onboarding", 0)));
    let (code, _, text) = ask(&world.first, form(Method::POST, "config-block", &bytes)).await;
    assert_eq!((code, json(&text)), (StatusCode::CREATED, status("channel-one", "consenter", "active", 1)));
    let (code, _, text) = ask(&world.second, get("channels/channel-one")).await;
    assert_eq!((code, json(&text)), (StatusCode::OK, status("channel-one", "follower", "active", 1)));
    let (code, allow, text) = ask(&world.first, form(Method::POST, "config-block", &bytes)).await;
    assert_eq!((code, allow.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "GET, DELETE"));
    assert_eq!(text, "{\"error\":\"cannot join: channel already exists\"}\n");
    for id in ["newest", "oldest", "config", "0", "-1"] {
        let answer = answer_admin(Arc::clone(&world.first), get(&format!("channels/channel-one/blocks/{id}"))).await;
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), bytes, "block {id}");
    }
    assert!(world.first.chain("channel-one").is_some());
    assert!(world.second.chain("channel-one").is_none(), "a follower serves nobody");
    let remove = || request(Method::DELETE, "channels/channel-one", "", Bytes::new());
    assert_eq!(ask(&world.first, remove()).await, (StatusCode::NO_CONTENT, String::new(), String::new()));
    let (code, _, text) = ask(&world.first, remove()).await;
    assert_eq!(
        (code, text.as_str()),
        (StatusCode::NOT_FOUND, "{\"error\":\"cannot remove: channel does not exist\"}\n")
    );
    let again = ask(&world.first, form(Method::POST, "config-block", &bytes)).await;
    assert_eq!(again.0, StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_fabrics_words() {
    let world = world(&Store::default());
    let block = world.block("channel-one");
    ask(&world.first, form(Method::POST, "config-block", &block.encode_to_vec())).await;
    let mut changed = world.block("other");
    changed.header.as_mut().unwrap().data_hash = Bytes::new();
    let mut bare = world.block("other");
    bare.metadata = None;
    let accept = |value: &str| {
        let mut request = get("channels");
        request.headers_mut().insert("accept", value.parse().unwrap());
        request
    };
    let plain = |method, path: &str| request(method, path, "", Bytes::new());
    for (request, code, expected) in [
        (
            form(Method::POST, "config-block", b"\xff\xffgarbage"),
            400,
            "cannot unmarshal file part config-block into a block",
        ),
        (form(Method::POST, "config-block", b""), 400, "invalid join block: block is not a config block"),
        (form(Method::POST, "configBlock", b""), 400, "form does not contains part key: config-block"),
        (form(Method::POST, "config-block", &changed.encode_to_vec()), 400, "Header.DataHash is different from"),
        (form(Method::POST, "config-block", &bare.encode_to_vec()), 400, "invalid block: does not have metadata"),
        (request(Method::POST, "channels", "a/b", ""), 400, "unsupported Content-Type: [a/b]"),
        (request(Method::POST, "channels", "multipart/form-data", ""), 400, "multipart: boundary is empty"),
        (form(Method::POST, "config-block", &vec![0; 2 << 20]), 400, "http: request body too large"),
        (form(Method::PUT, "config-update-envelope", b""), 400, "invalid config update envelope: bad header"),
        (plain(Method::PATCH, "channels"), 405, "invalid request method: PATCH"),
        (plain(Method::POST, "channels/channel-one"), 405, "invalid request method: POST"),
        (accept("text/plain"), 406, "response Content-Type is application/json only"),
        (get("channels/BAD"), 400, "invalid channel ID: 'BAD' contains illegal characters"),
        (get("channels/nope"), 404, "channel does not exist"),
        (get("channels/channel-one/blocks/99"), 404, "no such block number [99] in index"),
        (
            get("channels/channel-one/blocks/x"),
            400,
            "invalid block ID: 'x' not equal \\u003cnewest|oldest|config|(number)\\u003e",
        ),
        (get("elsewhere"), 404, "404 page not found"),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let (status, _, text) = ask(&world.first, request).await;
        assert_eq!(status.as_u16(), code, "{what}: {text}");
        assert!(text.contains(expected), "{what}: {text}");
    }
}

/// A message of no kind that matters, signed.
fn message(channel: &str, signer: &SigningIdentity) -> Envelope {
    signed(HeaderType::EndorserTransaction, channel, Bytes::from_static(b"data"), signer)
}

fn signed(kind: HeaderType, channel: &str, data: Bytes, signer: &SigningIdentity) -> Envelope {
    let channel_header =
        ChannelHeader { r#type: kind as i32, channel_id: channel.to_owned(), ..ChannelHeader::default() };
    let signature_header = SignatureHeader { creator: signer.creator().clone(), nonce: Bytes::from_static(b"once") };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    let payload: Bytes = Payload { header: Some(header), data }.encode_to_vec().into();
    let signature = signer.sign_now(&payload);
    Envelope { payload, signature }
}

#[tokio::test]
async fn messages_are_ordered_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(&Store::at(folder.path().to_owned()));
    let first = world.block("ch");
    world.first.join(first.clone()).unwrap();
    let broadcast = async |envelope| {
        let answer = world.first.broadcast(envelope).await;
        (answer.status(), answer.info)
    };
    assert_eq!(broadcast(message("ch", &world.admin)).await, (Status::Success, String::new()));
    let refused = |text: &str| (Status::BadRequest, text.to_owned());
    assert_eq!(broadcast(message("other", &world.admin)).await, refused("channel does not exist"));
    let (status, text) = broadcast(message("ch", &world.peer)).await;
    assert_eq!(status, Status::Forbidden, "{text}");
    assert!(text.ends_with("permission denied"), "{text}");
    world.first.faults().clock(20 * 365 * 24 * 3_600_000);
    assert_eq!(broadcast(message("ch", &world.admin)).await, refused("broadcast client identity expired"));

    let chain = world.first.chain("ch").unwrap();
    chain.blocks().watch().wait_for(|height| *height == 2).await.unwrap();
    let newest = chain.blocks().last();
    // Whoever sees a block finds it on disk.
    let (_, records) = Log::open(folder.path().join("channels/ch.blocks")).unwrap();
    assert_eq!(records, [first.encode_to_vec(), newest.encode_to_vec()]);
}
