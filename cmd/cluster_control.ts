import type { MemberRegistry } from '../backend/distributed/member_registry.ts';
import {
  activateMember,
  addMember,
  emptyMember,
  MemberChangeError,
  replaceMember,
  weighMember,
  type MemberSet,
} from '../backend/distributed/members.ts';
import { auditApprovedKey, auditHaltedKey } from '../backend/distributed/orphan_audit.ts';
import type { GlobalState } from '../backend/global_state.ts';
import { ControlRefusedError, type ClusterControl } from './admin/cluster_control.ts';

interface ControlParts {
  readonly registry: MemberRegistry;
  readonly state: GlobalState;
  /** Nodes that an object needs at most: data + parity. */
  readonly shards: number;
}

/** Changes of the members and the audit, as the admin listener offers them. */
export function clusterControl(parts: ControlParts): ClusterControl {
  const { registry, state, shards } = parts;
  const change = async (apply: (set: MemberSet) => MemberSet): Promise<void> => {
    try {
      await registry.change(apply);
    } catch (error) {
      if (error instanceof MemberChangeError) throw new ControlRefusedError(error.code, error.message);
      throw error;
    }
  };
  return {
    add: ({ id, host, port, weight }) =>
      change((set) => addMember(set, { id, host, port, weight: weight ?? 1 })),
    activate: (id) => change((set) => activateMember(set, id)),
    drain: (id) => change((set) => emptyMember(set, { id, remove: false, shards })),
    remove: (id) => change((set) => emptyMember(set, { id, remove: true, shards })),
    replace: (at) => change((set) => replaceMember(set, at)),
    weigh: (id, weight) => change((set) => weighMember(set, { id, weight })),
    resumeAudit: () => state.delete('state', auditHaltedKey),
    approveAudit: () => state.set('state', auditApprovedKey, new Uint8Array([1])),
  };
}
