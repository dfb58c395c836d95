import { describe, expect, it } from 'vitest';
import { S3Error } from '../errors.ts';
import { readXml, type XmlElement } from './read.ts';
import { escapeXml } from './write.ts';

function read(text: string): XmlElement {
  return readXml(Buffer.from(text), 'a');
}

function refused(text: string): boolean {
  try {
    read(text).text('b');
  } catch (error) {
    return error instanceof S3Error && error.code === 'MalformedXML';
  }
  return false;
}

describe('readXml', () => {
  it('reads elements with or without namespaces, declaration and attributes', () => {
    expect(read('<?xml version="1.0"?>\n<a xmlns="urn:x"><b> x </b></a>\n').text('b')).toBe(' x ');
    expect(read('<s:a xmlns:s="urn:x"><s:b>x</s:b></s:a>').text('b')).toBe('x');
    expect(read('<a><b y="1">x</b><c/></a>').text('c')).toBe('');
    expect(read('<a/>').text('b')).toBe(undefined);
    expect(read('<a><b>1</b><b>2</b></a>').all('b')).toHaveLength(2);
  });

  it('decodes references and CDATA once', () => {
    expect(read('<a><b>&lt;&amp;amp;&#65;&#x42;&#x1;&quot;&apos;&gt;</b></a>').text('b')).toBe(
      '<&amp;AB\u0001"\'>',
    );
    expect(read('<a><b>x<![CDATA[<&amp;]]>y</b></a>').text('b')).toBe('x<&amp;y');
  });

  it('keeps every key that escapeXml wrote', () => {
    for (const key of [
      'a b',
      ' x ',
      '\t\r\n',
      '\u0001\u001f',
      '<&>"\'',
      '&amp;',
      ']]>',
      '007',
      '1e3',
      'ü😀',
      '\uffff',
    ]) {
      expect(read(`<a><b>${escapeXml(key)}</b></a>`).text('b')).toBe(key);
    }
  });

  it('refuses document types, entities, bombs and what is not well-formed', () => {
    const documents = [
      '',
      'text',
      '<a><b>x</b>',
      '<a><b>x</c></a>',
      '<a/><a/>',
      '<c/>',
      '<a></a>junk',
      '<!DOCTYPE a [<!ENTITY b "c">]><a><b>&b;</b></a>',
      '<a><b>&unknown;</b></a>',
      '<a><b>&</b></a>',
      '<a><b>&#xD800;</b></a>',
      '<a><b>&#x110000;</b></a>',
      '<a><b>1</b><b>2</b></a>',
      '<a><b><c/></b></a>',
      '<a><__proto__>x</__proto__></a>',
      `<a>${'<b>'.repeat(100)}${'</b>'.repeat(100)}</a>`,
      '<a>'.repeat(100_000),
    ];
    for (const document of documents)
      expect([document.slice(0, 60), refused(document)]).toEqual([document.slice(0, 60), true]);
    expect(() => readXml(Buffer.from([0x3c, 0x61, 0x3e, 0xff, 0x3c, 0x2f, 0x61, 0x3e]), 'a')).toThrow(
      S3Error,
    );
  });

  it('reads a document of the largest size in reasonable time', () => {
    const item = `<b><Key>${'k&amp;'.repeat(170)}</Key></b>`;
    const began = performance.now();
    expect(read(`<a>${item.repeat(1000)}</a>`).all('b')).toHaveLength(1000);
    expect(performance.now() - began).toBeLessThan(2000);
  });
});
