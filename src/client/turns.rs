//! Peers asked in turn until one answers.
//!
//! A module of its own because queries and endorsements do the same: the next peer is asked when one has failed, and
//! also when one keeps silent for a while, since a peer that hangs would otherwise cost its whole deadline.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::error::CallError;
use super::node::Peer;

/// The first answer, with the peer that gave it; or every peer's failure. A failure that every peer would repeat is the
/// last. One peer may keep silent for `silence` before the next one is asked as well.
pub(super) async fn first_answer<T, F>(
    peers: Vec<Peer>,
    silence: Duration,
    ask: impl Fn(Peer) -> F,
) -> Result<(Peer, T), Vec<CallError>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut waiting = peers.into_iter();
    let mut asked = FuturesUnordered::new();
    let mut failures = Vec::new();
    let put = |peer: Peer| {
        let answer = ask(peer.clone());
        async move { (peer, answer.await) }
    };
    asked.extend(waiting.next().map(&put));
    loop {
        let answer = if waiting.len() == 0 {
            asked.next().await
        } else {
            let Ok(answer) = tokio::time::timeout(silence, asked.next()).await else {
                asked.extend(waiting.next().map(&put));
                continue;
            };
            answer
        };
        match answer {
            Some((peer, Ok(answer))) => return Ok((peer, answer)),
            Some((_, Err(error))) => {
                tracing::debug!(%error, "peer did not answer as wished");
                let last = !error.is_of_this_node();
                failures.push(error);
                if last {
                    return Err(failures);
                }
                asked.extend(waiting.next().map(&put));
            }
            None => return Err(failures),
        }
    }
}
