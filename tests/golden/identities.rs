//! Keys, certificates, identities.

use opssc::fabric::identity::{Msp, MspFolder, MspVersion, PrivateKey, Role, Signer as _, SigningIdentity};
use opssc::fabric::names::{MspId, hex};
use prost::Message as _;

use super::support::{Case, Finding, agree, family, same, same_file, unhex};

pub(crate) fn private_keys() {
    family("private-keys", |case| {
        agree(PrivateKey::from_pem(&case.bytes("key.pem")), case.ok()).and_then(|key| {
            let Some(key) = key else { return Ok(()) };
            let signature = key.sign(b"message");
            if !key.public_key().verify(b"message", &signature) {
                return Err("its own signature does not verify".to_owned());
            }
            let expected = case.get("/expected/keystore/curve").as_str();
            same("kind", &Some(key.kind()), &expected)
        })
    });
}

pub(crate) fn ski() {
    family("ski", |case| {
        let ours = opssc::fabric::identity::ski(&case.bytes("cert.pem")).map_err(|error| error.to_string())?;
        same("ski", &hex(&ours).as_str(), &case.text("/expected/ski_hex"))
    });
}

pub(crate) fn identity_serialized() {
    family("identity-serialized", |case| {
        let folder = case.tree("tree.json");
        let msp_id = MspId::parse(msp_id(case)).unwrap();
        let Some(identity) = agree(SigningIdentity::load_msp(msp_id, folder.path()), case.ok())? else {
            return Ok(());
        };
        same_file(&case.folder.join("expected.pb"), identity.creator())
    });
}

fn msp_id(case: &Case) -> &str {
    ["/input/mspid", "/input/msp_id", "/input/mspId", "/input/id"]
        .iter()
        .find_map(|pointer| case.get(pointer).as_str())
        .unwrap_or("Org1MSP")
}

pub(crate) fn identity_verify() {
    family("identity-verify", |case| {
        let folder = case.tree("tree.json");
        let config = MspFolder::load(&MspId::parse(msp_id(case)).unwrap(), folder.path())
            .map_err(|error| error.to_string())?
            .to_config();
        for (version, name) in [(MspVersion::V1_4_3, "v1_4_3"), (MspVersion::V3_0, "v3_0")] {
            let msp = Msp::from_config(&config, version).map_err(|error| format!("{name}: {error}"))?;
            verify(case, &msp, name).map_err(|finding| format!("{name}: {finding}"))?;
        }
        Ok(())
    });
}

fn verify(case: &Case, msp: &Msp, version: &str) -> Finding {
    let creator = case.bytes("identity.pb");
    let message = unhex(case.text("/input/message_hex"));
    let signature = unhex(case.text("/input/signature_hex"));
    let accepted = msp.identity(&creator).and_then(|identity| identity.verify(&message, &signature));
    let expected = |key: &str| case.get(&format!("/expected/{version}/{key}"));
    agree(accepted, expected("accepted").as_bool().unwrap())?;
    let roles = match (msp.deserialize(&creator), expected("deserialize").is_null()) {
        (Ok(identity), true) => identity,
        (Err(_), false) => return Ok(()),
        (Ok(_), false) => return Err("deserialized, but Fabric refuses it".to_owned()),
        (Err(error), true) => return Err(format!("not deserialized, but Fabric does it: {error}")),
    };
    for role in Role::ALL {
        let name = role.as_str().to_uppercase();
        let expected = expected("roles")[&name].as_bool().unwrap();
        same(&name, &roles.satisfies(&role.principal(msp.msp_id().as_str())), &expected)?;
    }
    let again = expected("serialize_again_equal").as_bool().unwrap();
    same("serialized again", &(roles.creator() == creator), &again)
}

pub(crate) fn msp_config() {
    family("msp-config", |case| {
        let folder = case.tree("tree.json");
        let read = MspFolder::load(&MspId::parse(msp_id(case)).unwrap(), folder.path());
        let Some(read) = agree(read, case.ok())? else { return Ok(()) };
        same_file(&case.folder.join("expected.mspconfig.pb"), &read.to_config().encode_to_vec())?;
        same_file(&case.folder.join("expected.fabricmspconfig.pb"), &read.fabric_config().encode_to_vec())?;
        for (version, name) in [(MspVersion::V1_4_3, "v1_4_3"), (MspVersion::V3_0, "v3_0")] {
            let accepted = case.get(&format!("/expected/channel_accepts/{name}")).as_bool() == Some(true);
            agree(Msp::from_config(&read.to_config(), version), accepted)
                .map_err(|finding| format!("{name}: {finding}"))?;
        }
        Ok(())
    });
}
