import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { S3Error } from '../errors.ts';

/** An element as it was parsed: its text, or its children by name; repeated ones as arrays. */
type XmlNode = string | { readonly [name: string]: XmlNode | readonly XmlNode[] };

/** Deeper documents than any S3 request are refused. */
const maxDepth = 16;

const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  removeNSPrefix: true,
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  maxNestedTags: maxDepth,
});

const cdata = /<!\[CDATA\[([\s\S]*?)\]\]>/g;
const reference = /&(?:#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));/g;
const predefined: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * Reads a request's XML. Namespaces are ignored as S3 ignores them; document types and entities of their own don't
 * exist here, so nothing can grow while it is read.
 * @param bytes the whole document; its size has been limited already.
 * @returns the children of the root element.
 * @throws S3Error MalformedXML
 */
export function readXml(bytes: Uint8Array, rootName: string): XmlElement {
  const text = decodeUtf8(bytes);
  if (/<!(?!--|\[CDATA\[)/.test(text)) throw new S3Error('MalformedXML');
  const source = text.replace(cdata, (_, content: string) =>
    content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
  );
  const document = parse(source);
  const names = Object.keys(document).filter((name) => name !== '#text');
  const top = document[rootName];
  if (names.length !== 1 || top === undefined || Array.isArray(top)) throw new S3Error('MalformedXML');
  return new XmlElement(top as XmlNode);
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new S3Error('MalformedXML');
  }
}

function parse(source: string): Record<string, XmlNode | readonly XmlNode[]> {
  try {
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- its successor is a package of its own, which we don't have
    if (XMLValidator.validate(source) === true) {
      return parser.parse(source) as Record<string, XmlNode | readonly XmlNode[]>;
    }
  } catch (error) {
    // The parser refuses deep nesting and reserved names by throwing plain errors.
    if (!(error instanceof Error)) throw error;
  }
  throw new S3Error('MalformedXML');
}

/** Undoes references; anything else that begins with `&` is malformed. */
function decodeText(text: string): string {
  if (!text.includes('&')) return text;
  let references = 0;
  const decoded = text.replace(reference, (_, hex?: string, decimal?: string, name?: string) => {
    references += 1;
    if (name !== undefined) return predefined[name] ?? '';
    const code = hex !== undefined ? Number.parseInt(hex, 16) : Number(decimal);
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) throw new S3Error('MalformedXML');
    return String.fromCodePoint(code);
  });
  if (references !== text.split('&').length - 1) throw new S3Error('MalformedXML');
  return decoded;
}

/** One element of a request, asked for what the operation's schema says. */
export class XmlElement {
  readonly #node: XmlNode;

  constructor(node: XmlNode) {
    this.#node = node;
  }

  /** The text of the one child of that name; undefined when there is none. */
  text(name: string): string | undefined {
    const child = this.#child(name);
    if (child === undefined) return undefined;
    if (Array.isArray(child)) throw new S3Error('MalformedXML');
    if (typeof child === 'string') return decodeText(child);
    throw new S3Error('MalformedXML');
  }

  /** @throws S3Error MalformedXML when the child isn't there. */
  requiredText(name: string): string {
    const text = this.text(name);
    if (text === undefined) throw new S3Error('MalformedXML');
    return text;
  }

  /** The texts of all children of that name in order. @throws S3Error MalformedXML where one has children. */
  texts(name: string): string[] {
    const child = this.#child(name);
    if (child === undefined) return [];
    return (Array.isArray(child) ? (child as readonly XmlNode[]) : [child as XmlNode]).map((node) => {
      if (typeof node !== 'string') throw new S3Error('MalformedXML');
      return decodeText(node);
    });
  }

  /** The children of that name in order. */
  all(name: string): XmlElement[] {
    const child = this.#child(name);
    if (child === undefined) return [];
    return (Array.isArray(child) ? (child as readonly XmlNode[]) : [child as XmlNode]).map(
      (node) => new XmlElement(node),
    );
  }

  /** Names of the child elements. */
  get names(): string[] {
    return typeof this.#node === 'string' ? [] : Object.keys(this.#node).filter((name) => name !== '#text');
  }

  #child(name: string): XmlNode | readonly XmlNode[] | undefined {
    if (typeof this.#node === 'string') return undefined;
    return Object.hasOwn(this.#node, name) ? this.#node[name] : undefined;
  }
}
