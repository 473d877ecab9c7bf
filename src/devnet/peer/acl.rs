//! Who may ask a peer for what.
//!
//! A module of its own because the rules are a table: what is asked, and the policy for it. Some are judged by the
//! channel's configuration, some by the peer's own organization.
//!
//! Source: Fabric 3.1.5 `core/aclmgmt/defaultaclprovider.go`, `core/policy/policy.go`.

use super::Peer;
use super::channel::{READERS, WRITERS};
use super::context::Refused;
use super::proposal::{UnpackedProposal, shown};
use crate::devnet::access::Signed;
use crate::fabric::identity::Role;

/// By whose rule a resource is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// One of the peer's own organization, with this role.
    Local(Role),
    /// A policy of the channel.
    Channel(&'static str),
}

/// The rule of a resource, which is `chaincode/function`; `None` where there is none.
pub(super) fn guard(resource: &str) -> Option<Guard> {
    Some(match resource {
        "_lifecycle/InstallChaincode"
        | "_lifecycle/QueryInstalledChaincode"
        | "_lifecycle/GetInstalledChaincodePackage"
        | "_lifecycle/QueryInstalledChaincodes"
        | "_lifecycle/ApproveChaincodeDefinitionForMyOrg"
        | "_lifecycle/QueryApprovedChaincodeDefinition"
        | "_lifecycle/QueryApprovedChaincodeDefinitions"
        | "cscc/JoinChain"
        | "cscc/JoinChainBySnapshot"
        | "cscc/JoinBySnapshotStatus" => Guard::Local(Role::Admin),
        "cscc/GetChannels" => Guard::Local(Role::Member),
        "_lifecycle/CommitChaincodeDefinition"
        | "_lifecycle/QueryChaincodeDefinition"
        | "_lifecycle/QueryChaincodeDefinitions"
        | "_lifecycle/CheckCommitReadiness"
        | "peer/Propose"
        | "peer/ChaincodeToChaincode" => Guard::Channel(WRITERS),
        "qscc/GetChainInfo"
        | "qscc/GetBlockByNumber"
        | "qscc/GetBlockByHash"
        | "qscc/GetTransactionByID"
        | "qscc/GetBlockByTxID"
        | "cscc/GetConfigBlock"
        | "cscc/GetChannelConfig"
        | "event/Block"
        | "event/FilteredBlock"
        | "gateway/CommitStatus"
        | "gateway/ChaincodeEvents" => Guard::Channel(READERS),
        _ => return None,
    })
}

impl Peer {
    /// Whether whoever made `proposal` may use `resource`, on `channel` where the rule is a channel's.
    pub(super) fn check_acl(&self, resource: &str, channel: &str, proposal: &UnpackedProposal) -> Result<(), Refused> {
        match guard(resource) {
            None => Err(Refused(format!("Unmapped policy for {}", shown(resource)))),
            Some(Guard::Local(role)) => self.check_local(role, proposal),
            Some(Guard::Channel(policy)) => self.check_channel(resource, policy, channel, &proposal.signed_data()),
        }
    }

    /// Whether whoever signed may use a resource of `channel` that is for its readers, unless the channel says otherwise.
    pub(super) fn check_reader(&self, resource: &str, channel: &str, signed: &Signed) -> Result<(), Refused> {
        self.check_channel(resource, READERS, channel, signed)
    }

    fn check_channel(&self, resource: &str, policy: &str, channel: &str, signed: &Signed) -> Result<(), Refused> {
        if channel.is_empty() {
            return Err(Refused::new(
                "Invalid channel ID name during check policy on signed data. Name must be different from nil.",
            ));
        }
        let Some(known) = self.channel(channel) else {
            return Err(Refused(format!("Failed to get policy manager for channel [{}]", shown(channel))));
        };
        let access = known.access();
        if let Some(policy) = access.acl(resource) {
            return access.evaluate(&policy, std::slice::from_ref(signed)).map_err(|error| {
                Refused(format!("failed evaluating policy on signed data during check policy [{policy}]: [{error}]"))
            });
        }
        access.evaluate(policy, std::slice::from_ref(signed)).map_err(|error| {
            Refused(format!(
                "Failed evaluating policy on signed data during check policy on channel [{channel}] with policy \
                 [{policy}]: [{error}]"
            ))
        })
    }

    fn check_local(&self, role: Role, proposal: &UnpackedProposal) -> Result<(), Refused> {
        let policy = if role == Role::Admin { "Admins" } else { "Members" };
        let identity = self.local_msp.identity(&proposal.signature_header.creator).map_err(|error| {
            Refused(format!(
                "Failed deserializing proposal creator during channelless check policy with policy [{policy}]: [{error}]"
            ))
        })?;
        if !identity.has_role(role) {
            let msp = &self.msp_id;
            let reason = if role == Role::Admin {
                format!(
                    "The identity is not an admin under this MSP [{msp}]: The identity does not contain OU [ADMIN], \
                     MSP: [{msp}]"
                )
            } else {
                format!("The identity is not a member under this MSP [{msp}]")
            };
            return Err(Refused(format!(
                "Failed verifying that proposal's creator satisfies local MSP principal during channelless check \
                 policy with policy [{policy}]: [{reason}]"
            )));
        }
        let signed = &proposal.signed;
        identity.verify(&signed.proposal_bytes, &signed.signature).map_err(|error| Refused(error.to_string()))
    }
}

impl UnpackedProposal {
    /// What was signed, by whom.
    pub(super) fn signed_data(&self) -> Signed {
        Signed {
            identity: self.signature_header.creator.clone(),
            data: self.signed.proposal_bytes.clone(),
            signature: self.signed.signature.clone(),
        }
    }
}
