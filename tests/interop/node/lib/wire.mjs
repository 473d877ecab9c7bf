// Fabric's protocol by its own messages, one call at a time: nothing is chosen, retried or hidden, so that a test can say
// anything to a node and sees its whole answer.

import { createHash, randomBytes } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { common, discovery, gateway, orderer, peer } from '@hyperledger/fabric-protos';
import timestamps from 'google-protobuf/google/protobuf/timestamp_pb.js';
import { dial } from './network.mjs';

const DEADLINE_MS = 30_000;

const sha256 = (...parts) => {
    const hash = createHash('sha256');
    parts.forEach((part) => hash.update(part));
    return hash.digest();
};

/** A protobuf timestamp. */
function timestamp(milliseconds) {
    const made = new timestamps.Timestamp();
    made.setSeconds(Math.floor(milliseconds / 1000));
    made.setNanos((milliseconds % 1000) * 1e6);
    return made;
}

export const bytes = (value) => (typeof value === 'string' ? Buffer.from(value) : value);

const sign = (who, message) => who.signer(sha256(message));

/**
 * The header of a message for a channel, and the transaction's name as it should be. `change` may spoil the header before
 * it is serialized.
 */
export function header(who, { type, channel, extension, change, tlsCertHash }) {
    const nonce = randomBytes(24);
    const txId = sha256(nonce, who.serialized).toString('hex');
    const channelHeader = new common.ChannelHeader();
    channelHeader.setType(type);
    channelHeader.setChannelId(channel);
    channelHeader.setTxId(txId);
    channelHeader.setEpoch(0);
    channelHeader.setTimestamp(timestamp(Date.now()));
    if (extension) {
        channelHeader.setExtension$(extension.serializeBinary());
    }
    if (tlsCertHash) {
        channelHeader.setTlsCertHash(tlsCertHash);
    }
    const signatureHeader = new common.SignatureHeader();
    signatureHeader.setCreator(who.serialized);
    signatureHeader.setNonce(nonce);
    change?.({ channelHeader, signatureHeader, timestamp, computed: txId });
    const made = new common.Header();
    made.setChannelHeader(channelHeader.serializeBinary());
    made.setSignatureHeader(signatureHeader.serializeBinary());
    return { made, txId: channelHeader.getTxId() };
}

/** A signed proposal. */
export async function propose(who, call) {
    const { channel, chaincode, args, transient = {}, init = false, change, spoilSignature = false } = call;
    const chaincodeId = new peer.ChaincodeID();
    chaincodeId.setName(chaincode);
    const extension = new peer.ChaincodeHeaderExtension();
    extension.setChaincodeId(chaincodeId);
    const type = common.HeaderType.ENDORSER_TRANSACTION;
    const { made, txId } = header(who, { type, channel, extension, change });

    const input = new peer.ChaincodeInput();
    input.setArgsList(args.map(bytes));
    input.setIsInit(init);
    const spec = new peer.ChaincodeSpec();
    spec.setType(peer.ChaincodeSpec.Type.GOLANG);
    spec.setChaincodeId(chaincodeId);
    spec.setInput(input);
    const invocation = new peer.ChaincodeInvocationSpec();
    invocation.setChaincodeSpec(spec);
    const payload = new peer.ChaincodeProposalPayload();
    payload.setInput(invocation.serializeBinary());
    for (const [name, value] of Object.entries(transient)) {
        payload.getTransientmapMap().set(name, bytes(value));
    }

    const proposal = new peer.Proposal();
    proposal.setHeader(made.serializeBinary());
    proposal.setPayload(payload.serializeBinary());
    const signed = new peer.SignedProposal();
    signed.setProposalBytes(proposal.serializeBinary());
    const signature = await sign(who, signed.getProposalBytes_asU8());
    if (spoilSignature) {
        signature[signature.length - 1] ^= 1;
    }
    signed.setSignature(signature);
    return { who, call, txId, header: made, payload, signed };
}

/** The transaction that endorsements make, signed. */
export async function assemble(proposed, responses, { signer = proposed.who, spoilSignature = false } = {}) {
    const action = new peer.ChaincodeEndorsedAction();
    action.setProposalResponsePayload(responses[0].getPayload_asU8());
    action.setEndorsementsList(responses.map((response) => response.getEndorsement()));
    const visible = new peer.ChaincodeProposalPayload();
    visible.setInput(proposed.payload.getInput_asU8());
    const actionPayload = new peer.ChaincodeActionPayload();
    actionPayload.setAction(action);
    actionPayload.setChaincodeProposalPayload(visible.serializeBinary());
    const transactionAction = new peer.TransactionAction();
    transactionAction.setHeader(proposed.header.getSignatureHeader_asU8());
    transactionAction.setPayload(actionPayload.serializeBinary());
    const transaction = new peer.Transaction();
    transaction.setActionsList([transactionAction]);
    return envelope(signer, proposed.header, transaction.serializeBinary(), spoilSignature);
}

/** A signed envelope. */
export async function envelope(who, head, data, spoilSignature = false) {
    const payload = new common.Payload();
    payload.setHeader(head);
    payload.setData(data);
    const made = new common.Envelope();
    made.setPayload(payload.serializeBinary());
    const signature = await sign(who, made.getPayload_asU8());
    if (spoilSignature) {
        signature[signature.length - 1] ^= 1;
    }
    made.setSignature(signature);
    return made;
}

/** Connections to the nodes of a network, each made once. */
export class Wire {
    #network;
    #clients = new Map();

    constructor(network) {
        this.#network = network;
    }

    #client(Kind, node) {
        if (!this.#clients.has(node.address)) {
            this.#clients.set(node.address, new Map());
        }
        const clients = this.#clients.get(node.address);
        if (!clients.has(Kind)) {
            clients.set(Kind, new Kind(...dial(this.#network, node)));
        }
        return clients.get(Kind);
    }

    /** A unary call: `{ response }` or `{ failed }`. */
    #call(client, method, request) {
        return new Promise((resolve) => {
            const deadline = new Date(Date.now() + DEADLINE_MS);
            client[method](request, new grpc.Metadata(), { deadline }, (failed, response) =>
                resolve(failed ? { failed } : { response }),
            );
        });
    }

    endorse(node, signed) {
        return this.#call(this.#client(peer.EndorserClient, node), 'processProposal', signed);
    }

    gateway(node, method, request) {
        return this.#call(this.#client(gateway.GatewayClient, node), method, request);
    }

    /** Asks a peer's discovery service; `fill` writes the queries. */
    async discover(node, who, queries, { spoilSignature = false } = {}) {
        const authentication = new discovery.AuthInfo();
        authentication.setClientIdentity(who.serialized);
        const request = new discovery.Request();
        request.setAuthentication(authentication);
        request.setQueriesList(queries);
        const signed = new discovery.SignedRequest();
        signed.setPayload(request.serializeBinary());
        const signature = await sign(who, signed.getPayload_asU8());
        if (spoilSignature) {
            signature[signature.length - 1] ^= 1;
        }
        signed.setSignature(signature);
        return this.#call(this.#client(discovery.DiscoveryClient, node), 'discover', signed);
    }

    /** Listens to a Gateway's events until `count` blocks with some have come. */
    events(node, request, count) {
        const stream = this.#client(gateway.GatewayClient, node).chaincodeEvents(request, deadline());
        return this.#exchange(stream, undefined, (got) => got.length >= count);
    }

    /** A signature of somebody's. */
    sign(who, message) {
        return sign(who, message);
    }

    /** Sends an envelope to an orderer and waits for its answer. */
    broadcast(node, message) {
        return this.#exchange(this.#client(orderer.AtomicBroadcastClient, node).broadcast(deadline()), message, () => true);
    }

    /**
     * Sends a seek and collects what comes until the status, the end, or a message that is `enough`.
     * `kind`: `deliver`, `deliverFiltered`, `deliverWithPrivateData` of a peer, or `orderer`.
     */
    deliver(node, kind, message, enough = () => false) {
        const client =
            kind === 'orderer' ? this.#client(orderer.AtomicBroadcastClient, node) : this.#client(peer.DeliverClient, node);
        const stream = client[kind === 'orderer' ? 'deliver' : kind](deadline());
        return this.#exchange(stream, message, (got) => {
            const last = got.at(-1);
            return last.hasStatus() || enough(last);
        });
    }

    #exchange(stream, message, isEnough) {
        return new Promise((resolve) => {
            const got = [];
            const done = (failed) => {
                stream.cancel();
                resolve(failed ? { failed, responses: got } : { responses: got });
            };
            stream.on('data', (response) => {
                got.push(response);
                if (isEnough(got)) {
                    done();
                }
            });
            stream.on('end', () => done());
            stream.on('error', (failed) => failed.code !== grpc.status.CANCELLED && done(failed));
            if (message) {
                stream.write(message);
            }
        });
    }

    close() {
        this.#clients.forEach((clients) => clients.forEach((client) => client.close()));
    }
}

function deadline() {
    return { deadline: new Date(Date.now() + DEADLINE_MS) };
}

/** A position in a chain: a number, `oldest`, `newest`, `next`. */
export function position(at) {
    const made = new orderer.SeekPosition();
    if (at === 'oldest') {
        made.setOldest(new orderer.SeekOldest());
    } else if (at === 'newest') {
        made.setNewest(new orderer.SeekNewest());
    } else if (at === 'next') {
        made.setNextCommit(new orderer.SeekNextCommit());
    } else {
        const specified = new orderer.SeekSpecified();
        specified.setNumber(at);
        made.setSpecified(specified);
    }
    return made;
}

/** The envelope that asks for blocks. */
export function seek(who, channel, { start, stop, wait = true, change, spoilSignature, empty = false }) {
    const info = new orderer.SeekInfo();
    if (start !== undefined) {
        info.setStart(position(start));
    }
    if (stop !== undefined) {
        info.setStop(position(stop));
    }
    const { BLOCK_UNTIL_READY, FAIL_IF_NOT_READY } = orderer.SeekInfo.SeekBehavior;
    info.setBehavior(wait ? BLOCK_UNTIL_READY : FAIL_IF_NOT_READY);
    const { made } = header(who, { type: common.HeaderType.DELIVER_SEEK_INFO, channel, change });
    return envelope(who, made, empty ? new Uint8Array() : info.serializeBinary(), spoilSignature);
}
