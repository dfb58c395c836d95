import { z } from 'zod';
import { parseBytes } from '../byte_sizes.ts';

/**
 * The config file's shape, as written. Strict: a key that isn't here is an error, so that a typo can't silently mean
 * the default. `load.ts` turns issues into one line each and resolves paths.
 */
const port = z.int().min(1).max(65_535);
const name = z.string().min(1);
/** Ids go into certificates' DNS names and are one byte in the placement. */
const nodeId = z.int().min(0).max(65_535);

const size = z
  .string()
  .regex(/^\d+(\.\d+)?\s*(B|KB|MB|GB|KiB|MiB|GiB)\/s$/, 'expected a rate such as "50MiB/s"')
  .transform((rate) => parseBytes(rate.slice(0, -'/s'.length)) ?? Number.NaN);

const duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'expected a duration such as "1h" or "30s"')
  .transform(parseDuration);

const destinationName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'expected up to 64 letters, digits, - and _ (it stands in an ARN)');

const destination = z.discriminatedUnion('type', [
  z.strictObject({
    name: destinationName,
    type: z.literal('webhook'),
    url: z.url({ protocol: /^https?$/, error: 'expected an http or https URL' }),
    /** Sent as it is in the Authorization header. */
    authorization: z.string().min(1).optional(),
  }),
  z.strictObject({
    name: destinationName,
    type: z.literal('nats'),
    servers: z.array(name).min(1),
    subject: name,
    token: z.string().min(1).optional(),
  }),
]);

const grant = z.strictObject({ bucket: name, actions: z.array(name).min(1) });

export const configSchema = z.strictObject({
  version: z.literal('1.0'),
  region: name.default('us-east-1'),
  host: name.default('127.0.0.1'),
  port: port.max(64_535).default(8443),
  tls: z.boolean().default(true),
  domain: z.string().default(''),
  logging: z
    .strictObject({
      interval: duration
        .refine((ms) => ms >= 100 && ms <= 86_400_000, 'expected a duration from "100ms" to "1d"')
        .default(300_000),
    })
    .prefault({}),
  website: z.strictObject({ domain: z.string().default('') }).prefault({}),
  base_path: name.default('data/'),
  rs: z
    .strictObject({ data: z.int().min(1).max(255), parity: z.int().min(0).max(255) })
    .refine((rs) => rs.data + rs.parity <= 256, 'expected data + parity of at most 256')
    .default({ data: 3, parity: 2 }),
  storage_classes: z
    .array(
      z
        .strictObject({
          name: z
            .string()
            .regex(
              /^(?!STANDARD$)[A-Z][A-Z0-9_]{0,63}$/,
              'expected a name such as "REDUCED_REDUNDANCY" (STANDARD is [rs])',
            ),
          data: z.int().min(1).max(255),
          parity: z.int().min(0).max(255),
        })
        .refine((code) => code.data + code.parity <= 256, 'expected data + parity of at most 256'),
    )
    .default([]),
  admin: z.strictObject({ metrics_token_file: z.string().default('') }).prefault({}),
  cluster: z.strictObject({ secret_file: name.default('cluster.secret') }).prefault({}),
  transport: z
    .strictObject({ driver: z.enum(['auto', 'http3', 'http2', 'webtransport']).default('auto') })
    .prefault({}),
  encryption: z
    .strictObject({
      key_file: z.string().default(''),
      key_command: z.array(name).default([]),
      at_rest: z.boolean().default(true),
      customer_keys_over_http: z.boolean().default(false),
    })
    .prefault({}),
  compression: z
    .strictObject({
      algorithm: z.enum(['none', 'zstd']).default('none'),
      level: z.int().min(1).max(19).default(3),
    })
    .prefault({}),
  repair: z
    .strictObject({ rate: size.default(50 * 1024 * 1024), down_after: duration.default(1_800_000) })
    .prefault({}),
  lifecycle: z.strictObject({ debug_day: duration.optional() }).prefault({}),
  gc: z.strictObject({ delay: duration.default(3_600_000), epoch: duration.default(3_600_000) }).prefault({}),
  notifications: z.array(destination).default([]),
  events: z
    .strictObject({
      queue_limit: z.int().min(1).max(1_000_000).default(100_000),
      retention: duration.default(86_400_000),
    })
    .prefault({}),
  db: z
    .array(
      z.strictObject({
        id: z.int().min(1).max(65_535),
        host: name,
        port,
        raft_port: port.optional(),
        path: name,
        leader: z.boolean().default(false),
        access_key_id: name,
        secret_access_key: name,
      }),
    )
    .default([]),
  nodes: z
    .array(
      z.strictObject({
        id: nodeId,
        host: name,
        port,
        path: name,
        weight: z.number().min(0.05).max(100).optional(),
      }),
    )
    .default([]),
  buckets: z
    .array(
      z.strictObject({
        name,
        type: z.literal('fs').default('fs'),
        pathname: z.string().optional(),
        public: z.boolean().default(false),
      }),
    )
    .default([]),
  auth: z
    .array(
      z.strictObject({
        access_key_id: z.string().min(3).max(128),
        secret_access_key: z.string().min(8),
        account_id: name,
        name: name,
        email: z.email().optional(),
        admin: z.boolean().default(false),
        policy: z.array(grant).default([{ bucket: '*', actions: ['s3:*'] }]),
      }),
    )
    .default([]),
});

export type ConfigFile = z.output<typeof configSchema>;

const spans: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds. */
function parseDuration(text: string): number {
  const match = /^([\d.]+)([a-z]+)$/.exec(text);
  return Math.floor(Number(match?.[1]) * (spans[match?.[2] ?? ''] ?? Number.NaN));
}
