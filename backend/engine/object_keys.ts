import { refuse } from './context.ts';

export const maxKeyBytes = 1024;

/** @throws BackendError KeyTooLongError; InvalidArgument for what has no UTF-8 form. */
export function checkKey(key: string): void {
  if (key.length === 0) refuse('InvalidArgument', 'The object key must not be empty.');
  if (!key.isWellFormed()) refuse('InvalidArgument', 'The object key is not valid UTF-8.');
  if (key.length > maxKeyBytes || Buffer.byteLength(key, 'utf8') > maxKeyBytes) {
    refuse('KeyTooLongError', 'Your key is too long', {
      Size: String(Buffer.byteLength(key, 'utf8')),
      MaxSizeAllowed: String(maxKeyBytes),
    });
  }
}

/** Prefixes, delimiters and markers of listings may be empty but must have a UTF-8 form and an end. */
export function checkListingText(name: string, text: string | undefined): void {
  if (text === undefined) return;
  if (!text.isWellFormed()) refuse('InvalidArgument', `The ${name} is not valid UTF-8.`);
  if (Buffer.byteLength(text, 'utf8') > maxKeyBytes) refuse('InvalidArgument', `The ${name} is too long.`);
}
