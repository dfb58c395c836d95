/** Long settings lately read, the least recently used going first. A key names its text by digest: none goes stale. */
export class SettingTexts {
  readonly #texts = new Map<string, string>();
  readonly #limitBytes: number;
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get(key: Uint8Array): string | undefined {
    const name = nameOf(key);
    const text = this.#texts.get(name);
    if (text === undefined) return undefined;
    this.#texts.delete(name);
    this.#texts.set(name, text);
    return text;
  }

  set(key: Uint8Array, text: string): void {
    const name = nameOf(key);
    if (this.#texts.has(name)) return;
    this.#texts.set(name, text);
    this.#bytes += sizeOf(name, text);
    for (const [oldest, held] of this.#texts) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#texts.delete(oldest);
      this.#bytes -= sizeOf(oldest, held);
    }
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

function sizeOf(name: string, text: string): number {
  return 2 * (name.length + text.length);
}
