import { readFile } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import type { z } from 'zod';
import { UsageError } from '../errors.ts';
import { checkConsistency } from './consistency.ts';
import type { Config } from './config.ts';
import { configSchema } from './schema.ts';

/** What flags may override. */
export interface Overrides {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly basePath?: string | undefined;
}

/**
 * Reads and checks a config file. Relative paths in it are below `base_path`, which itself is relative to the working
 * directory.
 * @throws UsageError with one line a problem: file, key, what is wrong, what would be right.
 */
export async function loadConfig(file: string, overrides: Overrides = {}): Promise<Config> {
  const raw = parseToml(file, await readText(file));
  const result = configSchema.safeParse(raw);
  if (!result.success) throw new UsageError(describeIssues(file, result.error.issues));
  const basePath = resolve(overrides.basePath ?? result.data.base_path);
  const below = (path: string): string => (isAbsolute(path) ? path : resolve(basePath, path));
  const data = result.data;
  const config: Config = {
    ...data,
    file,
    host: overrides.host ?? data.host,
    port: overrides.port ?? data.port,
    base_path: basePath,
    admin: {
      metrics_token_file: data.admin.metrics_token_file === '' ? '' : below(data.admin.metrics_token_file),
    },
    cluster: { secret_file: below(data.cluster.secret_file) },
    encryption: {
      ...data.encryption,
      key_file: data.encryption.key_file === '' ? '' : below(data.encryption.key_file),
    },
    db: data.db.map((db) => ({ ...db, path: below(db.path), raft_port: db.raft_port ?? db.port + 1000 })),
    nodes: data.nodes.map((node) => ({ ...node, path: below(node.path) })),
    buckets: data.buckets.map((bucket) =>
      bucket.pathname === undefined ? bucket : { ...bucket, pathname: below(bucket.pathname) },
    ),
  };
  checkConsistency(config);
  return config;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new UsageError(`${file}: the config file can't be read (${code}); give one with -config FILE`);
  }
}

function parseToml(file: string, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new UsageError(
      `${file}:${error.line}:${error.column}: not valid TOML: ${error.message.split('\n')[0] ?? ''}`,
    );
  }
}

function describeIssues(file: string, issues: readonly z.core.$ZodIssue[]): string {
  return issues.map((issue) => `${file}: ${describeIssue(issue)}`).join('\n');
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const path = formatPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.path);
    return issue.keys
      .map((key) => {
        const near = nearest(key, known);
        const fix = near === undefined ? `the keys here are ${known.join(', ')}` : `did you mean '${near}'?`;
        return `${path === '' ? '' : `${path}.`}${key}: unknown key; ${fix}`;
      })
      .join(`\n`);
  }
  return `${path}: ${issue.message.charAt(0).toLowerCase()}${issue.message.slice(1)}`;
}

function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${String(part)}`))
    .join('');
}

/** The keys of the table at `path`: unwraps defaults, arrays and refinements down to the object. */
function knownKeys(path: readonly PropertyKey[]): readonly string[] {
  let node: unknown = configSchema;
  for (const part of path) {
    node = unwrap(node);
    node =
      typeof part === 'number'
        ? (node as { element?: unknown }).element
        : (node as { shape?: Record<PropertyKey, unknown> }).shape?.[part];
  }
  return Object.keys((unwrap(node) as { shape?: object } | undefined)?.shape ?? {});
}

function unwrap(node: unknown): unknown {
  let current = node;
  for (;;) {
    const def = (current as { def?: { innerType?: unknown } } | undefined)?.def;
    if (def?.innerType === undefined) return current;
    current = def.innerType;
  }
}

function nearest(key: string, candidates: readonly string[]): string | undefined {
  const scored = candidates.map((candidate) => ({ candidate, distance: editDistance(key, candidate) }));
  scored.sort((a, b) => a.distance - b.distance);
  const best = scored[0];
  return best !== undefined && best.distance <= Math.max(2, Math.floor(key.length / 3))
    ? best.candidate
    : undefined;
}

/** Levenshtein's, over short keys. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
