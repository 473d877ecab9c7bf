//! The update that creates a channel where there is a system channel.
//!
//! A module of its own because it has no configuration to start from: the orderers put together the consortium's
//! members and what the update says of the application.
//!
//! Source: fabric-config 0.3.0 `configtx/config.go`; Fabric 2.5.16 `orderer/common/msgprocessor`.

use prost::Message as _;

use super::EditError;
use super::build::{self, Dialect};
use super::profile::CreateChannelProfile;
use crate::fabric::config::tree::{Config, ConfigGroup, ConfigUpdate, ConfigValue};
use crate::fabric::config::update::compute;
use crate::pb::common::Consortium;

/// The update that creates `channel`.
///
/// # Errors
/// [`EditError`] when the profile lacks something.
pub fn create_channel(channel: &str, profile: &CreateChannelProfile) -> Result<ConfigUpdate, EditError> {
    if channel.is_empty() {
        return Err(EditError::profile("the channel has no name"));
    }
    if profile.consortium.is_empty() {
        return Err(EditError::profile("section 'Consortium' should be set"));
    }
    let application = profile.application.as_ref();
    let application = application.ok_or_else(|| EditError::profile("section 'Application' should be set"))?;
    let mut group = build::group();
    group.policies = build::policies(&application.policies, &[], Dialect::Profiles)?;
    if !application.acls.is_empty() {
        super::channel::set_acls(&mut group, &application.acls)?;
    }
    if !application.capabilities.is_empty() {
        let names = application.capabilities.iter().map(String::as_str);
        build::set(&mut group, "Capabilities", build::capabilities(names));
    }
    for name in &application.organizations {
        group.groups.insert(name.clone(), ConfigGroup::default());
    }
    // What the consortium brings: the members without anything else.
    let mut known = build::group();
    known.groups.clone_from(&group.groups);
    let config = |application: ConfigGroup| {
        let mut root = build::group();
        root.groups.insert("Application".to_owned(), application);
        Config { channel_group: Some(root), ..Config::default() }
    };
    let mut update =
        compute(channel, &config(known), &config(group)).map_err(|error| EditError::profile(error.to_string()))?;
    let consortium = Consortium { name: profile.consortium.clone() }.encode_to_vec();
    for (set, value) in [(&mut update.read_set, Vec::new()), (&mut update.write_set, consortium)] {
        let value = ConfigValue::new(value, "");
        set.get_or_insert_default().values.insert("Consortium".to_owned(), value);
    }
    Ok(update)
}
