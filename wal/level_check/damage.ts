/** Files of a Level that are not what LevelDB wrote: nothing that it would answer can be trusted. */
export class LevelDamagedError extends Error {
  override readonly name = 'LevelDamagedError';
}
