//! Whether the agent is ready, part by part.
//!
//! Ready means that a proposal which is voted for now would be carried out. What only threatens to fail soon, such as a
//! certificate that runs out, is told and changes nothing.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::{Listener, Panel};
use crate::agent::survey::Snapshot;

/// How many days before its end a certificate is pointed out.
const SOON: i64 = 14;

/// One part of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component {
    pub(super) name: &'static str,
    pub(super) ready: bool,
    /// What is wrong, or worth knowing; may be empty.
    pub(super) detail: String,
}

/// All parts, the most important first.
pub(super) fn components(panel: &Panel) -> Vec<Component> {
    let part = |name, ready, detail: String| Component { name, ready, detail };
    let health = &panel.health;
    let standby = health.stands_by();
    let mut parts = Vec::new();
    for (name, listener) in [("chaincode-ops", Listener::ChaincodeOps), ("channel-ops", Listener::ChannelOps)] {
        let heard = health.listens_to(listener);
        let detail = match (heard, standby) {
            (true, _) => "",
            (false, true) => "another replica listens",
            (false, false) => "its events are not heard",
        };
        parts.push(part(name, heard || standby, detail.to_owned()));
    }
    let mut troubles = health.troubles();
    let journal = troubles.remove("journal");
    parts.push(part("journal", journal.is_none(), journal.unwrap_or_default()));
    parts.extend(troubles.into_iter().map(|(name, reason)| part(name, false, reason)));
    match panel.seen.borrow().as_deref() {
        Some(seen) => parts.extend(network(seen)),
        None => parts.push(part("network", false, "not looked at yet".to_owned())),
    }
    let held = panel.holds.held();
    let detail = match (&held.trouble, held.holds.len()) {
        (Some(trouble), _) => format!("everything is held: {trouble}"),
        (None, 0) => String::new(),
        (None, 1) => format!("{} is paused", held.holds[0].scope),
        (None, several) => format!("{several} holds"),
    };
    // Somebody wanted it so.
    parts.push(part("holds", true, detail));
    parts
}

fn network(seen: &Snapshot) -> Vec<Component> {
    let away = |nodes: Vec<&str>| if nodes.is_empty() { String::new() } else { format!("away: {}", nodes.join(", ")) };
    let peers = seen.peers.iter().filter(|peer| !peer.up).map(|peer| peer.name.as_str()).collect();
    let orderers = seen.orderers.iter().filter(|orderer| !orderer.up).map(|orderer| orderer.name.as_str()).collect();
    let expired = seen.certificates.iter().any(|certificate| certificate.days_left < 0);
    let ending: Vec<String> = seen
        .certificates
        .iter()
        .filter(|certificate| certificate.days_left < SOON)
        .map(|certificate| format!("{}: {} days left", certificate.what, certificate.days_left))
        .collect();
    vec![
        Component { name: "peers", ready: seen.reaches_peers(), detail: away(peers) },
        Component { name: "orderers", ready: seen.reaches_orderers(), detail: away(orderers) },
        Component { name: "certificates", ready: !expired, detail: ending.join("; ") },
    ]
}

/// One line for each part. Reasons name nodes and files, so they are for those who may read.
pub(super) async fn readyz(State(panel): State<Panel>, headers: axum::http::HeaderMap) -> (StatusCode, String) {
    let may_read = panel.access.may_read(&headers).await.is_ok();
    let parts = components(&panel);
    let mut text = String::new();
    for Component { name, ready, detail } in &parts {
        let mark = if *ready { "[+]" } else { "[-]" };
        let detail = if may_read && !detail.is_empty() { format!(" ({detail})") } else { String::new() };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark} {name}{detail}");
    }
    let ready = parts.iter().all(|part| part.ready);
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}
