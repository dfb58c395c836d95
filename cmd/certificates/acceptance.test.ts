/** The certificates are accepted by what will meet them: OpenSSL, Node, Python, aws-cli and the HTTP/3 library. */
import { connectAsync, createSecureServer } from '@currentspace/http3';
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import https from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureDevelopmentCertificates } from './ensure.ts';
import { type Identity, type IdentityFiles, loadIdentity } from './identity.ts';

const run = promisify(execFile);

function isInstalled(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore', timeout: 20_000 }).status === 0;
}

let directory: string;
let files: IdentityFiles;
let identity: Identity;
let other: Identity;
let nodeName: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-acceptance-'));
  const make = async (name: string) => {
    const made = await ensureDevelopmentCertificates({
      directory: join(directory, name),
      secretFile: join(directory, `${name}.secret`),
      hosts: [{ host: '127.0.0.1', nodes: [1], dbs: [2], names: ['s3.test', '*.s3.test'] }],
      nowMs: Date.now(),
    });
    return { files: made.identities.get('127.0.0.1')!, clusterId: made.clusterId };
  };
  const ours = await make('ours');
  files = ours.files;
  nodeName = `node-1.${ours.clusterId}.s3d`;
  identity = await loadIdentity(files, { nowMs: Date.now(), names: ['s3.test', '*.s3.test', nodeName] });
  other = await loadIdentity((await make('other')).files, { nowMs: Date.now() });
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

describe.skipIf(!isInstalled('openssl', 'version'))('openssl', () => {
  test.each(['sslserver', 'sslclient'])('verifies the certificate strictly as %s', async (purpose) => {
    const { stdout } = await run('openssl', [
      'verify',
      '-x509_strict',
      '-purpose',
      purpose,
      '-CAfile',
      files.caFile,
      files.certFile,
    ]);
    expect(stdout).toContain('OK');
  });

  test.each([
    ['-verify_hostname', 'localhost'],
    ['-verify_hostname', 'bucket.s3.test'],
    ['-verify_ip', '127.0.0.1'],
    ['-verify_ip', '::1'],
  ])('%s %s', async (option, value) => {
    const { stdout } = await run('openssl', [
      'verify',
      '-x509_strict',
      option,
      value,
      '-CAfile',
      files.caFile,
      files.certFile,
    ]);
    expect(stdout).toContain('OK');
  });

  test('refuses a host it is not for', async () => {
    const args = ['verify', '-verify_hostname', 'elsewhere.test', '-CAfile', files.caFile, files.certFile];
    await expect(run('openssl', args)).rejects.toThrow(/mismatch/);
  });
});

describe('TLS', () => {
  let server: https.Server;
  let port: number;
  beforeAll(async () => {
    server = https.createServer(
      {
        cert: identity.cert,
        key: identity.key,
        ca: identity.ca,
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        response.setHeader('content-type', 'application/xml');
        response.end(
          '<?xml version="1.0"?><ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
            '<Owner><ID>1</ID></Owner><Buckets><Bucket><Name>accepted</Name>' +
            '<CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>',
        );
        request.resume();
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  async function handshake(options: { ca: string; servername?: string; host?: string }): Promise<void> {
    const socket = connect({ port, host: '127.0.0.1', cert: identity.cert, key: identity.key, ...options });
    try {
      await once(socket, 'secureConnect', { signal: AbortSignal.timeout(5000) });
    } finally {
      socket.destroy();
    }
  }

  test('Node connects by address and by each name', async () => {
    await handshake({ ca: identity.ca });
    for (const servername of ['localhost', nodeName, 'a.s3.test'])
      await handshake({ ca: identity.ca, servername });
  });

  test('Node refuses other names and other authorities', async () => {
    await expect(handshake({ ca: identity.ca, servername: 'node-9.x.s3d' })).rejects.toThrow(/altnames/);
    await expect(handshake({ ca: other.ca })).rejects.toThrow(/verify|self-signed|issuer/);
  });

  test.skipIf(!isInstalled('python3', '-c', 'import ssl'))(
    'Python connects, as strictly as it can',
    async () => {
      const script =
        'import ssl,socket,sys\n' +
        'c=ssl.create_default_context(cafile=sys.argv[1])\n' +
        'c.verify_flags|=ssl.VERIFY_X509_STRICT\n' +
        'for name in sys.argv[3:]:\n' +
        '  s=c.wrap_socket(socket.create_connection(("127.0.0.1",int(sys.argv[2])),5),server_hostname=name)\n' +
        '  print(s.version()); s.close()\n';
      const { stdout } = await run('python3', [
        '-c',
        script,
        files.caFile,
        String(port),
        '127.0.0.1',
        'localhost',
        nodeName,
      ]);
      expect(stdout.trim().split('\n')).toEqual(['TLSv1.3', 'TLSv1.3', 'TLSv1.3']);
    },
  );

  test.skipIf(!isInstalled('aws', '--version'))(
    'aws-cli connects by AWS_CA_BUNDLE, and not without',
    async () => {
      const env = {
        ...process.env,
        AWS_ACCESS_KEY_ID: 'a',
        AWS_SECRET_ACCESS_KEY: 'b',
        AWS_EC2_METADATA_DISABLED: 'true',
        AWS_MAX_ATTEMPTS: '1',
        AWS_CONFIG_FILE: join(directory, 'none'),
      };
      const args = ['--endpoint-url', `https://127.0.0.1:${port}`, '--region', 'us-east-1', 's3', 'ls'];
      const { stdout } = await run('aws', args, { env: { ...env, AWS_CA_BUNDLE: files.caFile } });
      expect(stdout).toContain('accepted');
      await expect(run('aws', args, { env })).rejects.toThrow(/SSL|certificate/i);
    },
    60_000,
  );
});

describe('the HTTP/3 library', () => {
  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return port;
  }

  test('connects by the node name under the CA, and refuses other names and CAs', async () => {
    const port = await freePort();
    const server = createSecureServer(
      {
        key: Buffer.from(identity.key),
        cert: Buffer.from(identity.cert),
        runtimeMode: 'portable',
        disableRetry: true,
      },
      (stream) => {
        stream.respond({ ':status': '200' });
        stream.end('hi');
      },
    );
    server.listen(port, '127.0.0.1');
    await once(server, 'listening', { signal: AbortSignal.timeout(5000) });
    try {
      const attempt = async (ca: string, servername: string) => {
        const session = await connectAsync(`127.0.0.1:${port}`, {
          runtimeMode: 'portable',
          ca: Buffer.from(ca),
          servername,
        });
        await session.close();
      };
      await attempt(identity.ca, nodeName);
      await expect(attempt(identity.ca, 'node-9.x.s3d')).rejects.toThrow();
      await expect(attempt(other.ca, nodeName)).rejects.toThrow();
    } finally {
      await server.close();
    }
  });
});

test('the files say what they are', async () => {
  expect(await readFile(files.keyFile, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  expect(await readFile(files.certFile, 'utf8')).toMatch(/^-----BEGIN CERTIFICATE-----/);
});
