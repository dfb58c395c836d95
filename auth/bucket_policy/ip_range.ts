import { isIPv4, isIPv6 } from 'node:net';

/** A range of addresses in CIDR notation, or one address. */
export interface IpRange {
  readonly family: 4 | 6;
  readonly prefixBits: number;
  /** An address as text; IPv4 mapped into IPv6 counts as IPv4. */
  contains(address: string): boolean;
}

/** @returns undefined for what is neither an address nor a range. */
export function parseRange(text: string): IpRange | undefined {
  const [addressText = '', bitsText, ...rest] = text.split('/');
  const address = parseAddress(addressText);
  if (address === undefined || rest.length > 0) return undefined;
  const { family, value } = address;
  const width = family === 4 ? 32 : 128;
  const prefixBits =
    bitsText === undefined ? width : /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : Infinity;
  if (prefixBits > width) return undefined;
  const shift = BigInt(width - prefixBits);
  const wanted = value >> shift;
  return {
    family,
    prefixBits,
    contains(given) {
      const other = parseAddress(given);
      return other?.family === family && other.value >> shift === wanted;
    },
  };
}

function parseAddress(text: string): { readonly family: 4 | 6; readonly value: bigint } | undefined {
  if (isIPv4(text)) return { family: 4, value: ipv4Value(text) };
  const plain = text.split('%')[0] ?? '';
  if (!isIPv6(plain)) return undefined;
  const value = ipv6Value(plain);
  return value >> 32n === 0xffffn ? { family: 4, value: value & 0xffffffffn } : { family: 6, value };
}

function ipv4Value(text: string): bigint {
  return BigInt(text.split('.').reduce((value, part) => value * 256 + Number(part), 0));
}

function ipv6Value(text: string): bigint {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  let groups = text;
  if (dotted?.[2] !== undefined) {
    const low = ipv4Value(dotted[2]);
    groups = `${dotted[1] ?? ''}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [head = '', tail] = groups.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : new Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].reduce((value, group) => value * 65536n + BigInt(`0x${group}`), 0n);
}
