import { Hono, type Context } from 'hono';
import { z } from 'zod';
import { AuthError } from '../../auth/errors.ts';
import type { UserRow } from '../users/user_rows.ts';
import { UserRefusedError, type NewKey, type UserStore } from '../users/user_store.ts';
import { ControlRefusedError } from './cluster_control.ts';
import type { AdminEnv, AdminOptions } from './options.ts';
import { readJson } from './node_routes.ts';

const policy = z.array(
  z.strictObject({
    bucket: z.string().min(1).max(255),
    actions: z.array(z.string().min(1).max(128)).min(1).max(100),
  }),
);
const newUser = z.strictObject({
  name: z.string().regex(/^[\w.@+=,-]{1,64}$/, 'expected 1 to 64 letters, digits and _.@+=,-'),
  account_id: z.string().regex(/^[^:/*?\s]{1,128}$/, 'expected text without blanks and :/*?'),
  email: z.email().optional(),
  admin: z.boolean().default(false),
  policy: policy.max(100).default([{ bucket: '*', actions: ['s3:*'] }]),
});
const policyChange = z.strictObject({ policy: policy.max(100) });

/**
 * Users and keys made at run time: `GET|POST /users`, `DELETE /users/:name`, `POST /users/:name/policy|keys`,
 * `POST /keys/:id/rotate|disable|enable`, `DELETE /keys/:id`. A secret is shown once, when it is made.
 */
export function userRoutes(options: AdminOptions): Hono<AdminEnv> {
  const app = new Hono<AdminEnv>();
  const { users } = options;
  if (users === undefined) return app;

  const change = async (
    c: Context<AdminEnv>,
    apply: (store: UserStore, body: unknown) => Promise<NewKey | undefined>,
  ): Promise<Response> => {
    try {
      const made = await apply(users, await readJson(c));
      if (made === undefined) return c.json({ status: 'done' });
      const { accessKeyId, secretAccessKey } = made;
      return c.json({ access_key_id: accessKeyId, secret_access_key: secretAccessKey }, 201);
    } catch (error) {
      if (error instanceof UserRefusedError) {
        const status = error.code === 'NoSuchUser' || error.code === 'NoSuchKey' ? 404 : 409;
        return c.json({ error: error.code, message: error.message }, status);
      }
      if (error instanceof z.ZodError) {
        const text = error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
        return c.json({ error: 'InvalidArgument', message: text }, 400);
      }
      if (error instanceof AuthError || error instanceof ControlRefusedError) {
        return c.json({ error: error.code, message: error.message }, 400);
      }
      throw error;
    }
  };
  const done = async (work: Promise<void>): Promise<undefined> => {
    await work;
    return undefined;
  };

  app.get('/users', async (c) => {
    const listed: object[] = [];
    for await (const user of users.list()) listed.push(describeUser(user));
    return c.json({ users: listed });
  });
  app.post('/users', (c) =>
    change(c, (store, body) => {
      const { account_id: accountId, ...rest } = newUser.parse(body);
      return store.add({ accountId, ...rest });
    }),
  );
  app.delete('/users/:name', (c) => change(c, (store) => done(store.remove(c.req.param('name')))));
  app.post('/users/:name/policy', (c) =>
    change(c, (store, body) => done(store.setPolicy(c.req.param('name'), policyChange.parse(body).policy))),
  );
  app.post('/users/:name/keys', (c) => change(c, (store) => store.addKey(c.req.param('name'))));
  app.post('/keys/:id/rotate', (c) => change(c, (store) => store.rotateKey(c.req.param('id'))));
  app.post('/keys/:id/disable', (c) =>
    change(c, (store) => done(store.setDisabled(c.req.param('id'), true))),
  );
  app.post('/keys/:id/enable', (c) =>
    change(c, (store) => done(store.setDisabled(c.req.param('id'), false))),
  );
  app.delete('/keys/:id', (c) => change(c, (store) => done(store.removeKey(c.req.param('id')))));
  return app;
}

/** All but the secrets. */
function describeUser(user: UserRow): object {
  return {
    name: user.name,
    account_id: user.accountId,
    email: user.email ?? null,
    admin: user.admin,
    policy: user.policy,
    keys: user.keys.map(({ accessKeyId, disabled, createdMs }) => ({
      access_key_id: accessKeyId,
      disabled,
      created: new Date(createdMs).toISOString(),
    })),
  };
}
