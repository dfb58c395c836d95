const basicIso = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/;
/** RFC 9110's IMF-fixdate, or the same moment with a zone as mail writes it (RFC 5322). */
const httpDate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (?:GMT|[+-]0000)$/;

/** `yyyymmddThhmmssZ` as milliseconds since the epoch; undefined if it isn't that, or no such moment exists. */
export function parseBasicIso(text: string): number | undefined {
  const match = basicIso.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const timeMs = Date.UTC(year, month - 1, day, hour, minute, second);
  // Date.UTC rolls over (February 30 becomes March) and takes years below 100 for 19xx.
  return formatBasicIso(timeMs) === text ? timeMs : undefined;
}

/** A `Date` header as milliseconds since the epoch. */
export function parseHttpDate(text: string): number | undefined {
  if (!httpDate.test(text)) return undefined;
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}

/** `yyyymmddThhmmssZ` */
export function formatBasicIso(timeMs: number): string {
  return formatIso(timeMs).replace(/[:-]/g, '');
}

/** `yyyy-mm-ddThh:mm:ssZ`, as S3 writes times in its errors. */
export function formatIso(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19)}Z`;
}
