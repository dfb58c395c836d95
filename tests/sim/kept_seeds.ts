/**
 * Seeds that once failed, and what they found. They run before all others. A seed says the same only as long as settings and
 * clients draw the same; each of these bugs has a test of its own as well.
 */
export const keptSeeds: readonly { readonly seed: number; readonly found: string }[] = [
  {
    seed: 5748,
    found: 'a crash while a snapshot was installed left a state from a later term than the hard state',
  },
  { seed: 5538, found: 'a learner promoted beside a dead voter died as well, and no majority was left' },
  {
    seed: 6253,
    found:
      'a follower got one snapshot after the other, since the entries behind each were gone when it had it',
  },
];
