//! Consenters: how many may fail, and whether their certificates are of use. Capabilities, which nodes have to know.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

use super::Hazard;
use super::people::{Kind, People, expiries};
use crate::fabric::config::edit::bft_quorum;
use crate::fabric::identity::Certificate;
use crate::pb::common::{Capabilities, ConfigGroup, Orderers};
use crate::pb::etcdraft::ConfigMetadata;
use crate::pb::orderer::ConsensusType;

/// The parts that have capabilities, where they lie, and what Fabric knows of them up to 3.1.
const PARTS: [(&str, &[&str], &[&str]); 3] = [
    ("channel", &[], &["V1_1", "V1_3", "V1_4_2", "V1_4_3", "V2_0", "V3_0"]),
    ("orderers", &["Orderer"], &["V1_1", "V1_4_2", "V2_0"]),
    ("application", &["Application"], &["V1_1", "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5"]),
];

/// One who takes part in consensus.
struct Consenter {
    address: String,
    /// By what the others tell it.
    mark: Bytes,
    certificates: Vec<(&'static str, Bytes)>,
    tls: Vec<Bytes>,
}

/// The ways of agreeing that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consensus {
    Raft,
    Bft,
}

impl Consensus {
    /// How many of `n` have to be up.
    fn quorum(self, n: usize) -> usize {
        match self {
            Self::Raft => n / 2 + 1,
            Self::Bft => bft_quorum(n),
        }
    }
}

/// Who takes part in consensus, where it is of a known kind.
fn consenters(root: &ConfigGroup) -> Option<(Consensus, Vec<Consenter>)> {
    let orderer = root.groups.get("Orderer")?;
    let kind = ConsensusType::decode(orderer.values.get("ConsensusType")?.value.clone()).ok()?;
    match kind.r#type.as_str() {
        "etcdraft" => {
            let metadata = ConfigMetadata::decode(kind.metadata).ok()?;
            let of = |one: crate::pb::etcdraft::Consenter| Consenter {
                address: format!("{}:{}", one.host, one.port),
                mark: one.client_tls_cert.clone(),
                certificates: vec![
                    ("TLS certificate as a client", one.client_tls_cert.clone()),
                    ("TLS certificate as a server", one.server_tls_cert.clone()),
                ],
                tls: vec![one.client_tls_cert, one.server_tls_cert],
            };
            Some((Consensus::Raft, metadata.consenters.into_iter().map(of).collect()))
        }
        "BFT" => {
            let orderers = Orderers::decode(orderer.values.get("Orderers")?.value.clone()).ok()?;
            let of = |one: crate::pb::common::Consenter| Consenter {
                address: format!("{}:{}", one.host, one.port),
                mark: one.identity.clone(),
                certificates: vec![
                    ("certificate", one.identity),
                    ("TLS certificate as a client", one.client_tls_cert.clone()),
                    ("TLS certificate as a server", one.server_tls_cert.clone()),
                ],
                tls: vec![one.client_tls_cert, one.server_tls_cert],
            };
            Some((Consensus::Bft, orderers.consenter_mapping.into_iter().map(of).collect()))
        }
        _ => None,
    }
}

/// Certificates of consenters that are of no use.
pub(super) fn hazards(root: &ConfigGroup, people: &People, now: i64) -> Vec<Hazard> {
    let Some((_, consenters)) = consenters(root) else { return Vec::new() };
    let authorities: Vec<Certificate> = people
        .of(Kind::Orderer)
        .flat_map(|organization| organization.msp.tls_root_certs.iter().chain(&organization.msp.tls_intermediate_certs))
        .filter_map(|text| Certificate::from_pem(text).ok())
        .collect();
    let mut found = Vec::new();
    for consenter in consenters {
        for (what, text) in &consenter.certificates {
            found.extend(expiries(&format!("{what} of consenter {}", consenter.address), text, now));
        }
        let vouched = |text: &Bytes| {
            Certificate::from_pem(text).is_ok_and(|certificate| {
                authorities.iter().any(|authority| {
                    authority.der() == certificate.der() || certificate.signature.is_by(authority.public_key())
                })
            })
        };
        if !consenter.tls.iter().all(vouched) {
            let reason = "no organization of the orderers vouches for its TLS certificates".to_owned();
            found.push(Hazard::Certificate { of: format!("consenter {}", consenter.address), reason });
        }
    }
    found.sort();
    // Many use one certificate as server and as client; that is told once for each.
    found.dedup();
    found
}

/// What the step itself brings about.
pub(super) fn changes(before: &ConfigGroup, after: &ConfigGroup) -> Vec<Hazard> {
    let mut found = Vec::new();
    if let (Some((_, was)), Some((consensus, is))) = (consenters(before), consenters(after)) {
        found.extend(quorum(consensus, &was, &is));
    }
    for (part, path, known) in PARTS {
        let was = capabilities(before, path);
        for name in capabilities(after, path).difference(&was) {
            let known = known.contains(&name.as_str());
            found.push(Hazard::Capability { part: part.to_owned(), name: name.clone(), known });
        }
    }
    found
}

fn quorum(consensus: Consensus, was: &[Consenter], is: &[Consenter]) -> Option<Hazard> {
    let marks = |all: &[Consenter]| all.iter().map(|one| one.mark.clone()).collect::<BTreeSet<_>>();
    let (before, after) = (marks(was), marks(is));
    if before == after {
        return None;
    }
    let needed = consensus.quorum(is.len());
    let kept = before.intersection(&after).count();
    let spare = |n: usize| n.saturating_sub(consensus.quorum(n));
    let reason = if kept < needed {
        format!(
            "the channel stands still until {} of the new consenters have joined it: {needed} of {} have to be up",
            needed - kept,
            is.len()
        )
    } else if spare(is.len()) == 0 && is.len() > 1 {
        format!("all {} consenters have to be up from then on: the channel stands still when one fails", is.len())
    } else if is.len() == 1 {
        "one consenter is left: the channel stands still when it fails".to_owned()
    } else {
        return None;
    };
    Some(Hazard::Quorum { reason })
}

fn capabilities(root: &ConfigGroup, path: &[&str]) -> BTreeSet<String> {
    let group = path.iter().try_fold(root, |group, name| group.groups.get(*name));
    let value = group.and_then(|group| group.values.get("Capabilities"));
    let read = value.and_then(|value| Capabilities::decode(value.value.clone()).ok());
    read.unwrap_or_default().capabilities.into_keys().collect()
}
