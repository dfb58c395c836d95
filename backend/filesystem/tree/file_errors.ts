import { BackendError } from '../../errors.ts';
import { hasCode } from '../../../s3db/durable_files.ts';

/** What the served directory's file system refuses, as a client may hear it; no path is told. */
export async function translateFileErrors<Answer>(operation: () => Promise<Answer>): Promise<Answer> {
  try {
    return await operation();
  } catch (error) {
    if (hasCode(error, 'EACCES', 'EPERM', 'EROFS')) {
      throw caused(
        new BackendError('AccessDenied', 'The directory behind this bucket does not allow it.'),
        error,
      );
    }
    if (hasCode(error, 'ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE')) {
      throw caused(
        new BackendError('ServiceUnavailable', 'Service is unable to handle request. Please try again.'),
        error,
      );
    }
    throw error;
  }
}

function caused(refusal: BackendError, cause: unknown): BackendError {
  refusal.cause = cause;
  return refusal;
}
