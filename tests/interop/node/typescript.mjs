// Loads a compiled contract as fabric-shim does when a peer starts it, and prints what it tells of itself.
//
//     node typescript.mjs FOLDER

import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(import.meta.url);
process.env.CORE_CHAINCODE_LOGGING_LEVEL = 'error';
const Bootstrap = require('fabric-shim/lib/contract-spi/bootstrap.js');
const ChaincodeFromContract = require('fabric-shim/lib/contract-spi/chaincodefromcontract.js');

const folder = path.resolve(process.argv[2]);
const { contracts, serializers, title, version } = Bootstrap.getInfoFromContract(folder);
const chaincode = new ChaincodeFromContract(contracts, serializers, {}, title, version);
const { named } = require(path.join(folder, require(path.join(folder, 'package.json')).main));
console.log(JSON.stringify({ metadata: chaincode.metadata, named }, null, 1));
