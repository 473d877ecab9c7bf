//! Calls and messages that go wrong as the node's switches say.
//!
//! A module of its own because it stands between the listener and all services, and knows nothing of either: it answers
//! late or not at all, or hurts the bytes on their way out.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use tonic::Status;
use tonic::body::Body;

use super::faults::Faults;

/// The head of a gRPC message: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;

/// Answers a call by `services`, unless a switch says otherwise.
pub(super) async fn call<S>(
    services: S,
    faults: Faults,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    faults.before_call().await;
    if let Some(code) = faults.take_failure() {
        return Ok(Status::new(code, "this node was told to fail").into_http());
    }
    let response = services.call(request).await?;
    // What ends with its headers has no message that could go wrong, and must go on ending there.
    if response.body().is_end_stream() {
        return Ok(response);
    }
    Ok(response.map(|body| messages(body, faults)))
}

/// What becomes of a call from one node to another that needs no connection, because both are in one process.
pub(super) async fn between_nodes<T>(faults: &Faults, call: impl Future<Output = T>) -> Result<T, Status> {
    faults.before_call().await;
    if let Some(code) = faults.take_failure() {
        return Err(Status::new(code, "this node was told to fail"));
    }
    let answer = call.await;
    faults.awake().await;
    if faults.take_cut() {
        return Err(Status::unavailable("error reading from server: unexpected EOF"));
    }
    if faults.take_garbage() {
        let reason = "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data";
        return Err(Status::internal(reason));
    }
    Ok(answer)
}

struct Sending {
    body: Body,
    faults: Faults,
    broken: bool,
}

/// The frames of `body`, hurt where a switch says so.
fn messages(body: Body, faults: Faults) -> Body {
    let frames = stream::unfold(Sending { body, faults, broken: false }, |mut sending| async move {
        if sending.broken {
            // An error instead of an end: the stream is reset in the middle of a message.
            return Some((Err(Status::unavailable("this node was told to break its streams")), sending));
        }
        let frame = sending.body.frame().await?;
        sending.faults.awake().await;
        let frame = match frame.map(Frame::into_data) {
            Ok(Ok(data)) if !data.is_empty() => {
                if sending.faults.take_cut() {
                    sending.broken = true;
                    return Some((Ok(Frame::data(data.slice(..data.len() / 2))), sending));
                }
                Ok(Frame::data(if sending.faults.take_garbage() { garbage(&data) } else { data }))
            }
            Ok(Ok(data)) => Ok(Frame::data(data)),
            Ok(Err(frame)) => Ok(frame),
            Err(error) => Err(error),
        };
        Some((frame, sending))
    });
    Body::new(StreamBody::new(Box::pin(frames)))
}

/// As long as `data`, with the head of a message, and no message.
fn garbage(data: &Bytes) -> Bytes {
    let head = data.len().min(MESSAGE_HEAD);
    [&data[..head], &vec![0xFF; data.len() - head]].concat().into()
}
