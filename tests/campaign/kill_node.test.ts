import { expect, it } from 'vitest';
import { runKillCampaign } from './kill_campaign.ts';

it(
  'a shard node loses nothing that it acknowledged when it is killed under load, again and again',
  { timeout: 180_000 },
  async () => {
    const counts = await runKillCampaign({
      kills: 20,
      seed: Date.now() % 1_000_000,
      binaryEvery: 7,
      verifyEvery: 6,
    });
    expect(counts.kills).toBe(20);
    expect(counts.verified).toBeGreaterThan(2);
    expect(counts.checked).toBeGreaterThan(100);
    expect(counts.puts).toBeGreaterThan(20);
  },
);
