/** Something that Raft's proof relies on does not hold. The replica must stop: going on could lose data. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** @throws InvariantError when `holds` is false. Always on. */
export function invariant(holds: boolean, message: string): asserts holds {
  if (!holds) throw new InvariantError(message);
}
