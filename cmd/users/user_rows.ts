import { z } from 'zod';
import { CorruptRecordError, decodeRecord, encodeRecord } from '../../backend/engine/record.ts';

const version = 1;

const row = z.strictObject({
  name: z.string(),
  accountId: z.string(),
  email: z.string().optional(),
  admin: z.boolean(),
  policy: z.array(z.strictObject({ bucket: z.string(), actions: z.array(z.string()) })),
  keys: z.array(
    z.strictObject({
      accessKeyId: z.string(),
      sealedSecret: z.string(),
      disabled: z.boolean(),
      createdMs: z.number(),
    }),
  ),
});

/** A user with its keys: a row of `users`. Secrets are sealed, in base64. */
export type UserRow = z.output<typeof row>;

/** Rows of users, by name. */
export const userPrefix = Buffer.from('user:');

export function userKey(name: string): Uint8Array {
  return Buffer.concat([userPrefix, Buffer.from(name, 'utf8')]);
}

/** Whose an access key is: the name of the user. */
export function accessKeyKey(accessKeyId: string): Uint8Array {
  return Buffer.from(`key:${accessKeyId}`, 'utf8');
}

export function encodeUser(user: UserRow): Uint8Array {
  return encodeRecord(version, { user: JSON.stringify(user) });
}

/** @throws CorruptRecordError */
export function decodeUser(bytes: Uint8Array): UserRow {
  const text = decodeRecord(bytes, { kind: 'user', newest: version }).text('user');
  const parsed = row.safeParse(JSON.parse(text));
  if (!parsed.success) throw new CorruptRecordError('user row is not what was written');
  return parsed.data;
}
