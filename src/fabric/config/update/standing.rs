//! Who has to sign an update, and who has.
//!
//! A module of its own because it answers before anything is sent what orderers would answer after: every policy that
//! guards a change, with the organizations whose part of it is met and those whose is not.
//!
//! Does not judge the update otherwise; [`apply`](super::apply) does.
//!
//! Source: Fabric 3.1.5 `common/configtx/update.go`, `common/policies`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use prost::Message as _;

use super::UpdateError;
use super::apply::delta;
use super::place::{Place, elements};
use crate::fabric::config::tree::{Config, ConfigUpdate};
use crate::fabric::config::{ChannelConfig, Share, SignedData};
use crate::fabric::identity::Identity;
use crate::fabric::policy::dsl;
use crate::pb::common::{ConfigSignature, SignatureHeader};

/// A policy that guards changes of an update, and how far its signatures satisfy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The policy, such as `/Channel/Application/Admins`.
    pub policy: String,
    /// What it guards of what the update changes.
    pub changes: Vec<Place>,
    /// Whether the signatures satisfy it.
    pub satisfied: bool,
    /// Its parts, when it is made of policies of members.
    pub share: Option<Share>,
    /// What is lacking, in words, when it is not satisfied.
    pub lacking: Option<String>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.policy)?;
        match (&self.share, &self.lacking) {
            (Some(share), _) => {
                let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
                let have = if share.met.is_empty() { "nobody".to_owned() } else { list(&share.met) };
                let of = share.met.len() + share.open.len();
                write!(f, "needs {} of {of} {}: have {have}", share.needed, share.name)?;
                if !share.open.is_empty() && !self.satisfied {
                    write!(f, "; missing {}", list(&share.open))?;
                }
                Ok(())
            }
            (None, Some(lacking)) => write!(f, "{lacking}"),
            (None, None) => write!(f, "satisfied"),
        }
    }
}

/// How the policies that guard the changes of the update stand with these signatures. A signature that is no good
/// counts as none.
///
/// # Errors
/// [`UpdateError`] when update or configuration cannot be read.
pub fn standing(
    config: &ChannelConfig,
    update: &[u8],
    signatures: &[ConfigSignature],
) -> Result<Vec<Standing>, UpdateError> {
    let signed: Vec<(SignatureHeader, Vec<u8>, &ConfigSignature)> = signatures
        .iter()
        .filter_map(|signature| {
            let header = SignatureHeader::decode(signature.signature_header.clone()).ok()?;
            Some((header, [&signature.signature_header[..], update].concat(), signature))
        })
        .collect();
    let signers: Vec<Identity> = config.signers(signed.iter().map(|(header, data, signature)| SignedData {
        creator: &header.creator,
        data,
        signature: &signature.signature,
    }));
    let mut standings = Vec::new();
    for (policy, changes) in guards(config, &ConfigUpdate::decode(update)?)? {
        let verdict = config.policies().evaluate(&policy, &signers);
        let lacking =
            verdict.err().map(|error| in_words(config, &policy, &signers).unwrap_or_else(|| error.to_string()));
        standings.push(Standing {
            satisfied: lacking.is_none(),
            share: config.policies().share(&policy, &signers),
            lacking,
            policy,
            changes,
        });
    }
    Ok(standings)
}

/// What a policy of signatures asks for, and who has signed.
fn in_words(config: &ChannelConfig, policy: &str, signers: &[Identity]) -> Option<String> {
    let wanted = dsl::print(config.policies().signature_policy(policy)?).ok()?;
    let have: BTreeSet<&str> = signers.iter().map(|signer| signer.msp_id().as_str()).collect();
    let have = if have.is_empty() { "nobody".to_owned() } else { have.into_iter().collect::<Vec<_>>().join(", ") };
    Some(format!("needs {wanted}: have {have}"))
}

/// The policies that guard what exists and is changed, each with what it guards.
fn guards(config: &ChannelConfig, update: &ConfigUpdate) -> Result<BTreeMap<String, Vec<Place>>, UpdateError> {
    let mapped = |set| move |reason| UpdateError::Malformed { set, reason };
    let current = Config::decode(&config.config().encode_to_vec())?.channel_group;
    let existing = elements(current.as_ref()).map_err(mapped("current config"))?;
    let reads = elements(update.read_set.as_ref()).map_err(mapped("ReadSet"))?;
    let writes = elements(update.write_set.as_ref()).map_err(mapped("WriteSet"))?;
    let mut guards: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for place in delta(&reads, &writes).into_keys() {
        if let Some(element) = existing.get(&place) {
            guards.entry(place.policy_path(element.mod_policy())).or_default().push(place);
        }
    }
    Ok(guards)
}
