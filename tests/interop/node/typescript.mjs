// Loads a compiled contract as fabric-shim does when a peer starts it, prints what it tells of itself, and what it
// answers to the calls of its `calls.json` and leaves behind.
//
//     node typescript.mjs FOLDER

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(import.meta.url);
process.env.CORE_CHAINCODE_LOGGING_LEVEL = 'critical';
const Bootstrap = require('fabric-shim/lib/contract-spi/bootstrap.js');
const ChaincodeFromContract = require('fabric-shim/lib/contract-spi/chaincodefromcontract.js');

const folder = path.resolve(process.argv[2]);
const read = (name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
const { contracts, serializers, title, version } = Bootstrap.getInfoFromContract(folder);
const chaincode = new ChaincodeFromContract(contracts, serializers, {}, title, version);
const { named } = require(path.join(folder, read('package.json').main));

// A peer's side, as far as the contracts need it.
const state = new Map();
const certificate = readFileSync(new URL('typescript/certificate.pem', import.meta.url));
const stub = (fcn, params) => ({
    getFunctionAndParameters: () => ({ fcn, params }),
    getBufferArgs: () => [fcn, ...params].map((text) => Buffer.from(text)),
    getStringArgs: () => [fcn, ...params],
    getCreator: () => ({ mspid: 'Org1MSP', idBytes: certificate }),
    getTxID: () => 'transaction',
    getChannelID: () => 'channel',
    getState: async (key) => state.get(key) ?? Buffer.alloc(0),
    putState: async (key, value) => void state.set(key, Buffer.from(value)),
});

const answers = [];
for (const [fcn, ...params] of read('calls.json')) {
    const { status, message, payload } = await chaincode.Invoke(stub(fcn, params));
    answers.push([fcn, status, message, payload && Buffer.from(payload).toString()]);
}
const left = [...state].map(([key, value]) => [key, value.toString()]);
console.log(JSON.stringify({ metadata: chaincode.metadata, named, answers, left }, null, 1));
