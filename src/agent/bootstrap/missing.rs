//! What is lacking on the own peers, worked out of what was seen.
//!
//! Pure, so that [`plan`](super::Foreseen) can print what [`act`](super::act) would do, and so that doing it twice is
//! doing it once: what is there is not in the list. What cannot be seen yet (a channel that no own peer is in) is not in
//! the list either; it shows after the next look.

use std::collections::BTreeMap;
use std::fmt;

use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::{ChaincodeName, ChannelName, PackageId};

/// What was seen of the own peers and their channels.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub(super) peers: Vec<PeerSeen>,
    /// The ops channel first, then the application channels that the ledger lists for the own organization.
    pub(super) channels: Vec<ChannelName>,
    /// Whether the ledger has listed the application channels.
    pub(super) listed: bool,
    /// The two contracts, which are on the first of the channels.
    pub(super) contracts: Vec<ChaincodeName>,
    /// Of each channel that could be asked about: its definitions, or why they are not known.
    pub(super) definitions: BTreeMap<ChannelName, Result<Vec<DefinitionSeen>, String>>,
    /// Proposals that are committed.
    pub(super) proposals: Vec<ProposalSeen>,
    /// What could not be learnt, and why.
    pub(super) unknown: Vec<String>,
}

/// An own peer.
#[derive(Debug, Clone)]
pub(super) struct PeerSeen {
    pub(super) name: String,
    /// The channels that it is in and the packages that it has; or why it does not tell.
    pub(super) told: Result<(Vec<ChannelName>, Vec<PackageId>), String>,
}

/// A committed definition.
#[derive(Debug, Clone)]
pub(super) struct DefinitionSeen {
    pub(super) definition: ChaincodeDefinition,
    /// Whether the own organization has approved it.
    pub(super) approved: bool,
    /// The package that it approved it with.
    pub(super) package: Option<PackageId>,
}

/// A committed proposal, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct ProposalSeen {
    pub(super) id: String,
    pub(super) channel: String,
    pub(super) chaincode: String,
    pub(super) sequence: i64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Have a peer join a channel.
    Join {
        /// The peer.
        peer: String,
        /// The channel.
        channel: ChannelName,
    },
    /// Put a contract of OpsSC on the own peers and approve it as it is committed.
    Deploy {
        /// The definition that is committed.
        definition: ChaincodeDefinition,
    },
    /// Put a package on a peer that others of the organization have.
    Install {
        /// The peer.
        peer: String,
        /// The package.
        package: PackageId,
    },
    /// Prepare a chaincode that was committed without the own organization.
    CatchUp {
        /// Its channel.
        channel: ChannelName,
        /// Its name.
        chaincode: ChaincodeName,
        /// The committed sequence.
        sequence: i64,
        /// The proposal that it came from.
        proposal: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { peer, channel } => write!(f, "join {peer} to {channel}"),
            Self::Deploy { definition } => {
                write!(f, "deploy contract {} (sequence {}) and approve it", definition.name, definition.sequence)
            }
            Self::Install { peer, package } => write!(f, "install {package} on {peer}"),
            Self::CatchUp { channel, chaincode, sequence, proposal } => {
                let proposal = super::text::bounded(proposal, 80);
                write!(f, "prepare {chaincode} sequence {sequence} on {channel}, of proposal {proposal}")
            }
        }
    }
}

/// What is lacking.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Missing {
    /// What to do about it. Steps of one kind may be done side by side, those of one peer in their order.
    pub(super) steps: Vec<Step>,
    /// What is in the way now and may be gone later.
    pub(super) waiting: Vec<String>,
    /// What nothing can be done about here.
    pub(super) notes: Vec<String>,
}

/// Works it out.
pub(super) fn missing(observed: &Observed) -> Missing {
    let mut missing = Missing { waiting: observed.unknown.clone(), ..Missing::default() };
    for PeerSeen { name, told } in &observed.peers {
        match told {
            Err(error) => missing.waiting.push(format!("{name} does not tell what it has: {error}")),
            Ok((joined, _)) => {
                let lacking = observed.channels.iter().filter(|channel| !joined.contains(channel));
                missing
                    .steps
                    .extend(lacking.map(|channel| Step::Join { peer: name.clone(), channel: channel.clone() }));
            }
        }
    }
    for (at, channel) in observed.channels.iter().enumerate() {
        let definitions = match observed.definitions.get(channel) {
            Some(Ok(definitions)) => definitions.as_slice(),
            Some(Err(error)) => {
                missing.waiting.push(format!("the chaincodes of {channel} are not known: {error}"));
                continue;
            }
            // No own peer is in it.
            None => continue,
        };
        let contracts = if at == 0 { observed.contracts.as_slice() } else { &[] };
        for contract in contracts {
            if !definitions.iter().any(|seen| seen.definition.name == *contract) {
                missing.waiting.push(format!("contract {contract} is not committed on {channel}"));
            }
        }
        for seen in definitions {
            of_definition(observed, channel, contracts, seen, &mut missing);
        }
    }
    missing
}

fn of_definition(
    observed: &Observed,
    channel: &ChannelName,
    contracts: &[ChaincodeName],
    seen: &DefinitionSeen,
    missing: &mut Missing,
) {
    let DefinitionSeen { definition, approved, package } = seen;
    let (name, sequence) = (&definition.name, definition.sequence);
    if *approved {
        // An organization may approve without a package of its own; then its peers do not run it.
        let Some(package) = package else { return };
        let (lacking, having): (Vec<_>, Vec<_>) = observed
            .peers
            .iter()
            .filter_map(|peer| peer.told.as_ref().ok().map(|(_, installed)| (&peer.name, installed.contains(package))))
            .partition(|(_, has_it)| !has_it);
        if !having.is_empty() {
            for (peer, _) in lacking {
                let step = Step::Install { peer: peer.clone(), package: package.clone() };
                // The same package may serve several channels.
                if !missing.steps.contains(&step) {
                    missing.steps.push(step);
                }
            }
            return;
        }
        if lacking.len() < observed.peers.len() {
            missing.waiting.push(format!("no own peer that answers has {package}, which runs {name} on {channel}"));
            return;
        }
        // All have lost it, such as an only peer that was made anew: it is made and approved once more.
    }
    if contracts.contains(name) {
        missing.steps.push(Step::Deploy { definition: definition.clone() });
        return;
    }
    let proposal = observed.proposals.iter().find(|proposal| {
        proposal.channel == channel.as_str() && proposal.chaincode == name.as_str() && proposal.sequence == sequence
    });
    match proposal {
        Some(proposal) => missing.steps.push(Step::CatchUp {
            channel: channel.clone(),
            chaincode: name.clone(),
            sequence,
            proposal: proposal.id.clone(),
        }),
        None => missing.notes.push(format!(
            "{name} sequence {sequence} on {channel} does not run here, and no proposal tells how to package it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn package(label: &str) -> PackageId {
        PackageId::parse(format!("{label}:{}", "0".repeat(64))).unwrap()
    }

    fn peer(name: &str, joined: &[&str], installed: &[&str]) -> PeerSeen {
        let told =
            Ok((joined.iter().map(|it| channel(it)).collect(), installed.iter().map(|it| package(it)).collect()));
        PeerSeen { name: name.to_owned(), told }
    }

    fn definition(name: &str, sequence: i64, package_label: Option<&str>) -> DefinitionSeen {
        DefinitionSeen {
            definition: ChaincodeDefinition::new(ChaincodeName::parse(name).unwrap(), "1", sequence),
            approved: package_label.is_some(),
            package: package_label.map(package),
        }
    }

    fn observed(peers: Vec<PeerSeen>, ops: Vec<DefinitionSeen>, application: Vec<DefinitionSeen>) -> Observed {
        Observed {
            peers,
            channels: vec![channel("ops"), channel("trade")],
            listed: true,
            contracts: vec![
                ChaincodeName::parse("channel-ops").unwrap(),
                ChaincodeName::parse("chaincode-ops").unwrap(),
            ],
            definitions: [(channel("ops"), Ok(ops)), (channel("trade"), Ok(application))].into(),
            proposals: vec![ProposalSeen {
                id: "p".to_owned(),
                channel: "trade".to_owned(),
                chaincode: "asset".to_owned(),
                sequence: 2,
            }],
            unknown: Vec::new(),
        }
    }

    fn contracts() -> Vec<DefinitionSeen> {
        vec![definition("channel-ops", 1, Some("a")), definition("chaincode-ops", 1, Some("b"))]
    }

    fn shown(observed: &Observed) -> Vec<String> {
        let Missing { steps, waiting, notes } = missing(observed);
        let steps = steps.iter().map(ToString::to_string);
        steps
            .chain(waiting.into_iter().map(|it| format!("? {it}")))
            .chain(notes.into_iter().map(|it| format!("! {it}")))
            .collect()
    }

    #[test]
    fn nothing_is_missing_where_everything_is_there() {
        let all = peer("p", &["ops", "trade"], &["a", "b", "c"]);
        let seen = observed(vec![all], contracts(), vec![definition("asset", 2, Some("c"))]);
        assert_eq!(missing(&seen), Missing::default());
    }

    #[test]
    fn a_new_organization_begins_with_joining() {
        let mut seen = observed(vec![peer("p", &[], &[]), peer("q", &["ops"], &[])], vec![], vec![]);
        (seen.channels, seen.definitions) = (vec![channel("ops")], BTreeMap::new());
        assert_eq!(shown(&seen), ["join p to ops"]);
    }

    #[test]
    fn contracts_are_deployed_and_the_rest_is_caught_up() {
        let ops = vec![definition("channel-ops", 3, None), definition("chaincode-ops", 1, Some("b"))];
        let application = vec![definition("asset", 2, None), definition("old", 1, None)];
        let seen = observed(vec![peer("p", &["ops", "trade"], &["b"])], ops, application);
        assert_eq!(
            shown(&seen),
            [
                "deploy contract channel-ops (sequence 3) and approve it",
                "prepare asset sequence 2 on trade, of proposal p",
                "! old sequence 1 on trade does not run here, and no proposal tells how to package it",
            ]
        );
    }

    #[test]
    fn a_contract_elsewhere_is_a_chaincode_like_any_other() {
        let seen = observed(
            vec![peer("p", &["ops", "trade"], &["a", "b"])],
            contracts(),
            vec![definition("channel-ops", 1, None)],
        );
        assert!(shown(&seen)[0].starts_with("! channel-ops"), "{:?}", shown(&seen));
    }

    #[test]
    fn a_peer_that_was_away_gets_what_the_others_have() {
        let peers = vec![
            peer("p", &["ops", "trade"], &["a", "b", "c"]),
            peer("q", &["ops", "trade"], &["a"]),
            PeerSeen { name: "r".to_owned(), told: Err("it is down".to_owned()) },
        ];
        let twice = vec![definition("asset", 2, Some("c")), definition("other", 1, Some("c"))];
        let unrun = DefinitionSeen { approved: true, ..definition("unrun", 1, None) };
        let seen = observed(peers, contracts(), [twice, vec![unrun]].concat());
        let (b, c) = (package("b"), package("c"));
        assert_eq!(
            shown(&seen),
            [
                format!("install {b} on q"),
                format!("install {c} on q"),
                "? r does not tell what it has: it is down".to_owned()
            ]
        );
    }

    #[test]
    fn a_package_that_is_lost_is_made_again() {
        let application = vec![definition("asset", 2, Some("c"))];
        let mut seen = observed(vec![peer("p", &["ops", "trade"], &[])], contracts(), application);
        let all = [
            "deploy contract channel-ops (sequence 1) and approve it",
            "deploy contract chaincode-ops (sequence 1) and approve it",
            "prepare asset sequence 2 on trade, of proposal p",
        ];
        assert_eq!(shown(&seen), all);
        // Not while a peer that is down may have it.
        seen.peers.push(PeerSeen { name: "q".to_owned(), told: Err("it is down".to_owned()) });
        assert!(missing(&seen).steps.is_empty() && shown(&seen).len() == 4, "{:?}", shown(&seen));
    }

    #[test]
    fn what_is_not_known_is_waited_for() {
        let mut seen = observed(vec![peer("p", &["ops", "trade"], &["a", "b"])], vec![], vec![]);
        seen.definitions.insert(channel("trade"), Err("nobody answers".to_owned()));
        seen.unknown.push("the channels are not known".to_owned());
        assert_eq!(
            shown(&seen),
            [
                "? the channels are not known",
                "? contract channel-ops is not committed on ops",
                "? contract chaincode-ops is not committed on ops",
                "? the chaincodes of trade are not known: nobody answers",
            ]
        );
    }
}
