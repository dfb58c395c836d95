/** Stands for any run of characters among the tokens of a pattern. */
export const anyRun = -1;
/** Stands for any one character. */
const anyOne = -2;

/** A pattern, character by character: code units, `anyRun` and `anyOne`. */
export type WildcardTokens = readonly number[];

/** Of a text in which `*` stands for any run of characters and `?` for any one; `wildcards` false: for themselves. */
export function wildcardTokens(text: string, options: { readonly wildcards: boolean }): number[] {
  return Array.from({ length: text.length }, (_, at) => {
    const code = text.charCodeAt(at);
    if (!options.wildcards) return code;
    return code === 0x2a ? anyRun : code === 0x3f ? anyOne : code;
  });
}

/**
 * Whether the whole text matches.
 *
 * Going back to the last run is enough, so the time is at most pattern length times text length, whatever the
 * pattern: a pattern of many stars can't make it explode.
 */
export function matchesTokens(tokens: WildcardTokens, text: string): boolean {
  let at = 0;
  let textAt = 0;
  let lastRun = -1;
  let runTextAt = 0;
  while (textAt < text.length) {
    const token = tokens[at];
    if (token === anyRun) {
      lastRun = at;
      runTextAt = textAt;
      at += 1;
    } else if (token !== undefined && (token === anyOne || token === text.charCodeAt(textAt))) {
      at += 1;
      textAt += 1;
    } else if (lastRun >= 0) {
      runTextAt += 1;
      textAt = runTextAt;
      at = lastRun + 1;
    } else {
      return false;
    }
  }
  while (tokens[at] === anyRun) at += 1;
  return at === tokens.length;
}
