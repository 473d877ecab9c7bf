// Fabric's messages as plain data that two runs can be compared by: what is random or made of the time is left out, and
// what must not differ is kept to the last byte.

import { common, ledger, msp, peer } from '@hyperledger/fabric-protos';

const { kvrwset } = ledger.rwset;

// Packages and other long things are told apart by their length.
const LONG = 4000;

/** Readable bytes as text, others as hexadecimal digits. */
export function show(value) {
    const buffer = Buffer.from(value);
    if (buffer.length > LONG) {
        return `${buffer.length} bytes`;
    }
    const text = buffer.toString('utf8');
    // eslint-disable-next-line no-control-regex
    const readable = Buffer.from(text, 'utf8').equals(buffer) && !/[\u0001-\u0008\u000e-\u001f]/.test(text);
    return readable ? text.replaceAll('\u0000', '\\0') : `0x${buffer.toString('hex')}`;
}

const hex = (value) => Buffer.from(value).toString('hex');

/** The name of a number in one of the enumerations. */
export function nameOf(enumeration, number) {
    return Object.keys(enumeration).find((name) => enumeration[name] === number) ?? String(number);
}

/** Who an identity is: the organization and whether a certificate is there. */
export function creator(bytes) {
    return bytes.length === 0 ? '' : msp.SerializedIdentity.deserializeBinary(bytes).getMspid();
}

const version = (at) => (at ? `${at.getBlockNum()}:${at.getTxNum()}` : 'none');

function readWriteSet(bytes) {
    const set = kvrwset.KVRWSet.deserializeBinary(bytes);
    return prune({
        reads: set.getReadsList().map((read) => [show(Buffer.from(read.getKey())), version(read.getVersion())]),
        queries: set.getRangeQueriesInfoList().map((query) => ({
            start: show(Buffer.from(query.getStartKey())),
            end: show(Buffer.from(query.getEndKey())),
            exhausted: query.getItrExhausted(),
            reads: query.getRawReads()?.getKvReadsList().map((read) => [show(Buffer.from(read.getKey())), version(read.getVersion())]),
            hashes: query.getReadsMerkleHashes()?.toObject(),
        })),
        writes: set.getWritesList().map((write) => [
            show(Buffer.from(write.getKey())),
            write.getIsDelete() ? null : show(write.getValue_asU8()),
        ]),
        metadata: set.getMetadataWritesList().map((write) => [
            show(Buffer.from(write.getKey())),
            write.getEntriesList().map((entry) => [entry.getName(), hex(entry.getValue_asU8())]),
        ]),
    });
}

function hashedReadWriteSet(bytes) {
    const set = kvrwset.HashedRWSet.deserializeBinary(bytes);
    return prune({
        reads: set.getHashedReadsList().map((read) => [hex(read.getKeyHash_asU8()), version(read.getVersion())]),
        writes: set.getHashedWritesList().map((write) => [
            hex(write.getKeyHash_asU8()),
            hex(write.getValueHash_asU8()),
            write.getIsDelete(),
            write.getIsPurge(),
        ]),
        metadata: set.getMetadataWritesList().map((write) => [
            hex(write.getKeyHash_asU8()),
            write.getEntriesList().map((entry) => [entry.getName(), hex(entry.getValue_asU8())]),
        ]),
    });
}

/** Without members that are empty. */
function prune(object) {
    const kept = Object.entries(object).filter(
        ([, value]) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0),
    );
    return Object.fromEntries(kept);
}

/** The read-write sets of a simulation. */
export function results(bytes) {
    const set = ledger.rwset.TxReadWriteSet.deserializeBinary(bytes);
    const namespaces = set.getNsRwsetList().map((space) => [
        space.getNamespace(),
        prune({
            ...readWriteSet(space.getRwset_asU8()),
            collections: space.getCollectionHashedRwsetList().map((collection) => ({
                name: collection.getCollectionName(),
                ...hashedReadWriteSet(collection.getHashedRwset_asU8()),
                // The parameters of an approval hold the ID of a package, which differs from run to run.
                hash: space.getNamespace() === '_lifecycle' ? undefined : hex(collection.getPvtRwsetHash_asU8()),
            })),
        }),
    ]);
    return Object.fromEntries(namespaces);
}

/** What an endorser signed. */
export function proposalResponse(bytes) {
    const payload = peer.ProposalResponsePayload.deserializeBinary(bytes);
    const action = peer.ChaincodeAction.deserializeBinary(payload.getExtension_asU8());
    const response = action.getResponse();
    return prune({
        response: response && [response.getStatus(), response.getMessage(), show(response.getPayload_asU8())],
        chaincode: action.getChaincodeId() && `${action.getChaincodeId().getName()} ${action.getChaincodeId().getVersion()}`,
        event: event(action.getEvents_asU8()),
        results: results(action.getResults_asU8()),
        hash: payload.getProposalHash_asU8().length,
    });
}

function event(bytes) {
    if (bytes.length === 0) {
        return undefined;
    }
    const made = peer.ChaincodeEvent.deserializeBinary(bytes);
    return [made.getChaincodeId(), made.getEventName(), show(made.getPayload_asU8()), made.getTxId().length];
}

/** What a peer says about the endorsements that a transaction will need. */
export function interest(made) {
    const calls = made?.getChaincodesList().map((call) =>
        prune({
            name: call.getName(),
            collections: call.getCollectionNamesList(),
            noPrivateReads: call.getNoPrivateReads() || undefined,
            noPublicWrites: call.getNoPublicWrites() || undefined,
            keyPolicies: call.getKeyPoliciesList().map((policy) => hex(policy.serializeBinary())),
        }),
    );
    // Real peers name them in a random order.
    return calls?.sort((one, other) => JSON.stringify(one).localeCompare(JSON.stringify(other)));
}

function transaction(bytes) {
    return peer.Transaction.deserializeBinary(bytes).getActionsList().map((action) => {
        const payload = peer.ChaincodeActionPayload.deserializeBinary(action.getPayload_asU8());
        const visible = peer.ChaincodeProposalPayload.deserializeBinary(payload.getChaincodeProposalPayload_asU8());
        const spec = peer.ChaincodeInvocationSpec.deserializeBinary(visible.getInput_asU8()).getChaincodeSpec();
        const endorsed = payload.getAction();
        return {
            chaincode: spec?.getChaincodeId()?.getName(),
            args: spec?.getInput()?.getArgsList_asU8().map(show),
            transient: visible.getTransientmapMap().getLength(),
            endorsers: endorsed.getEndorsementsList().map((endorsement) => creator(endorsement.getEndorser_asU8())),
            ...proposalResponse(endorsed.getProposalResponsePayload_asU8()),
        };
    });
}

/** The shape of a configuration: names, policies of change, and what kind each policy is. */
function configGroup(group) {
    const sorted = (map, each) =>
        Object.fromEntries(map.getEntryList().sort().map(([name]) => [name, each(map.get(name))]));
    return prune({
        modPolicy: group.getModPolicy(),
        version: group.getVersion(),
        groups: sorted(group.getGroupsMap(), configGroup),
        values: sorted(group.getValuesMap(), (value) => `${value.getVersion()} ${value.getModPolicy()}`),
        policies: sorted(group.getPoliciesMap(), (policy) =>
            `${policy.getVersion()} ${policy.getModPolicy()} ${nameOf(common.Policy.PolicyType, policy.getPolicy().getType())}`,
        ),
    });
}

function config(bytes) {
    const made = common.ConfigEnvelope.deserializeBinary(bytes);
    return {
        sequence: made.getConfig().getSequence(),
        group: configGroup(made.getConfig().getChannelGroup()),
        update: made.hasLastUpdate(),
    };
}

function envelope(bytes, code) {
    const message = common.Envelope.deserializeBinary(bytes);
    const payload = common.Payload.deserializeBinary(message.getPayload_asU8());
    const head = payload.getHeader();
    const channel = common.ChannelHeader.deserializeBinary(head.getChannelHeader_asU8());
    const signature = common.SignatureHeader.deserializeBinary(head.getSignatureHeader_asU8());
    const type = channel.getType();
    const { HeaderType } = common;
    const contents = { [HeaderType.ENDORSER_TRANSACTION]: transaction, [HeaderType.CONFIG]: config }[type];
    return prune({
        code,
        type: nameOf(HeaderType, type),
        channel: channel.getChannelId(),
        version: channel.getVersion(),
        epoch: channel.getEpoch(),
        txId: channel.getTxId().length,
        nonce: signature.getNonce_asU8().length,
        creator: creator(signature.getCreator_asU8()),
        signed: message.getSignature_asU8().length > 0,
        data: attempt(contents, payload.getData_asU8()),
    });
}

// A block may hold what is no transaction at all.
function attempt(read, bytes) {
    try {
        return read?.(bytes);
    } catch {
        return `not readable: ${show(bytes)}`;
    }
}

const codeName = (code) => nameOf(peer.TxValidationCode, code);

/** A block as a peer keeps it. */
export function block(made) {
    const metadata = made.getMetadata().getMetadataList_asU8();
    const codes = metadata[common.BlockMetadataIndex.TRANSACTIONS_FILTER];
    const signatures = common.Metadata.deserializeBinary(metadata[common.BlockMetadataIndex.SIGNATURES]);
    const value = common.OrdererBlockMetadata.deserializeBinary(signatures.getValue_asU8());
    const commit = common.Metadata.deserializeBinary(metadata[common.BlockMetadataIndex.COMMIT_HASH] ?? new Uint8Array());
    return {
        number: made.getHeader().getNumber(),
        previous: made.getHeader().getPreviousHash_asU8().length,
        hash: made.getHeader().getDataHash_asU8().length,
        transactions: made.getData().getDataList_asU8().map((bytes, index) => envelope(bytes, codeName(codes[index]))),
        metadata: {
            parts: metadata.length,
            lastConfig: value.getLastConfig()?.getIndex(),
            signatures: signatures.getSignaturesList().length,
            commitHash: commit.getValue_asU8().length,
        },
    };
}

/** A filtered block. */
export function filteredBlock(made) {
    return {
        channel: made.getChannelId(),
        number: made.getNumber(),
        transactions: made.getFilteredTransactionsList().map((transaction) =>
            prune({
                txId: transaction.getTxid().length,
                type: nameOf(common.HeaderType, transaction.getType()),
                code: codeName(transaction.getTxValidationCode()),
                events: transaction.getTransactionActions()?.getChaincodeActionsList().map((action) => {
                    const emitted = action.getChaincodeEvent();
                    return [emitted.getChaincodeId(), emitted.getEventName(), show(emitted.getPayload_asU8())];
                }),
            }),
        ),
    };
}

/** The private data that comes beside a block. */
export function privateData(map) {
    const found = {};
    map.forEach((set, index) => {
        found[index] = set.getNsPvtRwsetList().map((space) => [
            space.getNamespace(),
            space.getCollectionPvtRwsetList().map((collection) => [
                collection.getCollectionName(),
                readWriteSet(collection.getRwset_asU8()),
            ]),
        ]);
    });
    return found;
}
