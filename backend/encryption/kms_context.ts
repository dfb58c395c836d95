/** The bytes that stand for an encryption context: JSON of its pairs in order of their names. */
export function canonicalContext(context: Readonly<Record<string, string>>): Uint8Array {
  const pairs = Object.entries(context).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const text = pairs.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',');
  return new Uint8Array(Buffer.from(`{${text}}`, 'utf8'));
}
