// The script, part four: the services that deliver blocks, tell who there is, and act for a client.

import { common, discovery, gateway, gossip, peer } from '@hyperledger/fabric-protos';
import { creator, nameOf, show } from '../lib/decode.mjs';
import { status } from '../lib/play.mjs';
import { assemble, position } from '../lib/wire.mjs';

export async function deliverSteps(play) {
    const { channel, organizations } = play.network;
    const [org1] = organizations;
    const kinds = [
        ['deliver', org1.peers[0]],
        ['deliverFiltered', org1.peers[0]],
        ['deliverWithPrivateData', org1.peers[0]],
        ['orderer', org1.orderers[0]],
    ];
    for (const [kind, node] of kinds) {
        const step = (title, options, on = channel, who = org1.user) =>
            play.deliver(`${kind}: ${title}`, who, node, kind, on, options);
        await step('one block', { start: 1, stop: 1 });
        await step('three blocks', { start: 11, stop: 13 });
        await step('the oldest', { start: 'oldest', stop: 'oldest' });
        await step('backwards', { start: 3, stop: 1 });
        await step('beyond the end, at once', { start: 999_999, stop: 999_999, wait: false });
        await step('no start', { stop: 1 });
        await step('no stop', { start: 1 });
        await step('no such channel', { start: 0, stop: 0 }, 'nowhere');
        await step('no channel', { start: 0, stop: 0 }, '');
        await step('a wrong signature', { start: 0, stop: 0, spoilSignature: true });
        await step('an hour ago', { start: 0, stop: 0, change: anHourAgo });
        await step('no timestamp', { start: 0, stop: 0, change: ({ channelHeader }) => channelHeader.clearTimestamp() });
        await step('a strange organization', { start: 0, stop: 0 }, channel, stranger(org1));
    }
    await play.deliver('deliverWithPrivateData: private data', org1.user, org1.peers[0], 'deliverWithPrivateData', channel, {
        start: 'oldest',
        stop: 40,
    });
}

function anHourAgo({ channelHeader, timestamp }) {
    channelHeader.setTimestamp(timestamp(Date.now() - 3600_000));
}

function stranger(org) {
    return { ...org.user, serialized: Buffer.from(org.user.serialized).fill('X', 2, 5) };
}

/** A query about one channel. */
function ask(channel, fill) {
    const query = new discovery.Query();
    query.setChannel(channel);
    fill?.(query);
    return query;
}

const peers = (query) => query.setPeerQuery(new discovery.PeerMembershipQuery());
const localPeers = (query) => query.setLocalPeers(new discovery.LocalPeerQuery());
const config = (query) => query.setConfigQuery(new discovery.ConfigQuery());

/** A query for the endorsers of calls: `[chaincode, collections, noPrivateReads, noPublicWrites]`. */
function endorsers(...calls) {
    return (query) => {
        const interest = new peer.ChaincodeInterest();
        for (const [name, collections = [], noPrivateReads = false, noPublicWrites = false] of calls) {
            const call = new peer.ChaincodeCall();
            call.setName(name);
            call.setCollectionNamesList(collections);
            call.setNoPrivateReads(noPrivateReads);
            call.setNoPublicWrites(noPublicWrites);
            interest.addChaincodes(call);
        }
        const made = new discovery.ChaincodeQuery();
        made.setInterestsList([interest]);
        query.setCcQuery(made);
    };
}

export async function discoverySteps(play, names) {
    const { channel, organizations } = play.network;
    const [org1, org2] = organizations;
    const node = org1.peers[0];
    const step = async (title, queries, who = org1.user, options = {}) => {
        const { failed, response } = await play.wire.discover(node, who, queries, options);
        play.record(`discover: ${title}`, failed ? status(failed) : response.getResultsList().map(discovered));
    };
    await step('peers', [ask(channel, peers)]);
    await step('peers, by the other organization', [ask(channel, peers)], org2.user);
    await step('config', [ask(channel, config)]);
    await step('peers and config', [ask(channel, peers), ask(channel, config)]);
    await step('nothing', []);
    await step('an empty query', [ask(channel)]);
    await step('no such channel', [ask('nowhere', peers)]);
    await step('no channel', [ask('', peers)]);
    await step('local peers, by an administrator', [ask('', localPeers)], org1.admin);
    await step('local peers, by a user', [ask('', localPeers)]);
    await step('local peers, by the other organization', [ask('', localPeers)], org2.admin);
    await step('a wrong signature', [ask(channel, peers)], org1.user, { spoilSignature: true });
    await step('a strange organization', [ask(channel, peers)], stranger(org1));
    await step('endorsers', [ask(channel, endorsers([names.probe]))]);
    await step('endorsers: nothing such', [ask(channel, endorsers(['nothing']))]);
    await step('endorsers: not installed', [ask(channel, endorsers([names.absent]))]);
    await step('endorsers: lifecycle', [ask(channel, endorsers(['_lifecycle']))]);
    await step('endorsers: no call', [ask(channel, endorsers())]);
    await step('endorsers: a collection of all', [ask(channel, endorsers([names.probe, ['both']]))]);
    await step('endorsers: a collection of one', [ask(channel, endorsers([names.probe, ['first']]))]);
    await step('endorsers: a collection of one, not read', [ask(channel, endorsers([names.probe, ['first'], true]))]);
    await step('endorsers: a collection with a policy', [ask(channel, endorsers([names.probe, ['ruled'], true, true]))]);
    await step('endorsers: no such collection', [ask(channel, endorsers([names.probe, ['nothing']]))]);
    await step('endorsers: two chaincodes', [ask(channel, endorsers([names.probe], [names.init]))]);
    await step('endorsers: one is nothing', [ask(channel, endorsers([names.probe], ['nothing']))]);
}

function discovered(result) {
    if (result.hasError()) {
        return `error: ${result.getError().getContent()}`;
    }
    if (result.hasMembers()) {
        return { peers: byName(result.getMembers().getPeersByOrgMap(), peersOf) };
    }
    if (result.hasConfigResult()) {
        const found = result.getConfigResult();
        return {
            msps: byName(found.getMspsMap(), mspOf),
            orderers: byName(found.getOrderersMap(), (endpoints) =>
                endpoints.getEndpointList().map((endpoint) => `${endpoint.getHost()}:${endpoint.getPort()}`),
            ),
        };
    }
    return result.getCcQueryRes()?.getContentList().map(plan) ?? 'empty';
}

function byName(map, read) {
    return Object.fromEntries(map.toArray().map(([name]) => name).sort().map((name) => [name, read(map.get(name))]));
}

function mspOf(made) {
    const units = made.getFabricNodeOus();
    const counts = ['RootCerts', 'IntermediateCerts', 'Admins', 'TlsRootCerts', 'TlsIntermediateCerts', 'RevocationList'];
    return {
        name: made.getName(),
        ...Object.fromEntries(counts.map((what) => [what, made[`get${what}List`]().length])),
        hash: made.getCryptoConfig()?.getSignatureHashFamily(),
        units: units?.getEnable() && [units.getClientOuIdentifier(), units.getPeerOuIdentifier(), units.getAdminOuIdentifier(), units.getOrdererOuIdentifier()].map((unit) => unit?.getOrganizationalUnitIdentifier()),
    };
}

const message = (envelope) => gossip.GossipMessage.deserializeBinary(envelope.getPayload_asU8());

function peersOf(made) {
    return made.getPeersList().map(peerOf).sort((one, other) => one.endpoint.localeCompare(other.endpoint));
}

function peerOf(made) {
    const alive = made.getMembershipInfo() && message(made.getMembershipInfo()).getAliveMsg();
    const state = made.getStateInfo() && message(made.getStateInfo()).getStateInfo();
    return {
        endpoint: alive?.getMembership().getEndpoint() ?? '',
        mspId: creator(made.getIdentity_asU8()),
        // Peers hear of the last blocks of others a little later.
        height: state ? state.getProperties().getLedgerHeight() > 40 : undefined,
        chaincodes: state?.getProperties().getChaincodesList().map((item) => `${item.getName()} ${item.getVersion()}`).sort(),
    };
}

// Groups are named at random; what counts is who is in them and how many each layout takes.
function plan(made) {
    const groups = byName(made.getEndorsersByGroupsMap(), (group) => peersOf(group).map((one) => one.mspId).join(','));
    const layouts = made.getLayoutsList().map((layout) => {
        const quantities = layout.getQuantitiesByGroupMap().toArray();
        return quantities.map(([group, count]) => `${count} of ${groups[group]}`).sort();
    });
    return { chaincode: made.getChaincode(), groups: Object.values(groups).sort(), layouts: layouts.sort() };
}

export async function gatewaySteps(play, names) {
    const { channel, organizations } = play.network;
    const [org1, org2] = organizations;
    const node = org1.peers[0];
    const call = (...args) => ({ channel, chaincode: names.probe, args });
    const secret = (value, ...args) => ({ ...call(...args), transient: { value } });

    const evaluate = async (title, called, { who = org1.user, orgs = [], fill } = {}) => {
        const request = new gateway.EvaluateRequest();
        const proposed = await play.propose(who, called);
        request.setTransactionId(proposed.txId);
        request.setChannelId(called.channel);
        request.setProposedTransaction(proposed.signed);
        request.setTargetOrganizationsList(orgs);
        fill?.(request);
        await play.gateway(`gateway evaluate: ${title}`, node, 'evaluate', request, (response) => {
            const result = response.getResult();
            return [result.getStatus(), result.getMessage(), show(result.getPayload_asU8())];
        });
    };
    await evaluate('a key', call('get', 'a'));
    await evaluate('at the other organization', call('get', 'a'), { orgs: ['Org2MSP'] });
    await evaluate('at any of two', call('get', 'a'), { orgs: ['Org1MSP', 'Org2MSP'] });
    await evaluate('at nobody', call('get', 'a'), { orgs: ['NobodyMSP'] });
    await evaluate('a refusal', call('refuse', 'a', 'as it was told'));
    await evaluate('an answer of 404', call('answer', '404', 'not there', 'payload'));
    await evaluate('an answer of 201', call('answer', '201', 'created', 'payload'));
    await evaluate('private data', call('getPrivate', 'first', 'p'));
    await evaluate('transient data', secret('x', 'context'));
    await evaluate('no such chaincode', { ...call('get', 'a'), chaincode: 'nothing' });
    await evaluate('no such channel', { ...call('get', 'a'), channel: 'nowhere' });
    await evaluate('no channel', { ...call('get', 'a'), channel: '' });
    await evaluate('no chaincode', { ...call('get', 'a'), chaincode: '' });
    await evaluate('a wrong signature', { ...call('get', 'a'), spoilSignature: true });
    await evaluate('no proposal', call('get', 'a'), { fill: (request) => request.clearProposedTransaction() });
    await evaluate('a system chaincode', { channel, chaincode: 'qscc', args: ['GetChainInfo', 'nowhere'] });
    await evaluate('a stranger', call('get', 'a'), { who: stranger(org1) });
    await evaluate('by the other organization', call('context'), { who: org2.user });
    await evaluate('not installed', { ...call('get', 'a'), chaincode: names.absent });

    const endorse = async (title, called, { who = org1.user, orgs = [], fill } = {}) => {
        const request = new gateway.EndorseRequest();
        const proposed = await play.propose(who, called);
        request.setTransactionId(proposed.txId);
        request.setChannelId(called.channel);
        request.setProposedTransaction(proposed.signed);
        request.setEndorsingOrganizationsList(orgs);
        fill?.(request);
        const response = await play.gateway(`gateway endorse: ${title}`, node, 'endorse', request, prepared);
        return { proposed, envelope: response?.getPreparedTransaction() };
    };
    const endorsed = await endorse('a write', call('put', 'g', '1'));
    await endorse('by one of two', call('put', 'g', '1'), { orgs: ['Org1MSP'] });
    await endorse('by the other', call('put', 'g', '1'), { orgs: ['Org2MSP'] });
    await endorse('by nobody', call('put', 'g', '1'), { orgs: ['NobodyMSP'] });
    await endorse('a read', call('get', 'g'));
    await endorse('a refusal', call('refuse', 'a', 'as it was told'));
    await endorse('an answer of 404', call('answer', '404', 'not there', 'payload'));
    await endorse('endorsers that differ', call('diverge', 'd'));
    await endorse('private data of one', secret('x', 'putPrivate', 'first', 'g'));
    await endorse('private data of one, named', secret('x', 'putPrivate', 'first', 'g'), { orgs: ['Org1MSP'] });
    await endorse('private data of all', secret('x', 'putPrivate', 'both', 'g'));
    await endorse('private data under a policy', secret('x', 'putPrivate', 'ruled', 'g'));
    await endorse('a guarded key', call('put', 'guarded', '9'));
    await endorse('no such chaincode', { ...call('get', 'a'), chaincode: 'nothing' });
    await endorse('no such channel', { ...call('get', 'a'), channel: 'nowhere' });
    await endorse('a wrong signature', { ...call('get', 'a'), spoilSignature: true });
    await endorse('no proposal', call('get', 'a'), { fill: (request) => request.clearProposedTransaction() });
    await endorse('another chaincode too', call('call', names.init, '', 'put', 'g', '1'));
    await endorse('not installed', { ...call('get', 'a'), chaincode: names.absent });

    const submit = async (title, txId, made) => {
        const request = new gateway.SubmitRequest();
        request.setTransactionId(txId);
        request.setChannelId(channel);
        if (made) {
            request.setPreparedTransaction(made);
        }
        await play.gateway(`gateway submit: ${title}`, node, 'submit', request, () => 'accepted');
    };
    await submit('no transaction', 'x', undefined);
    await submit('not signed', endorsed.proposed.txId, endorsed.envelope);
    await submit('a wrong signature', endorsed.proposed.txId, await signed(endorsed.envelope, org2.user));
    const commitStatus = async (title, txId, { who = org1.user, on = channel, spoil = false, fill } = {}) => {
        const request = new gateway.CommitStatusRequest();
        request.setTransactionId(txId);
        request.setChannelId(on);
        request.setIdentity(who.serialized);
        fill?.(request);
        const signedRequest = new gateway.SignedCommitStatusRequest();
        signedRequest.setRequest(request.serializeBinary());
        const signature = await play.wire.sign(who, signedRequest.getRequest_asU8());
        signature[signature.length - 1] ^= spoil ? 1 : 0;
        signedRequest.setSignature(signature);
        await play.gateway(`gateway commit status: ${title}`, node, 'commitStatus', signedRequest, (response) => [
            nameOf(peer.TxValidationCode, response.getResult()),
            response.getBlockNumber(),
        ]);
    };
    await submit('signed', endorsed.proposed.txId, await signed(endorsed.envelope, org1.user));
    await commitStatus('the transaction', endorsed.proposed.txId);
    await commitStatus('by the other organization', endorsed.proposed.txId, { who: org2.user });
    await commitStatus('a wrong signature', endorsed.proposed.txId, { spoil: true });
    await commitStatus('no such channel', endorsed.proposed.txId, { on: 'nowhere' });
    await commitStatus('no channel', endorsed.proposed.txId, { on: '' });
    await commitStatus('no transaction', '');
    await commitStatus('nobody asks', endorsed.proposed.txId, { fill: (request) => request.setIdentity('') });
    await play.gateway('gateway commit status: empty', node, 'commitStatus', new gateway.SignedCommitStatusRequest(), () => 'answered');
    const alone = await play.collect(org1.user, [node], call('put', 'g', '2'));
    await submit('too few endorsements', alone.proposed.txId, await assemble(alone.proposed, alone.responses));
    await commitStatus('too few endorsements', alone.proposed.txId);

    const events = async (title, { who = org1.user, on = channel, chaincode = names.probe, start, after, count = 1, spoil = false }) => {
        const request = new gateway.ChaincodeEventsRequest();
        request.setChannelId(on);
        request.setChaincodeId(chaincode);
        request.setIdentity(who.serialized);
        if (start !== undefined) {
            request.setStartPosition(position(start));
        }
        request.setAfterTransactionId(after ?? '');
        const signedRequest = new gateway.SignedChaincodeEventsRequest();
        signedRequest.setRequest(request.serializeBinary());
        const signature = await play.wire.sign(who, signedRequest.getRequest_asU8());
        signature[signature.length - 1] ^= spoil ? 1 : 0;
        signedRequest.setSignature(signature);
        const { failed, responses } = await play.wire.events(node, signedRequest, count);
        const shown = responses.map((response) => [
            response.getBlockNumber(),
            ...response.getEventsList().map((event) => [event.getChaincodeId(), event.getEventName(), show(event.getPayload_asU8()), event.getTxId()]),
        ]);
        play.record(`gateway events: ${title}`, failed ? [...shown, status(failed)] : shown);
        return responses;
    };
    const [first] = await events('from the start', { start: 0, count: 3 });
    const after = first.getEventsList()[0].getTxId();
    play.mask(after, 'tx');
    await events('after a transaction', { start: 0, after, count: 1 });
    await events('the oldest', { start: 'oldest' });
    await events('a wrong signature', { start: 0, spoil: true });
    await events('no such channel', { start: 0, on: 'nowhere' });
    await events('no channel', { start: 0, on: '' });
    await events('a stranger', { start: 0, who: stranger(org1) });

    async function signed(envelope, who) {
        const made = new common.Envelope();
        made.setPayload(envelope.getPayload_asU8());
        made.setSignature(await play.wire.sign(who, made.getPayload_asU8()));
        return made;
    }
}

/** Who endorsed a transaction that a Gateway prepared, and what. */
function prepared(response) {
    const payload = common.Payload.deserializeBinary(response.getPreparedTransaction().getPayload_asU8());
    const [action] = peer.Transaction.deserializeBinary(payload.getData_asU8()).getActionsList();
    const made = peer.ChaincodeActionPayload.deserializeBinary(action.getPayload_asU8());
    const visible = peer.ChaincodeProposalPayload.deserializeBinary(made.getChaincodeProposalPayload_asU8());
    return {
        endorsers: made.getAction().getEndorsementsList().map((one) => creator(one.getEndorser_asU8())).sort(),
        transient: visible.getTransientmapMap().getLength(),
        signature: response.getPreparedTransaction().getSignature_asU8().length,
    };
}
