import type { ConfigFile } from './schema.ts';

/** The configuration as the rest of the program sees it: valid, consistent, every path absolute. */
export interface Config extends ConfigFile {
  /** With the Raft port that follows from the REST port where none is given. */
  readonly db: (ConfigFile['db'][number] & { readonly raft_port: number })[];
  /** The file it came from, for messages. */
  readonly file: string;
  /** Absolute. */
  readonly base_path: string;
}
