import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Directories of one kind within a replica's, named `<kind>-<number>` with six digits; the newest has the highest. */
export class NumberedDirectories {
  readonly #kind: string;
  readonly #pattern: RegExp;

  constructor(kind: string) {
    this.#kind = kind;
    this.#pattern = new RegExp(`^${kind}-(\\d{6})$`);
  }

  /** Whether the entry of a directory is one of them. */
  has(name: string): boolean {
    return this.#pattern.test(name);
  }

  path(parent: string, number: number): string {
    return join(parent, `${this.#kind}-${String(number).padStart(6, '0')}`);
  }

  /** The numbers of those that are there, the newest last. */
  async numbers(parent: string): Promise<number[]> {
    const names = await readdir(parent);
    return names
      .map((name) => this.#pattern.exec(name)?.[1])
      .filter((digits) => digits !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
  }
}
