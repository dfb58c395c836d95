import { anyRun, matchesTokens, wildcardTokens, type WildcardTokens } from '../wildcard.ts';

const variable = /\$\{([^}]*)\}/g;
const literals: ReadonlySet<string> = new Set(['*', '?', '$']);

/** The value of a policy variable such as `aws:username`; undefined where the request has none. */
export type ResolveVariable = (name: string) => string | undefined;

/** Tests a whole text. */
export type PatternTest = (text: string, resolve: ResolveVariable) => boolean;

type Piece = WildcardTokens | { readonly variable: string; readonly fallback: string | undefined };

/**
 * Compiles a pattern of a policy: `*` stands for any run of characters, `?` for any one, `${name}` for a value of the
 * request, `${name, 'text'}` for that or a text, `${*}`, `${?}` and `${$}` for the characters themselves. What a
 * variable stands for is compared as it is: a user called `*` matches nothing more than that.
 * @param options.wildcards false: stars and question marks stand for themselves.
 * @param options.variables false: `${` stands for itself, as in policies of version 2008-10-17.
 * @throws RangeError for a variable that is not well-formed.
 */
export function compilePattern(
  source: string,
  options: { readonly wildcards: boolean; readonly variables: boolean; readonly foldCase?: boolean },
): PatternTest {
  const fold = options.foldCase === true ? (text: string) => text.toLowerCase() : (text: string) => text;
  const pieces = piecesOf(source, { ...options, fold });
  const fixed = pieces.every((piece) => 'length' in piece) ? pieces.flat() : undefined;
  if (fixed === undefined) {
    return (text, resolve) => {
      const tokens = resolvePieces(pieces, resolve, fold);
      return tokens !== undefined && matchesTokens(tokens, fold(text));
    };
  }
  const tokens = fixed;
  const star = tokens.findIndex((token) => token < 0);
  const prefix = String.fromCharCode(...(star < 0 ? tokens : tokens.slice(0, star)));
  if (star < 0) return (text) => fold(text) === prefix;
  if (tokens.slice(star).every((token) => token === anyRun)) return (text) => fold(text).startsWith(prefix);
  return (text) => {
    const folded = fold(text);
    return folded.startsWith(prefix) && matchesTokens(tokens, folded);
  };
}

function piecesOf(
  source: string,
  options: {
    readonly wildcards: boolean;
    readonly variables: boolean;
    readonly fold: (text: string) => string;
  },
): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  const literal = (text: string): void => void pieces.push(wildcardTokens(options.fold(text), options));
  if (options.variables) {
    for (const match of source.matchAll(variable)) {
      literal(source.slice(at, match.index));
      pieces.push(variablePiece(match[1] ?? ''));
      at = match.index + match[0].length;
    }
    if (source.includes('${', at)) throw new RangeError('a policy variable has no end');
  }
  literal(source.slice(at));
  return pieces;
}

function variablePiece(inside: string): Piece {
  if (literals.has(inside)) return wildcardTokens(inside, { wildcards: false });
  const match = /^\s*([A-Za-z0-9]+:[^\s,']+)\s*(?:,\s*'([^']*)'\s*)?$/.exec(inside);
  if (match?.[1] === undefined) throw new RangeError('a policy variable is not well-formed');
  return { variable: match[1].toLowerCase(), fallback: match[2] };
}

function resolvePieces(
  pieces: readonly Piece[],
  resolve: ResolveVariable,
  fold: (text: string) => string,
): number[] | undefined {
  const tokens: number[] = [];
  for (const piece of pieces) {
    if ('length' in piece) {
      for (const token of piece) tokens.push(token);
      continue;
    }
    const value = resolve(piece.variable) ?? piece.fallback;
    if (value === undefined) return undefined;
    for (const code of wildcardTokens(fold(value), { wildcards: false })) tokens.push(code);
  }
  return tokens;
}
