import { xmlDeclaration } from '../xml/write.ts';

/** What an operation answers, whatever carries it to the client. */
export interface Reply {
  readonly status: number;
  /** Names in any case; values in Latin-1 or escaped by `headerValue`. */
  readonly headers: Record<string, string>;
  readonly body?: string | ReplyStream;
}

export interface ReplyStream {
  readonly stream: AsyncIterable<Uint8Array>;
  /** Promised in Content-Length; ending earlier or later breaks the connection. Absent: chunked. */
  readonly sizeBytes?: number;
}

export function emptyReply(status: number, headers: Record<string, string> = {}): Reply {
  return { status, headers };
}

/** @param root one element as text, see `xml/write.ts`. */
export function xmlReply(
  root: string,
  options: { status?: number; headers?: Record<string, string> } = {},
): Reply {
  return {
    status: options.status ?? 200,
    headers: { ...options.headers, 'content-type': 'application/xml' },
    body: xmlDeclaration + root,
  };
}
