import { describe, expect, test } from 'vitest';
import { Group, Replica, command, entriesOf, voters } from './testing/replica.ts';
import { SafetyRules } from './rules.ts';
import type { Message } from './types.ts';

function blank(id: bigint): Replica {
  return new Replica({ id, configuration: voters() });
}

describe('one server at a time (thesis 4.1)', () => {
  test('refusals say why', () => {
    const follower = new Replica();
    expect(follower.core.proposeConfiguration({ type: 'addLearner', id: 4n })).toBe('notLeader');

    const leader = new Replica();
    leader.elect(2n);
    const change = (type: 'addLearner' | 'promote' | 'remove', id: bigint) =>
      leader.core.proposeConfiguration({ type, id });
    expect(change('addLearner', 4n)).toBe('notReady');
    leader.step({ type: 'appendReply', index: 1 });
    expect(change('addLearner', 2n)).toBe('alreadyMember');
    expect(change('promote', 2n)).toBe('alreadyVoter');
    expect(change('promote', 9n)).toBe('notMember');
    expect(change('remove', 9n)).toBe('notMember');
    expect(change('remove', 1n)).toBe('isLeader');
    expect(change('addLearner', 4n)).toEqual({ term: 1, index: 2 });
    expect(change('remove', 3n)).toBe('changeInFlight');
    leader.settle();
    leader.step({ type: 'appendReply', index: 2 });
    expect(change('promote', 4n)).toBe('notCaughtUp');
    leader.core.transferLeadership(3n);
    expect(change('remove', 4n)).toBe('transferring');
  });

  test('a healthy voter is not removed beside a dead one', () => {
    const group = new Group(new Replica(), new Replica({ id: 2n }), new Replica({ id: 3n }));
    group.elect(1n);
    group.cut = ({ from, to }) => from === 3n || to === 3n;
    group.tick(25);
    const leader = group.at(1n).core;
    expect(leader.proposeConfiguration({ type: 'remove', id: 2n })).toBe('quorumAtRisk');
    expect(leader.proposeConfiguration({ type: 'remove', id: 3n })).toMatchObject({ term: 1 });
  });

  test('a newcomer is not promoted beside a dead voter: should it die as well, nothing could be committed', () => {
    const group = new Group(new Replica(), new Replica({ id: 2n }), new Replica({ id: 3n }), blank(4n));
    group.elect(1n);
    const leader = group.at(1n).core;
    leader.proposeConfiguration({ type: 'addLearner', id: 4n });
    group.cut = ({ from, to }) => from === 3n || to === 3n;
    group.tick(25);
    expect(leader.proposeConfiguration({ type: 'promote', id: 4n })).toBe('quorumAtRisk');
    expect(leader.proposeConfiguration({ type: 'remove', id: 3n })).toMatchObject({ term: 1 });
    group.tick(4);
    expect(leader.proposeConfiguration({ type: 'promote', id: 4n })).toMatchObject({ term: 1 });
  });

  test('a single voter takes in a second one', () => {
    const alone = new Replica({ configuration: voters(1n) });
    const group = new Group(alone, blank(2n));
    group.elect(1n);
    const leader = group.at(1n).core;
    leader.proposeConfiguration({ type: 'addLearner', id: 2n });
    group.tick(4);
    expect(leader.proposeConfiguration({ type: 'promote', id: 2n })).toMatchObject({ term: 1 });
  });

  test('a learner counts neither for commits nor for votes', () => {
    const configuration = { voters: [1n, 2n, 3n], learners: [4n], removed: [] };
    const leader = new Replica({ configuration });
    leader.elect(2n);
    leader.step({ type: 'appendReply', from: 4n, index: 1 });
    expect(leader.core.status().commit).toBe(0);
    leader.step({ type: 'appendReply', from: 3n, index: 1 });
    expect(leader.core.status().commit).toBe(1);
  });

  test('a replica that does not know of its promotion votes all the same', () => {
    const learner = new Replica({
      id: 4n,
      configuration: { voters: [1n, 2n, 3n], learners: [4n], removed: [] },
    });
    expect(learner.step({ type: 'vote', from: 1n, term: 3, lastIndex: 5, lastTerm: 2 })).toMatchObject([
      { granted: true },
    ]);
  });

  test('a replica without a configuration votes for nobody', () => {
    const request = { from: 1n, term: 3, lastIndex: 5, lastTerm: 2 };
    expect(blank(4n).step({ type: 'vote', ...request })).toMatchObject([{ granted: false }]);
    expect(blank(4n).step({ type: 'preVote', ...request })).toMatchObject([{ granted: false }]);
  });

  test('quorums are those of the configuration that was appended, committed or not', () => {
    const group = new Group(new Replica(), new Replica({ id: 2n }), new Replica({ id: 3n }), blank(4n));
    group.elect(1n);
    group.at(1n).core.proposeConfiguration({ type: 'addLearner', id: 4n });
    group.tick(4);
    group.cut = ({ to }) => to === 2n || to === 3n;
    expect(group.at(1n).core.proposeConfiguration({ type: 'promote', id: 4n })).toMatchObject({ index: 3 });
    group.run();
    expect(group.at(1n).core.status()).toMatchObject({
      commit: 2,
      configuration: { voters: [1n, 2n, 3n, 4n] },
    });
    group.cut = ({ to }) => to === 3n;
    group.tick(4);
    expect(group.at(1n).core.status().commit).toBe(3);
  });

  /**
   * Ongaro, raft-dev, 2015-07-10. Leader 1 appends a change and is cut off with it; leader 2 makes another before it has
   * committed in its own term; both changes have majorities of their own.
   */
  function walkTheErratum(): { changes: unknown; leaders: bigint[]; committed: Map<string, Set<number>> } {
    const ids = [1n, 2n, 3n, 4n, 5n];
    const configuration = { voters: [1n, 2n, 3n, 4n], learners: [5n], removed: [] };
    const replicas = ids.map(
      (id) => new Replica({ id, configuration, terms: [1], hardState: { commit: 1 } }),
    );
    const group = new Group(...replicas);
    const only = (...links: [bigint, bigint][]) => {
      group.cut = ({ from, to }: Message) =>
        !links.some(([a, b]) => (a === from && b === to) || (b === from && a === to));
    };
    group.elect(1n);
    group.tick(4);
    // Leader 1 promotes 5, and only 5 learns of it.
    only([1n, 5n]);
    group.at(1n).core.proposeConfiguration({ type: 'promote', id: 5n });
    group.run();
    // Leader 2 has the votes of 3 and 4; what it appends reaches 3 alone.
    only([2n, 3n], [2n, 4n]);
    const losesAppends = group.cut;
    group.cut = (message) => losesAppends(message) || (message.type === 'append' && message.to === 4n);
    for (const id of [3n, 4n]) for (let i = 0; i < 9; i++) group.at(id).core.tick();
    for (let i = 0; i < 12 && group.at(2n).core.status().role !== 'leader'; i++) {
      for (const id of [2n, 3n, 4n]) if (id === 2n || i === 0) group.at(id).core.tick();
      group.run();
    }
    const leaders = [...group.replicas.values()].filter(({ core }) => core.status().role === 'leader');
    const changes = group.at(2n).core.proposeConfiguration({ type: 'remove', id: 1n });
    group.run();
    // 2 and 3 are cut off. 1 comes back with the votes of 4 and 5, a majority of the five of its own change.
    only([1n, 4n], [1n, 5n]);
    for (let i = 0; i < 60; i++) {
      for (const id of [1n, 4n, 5n]) if (id === 1n || i < 20) group.at(id).core.tick();
      group.run();
    }
    const committed = new Map<string, Set<number>>();
    for (const replica of replicas) {
      const { commit } = replica.core.status();
      for (const entry of replica.log.filter(({ index }) => index <= commit)) {
        const key = `${entry.index}`;
        committed.set(key, (committed.get(key) ?? new Set()).add(entry.term));
      }
    }
    return { changes, leaders: leaders.map(({ core }) => core.status().id), committed };
  }

  test('the erratum of 2015: no change before an entry of the own term is committed', () => {
    const { changes, leaders, committed } = walkTheErratum();
    expect(leaders).toContain(2n);
    expect(changes).toBe('notReady');
    for (const terms of committed.values()) expect(terms.size).toBe(1);
  });

  test('and without that rule two entries are committed at one index', () => {
    const { prototype } = SafetyRules;
    const rule = Object.getOwnPropertyDescriptor(prototype, 'mayChangeConfiguration')!;
    prototype.mayChangeConfiguration = ({ changeInFlight }) => (changeInFlight ? 'changeInFlight' : 'yes');
    try {
      const { committed } = walkTheErratum();
      expect([...committed.values()].some((terms) => terms.size > 1)).toBe(true);
    } finally {
      Object.defineProperty(prototype, 'mayChangeConfiguration', rule);
    }
  });
});

describe('snapshots (paper 7)', () => {
  const meta = { index: 9, term: 3, configuration: voters(1n, 2n, 5n) };

  test('a snapshot beyond the log replaces log and configuration, and is acknowledged when it is durable', () => {
    const replica = new Replica({ terms: [1, 1, 2] });
    replica.core.step({ type: 'snapshot', from: 2n, to: 1n, term: 4, meta });
    const ready = replica.core.ready();
    expect(ready).toMatchObject({ snapshot: meta, entries: [], committed: [], messages: [] });
    expect(ready.afterPersist).toMatchObject([{ type: 'appendReply', accepted: true, index: 9 }]);
    expect(replica.core.status().applied).toBe(0);
    replica.core.persisted(ready.persist!.term, ready.persist!.index);
    expect(replica.core.status()).toMatchObject({
      applied: 9,
      commit: 9,
      lastIndex: 9,
      configuration: meta.configuration,
    });
  });

  test('entries that follow a snapshot come in the same batch or later, and are applied after it', () => {
    const replica = new Replica();
    replica.core.step({ type: 'snapshot', from: 2n, to: 1n, term: 4, meta });
    const entries = entriesOf([4], 10);
    replica.core.step({
      type: 'append',
      from: 2n,
      to: 1n,
      term: 4,
      prevIndex: 9,
      prevTerm: 3,
      entries,
      commit: 10,
    });
    const ready = replica.core.ready();
    expect(ready).toMatchObject({ snapshot: meta, entries, committed: [] });
    replica.core.persisted(ready.persist!.term, ready.persist!.index);
    expect(replica.core.ready().committed).toEqual(entries);
  });

  test('a snapshot that the log holds already only moves commit', () => {
    const replica = new Replica({ terms: [1, 1, 3] });
    const replies = replica.step({ type: 'snapshot', term: 4, meta: { ...meta, index: 3 } });
    expect(replica.installed).toEqual([]);
    expect(replica.core.status()).toMatchObject({
      commit: 3,
      lastIndex: 3,
      configuration: voters(1n, 2n, 3n),
    });
    expect(replies).toMatchObject([{ accepted: true, index: 3 }]);
  });

  test('an old snapshot changes nothing', () => {
    const replica = new Replica({ terms: [1, 1, 3], hardState: { commit: 3 } });
    replica.step({ type: 'snapshot', term: 4, meta: { ...meta, index: 2, term: 1 } });
    expect(replica.core.status()).toMatchObject({ commit: 3, lastIndex: 3 });
  });

  test('a round of applying that a snapshot has overtaken may report late', () => {
    const replica = new Replica({ terms: [1, 1, 1], hardState: { commit: 2 } });
    expect(replica.core.ready().committed).toHaveLength(2);
    replica.core.step({ type: 'snapshot', from: 2n, to: 1n, term: 4, meta });
    const ready = replica.core.ready();
    replica.core.applied(2);
    replica.core.persisted(ready.persist!.term, ready.persist!.index);
    expect(replica.core.status().applied).toBe(9);
    replica.core.applied(2);
    expect(replica.core.status().applied).toBe(9);
  });

  test('a failed snapshot is sent again after the next sign of life, and not before', () => {
    const leader = new Replica({ snapshot: { index: 5, term: 1, configuration: voters(1n, 2n, 3n) } });
    leader.elect(2n);
    const asked = leader.step({ type: 'appendReply', accepted: false, index: 5, hintIndex: 0, hintTerm: 0 });
    expect(asked).toMatchObject([{ type: 'snapshot', to: 2n, meta: { index: 5 } }]);
    leader.core.snapshotStatus(2n, 'failed');
    expect(leader.settle()).toEqual([]);
    expect(leader.step({ type: 'heartbeatReply' })).toMatchObject([{ type: 'snapshot' }]);
    leader.core.snapshotStatus(2n, 'sent');
    const messages = leader.step({ type: 'appendReply', index: 5 });
    expect(messages).toMatchObject([{ type: 'append', prevIndex: 5, entries: [{ index: 6 }] }]);
  });

  test('what is compacted keeps its term and configuration', () => {
    const group = new Group(new Replica(), new Replica({ id: 2n }), new Replica({ id: 3n }), blank(4n));
    group.elect(1n);
    group.at(1n).core.proposeConfiguration({ type: 'addLearner', id: 4n });
    group.run();
    const { core } = group.at(1n);
    core.compact(2);
    expect(core.snapshotAt(2)).toMatchObject({ index: 2, term: 1, configuration: { learners: [4n] } });
    expect(core.status()).toMatchObject({ firstIndex: 3, lastIndex: 2 });
    expect(() => core.compact(3)).toThrow(/beyond applied/);
  });
});

describe('leader transfer (thesis 3.10)', () => {
  test('an up-to-date target is told at once, another when it has caught up', () => {
    const leader = new Replica();
    leader.elect(2n);
    leader.step({ type: 'appendReply', index: 1 });
    expect(leader.core.transferLeadership(3n)).toBe('started');
    expect(leader.settle().filter(({ type }) => type === 'timeoutNow')).toEqual([]);
    expect(leader.core.transferLeadership(2n)).toBe('inProgress');
    expect(leader.core.propose(command('x'))).toBe('overloaded');
    const messages = leader.step({ type: 'appendReply', from: 3n, index: 1 });
    expect(messages).toContainEqual({ type: 'timeoutNow', from: 1n, to: 3n, term: 1 });
  });

  test('is given up after an election timeout', () => {
    const leader = new Replica();
    leader.elect(2n);
    leader.core.transferLeadership(3n);
    leader.tick(9);
    leader.step({ type: 'heartbeatReply', from: 2n });
    leader.tick(1);
    expect(leader.core.status()).toMatchObject({ role: 'leader', transferee: 0n });
    expect(leader.core.propose(command('x'))).toMatchObject({ term: 1 });
  });

  test('refusals say why', () => {
    const replica = new Replica();
    expect(replica.core.transferLeadership(2n)).toBe('notLeader');
    replica.elect(2n);
    expect(replica.core.transferLeadership(1n)).toBe('isSelf');
    expect(replica.core.transferLeadership(9n)).toBe('noSuchVoter');
  });

  test('only the present leader may ask for it', () => {
    const replica = new Replica();
    replica.step({ type: 'heartbeat', term: 1 });
    replica.step({ type: 'timeoutNow', from: 3n });
    expect(replica.core.status().role).toBe('follower');
    expect(replica.step({ type: 'timeoutNow', from: 2n })).toMatchObject([
      { type: 'vote', term: 2, transfer: true },
      { type: 'vote', term: 2, transfer: true },
    ]);
  });
});
