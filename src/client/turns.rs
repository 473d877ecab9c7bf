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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::error::NodeName;
    use super::super::net::{Endpoint, Pool};
    use super::*;
    use crate::fabric::names::MspId;

    /// Peers that are never dialled.
    fn peers(names: &[&str]) -> Vec<Peer> {
        let pool = Pool::new();
        let peer = |name: &&str| {
            let endpoint = Endpoint { address: format!("{name}:1"), tls: None, server_name: None };
            let node = NodeName { name: (*name).to_owned(), address: endpoint.address.clone() };
            Peer::new(node, MspId::parse("Org1MSP").unwrap(), pool.connection(&endpoint).unwrap())
        };
        names.iter().map(peer).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_hangs_costs_its_silence_once() {
        let peers = peers(&["hung", "b", "c"]);
        let timeouts = Timeouts::default();
        let asked = Mutex::new(Vec::new());
        let ask = async |peer: Peer| {
            asked.lock().unwrap().push(peer.name().to_owned());
            if peer.name() == "hung" { std::future::pending().await } else { Ok(()) }
        };
        let begun = Instant::now();
        let (peer, ()) = first_answer(peers.clone(), &timeouts, ask).await.unwrap();
        assert_eq!((peer.name(), begun.elapsed()), ("b", timeouts.silence));
        let (peer, ()) = first_answer(peers.clone(), &timeouts, ask).await.unwrap();
        assert_eq!((peer.name(), begun.elapsed()), ("b", timeouts.silence), "it is asked last now");
        // Its rest is over: it is probed, and found hung again.
        tokio::time::advance(Duration::from_secs(1)).await;
        let begun = Instant::now();
        first_answer(peers, &timeouts, ask).await.unwrap();
        assert_eq!(begun.elapsed(), timeouts.silence);
        assert_eq!(*asked.lock().unwrap(), ["hung", "b", "b", "hung", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_hang_are_given_up_together() {
        let timeouts = Timeouts::default();
        let ask = async |peer: Peer| -> Result<(), CallError> {
            tokio::time::sleep(timeouts.endorse).await;
            Err(CallError::Deadline { node: peer.node().clone(), waited: timeouts.endorse })
        };
        let begun = Instant::now();
        let failures = first_answer(peers(&["a", "b", "c"]), &timeouts, ask).await.unwrap_err();
        assert_eq!(failures.len(), 3);
        assert_eq!(begun.elapsed(), timeouts.endorse + timeouts.silence * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_busy_are_asked_again() {
        let busy = |peer: &Peer| CallError::Busy {
            node: peer.node().clone(),
            source: Box::new(tonic::Status::resource_exhausted("too many requests")),
        };
        let asked = Mutex::new(Vec::new());
        let ask = async |peer: Peer| {
            let mut asked = asked.lock().unwrap();
            asked.push(peer.name().to_owned());
            match peer.name() {
                "away" => Err(CallError::Malformed { node: peer.node().clone(), reason: "rubbish".to_owned() }),
                _ if asked.len() < 5 => Err(busy(&peer)),
                _ => Ok(()),
            }
        };
        first_answer(peers(&["busy", "away"]), &Timeouts::default(), ask).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["busy", "away", "busy", "busy", "busy"]);
        let always = async |peer: Peer| -> Result<(), CallError> { Err(busy(&peer)) };
        let begun = Instant::now();
        let failures = first_answer(peers(&["busy"]), &Timeouts::default(), always).await.unwrap_err();
        assert!(failures[0].is_retryable());
        assert!(begun.elapsed() <= Timeouts::default().endorse, "{:?}", begun.elapsed());
    }
}
