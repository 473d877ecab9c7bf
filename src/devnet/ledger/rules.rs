//! The channel's configuration, as far as checks of transactions ask it: who is a member, which policy is satisfied.
//!
//! A file of its own because the ledger changes it as a whole with a configuration block. What was found out about
//! identities is kept with the configuration ([`Access`]), and holds as long as it does.
//!
//! Source: Fabric 3.1.5 `common/policies`, `core/chaincode/lifecycle/deployedcc_infoprovider.go`.

use std::sync::Arc;

use bytes::Bytes;

use crate::devnet::access::Access;
use crate::fabric::config::ChannelConfig;
use crate::fabric::identity::{Identity, Role};
use crate::fabric::names::MspId;
use crate::fabric::policy::{self, ApplicationPolicy};
use crate::pb::common::{SignaturePolicy, SignaturePolicyEnvelope, signature_policy};

const LIFECYCLE_ENDORSEMENT: &str = "/Channel/Application/LifecycleEndorsement";

/// One version of a channel's configuration.
#[derive(Debug)]
pub(super) struct Rules(Arc<Access>);

impl Rules {
    /// The rules that follow from a configuration.
    pub(super) fn new(config: ChannelConfig) -> Self {
        Self(Arc::new(Access::new(config)))
    }

    /// What the configuration allows to whom.
    pub(super) fn access(&self) -> &Arc<Access> {
        &self.0
    }

    /// The configuration.
    pub(super) fn config(&self) -> &ChannelConfig {
        self.0.channel_config()
    }

    /// The member of the channel that `creator` is, if it is a valid one.
    pub(super) fn identity(&self, creator: &Bytes) -> Option<Identity> {
        self.0.identity(creator).ok()
    }

    /// The policy for what is written to `_lifecycle` in the open.
    pub(super) fn lifecycle_policy(&self) -> ApplicationPolicy {
        if self.config().policies().contains(LIFECYCLE_ENDORSEMENT) {
            return ApplicationPolicy::ChannelReference(LIFECYCLE_ENDORSEMENT.to_owned());
        }
        // Channels from before such policies: a member of more than half of the organizations.
        let organizations: Vec<_> = self.config().application().keys().map(MspId::as_str).collect();
        members(organizations.len() / 2 + 1, &organizations)
    }

    /// The policy of an organization's implicit collection; `None` where the channel has no such organization.
    pub(super) fn implicit_collection_policy(&self, owner: &str) -> Option<ApplicationPolicy> {
        let organization = self.config().application().get(&MspId::parse(owner).ok()?)?;
        let path = format!("/Channel/Application/{}/Endorsement", organization.name());
        if self.config().policies().contains(&path) {
            return Some(ApplicationPolicy::ChannelReference(path));
        }
        Some(members(1, &[owner]))
    }

    /// Whether `signers`, whose signatures were verified, satisfy `policy`.
    pub(super) fn satisfied(&self, policy: &ApplicationPolicy, signers: &[Identity]) -> bool {
        match policy {
            ApplicationPolicy::Signature(policy) => policy::evaluate(policy, signers),
            ApplicationPolicy::ChannelReference(path) => self.config().policies().evaluate(path, signers).is_ok(),
        }
    }
}

/// `n` of `organizations`, each by any member.
fn members(n: usize, organizations: &[&str]) -> ApplicationPolicy {
    let signed_by = |at: usize| SignaturePolicy {
        r#type: Some(signature_policy::Type::SignedBy(i32::try_from(at).unwrap_or(i32::MAX))),
    };
    ApplicationPolicy::Signature(SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy {
            r#type: Some(signature_policy::Type::NOutOf(signature_policy::NOutOf {
                n: i32::try_from(n).unwrap_or(i32::MAX),
                rules: (0..organizations.len()).map(signed_by).collect(),
            })),
        }),
        identities: organizations.iter().map(|organization| Role::Member.principal(organization)).collect(),
    })
}
