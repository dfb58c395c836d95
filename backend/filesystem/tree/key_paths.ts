/** Where the backend keeps what is its own within a served directory. No key reaches into it. */
export const OWN_DIRECTORY = '.s3d';

const maxComponentBytes = 255;
const hexPerComponent = 240;

/**
 * The path components of a key that can be a plain file, undefined for one that can't: `..`, empty components, names
 * that no file system takes, what would lie in `.s3d`.
 */
export function plainComponents(key: string): readonly string[] | undefined {
  const components = key.split('/');
  if (components[0] === OWN_DIRECTORY) return undefined;
  return components.every(isFileName) ? components : undefined;
}

function isFileName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || name.includes('\0')) return false;
  return Buffer.byteLength(name, 'utf8') <= maxComponentBytes;
}

/** Path components, below `.s3d/keys`, of a key that isn't a plain file: its bytes in hex, in pieces. */
export function hiddenComponents(key: string): readonly string[] {
  const hex = Buffer.from(key, 'utf8').toString('hex');
  const components: string[] = [];
  let at = 0;
  for (; at + hexPerComponent < hex.length; at += hexPerComponent) {
    components.push(`d${hex.slice(at, at + hexPerComponent)}`);
  }
  return [...components, `f${hex.slice(at)}`];
}

/** Undoes `hiddenComponents`; undefined for what it never makes. */
export function keyOfHidden(components: readonly string[]): string | undefined {
  const hex = components.map((component) => component.slice(1)).join('');
  const key = Buffer.from(hex, 'hex').toString('utf8');
  const again = key === '' ? [] : hiddenComponents(key);
  return again.join('/') === components.join('/') ? key : undefined;
}

/** In order of raw UTF-8 bytes, as listings are. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return inCodePointOrder(x) - inCodePointOrder(y);
  }
  return a.length - b.length;
}

/** UTF-16 puts surrogates, which stand for the highest code points, below U+E000 to U+FFFF. */
function inCodePointOrder(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
