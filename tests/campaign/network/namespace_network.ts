import { readdir } from 'node:fs/promises';
import { within, type Range } from '../range.ts';
import { ip, run } from './ip.ts';
import { SlowPath } from './slow_path.ts';
import type { Cut, Delay, TestNetwork } from './test_network.ts';

const namePrefix = 's3dnet';
/** Of the router's rules. Cuts come first: what is cut doesn't arrive, slow or not. */
const cutPreference = 1000;
const delayPreference = 2000;
/** The two proxies: their subnets, behind those of the hosts, and the tables with the routes that lead there. */
const subnetOf = { toHost: 250, fromHost: 251 } as const;
type Proxy = keyof typeof subnetOf;
/** What a proxy's own calls come from: an address that no cut concerns. */
const proxyAddress = 3;

/**
 * A namespace for each host and one for a router between them. A cut is a rule of the router: packets vanish on their way,
 * as they do in a network, and neither end is told. A delay is a detour: what others send to the host goes to a proxy in a
 * namespace where the host's address is a local one, and what it sends to others to one that has all of theirs. Those who
 * call notice nothing; those who are called see another address.
 */
export class NamespaceNetwork implements TestNetwork {
  readonly canCut = true;
  readonly canDelay = true;
  readonly description = 'network namespaces around a router';
  readonly #hosts: readonly number[];
  readonly #id: string;
  readonly #subnet: string;
  #cuts: readonly Cut[] = [];
  /** How to end the delay at hand. */
  #undoDelay: (() => Promise<void>)[] = [];
  /** One change after the other. */
  #changing: Promise<void> = Promise.resolve();

  private constructor(hosts: number, subnet: string) {
    this.#hosts = Array.from({ length: hosts }, (_, i) => i + 1);
    this.#id = `${namePrefix}${process.pid}`;
    this.#subnet = subnet;
  }

  /** @throws when this process may not make namespaces */
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
    await this.#next(async () => {
      const before = this.#cuts;
      this.#cuts = [...cuts];
      await ip(
        [
          ...cuts.filter((cut) => !has(before, cut)).map((cut) => `rule add ${rule(cut)}`),
          ...before.filter((cut) => !has(cuts, cut)).map((cut) => `rule del ${rule(cut)}`),
        ],
        this.#router,
      );
    });
  }

  async delay(delay: Delay | undefined): Promise<void> {
    await this.#next(async () => {
      await this.#endDelay();
      if (delay !== undefined) await this.#beginDelay(delay);
    });
  }

  async close(): Promise<void> {
    try {
      await this.delay(undefined);
    } finally {
      await removeNamespaces(this.#id);
    }
  }

  async #next(change: () => Promise<void>): Promise<void> {
    const done = this.#changing.then(change);
    // Whoever asked for it is told; the next one is another matter.
    this.#changing = done.catch(() => undefined);
    await done;
  }

  async #beginDelay(delay: Delay): Promise<void> {
    const { host, toMs, fromMs } = delay;
    const others = this.#hosts.filter((other) => other !== host);
    try {
      await this.#standIn('toHost', [host], { delay, forth: toMs, back: fromMs });
      await this.#standIn('fromHost', others, { delay, forth: fromMs, back: toMs });
      const detour = (from: number, to: number, proxy: Proxy): string =>
        `iif ${outerName(from)} to ${this.address(to)} lookup ${subnetOf[proxy]} pref ${delayPreference}`;
      await this.#change(
        this.#router,
        others.flatMap((other) => [
          `rule add ${detour(other, host, 'toHost')}`,
          `rule add ${detour(host, other, 'fromHost')}`,
        ]),
      );
    } catch (error) {
      await this.#endDelay();
      throw error;
    }
  }

  /** The proxy takes the place of these hosts, for whomever the router sends there. */
  async #standIn(
    proxy: Proxy,
    hosts: readonly number[],
    quality: { readonly delay: Delay; readonly forth: Range; readonly back: Range },
  ): Promise<void> {
    const { listeners, lossShare, random } = quality.delay;
    const namespace = this.#namespace(subnetOf[proxy]);
    await this.#change(
      namespace,
      hosts.map((host) => `addr add ${this.address(host)}/32 dev lo`),
    );
    const path = await SlowPath.open({
      prefix: this.prefix(subnetOf[proxy]),
      addresses: listeners
        .filter(({ host }) => hosts.includes(host))
        .map(({ host, port }) => ({ host: this.address(host), port })),
      from: `${this.#subnet}.0.${proxyAddress}`,
      forthMs: () => within(quality.forth, random.float()),
      backMs: () => within(quality.back, random.float()),
      isLost: () => random.chance(lossShare),
    });
    this.#undoDelay.push(() => {
      path.close();
      return Promise.resolve();
    });
  }

  /** Adds in a namespace what the end of the delay takes away. */
  async #change(namespace: string, commands: readonly string[]): Promise<void> {
    await ip(commands, namespace);
    this.#undoDelay.push(() =>
      ip(
        commands.map((command) => command.replace(' add ', ' del ')),
        namespace,
      ),
    );
  }

  /** In the opposite order: first nobody is led to the proxies any more. */
  async #endDelay(): Promise<void> {
    for (const undo of this.#undoDelay.splice(0).reverse()) await undo();
  }

  get #router(): string {
    return `${this.#id}r`;
  }

  #namespace(host: number): string {
    return `${this.#id}h${host}`;
  }

  async #make(): Promise<void> {
    const others = [...this.#hosts, ...Object.values(subnetOf)];
    await ip([`netns add ${this.#router}`, ...others.map((host) => `netns add ${this.#namespace(host)}`)]);
    for (const host of [0, ...others]) {
      const [outer, inner] = [outerName(host), `${process.pid}h${host}`];
      const place = host === 0 ? '' : ` netns ${this.#namespace(host)}`;
      await ip([`link add ${outer} netns ${this.#router} type veth peer name ${inner}${place}`]);
      await ip([`addr add ${this.#subnet}.${host}.1/24 dev ${outer}`, `link set ${outer} up`], this.#router);
      const addresses = [`addr add ${this.address(host)}/24 dev ${inner}`, `link set ${inner} up`];
      const gateway = `${this.#subnet}.${host}.1`;
      if (host === 0) {
        const another = `addr add ${this.#subnet}.0.${proxyAddress}/24 dev ${inner}`;
        await ip([...addresses, another, `route add ${this.#subnet}.0.0/16 via ${gateway}`]);
      } else {
        await ip(['link set lo up', ...addresses, `route add default via ${gateway}`], this.#namespace(host));
      }
    }
    await ip(
      Object.values(subnetOf).map((host) => `route add default via ${this.address(host)} table ${host}`),
      this.#router,
    );
    // Proxies answer in the name of others, which the router must let through.
    const turnOn = `cd /proc/sys/net/ipv4 && echo 1 > ip_forward && test "$(cat ip_forward)" = 1 &&
      for name in conf/*/rp_filter; do echo 0 > "$name" || exit 1; done`;
    await run('ip', ['netns', 'exec', this.#router, 'sh', '-c', turnOn]);
  }
}

/** Of the router's end; such names have at most 15 characters. */
function outerName(host: number): string {
  return `${process.pid}r${host}`;
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
  await ip(names.map((name) => `netns del ${name}`));
}

async function namespaces(): Promise<string[]> {
  const list = await run('ip', ['netns', 'list']);
  return list.split('\n').flatMap((line) => line.split(' ')[0] ?? []);
}
