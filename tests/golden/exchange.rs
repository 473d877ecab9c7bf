//! What passed between a client, a peer and an orderer.

use opssc::fabric::identity::{Certificate, Creator, Msp, MspVersion, Role};
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, PackageId, TxId, hex};
use opssc::fabric::policy::{ApplicationPolicy, dsl};
use opssc::fabric::tx::response_payload;
use opssc::pb::common::{
    ChannelHeader, ConfigSignature, ConfigUpdateEnvelope, Envelope, HeaderType, Payload, SignatureHeader,
};
use opssc::pb::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, MspConfig};
use opssc::pb::orderer::{SeekInfo, SeekNewest, SeekOldest, SeekPosition, SeekSpecified, seek_position};
use opssc::pb::protos;
use prost::Message as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::support::{Case, Finding, family, same, unhex};

pub(crate) fn peer_exchange() {
    family("peer-exchange", |case| match case.text("/id") {
        "endorsement" => endorsement(case),
        "messages" => messages(case),
        "signconfigtx" => signconfigtx(case),
        "seek-info" => seek_info(case),
        "seek-envelope" => seek_envelope(case),
        "approval-interop" => approval_interop(case),
        other => Err(format!("unknown case {other}")),
    });
}

fn decode<T: prost::Message + Default>(bytes: &[u8]) -> Result<T, String> {
    T::decode(bytes).map_err(|error| error.to_string())
}

/// That a serialized identity signed a message; which organization it is of.
fn signed(creator: &[u8], message: &[u8], signature: &[u8]) -> Result<String, String> {
    let creator = Creator::decode(creator).map_err(|error| error.to_string())?;
    let certificate = Certificate::from_pem(&creator.certificate_pem).map_err(|error| error.to_string())?;
    same("signature", &certificate.public_key().verify(message, signature), &true)?;
    Ok(creator.msp_id.to_string())
}

/// An organization with roles by organizational unit, behind this authority.
fn msp(msp_id: &str, authority: &[u8]) -> Msp {
    let unit =
        |name: &str| Some(FabricOuIdentifier { organizational_unit_identifier: name.to_owned(), ..Default::default() });
    let config = FabricMspConfig {
        name: msp_id.to_owned(),
        root_certs: vec![authority.to_vec().into()],
        fabric_node_ous: Some(FabricNodeOUs {
            enable: true,
            client_ou_identifier: unit("client"),
            peer_ou_identifier: unit("peer"),
            admin_ou_identifier: unit("admin"),
            orderer_ou_identifier: unit("orderer"),
        }),
        ..Default::default()
    };
    let config = MspConfig { r#type: 0, config: config.encode_to_vec().into() };
    Msp::from_config(&config, MspVersion::V1_4_3).expect("an MSP")
}

fn endorsement(case: &Case) -> Finding {
    let proposal: protos::SignedProposal = decode(&case.bytes("signed_proposal.pb"))?;
    let response: protos::ProposalResponse = decode(&case.bytes("proposal_response.pb"))?;
    let inner: protos::Proposal = decode(&proposal.proposal_bytes)?;
    let header: opssc::pb::common::Header = decode(&inner.header)?;
    let signature_header: SignatureHeader = decode(&header.signature_header)?;
    signed(&signature_header.creator, &proposal.proposal_bytes, &proposal.signature)?;
    let channel_header: ChannelHeader = decode(&header.channel_header)?;
    let tx_id = TxId::of(&signature_header.nonce, &signature_header.creator);
    same("transaction ID", &tx_id.as_str(), &channel_header.tx_id.as_str())?;

    // What was signed is the payload and the endorser after each other.
    let given = response.endorsement.clone().unwrap_or_default();
    let message = [response.payload.as_ref(), given.endorser.as_ref()].concat();
    let msp_id = signed(&given.endorser, &message, &given.signature)?;
    let identity = msp(&msp_id, &case.bytes("ca.pem")).identity(&given.endorser).map_err(|error| error.to_string())?;
    identity.verify(&message, &given.signature).map_err(|error| error.to_string())?;
    for role in Role::ALL {
        let expected = case.get("/expected/endorser_roles")[&role.as_str().to_uppercase()].as_bool();
        same(role.as_str(), &Some(identity.has_role(role)), &expected)?;
    }

    // The payload is about this very proposal, without its transient data, and made of the parts that it shows.
    let payload: protos::ProposalResponsePayload = decode(&response.payload)?;
    let spec: protos::ChaincodeProposalPayload = decode(&inner.payload)?;
    let visible = protos::ChaincodeProposalPayload { input: spec.input, ..Default::default() }.encode_to_vec();
    let hashed = [header.channel_header.as_ref(), header.signature_header.as_ref(), visible.as_slice()].concat();
    same("proposal hash", &hex(&Sha256::digest(hashed)), &hex(&payload.proposal_hash))?;
    let action: protos::ChaincodeAction = decode(&payload.extension)?;
    same("payload made again", &response_payload(&payload.proposal_hash, &action), &response.payload)?;
    same("response", &response.response.map(|response| response.status), &Some(200))
}

/// Queries that peers answer, in our terms.
fn messages(case: &Case) -> Finding {
    let messages = case.json("messages.json");
    let find = |label: &str| messages.as_array().unwrap().iter().find(|message| message["label"] == label).unwrap();

    let installed = &find("queryinstalled")["stdout"]["installed_chaincodes"][0];
    let id = PackageId::parse(installed["package_id"].as_str().unwrap()).map_err(|error| error.to_string())?;
    same("label", &id.label(), &installed["label"].as_str().unwrap())?;
    let twice = find("install-twice")["stderr"].as_str().unwrap();
    same("the ID that the refusal names", &twice.contains(&format!("(package ID '{id}')")), &true)?;

    let committed = &find("querycommitted")["stdout"];
    let parameter = base64(committed["validation_parameter"].as_str().unwrap());
    let policy = ApplicationPolicy::decode(&parameter).map_err(|error| error.to_string())?;
    let ApplicationPolicy::Signature(policy) = &policy else { return Err(format!("{policy:?}")) };
    let printed = dsl::print(policy).map_err(|error| error.to_string())?;
    same("policy", &printed.as_str(), &"OutOf(1, 'Org1MSP.peer', 'Org2MSP.peer')")?;
    let again = dsl::parse(&printed).map_err(|error| error.to_string())?;
    same("bytes of the policy", &ApplicationPolicy::Signature(again).encode().as_ref(), &parameter.as_slice())?;
    let name = ChaincodeName::parse("golden").unwrap();
    let plain = ChaincodeDefinition::new(name, "1", 1).with_defaults();
    same("plugin", &plain.endorsement_plugin.as_str(), &committed["endorsement_plugin"].as_str().unwrap())?;
    same("plugin", &plain.validation_plugin.as_str(), &committed["validation_plugin"].as_str().unwrap())
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

struct Shown {
    json: Value,
    update: ConfigUpdateEnvelope,
}

/// An envelope with a configuration update, as the case shows it, with its signatures checked.
fn shown(bytes: &[u8]) -> Result<Shown, String> {
    let envelope: Envelope = decode(bytes)?;
    let payload: Payload = decode(&envelope.payload)?;
    let header = payload.header.unwrap_or_default();
    let channel: ChannelHeader = decode(&header.channel_header)?;
    let update: ConfigUpdateEnvelope = decode(&payload.data)?;
    let mut signatures = Vec::new();
    for ConfigSignature { signature_header, signature } in &update.signatures {
        let signer: SignatureHeader = decode(signature_header)?;
        // The update's bytes as they came, never encoded again.
        let message = [signature_header.as_ref(), update.config_update.as_ref()].concat();
        signed(&signer.creator, &message, signature)?;
        signatures.push(json!({
            "signature_header_sha256": hex(&Sha256::digest(signature_header)),
            "signature_hex": hex(signature),
        }));
    }
    if !envelope.signature.is_empty() {
        let signer: SignatureHeader = decode(&header.signature_header)?;
        signed(&signer.creator, &envelope.payload, &envelope.signature)?;
    }
    let json = json!({
        "channel_id": channel.channel_id,
        "envelope_signature": hex(&envelope.signature),
        "epoch": channel.epoch,
        "extension": hex(&channel.extension),
        "payload_signature_header": hex(&header.signature_header),
        "signatures": signatures,
        "timestamp_nanos": channel.timestamp.map_or(0, |time| time.nanos),
        "tls_cert_hash": hex(&channel.tls_cert_hash),
        "tx_id": channel.tx_id,
        "type": channel.r#type,
        "version": channel.version,
    });
    Ok(Shown { json, update })
}

fn signconfigtx(case: &Case) -> Finding {
    let unsigned = shown(&case.bytes("unsigned.envelope.pb"))?;
    let signed = shown(&case.bytes("signed.envelope.pb"))?;
    same("unsigned", &unsigned.json, case.get("/expected/unsigned"))?;
    same("signed", &signed.json, case.get("/expected/signed"))?;
    same("the update", &signed.update.config_update, &unsigned.update.config_update)
}

fn seek_info(case: &Case) -> Finding {
    let cases = case.json("cases.json");
    for case in cases.as_array().expect("a list") {
        let position = |side: &str| {
            let kind = match &case["json"][side] {
                at if !at["newest"].is_null() => seek_position::Type::Newest(SeekNewest {}),
                at if !at["oldest"].is_null() => seek_position::Type::Oldest(SeekOldest {}),
                at => {
                    let number = at["specified"]["number"].as_str().map_or(0, |number| number.parse().unwrap());
                    seek_position::Type::Specified(SeekSpecified { number })
                }
            };
            Some(SeekPosition { r#type: Some(kind) })
        };
        let info = SeekInfo { start: position("start"), stop: position("stop"), ..Default::default() };
        let ours = hex(&info.encode_to_vec());
        same(case["id"].as_str().unwrap(), &ours.as_str(), &case["hex"].as_str().unwrap())?;
    }
    Ok(())
}

fn seek_envelope(case: &Case) -> Finding {
    let bytes = case.bytes("seek.envelope.pb");
    let envelope: Envelope = decode(&bytes)?;
    let expected = case.get("/expected/json");
    same("payload", &envelope.payload.as_ref(), &base64(expected["payload"].as_str().unwrap()).as_slice())?;
    same("signature", &envelope.signature.as_ref(), &base64(expected["signature"].as_str().unwrap()).as_slice())?;
    let payload: Payload = decode(&envelope.payload)?;
    let header = payload.header.unwrap_or_default();
    let channel: ChannelHeader = decode(&header.channel_header)?;
    same("type", &channel.r#type, &(HeaderType::DeliverSeekInfo as i32))?;
    let signer: SignatureHeader = decode(&header.signature_header)?;
    signed(&signer.creator, &envelope.payload, &envelope.signature)?;
    let info: SeekInfo = decode(&payload.data)?;
    same("content, made again", &info.encode_to_vec().as_slice(), &payload.data.as_ref())
}

/// Whether two organizations' approvals are the same to a peer follows from whether their definitions are to us.
fn approval_interop(case: &Case) -> Finding {
    let approvals = case.json("approvals.json");
    for approval in approvals.as_array().expect("a list") {
        let name = approval["name"].as_str().unwrap();
        let definition = |organization: &str| -> Result<ChaincodeDefinition, String> {
            let text = |field: &str| approval[format!("{organization}_{field}_hex")].as_str().map(unhex);
            let mut made = ChaincodeDefinition::new(ChaincodeName::parse("golden").unwrap(), "1", 1);
            made.validation_parameter = text("validation_parameter").unwrap_or_default().into();
            made.collections = text("collections").map(|bytes| decode(&bytes)).transpose()?;
            Ok(made.with_defaults())
        };
        let ready = |organization: &str| {
            approval["readiness_for_definition_of_org1"][organization].as_bool().ok_or("no readiness")
        };
        // Readiness was asked with what the peer command makes of the collections, which has no empty message. Both
        // organizations differ from that alike, so the question here is whether they differ from each other.
        let expected = ready("Org1MSP")? == ready("Org2MSP")?;
        same(name, &(definition("org1")? == definition("org2")?), &expected)?;
    }
    Ok(())
}
