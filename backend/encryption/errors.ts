/** Why a keyring can't be used. No message repeats any of a key. */
type KeyringProblem =
  'missing' | 'unreadable' | 'exposed' | 'malformed' | 'command-failed' | 'wrong-key' | 'lacks-key';

/** The keys that the configuration names can't be used: the start is refused, or a reload is not taken over. */
export class KeyringError extends Error {
  override readonly name = 'KeyringError';
  readonly problem: KeyringProblem;
  /** File, or the words of the command, that the keys come from. */
  readonly source: string;
  constructor(problem: KeyringProblem, source: string, message: string) {
    super(`${source}: ${message}`);
    this.problem = problem;
    this.source = source;
  }
}

/**
 * The key that the content's data key is wrapped under isn't in the keyring. Nothing is lost: with the key, the content
 * can be read. The row may have been wrapped anew since it was read.
 */
export class KeyNotFoundError extends Error {
  override readonly name = 'KeyNotFoundError';
}

/** The right key was tried, and the wrapped key or a frame of content fails its tag: bytes were changed. */
export class SealDamagedError extends Error {
  override readonly name = 'SealDamagedError';
}
