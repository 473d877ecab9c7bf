// A chaincode for fabric-shim that offers each function of the stub by name, so that a caller sees what the peer
// answers to it. It keeps no state of its own, so one server may serve any number of peers.

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';

const shim = createRequire(import.meta.url)('fabric-shim');
const { KeyEndorsementPolicy } = shim;

const text = (bytes) => Buffer.from(bytes ?? '').toString();

async function all(entries) {
    const found = [];
    for await (const { key, value } of entries) {
        found.push([key, text(value)]);
    }
    return found;
}

// A page arrives whole: its metadata is there once the first entry was asked for.
async function page(query) {
    const { iterator, metadata } = await query;
    const found = [];
    for (let next = await iterator.next(); ; next = await iterator.next()) {
        if (next.value) {
            found.push([next.value.key, text(next.value.value)]);
        }
        if (next.done) {
            break;
        }
    }
    await iterator.close();
    return { found, count: metadata.fetchedRecordsCount, bookmark: metadata.bookmark };
}

function policy(orgs) {
    const made = new KeyEndorsementPolicy();
    made.addOrgs('MEMBER', ...orgs);
    return made.getPolicy();
}

function orgsOf(bytes) {
    return bytes?.length ? new KeyEndorsementPolicy(bytes).listOrgs().sort() : [];
}

const functions = {
    // Plain state.
    put: (stub, key, value) => stub.putState(key, value),
    get: async (stub, key) => text(await stub.getState(key)),
    del: (stub, key) => stub.deleteState(key),
    putAll: async (stub, entries) => {
        for (const [key, value] of Object.entries(JSON.parse(entries))) {
            await stub.putState(key, value);
        }
    },
    increment: async (stub, key) => {
        const next = Number(text(await stub.getState(key)) || '0') + 1;
        await stub.putState(key, String(next));
        return String(next);
    },
    writeThenRead: async (stub, key, value) => {
        await stub.putState(key, value);
        return text(await stub.getState(key));
    },
    // Queries.
    range: (stub, start, end) => all(stub.getStateByRange(start, end)),
    countRange: async (stub, start, end, key) => {
        const found = await all(stub.getStateByRange(start, end));
        await stub.putState(key, String(found.length));
        return String(found.length);
    },
    page: (stub, start, end, size, bookmark) => page(stub.getStateByRangeWithPagination(start, end, Number(size), bookmark)),
    rich: (stub, query) => all(stub.getQueryResult(query)),
    history: async (stub, key) => {
        const found = [];
        for await (const { value, isDelete, txId, timestamp } of stub.getHistoryForKey(key)) {
            found.push([text(value), isDelete, txId.length, Number(timestamp.seconds) > 0]);
        }
        return found;
    },
    // Composite keys.
    putComposite: (stub, value, type, ...attributes) => stub.putState(stub.createCompositeKey(type, attributes), value),
    composites: async (stub, type, ...attributes) => {
        const found = await all(stub.getStateByPartialCompositeKey(type, attributes));
        return found.map(([key, value]) => [stub.splitCompositeKey(key), value]);
    },
    pageComposites: async (stub, size, bookmark, type, ...attributes) => {
        const got = await page(stub.getStateByPartialCompositeKeyWithPagination(type, attributes, Number(size), bookmark));
        got.found = got.found.map(([key, value]) => [stub.splitCompositeKey(key), value]);
        return got;
    },
    // Private data; values come as transient data.
    putPrivate: (stub, collection, key) => stub.putPrivateData(collection, key, stub.getTransient().get('value')),
    // The wrong way, for a test of what does not come by transient data.
    putPrivateArgument: (stub, collection, key, value) => stub.putPrivateData(collection, key, value),
    getPrivate: async (stub, collection, key) => text(await stub.getPrivateData(collection, key)),
    copyPrivate: async (stub, collection, key, to) => stub.putState(to, await stub.getPrivateData(collection, key)),
    hashPrivate: async (stub, collection, key) =>
        Buffer.from(await stub.getPrivateDataHash(collection, key)).toString('hex'),
    delPrivate: (stub, collection, key) => stub.deletePrivateData(collection, key),
    purgePrivate: (stub, collection, key) => stub.purgePrivateData(collection, key),
    rangePrivate: (stub, collection, start, end) => all(stub.getPrivateDataByRange(collection, start, end)),
    putPrivateComposite: (stub, collection, type, ...attributes) =>
        stub.putPrivateData(collection, stub.createCompositeKey(type, attributes), stub.getTransient().get('value')),
    compositesPrivate: async (stub, collection, type, ...attributes) => {
        const found = await all(stub.getPrivateDataByPartialCompositeKey(collection, type, attributes));
        return found.map(([key, value]) => [stub.splitCompositeKey(key), value]);
    },
    richPrivate: (stub, collection, query) => all(stub.getPrivateDataQueryResult(collection, query)),
    // Endorsement policies of single keys.
    setPolicy: (stub, key, ...orgs) => stub.setStateValidationParameter(key, policy(orgs)),
    getPolicy: async (stub, key) => orgsOf(await stub.getStateValidationParameter(key)),
    setPrivatePolicy: (stub, collection, key, ...orgs) =>
        stub.setPrivateDataValidationParameter(collection, key, policy(orgs)),
    getPrivatePolicy: async (stub, collection, key) =>
        orgsOf(await stub.getPrivateDataValidationParameter(collection, key)),
    // Other chaincodes.
    call: async (stub, chaincode, channel, ...args) => {
        const { status, message, payload } = await stub.invokeChaincode(chaincode, args, channel);
        return { status, message, payload: text(payload) };
    },
    // Events and outcomes.
    emit: (stub, name, payload) => stub.setEvent(name, Buffer.from(payload)),
    emitTwice: (stub, first, second) => {
        stub.setEvent(first, Buffer.from('1'));
        stub.setEvent(second, Buffer.from('2'));
    },
    emitAndPut: async (stub, name, payload, key) => {
        await stub.putState(key, payload);
        stub.setEvent(name, Buffer.from(payload));
    },
    refuse: async (stub, key, message) => {
        await stub.putState(key, 'never');
        throw new Error(message);
    },
    // An event and a change beside an answer that is no success.
    answer: async (stub, status, message, payload) => {
        await stub.putState('answered', message);
        stub.setEvent('answered', Buffer.from(message));
        return { status: Number(status), message, payload: Buffer.from(payload ?? '') };
    },
    diverge: async (stub, key) => {
        await stub.putState(key, randomUUID());
        return randomUUID();
    },
    large: (stub, size) => 'x'.repeat(Number(size)),
    // What the transaction is.
    context: (stub) => ({
        channel: stub.getChannelID(),
        transaction: stub.getTxID().length,
        timestamp: Number(stub.getTxTimestamp().seconds) > 0,
        creator: stub.getCreator().mspid,
        certificate: text(stub.getCreator().idBytes).startsWith('-----BEGIN CERTIFICATE-----'),
        peer: stub.getMspID(),
        binding: stub.getBinding().length,
        args: stub.getStringArgs(),
        transient: [...stub.getTransient()].map(([name, value]) => [name, text(value)]),
        signed: stub.getSignedProposal().proposal !== undefined,
    }),
};

/** What `fabric-shim` runs. */
class Probe {
    // The function `init` marks an initialization, where a definition asks for one.
    async Init(stub) {
        const { params } = stub.getFunctionAndParameters();
        if (params[0] === 'refuse') {
            return shim.error('not initialized: as it was told');
        }
        await stub.putState('initialized', params.join(' '));
        return shim.success(Buffer.from('initialized'));
    }

    async Invoke(stub) {
        const { fcn, params } = stub.getFunctionAndParameters();
        const known = Object.hasOwn(functions, fcn) ? functions[fcn] : undefined;
        if (!known) {
            return shim.error(`function ${fcn} is not known`);
        }
        try {
            const result = await known(stub, ...params);
            if (result?.status !== undefined && Buffer.isBuffer(result.payload)) {
                return result;
            }
            if (result === undefined || result instanceof Uint8Array) {
                return shim.success();
            }
            return shim.success(Buffer.from(typeof result === 'string' ? result : JSON.stringify(result)));
        } catch (error) {
            return shim.error(error.message);
        }
    }
}

// A process of its own, since its copy of Fabric's messages is not the client's: package ID and address are its arguments,
// it says when it listens, and it ends with whoever started it.
const [packageId, address] = process.argv.slice(2);
const server = shim.server(new Probe(), { ccid: packageId, address });
await server.start();
process.stdout.write('listening\n');
process.stdin.on('close', () => process.exit(0)).resume();
