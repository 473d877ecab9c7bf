// The probe chaincode on a channel, served by a process that ends with this one.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deploy } from './lifecycle.mjs';
import { ccaasPackage, freeAddress } from './package.mjs';

const SERVER = fileURLToPath(new URL('./chaincode.mjs', import.meta.url));
// It logs each refusal of a transaction as an error, and refusals are what many steps are about.
const QUIET = { CORE_CHAINCODE_LOGGING_LEVEL: 'critical', CORE_CHAINCODE_LOGGING_SHIM: 'critical' };

/** Serves the probe under a package's ID; done when it listens. */
export function serve(packageId, address) {
    const child = spawn(process.execPath, ['--no-deprecation', SERVER, packageId, address], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { CORE_PEER_LOCALMSPID: 'Org1MSP', ...QUIET },
    });
    return new Promise((resolve, reject) => {
        child.stdout.once('data', () => resolve(child));
        child.once('error', reject);
        child.once('exit', (code) => reject(new Error(`the chaincode server ended with ${code}`)));
    });
}

/** Makes a package of the probe and serves it. */
export async function probe(label) {
    const address = await freeAddress();
    const archive = ccaasPackage(label, address);
    await serve(archive.id, address);
    return archive;
}

/** Serves the probe and deploys it under a name. */
export async function deployProbe(network, channel, name, definition = {}) {
    const archive = await probe(`${name}_1`);
    await deploy(network, channel, { name, ...definition }, archive);
    return archive;
}
