//! Progress as messages to a WebSocket server, as the original agent sends them.
//!
//! A module of its own because the server is anybody's: it may be away, slow or gone for good, and nothing that the agent
//! does may wait for it. Messages go into a queue of bounded length, from which the oldest fall out when there is no
//! room; one worker sends them and connects again for as long as the agent runs. It listens to nothing that is sent back.

mod dial;
mod message;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};

use super::metrics::Metrics;
use super::progress::{Progress, Reporter};
use super::text;
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;
use dial::{Server, Socket};

/// So many messages wait at most.
const QUEUE: usize = 1000;
/// How long one message may take to be sent.
const SEND: Duration = Duration::from_secs(10);
/// How long a connection may be idle before it is probed, and how long it may then keep silent.
const PROBE: Duration = Duration::from_secs(30);
/// Waits between attempts to connect.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Sends what is reported.
pub(super) struct Notifier {
    server: Server,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
}

/// Takes what is reported.
pub(super) struct Queue {
    waiting: Mutex<VecDeque<String>>,
    rung: Notify,
    metrics: Arc<Metrics>,
}

impl Reporter for Queue {
    fn report(&self, progress: &Progress) {
        let Some(text) = message::text(progress) else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= QUEUE {
            waiting.pop_front();
            self.metrics.unnotified(1);
        }
        waiting.push_back(text);
        drop(waiting);
        self.rung.notify_one();
    }
}

impl Queue {
    /// The oldest message. Cancel safety: nothing is taken by a wait that is dropped.
    async fn next(&self) -> String {
        loop {
            let rung = self.rung.notified();
            if let Some(text) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return text;
            }
            rung.await;
        }
    }

    /// Takes a message back that was not sent, unless its place is gone.
    fn take_back(&self, text: String) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < QUEUE {
            waiting.push_front(text);
        } else {
            self.metrics.unnotified(1);
        }
    }
}

impl Notifier {
    /// Sends to the server at `url`, whose certificate comes from `authorities`, or from those that the system trusts.
    ///
    /// # Errors
    /// What is wrong with either.
    pub(super) fn new(url: &str, authorities: Option<&Path>, metrics: Arc<Metrics>) -> Result<Self, String> {
        let server = Server::new(url, authorities)?;
        let queue = Queue { waiting: Mutex::default(), rung: Notify::new(), metrics: Arc::clone(&metrics) };
        Ok(Self { server, queue: Arc::new(queue), metrics })
    }

    /// Where messages go, fit to be shown.
    pub(super) fn server(&self) -> String {
        self.server.to_string()
    }

    /// Opens a connection and closes it again, for whoever wants to know whether the server is there.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let mut socket = self.server.connect().await?;
        // It has answered; how it takes the end of it does not matter.
        let _ = tokio::time::timeout(SEND, socket.close(None)).await;
        Ok(())
    }

    /// Where reports go in.
    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Sends until told to stop.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let schedule = || Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut waits = schedule();
        let mut told = false;
        let sending = async {
            loop {
                let begun = Instant::now();
                let error = match self.server.connect().await {
                    Ok(socket) => {
                        tracing::info!(server = %self.server, "WebSocket is open");
                        let (sent, error) = self.send_over(socket).await;
                        // A server that takes nothing and hangs up is not connected to at once again.
                        if sent > 0 || begun.elapsed() > LONGEST_WAIT {
                            waits = schedule();
                        }
                        told = false;
                        error
                    }
                    Err(error) => error,
                };
                let wait = waits.next().unwrap_or(LONGEST_WAIT);
                if told {
                    tracing::debug!(server = %self.server, error, again_in = ?wait, "WebSocket is still closed");
                } else {
                    told = true;
                    tracing::warn!(server = %self.server, error, again_in = ?wait, "WebSocket is closed; trying again");
                }
                tokio::time::sleep(wait).await;
            }
        };
        stop.run_until_cancelled(sending).await;
        Ok(())
    }

    /// Sends over one connection until it breaks: how many messages, and why it broke.
    async fn send_over(&self, socket: Socket) -> (u64, String) {
        let (mut outgoing, mut incoming) = socket.split();
        let mut sent = 0;
        let mut answered = true;
        let mut probe = tokio::time::interval(PROBE);
        probe.reset();
        loop {
            let (message, queued) = tokio::select! {
                text = self.queue.next() => (Message::text(text.clone()), Some(text)),
                heard = incoming.next() => match heard {
                    Some(Ok(Message::Close(_))) | None => return (sent, "the server hung up".to_owned()),
                    Some(Ok(_)) => { answered = true; continue }
                    Some(Err(error)) => return (sent, reason(&error)),
                },
                _ = probe.tick() => {
                    if !std::mem::replace(&mut answered, false) {
                        return (sent, format!("the server has kept silent for {} s", PROBE.as_secs()));
                    }
                    (Message::Ping(Bytes::new()), None)
                }
            };
            let result = tokio::time::timeout(SEND, outgoing.send(message)).await;
            let error = match result {
                Ok(Ok(())) => {
                    if queued.is_some() {
                        sent += 1;
                        self.metrics.notified(1);
                    }
                    continue;
                }
                Ok(Err(error)) => reason(&error),
                Err(_) => format!("the server took nothing for {} s", SEND.as_secs()),
            };
            if let Some(text) = queued {
                self.queue.take_back(text);
            }
            return (sent, error);
        }
    }
}

fn reason(error: &tungstenite::Error) -> String {
    text::chain(error)
}

#[cfg(test)]
mod tests;
