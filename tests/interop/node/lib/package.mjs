// Chaincode packages of the type `ccaas`, made without any of Fabric's own tools.

import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { gzipSync } from 'node:zlib';

const BLOCK = 512;

function tarEntry(name, content) {
    const header = Buffer.alloc(BLOCK);
    header.write(name, 0);
    header.write('0100644\0', 100);
    header.write('0000000\0', 108);
    header.write('0000000\0', 116);
    header.write(content.length.toString(8).padStart(11, '0') + '\0', 124);
    header.write('00000000000\0', 136);
    header.write('        ', 148);
    header.write('0', 156);
    header.write('ustar\0' + '00', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(sum.toString(8).padStart(6, '0') + '\0 ', 148);
    return Buffer.concat([header, content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

function tarGz(files) {
    const entries = files.map(([name, content]) => tarEntry(name, Buffer.from(content)));
    return gzipSync(Buffer.concat([...entries, Buffer.alloc(2 * BLOCK)]));
}

/** The package whose server is at `address`, and its ID. */
export function ccaasPackage(label, address) {
    const connection = JSON.stringify({ address, dial_timeout: '10s', tls_required: false });
    const code = tarGz([['connection.json', connection]]);
    const metadata = JSON.stringify({ path: '', type: 'ccaas', label });
    const bytes = tarGz([['metadata.json', metadata], ['code.tar.gz', code]]);
    return { bytes, label, id: `${label}:${createHash('sha256').update(bytes).digest('hex')}` };
}

/** A loopback address that nobody uses right now. */
export function freeAddress() {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.on('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(`127.0.0.1:${port}`));
        });
    });
}
