/** Something that a nemesis does. */
export interface Fault {
  readonly name: string;
  run(): Promise<void>;
}

/**
 * Those that were asked for, all by default.
 * @param only names, separated by commas
 * @throws RangeError when one isn't there, with those that are
 */
export function chosen<Kind extends Fault>(faults: readonly Kind[], only: string | undefined): Kind[] {
  if (only === undefined) return [...faults];
  const names = only.split(',').map((name) => name.trim());
  for (const name of names) {
    if (!faults.some((fault) => fault.name === name)) {
      throw new RangeError(
        `no fault is called '${name}' here: ${faults.map((fault) => fault.name).join(', ')}`,
      );
    }
  }
  return faults.filter(({ name }) => names.includes(name));
}
