import { isRefusal, refusalOf } from '../errors.ts';
import { errorElement } from '../error_reply.ts';
import type { Call } from '../exchange.ts';
import { xmlDeclaration } from '../xml/write.ts';
import { type Reply, xmlReply } from './reply.ts';

/** What a piece of work turned out to answer. */
interface AwakeAnswer {
  readonly headers: Record<string, string>;
  readonly root: string;
}

/**
 * Answers work that may take long. If it is done soon, the answer is as any other. If not, 200 goes out with the XML
 * declaration, then white space every few seconds so that nobody in between gives up on the connection, and the result
 * as soon as it is there; an error then is an `<Error>` document, as S3 does for Complete and Copy.
 */
export async function awakeXmlReply<T>(
  call: Call,
  work: Promise<T>,
  answer: (result: T) => AwakeAnswer,
): Promise<Reply> {
  const { keepAliveAfterMs } = call.services.limits;
  if (await settlesWithin(work, keepAliveAfterMs)) {
    const { headers, root } = answer(await work);
    return xmlReply(root, { headers });
  }
  return {
    status: 200,
    headers: { 'content-type': 'application/xml' },
    body: { stream: keepAwake(call, work, answer) },
  };
}

async function* keepAwake<T>(
  call: Call,
  work: Promise<T>,
  answer: (result: T) => AwakeAnswer,
): AsyncGenerator<Uint8Array> {
  yield Buffer.from(xmlDeclaration);
  while (!(await settlesWithin(work, call.services.limits.keepAliveEveryMs))) yield Buffer.from(' ');
  let text: string;
  try {
    text = answer(await work).root;
  } catch (error) {
    if (!isRefusal(error)) {
      call.services.logger.error({ requestId: call.requestId, err: error }, 'failed after its 200 was sent');
    }
    text = errorElement(refusalOf(error), {
      resource: `/${call.bucket}/${call.key}`,
      requestId: call.requestId,
    });
  }
  yield Buffer.from(text);
}

/** Whether the promise is settled before the time is up. Never rejects. */
async function settlesWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false);
  });
  const settled = work.then(
    () => true,
    () => true,
  );
  const result = await Promise.race([settled, timeout]);
  clearTimeout(timer);
  return result;
}
