//! The functions of `_lifecycle`, each from its argument message to its result message.
#![allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "the functions share one signature")]

use bytes::Bytes;
use prost::Message;

use super::super::packages::Installed;
use super::super::resolve::is_system;
use super::{Call, Failure, LifecycleState, Refused, approved_names, defined, validate, with_collection, with_public};
use crate::devnet::access::Access;
use crate::devnet::error::WIRE_FORMAT;
use crate::devnet::ledger::implicit_collection;
use crate::devnet::lifecycle::rules;
use crate::devnet::lifecycle::state::{self, Definition, Parameters};
use crate::devnet::peer::call::Simulated;
use crate::devnet::peer::proposal::shown;
use crate::fabric::lifecycle::{
    DEFAULT_ENDORSEMENT_PLUGIN, DEFAULT_ENDORSEMENT_POLICY, DEFAULT_VALIDATION_PLUGIN, approved_package,
};
use crate::pb::lifecycle as pb;
use crate::pb::protos::{ApplicationPolicy, CollectionConfigPackage, application_policy};

type Outcome<M> = Result<M, Failure>;

/// Runs `function` with its encoded argument.
pub(super) fn dispatch(call: &Call, function: &str, argument: &Bytes) -> Outcome<Bytes> {
    match function {
        "InstallChaincode" => run(call, function, argument, install),
        "QueryInstalledChaincode" => run(call, function, argument, query_installed),
        "QueryInstalledChaincodes" => run(call, function, argument, query_all_installed),
        "GetInstalledChaincodePackage" => run(call, function, argument, get_package),
        "ApproveChaincodeDefinitionForMyOrg" => run(call, function, argument, approve),
        "QueryApprovedChaincodeDefinition" => run(call, function, argument, query_approved),
        "QueryApprovedChaincodeDefinitions" => run(call, function, argument, query_all_approved),
        "CheckCommitReadiness" => run(call, function, argument, check_readiness),
        "CommitChaincodeDefinition" => run(call, function, argument, commit),
        "QueryChaincodeDefinition" => run(call, function, argument, query_committed),
        "QueryChaincodeDefinitions" => run(call, function, argument, query_all_committed),
        _ => Err(Refused(format!("receiver *lifecycle.Invocation.{} does not exist", shown(function))).into()),
    }
}

fn run<A: Message + Default, R: Message>(
    call: &Call,
    function: &str,
    argument: &Bytes,
    work: fn(&Call, A) -> Outcome<R>,
) -> Outcome<Bytes> {
    let argument = A::decode(argument.clone()).map_err(|_| {
        Refused(format!("could not decode input arg for *lifecycle.Invocation.{function}: {WIRE_FORMAT}"))
    })?;
    Ok(work(call, argument)?.encode_to_vec().into())
}

fn install(call: &Call, argument: pb::InstallChaincodeArgs) -> Outcome<pb::InstallChaincodeResult> {
    let installed = call.peer.packages.install(argument.chaincode_install_package)?;
    Ok(pb::InstallChaincodeResult {
        package_id: installed.package.id().to_string(),
        label: installed.package.label().to_string(),
    })
}

fn query_installed(
    call: &Call,
    argument: pb::QueryInstalledChaincodeArgs,
) -> Outcome<pb::QueryInstalledChaincodeResult> {
    use pb::query_installed_chaincode_result::{Chaincode, References};

    let id = argument.package_id;
    let installed = call
        .peer
        .packages
        .get(&id)
        .ok_or_else(|| Refused(format!("could not find chaincode with package id '{}'", shown(&id))))?;
    let references = call.peer.references().remove(&id).unwrap_or_default().into_iter().map(|(channel, chaincodes)| {
        let chaincodes = chaincodes.into_iter().map(|(name, version)| Chaincode { name, version }).collect();
        (channel, References { chaincodes })
    });
    Ok(pb::QueryInstalledChaincodeResult {
        package_id: id,
        label: installed.package.label().to_string(),
        references: references.collect(),
    })
}

fn query_all_installed(
    call: &Call,
    _: pb::QueryInstalledChaincodesArgs,
) -> Outcome<pb::QueryInstalledChaincodesResult> {
    use pb::query_installed_chaincodes_result::{Chaincode, InstalledChaincode, References};

    let mut all = call.peer.references();
    let installed = |installed: std::sync::Arc<Installed>| {
        let package_id = installed.package.id().to_string();
        let references = all.remove(&package_id).unwrap_or_default().into_iter().map(|(channel, chaincodes)| {
            let chaincodes = chaincodes.into_iter().map(|(name, version)| Chaincode { name, version }).collect();
            (channel, References { chaincodes })
        });
        let references = references.collect();
        InstalledChaincode { package_id, label: installed.package.label().to_string(), references }
    };
    let installed_chaincodes = call.peer.packages.all().into_iter().map(installed).collect();
    Ok(pb::QueryInstalledChaincodesResult { installed_chaincodes })
}

fn get_package(
    call: &Call,
    argument: pb::GetInstalledChaincodePackageArgs,
) -> Outcome<pb::GetInstalledChaincodePackageResult> {
    let id = argument.package_id;
    let installed = call.peer.packages.get(&id).ok_or_else(|| {
        Refused(format!("could not load cc install package: chaincode install package '{}' not found", shown(&id)))
    })?;
    Ok(pb::GetInstalledChaincodePackageResult { chaincode_install_package: installed.package.bytes().clone() })
}

/// A definition as it came, before defaults.
struct Asked {
    name: String,
    definition: Definition,
}

macro_rules! asked {
    ($argument:expr) => {{
        let argument = $argument;
        Asked {
            name: argument.name,
            definition: Definition {
                sequence: argument.sequence,
                parameters: Parameters {
                    endorsement: pb::ChaincodeEndorsementInfo {
                        version: argument.version,
                        init_required: argument.init_required,
                        endorsement_plugin: argument.endorsement_plugin,
                    },
                    validation: pb::ChaincodeValidationInfo {
                        validation_plugin: argument.validation_plugin,
                        validation_parameter: argument.validation_parameter,
                    },
                    collections: argument.collections.unwrap_or_default(),
                },
            },
        }
    }};
}

fn simulation(call: &Call) -> Result<&Simulated, Refused> {
    call.simulation.as_ref().ok_or_else(|| Refused::new("no ledger context"))
}

fn access(call: &Call) -> Result<std::sync::Arc<Access>, Refused> {
    let channel = call.peer.channel(&call.channel);
    channel
        .map(|channel| channel.access())
        .ok_or_else(|| Refused(format!("no application config for channel '{}'", shown(&call.channel))))
}

fn own_collection(call: &Call) -> String {
    implicit_collection(call.peer.msp_id().as_str())
}

fn validate_input(call: &Call, asked: &Asked) -> Result<(), Refused> {
    let access = access(call)?;
    let check = || {
        validate::name(&asked.name)?;
        validate::version(&asked.definition.parameters.endorsement.version)?;
        let organizations = access.organizations().into_iter().map(|(_, msp_id)| msp_id).collect();
        let committed = with_public(simulation(call)?, |public| state::definition(public, &asked.name))?;
        if committed.is_none() {
            // Peers then look for a definition of the legacy lifecycle, which shows in what the transaction read.
            simulation(call)?.with(|simulation| simulation.get("lscc", &asked.name))?;
        }
        let committed: Option<CollectionConfigPackage> = committed.map(|known| known.parameters.collections);
        validate::collections(&asked.definition.parameters.collections, &organizations, committed.as_ref())
    };
    check().map_err(|error| error.context("error validating chaincode definition"))
}

/// Fills in what was left out.
fn set_defaults(call: &Call, definition: &mut Definition) -> Result<(), Refused> {
    let Parameters { endorsement, validation, .. } = &mut definition.parameters;
    if endorsement.endorsement_plugin.is_empty() {
        DEFAULT_ENDORSEMENT_PLUGIN.clone_into(&mut endorsement.endorsement_plugin);
    }
    if validation.validation_plugin.is_empty() {
        DEFAULT_VALIDATION_PLUGIN.clone_into(&mut validation.validation_plugin);
    }
    if validation.validation_parameter.is_empty() {
        if !access(call)?.has_policy(DEFAULT_ENDORSEMENT_POLICY) {
            return Err(Refused(format!(
                "could not set defaults for chaincode definition in channel {0}: policy \
                 '{DEFAULT_ENDORSEMENT_POLICY}' must be defined for channel '{0}' before chaincode operations can be \
                 attempted",
                call.channel
            )));
        }
        let reference = application_policy::Type::ChannelConfigPolicyReference(DEFAULT_ENDORSEMENT_POLICY.to_owned());
        validation.validation_parameter = ApplicationPolicy { r#type: Some(reference) }.encode_to_vec().into();
    }
    Ok(())
}

fn approve(
    call: &Call,
    argument: pb::ApproveChaincodeDefinitionForMyOrgArgs,
) -> Outcome<pb::ApproveChaincodeDefinitionForMyOrgResult> {
    let package = approved_package(argument.source.as_ref()).unwrap_or_default().to_owned();
    let mut asked = asked!(argument);
    validate_input(call, &asked)?;
    let simulation = simulation(call)?;
    // Fabric looks at the sequence before, which shows only on channels without the default policy.
    set_defaults(call, &mut asked.definition)?;
    with_public(simulation, |public| {
        with_collection(simulation, &own_collection(call), |own| {
            rules::approve(&asked.name, &asked.definition, &package, public, own)
        })
    })???;
    Ok(pb::ApproveChaincodeDefinitionForMyOrgResult {})
}

fn source(package_id: String) -> pb::ChaincodeSource {
    use pb::chaincode_source::{Local, Type, Unavailable};

    let r#type = if package_id.is_empty() {
        Type::Unavailable(Unavailable {})
    } else {
        Type::LocalPackage(Local { package_id })
    };
    pb::ChaincodeSource { r#type: Some(r#type) }
}

/// An approval under `name` (`chaincode#sequence`), with its source.
fn approval(own: &mut LifecycleState<'_>, name: &str) -> Result<Option<(Parameters, pb::ChaincodeSource)>, Refused> {
    let Some(parameters) = state::parameters(own, name) else { return Ok(None) };
    let package = state::local_package(own, name)
        .ok_or_else(|| Refused(format!("could not fetch chaincode-source metadata for {name}")))?;
    Ok(Some((parameters, source(package.0))))
}

fn query_approved(
    call: &Call,
    argument: pb::QueryApprovedChaincodeDefinitionArgs,
) -> Outcome<pb::QueryApprovedChaincodeDefinitionResult> {
    let simulation = simulation(call)?;
    let name = &argument.name;
    let found = with_public(simulation, |public| {
        with_collection(simulation, &own_collection(call), |own| {
            // 0 asks for the newest: that of the next sequence, if there is one, or the committed one.
            let mut sequence = argument.sequence;
            if sequence == 0 {
                let current = state::committed_sequence(public, name);
                let next = current.saturating_add(1);
                let approved = state::parameters(own, &state::private_name(name, next)).is_some();
                sequence = if approved { next } else { current };
            }
            approval(own, &state::private_name(name, sequence)).map(|approval| (sequence, approval))
        })
    })???;
    let (sequence, Some((parameters, source))) = found else {
        return Err(Refused(format!(
            "could not fetch approved chaincode definition (name: '{}', sequence: '{}') on channel '{}'",
            shown(name),
            found.0,
            call.channel
        ))
        .into());
    };
    Ok(pb::QueryApprovedChaincodeDefinitionResult {
        sequence,
        version: parameters.endorsement.version,
        endorsement_plugin: parameters.endorsement.endorsement_plugin,
        validation_plugin: parameters.validation.validation_plugin,
        validation_parameter: parameters.validation.validation_parameter,
        collections: Some(parameters.collections),
        init_required: parameters.endorsement.init_required,
        source: Some(source),
    })
}

fn query_all_approved(
    call: &Call,
    _: pb::QueryApprovedChaincodeDefinitionsArgs,
) -> Outcome<pb::QueryApprovedChaincodeDefinitionsResult> {
    use pb::query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition;

    let (simulation, collection) = (simulation(call)?, own_collection(call));
    let mut definitions = Vec::new();
    for private_name in approved_names(simulation, &collection)? {
        let Some((name, sequence)) = private_name.rsplit_once('#') else { continue };
        let Ok(sequence) = sequence.parse() else { continue };
        let found = with_collection(simulation, &collection, |own| approval(own, &private_name))??;
        let Some((parameters, source)) = found else { continue };
        definitions.push(ApprovedChaincodeDefinition {
            name: name.to_owned(),
            sequence,
            version: parameters.endorsement.version,
            endorsement_plugin: parameters.endorsement.endorsement_plugin,
            validation_plugin: parameters.validation.validation_plugin,
            validation_parameter: parameters.validation.validation_parameter,
            collections: Some(parameters.collections),
            init_required: parameters.endorsement.init_required,
            source: Some(source),
        });
    }
    Ok(pb::QueryApprovedChaincodeDefinitionsResult { approved_chaincode_definitions: definitions })
}

type Approvals = (std::collections::BTreeMap<String, bool>, std::collections::BTreeMap<String, Vec<String>>);

fn approvals(call: &Call, name: &str, definition: &Definition) -> Result<Approvals, Refused> {
    let simulation = simulation(call)?;
    let organizations: Vec<_> =
        access(call)?.organizations().into_iter().map(|(_, id)| (implicit_collection(&id), id)).collect();
    let failed = std::cell::RefCell::new(None);
    let states = organizations
        .iter()
        .map(|(collection, id)| (id.clone(), LifecycleState { simulation, collection, failed: &failed }));
    let approvals = rules::approvals(name, definition, states);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(approvals),
    }
}

/// Checks that the definition is the next one, and who has approved it.
fn readiness(call: &Call, asked: &mut Asked) -> Result<Approvals, Refused> {
    let next = with_public(simulation(call)?, |public| rules::check_next(&asked.name, &asked.definition, public))?;
    next.map_err(Refused)?;
    set_defaults(call, &mut asked.definition)?;
    approvals(call, &asked.name, &asked.definition)
}

fn check_readiness(call: &Call, argument: pb::CheckCommitReadinessArgs) -> Outcome<pb::CheckCommitReadinessResult> {
    use pb::check_commit_readiness_result::Mismatches;

    let (approvals, mismatches) = readiness(call, &mut asked!(argument))?;
    let mismatches = mismatches.into_iter().map(|(id, items)| (id, Mismatches { items })).collect();
    Ok(pb::CheckCommitReadinessResult { approvals, mismatches })
}

fn commit(call: &Call, argument: pb::CommitChaincodeDefinitionArgs) -> Outcome<pb::CommitChaincodeDefinitionResult> {
    let mut asked = asked!(argument);
    validate_input(call, &asked)?;
    if is_system(&asked.name) {
        return Err(Refused(format!("chaincode name '{}' is the name of a system chaincode", asked.name)).into());
    }
    let own = call.peer.msp_id().as_str();
    if !access(call)?.organizations().iter().any(|(_, id)| id == own) {
        return Err(Refused::new(
            "impossibly, this peer's org is processing requests for a channel it is not a member of",
        )
        .into());
    }
    let (approvals, _) = readiness(call, &mut asked)?;
    with_public(simulation(call)?, |public| state::write(public, state::NAMESPACES, &asked.name, &asked.definition))??;
    if approvals.get(own) != Some(&true) {
        return Err(Refused(format!("chaincode definition not agreed to by this org ({own})")).into());
    }
    Ok(pb::CommitChaincodeDefinitionResult {})
}

fn committed(call: &Call, name: &str) -> Outcome<Definition> {
    let found = with_public(simulation(call)?, |public| state::definition(public, name))?;
    found.ok_or_else(|| Failure::NotDefined(shown(name)))
}

fn query_committed(
    call: &Call,
    argument: pb::QueryChaincodeDefinitionArgs,
) -> Outcome<pb::QueryChaincodeDefinitionResult> {
    let definition = committed(call, &argument.name)?;
    let (approvals, _) = approvals(call, &argument.name, &definition)?;
    let Definition { sequence, parameters } = definition;
    Ok(pb::QueryChaincodeDefinitionResult {
        sequence,
        version: parameters.endorsement.version,
        endorsement_plugin: parameters.endorsement.endorsement_plugin,
        validation_plugin: parameters.validation.validation_plugin,
        validation_parameter: parameters.validation.validation_parameter,
        collections: Some(parameters.collections),
        init_required: parameters.endorsement.init_required,
        approvals,
    })
}

fn query_all_committed(
    call: &Call,
    _: pb::QueryChaincodeDefinitionsArgs,
) -> Outcome<pb::QueryChaincodeDefinitionsResult> {
    use pb::query_chaincode_definitions_result::ChaincodeDefinition;

    let mut definitions = Vec::new();
    for name in defined(simulation(call)?)? {
        let Definition { sequence, parameters } = committed(call, &name)?;
        definitions.push(ChaincodeDefinition {
            name,
            sequence,
            version: parameters.endorsement.version,
            endorsement_plugin: parameters.endorsement.endorsement_plugin,
            validation_plugin: parameters.validation.validation_plugin,
            validation_parameter: parameters.validation.validation_parameter,
            collections: Some(parameters.collections),
            init_required: parameters.endorsement.init_required,
        });
    }
    Ok(pb::QueryChaincodeDefinitionsResult { chaincode_definitions: definitions })
}
