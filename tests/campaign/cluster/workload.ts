import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../sim/random.ts';
import { absent, contentOf, isContent, type Value } from './content.ts';
import type { Fleet } from './fleet.ts';
import type { S3Answer } from './s3_caller.ts';

const MiB = 1024 * 1024;
export const bucket = 'campaign';
const keysPerWorker = 40;
const hotKeys = 3;

export interface WorkloadOptions {
  readonly fleet: Fleet;
  readonly random: Random;
  readonly workers: number;
  readonly callsPerSecond: number;
  readonly log: (entry: object) => void;
  readonly onViolation: (what: string) => void;
}

/** A key that one worker alone writes: what it holds is known, or one of few. */
interface OwnedKey {
  readonly key: string;
  possible: Value[];
  /** An outcome is unknown: a late request may still change it, so nothing more is written. */
  frozen: boolean;
}

/** A write to a key that all workers write. */
interface SharedWrite {
  readonly value: Value;
  readonly startMs: number;
  /** Undefined: nobody knows whether it was. */
  endMs: number | undefined;
}

type Outcome = 'done' | 'refused' | 'unknown';

/** Writes and reads objects of known content through all gateways, and knows what each must hold. */
export class Workload {
  readonly #options: WorkloadOptions;
  readonly #owned: OwnedKey[] = [];
  readonly #shared = new Map<string, SharedWrite[]>();
  readonly counts = { calls: 0, done: 0, refused: 0, unknown: 0, verified: 0, wroteBytes: 0, multipart: 0 };
  /** Milliseconds of each finished call, for the report. */
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();
  #sequence = 0;
  #nextCallMs = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = Promise.all(
      Array.from({ length: this.#options.workers }, (_, worker) => this.#work(worker)),
    );
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** Reads every key through some gateway. Only when nothing is written any more, and all nodes are up. */
  async verify(): Promise<void> {
    const { onViolation, fleet } = this.#options;
    for (const owned of this.#owned) {
      const answer = await this.#readSurely(owned.key);
      if (!fits(answer, owned.possible)) {
        onViolation(`at the end ${owned.key} holds ${describe(answer)}, not ${names(owned.possible)}`);
      }
      this.counts.verified += 1;
    }
    for (const [key, writes] of this.#shared) {
      const answers = await Promise.all(fleet.runningNodes.map((node) => this.#readSurely(key, node)));
      const possible = lastOf(writes);
      const [first] = answers;
      if (first !== undefined && !fits(first, possible)) {
        onViolation(`at the end ${key} holds ${describe(first)}, not one of ${names(possible)}`);
      }
      // An error's body names its request, so only that of an object can be compared.
      const said = answers.map((answer) => (answer.status === 200 ? describe(answer) : `${answer.status}`));
      if (new Set(said).size > 1) onViolation(`gateways disagree about ${key}: ${said.join(', ')}`);
      this.counts.verified += 1;
    }
    await this.#verifyListing();
  }

  /** Removes all objects and uploads: afterwards nothing must be left on any node. */
  async removeAll(): Promise<void> {
    const uploads = await this.#surely('GET', `/${bucket}?uploads`);
    const pattern = /<Key>([^<]*)<\/Key><UploadId>([^<]*)<\/UploadId>/g;
    for (const [, key, id] of uploads.body.toString().matchAll(pattern)) {
      await this.#surely('DELETE', `/${bucket}/${key ?? ''}?uploadId=${id ?? ''}`);
    }
    for (const key of await this.#list()) await this.#surely('DELETE', `/${bucket}/${key}`);
    const left = await this.#list();
    if (left.length > 0) this.#options.onViolation(`${left.length} keys are left after all were deleted`);
  }

  async #work(worker: number): Promise<void> {
    const random = this.#options.random.fork();
    const mine = Array.from({ length: keysPerWorker }, (_, i): OwnedKey => ({
      key: `w${worker}/k${i}`,
      possible: [absent],
      frozen: false,
    }));
    this.#owned.push(...mine);
    while (!this.#stopping) {
      await this.#pace();
      let owned = random.pick(mine);
      try {
        if (random.chance(0.08)) await this.#writeShared(random);
        else if (random.chance(0.45)) await this.#read(random, owned);
        else {
          if (owned.frozen) {
            // Another takes its place; what became of this one is checked at the end.
            const next: OwnedKey = { key: `${owned.key}.`, possible: [absent], frozen: false };
            mine[mine.indexOf(owned)] = next;
            this.#owned.push(next);
            owned = next;
          }
          await this.#write(random, owned);
        }
      } catch (error) {
        this.#options.onViolation(`a worker failed: ${String(error)}`);
        return;
      }
    }
  }

  async #pace(): Promise<void> {
    const nowMs = performance.now();
    this.#nextCallMs = Math.max(this.#nextCallMs, nowMs - 1000) + 1000 / this.#options.callsPerSecond;
    if (this.#nextCallMs > nowMs) await sleep(this.#nextCallMs - nowMs);
  }

  async #write(random: Random, owned: OwnedKey): Promise<void> {
    const [current = absent] = owned.possible;
    const isThere = current.name !== undefined;
    const kind = random.below(100);
    let outcome: Outcome;
    let next: Value;
    if (kind < 20 && isThere) {
      next = absent;
      outcome = await this.#change(random, { method: 'DELETE', path: `/${bucket}/${owned.key}` });
    } else if (kind < 24) {
      next = this.#value(owned.key, 5 * MiB + random.below(MiB));
      outcome = await this.#multipart(random, { key: owned.key, value: next });
    } else {
      next = this.#value(owned.key, sizeOf(random));
      const condition = conditionOf(kind, { current, random });
      outcome = await this.#change(random, {
        method: 'PUT',
        path: `/${bucket}/${owned.key}`,
        value: next,
        ...(condition === undefined ? {} : { headers: condition.headers }),
      });
      if (condition?.mustFail === true) {
        if (outcome === 'done') this.#options.onViolation(`a put of ${owned.key} ignored its condition`);
        if (outcome === 'refused') return;
      }
    }
    if (outcome === 'done') owned.possible = [next];
    else if (outcome === 'unknown') {
      owned.possible = [...owned.possible, next];
      owned.frozen = true;
    }
  }

  async #writeShared(random: Random): Promise<void> {
    const key = `hot/${random.below(hotKeys)}`;
    const writes = this.#shared.get(key) ?? [];
    this.#shared.set(key, writes);
    const isDelete = random.chance(0.15);
    const value = isDelete ? absent : this.#value(key, 1 + random.below(50_000));
    const write: SharedWrite = { value, startMs: performance.now(), endMs: undefined };
    writes.push(write);
    const outcome = await this.#change(random, {
      method: isDelete ? 'DELETE' : 'PUT',
      path: `/${bucket}/${key}`,
      ...(isDelete ? {} : { value }),
    });
    if (outcome === 'refused') writes.splice(writes.indexOf(write), 1);
    else if (outcome === 'done') write.endMs = performance.now();
    // A late one may be applied whenever it likes, so it stays possible; the others are pruned.
    const kept = lastOf(writes);
    for (const old of [...writes]) {
      const running = old.endMs === undefined;
      if (!running && !kept.includes(old.value)) writes.splice(writes.indexOf(old), 1);
    }
  }

  async #read(random: Random, owned: OwnedKey): Promise<void> {
    // What may be changed by a request that is on its way is read, but may be either.
    const possible = [...owned.possible];
    const isRange = random.chance(0.2);
    const answer = await this.#try(random, {
      method: 'GET',
      path: `/${bucket}/${owned.key}`,
      ...(isRange ? { headers: { range: 'bytes=10-99' } } : {}),
    });
    if (answer === undefined || answer.status >= 500) return;
    const right =
      isRange && answer.status === 206
        ? possible.some((value) => isRangeOf(value, answer.body))
        : answer.status === 416
          ? possible.some((value) => value.sizeBytes <= 10)
          : fits(answer, possible);
    if (!right) {
      this.#options.onViolation(`${owned.key} read as ${describe(answer)}, not ${names(possible)}`);
    }
  }

  async #multipart(
    random: Random,
    upload: { readonly key: string; readonly value: Value },
  ): Promise<Outcome> {
    this.counts.multipart += 1;
    const path = `/${bucket}/${upload.key}`;
    const begun = await this.#try(random, { method: 'POST', path: `${path}?uploads` });
    const id = /<UploadId>([^<]+)</.exec(begun?.body.toString() ?? '')?.[1];
    if (begun?.status !== 200 || id === undefined) return 'refused';
    const { name = '', sizeBytes } = upload.value;
    const content = contentOf(name, sizeBytes);
    const etags: string[] = [];
    for (const [i, part] of [content.subarray(0, 5 * MiB), content.subarray(5 * MiB)].entries()) {
      const answer = await this.#try(random, {
        method: 'PUT',
        path: `${path}?partNumber=${i + 1}&uploadId=${id}`,
        body: part,
      });
      // Abandoned, or aborted: its parts must be freed some day.
      if (answer?.status !== 200)
        return random.chance(0.5) ? 'refused' : this.#abort(random, `${path}?uploadId=${id}`);
      etags.push(String(answer.headers['etag']));
    }
    if (random.chance(0.2)) return this.#abort(random, `${path}?uploadId=${id}`);
    const parts = etags.map(
      (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`,
    );
    const body = Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`);
    const answer = await this.#try(random, { method: 'POST', path: `${path}?uploadId=${id}`, body });
    if (answer?.status !== 200) return answer !== undefined && answer.status < 500 ? 'refused' : 'unknown';
    return answer.body.includes('<Error>') ? 'unknown' : 'done';
  }

  async #abort(random: Random, path: string): Promise<Outcome> {
    await this.#try(random, { method: 'DELETE', path });
    return 'refused';
  }

  async #change(
    random: Random,
    change: {
      readonly method: 'PUT' | 'DELETE';
      readonly path: string;
      readonly value?: Value;
      readonly headers?: Record<string, string>;
    },
  ): Promise<Outcome> {
    const { method, path, value, headers } = change;
    const body = value?.name === undefined ? undefined : contentOf(value.name, value.sizeBytes);
    const answer = await this.#try(random, {
      method,
      path,
      ...(body === undefined ? {} : { body }),
      ...(headers === undefined ? {} : { headers }),
    });
    this.counts.wroteBytes += body?.byteLength ?? 0;
    if (answer === undefined || answer.status >= 500) {
      this.counts.unknown += 1;
      return 'unknown';
    }
    if (answer.status < 300) {
      this.counts.done += 1;
      if (body !== undefined) {
        const etag = `"${createHash('md5').update(body).digest('hex')}"`;
        if (answer.headers['etag'] !== etag)
          this.#options.onViolation(`${path} got ETag ${String(answer.headers['etag'])}, not ${etag}`);
      }
      return 'done';
    }
    this.counts.refused += 1;
    return 'refused';
  }

  /** Undefined: no whole answer came. */
  async #try(
    random: Random,
    call: {
      readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
      readonly path: string;
      readonly body?: Buffer;
      readonly headers?: Record<string, string>;
    },
    wanted?: number,
  ): Promise<S3Answer | undefined> {
    const { fleet, log } = this.#options;
    const node = wanted ?? (await this.#anyNode(random));
    this.counts.calls += 1;
    const startMs = performance.now();
    const entry = {
      at: new Date().toISOString(),
      node,
      call: `${call.method} ${call.path}`,
      bytes: call.body?.byteLength,
    };
    try {
      const answer = await fleet.caller(node).call(call);
      log({ ...entry, ms: Math.round(performance.now() - startMs), status: answer.status });
      return answer;
    } catch (error) {
      log({ ...entry, ms: Math.round(performance.now() - startMs), error: String(error) });
      return undefined;
    }
  }

  async #anyNode(random: Random): Promise<number> {
    for (;;) {
      const running = this.#options.fleet.runningNodes;
      if (running.length > 0) return random.pick(running);
      await sleep(200);
    }
  }

  async #verifyListing(): Promise<void> {
    const listed = new Set(await this.#list());
    for (const { key, possible } of this.#owned) {
      const mayBe = possible.some((value) => value.name !== undefined);
      const mayNotBe = possible.some((value) => value.name === undefined);
      if (listed.has(key) ? !mayBe : !mayNotBe) {
        this.#options.onViolation(`the listing ${listed.has(key) ? 'has' : 'lacks'} ${key}`);
      }
    }
  }

  async #list(): Promise<string[]> {
    const found: string[] = [];
    let token = '';
    do {
      const page = await this.#surely('GET', `/${bucket}?list-type=2&max-keys=300${token}`);
      const text = page.body.toString();
      for (const [, key] of text.matchAll(/<Key>([^<]*)<\/Key>/g)) found.push(key ?? '');
      const next = /<NextContinuationToken>([^<]*)</.exec(text)?.[1];
      token = next === undefined ? '' : `&continuation-token=${encodeURIComponent(next)}`;
    } while (token !== '');
    return found;
  }

  async #readSurely(key: string, node?: number): Promise<S3Answer> {
    return this.#surely('GET', `/${bucket}/${key}`, node);
  }

  /** Until it is answered, by any gateway. @throws when none does for long */
  async #surely(method: 'GET' | 'DELETE', path: string, node?: number): Promise<S3Answer> {
    let last = 'nothing';
    for (let attempt = 0; attempt < 40; attempt += 1) {
      const answer = await this.#try(this.#options.random, { method, path }, node);
      if (answer !== undefined && answer.status < 500) return answer;
      last = answer === undefined ? 'no answer' : describe(answer);
      await sleep(1000);
    }
    throw new Error(`${method} ${path} fails with all nodes up: ${last}`);
  }

  #value(key: string, sizeBytes: number): Value {
    this.#sequence += 1;
    return { name: `${key} #${this.#sequence}`, sizeBytes };
  }
}

/** Most are small; some have many stripes. */
function sizeOf(random: Random): number {
  const kind = random.below(100);
  if (kind < 5) return 0;
  if (kind < 60) return 1 + random.below(20_000);
  if (kind < 95) return 1 + random.below(400_000);
  return 1 + random.below(4 * MiB);
}

/** Makes some puts conditional, on what is there or on what is not. */
function conditionOf(
  kind: number,
  of: { readonly current: Value; readonly random: Random },
): { readonly headers: Record<string, string>; readonly mustFail: boolean } | undefined {
  const { current, random } = of;
  if (kind < 34) return { headers: { 'if-none-match': '*' }, mustFail: current.name !== undefined };
  if (kind >= 44 || current.name === undefined) return undefined;
  const right = random.chance(0.6);
  const content = contentOf(current.name, current.sizeBytes);
  // That of a multipart object is another: the condition fails, and the put with it.
  const etag = createHash('md5')
    .update(right ? content : 'another')
    .digest('hex');
  return { headers: { 'if-match': `"${etag}"` }, mustFail: !right };
}

/** Values that a reader may find once all writes have ended. */
function lastOf(writes: readonly SharedWrite[]): Value[] {
  const lastStartMs = Math.max(
    -1,
    ...writes.filter((write) => write.endMs !== undefined).map((write) => write.startMs),
  );
  const possible = writes.filter((write) => write.endMs === undefined || write.endMs >= lastStartMs);
  return possible.length === 0 || lastStartMs < 0
    ? [absent, ...possible.map((write) => write.value)]
    : possible.map((write) => write.value);
}

function fits(answer: S3Answer, possible: readonly Value[]): boolean {
  if (answer.status === 404) return possible.some((value) => value.name === undefined);
  return answer.status === 200 && possible.some((value) => isContent(value, answer.body));
}

function isRangeOf(value: Value, body: Buffer): boolean {
  if (value.name === undefined) return false;
  return contentOf(value.name, value.sizeBytes).subarray(10, 100).equals(body);
}

function describe(answer: S3Answer): string {
  const sha256 = createHash('sha256').update(answer.body).digest('hex').slice(0, 12);
  return `${answer.status} with ${answer.body.byteLength} bytes (${sha256})`;
}

function names(values: readonly Value[]): string {
  return values
    .map((value) => (value.name === undefined ? 'nothing' : `${value.name} of ${value.sizeBytes}`))
    .join(' or ');
}
