//! Who may do what on a channel, by its configuration.
//!
//! A module of its own because orderers, endorsers and committers all ask the same question: do these signatures
//! satisfy that policy? Everything that is known of identities and policies comes from [`fabric`](crate::fabric); here
//! it is put together for one version of one channel's configuration.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::blocks;
use super::orderer::BatchLimits;
use crate::fabric::identity::{Creator, Identity, Msp, MspVersion, Role};
use crate::fabric::policy::{self, ApplicationPolicy};
use crate::pb;
use crate::pb::common::policy::PolicyType;
use crate::pb::common::{
    Block, Capabilities, Config, ConfigGroup, Envelope, ImplicitMetaPolicy, Payload, SignatureHeader,
    SignaturePolicyEnvelope, implicit_meta_policy,
};

/// Some bytes and who signed them.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) identity: Bytes,
    pub(crate) data: Bytes,
    pub(crate) signature: Bytes,
}

impl Signed {
    /// What an envelope says of itself; `None` where its header cannot be read.
    pub(crate) fn of_envelope(envelope: &Envelope) -> Option<Self> {
        let payload = Payload::decode(envelope.payload.clone()).ok()?;
        let header = SignatureHeader::decode(payload.header?.signature_header).ok()?;
        Some(Self { identity: header.creator, data: envelope.payload.clone(), signature: envelope.signature.clone() })
    }
}

/// Why an identity is not accepted on a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IdentityRefused {
    /// It cannot be read, or its organization is not in the channel.
    #[error("creator org unknown, creator is malformed")]
    Unknown,
    /// Its certificate is not valid for its organization, or the signature is not its own.
    #[error("creator org [{0}]")]
    Invalid(String),
}

/// A policy that signatures do not satisfy, or that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denied(String);

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AccessError(String);

/// How many identities are remembered with the verdict on them.
const REMEMBERED: usize = 1000;

/// One version of one channel's configuration.
#[derive(Debug)]
pub(crate) struct Access {
    config: Config,
    batch: BatchLimits,
    batch_timeout: Duration,
    organizations: BTreeMap<String, Msp>,
    /// Verdicts on identities: a certificate's chain costs more than a signature.
    known: Mutex<HashMap<Bytes, Option<Identity>>>,
}

impl Access {
    /// The configuration that a configuration block brings.
    pub(crate) fn from_block(block: &Block) -> Result<Self, AccessError> {
        let channel = blocks::channel_of(block).ok_or_else(|| AccessError("block names no channel".to_owned()))?;
        let config = blocks::config_envelope(block)
            .and_then(|envelope| envelope.config)
            .ok_or_else(|| AccessError("block holds no configuration".to_owned()))?;
        Self::from_config(&channel, config)
    }

    /// The configuration `config` of `channel`.
    pub(crate) fn from_config(channel: &str, config: Config) -> Result<Self, AccessError> {
        let wrong = |what: &str| AccessError(format!("{what} of channel {channel} is missing or cannot be read"));
        let root = config.channel_group.as_ref().ok_or_else(|| wrong("root group"))?;
        let orderer = root.groups.get("Orderer").ok_or_else(|| wrong("orderer group"))?;
        let batch = value::<pb::orderer::BatchSize>(orderer, "BatchSize").ok_or_else(|| wrong("BatchSize"))?;
        let timeout = value::<pb::orderer::BatchTimeout>(orderer, "BatchTimeout")
            .and_then(|timeout| go_duration(&timeout.timeout))
            .ok_or_else(|| wrong("BatchTimeout"))?;
        if batch.max_message_count == 0 || batch.absolute_max_bytes == 0 || batch.preferred_max_bytes == 0 {
            return Err(AccessError("batch sizes must not be 0".to_owned()));
        }
        let batch = BatchLimits {
            max_message_count: batch.max_message_count,
            absolute_max_bytes: batch.absolute_max_bytes,
            preferred_max_bytes: batch.preferred_max_bytes,
        };
        let organizations = organizations(root)?;
        Ok(Self { config, batch, batch_timeout: timeout, organizations, known: Mutex::default() })
    }

    /// The configuration itself.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Its number.
    pub(crate) fn sequence(&self) -> u64 {
        self.config.sequence
    }

    /// Up to where blocks are filled.
    pub(crate) fn batch_limits(&self) -> BatchLimits {
        self.batch
    }

    /// For how long a block waits for more.
    pub(crate) fn batch_timeout(&self) -> Duration {
        self.batch_timeout
    }

    /// A group below the root, such as `Application`.
    pub(crate) fn group(&self, name: &str) -> Option<&ConfigGroup> {
        self.config.channel_group.as_ref()?.groups.get(name)
    }

    /// The names of the application organizations with their MSP IDs.
    pub(crate) fn organizations(&self) -> Vec<(String, String)> {
        let Some(application) = self.group("Application") else { return Vec::new() };
        application.groups.iter().filter_map(|(name, group)| Some((name.clone(), msp_config(group)?.1.name))).collect()
    }

    /// Whether there is a policy at `path`.
    pub(crate) fn has_policy(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    fn find<'a>(&'a self, path: &'a str) -> Option<(&'a ConfigGroup, &'a str)> {
        let (groups, name) = path.strip_prefix("/Channel/")?.rsplit_once('/').unwrap_or_else(|| {
            // A policy of the root group itself.
            ("", path.strip_prefix("/Channel/").unwrap_or_default())
        });
        let root = self.config.channel_group.as_ref()?;
        let group =
            groups.split('/').filter(|part| !part.is_empty()).try_fold(root, |group, part| group.groups.get(part))?;
        group.policies.contains_key(name).then_some((group, name))
    }

    /// The identity behind a creator's bytes, valid for its organization.
    pub(crate) fn identity(&self, creator: &Bytes) -> Result<Identity, IdentityRefused> {
        let msp_id = Creator::decode(creator).map_err(|_| IdentityRefused::Unknown)?.msp_id;
        let msp = self.organizations.get(msp_id.as_str()).ok_or(IdentityRefused::Unknown)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = match known.get(creator) {
            Some(verdict) => verdict.clone(),
            None => {
                let verdict = msp.identity(creator).ok();
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(creator.clone(), verdict.clone());
                verdict
            }
        };
        verdict.ok_or_else(|| IdentityRefused::Invalid(msp_id.as_str().to_owned()))
    }

    /// Checks one signature of an identity of the channel.
    pub(crate) fn verify(&self, signed: &Signed) -> Result<Identity, IdentityRefused> {
        let identity = self.identity(&signed.identity)?;
        match identity.verify(&signed.data, &signed.signature) {
            Ok(()) => Ok(identity),
            Err(_) => Err(IdentityRefused::Invalid(identity.msp_id().as_str().to_owned())),
        }
    }

    /// Whoever of `signed` is of the channel and has really signed. The others are passed over.
    pub(crate) fn signers(&self, signed: &[Signed]) -> Vec<Identity> {
        signed.iter().filter_map(|signed| self.verify(signed).ok()).collect()
    }

    /// Whether the signatures satisfy the policy at `path`.
    pub(crate) fn evaluate(&self, path: &str, signed: &[Signed]) -> Result<(), Denied> {
        self.satisfied_by(path, &self.signers(signed))
    }

    /// Whether `signers`, whose signatures were verified, satisfy the policy at `path`.
    pub(crate) fn satisfied_by(&self, path: &str, signers: &[Identity]) -> Result<(), Denied> {
        let (group, name) = self.find(path).ok_or_else(|| Denied(format!("no such policy: '{path}'")))?;
        evaluate_in(group, name, signers)
    }

    /// Whether `signers`, whose signatures were verified, satisfy a chaincode's policy.
    pub(crate) fn satisfies_application(&self, policy: &ApplicationPolicy, signers: &[Identity]) -> bool {
        match policy {
            ApplicationPolicy::Signature(envelope) => policy::evaluate(envelope, signers),
            ApplicationPolicy::ChannelReference(path) => self.satisfied_by(path, signers).is_ok(),
        }
    }

    /// Whether more than half of the application organizations have a member among `signers`.
    pub(crate) fn majority_of_members(&self, signers: &[Identity]) -> bool {
        let organizations = self.organizations();
        let signed = organizations.iter().filter(|(_, msp_id)| {
            signers.iter().any(|signer| signer.msp_id().as_str() == msp_id && signer.has_role(Role::Member))
        });
        signed.count() > organizations.len() / 2
    }
}

/// Judges by the policy `name` of `group`, which for an implicit one means those of the groups below.
fn evaluate_in(group: &ConfigGroup, name: &str, signers: &[Identity]) -> Result<(), Denied> {
    let policy = group.policies.get(name).and_then(|policy| policy.policy.as_ref());
    let policy = policy.ok_or_else(|| Denied(format!("no such policy: '{name}'")))?;
    match PolicyType::try_from(policy.r#type) {
        Ok(PolicyType::Signature) => {
            let satisfied = SignaturePolicyEnvelope::decode(policy.value.clone())
                .is_ok_and(|envelope| policy::evaluate(&envelope, signers));
            if satisfied { Ok(()) } else { Err(Denied("signature set did not satisfy policy".to_owned())) }
        }
        Ok(PolicyType::ImplicitMeta) => {
            let meta = ImplicitMetaPolicy::decode(policy.value.clone())
                .map_err(|error| Denied(format!("policy '{name}' cannot be read: {error}")))?;
            let all = group.groups.len();
            let needed = match meta.rule() {
                _ if all == 0 => 0,
                implicit_meta_policy::Rule::Any => 1,
                implicit_meta_policy::Rule::All => all,
                implicit_meta_policy::Rule::Majority => all / 2 + 1,
            };
            let below = group.groups.values();
            let satisfied = below.filter(|below| evaluate_in(below, &meta.sub_policy, signers).is_ok()).count();
            if satisfied >= needed {
                return Ok(());
            }
            Err(Denied(format!(
                "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy \
                 requires {needed} of the '{}' sub-policies to be satisfied",
                meta.sub_policy
            )))
        }
        _ => Err(Denied(format!("policy '{name}' is of an unknown type"))),
    }
}

/// The MSPs of all organizations, be they of the application or of the ordering service.
fn organizations(root: &ConfigGroup) -> Result<BTreeMap<String, Msp>, AccessError> {
    let capabilities = value::<Capabilities>(root, "Capabilities").unwrap_or_default();
    let version = if capabilities.capabilities.contains_key("V3_0") { MspVersion::V3_0 } else { MspVersion::V1_4_3 };
    let mut organizations = BTreeMap::new();
    for (name, group) in root.groups.values().flat_map(|group| &group.groups) {
        let config = value::<pb::msp::MspConfig>(group, "MSP")
            .ok_or_else(|| AccessError(format!("MSP of organization {name} is missing")))?;
        let msp = Msp::from_config(&config, version)
            .map_err(|error| AccessError(format!("MSP of organization {name} cannot be used: {error}")))?;
        organizations.insert(msp.msp_id().as_str().to_owned(), msp);
    }
    Ok(organizations)
}

/// The MSP configuration of an organization's group, encoded and decoded.
pub(crate) fn msp_config(group: &ConfigGroup) -> Option<(pb::msp::MspConfig, pb::msp::FabricMspConfig)> {
    let config = value::<pb::msp::MspConfig>(group, "MSP")?;
    let fabric = pb::msp::FabricMspConfig::decode(config.config.clone()).ok()?;
    Some((config, fabric))
}

/// A value of a group, decoded.
pub(crate) fn value<M: prost::Message + Default>(group: &ConfigGroup, key: &str) -> Option<M> {
    M::decode(group.values.get(key)?.value.clone()).ok()
}

/// A duration in Go's notation, such as `2s`, `250ms` or `1m30s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_does() {
        for (text, expected) in [
            ("2s", Some(Duration::from_secs(2))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("0s", None),
            ("-1s", None),
            ("2", None),
            ("", None),
            ("1e400s", None),
        ] {
            assert_eq!(go_duration(text), expected, "for {text:?}");
        }
    }

    /// A channel of two organizations, and what signs for `who` (such as `Org1/Admin@`) there.
    fn channel(folder: &std::path::Path) -> (Access, impl Fn(&str, &[u8]) -> Signed) {
        use crate::devnet::crypto::{NodeKind, OrganizationCrypto};
        use crate::devnet::genesis::{self, Batch, Member};
        use crate::fabric::identity::{MspFolder, Signer as _, SigningIdentity};
        use crate::fabric::names::{ChannelName, MspId};
        use crate::fabric::tx::Nonce;

        let mut members = Vec::new();
        for number in [1, 2] {
            let domain = format!("org{number}.example.com");
            let crypto = OrganizationCrypto::generate(folder, &domain).unwrap();
            for (user, unit) in [("Admin", "admin"), ("User1", "client")] {
                crypto.add_user(user, unit).unwrap();
            }
            crypto.add_node(NodeKind::Peer, "peer0").unwrap();
            crypto.add_node(NodeKind::Orderer, "orderer0").unwrap();
            let msp_id = MspId::parse(format!("Org{number}MSP")).unwrap();
            let msp = MspFolder::load(&msp_id, &crypto.msp_folder()).unwrap();
            members.push(Member { msp_id, msp, anchor: ("localhost".to_owned(), 7051), orderers: Vec::new() });
        }
        let limits = BatchLimits { max_message_count: 1, absolute_max_bytes: 1, preferred_max_bytes: 1 };
        let batch = Batch { limits, timeout: Duration::from_secs(1) };
        let block = genesis::block(&ChannelName::parse("ch").unwrap(), &members, batch, Nonce([0; 24]));
        let folder = folder.to_owned();
        let sign = move |who: &str, message: &[u8]| {
            let (number, node) = who.split_once('/').unwrap();
            let domain = format!("org{number}.example.com");
            let below = match node {
                "peer0" => format!("peers/peer0.{domain}"),
                "orderer0" => format!("orderers/orderer0.{domain}"),
                user => format!("users/{user}@{domain}"),
            };
            let msp = folder.join("peerOrganizations").join(&domain).join(below).join("msp");
            let msp_id = MspId::parse(format!("Org{number}MSP")).unwrap();
            let identity = SigningIdentity::load_msp(msp_id, &msp).unwrap();
            let signature = identity.sign_now(message);
            Signed { identity: identity.creator().clone(), data: message.to_vec().into(), signature }
        };
        (Access::from_block(&block).unwrap(), sign)
    }

    #[test]
    fn policies_of_a_channel() {
        let folder = tempfile::tempdir().unwrap();
        let (access, sign) = channel(folder.path());
        for (path, signers, granted) in [
            ("/Channel/Writers", ["1/User1"].as_slice(), true),
            ("/Channel/Writers", &["2/Admin"], true),
            ("/Channel/Writers", &["1/peer0"], false),
            ("/Channel/Writers", &[], false),
            ("/Channel/Readers", &["1/peer0"], true),
            ("/Channel/Readers", &["1/orderer0"], true),
            ("/Channel/Application/Readers", &["1/orderer0"], false),
            ("/Channel/Orderer/BlockValidation", &["2/orderer0"], true),
            ("/Channel/Application/Admins", &["1/Admin"], false),
            ("/Channel/Application/Admins", &["1/Admin", "1/Admin"], false),
            ("/Channel/Application/Admins", &["1/Admin", "2/Admin"], true),
            ("/Channel/Application/Endorsement", &["1/peer0", "2/peer0"], true),
            ("/Channel/Application/Endorsement", &["1/peer0", "2/User1"], false),
            ("/Channel/Application/Org1MSP/Endorsement", &["1/peer0"], true),
            ("/Channel/Application/Org1MSP/Endorsement", &["2/peer0"], false),
            ("/Channel/Application/Nothing", &["1/Admin", "2/Admin"], false),
            ("/Channel", &["1/Admin", "2/Admin"], false),
            ("", &["1/Admin", "2/Admin"], false),
        ] {
            let signed: Vec<_> = signers.iter().map(|who| sign(who, b"message")).collect();
            assert_eq!(access.evaluate(path, &signed).is_ok(), granted, "{path} by {signers:?}");
        }
        let mut forged = sign("1/User1", b"message");
        forged.data = Bytes::from("another message");
        assert!(access.evaluate("/Channel/Writers", &[forged]).is_err());
        assert_eq!(access.organizations().len(), 2);
    }
}
