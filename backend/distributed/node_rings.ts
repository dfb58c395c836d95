import { Ring } from './placement.ts';
import type { ShardNode } from './ports.ts';

/** Orders nodes for content; the ring is made anew only when the nodes have changed. */
export class NodeRings {
  #ring: { readonly signature: string; readonly ring: Ring } | undefined;

  /** The nodes in order of preference for the content. */
  order(nodes: readonly ShardNode[], contentId: Uint8Array): readonly ShardNode[] {
    const signature = signatureOf(nodes);
    if (this.#ring?.signature !== signature) this.#ring = { signature, ring: new Ring(nodes) };
    const byId = new Map(nodes.map((node) => [node.id, node]));
    return this.#ring.ring.order(contentId).flatMap((member) => {
      const node = byId.get(member.id);
      return node === undefined ? [] : [node];
    });
  }
}

/** What the order depends on, as text. */
export function signatureOf(nodes: readonly ShardNode[]): string {
  return nodes.map((node) => `${node.id} ${node.host} ${node.weight ?? 1}`).join('\n');
}
