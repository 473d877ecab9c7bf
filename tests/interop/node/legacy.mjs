// fabric-network 2.2, the previous client library, unmodified, as applications still use it: NETWORK.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { validation } from './lib/lifecycle.mjs';
import { load } from './lib/network.mjs';
import { deployProbe } from './lib/probe.mjs';
import { COLLECTIONS } from './script/lifecycle.mjs';

const { DefaultCheckpointers, DefaultEventHandlerStrategies, Gateway } = createRequire(import.meta.url)('fabric-network');

const NAME = 'legacy-probe';
const network = load(process.argv[2]);
const { channel, organizations } = network;
const [org1, org2] = organizations;
await deployProbe(network, channel, NAME, {
    validation: validation(2, ['Org1MSP', 'Org2MSP']),
    collections: COLLECTIONS,
});

const {
    MSPID_SCOPE_ALLFORTX,
    MSPID_SCOPE_ANYFORTX,
    NETWORK_SCOPE_ALLFORTX,
    NETWORK_SCOPE_ANYFORTX,
} = DefaultEventHandlerStrategies;

const text = (bytes) => Buffer.from(bytes).toString();
const opened = [];

/** A connection as a user of an organization, which finds the network by discovery. */
async function open(org, options = {}) {
    const identity = {
        type: 'X.509',
        mspId: org.mspId,
        credentials: { certificate: text(org.user.certificate), privateKey: org.user.keyPem },
    };
    const gateway = new Gateway();
    await gateway.connect(JSON.parse(readFileSync(org.profile, 'utf8')), {
        identity,
        discovery: { enabled: true, asLocalhost: true },
        ...options,
    });
    opened.push(gateway);
    const on = await gateway.getNetwork(channel);
    return { gateway, on, contract: on.getContract(NAME) };
}

/** What a listener was told, and the wait for the first items of it. */
function collector() {
    const items = [];
    let wake = () => {};
    const listener = async (item) => {
        items.push(item);
        wake();
    };
    const until = async (found) => {
        for (;;) {
            const result = found(items);
            if (result) {
                return result;
            }
            await new Promise((resolve) => {
                wake = resolve;
            });
        }
    };
    const first = (count) => until(() => items.length >= count && items.slice(0, count));
    return { listener, first, until };
}

const one = await open(org1);
const two = await open(org2);
const { contract, on } = one;

const tests = {
    async discovery() {
        const mspIds = on.getChannel().getMspids().sort();
        assert.deepEqual(mspIds, ['Org1MSP', 'Org2MSP']);
        const endorsers = on.getChannel().getEndorsers().map((endorser) => endorser.mspid).sort();
        assert.deepEqual(endorsers, ['Org1MSP', 'Org2MSP']);
        assert.equal(on.getChannel().getCommitters().length, 2);
    },

    async evaluate() {
        assert.equal(text(await contract.evaluateTransaction('get', 'nothing')), '');
        await assert.rejects(contract.evaluateTransaction('refuse', 'a', 'as it was told'), /as it was told/);
        await assert.rejects(on.getContract('nothing').evaluateTransaction('get', 'a'), /is not running chaincode nothing/);
    },

    async submit() {
        const strategies = [MSPID_SCOPE_ALLFORTX, MSPID_SCOPE_ANYFORTX, NETWORK_SCOPE_ALLFORTX, NETWORK_SCOPE_ANYFORTX];
        for (const [index, strategy] of strategies.entries()) {
            const side = await open(org1, { eventHandlerOptions: { strategy } });
            assert.equal(text(await side.contract.submitTransaction('increment', 'n')), String(index + 1));
        }
        await assert.rejects(contract.submitTransaction('refuse', 'a', 'as it was told'), /as it was told/);
        await assert.rejects(contract.submitTransaction('diverge', 'd'), (error) => {
            // It compares what peers endorsed before anything is ordered.
            assert.match(error.message, /results are the same|do not match|not the same/i);
            return true;
        });
    },

    async commitErrors() {
        const lone = contract.createTransaction('put').setEndorsingOrganizations('Org1MSP');
        await assert.rejects(lone.submit('b', '1'), /ENDORSEMENT_POLICY_FAILURE/);
    },

    async privateData() {
        // Done when the peers of both organizations are.
        const patient = await open(org1, { eventHandlerOptions: { strategy: NETWORK_SCOPE_ALLFORTX } });
        const secret = patient.contract.createTransaction('putPrivate').setTransient({ value: Buffer.from('shared') });
        await secret.submit('both', 'p');
        assert.equal(text(await two.contract.evaluateTransaction('getPrivate', 'both', 'p')), 'shared');
        const own = contract.createTransaction('putPrivate').setTransient({ value: Buffer.from('ruled') });
        await own.setEndorsingOrganizations('Org1MSP').submit('ruled', 'p');
        // What lies in a collection is weighed by discovery, when it is told of it.
        const aware = (await open(org1)).on.getContract(NAME);
        aware.addDiscoveryInterest({ name: NAME, collectionNames: ['ruled'], noPrivateReads: true });
        const chosen = aware.createTransaction('putPrivate').setTransient({ value: Buffer.from('chosen') });
        await chosen.submit('ruled', 'q');
    },

    async contractEvents() {
        const live = collector();
        await contract.addContractListener(live.listener);
        for (const number of ['1', '2', '3']) {
            await contract.submitTransaction('emitAndPut', 'counted', number, 'e');
        }
        const events = await live.first(3);
        assert.deepEqual(events.map((event) => [event.eventName, text(event.payload)]), [['counted', '1'], ['counted', '2'], ['counted', '3']]);
        assert.ok(events.every((event) => event.getTransactionEvent().isValid));
        contract.removeContractListener(live.listener);

        // From the block of the second on.
        const { blockNumber: startBlock } = events[1].getTransactionEvent().getBlockEvent();
        const replayed = collector();
        await (await open(org1)).contract.addContractListener(replayed.listener, { startBlock });
        assert.deepEqual((await replayed.first(2)).map((event) => text(event.payload)), ['2', '3']);
    },

    async checkpoints() {
        const folder = mkdtempSync(join(tmpdir(), 'interop-'));
        try {
            const file = join(folder, 'checkpoint.json');
            const before = await open(org1);
            const heard = collector();
            await before.contract.addContractListener(heard.listener, { checkpointer: await DefaultCheckpointers.file(file) });
            await contract.submitTransaction('emitAndPut', 'checked', '1', 'e');
            await contract.submitTransaction('emitAndPut', 'checked', '2', 'e');
            await heard.first(2);
            before.gateway.disconnect();
            // What happens while nobody listens is not lost.
            await contract.submitTransaction('emitAndPut', 'checked', '3', 'e');
            const later = collector();
            const after = await open(org1);
            await after.contract.addContractListener(later.listener, { checkpointer: await DefaultCheckpointers.file(file) });
            const payloads = (await later.first(1)).map((event) => text(event.payload));
            // The last one it was told of may come once more.
            assert.ok(['2', '3'].includes(payloads[0]), payloads[0]);
            await later.until((heard) => heard.some((event) => text(event.payload) === '3'));
            after.gateway.disconnect();
        } finally {
            rmSync(folder, { recursive: true });
        }
    },

    async blockEvents() {
        for (const type of ['full', 'filtered', 'private']) {
            const blocks = collector();
            const side = await open(org1);
            await side.on.addBlockListener(blocks.listener, { type, startBlock: 1 });
            const found = await blocks.first(3);
            assert.deepEqual(found.map((block) => block.blockNumber.toNumber()), [1, 2, 3], type);
            side.gateway.disconnect();
        }
        // The private data of a transaction, as its organization has it.
        const side = await open(org1);
        const blocks = collector();
        await side.on.addBlockListener(blocks.listener, { type: 'private' });
        await contract.createTransaction('putPrivate').setTransient({ value: Buffer.from('seen') }).submit('both', 's');
        // The listener may be told of the block before, too.
        const transactions = (heard) => heard.flatMap((block) => block.getTransactionEvents());
        const { privateData } = await blocks.until((heard) => transactions(heard).find((one) => one.privateData));
        const [space] = privateData.ns_pvt_rwset;
        assert.equal(space.namespace, NAME);
        assert.deepEqual(space.collection_pvt_rwset.map((set) => set.collection_name), ['both']);
        side.gateway.disconnect();
    },

    async commitEvents() {
        const transaction = contract.createTransaction('put');
        const told = new Promise((resolve) => {
            const listener = (error, event) => resolve([error, event]);
            on.addCommitListener(listener, on.getChannel().getEndorsers(), transaction.getTransactionId());
        });
        await transaction.submit('c', '1');
        const [error, event] = await told;
        assert.equal(error, undefined);
        assert.equal(event.status, 'VALID');
    },
};

for (const [name, test] of Object.entries(tests)) {
    try {
        await test();
    } catch (error) {
        console.error(`legacy: ${name}`, error);
        process.exit(1);
    }
    console.log(`legacy: ${name}`);
}
opened.forEach((gateway) => gateway.disconnect());
process.exit(0);
