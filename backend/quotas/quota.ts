/** How much a bucket may hold. All its versions count; uploads that aren't completed don't. */
export interface Quota {
  readonly maxBytes?: number;
  readonly maxObjects?: number;
}

/** The `quota` setting of a bucket; undefined for a quota that limits nothing. */
export function quotaText(quota: Quota): string | undefined {
  const { maxBytes, maxObjects } = quota;
  if (maxBytes === undefined && maxObjects === undefined) return undefined;
  return JSON.stringify({ maxBytes, maxObjects });
}

export function quotaOf(setting: string): Quota {
  return JSON.parse(setting) as Quota;
}
