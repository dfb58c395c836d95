import type { IncomingMessage } from 'node:http';

/**
 * Reads and throws away what is left of a request's body. A connection closed while bytes of the request are still
 * coming is reset, and the reset can overtake the answer; so the rest is read for a while first.
 * @returns whether the request came to its end within the limits, so that its connection is still good.
 */
export async function discardRest(
  incoming: IncomingMessage,
  limits: { readonly lingerBytes: number; readonly lingerMs: number },
): Promise<boolean> {
  let left = limits.lingerBytes;
  return new Promise<boolean>((resolve) => {
    const timer = setTimeout(finish, limits.lingerMs);
    incoming.on('readable', discard).on('end', finish).on('close', finish);
    discard();

    function discard(): void {
      for (let chunk = read(); chunk !== null; chunk = read()) left -= chunk.length;
      if (left < 0 || incoming.complete) finish();
    }
    function read(): Buffer | null {
      return incoming.read() as Buffer | null;
    }
    function finish(): void {
      clearTimeout(timer);
      incoming.off('readable', discard).off('end', finish).off('close', finish);
      resolve(incoming.complete);
    }
  });
}
