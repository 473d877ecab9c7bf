// Plays steps on a network and writes down what came of each, in words that do not change from run to run.

import { createHash } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { common, gateway, google, peer } from '@hyperledger/fabric-protos';
import * as decode from './decode.mjs';
import { Wire, assemble, propose, seek } from './wire.mjs';

// What the chaincode makes when its endorsers shall differ.
const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

// Where a real peer keeps its files, which it tells in some errors.
const DATA = /\/[\w./-]+\/data\//g;

// What clocks show.
const TIME = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+\d{4} \w+)?( m=\S+)?/g;

/** The steps that were played on one network. */
export class Play {
    steps = {};
    #masks = new Map();

    constructor(network) {
        this.network = network;
        this.wire = new Wire(network);
        for (const org of network.organizations) {
            for (const node of [...org.peers, ...org.orderers]) {
                this.#masks.set(node.address, node.name);
            }
        }
    }

    /** From now on, `text` is written as `<name>`. */
    mask(text, name) {
        if (text) {
            this.#masks.set(text, `<${name}>`);
        }
    }

    /** Writes a package's ID, and what peers derive from it, by the package's label. */
    maskPackage({ id, label }) {
        const [, hash] = id.split(':');
        // The ID as a field of what an organization keeps about its approval, and the hash that others see of it.
        const kept = Buffer.concat([Buffer.from([0x1a, id.length]), Buffer.from(id)]);
        this.mask(createHash('sha256').update(kept).digest('hex'), `${label} kept`);
        this.mask(Buffer.from(hash).toString('hex'), label);
        this.mask(hash, label);
    }

    /** Writes down what came of a step. */
    record(name, outcome) {
        if (name in this.steps) {
            throw new Error(`two steps are called ${name}`);
        }
        let text = JSON.stringify(outcome).replaceAll(UUID, '<random>').replaceAll(DATA, '<data>/').replaceAll(TIME, '<time>');
        for (const [from, to] of this.#masks) {
            text = text.replaceAll(from, to);
        }
        this.steps[name] = JSON.parse(text);
    }

    /** A proposal, with its transaction's name masked. */
    async propose(who, call) {
        const proposed = await propose(who, call);
        this.mask(proposed.txId, 'tx');
        return proposed;
    }

    /** Has one peer endorse; the step is its answer. `read` shows the payload. */
    async endorse(name, who, node, call, read = decode.show) {
        const proposed = await this.propose(who, call);
        return this.send(name, node, proposed, read);
    }

    /** The same with a proposal that is there already. */
    async send(name, node, proposed, read = decode.show) {
        const answer = await this.wire.endorse(node, proposed.signed);
        this.record(name, endorsement(answer, read));
        return { proposed, response: answer.response };
    }

    /** Endorsed by all of `nodes`; nothing is written down unless one refuses. */
    async collect(who, nodes, call) {
        const proposed = await this.propose(who, call);
        const answers = await Promise.all(nodes.map((node) => this.wire.endorse(node, proposed.signed)));
        const refused = answers.find(({ response }) => !response?.getEndorsement());
        if (refused) {
            throw new Error(`not endorsed: ${JSON.stringify(endorsement(refused, decode.show))}`);
        }
        return { proposed, responses: answers.map(({ response }) => response) };
    }

    /** A transaction from its proposal to its commit on all peers; the step is all that came of it. */
    async submit(name, who, nodes, call) {
        const proposed = await this.propose(who, call);
        const answers = await Promise.all(nodes.map((node) => this.wire.endorse(node, proposed.signed)));
        const endorsements = answers.map((answer) => endorsement(answer, decode.show));
        const responses = answers.map(({ response }) => response);
        if (!responses.every((response) => response?.getEndorsement())) {
            this.record(name, { endorsements });
            return;
        }
        const transaction = await assemble(proposed, responses);
        this.record(name, { endorsements, ...(await this.order(transaction, proposed)) });
    }

    /** Orders an envelope, and waits for the commit where it was accepted. */
    async order(message, { call }, orderer = this.network.organizations[0].orderers[0]) {
        const channel = call.channel;
        const peers = this.network.organizations.flatMap((org) => org.peers.map((node) => [org.user, node]));
        const before = await Promise.all(peers.map(([who, node]) => this.height(who, node, channel)));
        const ordered = await this.broadcast(message, orderer);
        if (ordered !== 'SUCCESS ') {
            return { ordered };
        }
        const codes = await Promise.all(peers.map(([who, node], index) => this.codes(who, node, channel, before[index])));
        const [[who, node]] = peers;
        return { ordered, codes, block: await this.block(who, node, channel, before[0]) };
    }

    /** What became of the transactions of a block, once a peer has it. */
    async codes(who, node, channel, number) {
        const request = await seek(who, channel, { start: number, stop: number });
        const { failed, responses } = await this.wire.deliver(node, 'deliverFiltered', request);
        if (failed) {
            return status(failed);
        }
        const transactions = responses[0].getFilteredBlock()?.getFilteredTransactionsList() ?? [];
        const codes = transactions.map((transaction) => transaction.getTxValidationCode());
        return codes.map((code) => decode.nameOf(peer.TxValidationCode, code)).join(' ');
    }

    /** An orderer's answer to an envelope. */
    async broadcast(message, orderer = this.network.organizations[0].orderers[0]) {
        const { failed, responses } = await this.wire.broadcast(orderer, message);
        if (failed) {
            return status(failed);
        }
        const [answer] = responses;
        return answer ? `${decode.nameOf(common.Status, answer.getStatus())} ${answer.getInfo()}` : 'closed';
    }

    /** The number of blocks that a peer has. */
    async height(who, node, channel) {
        const call = { channel, chaincode: 'qscc', args: ['GetChainInfo', channel] };
        const { response } = await this.wire.endorse(node, (await propose(who, call)).signed);
        return common.BlockchainInfo.deserializeBinary(response.getResponse().getPayload_asU8()).getHeight();
    }

    /** What a node delivers. */
    async deliver(name, who, node, kind, channel, options) {
        const answer = await this.wire.deliver(node, kind, await seek(who, channel, options));
        const shown = answer.responses.map((response) => {
            if (response.hasStatus()) {
                return decode.nameOf(common.Status, response.getStatus());
            }
            if (response.hasBlock()) {
                return `block ${response.getBlock().getHeader().getNumber()}`;
            }
            if (response.hasFilteredBlock()) {
                return decode.filteredBlock(response.getFilteredBlock());
            }
            const both = response.getBlockAndPrivateData();
            return {
                block: both.getBlock().getHeader().getNumber(),
                private: decode.privateData(both.getPrivateDataMapMap()),
            };
        });
        this.record(name, answer.failed ? [...shown, status(answer.failed)] : shown);
    }

    /** A block of a channel, decoded. */
    async block(who, node, channel, number) {
        const request = await seek(who, channel, { start: number, stop: number });
        const { failed, responses } = await this.wire.deliver(node, 'deliver', request);
        return failed ? status(failed) : decode.block(responses[0].getBlock());
    }

    /** A call of the Gateway service; `read` shows the answer. */
    async gateway(name, node, method, request, read) {
        const { failed, response } = await this.wire.gateway(node, method, request);
        this.record(name, failed ? gatewayError(failed) : read(response));
        return response;
    }
}

/** A peer's answer to a proposal. */
export function endorsement({ failed, response }, read) {
    if (failed) {
        return status(failed);
    }
    const answer = response.getResponse();
    const said = [answer.getStatus(), answer.getMessage(), read(answer.getPayload_asU8())];
    if (!response.getEndorsement()) {
        return { said };
    }
    const signed = decode.proposalResponse(response.getPayload_asU8());
    // It repeats what was said.
    if (JSON.stringify(signed.response) === JSON.stringify([said[0], said[1], decode.show(answer.getPayload_asU8())])) {
        delete signed.response;
    }
    return {
        said,
        endorser: decode.creator(response.getEndorsement().getEndorser_asU8()),
        signed,
        interest: decode.interest(response.getInterest()),
    };
}

/** A gRPC status as text. */
export function status(failed) {
    return `${grpc.status[failed.code]}: ${failed.details}`;
}

/** A gRPC status with the details that a Gateway attaches. */
function gatewayError(failed) {
    const attached = failed.metadata.get('grpc-status-details-bin');
    const details = attached.flatMap((bytes) => statusDetails(bytes));
    return { status: status(failed), details: details.sort() };
}

function statusDetails(bytes) {
    const list = google.rpc.Status.deserializeBinary(bytes).getDetailsList();
    return list.map((any) => {
        const detail = gateway.ErrorDetail.deserializeBinary(any.getValue_asU8());
        return `${any.getTypeUrl()} ${detail.getAddress()} ${detail.getMspId()} ${detail.getMessage()}`;
    });
}
