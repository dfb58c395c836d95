import { UsageError } from '../errors.ts';

/** What is wrong with a certificate, a key or the cluster secret. */
type CertificateErrorCode =
  | 'expired'
  | 'exposed'
  | 'key-mismatch'
  | 'malformed'
  | 'missing'
  | 'not-yet-valid'
  | 'unreadable'
  | 'unwritable'
  | 'wrong-authority'
  | 'wrong-name';

/** A file that identifies this host or the cluster can't be used; the message names it and says what would help. */
export class CertificateError extends UsageError {
  readonly code: CertificateErrorCode;
  readonly file: string;
  constructor(code: CertificateErrorCode, file: string, problem: string) {
    super(`${file}: ${problem}`);
    this.code = code;
    this.file = file;
  }
}
