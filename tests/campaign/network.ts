import { NamespaceNetwork } from './network/namespace_network.ts';
import type { TestNetwork } from './network/test_network.ts';

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
  readonly canDelay = false;
  readonly description: string;

  constructor(why: string) {
    this.description = `loopback, without partitions and delays (${why})`;
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

  delay(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
