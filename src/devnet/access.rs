//! Who may do what on a channel, by its configuration.
//!
//! A module of its own because orderers and peers ask the same question: do these signatures satisfy that policy? What
//! identities and policies are is known to [`fabric`](crate::fabric); here verdicts on identities are remembered for as
//! long as a configuration is in force.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;

use crate::fabric::config::{BatchLimits, ChannelConfig, ConfigError, Consensus};
use crate::fabric::identity::{Certificate, Creator, Identity};
use crate::fabric::policy::PolicyError;
use crate::pb::common::{Block, Config, ConfigGroup, Envelope, Payload, SignatureHeader, SignaturePolicyEnvelope};
use crate::pb::msp::{FabricMspConfig, MspConfig};

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

impl Signed {
    /// Whether the signer's certificate has expired; what cannot be read has not.
    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        let creator = Creator::decode(&self.identity).ok();
        let certificate = creator.and_then(|creator| Certificate::from_pem(&creator.certificate_pem).ok());
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        certificate.is_some_and(|certificate| u64::try_from(certificate.not_after()).is_ok_and(|end| end < now))
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

/// Why signatures do not satisfy a policy, in Fabric's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denied(String);

/// How many identities are remembered with the verdict on them.
const REMEMBERED: usize = 1000;

/// One version of one channel's configuration.
#[derive(Debug)]
pub(crate) struct Access {
    config: ChannelConfig,
    /// Verdicts on identities: a certificate's chain costs more than a signature.
    known: Mutex<HashMap<Bytes, Option<Identity>>>,
}

impl Access {
    /// The configuration that a configuration block brings.
    pub(crate) fn from_block(block: &Block) -> Result<Self, ConfigError> {
        Ok(Self::new(ChannelConfig::from_block(block)?))
    }

    /// A configuration that was read already.
    pub(crate) fn new(config: ChannelConfig) -> Self {
        Self { config, known: Mutex::default() }
    }

    /// All of it.
    pub(crate) fn channel_config(&self) -> &ChannelConfig {
        &self.config
    }

    /// The configuration itself.
    pub(crate) fn config(&self) -> &Config {
        self.config.config()
    }

    /// The channel's name.
    pub(crate) fn channel(&self) -> &str {
        self.config.channel().as_str()
    }

    /// How the orderers agree.
    pub(crate) fn consensus(&self) -> &Consensus {
        self.config.consensus()
    }

    /// Its number.
    pub(crate) fn sequence(&self) -> u64 {
        self.config.sequence()
    }

    /// Up to where blocks are filled, and for how long they wait for more.
    pub(crate) fn batch(&self) -> &BatchLimits {
        self.config.batch()
    }

    /// What the application's nodes must be able to do.
    pub(crate) fn application_capabilities(&self) -> &BTreeSet<String> {
        self.config.application_capabilities()
    }

    /// The names of the application organizations' groups with their MSP IDs.
    pub(crate) fn organizations(&self) -> Vec<(String, String)> {
        let organizations = self.config.application().values();
        organizations.map(|it| (it.name().to_owned(), it.msp_id().as_str().to_owned())).collect()
    }

    /// A group below the root, such as `Application`.
    pub(crate) fn group(&self, name: &str) -> Option<&ConfigGroup> {
        self.config().channel_group.as_ref()?.groups.get(name)
    }

    /// Whether there is a policy at `path`.
    pub(crate) fn has_policy(&self, path: &str) -> bool {
        self.config.policies().contains(path)
    }

    /// The policy at `path` as one of signatures, whatever it is made of.
    pub(crate) fn signature_policy(&self, path: &str) -> Option<SignaturePolicyEnvelope> {
        self.config.policies().to_signature_policy(path)
    }

    /// The member of the channel that `creator` is.
    pub(crate) fn identity(&self, creator: &Bytes) -> Result<Identity, IdentityRefused> {
        let msp_id = Creator::decode(creator).map_err(|_| IdentityRefused::Unknown)?.msp_id;
        self.config.organization(&msp_id).ok_or(IdentityRefused::Unknown)?;
        let remembered = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(creator).cloned();
        let verdict = remembered.unwrap_or_else(|| {
            let verdict = self.config.identity(creator).ok();
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(creator.clone(), verdict.clone());
            verdict
        });
        verdict.ok_or_else(|| {
            // One that cannot even be read is nobody's.
            let known = self.config.organization(&msp_id).and_then(|organization| organization.msp().ok());
            match known.map(|msp| msp.deserialize(creator)) {
                Some(Ok(_)) => IdentityRefused::Invalid(msp_id.as_str().to_owned()),
                _ => IdentityRefused::Unknown,
            }
        })
    }

    /// Checks one signature of an identity of the channel.
    pub(crate) fn verify(&self, signed: &Signed) -> Result<Identity, IdentityRefused> {
        let identity = self.identity(&signed.identity)?;
        match identity.verify(&signed.data, &signed.signature) {
            Ok(()) => Ok(identity),
            Err(_) => Err(IdentityRefused::Invalid(identity.msp_id().as_str().to_owned())),
        }
    }

    /// Whether the signatures satisfy the policy at `path`. Those that are not good are passed over.
    pub(crate) fn evaluate(&self, path: &str, signed: &[Signed]) -> Result<(), Denied> {
        let signers: Vec<_> = signed.iter().filter_map(|signed| self.verify(signed).ok()).collect();
        self.config.policies().evaluate(path, &signers).map_err(|error| match error {
            PolicyError::Unsatisfied { reason, .. } => Denied(reason),
            PolicyError::Unknown { path } => Denied(format!("No such policy: '{path}'")),
            other => Denied(other.to_string()),
        })
    }

    /// The policy by which the channel guards a resource, where it is not the usual one.
    pub(crate) fn acl(&self, resource: &str) -> Option<String> {
        let policy = self.config.acls().get(resource).filter(|policy| !policy.is_empty())?;
        Some(if policy.starts_with('/') { policy.clone() } else { format!("/Channel/Application/{policy}") })
    }
}

/// The MSP configuration of an organization's group, encoded and decoded.
pub(crate) fn msp_config(group: &ConfigGroup) -> Option<(MspConfig, FabricMspConfig)> {
    let config = value::<MspConfig>(group, "MSP")?;
    let fabric = FabricMspConfig::decode(config.config.clone()).ok()?;
    Some((config, fabric))
}

/// A value of a group, decoded.
pub(crate) fn value<M: prost::Message + Default>(group: &ConfigGroup, key: &str) -> Option<M> {
    M::decode(group.values.get(key)?.value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A channel of two organizations, and what signs for `who` (such as `Org1/Admin@`) there.
    fn channel(folder: &std::path::Path) -> (Access, impl Fn(&str, &[u8]) -> Signed) {
        use crate::devnet::crypto::{NodeKind, OrganizationCrypto};
        use crate::devnet::genesis::{self, Member};
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
        let batch = BatchLimits {
            max_messages: 1,
            absolute_max_bytes: 1,
            preferred_max_bytes: 1,
            timeout: Duration::from_secs(1),
        };
        let block = genesis::block(&ChannelName::parse("ch").unwrap(), &members, &batch, Nonce([0; 24]));
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
