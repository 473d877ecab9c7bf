//! Proposals, transactions, lifecycle arguments.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use opssc::fabric::identity::{Creator, Signer as _, SigningIdentity};
use opssc::fabric::lifecycle::{self, ChaincodeDefinition};
use opssc::fabric::names::{ChaincodeName, ChannelName, PackageId, hex};
use opssc::fabric::policy::{ApplicationPolicy, collections};
use opssc::fabric::tx::{Invocation, Nonce, Proposal, response_payload};
use opssc::pb::common::{ChannelHeader, Envelope, HeaderType};
use opssc::pb::protos;
use prost::Message as _;
use serde_json::Value;

use super::support::{Case, Finding, family, same, same_file, unhex};

/// The result of a future that waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn hexed(value: &Value) -> Bytes {
    unhex(value.as_str().unwrap_or_default()).into()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number<T: TryFrom<i64>>(value: &Value) -> T {
    T::try_from(value.as_i64().unwrap_or_default()).ok().expect("a number that fits")
}

fn proposal(case: &Case, input: &Value) -> (Proposal, Invocation) {
    let mut invocation = Invocation::new(text(&input["chaincode_id"]["name"]), "");
    let args = input["args_hex"].as_array().map(Vec::as_slice).unwrap_or_default();
    invocation.args = args.iter().map(hexed).collect();
    invocation.is_init = input["is_init"].as_bool().unwrap_or_default();
    invocation.language = number::<i32>(&input["spec_type"]).try_into().unwrap();
    for (key, value) in input["transient_hex"].as_object().into_iter().flatten() {
        invocation = invocation.transient(key, hexed(value));
    }
    let channel = text(&input["channel_id"]);
    let channel = (!channel.is_empty()).then(|| ChannelName::parse(channel).unwrap());
    let time = prost_types::Timestamp {
        seconds: number(&input["timestamp"]["seconds"]),
        nanos: number(&input["timestamp"]["nanos"]),
    };
    let nonce = Nonce(hexed(&input["nonce_hex"]).as_ref().try_into().unwrap());
    let header_type = HeaderType::try_from(number::<i32>(&input["header_type"])).unwrap();
    let creator = case.bytes("creator.pb").into();
    (Proposal::new(channel.as_ref(), &invocation, &creator, nonce, time, header_type), invocation)
}

pub(crate) fn transactions() {
    family("transactions", |case| {
        let input = case.json("input.json");
        let file = |name: &str, ours: &[u8]| same_file(&case.folder.join(format!("expected.{name}.pb")), ours);
        let (proposal, invocation) = proposal(case, &input);
        same("txid", &proposal.tx_id().as_str(), &case.text("/expected/txid"))?;
        same("proposal hash", &hex(&proposal.hash()).as_str(), &case.text("/expected/proposal_hash_hex"))?;
        let header = ChannelHeader::decode(proposal.channel_header().clone()).unwrap();
        file("extension", &header.extension)?;
        file("channel_header", proposal.channel_header())?;
        file("signature_header", proposal.signature_header())?;
        file("chaincode_invocation_spec", &invocation.spec())?;
        file("payload_for_tx", proposal.payload_for_tx())?;
        file("proposal", proposal.bytes())?;
        file("proposal_payload", &protos::Proposal::decode(proposal.bytes().clone()).unwrap().payload)?;

        let creator = Creator::decode(&case.bytes("creator.pb")).unwrap();
        let signer = SigningIdentity::from_pem(creator.msp_id, &case.bytes("cert.pem"), &case.bytes("key.pem"))
            .map_err(|error| error.to_string())?;
        same_file(&case.folder.join("creator.pb"), signer.creator())?;
        let deterministic = signer.certificate().public_key().kind() == "Ed25519";
        let mut signed = now(proposal.sign(&signer)).unwrap();
        judge(&signer, proposal.bytes(), &signed.signature, &input["proposal_signature_hex"])?;
        if !deterministic {
            signed.signature = hexed(&input["proposal_signature_hex"]);
        }
        file("signed_proposal", &signed.encode_to_vec())?;
        if input["response"].is_null() { Ok(()) } else { endorsed(case, &input, &proposal, &signer) }
    });
}

/// That our own signature and the given one are both good.
fn judge(signer: &SigningIdentity, message: &[u8], ours: &[u8], given: &Value) -> Finding {
    let key = signer.certificate().public_key();
    same("our signature", &key.verify(message, ours), &true)?;
    same("the given signature", &key.verify(message, &hexed(given)), &true)
}

fn endorsed(case: &Case, input: &Value, proposal: &Proposal, signer: &SigningIdentity) -> Finding {
    let response = &input["response"];
    let event = response.get("event").filter(|event| !event.is_null()).map(|event| protos::ChaincodeEvent {
        chaincode_id: text(&event["chaincode_id"]),
        tx_id: text(&event["tx_id"]).replace("= txid", proposal.tx_id().as_str()),
        event_name: text(&event["event_name"]),
        payload: hexed(&event["payload_hex"]),
    });
    let action = protos::ChaincodeAction {
        results: hexed(&response["results_hex"]),
        events: event.map(|event| event.encode_to_vec().into()).unwrap_or_default(),
        response: Some(protos::Response {
            status: number(&response["status"]),
            message: text(&response["message"]),
            payload: hexed(&response["payload_hex"]),
        }),
        chaincode_id: Some(protos::ChaincodeId {
            name: text(&response["chaincode_id"]["name"]),
            version: text(&response["chaincode_id"]["version"]),
            path: text(&response["chaincode_id"]["path"]),
        }),
    };
    let payload = response_payload(&proposal.hash(), &action);
    same_file(&case.folder.join("expected.proposal_response_payload.pb"), &payload)?;

    let endorsements = input["endorsements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut responses = Vec::new();
    for (at, endorsement) in endorsements.iter().enumerate() {
        let file = case.bytes(&format!("input.proposal_response_{at}.pb"));
        let response = protos::ProposalResponse::decode(file.as_slice()).unwrap();
        same("payload", &response.payload, &payload)?;
        same(
            "endorser",
            &response.endorsement.clone().unwrap_or_default().endorser,
            &hexed(&endorsement["endorser_hex"]),
        )?;
        responses.push(response);
    }
    let accepted = case.get("/expected/create_tx_ok").as_bool().unwrap();
    let Some(transaction) = super::support::agree(proposal.assemble(&responses), accepted)? else { return Ok(()) };
    same_file(&case.folder.join("expected.envelope_payload.pb"), transaction.payload())?;
    let ours = now(transaction.sign(signer)).unwrap();
    judge(signer, transaction.payload(), &ours.signature, &input["envelope_signature_hex"])?;
    let deterministic = signer.certificate().public_key().kind() == "Ed25519";
    let envelope = if deterministic {
        ours
    } else {
        Envelope { payload: ours.payload, signature: hexed(&input["envelope_signature_hex"]) }
    };
    same_file(&case.folder.join("expected.envelope.pb"), &envelope.encode_to_vec())
}

pub(crate) fn lifecycle_args() {
    family("lifecycle-args", |case| {
        let input = case.json("input.json");
        let ours = arguments(case, &input)?;
        same_file(&case.folder.join("expected.pb"), &ours)
    });
}

fn definition(case: &Case, input: &Value) -> Result<ChaincodeDefinition, String> {
    let name = ChaincodeName::parse(text(&input["name"])).map_err(|error| error.to_string())?;
    let mut definition = ChaincodeDefinition::new(name, text(&input["version"]), number(&input["sequence"]));
    definition.endorsement_plugin = text(&input["endorsementPlugin"]);
    definition.validation_plugin = text(&input["validationPlugin"]);
    definition.init_required = input["initRequired"].as_bool().unwrap_or_default();
    let policy = ApplicationPolicy::parse_flags(&text(&input["signaturePolicy"]), &text(&input["channelConfigPolicy"]));
    definition.validation_parameter =
        policy.map_err(|error| error.to_string())?.map(|policy| policy.encode()).unwrap_or_default();
    if let Some(file) = input["collectionsConfig"].as_str() {
        let text = String::from_utf8(case.bytes(file)).unwrap();
        definition.collections = Some(collections::peer_cli(&text).map_err(|error| error.to_string())?);
    }
    Ok(definition)
}

fn arguments(case: &Case, input: &Value) -> Result<Vec<u8>, String> {
    let package = || input["packageID"].as_str().filter(|id| !id.is_empty()).map(|id| PackageId::parse(id).unwrap());
    let name = || ChaincodeName::parse(text(&input["name"])).unwrap();
    Ok(match input["function"].as_str().unwrap() {
        "InstallChaincode" => lifecycle::install_args(hexed(&input["package"])).encode_to_vec(),
        "QueryInstalledChaincodes" => lifecycle::installed_all_args().encode_to_vec(),
        "QueryInstalledChaincode" => lifecycle::installed_args(&package().unwrap()).encode_to_vec(),
        "GetInstalledChaincodePackage" => lifecycle::installed_package_args(&package().unwrap()).encode_to_vec(),
        "ApproveChaincodeDefinitionForMyOrg" => {
            definition(case, input)?.approve_args(package().as_ref()).encode_to_vec()
        }
        "CommitChaincodeDefinition" => definition(case, input)?.commit_args().encode_to_vec(),
        "CheckCommitReadiness" => definition(case, input)?.readiness_args().encode_to_vec(),
        "QueryApprovedChaincodeDefinition" => {
            lifecycle::approved_args(&name(), number(&input["sequence"])).encode_to_vec()
        }
        "QueryApprovedChaincodeDefinitions" => lifecycle::approved_all_args().encode_to_vec(),
        "QueryChaincodeDefinition" => lifecycle::committed_args(&name()).encode_to_vec(),
        "QueryChaincodeDefinitions" => lifecycle::committed_all_args().encode_to_vec(),
        other => return Err(format!("unknown function {other}")),
    })
}
