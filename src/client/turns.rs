//! Peers asked in turn until one answers.
//!
//! A module of its own because queries and endorsements do the same: the next peer is asked when one has failed, and
//! also when one keeps silent for a while, since a peer that hangs would otherwise cost its whole deadline. Peers that
//! failed of late come last; those that have too much to do are asked again after a while, when no other one answers.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::error::CallError;
use super::gateway::Timeouts;
use super::node::Peer;
use crate::runtime::retry::Backoff;

/// The first answer, with the peer that gave it; or every peer's failure. A failure that every peer would repeat is the
/// last.
pub(super) async fn first_answer<T, F>(
    mut peers: Vec<Peer>,
    timeouts: &Timeouts,
    ask: impl Fn(Peer) -> F,
) -> Result<(Peer, T), Vec<CallError>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let end = Instant::now() + timeouts.endorse;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        peers.sort_by_key(Peer::is_resting);
        let failures = match once(&peers, timeouts.silence, &ask).await {
            Ok(answer) => return Ok(answer),
            Err(failures) => failures,
        };
        let busy = |peer: &Peer| {
            failures.iter().any(|error| matches!(error, CallError::Busy { node, .. } if node == peer.node()))
        };
        let wait = backoff.next().unwrap_or_default();
        if failures.iter().any(|error| !error.is_of_this_node())
            || !peers.iter().any(busy)
            || Instant::now() + wait >= end
        {
            return Err(failures);
        }
        peers.retain(busy);
        tokio::time::sleep(wait).await;
    }
}

/// One round over all peers. Each may keep silent for `silence` before the next one is asked as well.
async fn once<T, F>(peers: &[Peer], silence: Duration, ask: impl Fn(Peer) -> F) -> Result<(Peer, T), Vec<CallError>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut waiting = peers.iter();
    let mut asked = FuturesUnordered::new();
    let mut failures = Vec::new();
    let put = |peer: &Peer| {
        let (peer, answer) = (peer.clone(), ask(peer.clone()));
        async move { (peer, answer.await) }
    };
    let mut latest = waiting.next();
    asked.extend(latest.map(&put));
    loop {
        let answer = if waiting.len() == 0 {
            asked.next().await
        } else {
            let Ok(answer) = tokio::time::timeout(silence, asked.next()).await else {
                // Its answer is not waited for where another one comes, so nobody else would notice.
                latest.inspect(|peer| peer.connection().health().failed());
                latest = waiting.next();
                asked.extend(latest.map(&put));
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
                if let Some(next) = waiting.next() {
                    latest = Some(next);
                    asked.push(put(next));
                }
            }
            None => return Err(failures),
        }
    }
}
