import type { RequestOrigin } from '../../backend/backend.ts';
import type { Call } from '../exchange.ts';

/** Where a call came from, as the events that it causes tell it. */
export function originOf(call: Call): RequestOrigin {
  return {
    requestId: call.requestId,
    principalId: call.caller.kind === 'signed' ? call.caller.owner.id : 'Anonymous',
    sourceAddress: call.remoteAddress ?? '',
  };
}
