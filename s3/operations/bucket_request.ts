import type { Authorize } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import type { Call } from '../exchange.ts';

/** What every request about the bucket as a whole tells the backend. */
export function bucketRequest(
  call: Call,
  action: string,
): { readonly bucket: string; readonly authorize: Authorize; readonly signal: AbortSignal } {
  return { bucket: call.bucket, authorize: authorize(call, action), signal: call.signal };
}
