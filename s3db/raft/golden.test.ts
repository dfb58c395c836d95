import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodeConfiguration } from './configuration_codec.ts';
import { Replica, command } from './testing/replica.ts';
import type { ConfigurationChange, Entry, Message } from './types.ts';

/**
 * The scripts in testdata/ tell what the core does, for a reader to follow. Each command is followed by `----` and by what came of it.
 * `UPDATE_GOLDEN=1 npx vitest run s3db/raft/golden.test.ts` writes down what comes of them now: read the difference before it is
 * committed.
 */
const folder = new URL('./testdata/', import.meta.url);
const update = process.env['UPDATE_GOLDEN'] === '1';

function replay(text: string): string {
  const script = new Script();
  let out = '';
  let skipping = false;
  for (const line of text.split('\n')) {
    if (skipping) {
      // Up to the empty line are the expected results.
      if (line !== '') continue;
      skipping = false;
    }
    if (line === '----') {
      skipping = true;
    } else if (line === '' || line.startsWith('#')) {
      out += `${line}\n`;
    } else {
      out += `${line}\n----\n${script.run(line)}`;
    }
  }
  return `${out.trimEnd()}\n`;
}

test.each(readdirSync(folder).sort())('%s', (name) => {
  const file = new URL(name, folder);
  const text = readFileSync(file, 'utf8');
  const result = replay(text);
  if (update) writeFileSync(file, result);
  else expect(result).toBe(text);
});

/**
 * A cluster that does what a script says, one line at a time, and tells what came of it. Nothing moves by itself: a message lies in the
 * network until it is delivered or dropped. Disks are done at once.
 *
 *   cluster 1 2 3                  replicas with these voters and empty logs
 *   replica 1 terms=1,1,2 term=3   in place of the former replica 1: with this log and term, before anything happens
 *   join 4                         a replica without a configuration
 *   tick 1 10                      ten ticks of replica 1
 *   propose 1 x                    a command
 *   change 1 addLearner 4          or promote, remove
 *   read 2                         asks for a read index
 *   transfer 1 2                   1 hands leadership to 2
 *   deliver [1>2] [append]         what lies in the network, of that link and type
 *   drop [1>2] [append]            the same, but it is lost
 *   settle [1 2]                   deliver until nothing is left (between these alone; all else is lost)
 *   crash 1, restart 1             what was handed over is on disk
 *   compact 1 5                    the log up to 5
 *   log 1                          terms and commit
 */
class Script {
  #replicas = new Map<bigint, Replica>();
  #down = new Map<bigint, Replica>();
  #network: Message[] = [];
  #lines: string[] = [];
  #shown = new Map<bigint, string>();
  #reads = 0;

  /** @returns what came of it, line by line. */
  run(line: string): string {
    this.#lines = [];
    const [verb = '', ...words] = line.split(' ');
    this.#carryOut(verb, words);
    this.#settle();
    return this.#lines.length === 0 ? 'nothing\n' : `${this.#lines.join('\n')}\n`;
  }

  #carryOut(verb: string, words: string[]): void {
    const id = (at: number) => BigInt(words[at] ?? '0');
    switch (verb) {
      case 'cluster':
        for (const word of words)
          this.#place(new Replica({ id: BigInt(word), configuration: configurationOf(words) }));
        return;
      case 'replica':
        this.#place(this.#prepared(words));
        return;
      case 'join':
        this.#place(new Replica({ id: id(0), configuration: configurationOf([]) }));
        return;
      case 'tick':
        for (let i = 0; i < Number(words[1] ?? 1); i++) this.#at(id(0)).core.tick();
        return;
      case 'propose':
        this.#answer(this.#at(id(0)).core.propose(command(words[1] ?? '')));
        return;
      case 'change':
        this.#answer(
          this.#at(id(0)).core.proposeConfiguration({
            type: words[1] as ConfigurationChange['type'],
            id: id(2),
          }),
        );
        return;
      case 'read':
        this.#at(id(0)).core.readIndex(++this.#reads);
        return;
      case 'transfer':
        this.#say(this.#at(id(0)).core.transferLeadership(id(1)));
        return;
      case 'deliver':
        for (const message of this.#take(words)) this.#deliver(message);
        return;
      case 'drop':
        for (const message of this.#take(words)) this.#say(`lost: ${show(message)}`);
        return;
      case 'settle':
        this.#deliverAll(words.map(BigInt));
        return;
      case 'crash':
        this.#down.set(id(0), this.#at(id(0)));
        this.#replicas.delete(id(0));
        return;
      case 'restart':
        this.#restart(id(0));
        return;
      case 'compact':
        this.#at(id(0)).compact(Number(words[1]));
        return;
      case 'log':
        this.#showLog(this.#at(id(0)));
        return;
      default:
        throw new Error(`no such command: ${verb}`);
    }
  }

  #prepared(words: string[]): Replica {
    const options = new Map(words.slice(1).map((word) => word.split('=') as [string, string]));
    const id = BigInt(words[0] ?? '0');
    const terms = (options.get('terms') ?? '').split(',').filter(Boolean).map(Number);
    const term = Number(options.get('term') ?? Math.max(0, ...terms));
    const commit = Number(options.get('commit') ?? 0);
    return new Replica({
      id,
      configuration: this.#at(id).core.status().configuration,
      terms,
      hardState: { term, commit },
    });
  }

  #place(replica: Replica): void {
    const { id } = replica.core.status();
    this.#replicas.set(id, replica);
    this.#shown.set(id, state(replica));
  }

  #restart(id: bigint): void {
    const before = this.#down.get(id);
    if (before === undefined) throw new Error(`${id} is not down`);
    this.#down.delete(id);
    this.#place(before.restarted());
    this.#say(`${id} is ${state(this.#at(id))}`);
  }

  #at(id: bigint): Replica {
    const replica = this.#replicas.get(id);
    if (replica === undefined) throw new Error(`no replica ${id} is up`);
    return replica;
  }

  #take(words: string[]): Message[] {
    const link = words.find((word) => word.includes('>'));
    const type = words.find((word) => !word.includes('>'));
    const wanted = (message: Message) =>
      (link === undefined || link === `${message.from}>${message.to}`) &&
      (type === undefined || type === message.type);
    const taken = this.#network.filter(wanted);
    this.#network = this.#network.filter((message) => !wanted(message));
    return taken;
  }

  /** A snapshot message stands for the whole snapshot: the sender learns at once how it went. */
  #deliver(message: Message): void {
    const receiver = this.#replicas.get(message.to);
    receiver?.core.step(message);
    if (message.type === 'snapshot') {
      this.#replicas
        .get(message.from)
        ?.core.snapshotStatus(message.to, receiver === undefined ? 'failed' : 'sent');
    }
    this.#settle();
  }

  #deliverAll(between: bigint[]): void {
    const outside = ({ from, to }: Message) =>
      between.length > 0 && !(between.includes(from) && between.includes(to));
    for (let i = 0; this.#network.length > 0; i++) {
      if (i > 1000) throw new Error('never comes to rest');
      const messages = this.#network;
      this.#network = [];
      for (const message of messages) if (!outside(message)) this.#deliver(message);
    }
  }

  #settle(): void {
    for (const [id, replica] of this.#replicas) {
      const before = {
        log: replica.log.length,
        applied: replica.applied.length,
        reads: replica.reads.length,
      };
      const installed = replica.installed.length;
      const messages = replica.settle();
      const now = state(replica);
      if (now !== this.#shown.get(id)) this.#say(`${id} is ${now}`);
      this.#shown.set(id, now);
      for (const meta of replica.installed.slice(installed))
        this.#say(`${id} installs a snapshot at ${meta.index}/${meta.term}`);
      for (const entry of replica.applied.slice(before.applied))
        this.#say(`${id} applies ${showEntry(entry)}`);
      for (const { ok, index } of replica.reads.slice(before.reads)) {
        this.#say(ok ? `${id} may read at ${index}` : `${id} may not read`);
      }
      for (const message of messages) {
        this.#say(show(message));
        this.#network.push(message);
      }
    }
  }

  #showLog(replica: Replica): void {
    const { commit, firstIndex, lastIndex, configuration } = replica.core.status();
    const terms = replica.log.map(({ term }) => term).join(' ');
    this.#say(`from ${firstIndex} to ${lastIndex}: terms ${terms === '' ? '-' : terms}, commit ${commit}`);
    this.#say(
      `voters ${list(configuration.voters)}, learners ${list(configuration.learners)}, removed ${list(configuration.removed)}`,
    );
  }

  #answer(answer: string | { term: number; index: number }): void {
    this.#say(
      typeof answer === 'string' ? `refused: ${answer}` : `proposed as ${answer.index}/${answer.term}`,
    );
  }

  #say(line: string): void {
    this.#lines.push(line);
  }
}

function configurationOf(words: readonly string[]) {
  return { voters: words.map(BigInt), learners: [], removed: [] };
}

function state(replica: Replica): string {
  const { role, term, leader } = replica.core.status();
  return `${role} in term ${term}${role === 'follower' && leader !== 0n ? ` of ${leader}` : ''}`;
}

function list(ids: readonly bigint[]): string {
  return ids.length === 0 ? '-' : ids.join(' ');
}

/** index/term and what it is. */
function showEntry({ index, term, type, data }: Entry): string {
  if (type === 'noop') return `${index}/${term} noop`;
  if (type === 'command') return `${index}/${term} ${/^[!-~]+$/.test(text(data)) ? text(data) : 'command'}`;
  const { voters, learners } = decodeConfiguration(data);
  return `${index}/${term} voters ${list(voters)} learners ${list(learners)}`;
}

function text(data: Uint8Array): string {
  return new TextDecoder().decode(data);
}

function show(message: Message): string {
  return `  ${message.from} > ${message.to} ${message.type} term ${message.term}${details(message)}`;
}

function details(message: Message): string {
  switch (message.type) {
    case 'preVote':
    case 'vote':
      return `, last ${message.lastIndex}/${message.lastTerm}${message.transfer ? ', by transfer' : ''}`;
    case 'preVoteReply':
    case 'voteReply':
      return message.granted ? ', granted' : ', refused';
    case 'append': {
      const entries = message.entries.map(showEntry).join(', ');
      return `, prev ${message.prevIndex}/${message.prevTerm}, commit ${message.commit}, [${entries}]`;
    }
    case 'appendReply':
      return message.accepted
        ? `, matches to ${message.index}`
        : `, refuses prev ${message.index}, look at ${message.hintIndex}/${message.hintTerm}`;
    case 'heartbeat':
      return `, commit ${message.commit}, round ${message.nonce}`;
    case 'heartbeatReply':
      return `, round ${message.nonce}`;
    case 'snapshot':
      return `, at ${message.meta.index}/${message.meta.term}, voters ${list(message.meta.configuration.voters)}`;
    case 'readIndex':
      return '';
    case 'readIndexReply':
      return message.ok ? `, index ${message.index}` : ', no';
    case 'timeoutNow':
      return '';
  }
}
