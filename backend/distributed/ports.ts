import type { ShardClient } from '../../transport/shard_client.ts';

/** What keeps the shards of one node: its store, in this process or behind the transport. */
export type ShardStorage = Pick<ShardClient, 'put' | 'get' | 'stat' | 'delete' | 'scan' | 'usage'>;

/** A member of the cluster that keeps shards, up or not. */
export interface ShardNode {
  readonly id: number;
  /** Nodes of one host fail together. */
  readonly host: string;
  /** Share of the shards in relation to other members', by capacity; above 0 (default 1). */
  readonly weight?: number;
  /** It takes no new shards: what it has is moved elsewhere, or has been (default false). */
  readonly emptying?: boolean;
  readonly storage: ShardStorage;
  state(): NodeState;
}

/** `suspect`: silent for a second; `down`: given up until it answers again. */
export type NodeState = 'up' | 'suspect' | 'down';

/** All members, whatever their state. A node that is not among them any more counts as gone with all it held. */
export type Membership = () => readonly ShardNode[];

/** Structured log lines, as pino takes them. */
export interface Logger {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** Bounds of waiting. The defaults suit a cluster; tests take shorter ones. */
export interface Timing {
  /** A node that stays suspect for so long during a write is given up. */
  readonly suspectGraceMs: number;
  /** A transfer that moves nothing for so long while it could is given up. */
  readonly stallMs: number;
  /** How often running writes look at their nodes. */
  readonly pollMs: number;
  /** Time for one delete or stat on one node. */
  readonly callMs: number;
  /** A read asks another shard when one is late by this much, if it knows no better. */
  readonly hedgeMs: number;
  /** The least time before a read asks another shard. */
  readonly minHedgeMs: number;
  /** After so long without a block a read asks another shard, whatever its budget. */
  readonly maxHedgeMs: number;
  /** For so long a read asks again when too few nodes answer. */
  readonly unavailableMs: number;
}

export const defaultTiming: Timing = {
  suspectGraceMs: 1000,
  stallMs: 10_000,
  pollMs: 100,
  callMs: 10_000,
  hedgeMs: 100,
  minHedgeMs: 20,
  maxHedgeMs: 1000,
  unavailableMs: 8000,
};

/** Whether a shard node said that it has no such shard. */
export function isShardMissing(error: unknown): boolean {
  return hasCode(error, 'shard_not_found', 'ShardNotFoundError');
}

/** Whether a shard node said that bytes of the shard fail their check. */
export function isShardDamaged(error: unknown): boolean {
  return hasCode(error, 'shard_damaged', 'ShardDamagedError');
}

/** Goes by the code, local or carried over the transport, or by the name: the class lives in a folder below. */
function hasCode(error: unknown, code: string, name: string): boolean {
  if (!(error instanceof Error)) return false;
  const { code: own, remoteCode } = error as { readonly code?: unknown; readonly remoteCode?: unknown };
  return error.name === name || own === code || remoteCode === code;
}
