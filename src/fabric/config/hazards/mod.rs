//! What a change of a configuration may do to its channel that nobody meant: rules that orderers do not look at, and
//! that cannot be undone by another change once they are in force.
//!
//! A module of its own because it forbids nothing: it warns who proposes and who signs. Orderers take each of these
//! changes, or refuse one with words that say less.
//!
//! Does not judge what was so before: a hazard is told when the change brings it. The time is an argument.
//!
//! Source: Fabric 3.1.5 `common/configtx`, `common/policies`, `orderer/common/msgprocessor`,
//! `orderer/consensus/etcdraft`, `orderer/consensus/smartbft`.

mod nodes;
mod people;
mod policies;
#[cfg(test)]
mod tests;

use std::fmt;

use prost::Message as _;

use super::edit::{EditError, check_consenters, check_raft_metadata};
use super::tree::Config;
use crate::pb::common::{self, ConfigGroup};

/// Certificates are told of that end within so many seconds.
const SOON: i64 = 30 * 24 * 60 * 60;

/// Something about a change that its voters should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Hazard {
    /// Orderers will not take it.
    Refused {
        /// In their words.
        reason: String,
    },
    /// Nobody can change something any more.
    Frozen {
        /// What.
        what: String,
        /// Why not.
        reason: String,
    },
    /// Nobody can satisfy a policy.
    OutOfReach {
        /// The policy.
        policy: String,
        /// What comes of it.
        consequence: String,
    },
    /// Everybody satisfies a policy, without any signature.
    Unguarded {
        /// The policy.
        policy: String,
    },
    /// The nodes of an organization do not satisfy a policy that they live by.
    ShutOut {
        /// Which nodes.
        nodes: String,
        /// The policy.
        policy: String,
        /// What comes of it.
        consequence: String,
    },
    /// The ordering service cannot go on, or not after the next failure.
    Quorum {
        /// In words.
        reason: String,
    },
    /// A certificate is of no use, or will soon be of none.
    Certificate {
        /// Whose and what for.
        of: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nodes that do not know a capability stop at it.
    Capability {
        /// Of which part.
        part: String,
        /// Its name.
        name: String,
        /// Whether any Fabric that is known here has it.
        known: bool,
    },
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason } => write!(f, "orderers will refuse it: {reason}"),
            Self::Frozen { what, reason } => write!(f, "nobody can change {what} afterwards: {reason}"),
            Self::OutOfReach { policy, consequence } => {
                write!(f, "nobody can satisfy {policy} afterwards: {consequence}")
            }
            Self::Unguarded { policy } => {
                write!(f, "everybody satisfies {policy} afterwards: it counts members, and there are none")
            }
            Self::ShutOut { nodes, policy, consequence } => {
                write!(f, "{nodes} do not satisfy {policy} afterwards: {consequence}")
            }
            Self::Quorum { reason } => f.write_str(reason),
            Self::Certificate { of, reason } => write!(f, "{of}: {reason}"),
            Self::Capability { part, name, known: true } => {
                write!(f, "every node has to know capability {name} of the {part}: one that does not, stops")
            }
            Self::Capability { part, name, known: false } => {
                write!(f, "capability {name} of the {part} is not one of Fabric's: nodes that do not know it stop")
            }
        }
    }
}

/// What members should know before they agree to the step from `before` to `after`, or to a new channel where there is
/// nothing before. `now` is in seconds since 1970.
pub fn hazards(before: Option<&Config>, after: &Config, now: i64) -> Vec<Hazard> {
    let mut found = Vec::new();
    if let Some(before) = before
        && let Err(error) = check_raft_metadata(after).and_then(|()| check_consenters(before, after))
    {
        let reason = match error {
            EditError::Unsuitable { reason } => reason,
            error => error.to_string(),
        };
        found.push(Hazard::Refused { reason });
    }
    let was = before.map(|before| standing(before, now)).unwrap_or_default();
    found.extend(standing(after, now).into_iter().filter(|hazard| !was.contains(hazard)));
    if let Some(before) = before.and_then(root) {
        found.extend(root(after).map(|after| nodes::changes(&before, &after)).unwrap_or_default());
    }
    found
}

/// What is wrong with a configuration, whatever it was before.
fn standing(config: &Config, now: i64) -> Vec<Hazard> {
    let Some(root) = root(config) else { return vec![Hazard::Refused { reason: "it cannot be read".to_owned() }] };
    let people = people::People::read(&root);
    let mut found = policies::hazards(config, &root, &people);
    found.extend(people.hazards(now));
    found.extend(nodes::hazards(&root, &people, now));
    found
}

fn root(config: &Config) -> Option<ConfigGroup> {
    common::Config::decode(config.encode()).ok()?.channel_group
}
