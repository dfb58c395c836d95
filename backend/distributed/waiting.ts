import { UnavailableError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';

/** The outcome of `promise`, or UnavailableError once `ms` have passed. What comes later is dropped. */
export function withDeadline<T>(
  promise: Promise<T>,
  limit: { readonly clock: Clock; readonly ms: number },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = limit.clock.after(limit.ms, () => {
      reject(new UnavailableError(`no answer in ${limit.ms} ms`));
    });
    promise.then(resolve, reject).finally(cancel);
  });
}

/** One waiter at a time that can be called away from what it waits for. Unlike Promise.race it holds on to nothing. */
export class Interruptible {
  #error: Error | undefined;
  #reject: ((error: Error) => void) | undefined;

  /** Makes the wait at hand, and every later one, reject with the first `error` given. */
  interrupt(error: Error): void {
    this.#error ??= error;
    this.#reject?.(this.#error);
  }

  /** The outcome of `promise`, or the interruption. */
  wait<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(resolve, reject);
      this.#reject = reject;
      if (this.#error !== undefined) reject(this.#error);
    });
  }
}

/** Why a signal was aborted, as an error. */
export function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error('the request was given up', { cause: reason });
}
