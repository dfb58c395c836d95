import { S3Error } from '../errors.ts';

/** One part of a form on its way in. */
export interface FormPart {
  readonly name: string;
  /** As the client gave it, which may be a path. */
  readonly filename: string | undefined;
  readonly contentType: string | undefined;
  /** To be read to its end before the next part; throws where the form ends within it. */
  readonly body: AsyncIterable<Uint8Array>;
}

const maxBoundaryLength = 70;
const maxHeaderBytes = 8 * 1024;
const maxPreambleBytes = 1024;
const lineEnd = Buffer.from('\r\n');
const headersEnd = Buffer.from('\r\n\r\n');

/**
 * The boundary that a Content-Type names.
 * @returns undefined for what isn't `multipart/form-data`.
 * @throws S3Error MalformedPOSTRequest
 */
export function formBoundary(contentType: string | undefined): string | undefined {
  if (contentType === undefined || !/^multipart\/form-data\s*(?:;|$)/i.test(contentType)) return undefined;
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]*)"|([^\s;"]+))/i.exec(contentType) ?? [];
  const boundary = quoted ?? plain ?? '';
  if (boundary === '' || boundary.length > maxBoundaryLength || !/^[\x20-\x7e]*[\x21-\x7e]$/.test(boundary)) {
    throw new S3Error('MalformedPOSTRequest');
  }
  return boundary;
}

/**
 * Takes `multipart/form-data` (RFC 7578) apart as it comes: what is held in memory is a piece of the source and the
 * headers of one part. A form that is cut off anywhere throws, so that nothing short is taken for whole.
 */
export class FormReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #delimiter: Buffer;
  /** Bytes that have come and aren't taken yet. It begins with the line end that the first delimiter lacks. */
  #pending: Buffer = lineEnd;
  #place: 'before' | 'header' | 'body' | 'end' = 'before';

  constructor(source: AsyncIterable<Uint8Array>, boundary: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  /** The next part; undefined after the last. @throws S3Error MalformedPOSTRequest, IncompleteBody */
  async next(): Promise<FormPart | undefined> {
    if (this.#place === 'body') throw new Error('the part before has not been read to its end');
    if (this.#place === 'before') await this.#skipPreamble();
    if (this.#place === 'end') return undefined;
    const headers = await this.#headers();
    this.#place = 'body';
    return { ...describe(headers), body: this.#body() };
  }

  /** Lets go of the source without reading on. */
  async close(): Promise<void> {
    this.#place = 'end';
    await this.#source.return?.();
  }

  async #skipPreamble(): Promise<void> {
    await this.#have(() => {
      const at = this.#pending.indexOf(this.#delimiter);
      if (at < 0 && this.#pending.length > maxPreambleBytes) throw malformed();
      if (at >= 0) this.#take(at + this.#delimiter.length);
      return at >= 0;
    });
    await this.#endDelimiter();
  }

  /** Behind a delimiter: two dashes end the form, a line end begins a part. */
  async #endDelimiter(): Promise<void> {
    await this.#have(() => this.#pending.length >= 2);
    const two = this.#take(2).toString('latin1');
    if (two === '--') this.#place = 'end';
    else if (two === '\r\n') this.#place = 'header';
    else throw malformed();
  }

  async #headers(): Promise<ReadonlyMap<string, string>> {
    let text = '';
    await this.#have(() => {
      // A part without any header begins with the empty line.
      const at = this.#pending.subarray(0, 2).equals(lineEnd) ? -2 : this.#pending.indexOf(headersEnd);
      if (at > maxHeaderBytes || (at === -1 && this.#pending.length > maxHeaderBytes)) throw malformed();
      if (at === -1) return false;
      text = at < 0 ? '' : this.#take(at).toString('utf8');
      this.#take(at < 0 ? lineEnd.length : headersEnd.length);
      return true;
    });
    const headers = new Map<string, string>();
    for (const line of text === '' ? [] : text.split('\r\n')) {
      const colon = line.indexOf(':');
      if (colon < 1) throw malformed();
      headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
    }
    return headers;
  }

  async *#body(): AsyncGenerator<Uint8Array> {
    const keep = this.#delimiter.length - 1;
    for (;;) {
      const at = this.#pending.indexOf(this.#delimiter);
      if (at >= 0) {
        const last = this.#take(at);
        this.#take(this.#delimiter.length);
        // Before the last bytes are out: what follows a delimiter shows whether it was one.
        await this.#endDelimiter();
        if (last.length > 0) yield last;
        return;
      }
      const safe = this.#pending.length - keep;
      if (safe > 0) yield this.#take(safe);
      await this.#pull();
    }
  }

  async #have(ready: () => boolean): Promise<void> {
    while (!ready()) await this.#pull();
  }

  #take(length: number): Buffer {
    const taken = this.#pending.subarray(0, length);
    this.#pending = this.#pending.subarray(length);
    return taken;
  }

  async #pull(): Promise<void> {
    const result = await this.#source.next();
    if (result.done === true) {
      throw new S3Error('IncompleteBody', 'The form ended before its last boundary.');
    }
    this.#pending =
      this.#pending.length === 0 ? Buffer.from(result.value) : Buffer.concat([this.#pending, result.value]);
  }
}

function describe(headers: ReadonlyMap<string, string>): Omit<FormPart, 'body'> {
  const disposition = headers.get('content-disposition') ?? '';
  const parameters = new Map<string, string>();
  for (const match of disposition.matchAll(/;\s*([a-z*]+)=(?:"((?:\\"|[^"])*)"|([^\s;"]+))/gi)) {
    const value = (match[2] ?? match[3] ?? '').replaceAll('\\"', '"').replaceAll('%22', '"');
    parameters.set((match[1] ?? '').toLowerCase(), value);
  }
  const name = parameters.get('name');
  if (!/^form-data\s*;/i.test(disposition) || name === undefined) throw malformed();
  return { name, filename: parameters.get('filename'), contentType: headers.get('content-type') };
}

function malformed(): S3Error {
  return new S3Error('MalformedPOSTRequest');
}
