/**
 * Header values as text. node:http hands over one character a byte; clients that send more than ASCII mostly send
 * UTF-8. What isn't UTF-8 is taken as Latin-1.
 */
export function decodeHeaderText(value: string): string {
  if (/^[\u0000-\u007f]*$/.test(value) || /[^\u0000-\u00ff]/.test(value)) return value;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(value, 'latin1'));
  } catch {
    // Not UTF-8, then: Latin-1, as it came.
    return value;
  }
}

/** Text as node:http can send it: the bytes of UTF-8, one character each; what would end the header is left out. */
export function headerValue(text: string): string {
  const clean = text.replace(/[\u0000-\u0008\u000a-\u001f\u007f]/g, '');
  return /^[\u0000-\u007f]*$/.test(clean) ? clean : Buffer.from(clean, 'utf8').toString('latin1');
}

/**
 * User metadata on its way out: ASCII as it is, everything else as one RFC 2047 word.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html#UserMetadata
 */
export function rfc2047Encode(text: string): string {
  if (/^[\t\u0020-\u007e]*$/.test(text)) return text;
  return `=?UTF-8?B?${Buffer.from(text, 'utf8').toString('base64')}?=`;
}

const encodedWord = /=\?(utf-8|us-ascii|iso-8859-1)\?([bq])\?([^?\s]*)\?=/gi;
const betweenWords = /(\?=)\s+(?==\?(?:utf-8|us-ascii|iso-8859-1)\?[bq]\?[^?\s]*\?=)/gi;

/** User metadata on its way in: RFC 2047 words become what they stand for. */
export function rfc2047Decode(value: string): string {
  if (!value.includes('=?')) return value;
  return value
    .replace(betweenWords, '$1')
    .replace(encodedWord, (word: string, charset: string, form: string, content: string) => {
      const bytes =
        form.toLowerCase() === 'b'
          ? Buffer.from(content, 'base64')
          : Buffer.from(
              content
                .replaceAll('_', ' ')
                .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) =>
                  String.fromCharCode(Number.parseInt(hex, 16)),
                ),
              'latin1',
            );
      if (charset.toLowerCase() === 'iso-8859-1') return bytes.toString('latin1');
      try {
        return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
      } catch {
        // Not what it says it is: kept as it came.
        return word;
      }
    });
}
