/**
 * The three functions of the `reflect-metadata` proposal that the certificate library's dependency injection asks
 * for when it is loaded. Import this before `@peculiar/x509`. A polyfill that is there already is left alone.
 */

type Key = string | symbol;

interface MetadataReflect {
  getMetadata?: (key: Key, target: object) => unknown;
  getOwnMetadata?: (key: Key, target: object) => unknown;
  defineMetadata?: (key: Key, value: unknown, target: object) => void;
}

function install(reflect: MetadataReflect): void {
  if (reflect.getMetadata !== undefined) return;
  const metadata = new WeakMap<object, Map<Key, unknown>>();
  reflect.defineMetadata = (key, value, target) => {
    const values = metadata.get(target) ?? new Map<Key, unknown>();
    values.set(key, value);
    metadata.set(target, values);
  };
  reflect.getOwnMetadata = (key, target) => metadata.get(target)?.get(key);
  reflect.getMetadata = (key, target) => {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
      const values = metadata.get(at);
      if (values?.has(key) === true) return values.get(key);
    }
    return undefined;
  };
}

install(Reflect as MetadataReflect);
