// The network under test, as a description file tells it: organizations, addresses, identities, TLS roots.
//
// The same scripts run against the embedded network and against real nodes; only the description differs.

import { createPrivateKey } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { signers } from '@hyperledger/fabric-gateway';
import { msp } from '@hyperledger/fabric-protos';

const MESSAGE_LIMIT = 100 << 20;

/** Reads the description and adds to each organization what it takes to act for it. */
export function load(path) {
    const network = JSON.parse(readFileSync(path, 'utf8'));
    for (const org of network.organizations) {
        org.admin = identity(org.mspId, org.adminMsp);
        org.user = identity(org.mspId, org.userMsp);
    }
    return network;
}

/** A signing identity out of an MSP folder. */
export function identity(mspId, folder) {
    const certificate = readFileSync(only(join(folder, 'signcerts')));
    const key = createPrivateKey(readFileSync(only(join(folder, 'keystore'))));
    const serialized = new msp.SerializedIdentity();
    serialized.setMspid(mspId);
    serialized.setIdBytes(certificate);
    return {
        mspId,
        certificate,
        credentials: certificate,
        key,
        keyPem: key.export({ type: 'pkcs8', format: 'pem' }),
        signer: signers.newPrivateKeySigner(key),
        serialized: serialized.serializeBinary(),
    };
}

function only(folder) {
    const [file] = readdirSync(folder);
    return join(folder, file);
}

/** What a gRPC client of a node takes: address, credentials, options. */
export function dial(network, node) {
    const client = network.clientTls;
    const pair = client ? [readFileSync(client.key), readFileSync(client.certificate)] : [];
    return [
        node.address,
        grpc.credentials.createSsl(readFileSync(node.tlsCa), ...pair),
        {
            'grpc.ssl_target_name_override': node.name,
            'grpc.default_authority': node.name,
            'grpc.max_send_message_length': MESSAGE_LIMIT,
            'grpc.max_receive_message_length': MESSAGE_LIMIT,
        },
    ];
}
