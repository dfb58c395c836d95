import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../sim/random.ts';
import { openNetwork } from './network.ts';
import type { TestNetwork } from './network/test_network.ts';

const port = 7001;

/** Sends back what it gets. */
const echo = `
const host = process.argv[1];
const server = require('node:net').createServer((socket) => { socket.on('error', () => undefined); socket.pipe(socket); });
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (data, caller) => socket.send(data, caller.port, caller.address));
socket.bind(${port}, host, () => server.listen(${port}, host, () => console.log('ready')));
`;

/** Prints how many milliseconds a round trip takes over UDP and TCP, and whether a mebibyte comes back as it was. */
const call = `
const host = process.argv[1];
const { randomBytes } = require('node:crypto');
const content = randomBytes(1024 * 1024);
const result = {};
const done = () => { if (Object.keys(result).length === 3) { console.log(JSON.stringify(result)); process.exit(); } };
const socket = require('node:dgram').createSocket('udp4');
const startMs = performance.now();
socket.send('datagram', ${port}, host);
socket.on('message', () => { result.udpMs = performance.now() - startMs; done(); });
const connection = require('node:net').connect({ host, port: ${port} }, () => connection.end(content));
const pieces = [];
connection.on('error', (error) => { console.error(error); process.exit(1); });
connection.on('data', (piece) => { result.tcpMs ??= performance.now() - startMs; pieces.push(piece); });
connection.on('end', () => { result.whole = Buffer.concat(pieces).equals(content); done(); });
setTimeout(() => process.exit(1), Number(process.argv[2]));
`;

interface RoundTrip {
  readonly udpMs: number;
  readonly tcpMs: number;
  readonly whole: boolean;
}

let network: TestNetwork;
const servers: ChildProcess[] = [];

function start(host: number, args: readonly string[]): ChildProcess {
  const command = [...network.prefix(host), process.execPath, '--eval', ...args];
  return spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function linesOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('stdout is not piped');
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error('it ended without an answer');
}

async function roundTrip(from: number, to: number, withinMs = 20_000): Promise<RoundTrip> {
  const caller = start(from, [call, network.address(to), String(withinMs)]);
  const line = await linesOf(caller);
  if (caller.exitCode === null) await once(caller, 'exit');
  return JSON.parse(line) as RoundTrip;
}

beforeAll(async () => {
  network = await openNetwork(3);
  if (!network.canDelay) return;
  for (const host of [1, 2, 3]) servers.push(start(host, [echo, network.address(host)]));
  for (const server of servers) expect(await linesOf(server)).toBe('ready');
}, 60_000);

afterAll(async () => {
  for (const server of servers) server.kill('SIGKILL');
  await network.close();
});

describe('a network of namespaces', () => {
  test('a host that is slow to reach is slow both ways, for the others only, and as long as it is told', async (context) => {
    context.skip(!network.canDelay, network.description);
    const listeners = [1, 2, 3].map((host) => ({ host, port }));
    // So long that a busy machine doesn't take as long without it.
    await network.delay({
      host: 2,
      toMs: [900, 1000],
      fromMs: [600, 700],
      lossShare: 0,
      listeners,
      random: new Random(1),
    });
    const slow = await Promise.all([roundTrip(1, 2), roundTrip(2, 1)]);
    const fast = await Promise.all([roundTrip(1, 3), roundTrip(0, 2)]);
    await network.delay(undefined);
    fast.push(...(await Promise.all([roundTrip(1, 2), roundTrip(2, 1)])));
    for (const { whole } of [...slow, ...fast]) expect(whole).toBe(true);
    for (const { udpMs, tcpMs } of slow) expect(Math.min(udpMs, tcpMs)).toBeGreaterThan(1490);
    for (const { udpMs, tcpMs } of fast) expect(Math.max(udpMs, tcpMs)).toBeLessThan(1490);
  });

  test('what is cut does not arrive, slow or not', async (context) => {
    context.skip(!network.canDelay, network.description);
    await network.delay({
      host: 2,
      toMs: [1, 2],
      fromMs: [1, 2],
      lossShare: 0,
      listeners: [{ host: 2, port }],
      random: new Random(1),
    });
    await network.cut([[1, 2]]);
    await expect(roundTrip(1, 2, 2000)).rejects.toThrow('without an answer');
    expect((await roundTrip(3, 2)).whole).toBe(true);
    await network.cut([]);
    expect((await roundTrip(1, 2)).whole).toBe(true);
    await network.delay(undefined);
  });
});
