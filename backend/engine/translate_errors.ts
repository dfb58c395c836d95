import { UnavailableError, UnknownOutcomeError } from '../../s3db/errors.ts';
import { ContentDamagedError, ContentMissingError } from '../data_store.ts';
import { KeyNotFoundError } from '../encryption/errors.ts';
import { BackendError } from '../errors.ts';
import type { EngineContext } from './context.ts';

/** Turns what the ports refuse into what a client may be told. Anything else is a fault and passes as it is. */
export async function translateErrors<Answer>(
  context: Pick<EngineContext, 'logger'>,
  operation: () => Promise<Answer>,
): Promise<Answer> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof UnavailableError) throw unavailable(error);
    if (error instanceof UnknownOutcomeError) throw unavailable(error);
    if (error instanceof KeyNotFoundError) {
      context.logger.error({ err: error }, 'content needs a key that is not in the keyring');
      throw unavailable(error);
    }
    if (error instanceof ContentMissingError || error instanceof ContentDamagedError) {
      context.logger.error({ err: error }, 'content that the metadata names cannot be had');
      throw withCause('InternalError', 'We encountered an internal error. Please try again.', error);
    }
    throw error;
  }
}

function unavailable(cause: Error): BackendError {
  return withCause('ServiceUnavailable', 'Service is unable to handle request. Please try again.', cause);
}

function withCause(
  code: 'ServiceUnavailable' | 'InternalError',
  message: string,
  cause: Error,
): BackendError {
  const error = new BackendError(code, message);
  error.cause = cause;
  return error;
}
