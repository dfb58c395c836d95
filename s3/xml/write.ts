export const xmlDeclaration = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** S3's namespace, on the root element of every answer but errors. */
const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/';

// What must not stand as itself: markup, what parsers normalise (tab, line ends), what XML 1.0 can't carry.
const special = /[&<>"\u0000-\u001f\u007f\ufffe\uffff]/g;

/**
 * Text for between tags. Characters that XML 1.0 has no way to carry become character references all the same, as S3
 * writes them: lenient parsers read them, and `encoding-type=url` is there for the others.
 */
export function escapeXml(text: string): string {
  return text.replace(special, (character) => {
    switch (character) {
      case '&':
        return '&amp;';
      case '<':
        return '&lt;';
      case '>':
        return '&gt;';
      case '"':
        return '&quot;';
      default:
        return `&#x${character.charCodeAt(0).toString(16).toUpperCase()};`;
    }
  });
}

/** `<name>value</name>`; nothing at all where the value is undefined. */
export function element(name: string, value: string | number | boolean | undefined): string {
  if (value === undefined) return '';
  return `<${name}>${typeof value === 'string' ? escapeXml(value) : String(value)}</${name}>`;
}

/** An element around others that are text already. */
export function parent(name: string, ...children: readonly string[]): string {
  return `<${name}>${children.join('')}</${name}>`;
}

/** The outermost element of an answer. */
export function root(name: string, ...children: readonly string[]): string {
  return `<${name} xmlns="${namespace}">${children.join('')}</${name}>`;
}

/** `2026-11-21T11:49:12.000Z`: S3 shows whole seconds, the same that Last-Modified says. */
export function isoTime(timeMs: number): string {
  return new Date(Math.floor(timeMs / 1000) * 1000).toISOString();
}
