//! Edits of the channel as a whole and of its application, organizations aside.
//!
//! Source: fabric-config 0.3.0 `configtx/channel.go`, `application.go`, `capabilities.go`.

use std::collections::BTreeMap;

use super::build::{self, Dialect};
use super::profile::ChannelProfile;
use super::{EditError, Part, child};
use crate::fabric::config::tree::ConfigGroup;

/// A channel without an application is the system channel: only the channel's own policies are looked at.
pub(super) fn set(root: &mut ConfigGroup, profile: &ChannelProfile) -> Result<(), EditError> {
    let channel = profile.channel.as_ref().ok_or_else(|| EditError::profile("section Channel is missing"))?;
    let policies = build::policies(&channel.policies, &[], Dialect::Profiles)?;
    if let Some(group) = root.groups.get_mut("Application") {
        let application = profile.application.as_ref();
        let application = application.ok_or_else(|| EditError::profile("section Application is missing"))?;
        let policies = build::policies(&application.policies, &[], Dialect::Profiles)?;
        build::replace_policies(group, policies);
        if group.values.contains_key("ACLs") || !application.acls.is_empty() {
            set_acls(group, &application.acls)?;
        }
    }
    build::replace_policies(root, policies);
    Ok(())
}

/// An empty list stays as an empty value: that removes nothing from the group, so the members' policies are not asked.
pub(super) fn set_acls(application: &mut ConfigGroup, acls: &BTreeMap<String, String>) -> Result<(), EditError> {
    if let Some((resource, _)) = acls.iter().find(|(_, policy)| policy.is_empty()) {
        return Err(EditError::profile(format!("the ACL {resource} names no policy")));
    }
    build::set(application, "ACLs", build::acls(acls));
    Ok(())
}

pub(super) fn set_capabilities(root: &mut ConfigGroup, part: Part, names: &[String]) -> Result<(), EditError> {
    let group = match part {
        Part::Channel => root,
        Part::Orderer => child(root, "Orderer")?,
        Part::Application => child(root, "Application")?,
    };
    build::set(group, "Capabilities", build::capabilities(names.iter().map(String::as_str)));
    Ok(())
}
