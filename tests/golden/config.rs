//! Configurations: updates, edits, signatures, first blocks.

use opssc::fabric::config::tree::{Config, ConfigUpdate};
use opssc::fabric::config::update::{apply, compute};

use sha2::Digest as _;

use super::support::{Case, Finding, agree, family, same, same_file};

/// The canonical form of an update: all maps sorted, also inside values.
fn same_update(case: &Case, name: &str, ours: &[u8]) -> Finding {
    let ours = ConfigUpdate::decode(ours).map_err(|error| error.to_string())?.canonical().encode();
    same_file(&case.folder.join(name), &ours)
}

pub(crate) fn config_update() {
    family("config-update", |case| {
        let config = |pointer| Config::decode(&case.bytes(case.text(pointer))).map_err(|error| error.to_string());
        let (original, updated) = (config("/input/original")?, config("/input/updated")?);
        let channel = case.text("/input/channel_id");
        let Some(update) = agree(compute(channel, &original, &updated), case.ok())? else { return Ok(()) };
        // Nothing is written anew on the way.
        same_file(&case.folder.join("expected.update.canonical.pb"), &update.canonical().encode())?;
        let sample = ConfigUpdate::decode(&case.bytes("sample.update.pb")).map_err(|error| error.to_string())?;
        same_update(case, "expected.update.canonical.pb", &sample.encode())?;
        let root = original.channel_group.as_ref().ok_or("no channel group")?;
        let accepted = case.get("/expected/apply/ok").as_bool() == Some(true);
        let Some(group) = agree(apply(root, &sample, channel, |_| Ok(())), accepted)? else { return Ok(()) };
        let mut result = original.clone();
        result.sequence += 1;
        result.channel_group = Some(group);
        let result = result.canonical().encode();
        let hash = opssc::fabric::names::hex(&sha2::Sha256::digest(&result));
        same("result", &hash.as_str(), &case.text("/expected/result_canonical_sha256"))
    });
}
