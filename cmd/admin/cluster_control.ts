/** What an administrator can change of the cluster's shard nodes. Refusals are ControlRefusedError. */
export interface ClusterControl {
  add(node: NodeAddress & { readonly weight?: number | undefined }): Promise<void>;
  /** Takes a drained node, or one that is being drained or removed, back. */
  activate(id: number): Promise<void>;
  drain(id: number): Promise<void>;
  remove(id: number): Promise<void>;
  replace(node: NodeAddress): Promise<void>;
  weigh(id: number, weight: number): Promise<void>;
  /** After a metadata restore: orphans may be deleted again. */
  resumeAudit(): Promise<void>;
  /** The next audit deletes however many orphans it finds. */
  approveAudit(): Promise<void>;
}

export interface NodeAddress {
  readonly id: number;
  readonly host: string;
  readonly port: number;
}

/** The change was refused, and nothing was changed. */
export class ControlRefusedError extends Error {
  override readonly name = 'ControlRefusedError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
