import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { canStepClocks, SteppedClock } from './stepped_clock.ts';

interface Clocks {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

const print = `setInterval(() => console.log(JSON.stringify({ wallMs: Date.now(), monotonicMs: performance.now() })), 50);`;

test.skipIf(!(await canStepClocks()))(
  'the wall clock of a process steps while it runs, its monotonic clock does not',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 's3d-stepped-clock-'));
    const clock = new SteppedClock(join(directory, 'clock'));
    const child = spawn(process.execPath, ['--eval', print], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...(await clock.environment()) },
    });
    try {
      let told = false;
      let first: Clocks | undefined;
      for await (const line of createInterface({ input: child.stdout })) {
        const clocks = JSON.parse(line) as Clocks;
        const aheadMs = clocks.wallMs - Date.now();
        first ??= clocks;
        if (!told) {
          expect(Math.abs(aheadMs)).toBeLessThan(60_000);
          await clock.set(280);
          told = true;
        } else if (aheadMs > 200_000) {
          expect(aheadMs).toBeLessThan(281_000);
          expect(clocks.monotonicMs - first.monotonicMs).toBeLessThan(30_000);
          return;
        }
      }
      expect.unreachable('the process ended');
    } finally {
      child.kill('SIGKILL');
      await rm(directory, { recursive: true });
    }
  },
);
