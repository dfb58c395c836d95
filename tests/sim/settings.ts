import { Random } from './random.ts';

/** Everything that a seed decides before the first event. Times in microseconds of simulated time, chances per occasion. */
export interface Settings {
  readonly seed: number;
  /** Voters at birth. */
  readonly size: number;
  readonly events: number;
  readonly tick: number;
  /** A replica's clock runs this much faster or slower, drawn from [-clockSkew, clockSkew]. */
  readonly clockSkew: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly maxInflightMessages: number;
  readonly maxMessageBytes: number;
  readonly maxUncommittedBytes: number;
  /** Log writes under way at a time. */
  readonly maxWrites: number;
  /** Entries kept behind applied; a follower that needs older ones gets a snapshot. Some lives keep none, some more. */
  readonly retainedEntries: number;
  readonly network: {
    readonly delay: number;
    readonly loss: number;
    readonly duplication: number;
    /** A message takes ten times as long, so that others overtake it. */
    readonly straggling: number;
    /** An append arrives without its last entries, or without any: what another correct leader could have sent. */
    readonly splitting: number;
    /** Every message goes through the wire codec. */
    readonly encoded: boolean;
    readonly snapshotChunkLoss: number;
  };
  readonly disk: {
    readonly syncDelay: number;
    readonly applyDelay: number;
    /** A sync takes a hundred times as long. */
    readonly stall: number;
    /** A sync fails: its replica stops, and what was not synced may be gone. */
    readonly failure: number;
  };
  /** Mean time between faults of a kind in the whole cluster; 0 for never. */
  readonly faults: {
    readonly crash: number;
    readonly pause: number;
    readonly partition: number;
    readonly clog: number;
    /** A replica's disk is lost or damaged for good; it is replaced by a new one. At most a minority. */
    readonly destruction: number;
    readonly membership: number;
    readonly transfer: number;
    /** The chance that a new leader soon crashes or is cut off. */
    readonly newLeader: number;
    /** How long a partition, pause, crash or clog lasts. */
    readonly duration: number;
  };
  readonly workload: {
    readonly clients: number;
    readonly groups: number;
    readonly thinkTime: number;
    readonly deadline: number;
    readonly reads: number;
    readonly conditional: number;
    readonly valueBytes: number;
    /** An answer to a client is lost. */
    readonly answerLoss: number;
  };
}

export type Overrides = {
  readonly [Key in keyof Settings]?: Settings[Key] extends object ? Partial<Settings[Key]> : Settings[Key];
};

/** Draws the settings of a seed. Each kind of fault is absent in some seeds, so that others can unfold undisturbed. */
export function drawSettings(seed: number, overrides: Overrides = {}): Settings {
  const random = new Random(seed);
  const sometimes = (probability: number, value: () => number): number => {
    const drawn = value();
    return random.chance(probability) ? drawn : 0;
  };
  const ms = 1000;
  const tick = random.between(5, 20) * ms;
  const heartbeatTicks = random.between(1, 3);
  const drawn: Settings = {
    seed,
    size: random.pick([3, 3, 3, 5, 5, 7]),
    events: 20_000,
    tick,
    clockSkew: sometimes(0.5, () => random.float() * 0.3),
    electionTicks: heartbeatTicks * random.between(3, 6) + 1,
    heartbeatTicks,
    maxInflightMessages: random.pick([1, 2, 8, 64]),
    maxMessageBytes: random.pick([64, 256, 4096]),
    maxUncommittedBytes: random.pick([256, 4096, 65_536]),
    maxWrites: random.pick([1, 2, 4]),
    retainedEntries: random.pick([0, 5, 20, 200]),
    network: {
      delay: random.between(1, 10) * ms * random.pick([0.2, 1, 1]),
      loss: sometimes(0.7, () => random.float() * 0.15),
      duplication: sometimes(0.5, () => random.float() * 0.1),
      straggling: sometimes(0.5, () => random.float() * 0.1),
      splitting: sometimes(0.3, () => random.float() * 0.2),
      encoded: random.chance(0.2),
      snapshotChunkLoss: sometimes(0.5, () => random.float() * 0.3),
    },
    disk: {
      syncDelay: random.pick([0.1, 1, 5]) * ms,
      applyDelay: random.pick([0.1, 1, 5]) * ms,
      stall: sometimes(0.3, () => random.float() * 0.02),
      failure: sometimes(0.3, () => random.float() * 0.003),
    },
    faults: {
      crash: sometimes(0.7, () => random.between(500, 5000) * ms),
      pause: sometimes(0.4, () => random.between(500, 5000) * ms),
      partition: sometimes(0.7, () => random.between(500, 4000) * ms),
      clog: sometimes(0.4, () => random.between(500, 4000) * ms),
      destruction: sometimes(0.4, () => random.between(2000, 10_000) * ms),
      membership: sometimes(0.5, () => random.between(300, 3000) * ms),
      transfer: sometimes(0.4, () => random.between(500, 3000) * ms),
      newLeader: sometimes(0.3, () => random.float() * 0.7),
      duration: random.between(100, 2000) * ms,
    },
    workload: {
      clients: random.between(2, 8),
      groups: random.pick([2, 4, 8]),
      thinkTime: random.pick([1, 10, 50]) * ms,
      deadline: random.between(500, 2000) * ms,
      reads: 0.2 + random.float() * 0.5,
      conditional: random.float() * 0.5,
      valueBytes: random.pick([0, 0, 50, 200]),
      answerLoss: sometimes(0.5, () => random.float() * 0.1),
    },
  };
  return {
    ...drawn,
    ...overrides,
    network: { ...drawn.network, ...overrides.network },
    disk: { ...drawn.disk, ...overrides.disk },
    faults: { ...drawn.faults, ...overrides.faults },
    workload: { ...drawn.workload, ...overrides.workload },
  };
}
