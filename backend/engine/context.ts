import type { BackendErrorCode } from '../errors.ts';
import { BackendError } from '../errors.ts';
import type { Checksums } from '../checksums/checksums.ts';
import type { DataStore } from '../data_store.ts';
import type { MasterKeys } from '../encryption/master_keys.ts';
import type { Vault } from '../frames/vault.ts';
import type { GlobalState } from '../global_state.ts';
import type { ContentCache } from './content_cache.ts';
import type { LifecycleRules } from '../lifecycle/rules.ts';
import type { LockClock } from './lock_clock.ts';
import type { ChangeObserver } from './object_changes.ts';
import type { SettingTexts } from './setting_texts.ts';

/** Where the engine tells what an operator should know; pino's loggers fit. */
export interface EngineLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What is configured of encryption and compression. */
export interface ProtectionContext {
  /** Undefined: no keys are configured. */
  readonly keys: MasterKeys | undefined;
  /** Whether objects for which nobody asked are encrypted too. */
  readonly atRest: boolean;
  /** zstd's level; undefined: nothing is compressed. */
  readonly compressionLevel: number | undefined;
}

/** What every operation of the engine works with. */
export interface EngineContext {
  readonly state: GlobalState;
  readonly data: DataStore;
  /** What `data` keeps, read and written through compression and encryption. */
  readonly vault: Vault;
  readonly protection: ProtectionContext;
  readonly checksums: Checksums;
  readonly contents: ContentCache;
  readonly settingTexts: SettingTexts;
  readonly lockClock: LockClock;
  readonly lifecycleRules: LifecycleRules;
  readonly region: string;
  readonly logger: EngineLogger;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Resolves after so many milliseconds; early when the signal aborts. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Tells the garbage worker that there may be something to do. */
  readonly wakeGarbage: () => void;
  /** Those that new objects may take besides STANDARD. */
  readonly storageClasses: ReadonlySet<string>;
  readonly observers: readonly ChangeObserver[];
}

/** Refusal in one expression. */
export function refuse(
  code: BackendErrorCode,
  message: string,
  details: Readonly<Record<string, string>> = {},
): never {
  throw new BackendError(code, message, details);
}
