import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';

/** From one host to another, one way. Host 0 is where the run itself and its clients are. */
export type Cut = readonly [from: number, to: number];

/** Hosts 1 to n, each reachable from all others until `cut` says otherwise. */
export interface TestNetwork {
  /** What it is made of, for the report. */
  readonly description: string;
  /** Whether `cut` can do anything. */
  readonly canCut: boolean;
  address(host: number): string;
  /** What to put before a command so that it runs on the host. */
  prefix(host: number): readonly string[];
  /** From now on packets of exactly these directions vanish without a sign. */
  cut(cuts: readonly Cut[]): Promise<void>;
  /** Removes whatever was made. */
  close(): Promise<void>;
}

/** Namespaces of their own where this process may make them (root, `ip`), else loopback, where nothing can be cut. */
export async function openNetwork(hosts: number): Promise<TestNetwork> {
  if (process.getuid?.() !== 0) return new Loopback('this process is not root');
  try {
    return await NamespaceNetwork.open(hosts);
  } catch (error) {
    return new Loopback(error instanceof Error ? error.message : String(error));
  }
}

/** All hosts are this one; nothing can be cut. */
export function loopbackNetwork(why: string): TestNetwork {
  return new Loopback(why);
}

class Loopback implements TestNetwork {
  readonly canCut = false;
  readonly description: string;

  constructor(why: string) {
    this.description = `loopback, without partitions (${why})`;
  }

  address(): string {
    return '127.0.0.1';
  }

  prefix(): readonly string[] {
    return [];
  }

  cut(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const namePrefix = 's3dnet';
const cutPreference = 1000;

/**
 * A namespace for each host and one for a router between them. A cut is a rule of the router: packets vanish on their way,
 * as they do in a network, and neither end is told.
 */
class NamespaceNetwork implements TestNetwork {
  readonly canCut = true;
  readonly description = 'network namespaces around a router';
  readonly #hosts: number;
  readonly #id: string;
  readonly #subnet: string;
  #cuts: readonly Cut[] = [];

  private constructor(hosts: number, subnet: string) {
    this.#hosts = hosts;
    this.#id = `${namePrefix}${process.pid}`;
    this.#subnet = subnet;
  }

  static async open(hosts: number): Promise<NamespaceNetwork> {
    await removeLeftovers();
    const network = new NamespaceNetwork(hosts, await freeSubnet());
    try {
      await network.#make();
    } catch (error) {
      await network.close();
      throw error;
    }
    return network;
  }

  address(host: number): string {
    return `${this.#subnet}.${host}.2`;
  }

  prefix(host: number): readonly string[] {
    return host === 0 ? [] : ['ip', 'netns', 'exec', this.#namespace(host)];
  }

  async cut(cuts: readonly Cut[]): Promise<void> {
    const rule = ([from, to]: Cut): string =>
      `from ${this.address(from)} to ${this.address(to)} blackhole pref ${cutPreference}`;
    const has = (list: readonly Cut[], [from, to]: Cut): boolean =>
      list.some((cut) => cut[0] === from && cut[1] === to);
    const before = this.#cuts;
    this.#cuts = [...cuts];
    await ip(
      ['-n', this.#router],
      [
        ...cuts.filter((cut) => !has(before, cut)).map((cut) => `rule add ${rule(cut)}`),
        ...before.filter((cut) => !has(cuts, cut)).map((cut) => `rule del ${rule(cut)}`),
      ],
    );
  }

  async close(): Promise<void> {
    await removeNamespaces(this.#id);
  }

  get #router(): string {
    return `${this.#id}r`;
  }

  #namespace(host: number): string {
    return `${this.#id}h${host}`;
  }

  async #make(): Promise<void> {
    const hosts = Array.from({ length: this.#hosts }, (_, i) => i + 1);
    await ip([], [`netns add ${this.#router}`, ...hosts.map((host) => `netns add ${this.#namespace(host)}`)]);
    const turnOn =
      'echo 1 > /proc/sys/net/ipv4/ip_forward && test "$(cat /proc/sys/net/ipv4/ip_forward)" = 1';
    await run('ip', ['netns', 'exec', this.#router, 'sh', '-c', turnOn]);
    for (const host of [0, ...hosts]) {
      // Names of interfaces have at most 15 characters.
      const [outer, inner] = [`${process.pid}r${host}`, `${process.pid}h${host}`];
      const place = host === 0 ? '' : ` netns ${this.#namespace(host)}`;
      await ip([], [`link add ${outer} netns ${this.#router} type veth peer name ${inner}${place}`]);
      await ip(
        ['-n', this.#router],
        [`addr add ${this.#subnet}.${host}.1/24 dev ${outer}`, `link set ${outer} up`],
      );
      const route = host === 0 ? `${this.#subnet}.0.0/16` : 'default';
      await ip(host === 0 ? [] : ['-n', this.#namespace(host)], [
        ...(host === 0 ? [] : ['link set lo up']),
        `addr add ${this.address(host)}/24 dev ${inner}`,
        `link set ${inner} up`,
        `route add ${route} via ${this.#subnet}.${host}.1`,
      ]);
    }
  }
}

/** A 10.x.0.0/16 that nothing here knows of. */
async function freeSubnet(): Promise<string> {
  const routes = await run('ip', ['route', 'show', 'table', 'all']);
  for (let attempt = 0; attempt < 100; attempt++) {
    const subnet = `10.${64 + Math.floor(Math.random() * 190)}`;
    if (!routes.includes(`${subnet}.`)) return subnet;
  }
  throw new Error('no private subnet is free');
}

/** What runs that were killed left behind. */
async function removeLeftovers(): Promise<void> {
  const names = await namespaces();
  const owners = new Set(names.map((name) => /^s3dnet(\d+)[rh]/.exec(name)?.[1]));
  const running = new Set(await readdir('/proc'));
  for (const owner of owners) {
    if (owner !== undefined && !running.has(owner)) await removeNamespaces(`${namePrefix}${owner}`);
  }
}

/** With a namespace go its interfaces and their other ends. */
async function removeNamespaces(id: string): Promise<void> {
  const names = (await namespaces()).filter((name) => new RegExp(`^${id}[rh]`).test(name));
  await ip(
    [],
    names.map((name) => `netns del ${name}`),
  );
}

async function namespaces(): Promise<string[]> {
  const list = await run('ip', ['netns', 'list']);
  return list.split('\n').flatMap((line) => line.split(' ')[0] ?? []);
}

async function ip(options: readonly string[], commands: readonly string[]): Promise<void> {
  if (commands.length > 0) await run('ip', [...options, '-batch', '-'], commands.join('\n'));
}

async function run(command: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(command, args, { stdio: 'pipe' });
  let out = '';
  let errors = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${command}: ${error.message}`)));
    child.once('close', (code) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${command} ${args.join(' ')}: ${errors.trim()}`));
    });
  });
}
