//! Edits of the orderers that take part in consensus.
//!
//! A module of its own because the two ways of agreeing keep them in different values: Raft in the metadata of
//! `ConsensusType`; BFT in `Orderers`, and again in the policy `BlockValidation`, which has to demand a quorum of just
//! those in just that order, or orderers refuse the configuration.
//!
//! Consenters that an edit does not name keep their bytes.
//!
//! Source: fabric-config 0.3.0 `configtx/orderer.go`; Fabric 3.1.5 `orderer/consensus/etcdraft/membership.go`,
//! `common/policies/bft.go`.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::EditError;
use super::build::{ADMINS, certificate};
use super::profile::ConsenterProfile;
use crate::fabric::config::tree::{Config, ConfigGroup, ConfigPolicy, Fields, Policy};
use crate::pb::common::policy::PolicyType;
use crate::pb::common::{
    self, MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope, msp_principal, signature_policy,
};
use crate::pb::etcdraft;
use crate::pb::msp::SerializedIdentity;

/// How orderers agree, with the value that says so.
struct Consensus {
    value: Fields,
    kind: String,
}

impl Consensus {
    fn read(orderer: &ConfigGroup) -> Result<Self, EditError> {
        let value = orderer.values.get("ConsensusType");
        let value = value.ok_or_else(|| EditError::absent("the value ConsensusType"))?;
        let value = Fields::decode(&value.value)?;
        let kind = String::from_utf8_lossy(&value.bytes(1)).into_owned();
        Ok(Self { value, kind })
    }

    fn unsuitable(&self) -> EditError {
        EditError::Unsuitable { reason: format!("there are no consenters of consensus type {:?}", self.kind) }
    }
}

/// Where a consenter is.
type Address = (String, u32);

fn parse_address(text: &str) -> Result<Address, EditError> {
    let address = text
        .rsplit_once(':')
        .filter(|(host, port)| !host.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    address
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        .ok_or_else(|| EditError::profile(format!("{text:?} is no address of the form host:port")))
}

pub(super) fn set(
    orderer: &mut ConfigGroup,
    profile: &ConsenterProfile,
    files: Option<&Path>,
) -> Result<(), EditError> {
    if profile.host.is_empty() || profile.port == 0 {
        return Err(EditError::profile("the consenter needs Host and Port"));
    }
    let address = (profile.host.clone(), u32::from(profile.port));
    let client_tls_cert = certificate("ClientTLSCert", &profile.client_tls_cert, files)?;
    let server_tls_cert = certificate("ServerTLSCert", &profile.server_tls_cert, files)?;
    let consensus = Consensus::read(orderer)?;
    match consensus.kind.as_str() {
        "etcdraft" => {
            let (host, port) = address.clone();
            let consenter = etcdraft::Consenter { host, port, client_tls_cert, server_tls_cert };
            change_raft(orderer, consensus, |consenters| {
                let place = consenters.iter().position(|raw| raft_address(raw).as_ref() == Some(&address));
                replace(consenters, place, &consenter);
                Ok(())
            })
        }
        "BFT" => {
            if profile.msp_id.is_empty() || profile.identity.is_empty() {
                return Err(EditError::profile("a consenter of a BFT channel needs MSPID and Identity"));
            }
            let identity = certificate("Identity", &profile.identity, files)?;
            change_bft(orderer, |consenters| {
                let known: Vec<Option<common::Consenter>> = consenters.iter().map(bft_consenter).collect();
                let place = known.iter().flatten().position(|known| (known.host.clone(), known.port) == address);
                let ids: BTreeSet<u32> = known.iter().flatten().map(|known| known.id).collect();
                let same = place.and_then(|place| Some(known.get(place)?.as_ref()?.id));
                let free = || (1..u32::MAX).find(|id| !ids.contains(id)).unwrap_or_default();
                let id = profile.id.or(same).unwrap_or_else(free);
                if same != Some(id) && ids.contains(&id) {
                    return Err(EditError::profile(format!("the consenter's ID {id} is another's")));
                }
                let (host, port) = address;
                let msp_id = profile.msp_id.clone();
                let consenter =
                    common::Consenter { id, host, port, msp_id, identity, client_tls_cert, server_tls_cert };
                replace(consenters, place, &consenter);
                Ok(())
            })
        }
        _ => Err(consensus.unsuitable()),
    }
}

fn replace(consenters: &mut Vec<Bytes>, place: Option<usize>, consenter: &impl prost::Message) {
    let encoded = consenter.encode_to_vec().into();
    match place.and_then(|place| consenters.get_mut(place)) {
        Some(existing) => *existing = encoded,
        None => consenters.push(encoded),
    }
}

pub(super) fn remove(orderer: &mut ConfigGroup, address: &str) -> Result<(), EditError> {
    let wanted = parse_address(address)?;
    let without = |consenters: &mut Vec<Bytes>, of: fn(&Bytes) -> Option<Address>| {
        let before = consenters.len();
        consenters.retain(|raw| of(raw).as_ref() != Some(&wanted));
        if consenters.len() == before { Err(EditError::absent(format!("consenter {address}"))) } else { Ok(()) }
    };
    let consensus = Consensus::read(orderer)?;
    match consensus.kind.as_str() {
        "etcdraft" => change_raft(orderer, consensus, |consenters| without(consenters, raft_address)),
        "BFT" => change_bft(orderer, |consenters| {
            without(consenters, |raw| bft_consenter(raw).map(|consenter| (consenter.host, consenter.port)))
        }),
        _ => Err(consensus.unsuitable()),
    }
}

fn raft_address(consenter: &Bytes) -> Option<Address> {
    let consenter = etcdraft::Consenter::decode(consenter.clone()).ok()?;
    Some((consenter.host, consenter.port))
}

fn bft_consenter(consenter: &Bytes) -> Option<common::Consenter> {
    common::Consenter::decode(consenter.clone()).ok()
}

/// Changes the list of Raft's consenters.
fn change_raft(
    orderer: &mut ConfigGroup,
    mut consensus: Consensus,
    change: impl FnOnce(&mut Vec<Bytes>) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let mut metadata = Fields::decode(&consensus.value.bytes(2))?;
    let mut consenters = metadata.all(1);
    change(&mut consenters)?;
    if consenters.is_empty() {
        return Err(EditError::profile("a channel needs a consenter"));
    }
    metadata.set_all(1, consenters.iter().map(|raw| &raw[..]));
    consensus.value.set_bytes(2, &metadata.encode());
    super::build::set(orderer, "ConsensusType", consensus.value.encode());
    Ok(())
}

/// Changes the list of BFT's consenters, and the policy that follows from it.
fn change_bft(
    orderer: &mut ConfigGroup,
    change: impl FnOnce(&mut Vec<Bytes>) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let value = orderer.values.get("Orderers").ok_or_else(|| EditError::absent("the value Orderers"))?;
    let mut mapping = Fields::decode(&value.value)?;
    let mut consenters = mapping.all(1);
    change(&mut consenters)?;
    if consenters.is_empty() {
        return Err(EditError::profile("a channel needs a consenter"));
    }
    mapping.set_all(1, consenters.iter().map(|raw| &raw[..]));
    super::build::set(orderer, "Orderers", mapping.encode());
    let consenters: Vec<common::Consenter> = consenters.iter().filter_map(bft_consenter).collect();
    set_block_validation(orderer, &consenters);
    Ok(())
}

/// The policy for blocks that these consenters call for; its guard stays.
pub(crate) fn set_block_validation(orderer: &mut ConfigGroup, consenters: &[common::Consenter]) {
    let policy = Policy::new(PolicyType::Signature as i32, block_validation(consenters).encode_to_vec());
    match orderer.policies.get_mut("BlockValidation") {
        Some(existing) => existing.policy = Some(policy),
        None => drop(orderer.policies.insert("BlockValidation".to_owned(), ConfigPolicy::new(policy, ADMINS))),
    }
}

fn block_validation(consenters: &[common::Consenter]) -> SignaturePolicyEnvelope {
    let principal = |consenter: &common::Consenter| {
        let identity = SerializedIdentity { mspid: consenter.msp_id.clone(), id_bytes: consenter.identity.clone() };
        MspPrincipal {
            principal_classification: msp_principal::Classification::Identity as i32,
            principal: identity.encode_to_vec().into(),
        }
    };
    let signed_by = |(at, _)| SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(at)) };
    let rules = (0..).zip(consenters).map(signed_by).collect();
    let gate = signature_policy::NOutOf { n: i32::try_from(quorum(consenters.len())).unwrap_or(i32::MAX), rules };
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(gate)) }),
        identities: consenters.iter().map(principal).collect(),
    }
}

/// How many of `n` consenters have to sign a block, so that any two quorums share an honest one.
pub(crate) fn quorum(n: usize) -> usize {
    let faulty = n.saturating_sub(1) / 3;
    (n + faulty + 1).div_ceil(2)
}

/// That orderers take the change of consenters: Raft takes one more, one less, or one in place of another; BFT any, if
/// the policy for blocks demands a quorum of just those.
///
/// # Errors
/// [`EditError::Unsuitable`] for more at a time, or another policy; [`EditError::Tree`] when a configuration cannot be
/// read.
pub fn check_consenters(original: &Config, updated: &Config) -> Result<(), EditError> {
    check_raft(original, updated)?;
    check_bft(updated)
}

/// The part of [`check_consenters`] that is Raft's.
pub(crate) fn check_raft(original: &Config, updated: &Config) -> Result<(), EditError> {
    let (Some(before), Some(after)) = (raft_certificates(original)?, raft_certificates(updated)?) else {
        return Ok(());
    };
    let (added, removed) = (after.difference(&before).count(), before.difference(&after).count());
    if added > 1 || removed > 1 {
        let reason = format!(
            "update of more than one consenter at a time is not supported, requested changes: add {added} node(s), \
             remove {removed} node(s)"
        );
        return Err(EditError::Unsuitable { reason });
    }
    Ok(())
}

/// That the policy for blocks is the one that BFT's consenters call for, and that the leader stays the same: there is no
/// rotation so far.
///
/// # Errors
/// [`EditError::Unsuitable`] in the orderers' words; [`EditError::Tree`] when the configuration cannot be read.
pub(crate) fn check_bft(updated: &Config) -> Result<(), EditError> {
    let orderer = updated.channel_group.as_ref().and_then(|root| root.groups.get("Orderer"));
    let Some(orderer) = orderer.filter(|orderer| orderer.values.contains_key("ConsensusType")) else { return Ok(()) };
    let consensus = Consensus::read(orderer)?;
    if consensus.kind != "BFT" {
        return Ok(());
    }
    let refused = |reason: String| Err(EditError::Unsuitable { reason });
    let Some(mapping) = orderer.values.get("Orderers") else {
        return refused("no values in 'Orderer' group".to_owned());
    };
    let consenters = Fields::decode(&mapping.value)?.all(1);
    let Some(consenters) = consenters.iter().map(bft_consenter).collect::<Option<Vec<_>>>() else {
        return refused("a consenter in the mapping cannot be read".to_owned());
    };
    let Some(policy) = orderer.policies.get("BlockValidation") else {
        return refused("block validation policy is not found in the policies of 'Orderer' group".to_owned());
    };
    let expected = Policy::new(PolicyType::Signature as i32, block_validation(&consenters).encode_to_vec());
    if policy.policy.as_ref() != Some(&expected) {
        let (quorum, n) = (quorum(consenters.len()), consenters.len());
        return refused(format!(
            "block validation policy should be a signature policy: {quorum} of the {n} consenters in the order of their \
             mapping, but it is another"
        ));
    }
    let options = crate::pb::orderer::smartbft::Options::decode(consensus.value.bytes(2)).map_err(|error| {
        EditError::Unsuitable { reason: format!("invalid options encoded in consensus metadata: {error}") }
    })?;
    if options.leader_rotation == crate::pb::orderer::smartbft::options::Rotation::On as i32 {
        return refused("leader rotation must be turned off for this version or be unspecified".to_owned());
    }
    Ok(())
}

/// Raft tells its consenters by their TLS certificates.
fn raft_certificates(config: &Config) -> Result<Option<BTreeSet<Bytes>>, EditError> {
    let orderer = config.channel_group.as_ref().and_then(|root| root.groups.get("Orderer"));
    let Some(orderer) = orderer.filter(|orderer| orderer.values.contains_key("ConsensusType")) else {
        return Ok(None);
    };
    let consensus = Consensus::read(orderer)?;
    if consensus.kind != "etcdraft" {
        return Ok(None);
    }
    let metadata = Fields::decode(&consensus.value.bytes(2))?;
    let certificates = metadata.all(1).into_iter().map(|raw| Fields::decode(&raw).map(|fields| fields.bytes(3)));
    Ok(Some(certificates.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_are_fabrics() {
        for (n, expected) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7)] {
            assert_eq!(quorum(n), expected, "of {n}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(parse_address("a:b:7").unwrap(), ("a:b".to_owned(), 7));
        for text in ["orderer", ":7", "a:", "a:+7", "a:99999999999"] {
            assert!(parse_address(text).is_err(), "{text:?}");
        }
    }
}
