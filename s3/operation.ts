import type { Call } from './exchange.ts';
import type { Reply } from './http/reply.ts';

/** One of S3's operations. Throws a refusal (`errors.ts`) or answers. */
export interface Operation {
  /** S3's own name for it: what logs and metrics say. */
  readonly name: string;
  readonly handle: (call: Call) => Promise<Reply> | Reply;
}
