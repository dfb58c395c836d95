import { encode } from 'cborg';
import { describe, expect, it } from 'vitest';

import { MemberRegistry } from './member_registry.ts';
import {
  activateMember,
  addMember,
  decodeMembers,
  emptyMember,
  encodeMembers,
  finishEmptying,
  MemberChangeError,
  membersKey,
  replaceMember,
  seedMembers,
  weighMember,
  type MemberSet,
  type MemberState,
} from './members.ts';
import { ManualClock } from './testing/manual_clock.ts';
import { MemoryState } from './testing/memory_state.ts';

const seeds = seedMembers(
  Array.from({ length: 6 }, (_, id) => ({ id: 5 - id, host: `host-${id}`, port: 9990 })),
);
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

function stateOf(set: MemberSet, id: number): MemberState | undefined {
  return set.members.find((member) => member.id === id)?.state;
}

describe('members', () => {
  it('are stored and read as they are; unknown versions are refused', () => {
    const set = emptyMember(weighMember(seeds, { id: 2, weight: 1.5 }), { id: 4, remove: false, shards: 5 });
    expect(decodeMembers(encodeMembers(set))).toEqual(set);
    expect(seeds.members.map((member) => member.id)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(() => decodeMembers(encode([9, 1, []]))).toThrow('unknown version');
    expect(() => decodeMembers(encode([1, 1, [[1, 2]]]))).toThrow('damaged');
  });

  it('are drained, taken back, removed, and taken in again', () => {
    let set = emptyMember(seeds, { id: 3, remove: false, shards: 5 });
    expect([set.version, stateOf(set, 3), set.members[3]?.sinceVersion]).toEqual([2, 'draining', 2]);
    set = finishEmptying(set, [3]);
    expect(stateOf(set, 3)).toBe('drained');
    set = activateMember(set, 3);
    set = emptyMember(set, { id: 3, remove: true, shards: 5 });
    expect(stateOf(set, 3)).toBe('removing');
    set = finishEmptying(set, [3, 2]);
    expect([stateOf(set, 3), stateOf(set, 2)]).toEqual(['removed', 'active']);
    expect(() => activateMember(set, 3)).toThrow('there is no node 3; there are 0, 1, 2, 4, 5');
    set = addMember(set, { id: 3, host: 'elsewhere', port: 1, weight: 1 });
    expect(stateOf(set, 3)).toBe('active');
  });

  it('are never so few that objects find no place, and the refusal says how many it takes', () => {
    const five = emptyMember(seeds, { id: 0, remove: true, shards: 5 });
    const refused = (): unknown => emptyMember(five, { id: 1, remove: true, shards: 5 });
    expect(refused).toThrow(MemberChangeError);
    expect(refused).toThrow('4 active nodes are left, and each object needs 5');
    // One that is drained may go for good at any time.
    const drained = finishEmptying(emptyMember(seeds, { id: 0, remove: false, shards: 5 }), [0]);
    expect(stateOf(emptyMember(drained, { id: 0, remove: true, shards: 5 }), 0)).toBe('removing');
  });

  it('refuse what contradicts them', () => {
    const at = { host: 'new', port: 9990, weight: 1 };
    expect(() => addMember(seeds, { id: 1, ...at })).toThrow('a member already');
    expect(() => addMember(seeds, { id: 9, ...at, host: 'host-2' })).toThrow('the address of node 3');
    expect(() => addMember(seeds, { id: 9, ...at, weight: 0 })).toThrow('weight');
    expect(() => replaceMember(seeds, { id: 9, host: 'new', port: 1 })).toThrow('there is no node 9');
    expect(() => replaceMember(seeds, { id: 1, host: 'host-2', port: 9990 })).toThrow(
      'the address of node 3',
    );
    expect(() => activateMember(seeds, 1)).toThrow('active already');
    const moved = replaceMember(seeds, { id: 1, host: 'new', port: 1 });
    expect(moved.members[1]).toEqual({ ...seeds.members[1], host: 'new', port: 1 });
  });
});

describe('MemberRegistry', () => {
  const open = (
    state: MemoryState,
    options: { readonly clock?: ManualClock; readonly seen?: MemberSet[] } = {},
  ): Promise<MemberRegistry> =>
    MemberRegistry.open({
      state,
      clock: options.clock ?? new ManualClock(),
      logger: quiet,
      seeds,
      onChange: (set) => options.seen?.push(set),
    });

  it('is seeded once, and follows what others change', async () => {
    const state = new MemoryState();
    const clock = new ManualClock();
    const seen: MemberSet[] = [];
    const [one, two] = await Promise.all([open(state), open(state, { clock, seen })]);
    expect(seen.map((set) => set.version)).toEqual([0, 1]);
    await one.change((set) => emptyMember(set, { id: 2, remove: false, shards: 5 }));
    expect(two.current.version).toBe(1);
    await clock.advance(2500);
    expect([two.current.version, stateOf(two.current, 2)]).toEqual([2, 'draining']);
    expect(seen.at(-1)).toEqual(one.current);
    await Promise.all([one.close(), two.close()]);
  });

  it('loses no change when several make one at once', async () => {
    const state = new MemoryState();
    const registries = await Promise.all([0, 1, 2, 3].map(() => open(state)));
    await Promise.all(
      registries.map((registry, i) => registry.change((set) => weighMember(set, { id: i, weight: i + 2 }))),
    );
    const set = decodeMembers((await state.get('state', membersKey))!);
    expect(set.version).toBe(5);
    expect(set.members.map((member) => member.weight)).toEqual([2, 3, 4, 5, 1, 1]);
    await Promise.all(registries.map((registry) => registry.close()));
  });

  it('goes by its config while the database does not answer, and by the row from then on', async () => {
    const state = new MemoryState();
    const clock = new ManualClock();
    state.failure = new Error('no leader');
    const registry = await open(state, { clock });
    expect(registry.current).toEqual({ ...seeds, version: 0 });
    state.failure = undefined;
    await clock.advance(2500);
    expect(registry.current).toEqual(seeds);
    expect(await registry.change((set) => set)).toEqual(seeds);
    await registry.close();
  });
});
