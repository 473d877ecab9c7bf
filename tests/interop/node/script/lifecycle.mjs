// The script, part one: a chaincode comes onto the channel, with every wrong turn on the way.

import { peer } from '@hyperledger/fabric-protos';
import { calls, collections, validation } from '../lib/lifecycle.mjs';

const { lifecycle } = peer;

/** A reader of an answer: its message, as plain data. */
export const as = (Kind) => (bytes) => (bytes.length ? plain(Kind.deserializeBinary(bytes).toObject()) : '');

// Bytes come as Base64, and empty members say nothing.
export function plain(value) {
    if (Array.isArray(value)) {
        return value.map(plain);
    }
    if (value && typeof value === 'object') {
        const kept = Object.entries(value).filter(([, member]) => member !== undefined && member !== '');
        return Object.fromEntries(kept.map(([name, member]) => [name, plain(member)]));
    }
    return value;
}

export const COLLECTIONS = collections([
    { name: 'both', members: ['Org1MSP', 'Org2MSP'] },
    { name: 'first', members: ['Org1MSP'], memberOnlyRead: true, memberOnlyWrite: true },
    { name: 'brief', members: ['Org1MSP', 'Org2MSP'], blockToLive: 3 },
    { name: 'ruled', members: ['Org1MSP', 'Org2MSP'], endorsers: ['Org1MSP'] },
]);

export async function lifecycleSteps(play, [archive, second], names) {
    const { channel, organizations } = play.network;
    const [org1, org2] = organizations;
    const [peer1, peer2] = [org1.peers[0], org2.peers[0]];
    const both = [peer1, peer2];
    const local = (args) => ({ channel: '', chaincode: '_lifecycle', args });
    const on = (args) => ({ channel, chaincode: '_lifecycle', args });
    const name = names.probe;
    const definition = { name, validation: validation(2, ['Org1MSP', 'Org2MSP']), collections: COLLECTIONS };

    // Packages.
    await play.endorse('install: no package', org1.admin, peer1, local(calls.install(Buffer.from('no package'))));
    await play.endorse('install: empty', org1.admin, peer1, local(calls.install(new Uint8Array())));
    await play.endorse('install: by a user', org1.user, peer1, local(calls.install(archive.bytes)));
    await play.endorse('install: by another organization', org2.admin, peer1, local(calls.install(archive.bytes)));
    await play.endorse('installed: nothing yet', org1.admin, peer1, local(calls.allInstalled()), as(lifecycle.QueryInstalledChaincodesResult));
    await play.endorse('installed: an unknown package', org1.admin, peer1, local(calls.installed('nothing:00')));
    await play.endorse('fetch: an unknown package', org1.admin, peer1, local(calls.fetchPackage('nothing:00')));
    for (const [index, org] of organizations.entries()) {
        const read = as(lifecycle.InstallChaincodeResult);
        await play.endorse(`install: ${index + 1}`, org.admin, org.peers[0], local(calls.install(archive.bytes)), read);
    }
    await play.endorse('install: again', org1.admin, peer1, local(calls.install(archive.bytes)));
    await play.endorse('installed: one', org1.admin, peer1, local(calls.allInstalled()), as(lifecycle.QueryInstalledChaincodesResult));
    await play.endorse('installed: this package', org1.admin, peer1, local(calls.installed(archive.id)), as(lifecycle.QueryInstalledChaincodeResult));
    await play.endorse('installed: asked by a user', org1.user, peer1, local(calls.allInstalled()));
    await play.endorse('fetch: the package', org1.admin, peer1, local(calls.fetchPackage(archive.id)), (bytes) => bytes.length > 100);

    // Calls that are none.
    await play.endorse('lifecycle: no such function', org1.admin, peer1, on(['Nothing', '']));
    await play.endorse('lifecycle: no arguments', org1.admin, peer1, on([]));
    await play.endorse('lifecycle: one argument', org1.admin, peer1, on(['CommitChaincodeDefinition']));
    await play.endorse('lifecycle: three arguments', org1.admin, peer1, on(['CommitChaincodeDefinition', '', '']));
    await play.endorse('lifecycle: no message', org1.admin, peer1, on(['CommitChaincodeDefinition', 'no message']));

    // Approvals that are refused.
    const approve = (title, change, packageId = archive.id, who = org1.admin, node = peer1) =>
        play.endorse(`approve: ${title}`, who, node, on(calls.approve({ ...definition, ...change }, packageId)));
    await approve('sequence 0', { sequence: 0 });
    await approve('sequence 2', { sequence: 2 });
    await approve('sequence -1', { sequence: -1 });
    await approve('by a user', {}, archive.id, org1.user);
    await approve('at another organization', {}, archive.id, org2.admin);
    await approve('no name', { name: '' });
    await approve('a wrong name', { name: 'a/b' });
    await approve('a system name', { name: 'qscc' });
    await approve('no version', { version: '' });
    await approve('a wrong version', { version: 'one two' });
    await approve('a wrong parameter', { validation: Buffer.from('no policy') });
    await approve('twice the same collection', { collections: collections([{ name: 'a', members: ['Org1MSP'] }, { name: 'a', members: ['Org1MSP'] }]) });
    await approve('a wrong collection name', { collections: collections([{ name: 'a b', members: ['Org1MSP'] }]) });
    await approve('a collection of the implicit kind', { collections: collections([{ name: '_implicit_org_Org1MSP', members: ['Org1MSP'] }]) });
    await approve('more required than possible', { collections: collections([{ name: 'a', members: ['Org1MSP'], requiredPeerCount: 2, maximumPeerCount: 1 }]) });
    await approve('a negative count', { collections: collections([{ name: 'a', members: ['Org1MSP'], requiredPeerCount: -1 }]) });
    await approve('a collection of strangers', { collections: collections([{ name: 'a', members: ['StrangerMSP'] }]) });
    await approve('a collection of nobody', { collections: collections([{ name: 'a', members: [] }]) });
    await approve('no source', {}, undefined);
    await approve('a package that is not there', {}, 'nothing:00');

    // What there is before anybody agreed.
    const readiness = (title, change = {}, who = org1.user) =>
        play.endorse(`readiness: ${title}`, who, peer1, on(calls.readiness({ ...definition, ...change })), readinessOf);
    await readiness('nobody');
    await readiness('sequence 2', { sequence: 2 });
    await play.endorse('committed: none', org1.user, peer1, on(calls.committed(name)));
    await play.endorse('committed: all, none', org1.user, peer1, on(calls.allCommitted()), as(lifecycle.QueryChaincodeDefinitionsResult));
    await play.endorse('approved: none', org1.admin, peer1, on(calls.approved(name)));
    await play.endorse('approved: asked by a user', org1.user, peer1, on(calls.approved(name)));
    await play.endorse('invoke: not defined', org1.user, peer1, { channel, chaincode: name, args: ['get', 'a'] });
    await play.endorse('commit: nobody agreed', org1.admin, peer1, on(calls.commit(definition)));

    // Agreement.
    await play.submit('approve: first', org1.admin, [peer1], on(calls.approve(definition, archive.id)));
    await approve('again, unchanged', {});
    await readiness('one');
    await readiness('other content', { version: '2' });
    await play.endorse('approved: first', org1.admin, peer1, on(calls.approved(name)), as(lifecycle.QueryApprovedChaincodeDefinitionResult));
    await play.endorse('approved: sequence 2', org1.admin, peer1, on(calls.approved(name, 2)));
    await play.endorse('commit: the second did not agree', org2.admin, peer2, on(calls.commit(definition)));
    await play.submit('commit: too few agreed', org1.admin, [peer1], on(calls.commit(definition)));
    await play.endorse('invoke: approved only', org1.user, peer1, { channel, chaincode: name, args: ['get', 'a'] });
    await play.submit('approve: second', org2.admin, [peer2], on(calls.approve(definition, archive.id)));
    await readiness('all');
    await play.submit('commit', org1.admin, both, on(calls.commit(definition)));
    await play.endorse('commit: again', org1.admin, peer1, on(calls.commit(definition)));
    await readiness('committed already');
    await readiness('next sequence', { sequence: 2 });
    await play.endorse('committed', org1.user, peer1, on(calls.committed(name)), definitionOf);
    await play.endorse('committed: another', org1.user, peer1, on(calls.committed('nothing')));
    await play.endorse('committed: all', org1.user, peer1, on(calls.allCommitted()), as(lifecycle.QueryChaincodeDefinitionsResult));
    await play.endorse('installed: in use', org1.admin, peer1, local(calls.installed(archive.id)), as(lifecycle.QueryInstalledChaincodeResult));
    await approve('the committed one, unchanged', {});
    await approve('the committed one, changed', { version: '2' });
    await approve('beyond the next', { sequence: 3 });

    // A second package.
    for (const org of organizations) {
        const call = local(calls.install(second.bytes));
        await play.endorse(`install: the second package, ${org.name}`, org.admin, org.peers[0], call, as(lifecycle.InstallChaincodeResult));
    }

    // One that wants to be initialized first, and one whose package is missing.
    for (const [title, change, packageId] of [
        [names.init, { name: names.init, initRequired: true }, second.id],
        [names.absent, { name: names.absent }, undefined],
    ]) {
        for (const org of organizations) {
            await play.submit(`approve: ${title} by ${org.name}`, org.admin, [org.peers[0]], on(calls.approve(change, packageId)));
        }
        await play.submit(`commit: ${title}`, org1.admin, both, on(calls.commit(change)));
    }
    const init = (args, mark = false) => ({ channel, chaincode: names.init, args, init: mark });
    await play.endorse('init: not yet', org1.user, peer1, init(['get', 'initialized']));
    await play.endorse('init: refused', org1.user, peer1, init(['init', 'refuse'], true));
    await play.submit('init', org1.user, both, init(['init', 'one', 'two'], true));
    await play.endorse('init: again', org1.user, peer1, init(['init', 'three'], true));
    await play.endorse('init: afterwards', org1.user, peer1, init(['get', 'initialized']));
    await play.endorse('init: not wanted', org1.user, peer1, { channel, chaincode: name, args: ['init'], init: true });
    await play.endorse('invoke: not installed', org1.user, peer1, { channel, chaincode: names.absent, args: ['get', 'a'] });
}

function readinessOf(bytes) {
    if (bytes.length === 0) {
        return '';
    }
    const made = lifecycle.CheckCommitReadinessResult.deserializeBinary(bytes);
    return {
        approvals: made.getApprovalsMap().toArray().sort(),
        mismatches: made.getMismatchesMap?.().toArray().sort(),
    };
}

function definitionOf(bytes) {
    const made = lifecycle.QueryChaincodeDefinitionResult.deserializeBinary(bytes);
    const { approvalsMap, collections: packed, ...rest } = made.toObject();
    return { ...plain(rest), approvals: approvalsMap.sort(), collections: packed?.configList.length };
}
