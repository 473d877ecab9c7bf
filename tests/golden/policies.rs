//! Policies: as text, as messages.

use opssc::fabric::policy::{ApplicationPolicy, dsl};
use prost::Message as _;

use super::support::{agree, family, same_file};

#[test]
fn policy_dsl() {
    family("policy-dsl", |case| {
        let text = String::from_utf8(case.bytes("policy.txt")).unwrap();
        let Some(policy) = agree(dsl::parse(&text), case.ok())? else { return Ok(()) };
        same_file(&case.folder.join("expected.pb"), &policy.encode_to_vec())?;
        let printed = dsl::print(&policy).map_err(|error| error.to_string())?;
        match dsl::parse(&printed) {
            Ok(again) if again == policy => Ok(()),
            _ => Err(format!("printed as {printed}, which is another policy")),
        }
    });
}

#[test]
fn application_policy() {
    family("application-policy", |case| {
        let input = case.json("input.json");
        let flag = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        let policy = ApplicationPolicy::parse_flags(&flag("signaturePolicy"), &flag("channelConfigPolicy"));
        let Some(policy) = agree(policy, case.ok())? else { return Ok(()) };
        let expected = case.folder.join("expected.pb");
        match policy {
            Some(policy) => {
                same_file(&expected, &policy.encode())?;
                match ApplicationPolicy::decode(&policy.encode()) {
                    Ok(again) if again == policy => Ok(()),
                    _ => Err("decoded to another policy".to_owned()),
                }
            }
            None if case.get("/expected/absent").as_bool() == Some(true) || !expected.exists() => Ok(()),
            None => same_file(&expected, &[]),
        }
    });
}
