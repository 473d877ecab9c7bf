// Brings a chaincode onto a channel: installed, approved by every organization, committed; each step straight to the
// peers and an orderer, so that it needs no other service.

import { common, msp as mspMessages, peer } from '@hyperledger/fabric-protos';
import { Wire, assemble, propose, seek } from './wire.mjs';

const { lifecycle } = peer;
const SUCCESS = common.Status.SUCCESS;

/** A policy that one member of any of these organizations satisfies, or all of them do. */
export function signaturePolicy(required, mspIds) {
    const made = new common.SignaturePolicyEnvelope();
    const rules = mspIds.map((mspId, index) => {
        const role = new mspMessages.MSPRole();
        role.setMspIdentifier(mspId);
        role.setRole(mspMessages.MSPRole.MSPRoleType.MEMBER);
        const principal = new mspMessages.MSPPrincipal();
        principal.setPrincipal(role.serializeBinary());
        made.addIdentities(principal);
        const rule = new common.SignaturePolicy();
        rule.setSignedBy(index);
        return rule;
    });
    const outOf = new common.SignaturePolicy.NOutOf();
    outOf.setN(required);
    outOf.setRulesList(rules);
    const rule = new common.SignaturePolicy();
    rule.setNOutOf(outOf);
    made.setRule(rule);
    return made;
}

/** The package of the collections of a chaincode. */
export function collections(list) {
    const made = new peer.CollectionConfigPackage();
    for (const item of list) {
        const members = new peer.CollectionPolicyConfig();
        members.setSignaturePolicy(signaturePolicy(1, item.members));
        const config = new peer.StaticCollectionConfig();
        config.setName(item.name);
        config.setMemberOrgsPolicy(members);
        config.setRequiredPeerCount(item.requiredPeerCount ?? 0);
        config.setMaximumPeerCount(item.maximumPeerCount ?? 1);
        config.setBlockToLive(item.blockToLive ?? 0);
        config.setMemberOnlyRead(item.memberOnlyRead ?? false);
        config.setMemberOnlyWrite(item.memberOnlyWrite ?? false);
        if (item.endorsers) {
            const policy = new peer.ApplicationPolicy();
            policy.setSignaturePolicy(signaturePolicy(item.endorsers.length, item.endorsers));
            config.setEndorsementPolicy(policy);
        }
        const wrapped = new peer.CollectionConfig();
        wrapped.setStaticCollectionConfig(config);
        made.addConfig(wrapped);
    }
    return made;
}

/** The parameter of a definition that asks for this many of these organizations. */
export function validation(required, mspIds) {
    const policy = new peer.ApplicationPolicy();
    policy.setSignaturePolicy(signaturePolicy(required, mspIds));
    return policy.serializeBinary();
}

/** The fields that approvals and commits of a definition share. */
function fill(message, definition) {
    message.setName(definition.name);
    message.setVersion(definition.version ?? '1');
    message.setSequence(definition.sequence ?? 1);
    message.setInitRequired(definition.initRequired ?? false);
    if (definition.validation) {
        message.setValidationParameter(definition.validation);
    }
    if (definition.plugin) {
        message.setEndorsementPlugin(definition.plugin);
    }
    if (definition.collections) {
        message.setCollections(definition.collections);
    }
    return message;
}

/** The arguments of a call of `_lifecycle`. */
export const calls = {
    install: (archive) => {
        const message = new lifecycle.InstallChaincodeArgs();
        message.setChaincodeInstallPackage(archive);
        return ['InstallChaincode', message.serializeBinary()];
    },
    approve: (definition, packageId) => {
        const message = fill(new lifecycle.ApproveChaincodeDefinitionForMyOrgArgs(), definition);
        const source = new lifecycle.ChaincodeSource();
        if (packageId) {
            const local = new lifecycle.ChaincodeSource.Local();
            local.setPackageId(packageId);
            source.setLocalPackage(local);
        } else {
            source.setUnavailable(new lifecycle.ChaincodeSource.Unavailable());
        }
        message.setSource(source);
        return ['ApproveChaincodeDefinitionForMyOrg', message.serializeBinary()];
    },
    commit: (definition) => [
        'CommitChaincodeDefinition',
        fill(new lifecycle.CommitChaincodeDefinitionArgs(), definition).serializeBinary(),
    ],
    readiness: (definition) => [
        'CheckCommitReadiness',
        fill(new lifecycle.CheckCommitReadinessArgs(), definition).serializeBinary(),
    ],
    committed: (name) => {
        const message = new lifecycle.QueryChaincodeDefinitionArgs();
        message.setName(name);
        return ['QueryChaincodeDefinition', message.serializeBinary()];
    },
    allCommitted: () => [
        'QueryChaincodeDefinitions',
        new lifecycle.QueryChaincodeDefinitionsArgs().serializeBinary(),
    ],
    approved: (name, sequence = 0) => {
        const message = new lifecycle.QueryApprovedChaincodeDefinitionArgs();
        message.setName(name);
        message.setSequence(sequence);
        return ['QueryApprovedChaincodeDefinition', message.serializeBinary()];
    },
    installed: (packageId) => {
        const message = new lifecycle.QueryInstalledChaincodeArgs();
        message.setPackageId(packageId);
        return ['QueryInstalledChaincode', message.serializeBinary()];
    },
    allInstalled: () => [
        'QueryInstalledChaincodes',
        new lifecycle.QueryInstalledChaincodesArgs().serializeBinary(),
    ],
    fetchPackage: (packageId) => {
        const message = new lifecycle.GetInstalledChaincodePackageArgs();
        message.setPackageId(packageId);
        return ['GetInstalledChaincodePackage', message.serializeBinary()];
    },
};

/** Runs one call on these peers; the signed proposal and the good answers, or an error. */
export async function ask(wire, who, peers, call) {
    const proposed = await propose(who, call);
    const answers = await Promise.all(peers.map((node) => wire.endorse(node, proposed.signed)));
    for (const { failed, response } of answers) {
        const answer = response?.getResponse();
        if (failed || answer.getStatus() !== 200) {
            throw new Error(`${call.args[0]}: ${failed ?? `${answer.getStatus()} ${answer.getMessage()}`}`);
        }
    }
    return { proposed, responses: answers.map(({ response }) => response) };
}

/** Has a call endorsed by these peers, orders it and waits until `observers` have committed it as valid. */
export async function submit(wire, network, who, peers, call) {
    const { proposed, responses } = await ask(wire, who, peers, call);
    const transaction = await assemble(proposed, responses);
    const observers = network.organizations.flatMap((org) => org.peers.map((node) => [org, node]));
    const waits = observers.map(([org, node]) => committed(wire, org.user, node, call.channel, proposed.txId, 'newest'));
    const orderer = network.organizations[0].orderers[0];
    const { failed, responses: answers } = await wire.broadcast(orderer, transaction);
    if (failed || answers[0].getStatus() !== SUCCESS) {
        throw new Error(`${call.args[0]} was not ordered: ${failed ?? answers[0].getInfo()}`);
    }
    for (const code of await Promise.all(waits)) {
        if (code !== peer.TxValidationCode.VALID) {
            throw new Error(`${call.args[0]} is invalid: ${code}`);
        }
    }
    return responses[0].getResponse().getPayload_asU8();
}

/** The validation code of a transaction, once a peer has committed it; it is looked for from a block on. */
export async function committed(wire, who, node, channel, txId, start) {
    const request = await seek(who, channel, { start, stop: Number.MAX_SAFE_INTEGER });
    let found;
    const { failed } = await wire.deliver(node, 'deliverFiltered', request, (response) => {
        const transactions = response.getFilteredBlock()?.getFilteredTransactionsList() ?? [];
        found = transactions.find((transaction) => transaction.getTxid() === txId);
        return found !== undefined;
    });
    if (failed) {
        throw failed;
    }
    return found.getTxValidationCode();
}

/** Installs, approves and commits; `archive` is a package, or none where a definition alone is wanted. */
export async function deploy(network, channel, definition, archive, wire = new Wire(network)) {
    const on = { channel, chaincode: '_lifecycle' };
    await Promise.all(
        network.organizations.map(async (org) => {
            for (const node of archive ? org.peers : []) {
                const call = { channel: '', chaincode: '_lifecycle', args: calls.install(archive.bytes) };
                await ask(wire, org.admin, [node], call);
            }
        }),
    );
    for (const org of network.organizations) {
        const args = calls.approve(definition, archive?.id);
        await submit(wire, network, org.admin, [org.peers[0]], { ...on, args });
    }
    const endorsers = network.organizations.map((org) => org.peers[0]);
    const args = calls.commit(definition);
    await submit(wire, network, network.organizations[0].admin, endorsers, { ...on, args });
}
