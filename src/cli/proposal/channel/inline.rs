//! Profiles that name files, made into profiles that hold them.
//!
//! A module of its own because a proposal carries its profile to other machines: only what it holds itself can be worked
//! out anew there. Whoever proposes checks that both profiles make the same update.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::fabric::identity::MspFolder;
use crate::fabric::names::MspId;
use crate::pb::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};

/// The profile of `execute-multiple-ops` with the content of the files that it names below `folder`.
pub(super) fn inlined(profile: &Value, folder: &Path) -> anyhow::Result<Value> {
    let mut profile = profile.clone();
    for command in profile.as_array_mut().into_iter().flatten() {
        let Some(parameters) = command.get_mut("Parameters") else { continue };
        if let Some(organization) = parameters.get_mut("Org").and_then(Value::as_object_mut) {
            inline_msp(organization, folder)?;
        }
        for name in ["ClientTLSCert", "ServerTLSCert", "Identity"] {
            if let Some(file) = parameters.get_mut("Consenter").and_then(|consenter| consenter.get_mut(name)) {
                inline_file(file, folder)?;
            }
        }
        for list in parameters.get_mut("RevocationList").and_then(Value::as_array_mut).into_iter().flatten() {
            inline_file(list, folder)?;
        }
    }
    Ok(profile)
}

/// The text of a file in place of its name.
fn inline_file(value: &mut Value, folder: &Path) -> anyhow::Result<()> {
    let Some(name) = value.as_str().filter(|name| !name.is_empty() && !name.contains("-----BEGIN")) else {
        return Ok(());
    };
    let file = folder.join(name);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    *value = text.into();
    Ok(())
}

/// `MSP` in place of `MSPDir`.
fn inline_msp(organization: &mut Map<String, Value>, folder: &Path) -> anyhow::Result<()> {
    let Some(directory) = organization.get("MSPDir").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let id = organization.get("ID").and_then(Value::as_str).unwrap_or_default();
    let msp = MspFolder::load(&MspId::parse(id)?, &folder.join(directory))?;
    let msp = described(msp.fabric_config());
    organization.remove("MSPDir");
    organization.insert("MSP".to_owned(), msp);
    Ok(())
}

fn described(msp: &FabricMspConfig) -> Value {
    let texts = |list: &[bytes::Bytes]| list.iter().map(|pem| text(pem)).collect::<Value>();
    let mut described = json!({
        "RootCerts": texts(&msp.root_certs),
        "IntermediateCerts": texts(&msp.intermediate_certs),
        "Admins": texts(&msp.admins),
        "RevocationList": texts(&msp.revocation_list),
        "OrganizationalUnitIdentifiers": msp.organizational_unit_identifiers.iter().map(unit).collect::<Value>(),
        "TLSRootCerts": texts(&msp.tls_root_certs),
        "TLSIntermediateCerts": texts(&msp.tls_intermediate_certs),
    });
    if let Some(units) = &msp.fabric_node_ous {
        described["NodeOUs"] = node_units(units);
    }
    described
}

fn node_units(units: &FabricNodeOUs) -> Value {
    let mut described = json!({"Enable": units.enable});
    for (name, identifier) in [
        ("ClientOUIdentifier", &units.client_ou_identifier),
        ("PeerOUIdentifier", &units.peer_ou_identifier),
        ("AdminOUIdentifier", &units.admin_ou_identifier),
        ("OrdererOUIdentifier", &units.orderer_ou_identifier),
    ] {
        if let Some(identifier) = identifier {
            described[name] = unit(identifier);
        }
    }
    described
}

fn unit(identifier: &FabricOuIdentifier) -> Value {
    json!({
        "OrganizationalUnitIdentifier": identifier.organizational_unit_identifier,
        "Certificate": text(&identifier.certificate),
    })
}

fn text(pem: &[u8]) -> Value {
    String::from_utf8_lossy(pem).into_owned().into()
}
