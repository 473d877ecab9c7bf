//! The status page: three files that are a part of the program. There is nothing of the network in them; their script
//! asks the API for it, with the token where one is needed.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;

const INDEX: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/page.css");
const SCRIPT: &str = include_str!("../page/page.js");

type Part = ([(HeaderName, HeaderValue); 1], &'static str);

fn part(kind: &'static str, text: &'static str) -> Part {
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text)
}

pub(super) fn page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || part("text/html; charset=utf-8", INDEX)))
        .route("/page.css", get(async || part("text/css; charset=utf-8", STYLE)))
        .route("/page.js", get(async || part("text/javascript; charset=utf-8", SCRIPT)))
}
