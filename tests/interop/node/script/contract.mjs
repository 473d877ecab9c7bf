// The script, part two: each function of the stub, as the peer answers to it, and what becomes of it on the ledger.

export async function contractSteps(play, names) {
    const { channel, otherChannel, organizations } = play.network;
    const [org1, org2] = organizations;
    const [peer1, peer2] = [org1.peers[0], org2.peers[0]];
    const both = [peer1, peer2];
    const call = (...args) => ({ channel, chaincode: names.probe, args });
    const secret = (value, ...args) => ({ ...call(...args), transient: { value } });
    const query = (title, ...args) => play.endorse(`query: ${title}`, org1.user, peer1, call(...args));
    const submit = (title, ...args) => play.submit(`submit: ${title}`, org1.user, both, call(...args));

    // State.
    await query('a key that is not there', 'get', 'a');
    await submit('a key', 'put', 'a', '1');
    await query('the key', 'get', 'a');
    await query('the empty key', 'get', '');
    await query('write to the empty key', 'put', '', 'x');
    await query('write nothing', 'put', 'nothing', '');
    await query('write, then read', 'writeThenRead', 'a', '2');
    await query('a key with a zero', 'put', 'a\u0000b', 'x');
    await query('a key of another kind', 'put', '\u{10ffff}', 'x');
    await submit('change', 'put', 'a', '2');
    await submit('delete', 'del', 'a');
    await submit('delete again', 'del', 'a');
    await submit('once more', 'put', 'a', '3');
    await query('history', 'history', 'a');
    await query('no history', 'history', 'never');
    await submit('several keys', 'putAll', JSON.stringify({ k1: '1', k2: '2', k3: '3', k4: '4', k5: '5' }));
    await query('a range', 'range', 'k1', 'k4');
    await query('a range from the start', 'range', '', 'k3');
    await query('a range to the end', 'range', 'k3', '');
    await query('everything', 'range', '', '');
    await query('an empty range', 'range', 'x', 'y');
    await query('a range backwards', 'range', 'k4', 'k1');
    await query('a first page', 'page', 'k1', 'k9', '2', '');
    await query('a second page', 'page', 'k1', 'k9', '2', 'k3');
    await query('a last page', 'page', 'k1', 'k9', '2', 'k5');
    await query('a page of none', 'page', 'k1', 'k9', '0', '');
    await query('a rich query', 'rich', '{"selector":{}}');
    await submit('composite keys', 'putComposite', '1', 'color', 'blue', 'k1');
    await submit('another composite key', 'putComposite', '2', 'color', 'red', 'k2');
    await query('composite keys', 'composites', 'color');
    await query('some composite keys', 'composites', 'color', 'red');
    await query('a page of composite keys', 'pageComposites', '1', '', 'color');
    await submit('a range and a write', 'countRange', 'k1', 'k9', 'count');

    // Outcomes.
    await query('a refusal', 'refuse', 'a', 'as it was told');
    await query('no such function', 'nothing');
    await query('no function', '');
    await query('an answer of 399', 'answer', '399', 'nearly', 'payload');
    await query('an answer of 400', 'answer', '400', 'not quite', 'payload');
    await query('an answer of 500', 'answer', '500', 'not at all', 'payload');
    await query('an answer of 201', 'answer', '201', 'created', 'payload');
    await submit('an answer of 201', 'answer', '201', 'created', 'payload');
    await submit('an event', 'emit', 'happened', 'payload');
    await submit('an event and a write', 'emitAndPut', 'written', 'payload', 'evented');
    await submit('two events', 'emitTwice', 'first', 'second');
    await query('an event without a name', 'emit', '', 'payload');
    await query('context', 'context', 'x', '');
    await play.endorse('query: context with transient data', org2.user, peer2, { ...call('context'), transient: { b: '2', a: '1' } });
    await submit('endorsers that differ', 'diverge', 'd');
    await query('a large answer', 'large', '2000000');

    // Private data.
    await play.submit('private: write', org1.user, both, secret('secret', 'putPrivate', 'both', 'p'));
    await query('private: read', 'getPrivate', 'both', 'p');
    await play.endorse('query: private: read by the other', org2.user, peer2, call('getPrivate', 'both', 'p'));
    await query('private: hash', 'hashPrivate', 'both', 'p');
    await query('private: no such key', 'getPrivate', 'both', 'q');
    await query('private: no such collection', 'getPrivate', 'nothing', 'p');
    await query('private: write to no such collection', 'putPrivateArgument', 'nothing', 'p', 'x');
    await query('private: write to the empty key', 'putPrivateArgument', 'both', '', 'x');
    await query('private: read without a collection', 'getPrivate', '', 'p');
    await query('private: range', 'rangePrivate', 'both', 'a', 'z');
    await query('private: rich query', 'richPrivate', 'both', '{"selector":{}}');
    await query('private: range and write', 'compositesPrivate', 'both', 'color');
    await play.submit('private: composite key', org1.user, both, secret('blue', 'putPrivateComposite', 'both', 'color', 'blue', 'k1'));
    await query('private: composite keys', 'compositesPrivate', 'both', 'color');
    await play.submit('private: copied into the open', org1.user, both, call('copyPrivate', 'both', 'p', 'copied'));
    await play.submit('private: one organization alone', org1.user, [peer1], secret('mine', 'putPrivate', 'first', 'p'));
    await play.submit('private: the other endorses too', org1.user, both, secret('mine', 'putPrivate', 'first', 'p'));
    await query('private: of one organization', 'getPrivate', 'first', 'p');
    await play.endorse('query: private: read by a stranger', org2.user, peer2, call('getPrivate', 'first', 'p'));
    await play.endorse('query: private: hash read by a stranger', org2.user, peer2, call('hashPrivate', 'first', 'p'));
    await play.endorse('query: private: read by a stranger at a member', org2.user, peer1, call('getPrivate', 'first', 'p'));
    await play.endorse('query: private: written by a stranger', org2.user, peer1, secret('x', 'putPrivate', 'first', 'q'));
    await play.submit('private: the collection has a policy of its own', org1.user, [peer1], secret('ruled', 'putPrivate', 'ruled', 'p'));
    await play.submit('private: by whom the policy does not name', org2.user, [peer2], secret('ruled', 'putPrivate', 'ruled', 'q'));
    await play.submit('private: implicit', org1.user, [peer1], secret('own', 'putPrivate', '_implicit_org_Org1MSP', 'p'));
    await query('private: implicit', 'getPrivate', '_implicit_org_Org1MSP', 'p');
    await query('private: implicit of the other', 'getPrivate', '_implicit_org_Org2MSP', 'p');
    await query('private: implicit of nobody', 'getPrivate', '_implicit_org_NobodyMSP', 'p');
    await play.endorse('query: private: implicit, by the other', org2.user, peer1, call('getPrivate', '_implicit_org_Org1MSP', 'p'));
    await play.submit('private: brief', org1.user, both, secret('soon gone', 'putPrivate', 'brief', 'p'));
    await query('private: still there', 'getPrivate', 'brief', 'p');
    await play.submit('private: delete', org1.user, both, call('delPrivate', 'both', 'p'));
    await query('private: deleted', 'getPrivate', 'both', 'p');
    await play.submit('private: again', org1.user, both, secret('second', 'putPrivate', 'both', 'p'));
    await play.submit('private: purge', org1.user, both, call('purgePrivate', 'both', 'p'));
    await query('private: purged', 'getPrivate', 'both', 'p');
    for (let count = 0; count < 4; count += 1) {
        await submit(`time passes ${count}`, 'put', 'time', String(count));
    }
    await query('private: gone', 'getPrivate', 'brief', 'p');
    await query('private: its hash', 'hashPrivate', 'brief', 'p');

    // Policies of single keys.
    await submit('key: written', 'put', 'guarded', '1');
    await submit('key: guarded by the first', 'setPolicy', 'guarded', 'Org1MSP');
    await query('key: its policy', 'getPolicy', 'guarded');
    await query('key: no policy', 'getPolicy', 'a');
    await play.submit('key: changed by the first', org1.user, [peer1], call('put', 'guarded', '2'));
    await play.submit('key: changed by the second', org2.user, [peer2], call('put', 'guarded', '3'));
    await play.submit('key: guarded by both', org1.user, [peer1], call('setPolicy', 'guarded', 'Org1MSP', 'Org2MSP'));
    await play.submit('key: changed by the first alone', org1.user, [peer1], call('put', 'guarded', '4'));
    await submit('key: changed by both', 'put', 'guarded', '5');
    await submit('key: a policy for what is not there', 'setPolicy', 'never', 'Org1MSP');
    await play.submit('key: a private one', org1.user, both, secret('guarded', 'putPrivate', 'both', 'guarded'));
    await play.submit('key: a private one, guarded', org1.user, both, call('setPrivatePolicy', 'both', 'guarded', 'Org1MSP'));
    await query('key: the policy of a private one', 'getPrivatePolicy', 'both', 'guarded');
    await play.submit('key: a private one, changed by the second', org2.user, [peer2], secret('x', 'putPrivate', 'both', 'guarded'));

    // Other chaincodes.
    await query('call: itself', 'call', names.probe, '', 'get', 'a');
    await query('call: another', 'call', names.init, '', 'get', 'initialized');
    await submit('call: another one that writes', 'call', names.init, '', 'put', 'called', 'yes');
    await query('call: another one that refuses', 'call', names.init, '', 'refuse', 'a', 'no');
    await query('call: another one that emits', 'call', names.init, '', 'emit', 'inner', 'event');
    await query('call: nothing', 'call', 'nothing', '', 'get', 'a');
    await query('call: a system chaincode', 'call', 'qscc', '', 'GetChainInfo', channel);
    await query('call: on a channel that is not there', 'call', names.probe, 'nowhere', 'get', 'a');
    await query('call: on another channel', 'call', names.probe, otherChannel, 'get', 'a');
}
