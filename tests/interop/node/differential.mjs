// Plays one script on several networks, one after the other, with one chaincode and one package for all of them, and
// writes what came of each step: NETWORK... OUTPUT.

import { writeFileSync } from 'node:fs';
import { load } from './lib/network.mjs';
import { Play } from './lib/play.mjs';
import { probe } from './lib/probe.mjs';
import { contractSteps } from './script/contract.mjs';
import { lifecycleSteps } from './script/lifecycle.mjs';
import { deliverSteps, discoverySteps, gatewaySteps } from './script/services.mjs';
import { proposalSteps, systemSteps, transactionSteps } from './script/transactions.mjs';

const NAMES = { probe: 'probe', init: 'init-probe', absent: 'absent' };

const descriptions = process.argv.slice(2);
const output = descriptions.pop();
// Two packages: peers would take two chaincodes of one package for the same one.
const archives = [await probe('probe_1'), await probe('init_1')];
const played = [];
for (const description of descriptions) {
    const network = load(description);
    const play = new Play(network);
    archives.forEach((archive) => play.maskPackage(archive));
    await lifecycleSteps(play, archives, NAMES);
    await contractSteps(play, NAMES);
    await proposalSteps(play, NAMES);
    await transactionSteps(play, NAMES);
    await systemSteps(play);
    await deliverSteps(play);
    await discoverySteps(play, NAMES);
    await gatewaySteps(play, NAMES);
    const [org1] = network.organizations;
    play.record('block 0', await play.block(org1.user, org1.peers[0], network.channel, 0));
    play.wire.close();
    played.push(play.steps);
}
writeFileSync(output, JSON.stringify(played));
process.exit(0);
