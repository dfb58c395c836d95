import { describe, expect, test } from 'vitest';
import { parseFlags } from './flags.ts';

describe('parseFlags', () => {
  test('one dash and two dashes mean the same, with a space or an equals sign', () => {
    for (const argv of [['-node', '3'], ['--node', '3'], ['-node=3'], ['--node=3']]) {
      expect(parseFlags(argv, {}).node).toBe(3);
    }
  });

  test('a negative number is a value, not a flag', () => {
    expect(parseFlags(['-node', '-1', '-db-node', '-1'], { NODE: '4' }).node).toBe(-1);
  });

  test('a flag beats the environment, which beats the default', () => {
    expect(parseFlags([], {}).configFile).toBe('config/server.toml');
    expect(parseFlags([], { CONFIG: 'a.toml' }).configFile).toBe('a.toml');
    expect(parseFlags(['-config', 'b.toml'], { CONFIG: 'a.toml' }).configFile).toBe('b.toml');
    expect(parseFlags([], { DB_ONLY: 'true' }).dbOnly).toBe(true);
  });

  test("npm's NODE, a path, is not a shard node id", () => {
    expect(parseFlags([], { NODE: '/usr/bin/node' }).node).toBe(-1);
  });

  test.each([
    [['-nod', '1'], {}, "Unknown option '-nod'; 's3d help' lists the flags"],
    [['-port', '99999'], {}, "-port: '99999' is not a whole number from 1 to 64535"],
    [['-node', 'x'], {}, "-node: 'x' is not a whole number from -1 to 65535"],
    [[], { PORT: 'https' }, "PORT: 'https' is not a whole number from 1 to 64535"],
    [['-backend', 'memory'], {}, "-backend: 'memory' is not one of filesystem, distributed"],
    [[], { DB_ONLY: 'yes' }, "DB_ONLY: 'yes' is neither true nor false"],
    [['serve'], {}, "Unexpected argument 'serve'; 's3d help' lists the flags"],
  ])('%j with %j is refused: %s', (argv, env, message) => {
    expect(() => parseFlags(argv, env)).toThrow(message);
  });
});
