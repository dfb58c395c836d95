/**
 * `node tests/campaign/kill_node.ts [--kills 1000] [--seed 1]`: kills a shard node's process with SIGKILL under load,
 * so many times, and holds what is there afterwards against what it acknowledged. About a second a kill.
 */
import { parseArgs } from 'node:util';
import { runKillCampaign } from './kill_campaign.ts';

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '1000' }, seed: { type: 'string', default: '1' } },
});
const started = performance.now();
const counts = await runKillCampaign({
  kills: Number(values.kills),
  seed: Number(values.seed),
  onLife: (life, { puts, deletes, gets, checked }) => {
    if (life % 50 === 0)
      process.stdout.write(
        `${life} lives: ${puts} puts, ${deletes} deletes, ${gets} gets, ${checked} checked\n`,
      );
  },
});
const minutes = ((performance.now() - started) / 60_000).toFixed(1);
process.stdout.write(
  `${JSON.stringify(counts)} in ${minutes} min: nothing acknowledged was lost or served wrong\n`,
);
