import * as path from 'node:path';
import type { DirectoryLock, File, FileSystem } from '../file_system.ts';

const SECTOR_BYTES = 512;

interface DiskOperation {
  readonly kind: 'write' | 'sync' | 'truncate' | 'create' | 'rename' | 'unlink' | 'syncDirectory' | 'read';
  readonly path: string;
  /** Counts the operations that change something, from 1; 0 for reads. */
  readonly number: number;
}

/**
 * What a call meets: nothing, an error, or an fsync that fails and drops what it should have written (`lose`), as Linux
 * does: the pages stay readable and count as clean.
 */
export type Fault = undefined | 'EIO' | 'ENOSPC' | 'lose' | 'hang';

/** Every call after the crash meets this. */
export class DiskCrashedError extends Error {}

interface Inode {
  current: Buffer;
  /** What a crash leaves at least: contents as of the last sync, with whatever else made it. */
  durable: Buffer;
  dirty: Set<number>;
  unreadable: { readonly from: number; readonly to: number }[];
}

type Entries = Map<string, Inode>;

/** What happened to a directory: `name` is gone, or is this file, which is no longer called `from`. */
interface EntryChange {
  readonly directory: string;
  readonly name: string;
  readonly inode: Inode | undefined;
  readonly from?: string;
}

/**
 * A disk in memory with the freedoms of a real one. On a crash, unsynced 512-byte sectors survive in any subset, also
 * within one write, the length of a file is anything between the old and the new one, and created, renamed and removed
 * entries of a directory survive in any subset unless the directory was synced.
 */
export class SimulatedDisk implements FileSystem {
  /** Decides the fate of each call. */
  fault: (operation: DiskOperation) => Fault = () => undefined;
  /** Called before each operation that changes something, for `copy`. */
  observe: (number: number) => void = () => undefined;
  /** The operation (by number) at which the machine stops; it may or may not be carried out. */
  crashAt: number | undefined;
  capacityBytes = Infinity;
  operations = 0;
  readonly #random: Random;
  readonly #entries: Entries;
  #durableEntries: Entries;
  #unsyncedEntryChanges: EntryChange[] = [];
  readonly #locks = new Set<string>();
  #crashed = false;

  constructor(random: Random, entries: Entries = new Map()) {
    this.#random = random;
    this.#entries = entries;
    this.#durableEntries = new Map(entries);
  }

  get crashed(): boolean {
    return this.#crashed;
  }

  /** The machine stops now. */
  crash(): void {
    this.#crashed = true;
  }

  /** The disk as the next start finds it. */
  afterCrash(): SimulatedDisk {
    const entries = this.#durableEntries;
    for (const change of this.#unsyncedEntryChanges)
      if (this.#random.chance(0.5)) applyChange(entries, change);
    for (const inode of entries.values()) this.#settle(inode);
    const next = new SimulatedDisk(this.#random, entries);
    next.capacityBytes = this.capacityBytes;
    return next;
  }

  /** The disk as the next process finds it when only the process died: what was written is there, durable or not. */
  afterProcessEnd(): SimulatedDisk {
    this.#crashed = true;
    const next = new SimulatedDisk(this.#random, this.#entries);
    next.#durableEntries = this.#durableEntries;
    next.#unsyncedEntryChanges = this.#unsyncedEntryChanges;
    next.capacityBytes = this.capacityBytes;
    return next;
  }

  /** This disk as it is now, to be crashed while this one goes on. `random` decides what survives that crash. */
  copy(random: Random): SimulatedDisk {
    const copies = new Map<Inode, Inode>();
    const copyOf = (inode: Inode): Inode => {
      const known = copies.get(inode);
      if (known !== undefined) return known;
      const made = {
        current: Buffer.from(inode.current),
        durable: Buffer.from(inode.durable),
        dirty: new Set(inode.dirty),
        unreadable: [...inode.unreadable],
      };
      copies.set(inode, made);
      return made;
    };
    const copied = (entries: Entries): Entries =>
      new Map([...entries].map(([name, inode]) => [name, copyOf(inode)]));
    const next = new SimulatedDisk(random, copied(this.#entries));
    next.#durableEntries = copied(this.#durableEntries);
    next.#unsyncedEntryChanges = this.#unsyncedEntryChanges.map((change) => ({
      ...change,
      inode: change.inode === undefined ? undefined : copyOf(change.inode),
    }));
    next.capacityBytes = this.capacityBytes;
    return next;
  }

  /** A durable change of something beside the files that the machine may stop at as well, like a database's. */
  async change(name: string, apply: () => void): Promise<void> {
    await this.#operate('write', name, apply);
  }

  flipBit(name: string, at: { readonly offset: number; readonly bit?: number }): void {
    const inode = this.#inode(name);
    for (const bytes of [inode.current, inode.durable]) {
      if (at.offset < bytes.length)
        bytes.writeUInt8(bytes.readUInt8(at.offset) ^ (1 << (at.bit ?? 0)), at.offset);
    }
  }

  makeUnreadable(name: string, range: { readonly from: number; readonly to: number }): void {
    this.#inode(name).unreadable.push(range);
  }

  contents(name: string): Buffer {
    return Buffer.from(this.#inode(name).current);
  }

  names(): string[] {
    return [...this.#entries.keys()].sort();
  }

  async open(name: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    this.#alive();
    let inode = this.#entries.get(name);
    if (mode === 'create') {
      if (inode !== undefined) throw systemError('EEXIST', name);
      await this.#operate('create', name);
      const created: Inode = {
        current: Buffer.alloc(0),
        durable: Buffer.alloc(0),
        dirty: new Set(),
        unreadable: [],
      };
      this.#changeEntries({ directory: path.dirname(name), name, inode: created });
      inode = created;
    }
    if (inode === undefined) throw systemError('ENOENT', name);
    return this.#file(name, inode);
  }

  async makeDirectory(): Promise<void> {
    this.#alive();
  }

  async readDirectory(name: string): Promise<readonly string[]> {
    this.#alive();
    const below = `${name}/`;
    const names = this.names().filter((entry) => entry.startsWith(below));
    return [...new Set(names.map((entry) => entry.slice(below.length).split('/', 1).join('')))];
  }

  async syncDirectory(name: string): Promise<void> {
    await this.#operate('syncDirectory', name, () => {
      for (const change of this.#unsyncedEntryChanges)
        if (change.directory === name) applyChange(this.#durableEntries, change);
      this.#unsyncedEntryChanges = this.#unsyncedEntryChanges.filter((change) => change.directory !== name);
    });
  }

  async rename(from: string, to: string): Promise<void> {
    const inode = this.#inode(from);
    await this.#operate('rename', from, () => {
      this.#changeEntries({ directory: path.dirname(to), name: to, inode, from });
    });
  }

  async unlink(name: string): Promise<void> {
    this.#inode(name);
    await this.#operate('unlink', name, () =>
      this.#changeEntries({ directory: path.dirname(name), name, inode: undefined }),
    );
  }

  async freeBytes(): Promise<number> {
    this.#alive();
    return Math.max(0, this.capacityBytes - this.#usedBytes());
  }

  async lock(directory: string): Promise<DirectoryLock | undefined> {
    this.#alive();
    if (this.#locks.has(directory)) return undefined;
    this.#locks.add(directory);
    return {
      release: async () => {
        this.#locks.delete(directory);
      },
    };
  }

  #file(name: string, inode: Inode): File {
    const file: File = {
      read: async (target, position) => {
        this.#alive();
        // Real reads take a turn of the event loop; so nothing comes to rely on their being immediate.
        await Promise.resolve();
        await this.#meet({ kind: 'read', path: name, number: 0 });
        const end = position + target.length;
        if (inode.unreadable.some((range) => range.from < end && position < range.to))
          throw systemError('EIO', name);
        return inode.current.copy(target, 0, Math.min(position, inode.current.length), end);
      },
      write: async (pieces, position) => {
        const bytes = Buffer.concat(pieces);
        const write = (part: Buffer): void => {
          try {
            this.#write(inode, { bytes: part, position, name });
          } finally {
            // The kernel may write back at any time, unasked.
            if (this.#random.chance(0.2)) this.#sync(inode);
          }
        };
        // A write that finds no space has written as much as there was.
        const partly = (): void => write(bytes.subarray(0, this.#random.below(bytes.length + 1)));
        await this.#operate('write', name, () => write(bytes), partly);
      },
      dataSync: async () => {
        const lose = (): void => inode.dirty.clear();
        await this.#operate('sync', name, () => this.#sync(inode), lose);
      },
      writeDurably: async (pieces, position) => {
        await file.write(pieces, position);
        await file.dataSync();
      },
      truncate: async (sizeBytes) => {
        await this.#operate('truncate', name, () => {
          const from = Math.floor(Math.min(sizeBytes, inode.current.length) / SECTOR_BYTES);
          const to = Math.ceil(Math.max(sizeBytes, inode.current.length) / SECTOR_BYTES);
          inode.current = resized(inode.current, sizeBytes);
          for (let sector = from; sector < to; sector += 1) inode.dirty.add(sector);
        });
      },
      size: async () => {
        this.#alive();
        return inode.current.length;
      },
      close: async () => undefined,
    };
    return file;
  }

  #write(
    inode: Inode,
    write: { readonly bytes: Buffer; readonly position: number; readonly name: string },
  ): void {
    const growth = Math.max(0, write.position + write.bytes.length - inode.current.length);
    const free = Math.max(0, this.capacityBytes - this.#usedBytes());
    const length = growth <= free ? write.bytes.length : Math.max(0, write.bytes.length - (growth - free));
    const end = write.position + length;
    if (length > 0) {
      if (end > inode.current.length) inode.current = resized(inode.current, end);
      write.bytes.copy(inode.current, write.position, 0, length);
      for (let at = Math.floor(write.position / SECTOR_BYTES); at * SECTOR_BYTES < end; at += 1)
        inode.dirty.add(at);
    }
    if (length < write.bytes.length) throw systemError('ENOSPC', write.name);
  }

  #sync(inode: Inode): void {
    inode.durable = resized(inode.durable, inode.current.length);
    for (const sector of inode.dirty) copySector(inode, sector);
    inode.dirty.clear();
  }

  /** What is left of a file after the machine stopped. */
  #settle(inode: Inode): void {
    const sizes = [inode.durable.length, inode.current.length];
    const [least = 0, most = 0] = sizes.sort((a, b) => a - b);
    let size = this.#random.chance(0.5) ? inode.current.length : least + this.#random.below(most - least + 1);
    if (inode.dirty.size === 0) size = inode.durable.length;
    inode.durable = resized(inode.durable, size);
    const survival = this.#random.next();
    for (const sector of inode.dirty) if (this.#random.chance(survival)) copySector(inode, sector);
    inode.current = Buffer.from(inode.durable);
    inode.dirty = new Set();
  }

  #changeEntries(change: EntryChange): void {
    applyChange(this.#entries, change);
    this.#unsyncedEntryChanges.push(change);
  }

  async #operate(
    kind: DiskOperation['kind'],
    name: string,
    apply: () => void = () => undefined,
    failing: () => void = () => undefined,
  ): Promise<void> {
    this.#alive();
    await Promise.resolve();
    this.#alive();
    this.operations += 1;
    const number = this.operations;
    this.observe(number);
    if (number === this.crashAt) {
      this.#crashed = true;
      if (this.#random.chance(0.5)) apply();
      throw new DiskCrashedError(`crashed at operation ${number}: ${kind} ${name}`);
    }
    const fault = this.fault({ kind, path: name, number });
    if (fault === 'hang') return new Promise(() => undefined);
    if ((fault === 'lose' && kind === 'sync') || (fault === 'ENOSPC' && kind === 'write')) failing();
    if (fault !== undefined) throw systemError(fault === 'lose' ? 'EIO' : fault, name);
    apply();
  }

  /** The fate of a read. */
  async #meet(operation: DiskOperation): Promise<void> {
    const fault = this.fault(operation);
    if (fault === 'hang') return new Promise(() => undefined);
    if (fault === 'EIO' || fault === 'ENOSPC') throw systemError(fault, operation.path);
  }

  #alive(): void {
    if (this.#crashed) throw new DiskCrashedError('the machine has stopped');
  }

  #inode(name: string): Inode {
    const inode = this.#entries.get(name);
    if (inode === undefined) throw systemError('ENOENT', name);
    return inode;
  }

  #usedBytes(): number {
    let used = 0;
    for (const inode of this.#entries.values()) used += inode.current.length;
    return used;
  }
}

function applyChange(entries: Entries, { name, inode, from }: EntryChange): void {
  if (from !== undefined) entries.delete(from);
  if (inode === undefined) entries.delete(name);
  else entries.set(name, inode);
}

function copySector(inode: Inode, sector: number): void {
  const from = sector * SECTOR_BYTES;
  if (from >= inode.durable.length || from >= inode.current.length) return;
  inode.current.copy(inode.durable, from, from, Math.min(from + SECTOR_BYTES, inode.durable.length));
}

function resized(bytes: Buffer, size: number): Buffer {
  if (size <= bytes.length) return Buffer.from(bytes.subarray(0, size));
  const next = Buffer.alloc(size);
  bytes.copy(next);
  return next;
}

function systemError(code: string, name: string): Error {
  return Object.assign(new Error(`${code}: simulated, '${name}'`), { code });
}

/** A small seeded generator (mulberry32): the same seed gives the same run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** In [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count);
    for (let at = 0; at < count; at += 1) bytes[at] = this.below(256);
    return bytes;
  }
}
