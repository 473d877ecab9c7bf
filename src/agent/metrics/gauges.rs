//! Numbers that are read off when somebody asks: how the agent is, and what the last survey of the network has seen.

use super::form::{Form, seconds};
use crate::agent::http::{Health, Listener};
use crate::agent::survey::Snapshot;

/// Where the agent stands in the events of one contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The contract.
    pub contract: String,
    /// The block that the checkpoint stands at.
    pub checkpoint: u64,
    /// How many blocks of the ops channel the own peers have, where that is known.
    pub height: Option<u64>,
}

impl Position {
    /// How many blocks have not been worked through.
    pub fn lag(&self) -> Option<u64> {
        Some(self.height?.saturating_sub(self.checkpoint).saturating_sub(1))
    }
}

/// How the agent is.
pub(super) fn health(form: &mut Form, health: &Health) {
    form.single("opssc_healthy", "gauge", "Whether /healthz answers OK.", u8::from(health.is_good()));
    form.single("opssc_standby", "gauge", "Whether another replica acts.", u8::from(health.stands_by()));
    form.family("opssc_listening", "gauge", "Whether the events of a contract are heard.");
    for (name, listener) in [("chaincode-ops", Listener::ChaincodeOps), ("channel-ops", Listener::ChannelOps)] {
        form.line("opssc_listening", &[("contract", name)], u8::from(health.listens_to(listener)));
    }
}

/// What the process takes.
pub(super) fn process(form: &mut Form) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    form.family("opssc_build_info", "gauge", "The version of this agent.");
    form.line("opssc_build_info", &version, 1);
    // In pages, of which the second number are those in memory. Where there is no such file, nothing is told.
    let resident = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    });
    if let Some(kib) = resident {
        form.single("process_resident_memory_bytes", "gauge", "Memory that is in use.", kib.saturating_mul(1024));
    }
}

/// Where the agent stands in its events.
pub(super) fn positions(form: &mut Form, positions: &[Position]) {
    form.family("opssc_checkpoint_block", "gauge", "The block that the checkpoint stands at.");
    for position in positions {
        form.line("opssc_checkpoint_block", &[("contract", &position.contract)], position.checkpoint);
    }
    form.family("opssc_checkpoint_lag_blocks", "gauge", "Blocks of the ops channel that were not worked through yet.");
    for (position, lag) in positions.iter().filter_map(|position| Some((position, position.lag()?))) {
        form.line("opssc_checkpoint_lag_blocks", &[("contract", &position.contract)], lag);
    }
}

/// What the survey has seen.
pub(super) fn network(form: &mut Form, seen: &Snapshot) {
    form.single("opssc_survey_timestamp_seconds", "gauge", "When the network was looked at.", seconds(seen.taken_ms));
    form.single("opssc_survey_duration_seconds", "gauge", "How long that took.", seconds(seen.took_ms));
    form.family("opssc_peer_up", "gauge", "Whether an own peer answers.");
    for peer in &seen.peers {
        form.line("opssc_peer_up", &[("peer", &peer.name)], u8::from(peer.up));
    }
    form.family("opssc_peer_height", "gauge", "Blocks that an own peer has of a channel.");
    for peer in &seen.peers {
        for channel in &peer.channels {
            if let Some(height) = channel.height {
                form.line("opssc_peer_height", &[("peer", &peer.name), ("channel", &channel.name)], height);
            }
        }
    }
    form.family("opssc_orderer_up", "gauge", "Whether an orderer answers.");
    for orderer in &seen.orderers {
        form.line("opssc_orderer_up", &[("orderer", &orderer.name)], u8::from(orderer.up));
    }
    form.family("opssc_certificate_days_left", "gauge", "Whole days until a certificate expires.");
    for certificate in &seen.certificates {
        form.line("opssc_certificate_days_left", &[("certificate", &certificate.what)], certificate.days_left);
    }
}
