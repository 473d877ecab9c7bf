// @hyperledger/fabric-gateway, unmodified, as an application uses it: NETWORK.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import {
    CommitError,
    EndorseError,
    GatewayError,
    StatusCode,
    checkpointers,
    connect,
    hash,
} from '@hyperledger/fabric-gateway';
import { creator } from './lib/decode.mjs';
import { validation } from './lib/lifecycle.mjs';
import { dial, identity, load } from './lib/network.mjs';
import { deployProbe } from './lib/probe.mjs';
import { COLLECTIONS } from './script/lifecycle.mjs';

const NAME = 'gateway-probe';

const network = load(process.argv[2]);
const { channel, organizations } = network;
const [org1, org2] = organizations;
await deployProbe(network, channel, NAME, {
    validation: validation(2, ['Org1MSP', 'Org2MSP']),
    collections: COLLECTIONS,
});

/** A connection as somebody, through a peer. */
function open(who, node, options = {}) {
    const client = new grpc.Client(...dial(network, node));
    const gateway = connect({ client, identity: who, signer: who.signer, hash: hash.sha256, ...options });
    const on = gateway.getNetwork(channel);
    return { client, gateway, on, contract: on.getContract(NAME) };
}

const text = (bytes) => Buffer.from(bytes).toString();
const one = open(org1.user, org1.peers[0]);
const two = open(org2.user, org2.peers[0]);
const { contract, on } = one;

/** Waits until both organizations' peers have committed a transaction; its status. */
async function everywhere(commit) {
    const status = await commit.getStatus();
    // The question is signed by now, and may be put to anybody.
    await two.gateway.newCommit(commit.getBytes()).getStatus();
    return status;
}

/** The first `count` of a stream, which is closed then. */
async function take(stream, count) {
    const taken = [];
    try {
        for await (const item of stream) {
            taken.push(item);
            if (taken.length === count) {
                break;
            }
        }
    } finally {
        stream.close();
    }
    return taken;
}

const tests = {
    async evaluate() {
        assert.equal(text(await contract.evaluateTransaction('get', 'nothing')), '');
        const options = { arguments: ['a', ''], transientData: { t: 'secret' } };
        const context = JSON.parse(text(await contract.evaluate('context', options)));
        assert.deepEqual(context.args, ['context', 'a', '']);
        assert.deepEqual(context.transient, [['t', 'secret']]);
        assert.equal(context.creator, 'Org1MSP');
        await contract.evaluate('get', { arguments: ['nothing'], endorsingOrganizations: ['Org2MSP'] });
        await assert.rejects(contract.evaluateTransaction('refuse', 'a', 'as it was told'), (error) => {
            assert.ok(error instanceof GatewayError);
            assert.equal(error.code, grpc.status.UNKNOWN);
            const [detail] = error.details;
            assert.deepEqual([detail.mspId, detail.message], ['Org1MSP', 'chaincode response 500, as it was told']);
            return true;
        });
    },

    async submit() {
        await contract.submitTransaction('put', 'a', '1');
        assert.equal(text(await contract.evaluateTransaction('get', 'a')), '1');
        const commit = await contract.submitAsync('increment', { arguments: ['n'] });
        assert.equal(text(commit.getResult()), '1');
        const status = await commit.getStatus();
        assert.deepEqual([status.code, status.successful], [StatusCode.VALID, true]);
        assert.equal(status.transactionId, commit.getTransactionId());
        assert.ok(status.blockNumber > 0n);
        // Another peer, another organization and much later: the answer is the same.
        const digested = two.gateway.newCommit(commit.getBytes());
        assert.equal((await digested.getStatus()).blockNumber, status.blockNumber);
    },

    async endorseErrors() {
        await assert.rejects(contract.submitTransaction('refuse', 'a', 'as it was told'), (error) => {
            assert.ok(error instanceof EndorseError);
            assert.equal(error.code, grpc.status.ABORTED);
            assert.match(error.transactionId, /^[0-9a-f]{64}$/);
            assert.deepEqual(error.details.map((detail) => detail.message), ['chaincode response 500, as it was told']);
            return true;
        });
        await assert.rejects(contract.submitTransaction('diverge', 'd'), (error) => {
            assert.ok(error instanceof EndorseError);
            assert.deepEqual(error.details.map((detail) => detail.message), ['ProposalResponsePayloads do not match']);
            return true;
        });
        await assert.rejects(on.getContract('nothing').submitTransaction('get', 'a'), (error) => {
            assert.ok(error instanceof EndorseError);
            assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
            return true;
        });
        const impostor = { ...org1.user, signer: org2.user.signer };
        const stranger = open(impostor, org1.peers[0]);
        await assert.rejects(stranger.contract.evaluateTransaction('get', 'a'), /access denied/);
        stranger.gateway.close();
        stranger.client.close();
    },

    async commitErrors() {
        const options = { arguments: ['b', '1'], endorsingOrganizations: ['Org1MSP'] };
        await assert.rejects(contract.submit('put', options), (error) => {
            assert.ok(error instanceof CommitError);
            assert.equal(error.code, StatusCode.ENDORSEMENT_POLICY_FAILURE);
            return true;
        });
        // Two that read the same version.
        const proposals = [contract.newProposal('increment', { arguments: ['m'] }), contract.newProposal('increment', { arguments: ['m'] })];
        const transactions = await Promise.all(proposals.map((proposal) => proposal.endorse()));
        const commits = [];
        for (const transaction of transactions) {
            commits.push(await transaction.submit());
        }
        const codes = await Promise.all(commits.map(async (commit) => (await commit.getStatus()).code));
        assert.deepEqual(codes, [StatusCode.VALID, StatusCode.MVCC_READ_CONFLICT]);
    },

    async privateData() {
        const secret = (value) => ({ transientData: { value } });
        const commit = await contract.submitAsync('putPrivate', { arguments: ['both', 'p'], ...secret('shared') });
        await everywhere(commit);
        assert.equal(text(await two.contract.evaluateTransaction('getPrivate', 'both', 'p')), 'shared');
        // A collection of one organization under a policy of two: the peer must not choose the other one by itself.
        const own = { arguments: ['first', 'p'], ...secret('own') };
        await assert.rejects(contract.submit('putPrivate', own), /distribution policy of the private data collection/);
        await contract.submit('putPrivate', { arguments: ['ruled', 'p'], ...secret('ruled') });
    },

    async offlineSigning() {
        const key = identity(org1.mspId, org1.userMsp);
        const offline = open(org1.user, org1.peers[0], { signer: undefined });
        const proposal = offline.contract.newProposal('put', { arguments: ['offline', 'yes'] });
        const signedProposal = offline.gateway.newSignedProposal(proposal.getBytes(), await key.signer(proposal.getDigest()));
        const unsigned = await signedProposal.endorse();
        const transaction = offline.gateway.newSignedTransaction(unsigned.getBytes(), await key.signer(unsigned.getDigest()));
        const submitted = await transaction.submit();
        const commit = offline.gateway.newSignedCommit(submitted.getBytes(), await key.signer(submitted.getDigest()));
        assert.equal((await commit.getStatus()).code, StatusCode.VALID);
        assert.equal(text(await contract.evaluateTransaction('get', 'offline')), 'yes');
        offline.gateway.close();
        offline.client.close();
    },

    async events() {
        const stream = await on.getChaincodeEvents(NAME);
        const commits = [];
        for (const number of ['1', '2', '3']) {
            const commit = await contract.submitAsync('emitAndPut', { arguments: ['counted', number, 'e'] });
            commits.push(await commit.getStatus());
        }
        const live = await take(stream, 3);
        assert.deepEqual(live.map((event) => [event.eventName, text(event.payload)]), [['counted', '1'], ['counted', '2'], ['counted', '3']]);
        assert.deepEqual(live.map((event) => event.blockNumber), commits.map((status) => status.blockNumber));

        // Later, from a block and from a checkpoint that a file has kept.
        const startBlock = commits[1].blockNumber;
        const replayed = await take(await on.getChaincodeEvents(NAME, { startBlock }), 2);
        assert.deepEqual(replayed.map((event) => text(event.payload)), ['2', '3']);
        const folder = mkdtempSync(join(tmpdir(), 'interop-'));
        try {
            const checkpoint = await checkpointers.file(join(folder, 'checkpoint.json'));
            await checkpoint.checkpointChaincodeEvent(live[1]);
            const [next] = await take(await on.getChaincodeEvents(NAME, { checkpoint, startBlock: 0n }), 1);
            assert.equal(text(next.payload), '3');
        } finally {
            rmSync(folder, { recursive: true });
        }
        // No event of a transaction that is not valid.
        const after = { startBlock: commits[2].blockNumber + 1n };
        const invalid = { arguments: ['counted', 'never', 'e'], endorsingOrganizations: ['Org1MSP'] };
        await assert.rejects(contract.submit('emitAndPut', invalid), CommitError);
        await contract.submitTransaction('emitAndPut', 'counted', '4', 'e');
        const [valid] = await take(await on.getChaincodeEvents(NAME, after), 1);
        assert.equal(text(valid.payload), '4');
    },

    async blocks() {
        const blocks = await take(await on.getBlockEvents({ startBlock: 0n }), 5);
        assert.deepEqual(blocks.map((block) => block.getHeader().getNumber()), [0, 1, 2, 3, 4]);
        blocks.slice(1).forEach((block, index) => {
            assert.ok(block.getHeader().getPreviousHash_asU8().length === 32, `block ${index + 1}`);
        });
        const filtered = await take(await on.getFilteredBlockEvents({ startBlock: 0n }), 3);
        assert.deepEqual(filtered.map((block) => [block.getNumber(), block.getChannelId()]), [[0, channel], [1, channel], [2, channel]]);

        // Each organization is given its own private data.
        const commit = await contract.submitAsync('putPrivate', {
            arguments: ['ruled', 'q'],
            transientData: { value: 'seen' },
        });
        const { blockNumber: startBlock } = await everywhere(commit);
        for (const side of [one, two]) {
            const [both] = await take(await side.on.getBlockAndPrivateDataEvents({ startBlock }), 1);
            assert.equal(BigInt(both.getBlock().getHeader().getNumber()), startBlock);
            const [space] = both.getPrivateDataMapMap().get(0).getNsPvtRwsetList();
            assert.equal(space.getNamespace(), NAME);
            assert.deepEqual(space.getCollectionPvtRwsetList().map((set) => set.getCollectionName()), ['ruled']);
        }
        const checkpoint = checkpointers.inMemory();
        await checkpoint.checkpointBlock(2n);
        const [next] = await take(await on.getFilteredBlockEvents({ checkpoint }), 1);
        assert.equal(next.getNumber(), 3);
    },
};

assert.equal(creator(org1.user.serialized), 'Org1MSP');
for (const [name, test] of Object.entries(tests)) {
    try {
        await test();
    } catch (error) {
        console.error(`gateway: ${name}`, error, error.details ?? '');
        process.exit(1);
    }
    console.log(`gateway: ${name}`);
}
process.exit(0);
