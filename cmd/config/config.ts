import type { ConfigFile } from './schema.ts';

/** The configuration as the rest of the program sees it: valid, consistent, every path absolute. */
export interface Config extends ConfigFile {
  /** The file it came from, for messages. */
  readonly file: string;
  /** Absolute. */
  readonly base_path: string;
}
