// The script, part three: proposals, transactions and envelopes as they must not be, and the system chaincodes.

import { common, msp, peer } from '@hyperledger/fabric-protos';
import { identity } from '../lib/network.mjs';
import { assemble, envelope, header } from '../lib/wire.mjs';
import { as } from './lifecycle.mjs';
import { block } from '../lib/decode.mjs';

const { HeaderType } = common;

export async function proposalSteps(play, names) {
    const { channel, organizations } = play.network;
    const [org1] = organizations;
    const [peer1] = org1.peers;
    const call = { channel, chaincode: names.probe, args: ['get', 'a'] };
    const wrong = (title, change, who = org1.user) => play.endorse(`proposal: ${title}`, who, peer1, { ...call, ...change });
    const head = (change) => ({ change });

    await wrong('a wrong signature', { spoilSignature: true });
    await wrong('no such channel', { channel: 'nowhere' });
    await wrong('no channel', { channel: '' });
    await wrong('a wrong channel name', { channel: 'No Channel' });
    await wrong('no chaincode', { chaincode: '' });
    await wrong('no such chaincode', { chaincode: 'nothing' });
    await wrong('a wrong chaincode name', { chaincode: 'a b' });
    await wrong('no arguments', { args: [] });
    await wrong('another type', head(({ channelHeader }) => channelHeader.setType(HeaderType.MESSAGE)));
    await wrong('the type of a configuration', head(({ channelHeader }) => channelHeader.setType(HeaderType.CONFIG)));
    const unnamed = (title, txId) =>
        wrong(title, head(({ channelHeader, computed }) => {
            play.mask(computed, 'computed');
            channelHeader.setTxId(txId);
        }));
    await unnamed('another transaction', '00'.repeat(32));
    await unnamed('no transaction', '');
    await wrong('an epoch', head(({ channelHeader }) => channelHeader.setEpoch(1)));
    await wrong('no nonce', head(({ signatureHeader }) => signatureHeader.setNonce(new Uint8Array())));
    await wrong('no creator', head(({ signatureHeader }) => signatureHeader.setCreator(new Uint8Array())));
    await wrong('no extension', head(({ channelHeader }) => channelHeader.setExtension$(new Uint8Array())));
    await wrong('no timestamp', head(({ channelHeader }) => channelHeader.clearTimestamp()));
    await wrong('an hour ago', head(({ channelHeader, timestamp }) => channelHeader.setTimestamp(timestamp(Date.now() - 3600_000))));
    await wrong('in an hour', head(({ channelHeader, timestamp }) => channelHeader.setTimestamp(timestamp(Date.now() + 3600_000))));
    await wrong('another version', head(({ channelHeader }) => channelHeader.setVersion(7)));
    const stranger = { ...org1.user, serialized: serialized('StrangerMSP', org1.user.certificate) };
    await wrong('a strange organization', {}, stranger);
    const impostor = { ...org1.user, serialized: serialized('Org2MSP', org1.user.certificate) };
    await wrong('a certificate of another organization', {}, impostor);
    await wrong('a certificate that is none', {}, { ...org1.user, serialized: serialized('Org1MSP', Buffer.from('none')) });
    await wrong('a creator that is none', {}, { ...org1.user, serialized: Buffer.from('none') });

    const spoilt = async (title, spoil) => {
        const proposed = await play.propose(org1.user, call);
        spoil(proposed.signed);
        await play.send(`proposal: ${title}`, peer1, proposed);
    };
    await spoilt('empty', (signed) => signed.setProposalBytes(new Uint8Array()));
    await spoilt('no message', (signed) => signed.setProposalBytes(Buffer.from('no proposal')));
    await spoilt('no signature', (signed) => signed.setSignature(new Uint8Array()));
    await spoilt('no header', (signed) => signed.setProposalBytes(new peer.Proposal().serializeBinary()));
    const member = org1.peers[0].msp ? identity('Org1MSP', org1.peers[0].msp) : org1.admin;
    await wrong('by another role', {}, member);
}

function serialized(mspId, certificate) {
    const made = new msp.SerializedIdentity();
    made.setMspid(mspId);
    made.setIdBytes(certificate);
    return made.serializeBinary();
}

export async function systemSteps(play) {
    const { channel, organizations } = play.network;
    const [org1, org2] = organizations;
    const [peer1] = org1.peers;
    const system = (title, chaincode, args, read, who = org1.user, on = channel) =>
        play.endorse(`${chaincode}: ${title}`, who, peer1, { channel: on, chaincode, args }, read);

    const chain = (bytes) => common.BlockchainInfo.deserializeBinary(bytes).getHeight();
    await system('chain', 'qscc', ['GetChainInfo', channel], chain);
    await system('chain, by the other organization', 'qscc', ['GetChainInfo', channel], chain, org2.user);
    await system('chain of nothing', 'qscc', ['GetChainInfo', 'nowhere']);
    await system('chain without a name', 'qscc', ['GetChainInfo']);
    await system('no function', 'qscc', []);
    await system('no such function', 'qscc', ['Nothing', channel]);
    await system('first block', 'qscc', ['GetBlockByNumber', channel, '0'], (bytes) => block(common.Block.deserializeBinary(bytes)).number);
    await system('a block that is not there', 'qscc', ['GetBlockByNumber', channel, '999999']);
    await system('a block of no number', 'qscc', ['GetBlockByNumber', channel, 'x']);
    await system('a block without a number', 'qscc', ['GetBlockByNumber', channel]);
    await system('a block by hash', 'qscc', ['GetBlockByHash', channel, Buffer.from('no hash')]);
    await system('a block by transaction', 'qscc', ['GetBlockByTxID', channel, 'nothing']);
    await system('a transaction', 'qscc', ['GetTransactionByID', channel, 'nothing']);
    await system('no transaction', 'qscc', ['GetTransactionByID', channel, '']);
    const channels = (bytes) => peer.ChannelQueryResponse.deserializeBinary(bytes).getChannelsList().map((item) => item.getChannelId()).sort();
    await system('channels', 'cscc', ['GetChannels'], channels, org1.admin, '');
    await system('channels, by a user', 'cscc', ['GetChannels'], channels, org1.user, '');
    await system('channels, by the other organization', 'cscc', ['GetChannels'], channels, org2.admin, '');
    await system('config block', 'cscc', ['GetConfigBlock', channel], (bytes) => block(common.Block.deserializeBinary(bytes)).number);
    await system('config block of nothing', 'cscc', ['GetConfigBlock', 'nowhere']);
    await system('config', 'cscc', ['GetChannelConfig', channel], (bytes) => common.Config.deserializeBinary(bytes).getSequence());
    await system('no function', 'cscc', []);
    await system('no such function', 'cscc', ['Nothing', channel]);
    await system('join: no block', 'cscc', ['JoinChain', 'no block'], undefined, org1.admin, '');
    await system('join: empty', 'cscc', ['JoinChain', ''], undefined, org1.admin, '');
    await system('join: by a user', 'cscc', ['JoinChain', 'no block'], undefined, org1.user, '');
    await system('join status', 'cscc', ['JoinBySnapshotStatus'], undefined, org1.admin, '');
    await system('chaincodes', 'lscc', ['GetChaincodes'], as(peer.ChaincodeQueryResponse));
    await system('no such function', 'lscc', ['Nothing']);
    await system('a function', 'vscc', ['Nothing']);
    await system('a function', 'escc', ['Nothing']);
    const genesis = await play.wire.endorse(peer1, (await play.propose(org1.user, { channel, chaincode: 'qscc', args: ['GetBlockByNumber', channel, '0'] })).signed);
    const first = genesis.response.getResponse().getPayload_asU8();
    await system('join: joined already', 'cscc', ['JoinChain', first], undefined, org1.admin, '');
}

export async function transactionSteps(play, names) {
    const { channel, organizations } = play.network;
    const [org1, org2] = organizations;
    const [peer1, peer2] = [org1.peers[0], org2.peers[0]];
    const both = [peer1, peer2];
    const call = (...args) => ({ channel, chaincode: names.probe, args });
    const collect = (nodes, ...args) => play.collect(org1.user, nodes, call(...args));
    const order = async (title, { proposed, responses }, options) => {
        const made = await assemble(proposed, responses, options);
        play.record(`order: ${title}`, await play.order(made, proposed));
        return made;
    };

    // Conflicts.
    await order('a counter', await collect(both, 'increment', 'n'));
    const [one, two] = [await collect(both, 'increment', 'n'), await collect(both, 'increment', 'n')];
    await order('the first of two', one);
    await order('the second of two', two);
    const ranges = await collect(both, 'countRange', 'k1', 'k9', 'count');
    await order('a key in a range', await collect(both, 'put', 'k6', '6'));
    await order('a range that grew', ranges);
    const deleted = await collect(both, 'countRange', 'k1', 'k9', 'count');
    await order('a key leaves a range', await collect(both, 'del', 'k6'));
    await order('a range that shrank', deleted);

    // Policies.
    await order('one endorsement of two', await collect([peer1], 'put', 'b', '1'));
    const lone = await collect([peer1], 'put', 'b', '2');
    await order('twice the same endorser', { ...lone, responses: [...lone.responses, ...lone.responses] });
    const different = await play.propose(org1.user, call('put', 'b', '3'));
    const other = await collect([peer2], 'put', 'b', '4');
    const mine = await play.wire.endorse(peer1, different.signed);
    await order('an endorsement of something else', { proposed: different, responses: [mine.response, ...other.responses] });
    const changed = await collect(both, 'put', 'b', '5');
    const payload = Buffer.from(changed.responses[0].getPayload_asU8());
    changed.responses[0].setPayload(Buffer.from(payload.toString('latin1').replace('b\u001a\u00015', 'b\u001a\u00016'), 'latin1'));
    await order('results that were changed afterwards', changed);
    const nobody = await collect(both, 'put', 'b', '8');
    const emptied = nobody.responses.map((response) => {
        response.getEndorsement().setSignature(new Uint8Array());
        return response;
    });
    await order('endorsements without a signature', { proposed: nobody.proposed, responses: emptied });

    // Twice the same.
    const twice = await collect(both, 'put', 'b', '9');
    const envelopeOfTwice = await order('once', twice);
    play.record('order: twice', await play.order(envelopeOfTwice, twice.proposed));
    await order('after it', await collect(both, 'put', 'b', '10'));

    // Transactions that are not what their proposal was.
    const swapped = await collect(both, 'put', 'c', '1');
    const foreign = await play.propose(org1.user, call('put', 'c', '2'));
    await order('the proposal of another', { proposed: { ...swapped.proposed, payload: foreign.payload }, responses: swapped.responses });
    const strange = await collect(both, 'put', 'c', '3');
    await order('signed by somebody else', strange, { signer: org2.user });
    await order('a wrong signature', await collect(both, 'put', 'c', '4'), { spoilSignature: true });
    const reader = { ...(await collect(both, 'put', 'c', '5')) };
    reader.proposed.header.setSignatureHeader(new Uint8Array());
    await order('no signature header', reader);

    // Envelopes.
    const broadcast = async (title, message) => play.record(`broadcast: ${title}`, await play.broadcast(message));
    const of = (type, on, change) => header(org1.user, { type, channel: on, change }).made;
    await broadcast('empty', new common.Envelope());
    const noPayload = new common.Envelope();
    noPayload.setPayload(Buffer.from('no payload'));
    await broadcast('no payload', noPayload);
    await broadcast('no header', await envelope(org1.user, undefined, Buffer.from('x')));
    await broadcast('no such channel', await envelope(org1.user, of(HeaderType.ENDORSER_TRANSACTION, 'nowhere'), Buffer.from('x')));
    await broadcast('no channel', await envelope(org1.user, of(HeaderType.ENDORSER_TRANSACTION, ''), Buffer.from('x')));
    await broadcast('a wrong signature', await envelope(org1.user, of(HeaderType.ENDORSER_TRANSACTION, channel), Buffer.from('x'), true));
    const stranger = { ...org1.user, serialized: serialized('StrangerMSP', org1.user.certificate) };
    const strangers = header(stranger, { type: HeaderType.ENDORSER_TRANSACTION, channel }).made;
    await broadcast('a strange organization', await envelope(stranger, strangers, Buffer.from('x')));
    await broadcast('a configuration', await envelope(org1.admin, of(HeaderType.CONFIG, channel), Buffer.from('x')));
    await broadcast('an update that is none', await envelope(org1.admin, of(HeaderType.CONFIG_UPDATE, channel), Buffer.from('x')));
    await broadcast('an empty update', await envelope(org1.admin, of(HeaderType.CONFIG_UPDATE, channel), new Uint8Array()));
    await broadcast('an update of nothing', await envelope(org1.admin, of(HeaderType.CONFIG_UPDATE, channel), update(channel, () => {})));
    await broadcast('an update of another channel', await envelope(org1.admin, of(HeaderType.CONFIG_UPDATE, channel), update('other', () => {})));
    await broadcast('an update of a version that is not', await envelope(org1.admin, of(HeaderType.CONFIG_UPDATE, channel), update(channel, (read, write) => {
        read.setVersion(7);
        write.setVersion(8);
    })));
    await broadcast('an update that nobody signed', await envelope(org1.admin, of(HeaderType.CONFIG_UPDATE, channel), update(channel, (read, write) => write.setVersion(1))));

    // Transactions that only a validator refuses.
    const garbage = async (title, type, data) => {
        const { made, txId } = header(org1.user, { type, channel });
        play.mask(txId, 'tx');
        const outcome = await play.order(await envelope(org1.user, made, data), { call: { channel } });
        play.record(`order: ${title}`, outcome);
    };
    await garbage('no transaction', HeaderType.ENDORSER_TRANSACTION, Buffer.from('no transaction'));
    await garbage('an empty transaction', HeaderType.ENDORSER_TRANSACTION, new Uint8Array());
    await garbage('a message', HeaderType.MESSAGE, Buffer.from('a message'));
}

/** A configuration update whose read and write sets are as `fill` makes them. */
function update(channel, fill) {
    const [read, write] = [new common.ConfigGroup(), new common.ConfigGroup()];
    fill(read, write);
    const made = new common.ConfigUpdate();
    made.setChannelId(channel);
    made.setReadSet(read);
    made.setWriteSet(write);
    const wrapped = new common.ConfigUpdateEnvelope();
    wrapped.setConfigUpdate(made.serializeBinary());
    return wrapped.serializeBinary();
}
