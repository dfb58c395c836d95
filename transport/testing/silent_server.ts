import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import type { Driver } from '../driver.ts';
import { FrameParser, frameType } from '../frame.ts';
import { nonceBytes, prove } from '../handshake.ts';
import { rawFrame } from './raw_lane.ts';
import { certificate, host, secret } from './rig.ts';

interface SilentListener {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * A server that opens lanes as it should and then says nothing, or only what it is told to; as an impostor it doesn't
 * know the secret.
 */
export async function listenSilently(
  driver: Driver,
  options: { readonly impostor?: boolean; readonly say?: () => Uint8Array } = {},
): Promise<SilentListener> {
  const known = options.impostor === true ? Buffer.alloc(32, 9) : secret;
  return driver.listen({ host, port: 0, tls: certificate }, (stream) => {
    let hello = Buffer.alloc(0);
    const challenge = randomBytes(nonceBytes);
    let done = false;
    const parser = new FrameParser({
      onFrame: (type, _flags, _id, payload) => {
        if (type === frameType.hello) {
          hello = Buffer.from(payload);
          stream.write(rawFrame(frameType.challenge, challenge));
        } else if (type === frameType.proof) {
          done = true;
          stream.write(rawFrame(frameType.accept, prove('server', { secret: known, hello, challenge })));
          const say = options.say;
          // Later, when there are calls to be misled.
          if (say !== undefined) setTimeout(() => stream.write(say()), 5);
        }
      },
      onData: () => undefined,
    });
    stream.start({
      onData: (chunk) => {
        if (!done) parser.push(chunk);
      },
      onDrain: () => undefined,
      onClose: () => undefined,
    });
  });
}
