//! The channel participation service: what an orderer's administrator asks over HTTP.
//!
//! A module of its own because it is about paths, methods, forms and words; what happens to channels is in
//! [`participation`](super::participation).
//!
//! Does not ask who calls: the listener lets only holders of a certificate of the organization's TLS authority in.
//!
//! Source: Fabric 3.1.5 `orderer/common/channelparticipation/restapi.go`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use prost::Message;
use ring::rand::SecureRandom as _;
use serde::Serialize;

use super::multipart;
use super::participation::{
    CHANNELS, Orderer, Refused, channel_of_update, check_block_id, check_channel_id, check_join_block,
};
use crate::fabric::names::hex;
use crate::pb::common::{Block, Envelope};

/// Larger requests are refused, as with Fabric's default.
const MAX_BODY_BYTES: usize = 1 << 20;
const BASE: &str = "/participation/v1/";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

type Answer = Response<Full<Bytes>>;

/// What a path names.
enum Resource {
    Base,
    Channels,
    Channel(String),
    Block(String, String),
}

impl Resource {
    fn parse(path: &str) -> Option<Self> {
        if path == BASE {
            return Some(Self::Base);
        }
        if path == CHANNELS {
            return Some(Self::Channels);
        }
        let rest = path.strip_prefix(CHANNELS)?.strip_prefix('/')?;
        let parts: Vec<_> = rest.split('/').collect();
        match parts[..] {
            [channel] if !channel.is_empty() => Some(Self::Channel(channel.to_owned())),
            [channel, "blocks", block] if !channel.is_empty() && !block.is_empty() => {
                Some(Self::Block(channel.to_owned(), block.to_owned()))
            }
            _ => None,
        }
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Block(..) => "GET",
            Self::Channels => "GET, POST, PUT",
            Self::Channel(_) => "GET, DELETE",
        }
    }
}

/// Answers one request.
pub(crate) async fn answer<B>(orderer: Arc<Orderer>, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let request_id = request.headers().get(&REQUEST_ID).cloned().unwrap_or_else(new_request_id);
    let mut answer = route(&orderer, request).await;
    answer.headers_mut().insert(REQUEST_ID, request_id);
    answer
}

fn new_request_id() -> HeaderValue {
    let mut bytes = [0; 16];
    // Without randomness all requests have one name, which harms nobody.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    let text = hex(&bytes);
    let text = format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]);
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

async fn route<B>(orderer: &Orderer, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(resource) = Resource::parse(request.uri().path()) else { return not_found() };
    let method = request.method().clone();
    match (&method, &resource) {
        (&Method::GET, Resource::Base) => {
            let mut answer = answer_with(StatusCode::FOUND, "text/html; charset=utf-8", Bytes::new());
            answer.headers_mut().insert(LOCATION, HeaderValue::from_static(CHANNELS));
            answer
        }
        (_, Resource::Base) => with_allow(answer_with(StatusCode::METHOD_NOT_ALLOWED, "", Bytes::new()), "GET"),
        (&Method::POST | &Method::PUT, Resource::Channels) if !is_form(&request) => {
            let types: Vec<_> = content_types(&request);
            error(StatusCode::BAD_REQUEST, format!("unsupported Content-Type: [{}]", types.join(" ")))
        }
        (&Method::GET, _)
        | (&Method::POST | &Method::PUT, Resource::Channels)
        | (&Method::DELETE, Resource::Channel(_)) => {
            if !accepts_json(&request) {
                return error(StatusCode::NOT_ACCEPTABLE, "response Content-Type is application/json only");
            }
            act(orderer, method, resource, request).await
        }
        _ => with_allow(
            error(StatusCode::METHOD_NOT_ALLOWED, format!("invalid request method: {method}")),
            resource.methods(),
        ),
    }
}

async fn act<B>(orderer: &Orderer, method: Method, resource: Resource, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Resource::Channel(channel) | Resource::Block(channel, _) = &resource
        && let Err(text) = check_channel_id(channel)
    {
        return error(StatusCode::BAD_REQUEST, format!("invalid channel ID: {text}"));
    }
    match resource {
        Resource::Channels if method == Method::GET => list(orderer),
        Resource::Channels if method == Method::POST => join(orderer, request).await,
        Resource::Channels | Resource::Base => update(orderer, request).await,
        Resource::Channel(channel) if method == Method::DELETE => match orderer.remove(&channel) {
            Ok(()) => answer_with(StatusCode::NO_CONTENT, "", Bytes::new()),
            Err(refused) => {
                let text = format!("cannot remove: {refused}");
                match refused {
                    Refused::SystemChannel => with_allow(error(StatusCode::METHOD_NOT_ALLOWED, text), "GET"),
                    Refused::Unknown => error(StatusCode::NOT_FOUND, text),
                    _ => error(StatusCode::BAD_REQUEST, text),
                }
            }
        },
        Resource::Channel(channel) => match orderer.status(&channel) {
            Ok(status) => uncached(json(StatusCode::OK, &status)),
            Err(refused) => error(StatusCode::NOT_FOUND, refused),
        },
        Resource::Block(channel, id) => {
            if let Err(text) = check_block_id(&id) {
                return error(StatusCode::BAD_REQUEST, format!("invalid block ID: {text}"));
            }
            match orderer.block(&channel, &id) {
                Ok(block) => {
                    uncached(answer_with(StatusCode::OK, "application/octet-stream", block.encode_to_vec().into()))
                }
                Err(refused) => error(StatusCode::NOT_FOUND, refused),
            }
        }
    }
}

#[derive(Serialize)]
struct List {
    #[serde(rename = "systemChannel")]
    system_channel: Option<Short>,
    channels: Option<Vec<Short>>,
}

#[derive(Serialize)]
struct Short {
    name: String,
    url: String,
}

fn list(orderer: &Orderer) -> Answer {
    let short = |name: String| Short { url: format!("{CHANNELS}/{name}"), name };
    let channels: Vec<_> = orderer.channels().into_iter().map(short).collect();
    let system_channel = orderer.system_channel().map(|name| short(name.to_owned()));
    let list = List { system_channel, channels: (!channels.is_empty()).then_some(channels) };
    uncached(json(StatusCode::OK, &list))
}

async fn join<B>(orderer: &Orderer, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let block: Block = match form(request, "config-block", "a block").await {
        Ok(block) => block,
        Err(text) => return error(StatusCode::BAD_REQUEST, text),
    };
    if let Err(text) = check_join_block(&block) {
        return error(StatusCode::BAD_REQUEST, format!("invalid join block: {text}"));
    }
    match orderer.join(block) {
        Ok(status) => created(&status.url, &status),
        Err(refused) => {
            let text = format!("cannot join: {refused}");
            match refused {
                Refused::SystemChannel => with_allow(error(StatusCode::METHOD_NOT_ALLOWED, text), "GET"),
                Refused::Exists => with_allow(error(StatusCode::METHOD_NOT_ALLOWED, text), "GET, DELETE"),
                _ => error(StatusCode::BAD_REQUEST, text),
            }
        }
    }
}

async fn update<B>(orderer: &Orderer, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let envelope: Envelope = match form(request, "config-update-envelope", "an envelope").await {
        Ok(envelope) => envelope,
        Err(text) => return error(StatusCode::BAD_REQUEST, text),
    };
    let channel = match channel_of_update(&envelope) {
        Ok(channel) => channel,
        Err(text) => return error(StatusCode::BAD_REQUEST, format!("invalid config update envelope: {text}")),
    };
    match orderer.update(&channel, envelope).await {
        Ok(status) => created(&status.url, &status),
        Err(refused) => {
            let status = match refused {
                Refused::Unknown => StatusCode::METHOD_NOT_ALLOWED,
                Refused::NotReady => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_REQUEST,
            };
            error(status, format!("cannot update: {refused}"))
        }
    }
}

/// The one file of a form, decoded.
async fn form<M, B>(request: Request<B>, key: &str, what: &str) -> Result<M, String>
where
    M: Message + Default,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let unread = |text: &str| format!("cannot read form from request body: {text}");
    let content_type = content_types(&request).join(" ");
    let boundary = multipart::boundary(&content_type).ok_or_else(|| unread("multipart: boundary is empty"))?;
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|_| unread("http: request body too large"))?.to_bytes();
    let parts = multipart::parts(&body, &boundary).ok_or_else(|| unread("multipart: NextPart: EOF"))?;
    let file = parts
        .iter()
        .find(|part| part.is_file && part.name == key)
        .ok_or_else(|| format!("form does not contains part key: {key}"))?;
    if parts.iter().any(|part| part.name != key || !part.is_file) {
        return Err("form contains too many parts".to_owned());
    }
    M::decode(file.content.clone()).map_err(|_| {
        format!("cannot unmarshal file part {key} into {what}: proto: cannot parse invalid wire-format data")
    })
}

fn content_types<B>(request: &Request<B>) -> Vec<String> {
    let values = request.headers().get_all(CONTENT_TYPE).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn is_form<B>(request: &Request<B>) -> bool {
    content_types(request).iter().any(|value| value.contains("multipart/form-dat"))
}

fn accepts_json<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let accept = String::from_utf8_lossy(accept);
    accept.is_empty() || ["application/json", "application/*", "*/*"].iter().any(|kind| accept.contains(kind))
}

fn answer_with(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    if !content_type.is_empty() {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    answer
}

/// Written as Go writes it: a line, in which what could be markup is escaped.
fn json(status: StatusCode, content: &impl Serialize) -> Answer {
    // Texts, numbers and lists always have a notation.
    let text = serde_json::to_string(content).unwrap_or_default();
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    answer_with(status, "application/json", format!("{text}\n").into())
}

fn error(status: StatusCode, text: impl std::fmt::Display) -> Answer {
    #[derive(Serialize)]
    struct Failure {
        error: String,
    }
    json(status, &Failure { error: text.to_string() })
}

fn created(url: &str, content: &impl Serialize) -> Answer {
    let mut answer = json(StatusCode::CREATED, content);
    if let Ok(url) = HeaderValue::from_str(url) {
        answer.headers_mut().insert(LOCATION, url);
    }
    answer
}

fn uncached(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn with_allow(mut answer: Answer, methods: &'static str) -> Answer {
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn not_found() -> Answer {
    let mut answer =
        answer_with(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", Bytes::from_static(b"404 page not found\n"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
