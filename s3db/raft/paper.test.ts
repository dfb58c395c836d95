import { describe, expect, test } from 'vitest';
import { Group, Replica, command, entriesOf, voters } from './testing/replica.ts';
import { RaftCore } from './core.ts';
import { InvariantError } from './invariant.ts';
import type { Message } from './types.ts';

/** Each test checks one sentence of the paper (or of the thesis, where it says so). */

function ofType<Type extends Message['type']>(messages: readonly Message[], type: Type) {
  return messages.filter((message): message is Extract<Message, { type: Type }> => message.type === type);
}

describe('terms (5.1)', () => {
  test('a replica with a smaller term takes the larger one, whatever it is', () => {
    const follower = new Replica({ hardState: { term: 1 } });
    follower.step({ type: 'append', term: 2 });
    expect(follower.core.status()).toMatchObject({ role: 'follower', term: 2, leader: 2n });

    const leader = new Replica({ hardState: { term: 1 } });
    leader.elect(2n);
    leader.step({ type: 'append', term: 9 });
    expect(leader.core.status()).toMatchObject({ role: 'follower', term: 9, leader: 2n });
  });

  test('a stale append changes nothing, and its sender is told the term', () => {
    const replica = new Replica({ hardState: { term: 5 } });
    const replies = replica.step({ type: 'append', term: 4, entries: entriesOf([4]) });
    expect(replica.core.status()).toMatchObject({ term: 5, lastIndex: 0, leader: 0n });
    expect(replies).toMatchObject([{ type: 'appendReply', term: 5, accepted: false, to: 2n }]);
  });

  test('what is for another incarnation at this address is ignored', () => {
    const replica = new Replica();
    replica.step({ type: 'append', to: 77n, term: 9 });
    expect(replica.core.status().term).toBe(0);
  });
});

describe('elections (5.2)', () => {
  test('replicas begin as followers and stay that as long as they hear a leader', () => {
    const replica = new Replica();
    expect(replica.core.status().role).toBe('follower');
    for (let i = 0; i < 5; i++) {
      replica.tick(9);
      replica.step({ type: 'heartbeat', term: 1 });
    }
    expect(replica.core.status()).toMatchObject({ role: 'follower', term: 1, leader: 2n });
  });

  test('a follower that hears nothing asks for pre-votes without a new term (thesis 9.6)', () => {
    const replica = new Replica();
    const messages = replica.tick(10);
    expect(replica.core.status()).toMatchObject({ role: 'preCandidate', term: 0, vote: 0n });
    expect(messages).toMatchObject([
      { type: 'preVote', to: 2n, term: 1, transfer: false },
      { type: 'preVote', to: 3n, term: 1, transfer: false },
    ]);
  });

  test('with a majority of pre-votes it begins a term, votes for itself and asks for votes', () => {
    const replica = new Replica();
    replica.tick(10);
    const messages = replica.step({ type: 'preVoteReply', term: 1, granted: true });
    expect(replica.core.status()).toMatchObject({ role: 'candidate', term: 1, vote: 1n });
    expect(ofType(messages, 'vote').map(({ to, term }) => [to, term])).toEqual([
      [2n, 1],
      [3n, 1],
    ]);
  });

  test.each([
    { size: 1, granted: 0, refused: 0, role: 'leader' },
    { size: 3, granted: 1, refused: 0, role: 'leader' },
    { size: 3, granted: 0, refused: 0, role: 'candidate' },
    { size: 3, granted: 0, refused: 2, role: 'follower' },
    { size: 5, granted: 2, refused: 2, role: 'leader' },
    { size: 5, granted: 1, refused: 0, role: 'candidate' },
    { size: 5, granted: 1, refused: 3, role: 'follower' },
    { size: 4, granted: 1, refused: 1, role: 'candidate' },
    { size: 4, granted: 2, refused: 0, role: 'leader' },
  ])(
    'of $size voters, $granted others grant and $refused refuse: $role',
    ({ size, granted, refused, role }) => {
      const ids = Array.from({ length: size }, (_, i) => BigInt(i + 1));
      const replica = new Replica({ configuration: voters(...ids) });
      replica.tick(10);
      for (const from of ids.slice(1)) replica.step({ type: 'preVoteReply', from, term: 1, granted: true });
      for (let i = 0; i < granted + refused; i++) {
        replica.step({ type: 'voteReply', from: ids[1 + i]!, granted: i < granted });
      }
      expect(replica.core.status()).toMatchObject({ role, term: 1 });
    },
  );

  test('a vote from a stranger, or twice from one voter, does not count (thesis 4.1)', () => {
    const replica = new Replica({ configuration: voters(1n, 2n, 3n, 4n, 5n) });
    replica.tick(10);
    for (const from of [2n, 3n]) replica.step({ type: 'preVoteReply', from, term: 1, granted: true });
    for (const from of [2n, 2n, 9n]) replica.step({ type: 'voteReply', from, granted: true });
    expect(replica.core.status().role).toBe('candidate');
  });

  test('a replica votes for one candidate in a term, first come first served', () => {
    const replica = new Replica();
    expect(replica.step({ type: 'vote', from: 2n, term: 1 })).toMatchObject([
      { type: 'voteReply', granted: true },
    ]);
    expect(replica.step({ type: 'vote', from: 3n, term: 1 })).toMatchObject([
      { type: 'voteReply', granted: false },
    ]);
    expect(replica.step({ type: 'vote', from: 2n, term: 1 })).toMatchObject([
      { type: 'voteReply', granted: true },
    ]);
  });

  test('its vote survives a restart', () => {
    const replica = new Replica({ hardState: { term: 1, vote: 2n } });
    expect(replica.step({ type: 'vote', from: 3n, term: 1 })).toMatchObject([{ granted: false }]);
  });

  test('a candidate that hears the leader of its term follows it', () => {
    const replica = new Replica();
    replica.tick(10);
    replica.step({ type: 'preVoteReply', term: 1, granted: true });
    replica.step({ type: 'append', from: 3n, term: 1 });
    expect(replica.core.status()).toMatchObject({ role: 'follower', term: 1, leader: 3n });
  });

  test('election timeouts are spread over [electionTicks, 2 * electionTicks)', () => {
    const seen = new Set<number>();
    for (let i = 0; i < 100; i++) {
      const replica = new Replica({ core: { random: () => i / 100 } });
      let ticks = 0;
      while (replica.core.status().role === 'follower') {
        replica.core.tick();
        ticks++;
      }
      seen.add(ticks);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  test('a learner and a replica without a configuration never stand', () => {
    const learner = new Replica({ configuration: { voters: [2n, 3n], learners: [1n], removed: [] } });
    const blank = new Replica({ configuration: voters() });
    for (const replica of [learner, blank]) {
      expect(replica.tick(100)).toEqual([]);
      replica.step({ type: 'append', term: 1 });
      replica.step({ type: 'timeoutNow', term: 1 });
      expect(replica.core.status()).toMatchObject({ role: 'follower', term: 1 });
    }
  });
});

describe('durability (figure 2: "updated on stable storage before responding")', () => {
  test('a vote leaves only after the term and the vote are durable', () => {
    const { core } = new Replica();
    core.step({ type: 'vote', from: 2n, to: 1n, term: 3, lastIndex: 0, lastTerm: 0, transfer: false });
    const ready = core.ready();
    expect(ready.hardState).toEqual({ term: 3, vote: 2n, commit: 0 });
    expect(ready.messages).toEqual([]);
    expect(ready.afterPersist).toMatchObject([{ type: 'voteReply', granted: true }]);
  });

  test('a candidate asks, and counts its own vote, only after that too', () => {
    const replica = new Replica({ configuration: voters(1n) });
    for (let i = 0; i < 10; i++) replica.core.tick();
    const ready = replica.core.ready();
    expect(ready.hardState).toEqual({ term: 1, vote: 1n, commit: 0 });
    expect(replica.core.status().role).toBe('candidate');
    replica.core.persisted(ready.persist!.term, ready.persist!.index);
    expect(replica.core.status().role).toBe('leader');

    const among = new Replica();
    among.tick(10);
    among.core.step({ type: 'preVoteReply', from: 2n, to: 1n, term: 1, granted: true });
    const asking = among.core.ready();
    expect(asking.messages).toEqual([]);
    expect(ofType(asking.afterPersist, 'vote')).toHaveLength(2);
  });

  test('an acknowledgement leaves only after the entries are durable', () => {
    const { core } = new Replica();
    const entries = entriesOf([1, 1]);
    core.step({ type: 'append', from: 2n, to: 1n, term: 1, prevIndex: 0, prevTerm: 0, entries, commit: 0 });
    const ready = core.ready();
    expect(ready.entries).toEqual(entries);
    expect(ready.messages).toEqual([]);
    expect(ready.afterPersist).toMatchObject([{ type: 'appendReply', accepted: true, index: 2 }]);
  });

  test('a leader sends at once but counts itself only when it has written (thesis 10.2.1)', () => {
    const replica = new Replica();
    replica.elect(2n);
    replica.step({ type: 'appendReply', index: 1 });
    replica.core.propose(command('x'));
    const ready = replica.core.ready();
    expect(ofType(ready.messages, 'append').map(({ to }) => to)).toEqual([2n]); // 3n is still being probed
    replica.core.step({
      type: 'appendReply',
      from: 2n,
      to: 1n,
      term: 1,
      accepted: true,
      index: 2,
      hintIndex: 0,
      hintTerm: 0,
    });
    expect(replica.core.status().commit).toBe(1);
    replica.core.persisted(ready.persist!.term, ready.persist!.index);
    expect(replica.core.status().commit).toBe(2);
  });

  test('a committed entry is handed over for applying once it is durable here', () => {
    const { core } = new Replica();
    const entries = entriesOf([1]);
    core.step({ type: 'append', from: 2n, to: 1n, term: 1, prevIndex: 0, prevTerm: 0, entries, commit: 1 });
    const first = core.ready();
    expect(first.committed).toEqual([]);
    core.persisted(first.persist!.term, first.persist!.index);
    expect(core.ready().committed).toEqual(entries);
  });

  test('a write that ends late does not vouch for entries that took the place of its own (ABA)', () => {
    const { core } = new Replica();
    const append = (term: number, terms: number[]) =>
      core.step({
        type: 'append',
        from: 2n,
        to: 1n,
        term,
        prevIndex: 0,
        prevTerm: 0,
        entries: entriesOf(terms),
        commit: 0,
      });
    append(1, [1, 1]);
    const first = core.ready();
    append(2, [2]);
    const second = core.ready();
    append(3, [1, 1]);
    const third = core.ready();
    core.persisted(first.persist!.term, first.persist!.index);
    expect(core.status().durableIndex).toBe(0);
    core.persisted(second.persist!.term, second.persist!.index);
    expect(core.status().durableIndex).toBe(0);
    core.persisted(third.persist!.term, third.persist!.index);
    expect(core.status().durableIndex).toBe(2);
  });

  test('an acknowledgement of entries that were cut off before they were handed over never leaves', () => {
    const { core } = new Replica();
    const append = (term: number, terms: number[]) =>
      core.step({
        ...{ type: 'append', from: 2n, to: 1n, term, prevIndex: 0, prevTerm: 0, commit: 0 },
        entries: entriesOf(terms),
      });
    append(1, [1, 1, 1]);
    append(2, [2]);
    const ready = core.ready();
    expect(ready.entries.map(({ term }) => term)).toEqual([2]);
    expect(ready.afterPersist).toMatchObject([{ type: 'appendReply', term: 2, index: 1 }]);
  });

  test('persisted must name the oldest batch', () => {
    const { core } = new Replica();
    core.step({
      type: 'append',
      from: 2n,
      to: 1n,
      term: 1,
      prevIndex: 0,
      prevTerm: 0,
      entries: entriesOf([1]),
      commit: 0,
    });
    core.ready();
    expect(() => core.persisted(1, 5)).toThrow(InvariantError);
  });
});

describe('replication (5.3)', () => {
  test('a new leader appends an entry of its term and sends it', () => {
    const replica = new Replica({ terms: [1, 1] });
    const messages = replica.elect(2n);
    expect(ofType(messages, 'append')).toMatchObject([
      { to: 2n, prevIndex: 2, prevTerm: 1, entries: [{ term: 2, index: 3, type: 'noop' }] },
      { to: 3n, prevIndex: 2, prevTerm: 1, entries: [{ term: 2, index: 3, type: 'noop' }] },
    ]);
  });

  test('a follower refuses an append whose prev it lacks, with a hint', () => {
    const replica = new Replica({ terms: [1, 1, 4, 4] });
    const replies = replica.step({ type: 'append', term: 7, prevIndex: 9, prevTerm: 6 });
    expect(replies).toMatchObject([
      { type: 'appendReply', accepted: false, index: 9, hintIndex: 4, hintTerm: 4 },
    ]);
    // Whole terms are skipped: nothing of term 4 can match prevTerm 3.
    const again = replica.step({ type: 'append', term: 7, prevIndex: 4, prevTerm: 3 });
    expect(again).toMatchObject([{ accepted: false, index: 4, hintIndex: 2, hintTerm: 1 }]);
  });

  test.each([
    { own: [1, 1, 2], prev: 3, prevTerm: 2, sent: [3], result: [1, 1, 2, 3] },
    { own: [1, 1, 2], prev: 2, prevTerm: 1, sent: [3, 4], result: [1, 1, 3, 4] },
    { own: [1, 1, 2], prev: 0, prevTerm: 0, sent: [1], result: [1, 1, 2] },
    { own: [1, 1, 2], prev: 0, prevTerm: 0, sent: [3], result: [3] },
    { own: [], prev: 0, prevTerm: 0, sent: [1, 2], result: [1, 2] },
  ])('log $own, after $prev/$prevTerm come $sent: $result', ({ own, prev, prevTerm, sent, result }) => {
    const replica = new Replica({ terms: own });
    const entries = entriesOf(sent, prev + 1);
    const replies = replica.step({ type: 'append', term: 5, prevIndex: prev, prevTerm, entries });
    expect(replica.log.map(({ term }) => term)).toEqual(result);
    expect(replies).toMatchObject([{ accepted: true, index: prev + sent.length }]);
  });

  test('a stale append does not truncate what matches', () => {
    const replica = new Replica();
    replica.step({ type: 'append', term: 1, entries: entriesOf([1, 1, 1]) });
    replica.step({ type: 'append', term: 1, entries: entriesOf([1]) });
    expect(replica.core.status().lastIndex).toBe(3);
  });

  test('a follower commits no further than what the message verified (figure 2, 5)', () => {
    const replica = new Replica({ terms: [1, 1, 1] });
    replica.step({ type: 'append', term: 2, prevIndex: 1, prevTerm: 1, commit: 3 });
    expect(replica.core.status().commit).toBe(1);
  });

  test('truncation at or below commit is a broken invariant', () => {
    const replica = new Replica({ terms: [1, 1], hardState: { commit: 2 } });
    expect(() => replica.step({ type: 'append', term: 2, entries: entriesOf([2]) })).toThrow(InvariantError);
  });

  test('logs of every shape of figure 7 come to equal the leader’s', () => {
    const leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const shapes = [
      [1, 1, 1, 4, 4, 5, 5, 6, 6],
      [1, 1, 1, 4],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
      [1, 1, 1, 4, 4, 4, 4],
      [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for (const shape of shapes) {
      const leader = new Replica({ terms: leaderTerms, hardState: { term: 7 } });
      const follower = new Replica({ id: 2n, terms: shape, hardState: { term: 7 } });
      const voter = new Replica({ id: 3n, hardState: { term: 7 } });
      const group = new Group(leader, follower, voter);
      group.elect(1n);
      expect(follower.log.map(({ term }) => term)).toEqual([...leaderTerms, 8]);
      group.tick(2);
      expect(follower.core.status().commit).toBe(11);
    }
  });

  test('lost, doubled and reordered appends are repaired', () => {
    const group = new Group(new Replica(), new Replica({ id: 2n }), new Replica({ id: 3n }));
    group.elect(1n);
    let count = 0;
    group.cut = (message) => message.to === 3n && count++ % 3 === 0;
    for (let i = 0; i < 50; i++) {
      group.at(1n).core.propose(command(`${i}`));
      group.run();
      group.tick();
    }
    group.cut = () => false;
    group.tick(10);
    expect(group.at(3n).applied).toEqual(group.at(1n).applied);
    expect(group.at(3n).applied).toHaveLength(51);
  });

  test('the window bounds what is under way to a follower', () => {
    const replica = new Replica({ core: { maxInflightMessages: 3, maxMessageBytes: 10 } });
    replica.elect(2n);
    replica.step({ type: 'appendReply', index: 1 });
    for (let i = 0; i < 10; i++) replica.core.propose(new Uint8Array(10));
    const sent = ofType(replica.settle(), 'append').filter(({ to }) => to === 2n);
    expect(sent.map(({ entries }) => entries.map(({ index }) => index))).toEqual([[2], [3], [4]]);
    const more = ofType(replica.step({ type: 'appendReply', index: 3 }), 'append');
    expect(more.filter(({ to }) => to === 2n).map(({ prevIndex }) => prevIndex)).toEqual([4, 5]);
  });

  test('when a link breaks, what was under way is sent again after the next sign of life', () => {
    const replica = new Replica();
    replica.elect(2n);
    replica.step({ type: 'appendReply', index: 1 });
    replica.core.propose(command('x'));
    replica.settle();
    replica.core.unreachable(2n);
    expect(replica.settle()).toEqual([]);
    const sent = ofType(replica.step({ type: 'heartbeatReply' }), 'append');
    expect(sent).toMatchObject([{ to: 2n, prevIndex: 1, entries: [{ index: 2 }] }]);
  });

  test('proposals are refused when too much is uncommitted, and let in again after', () => {
    const replica = new Replica();
    expect(replica.core.propose(command('x'))).toBe('notLeader');
    replica.elect(2n);
    expect(replica.core.propose(new Uint8Array(5000))).toEqual({ term: 1, index: 2 });
    expect(replica.core.propose(command('x'))).toBe('overloaded');
    replica.settle();
    replica.step({ type: 'appendReply', index: 2 });
    expect(replica.core.proposeAll([command('x'), command('y')])).toEqual({ term: 1, index: 3 });
    expect(replica.core.status().lastIndex).toBe(4);
  });
});

describe('safety (5.4)', () => {
  test.each([
    { own: [1], lastTerm: 1, lastIndex: 1, granted: true },
    { own: [1], lastTerm: 1, lastIndex: 2, granted: true },
    { own: [1, 1], lastTerm: 1, lastIndex: 1, granted: false },
    { own: [1], lastTerm: 2, lastIndex: 1, granted: true },
    { own: [1, 1], lastTerm: 2, lastIndex: 1, granted: true },
    { own: [2], lastTerm: 1, lastIndex: 9, granted: false },
  ])(
    'log $own votes for ($lastTerm, $lastIndex): $granted (5.4.1)',
    ({ own, lastTerm, lastIndex, granted }) => {
      for (const type of ['vote', 'preVote'] as const) {
        const replica = new Replica({ terms: own });
        expect(replica.step({ type, term: 3, lastTerm, lastIndex })).toMatchObject([{ granted }]);
      }
    },
  );

  test('figure 8: an entry of an earlier term is not committed by counting (5.4.2)', () => {
    const replica = new Replica({ terms: [1, 2], hardState: { term: 3, commit: 1 } });
    replica.elect(2n); // its no-op is 3, of term 4
    replica.step({ type: 'appendReply', index: 2 });
    expect(replica.core.status().commit).toBe(1);
    replica.step({ type: 'appendReply', index: 3 });
    expect(replica.core.status().commit).toBe(3);
  });

  test('two leaders in a term are a broken invariant', () => {
    const replica = new Replica();
    replica.elect(2n);
    expect(() => replica.step({ type: 'append' })).toThrow(InvariantError);
  });
});

describe('stickiness, check-quorum, pre-vote (thesis 4.2.3, 6.2, 9.6)', () => {
  test('a vote is refused within the minimum election timeout of contact with a leader', () => {
    for (const type of ['vote', 'preVote'] as const) {
      const replica = new Replica();
      replica.step({ type: 'heartbeat', term: 1 });
      replica.tick(9);
      expect(replica.step({ type, from: 3n, term: 2 })).toEqual([]);
      expect(replica.core.status()).toMatchObject({ term: 1, leader: 2n });
    }
  });

  test('save when the leader asked for the election (thesis 3.10)', () => {
    const replica = new Replica();
    replica.step({ type: 'heartbeat', term: 1 });
    expect(replica.step({ type: 'vote', from: 3n, term: 2, transfer: true })).toMatchObject([
      { granted: true },
    ]);
  });

  test('a leader refuses too, as long as it hears a quorum', () => {
    const replica = new Replica();
    replica.elect(2n);
    expect(replica.step({ type: 'vote', from: 3n, term: 5, lastTerm: 9, lastIndex: 9 })).toEqual([]);
    expect(replica.core.status().role).toBe('leader');
  });

  test('a leader that has not heard a quorum for an election timeout steps down', () => {
    const replica = new Replica();
    replica.elect(2n);
    replica.tick(9);
    replica.step({ type: 'heartbeatReply', from: 2n });
    replica.tick(1);
    replica.tick(9);
    replica.step({ type: 'heartbeatReply', from: 3n });
    replica.tick(1);
    expect(replica.core.status().role).toBe('leader');
    replica.tick(10);
    expect(replica.core.status()).toMatchObject({ role: 'follower', term: 1, leader: 0n });
  });

  test('a pre-vote changes no term, vote or timer', () => {
    const replica = new Replica({ hardState: { term: 4, vote: 3n } });
    replica.tick(9);
    expect(replica.step({ type: 'preVote', term: 5 })).toMatchObject([
      { type: 'preVoteReply', term: 5, granted: true },
    ]);
    expect(replica.core.status()).toMatchObject({ role: 'follower', term: 4, vote: 3n });
    replica.tick(1);
    expect(replica.core.status().role).toBe('preCandidate');
  });

  test('a pre-candidate behind in terms learns so and can then win', () => {
    const ahead = new Replica({ id: 2n, hardState: { term: 7, vote: 2n } });
    const behind = new Replica({ id: 1n, terms: [1], hardState: { term: 1 } });
    const group = new Group(ahead, behind);
    group.cut = (message) => message.to === 3n;
    group.elect(1n);
    expect(behind.core.status()).toMatchObject({ role: 'leader', term: 8 });
  });

  test('a replica that was cut off disturbs nobody when it is back', () => {
    const group = new Group(new Replica(), new Replica({ id: 2n }), new Replica({ id: 3n }));
    group.elect(1n);
    group.cut = ({ from, to }) => from === 3n || to === 3n;
    group.tick(100);
    group.cut = () => false;
    group.tick(30);
    for (const replica of group.replicas.values()) {
      expect(replica.core.status()).toMatchObject({ term: 1, leader: 1n });
    }
  });

  test('a replica ahead in terms is let in again', () => {
    const group = new Group(
      new Replica(),
      new Replica({ id: 2n }),
      new Replica({ id: 3n, hardState: { term: 50 } }),
    );
    group.cut = ({ from, to }) => from === 3n || to === 3n;
    group.elect(1n);
    group.cut = () => false;
    group.tick(60);
    const terms = [...group.replicas.values()].map(({ core }) => core.status());
    expect(new Set(terms.map(({ term }) => term)).size).toBe(1);
    expect(terms.filter(({ role }) => role === 'leader')).toHaveLength(1);
  });
});

describe('linearizable reads (thesis 6.4)', () => {
  function groupOfThree(): Group {
    return new Group(new Replica(), new Replica({ id: 2n }), new Replica({ id: 3n }));
  }

  test('a leader answers after a round of heartbeats that began after the read', () => {
    const replica = new Replica();
    replica.elect(2n);
    replica.step({ type: 'appendReply', index: 1 });
    replica.core.readIndex(7);
    const [beat] = ofType(replica.settle(), 'heartbeat');
    expect(replica.reads).toEqual([]);
    replica.step({ type: 'heartbeatReply', nonce: beat!.nonce - 1 });
    expect(replica.reads).toEqual([]);
    replica.step({ type: 'heartbeatReply', nonce: beat!.nonce });
    expect(replica.reads).toEqual([{ requestId: 7, index: 1, ok: true }]);
  });

  test('no read before an entry of the own term is committed', () => {
    const replica = new Replica({ terms: [1], hardState: { commit: 1 } });
    replica.elect(2n);
    replica.core.readIndex(7);
    expect(ofType(replica.settle(), 'heartbeat')).toEqual([]);
    const [beat] = ofType(replica.step({ type: 'appendReply', index: 2 }), 'heartbeat');
    replica.step({ type: 'heartbeatReply', nonce: beat!.nonce });
    expect(replica.reads).toEqual([{ requestId: 7, index: 2, ok: true }]);
  });

  test('reads that come together share a round', () => {
    const replica = new Replica();
    replica.elect(2n);
    replica.step({ type: 'appendReply', index: 1 });
    for (let i = 0; i < 10; i++) replica.core.readIndex(i);
    expect(ofType(replica.settle(), 'heartbeat')).toHaveLength(2);
  });

  test('followers ask the leader', () => {
    const group = groupOfThree();
    group.elect(1n);
    group.at(1n).core.propose(command('x'));
    group.run();
    group.at(2n).core.readIndex(5);
    group.run();
    expect(group.at(2n).reads).toEqual([{ requestId: 5, index: 2, ok: true }]);
  });

  test('without a leader, after a change of leader, and without an answer, a read fails', () => {
    const alone = new Replica();
    alone.core.readIndex(1);
    alone.settle();
    expect(alone.reads).toEqual([{ requestId: 1, index: 0, ok: false }]);

    const group = groupOfThree();
    group.elect(1n);
    group.cut = () => true;
    group.at(2n).core.readIndex(2);
    group.at(1n).core.readIndex(3);
    group.run();
    expect(group.at(2n).reads).toEqual([]);
    group.tick(20);
    expect(group.at(1n).reads).toEqual([{ requestId: 3, index: 0, ok: false }]);
    expect(group.at(2n).reads).toEqual([{ requestId: 2, index: 0, ok: false }]);
  });

  test('a late answer to a read of an earlier life answers nothing', () => {
    const before = new Replica({ id: 2n });
    before.step({ type: 'heartbeat', from: 1n, term: 1 });
    before.core.readIndex(1);
    const [asked] = ofType(before.settle(), 'readIndex');
    const after = new Replica({ id: 2n, core: { random: () => 0.5 } });
    after.step({ type: 'heartbeat', from: 1n, term: 1 });
    after.core.readIndex(1);
    after.settle();
    after.step({ type: 'readIndexReply', from: 1n, requestId: asked!.requestId, index: 3, ok: true });
    expect(after.reads).toEqual([]);
  });
});

describe('start', () => {
  const snapshot = { index: 5, term: 2, configuration: voters(1n) };
  const options = {
    electionTicks: 10,
    heartbeatTicks: 2,
    maxInflightMessages: 1,
    maxMessageBytes: 1,
    maxUncommittedBytes: 1,
  };
  const build = (entries: readonly number[], applied: number, commit = 0) =>
    new RaftCore({
      ...options,
      id: 1n,
      hardState: { term: 9, vote: 0n, commit },
      log: { snapshot, entries: entriesOf(entries, 6) },
      applied,
      random: () => 0,
    });

  test('commit is at least what is applied; the rest is handed over again', () => {
    const core = build([3, 3, 3], 6, 7);
    expect(core.status()).toMatchObject({ commit: 7, applied: 6, lastIndex: 8 });
    expect(core.ready().committed.map(({ index }) => index)).toEqual([7]);
  });

  test('state behind the log, a log behind commit, and a term from the future are refused', () => {
    expect(() => build([3], 4)).toThrow(InvariantError);
    expect(() => build([3], 7)).toThrow(InvariantError);
    expect(() => build([3], 5, 7)).toThrow(InvariantError);
    expect(() => build([10], 5)).toThrow(InvariantError);
  });
});
